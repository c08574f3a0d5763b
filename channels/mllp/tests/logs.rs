//! The log says why, and nothing of any patient.

use std::io;
use std::sync::{Arc, Mutex};

use expect_test::{Expect, expect};
use tracing_subscriber::fmt::MakeWriter;

use super::super::{Outbound, OutboundConfig};
use super::{Engine, Peer, Site, ack, adt, eventually, framed, id, millis};
use crate::setting::Size;
use crate::{Outbound as _, Outgoing};

/// Stands where patient data would.
const SECRET: &str = "ZZTOP";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Records all that this thread, and so this test, logs.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The warnings, without the ports of peers.
    fn warnings(&self) -> String {
        let text = self.text();
        assert!(!text.contains(SECRET), "{text}");
        let warnings = text.lines().filter(|line| line.trim_start().starts_with("WARN"));
        let without_port = |line: &str| {
            let words = line.trim().split(' ').map(|word| match word.split_once("=127.0.0.1:") {
                Some((key, _)) => format!("{key}=127.0.0.1"),
                None => word.to_owned(),
            });
            words.collect::<Vec<_>>().join(" ")
        };
        warnings.map(|line| without_port(line) + "\n").collect()
    }
}

fn secret(control_id: &str) -> String {
    adt(control_id).replace("123", SECRET)
}

/// What is logged of a peer that sends `bytes` and hangs up.
async fn check(bytes: &[u8], expected: Expect) {
    let (log, _recording) = Log::start();
    let site = Site::start(Engine::new(), |config| {
        config.max_message_bytes = Size(1000);
        config.max_noise_bytes = Size(2000);
        config.frame_timeout = millis(5000);
    });
    let mut peer = site.connect().await;
    peer.send(bytes).await;
    peer.hang_up().await;
    peer.acks().await;
    drop(peer);
    site.stop().await;
    expected.assert_eq(&log.warnings());
}

#[tokio::test]
async fn a_good_peer_gives_no_cause() {
    check(&framed(&secret("1")), expect![[""]]).await;
}

#[tokio::test]
async fn each_limit_says_why() {
    let long = secret("1").replace(SECRET, &SECRET.repeat(300));
    check(
        &framed(&long),
        expect![[r#"
        WARN a message was too long and is refused channel=st-mary-adt peer=127.0.0.1 bytes=1583 max_message_bytes=1000
    "#]],
    )
    .await;
    check(&[b"\x0B", secret("1").as_bytes()].concat(), expect![[r#"
        WARN closing the connection channel=st-mary-adt peer=127.0.0.1 error=the peer closed the connection within a message, 88 bytes after its start
    "#]]).await;
    check(&[secret("1").as_bytes(), &framed(&secret("1"))].concat(), expect![[r#"
        WARN skipped 86 bytes before or between messages (an HL7 message without its start byte VT); more from this connection is logged as debug channel=st-mary-adt peer=127.0.0.1
    "#]]).await;
    check(SECRET.repeat(1000).as_bytes(), expect![[r#"
        WARN skipped 4096 bytes before or between messages (not MLLP); more from this connection is logged as debug channel=st-mary-adt peer=127.0.0.1
        WARN closing the connection channel=st-mary-adt peer=127.0.0.1 error=4096 bytes that belong to no message (not MLLP)
    "#]]).await;
    check(b"GET / HTTP/1.1\r\n\r\n", expect![[r#"
        WARN skipped 14 bytes before or between messages (an HTTP request); more from this connection is logged as debug channel=st-mary-adt peer=127.0.0.1
    "#]]).await;
    check(&ack("AA", SECRET), expect![[r#"
        WARN an acknowledgment came in where messages do; it is dropped and not answered; more from this connection is logged as debug channel=st-mary-adt peer=127.0.0.1
    "#]]).await;
    check(&[b"\x0B", secret("1").as_bytes(), &framed(&secret("1"))].concat(), expect![[r#"
        WARN the peer gave up a message half way and began another; the half is dropped, unanswered; more from this connection is logged as debug channel=st-mary-adt peer=127.0.0.1
    "#]]).await;
}

#[tokio::test]
async fn a_refused_connection_says_why() {
    let (log, _recording) = Log::start();
    let site = Site::start(Engine::new(), |config| config.max_connections_per_peer = 1.try_into().unwrap());
    let mut first = site.connect().await;
    first.send(&framed(&adt("1"))).await;
    first.ack().await;
    for _ in 0..3 {
        assert!(site.connect().await.is_closed().await);
    }
    eventually("it was logged", || !log.text().is_empty()).await;
    expect![[r#"
        WARN connections are closed as they come channel=st-mary-adt peer=127.0.0.1 why=max_connections_per_peer is reached refused=1
    "#]].assert_eq(&log.warnings());
}

#[tokio::test]
async fn a_delivery_says_nothing_of_what_it_carries_or_hears() {
    let (log, _recording) = Log::start();
    let listener = tokio::net::TcpListener::bind(super::local()).await.unwrap();
    let mut config = OutboundConfig::new(listener.local_addr().unwrap().to_string().parse().unwrap());
    config.ack_timeout = millis(300);
    let outbound = Outbound::new("regional-ehr".into(), config);
    let receiver = async {
        for answer in [ack("AE", &format!("1|{SECRET}")), ack("AA", SECRET), framed(SECRET)] {
            let mut peer = Peer::new(listener.accept().await.unwrap().0);
            peer.frame().await;
            peer.send(&answer).await;
            drop(peer);
        }
    };
    let deliveries = async {
        let mut outcomes = String::new();
        for _ in 0..3 {
            let outgoing = Outgoing {
                message: id(1),
                delivery: 1,
                attempt: 0,
                format: message::Format::Hl7v2,
                bytes: secret("1").into(),
                transaction: None,
                unsigned: None,
                names: Vec::new(),
            };
            let error = outbound.deliver(&outgoing).await.unwrap_err();
            outcomes.push_str(&format!("{error}\n{error:?}\n"));
            tokio::task::yield_now().await;
        }
        outcomes
    };
    let ((), outcomes) = tokio::join!(receiver, deliveries);
    assert!(!outcomes.contains(SECRET), "{outcomes}");
    expect![[r#"
        WARN passed over an acknowledgment whose MSA-2 is not the MSH-10 of the message sent destination=regional-ehr peer=127.0.0.1
    "#]].assert_eq(&log.warnings());
}
