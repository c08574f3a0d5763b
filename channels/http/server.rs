//! The listener and its connections: how many, how slow they may be, and how they end.

use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_io_timeout::TimeoutStream;

use super::body::Limits;
use super::capability;
use super::config::InboundConfig;
use super::counts::Counts;
use super::routes::{Door, Peer, router};
use crate::{ChannelError, Clock, Intake, Stop};

/// Longest head of a request, and most of a body read at once, in bytes.
const READ_BUFFER: usize = 64 << 10;

/// How long to wait when the system has no more connections to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// FHIR over HTTP, bound and ready to run.
pub struct Inbound {
    name: Arc<str>,
    config: InboundConfig,
    listener: TcpListener,
    address: SocketAddr,
    clock: Clock,
    counts: Arc<Counts>,
}

impl Inbound {
    /// Listens for the channel `name`; nothing is accepted before [`crate::Inbound::run`].
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if the address cannot be listened on.
    pub async fn bind(name: Arc<str>, config: InboundConfig, clock: Clock) -> Result<Self, ChannelError> {
        let failed = |source| ChannelError {
            what: format!("cannot listen on {}: is the address this machine's, and the port free?", config.listen),
            source: Some(source),
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { name, config, listener, address, clock, counts: Arc::default() })
    }
}

#[async_trait]
impl crate::Inbound for Inbound {
    fn bound(&self) -> String {
        self.address.to_string()
    }

    fn tally(&self) -> Option<Arc<dyn crate::Tally>> {
        Some(self.counts.clone())
    }

    async fn run(self: Box<Self>, intake: Arc<dyn Intake>, mut stop: Stop) -> Result<(), ChannelError> {
        let Self { name, config, listener, clock, counts, .. } = *self;
        let door = Arc::new(Door {
            channel: Arc::clone(&name),
            limits: Limits::new(&config),
            capability: capability::statement(&name, &config, clock()),
            config: config.clone(),
            intake,
            counts: Arc::clone(&counts),
        });
        let router = router(door);
        let mut connections =
            Connections { name, counts, most: config.max_connections.get(), full: false, tasks: JoinSet::new() };
        while let Some(accepted) = stop.or(connections.accept(&listener)).await {
            let Some((stream, peer)) = accepted else { continue };
            let task = converse(stream, peer.ip().into(), router.clone(), config.idle_timeout.0, stop.clone());
            connections.tasks.spawn(task);
        }
        drop(listener);
        connections.finish().await;
        Ok(())
    }
}

/// The connections of one channel: it owns their tasks.
struct Connections {
    name: Arc<str>,
    counts: Arc<Counts>,
    most: usize,
    /// True from the first connection that is turned away to the next that is not: logged once.
    full: bool,
    tasks: JoinSet<()>,
}

impl Connections {
    /// The next connection that there is room for. `None` if one came that is no use, or one ended.
    async fn accept(&mut self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        let accepted = tokio::select! {
            Some(ended) = self.tasks.join_next() => {
                self.log_panic(&ended);
                return None;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if self.tasks.len() >= self.most => {
                if !std::mem::replace(&mut self.full, true) {
                    let (channel, most) = (&self.name, self.most);
                    tracing::warn!(%channel, %peer, most, "connections turned away: there are max_connections");
                }
                self.counts.refused();
                turn_away(stream);
                None
            }
            Ok(accepted) => {
                self.full = false;
                self.counts.connected();
                Some(accepted)
            }
            Err(error) => {
                tracing::warn!(channel = %self.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    /// Waits until every connection has had its answer.
    async fn finish(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            self.log_panic(&ended);
        }
    }

    fn log_panic(&self, ended: &Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(channel = %self.name, %error, "a connection's task failed");
        }
    }
}

/// Answers one connection's requests in order until it ends. Once `stop` fires, the request that is
/// under way is the last.
async fn converse(stream: TcpStream, peer: Peer, router: Router, idle: Duration, mut stop: Stop) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(idle));

    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(READ_BUFFER);
    let mut connection = pin!(http.serve_connection(TokioIo::new(Box::pin(stream)), service));

    let ended = match stop.or(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.0, %error, "connection ended");
    }
}

/// Says 503 to a connection that there is no room for, if its buffer takes that at once.
fn turn_away(stream: TcpStream) {
    const BODY: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"throttled","details":{"text":"there are too many connections; try again a little later"}}]}"#;
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/fhir+json; charset=utf-8\r\nretry-after: \
         5\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let written = stream.into_std().and_then(|mut stream| stream.write_all(response.as_bytes()));
    if let Err(error) = written {
        tracing::debug!(%error, "a connection was closed without an answer");
    }
}
