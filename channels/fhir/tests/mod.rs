//! The destination over real sockets: stub servers that say what the test tells them, and liars.

mod as_is;
mod batch;
mod chain;
mod probe;
mod promises;
mod sent;
mod statuses;
mod tls;
mod transport;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request as HttpRequest;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use message::Format;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Outbound, OutboundConfig};
use crate::{ChannelError, Clock, DeliveryError, Outbound as _, Outgoing, Receipt};

/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(20);

const TRANSACTION: &str = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"a":1.00},{"b":2}]}"#;

const TAKEN: &str = r#"{"resourceType":"Bundle","type":"transaction-response","entry":[{"response":{"status":"201 Created"}},{"response":{"status":"200"}}]}"#;

/// A request that a stub server saw.
struct Seen {
    method: String,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A server on a free port; it ends with the test.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// One that answers each request as `answer` says.
    async fn new(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let handler = move |request: HttpRequest| async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let (method, path) = (head.method.to_string(), head.uri.to_string());
            let request = Seen { method, path, headers: head.headers, body };
            let response = answer(&request);
            kept.lock().unwrap().push(request);
            response
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await.unwrap() });
        Self { address, seen, _tasks: tasks }
    }

    /// One that gives the same answer to everything.
    async fn saying(status: u16, headers: &'static [(&str, &str)], body: impl Into<String>) -> Self {
        let body = body.into();
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Self::new(move |_| (StatusCode::from_u16(status).unwrap(), headers.clone(), body.clone()).into_response()).await
    }

    /// One that does with each connection what `converse` does, HTTP or not.
    async fn lying<F>(converse: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream));
            }
        });
        Self { address, seen: Arc::default(), _tasks: tasks }
    }

    /// One that reads each request whole, says `bytes` and hangs up.
    async fn replying(bytes: &'static str) -> Self {
        Self::lying(move |mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(bytes.as_bytes()).await.unwrap();
        })
        .await
    }

    fn destination(&self, settings: &str) -> Outbound {
        destination(&format!("http://{}/fhir", self.address), settings).unwrap()
    }

    async fn deliver(&self, settings: &str, body: impl Into<Bytes>) -> Result<Receipt, DeliveryError> {
        deliver(&self.destination(settings), body).await
    }
}

fn destination(url: &str, settings: &str) -> Result<Outbound, ChannelError> {
    let config: OutboundConfig = toml::from_str(&format!("url = \"{url}\"\n{settings}")).unwrap();
    let clock: Clock = Arc::new(|| "2026-11-06T08:00:00Z".parse().unwrap());
    Outbound::new(config, clock)
}

async fn deliver(destination: &Outbound, body: impl Into<Bytes>) -> Result<Receipt, DeliveryError> {
    timeout(DEADLINE, destination.deliver(&outgoing(body))).await.unwrap()
}

fn outgoing(body: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        message: "0193a5b0-0000-7000-8000-000000000001".parse().unwrap(),
        delivery: 7,
        attempt: 0,
        format: Format::FhirJson,
        bytes: body.into(),
        transaction: None,
        unsigned: None,
        names: Vec::new(),
    }
}

/// Reads one request with a `Content-Length`.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    head
}

/// What the queue is told, in one line, and the rest of a batch in another.
fn print(result: &Result<Receipt, DeliveryError>) -> String {
    match result {
        Ok(receipt) => format!("delivered: {}", receipt.summary),
        Err(DeliveryError::Unavailable { reason, retry_after, down }) => {
            let after = retry_after.map_or_else(String::new, |after| format!(" after {after:?}"));
            format!("unavailable{}{after}: {reason}", if *down { " and down" } else { "" })
        }
        Err(DeliveryError::Erred(receipt)) => format!("erred: {}", receipt.summary),
        Err(DeliveryError::Refused(receipt)) => format!("refused: {}", receipt.summary),
        Err(DeliveryError::Unauthorized(receipt)) => format!("unauthorized: {}", receipt.summary),
        Err(DeliveryError::Unknown { reason }) => format!("unknown: {reason}"),
        Err(DeliveryError::Partly { receipt, rest, refused }) => {
            let refused = if *refused { ", refused" } else { "" };
            format!("partly{refused}: {}\n{}", receipt.summary, std::str::from_utf8(rest).unwrap())
        }
    }
}

/// The answer that is kept with the result, if any is.
fn answer(result: &Result<Receipt, DeliveryError>) -> Option<&Bytes> {
    match result {
        Ok(receipt)
        | Err(DeliveryError::Erred(receipt) | DeliveryError::Refused(receipt) | DeliveryError::Unauthorized(receipt))
        | Err(DeliveryError::Partly { receipt, .. }) => Some(&receipt.answer),
        Err(DeliveryError::Unavailable { .. } | DeliveryError::Unknown { .. }) => None,
    }
}
