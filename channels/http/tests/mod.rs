//! The channel over real sockets, before an engine that says what the test tells it.

mod answers;
mod limits;
mod paths;
mod stop;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use message::{Answer, MessageId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Inbound, InboundConfig};
use crate::{ChannelError, Inbound as _, Intake, Offered, StatusReport, Stop, Stopper, Ticket};

/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(20);

const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"transaction","entry":[]}"#;

fn id(last: u8) -> MessageId {
    format!("0193a5b0-0000-7000-8000-0000000000{last:02x}").parse().unwrap()
}

/// An engine that answers as it is told, and keeps what it was offered.
struct Engine {
    ticket: Box<dyn Fn(&Offered) -> Ticket + Send + Sync>,
    offered: Mutex<Vec<Offered>>,
    /// One permit lets one offer through.
    gate: Semaphore,
}

impl Engine {
    fn new(ticket: impl Fn(&Offered) -> Ticket + Send + Sync + 'static) -> Self {
        Self { ticket: Box::new(ticket), offered: Mutex::default(), gate: Semaphore::new(Semaphore::MAX_PERMITS) }
    }

    /// Answers every offer with `answer`.
    fn saying(answer: Answer) -> Self {
        Self::new(move |_| Ticket { answer: answer.clone(), outcome: None })
    }

    fn storing() -> Self {
        Self::saying(Answer::Stored(id(1)))
    }

    /// Stores nothing until [`Engine::gate`] has permits.
    fn shut(self) -> Self {
        Self { gate: Semaphore::new(0), ..self }
    }

    fn offered(&self) -> Vec<Offered> {
        self.offered.lock().unwrap().clone()
    }

    async fn wait_for_offers(&self, count: usize) {
        let come = async {
            while self.offered().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(DEADLINE, come).await.unwrap();
    }
}

#[async_trait]
impl Intake for Engine {
    async fn offer(&self, offered: Offered) -> Ticket {
        let ticket = (self.ticket)(&offered);
        self.offered.lock().unwrap().push(offered);
        self.gate.acquire().await.unwrap().forget();
        ticket
    }

    async fn status(&self, asked: MessageId) -> Option<StatusReport> {
        (asked == id(1)).then(|| StatusReport {
            state: "delivered".to_owned(),
            changed: "2026-01-02T03:04:05Z".parse().unwrap(),
            text: "1 of 1 deliveries done".to_owned(),
        })
    }
}

/// A running channel.
struct Channel {
    address: SocketAddr,
    engine: Arc<Engine>,
    stopper: Stopper,
    running: JoinSet<Result<(), ChannelError>>,
}

impl Channel {
    /// With `settings` beside its address.
    async fn start(settings: &str, engine: Engine) -> Self {
        let config: InboundConfig = toml::from_str(&format!("listen = \"127.0.0.1:0\"\n{settings}")).unwrap();
        let clock = Arc::new(|| "2026-01-02T03:04:05Z".parse().unwrap());
        let inbound = Box::new(Inbound::bind("st-mary".into(), config, clock).await.unwrap());
        let (address, engine) = (inbound.bound().parse().unwrap(), Arc::new(engine));
        let (stopper, stop): (Stopper, Stop) = Stopper::new();
        let mut running = JoinSet::new();
        running.spawn(inbound.run(Arc::clone(&engine) as Arc<dyn Intake>, stop));
        Self { address, engine, stopper, running }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back for `request` until the channel closes the connection.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// Sends one request of `method` with `headers`, a line each.
    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: ehr\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        Reply::read(&self.exchange(request.as_bytes()).await)
    }

    /// Posts a Bundle to the base, with `headers`.
    async fn post(&self, headers: &str) -> Reply {
        self.send("POST", "/", &format!("Content-Type: application/fhir+json\r\n{headers}"), BUNDLE).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", "").await
    }

    /// Stops, and waits until every task has ended.
    async fn stop(mut self) {
        self.stopper.stop();
        timeout(DEADLINE, self.running.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A response, taken apart.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn read(response: &str) -> Self {
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {response:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Its status, the headers that matter, and its body, an OperationOutcome in one line.
    fn print(&self) -> String {
        let names = ["allow", "location", "retry-after", "www-authenticate", "x-request-id"];
        let headers = names.iter().filter_map(|name| Some(format!("{name}: {}\n", self.header(name)?)));
        assert_eq!(self.header("location"), self.header("content-location"));
        format!("{}\n{}{}\n", self.status, headers.collect::<String>(), self.issue().as_ref().unwrap_or(&self.body))
    }

    /// `error required: what is wrong (expression) [diagnostics]`
    fn issue(&self) -> Option<String> {
        let outcome: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        let text = |pointer| outcome.pointer(pointer).and_then(serde_json::Value::as_str);
        (text("/resourceType")? == "OperationOutcome").then_some(())?;
        let path = text("/issue/0/expression/0").map_or_else(String::new, |path| format!(" ({path})"));
        let other = text("/issue/0/diagnostics").map_or_else(String::new, |place| format!(" [{place}]"));
        let (severity, code) = (text("/issue/0/severity")?, text("/issue/0/code")?);
        Some(format!("{severity} {code}: {}{path}{other}", text("/issue/0/details/text")?))
    }
}
