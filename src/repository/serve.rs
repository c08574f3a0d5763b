//! The connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use channels::Stop;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::Repository;

/// How long a peer may take over the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long to wait before accepting again where the system cannot give another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests that have begun may take once it is to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves `repository` on `listener` until `stop` fires; requests that have begun are answered,
/// or broken off after five seconds.
///
/// # Errors
///
/// If the listener is no longer one.
pub async fn serve(listener: TcpListener, repository: Repository, mut stop: Stop) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(repository.0.config.max_connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Some(accepted) = stop.or(accept(&listener, &room)).await else { break };
        match accepted {
            Ok((stream, permit)) => {
                connections.spawn(converse(stream, repository.clone(), stop.clone(), permit));
            }
            Err(error) => {
                tracing::warn!(%error, "the repository cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let finishing = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finishing).await.is_err() {
        tracing::debug!("requests to the repository were broken off");
    }
    Ok(())
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

async fn converse(stream: TcpStream, repository: Repository, mut stop: Stop, _permit: OwnedSemaphorePermit) {
    let service = service_fn(move |request| {
        let repository = repository.clone();
        async move { repository.answer(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the repository ended");
    }
}
