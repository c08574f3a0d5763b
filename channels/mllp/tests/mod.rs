//! Over real sockets, with peers that lie.

mod inbound;
mod limits;
mod logs;
mod outbound;
mod policy;
mod together;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use message::hl7v2::ack::Acknowledgment;
use message::{Answer, MessageId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Block, Counts, Deframer, Inbound, InboundConfig};
use crate::setting::Span;
use crate::{Inbound as _, Intake, Offered, Stop, Stopper, Ticket};

/// Longest wait for anything that must happen.
const SOON: Duration = Duration::from_secs(10);

pub(super) fn millis(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

pub(super) fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// An admission of an invented patient.
pub(super) fn adt(control_id: &str) -> String {
    adt_asking(control_id, "", "")
}

/// The same with MSH-15 and MSH-16.
pub(super) fn adt_asking(control_id: &str, accept: &str, application: &str) -> String {
    format!(
        "MSH|^~\\&|EMR|ST MARY|HUB|EHR|20240301063000||ADT^A01^ADT_A01|{control_id}|P|2.5.1|||{accept}|{application}\r\
         PID|1||123\r"
    )
}

pub(super) fn framed(message: &str) -> Vec<u8> {
    [b"\x0B", message.as_bytes(), b"\x1C\r"].concat()
}

/// An acknowledgment with `code` of the message with `control_id`.
pub(super) fn ack(code: &str, control_id: &str) -> Vec<u8> {
    framed(&format!("MSH|^~\\&|HUB|EHR|EMR|ST MARY|20240301||ACK^A01^ACK|9|P|2.5.1\rMSA|{code}|{control_id}\r"))
}

pub(super) fn id(number: u64) -> MessageId {
    MessageId::new("2024-03-01T06:30:00Z".parse().unwrap(), {
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&number.to_be_bytes());
        bytes
    })
}

/// Waits until `happened`.
#[track_caller]
pub(super) fn eventually<'a>(what: &'a str, mut happened: impl FnMut() -> bool + Send + 'a) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        let waiting = async {
            while !happened() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(tokio::time::timeout(SOON, waiting).await.is_ok(), "{what} did not happen");
    })
}

type Decide = dyn Fn(&Offered, u64) -> BoxFuture<'static, Ticket> + Send + Sync;

/// An engine that keeps what it is offered and answers as it is told.
pub(super) struct Engine {
    offers: Mutex<Vec<Bytes>>,
    decide: Box<Decide>,
}

impl Engine {
    /// Stores everything at once.
    pub(super) fn new() -> Arc<Self> {
        Self::answering(|_, number| stored(number))
    }

    /// Decides at once.
    pub(super) fn answering(decide: impl Fn(&Offered, u64) -> Ticket + Send + Sync + 'static) -> Arc<Self> {
        Self::deciding(move |offered, number| {
            let ticket = decide(offered, number);
            Box::pin(async { ticket })
        })
    }

    pub(super) fn deciding(
        decide: impl Fn(&Offered, u64) -> BoxFuture<'static, Ticket> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { offers: Mutex::default(), decide: Box::new(decide) })
    }

    pub(super) fn offers(&self) -> Vec<Bytes> {
        self.offers.lock().unwrap().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.offers.lock().unwrap().len()
    }
}

pub(super) fn stored(number: u64) -> Ticket {
    Ticket { answer: Answer::Stored(id(number)), outcome: None }
}

#[async_trait]
impl Intake for Engine {
    async fn offer(&self, offered: Offered) -> Ticket {
        let number = {
            let mut offers = self.offers.lock().unwrap();
            offers.push(offered.bytes.clone());
            offers.len() as u64
        };
        (self.decide)(&offered, number).await
    }
}

/// A running inbound channel.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) counts: Arc<Counts>,
    stopper: Stopper,
    running: JoinSet<()>,
}

impl Site {
    pub(super) fn start(engine: Arc<Engine>, set: impl FnOnce(&mut InboundConfig)) -> Self {
        let inbound = bind(set);
        let (address, counts) = (inbound.address(), inbound.counts());
        assert_eq!(inbound.bound(), address.to_string());
        let (stopper, stop) = Stopper::new();
        let mut running = JoinSet::new();
        running.spawn(async move { Box::new(inbound).run(engine, stop).await.unwrap() });
        Self { address, counts, stopper, running }
    }

    pub(super) async fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Stops, and waits until it has ended.
    pub(super) async fn stop(mut self) {
        self.stopper.stop();
        tokio::time::timeout(SOON, self.running.join_next()).await.unwrap().unwrap().unwrap();
    }

    pub(super) fn stopping(&self) {
        self.stopper.stop();
    }
}

pub(super) fn bind(set: impl FnOnce(&mut InboundConfig)) -> Inbound {
    static NOW: AtomicU64 = AtomicU64::new(1_709_274_600);
    let clock = Arc::new(|| {
        let seconds = NOW.fetch_add(1, Ordering::Relaxed);
        jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap()
    });
    let mut config = InboundConfig::new(local());
    set(&mut config);
    Inbound::bind("st-mary-adt".into(), config, jiff::tz::TimeZone::UTC, clock).unwrap()
}

pub(super) fn stop_signal() -> (Stopper, Stop) {
    Stopper::new()
}

/// The other end of a connection: reads and writes what it likes.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    deframer: Deframer,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, deframer: Deframer::new(100 << 20) }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, or `None` at the end.
    pub(super) async fn frame(&mut self) -> Option<Bytes> {
        loop {
            match self.deframer.next_block() {
                Some(Block::Whole(frame)) => return Some(frame),
                Some(Block::TooLong { .. }) => panic!("too long"),
                None => {}
            }
            let read = self.stream.read_buf(self.deframer.buffer());
            match tokio::time::timeout(SOON, read).await.expect("no frame came") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// MSH-10 of the next message.
    pub(super) async fn message(&mut self) -> Option<String> {
        let frame = self.frame().await?;
        Some(message::hl7v2::Header::read(&frame).control_id().into_owned())
    }

    /// MSA-1 and MSA-2 of the next acknowledgment, such as `AA 1`, or `the end`.
    pub(super) async fn ack(&mut self) -> String {
        match self.frame().await {
            Some(frame) => {
                let ack = Acknowledgment::read(&frame).unwrap();
                let text = ack.text.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
                format!("{} {}{text}", ack.code, ack.control_id)
            }
            None => "the end".to_owned(),
        }
    }

    /// All acknowledgments until the other side closes.
    pub(super) async fn acks(&mut self) -> String {
        let mut acks = Vec::new();
        loop {
            match self.ack().await {
                end if end == "the end" => return acks.join(", "),
                ack => acks.push(ack),
            }
        }
    }

    /// Ends this side of the connection.
    pub(super) async fn hang_up(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// True once the other side has closed; whatever it sends is thrown away.
    pub(super) async fn is_closed(&mut self) -> bool {
        let rest = self.stream.read_buf(self.deframer.buffer());
        let closed = tokio::time::timeout(SOON, rest).await.expect("the connection stays open");
        self.deframer.buffer().clear();
        matches!(closed, Ok(0) | Err(_))
    }
}
