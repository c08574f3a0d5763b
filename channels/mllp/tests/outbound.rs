//! What receivers do, and what we make of it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use expect_test::{Expect, expect};
use message::Format;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use super::super::{Action, Outbound, OutboundConfig};
use super::{Peer, ack, adt, adt_asking, eventually, framed, id, millis};
use crate::{DeliveryError, Outbound as _, Outgoing, Receipt};

/// A receiver: each connection is given to `serve`, with its number.
struct Receiver {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(Peer, usize) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind(super::local()).await.unwrap(), serve)
    }

    fn on<F: Future<Output = ()> + Send + 'static>(
        listener: TcpListener,
        serve: impl Fn(Peer, usize) -> F + Send + Sync + 'static,
    ) -> Self {
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = connections.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut peers = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
                peers.spawn(serve(Peer::new(stream), number));
            }
        });
        Self { address, connections, _serving: serving }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn outbound(&self, set: impl FnOnce(&mut OutboundConfig)) -> Outbound {
        outbound(self.address, set)
    }
}

fn outbound(address: SocketAddr, set: impl FnOnce(&mut OutboundConfig)) -> Outbound {
    let mut config = OutboundConfig::new(address.to_string().parse().unwrap());
    config.ack_timeout = millis(5000);
    set(&mut config);
    Outbound::new("regional-ehr".into(), config)
}

/// Answers every message with AA.
async fn say_yes(mut peer: Peer, _: usize) {
    while let Some(control_id) = peer.message().await {
        peer.send(&ack("AA", &control_id)).await;
    }
}

fn outgoing(message: &str) -> Outgoing {
    Outgoing {
        message: id(1),
        delivery: 1,
        attempt: 0,
        format: Format::Hl7v2,
        bytes: Bytes::copy_from_slice(message.as_bytes()),
        transaction: None,
        unsigned: None,
        names: Vec::new(),
    }
}

fn show(outcome: Result<Receipt, DeliveryError>) -> String {
    match outcome {
        Ok(receipt) => format!("delivered: {}", receipt.summary),
        Err(DeliveryError::Unavailable { down: true, .. }) => "unavailable, down".to_owned(),
        Err(DeliveryError::Unavailable { reason, .. }) => format!("unavailable: {reason}"),
        Err(DeliveryError::Erred(receipt)) => format!("erred: {}", receipt.summary),
        Err(DeliveryError::Refused(receipt)) => format!("refused: {}", receipt.summary),
        Err(DeliveryError::Unknown { reason }) => format!("unknown: {reason}"),
        Err(error) => format!("{error:?}"),
    }
}

async fn deliver(outbound: &Outbound, control_id: &str) -> String {
    show(outbound.deliver(&outgoing(&adt(control_id))).await)
}

/// What becomes of message 1 if the receiver answers `pieces` and then waits for the end.
async fn check_message(message: String, set: impl FnOnce(&mut OutboundConfig), pieces: &[&[u8]], expected: Expect) {
    let answers: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let receiver = Receiver::start(move |mut peer, _| {
        let answers = answers.clone();
        async move {
            peer.message().await;
            for piece in answers {
                if piece == b"close" {
                    return;
                }
                peer.send(&piece).await;
                tokio::task::yield_now().await;
            }
            while peer.frame().await.is_some() {}
        }
    })
    .await;
    let outbound = receiver.outbound(|config| {
        // Short only where it is to run out, so that a busy machine changes nothing.
        config.ack_timeout = millis(if expected.data.contains("within 150ms") { 150 } else { 5000 });
        set(config);
    });
    expected.assert_eq(&show(outbound.deliver(&outgoing(&message)).await));
}

async fn check(pieces: &[&[u8]], expected: Expect) {
    check_message(adt("1"), |_| (), pieces, expected).await;
}

const CLOSE: &[u8] = b"close";

#[tokio::test]
async fn each_code_has_its_outcome() {
    check(&[&ack("AA", "1")], expect!["delivered: AA"]).await;
    check(&[&ack("CA", "1")], expect!["delivered: CA"]).await;
    check(&[&ack("AE", "1")], expect!["erred: AE"]).await;
    check(&[&ack("CE", "1")], expect!["erred: CE"]).await;
    check(&[&ack("AR", "1")], expect!["refused: AR"]).await;
    check(&[&ack("CR", "1")], expect!["refused: CR"]).await;
    let strict = |config: &mut OutboundConfig| config.answers.ae = Action::Dead;
    check_message(adt("1"), strict, &[&ack("AE", "1")], expect!["refused: AE"]).await;
}

#[tokio::test]
async fn an_answer_may_come_in_pieces() {
    let answer = ack("AA", "1");
    let bytes: Vec<&[u8]> = answer.chunks(1).collect();
    check(&bytes, expect!["delivered: AA"]).await;
    check(&[&answer[..answer.len() - 1]], expect!["delivered: AA"]).await;
    check(&[b"hello", &answer], expect!["delivered: AA"]).await;
}

#[tokio::test]
async fn an_answer_to_another_message_is_not_taken() {
    let (foreign, own) = (ack("AA", "0"), ack("AE", "1"));
    check(&[&foreign], expect!["unknown: no acknowledgment: none within 150ms, after 1 of other messages"]).await;
    check(&[&foreign, &own], expect!["erred: AE"]).await;
    check(
        &[&foreign, &foreign, CLOSE],
        expect!["unknown: no acknowledgment: the peer closed the connection, after 2 of other messages"],
    )
    .await;
    check(&[&foreign.repeat(20)], expect!["unknown: no acknowledgment of its own, after 8 of other messages"]).await;
    check(&[&ack("AA", "11")], expect!["unknown: no acknowledgment: none within 150ms, after 1 of other messages"])
        .await;
    check(&[&ack("AA", "")], expect!["unknown: the acknowledgment (AA) names no message: MSA-2 is empty"]).await;
}

/// Noise is given up on before the time is up.
#[tokio::test]
async fn endless_noise_is_no_answer() {
    let receiver =
        Receiver::start(|mut peer: Peer, _| async move { while peer.stream.write_all(&[b'x'; 5000]).await.is_ok() {} })
            .await;
    let outcome = deliver(&receiver.outbound(|_| ()), "1").await;
    assert!(outcome.ends_with("bytes that belong to no message (not MLLP)"), "{outcome}");
}

#[tokio::test]
async fn what_is_no_answer_leaves_it_unknown() {
    check(&[CLOSE], expect!["unknown: no acknowledgment: the peer closed the connection"]).await;
    check(&[], expect!["unknown: no acknowledgment: none within 150ms"]).await;
    check(
        &[&ack("AA", "1")[..30], CLOSE],
        expect!["unknown: no acknowledgment: the peer closed the connection, after 29 bytes of one without an end"],
    )
    .await;
    check(
        &[&ack("AA", "1")[..30]],
        expect!["unknown: no acknowledgment: none within 150ms, after 29 bytes of one without an end"],
    )
    .await;
    check(
        &[b"ERROR: no such channel\r\n", CLOSE],
        expect!["unknown: no acknowledgment: the peer closed the connection, after 22 bytes that are no MLLP frame"],
    )
    .await;
    check(
        &[b"ERROR: no such channel\r\n"],
        expect!["unknown: no acknowledgment: none within 150ms, after 22 bytes that are no MLLP frame"],
    )
    .await;
    let small = |config: &mut OutboundConfig| config.max_ack_bytes = crate::setting::Size(10);
    check_message(
        adt("1"),
        small,
        &[&ack("AA", "1")],
        expect!["unknown: no acknowledgment: an answer of 70 bytes is too long"],
    )
    .await;
}

/// It was read, and not accepted: whatever it says, to try again is right.
#[tokio::test]
async fn a_frame_that_cannot_be_read_is_an_error() {
    check(
        &[&framed("channel stopped")],
        expect!["erred: unreadable acknowledgment: MSA: the answer has no MSA segment"],
    )
    .await;
    check(&[&framed("MSH|^~\\&|\rMSA|OK|1\r")], expect!["erred: unreadable acknowledgment: MSA-1: the answer's code is none of AA, AE, AR, CA, CE and CR (table 0008)"]).await;
}

#[tokio::test]
async fn after_a_commit_the_application_acknowledgment_decides() {
    let (commit, accept, error) = (ack("CA", "1"), ack("AA", "1"), ack("AE", "1"));
    let both = || adt_asking("1", "AL", "AL");
    check_message(both(), |_| (), &[&commit, &accept], expect!["delivered: AA"]).await;
    check_message(both(), |_| (), &[&commit, &error], expect!["erred: AE"]).await;
    check_message(both(), |_| (), &[&commit], expect!["unknown: no acknowledgment: none within 150ms, after CA"]).await;
    check_message(both(), |_| (), &[&ack("CR", "1")], expect!["refused: CR"]).await;
    check_message(both(), |config| config.await_application_ack = false, &[&commit], expect!["delivered: CA"]).await;
    for (fifteen, sixteen) in [("AL", "NE"), ("AL", ""), ("AL", "ER")] {
        check_message(adt_asking("1", fifteen, sixteen), |_| (), &[&commit], expect!["delivered: CA"]).await;
    }
    check_message(adt_asking("1", "NE", "AL"), |_| (), &[&accept], expect!["delivered: AA"]).await;
}

/// Where success is not told, the peer's orderly end after ours stands for it.
#[tokio::test]
async fn silence_is_success_only_where_it_was_asked_for() {
    let silent = || adt_asking("1", "ER", "NE");
    let expected = || expect!["delivered: sent whole; MSH-15 and MSH-16 ask for no acknowledgment of success"];
    check_message(silent(), |_| (), &[], expected()).await;
    check_message(adt_asking("1", "NE", "NE"), |_| (), &[], expected()).await;
    check_message(silent(), |_| (), &[&ack("CE", "1")], expect!["erred: CE"]).await;
    check_message(
        silent(),
        |_| (),
        &[b"\x0BMSH|", CLOSE],
        expect!["unknown: no acknowledgment: the peer closed the connection, after 4 bytes of one without an end"],
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_unsent() {
    let receiver = Receiver::start(say_yes).await;
    let outbound = receiver.outbound(|_| ());
    let message = |content: &str| outgoing(&adt("1").replace("123", content));
    for (outgoing, expected) in [
        (
            message("\x1C"),
            expect!["refused: not sent: the message holds a byte that MLLP cannot carry (VT or FS) at offset 82"],
        ),
        (
            message("\x0B"),
            expect!["refused: not sent: the message holds a byte that MLLP cannot carry (VT or FS) at offset 82"],
        ),
        (
            outgoing(&adt("")),
            expect!["refused: not sent: MSH-10 is empty, so that no acknowledgment could be matched to the message"],
        ),
        (
            outgoing("no message"),
            expect!["refused: not sent: MSH-10 is empty, so that no acknowledgment could be matched to the message"],
        ),
        (
            Outgoing { format: Format::FhirJson, ..outgoing("{}") },
            expect!["refused: not sent: MLLP carries HL7 v2 only; convert the message before this destination"],
        ),
    ] {
        expected.assert_eq(&show(outbound.deliver(&outgoing).await));
    }
    assert_eq!(deliver(&outbound, "2").await, "delivered: AA");
}

#[tokio::test]
async fn one_connection_carries_many_messages() {
    let receiver = Receiver::start(say_yes).await;
    let outbound = receiver.outbound(|_| ());
    for number in 0..20 {
        assert_eq!(deliver(&outbound, &number.to_string()).await, "delivered: AA");
    }
    assert_eq!(receiver.connections(), 1);
    let single = receiver.outbound(|config| config.reuse = false);
    for number in 0..3 {
        assert_eq!(deliver(&single, &number.to_string()).await, "delivered: AA");
    }
    assert_eq!(receiver.connections(), 4);
}

#[tokio::test]
async fn there_are_never_more_connections_than_set() {
    let receiver = Receiver::start(say_yes).await;
    let outbound = Arc::new(receiver.outbound(|config| config.connections = 3.try_into().unwrap()));
    let mut deliveries = JoinSet::new();
    for number in 0..50 {
        let outbound = outbound.clone();
        deliveries.spawn(async move { deliver(&outbound, &number.to_string()).await });
    }
    while let Some(outcome) = deliveries.join_next().await {
        assert_eq!(outcome.unwrap(), "delivered: AA");
    }
    assert!((1..=3).contains(&receiver.connections()));
}

/// The acknowledgment of message 1 comes when message 2 is under way: it must not be taken for it.
#[tokio::test]
async fn a_late_acknowledgment_meets_a_closed_connection() {
    let receiver = Receiver::start(|mut peer: Peer, number| async move {
        let control_id = peer.message().await.unwrap();
        if number == 1 {
            // Waits until the sender has given up.
            assert!(peer.is_closed().await);
            drop(peer.stream.write_all(&ack("AA", &control_id)).await);
        } else {
            peer.send(&ack("AE", &control_id)).await;
        }
        while peer.frame().await.is_some() {}
    })
    .await;
    let outbound = receiver.outbound(|config| config.ack_timeout = millis(400));
    assert_eq!(deliver(&outbound, "1").await, "unknown: no acknowledgment: none within 400ms");
    assert_eq!(deliver(&outbound, "2").await, "erred: AE");
    assert_eq!(receiver.connections(), 2);
}

/// A peer that acknowledges what it has not been sent yet, with the very id of the next message.
#[tokio::test]
async fn an_acknowledgment_that_comes_before_its_message_is_not_taken() {
    let hasty = Arc::new(AtomicUsize::new(0));
    let acted = hasty.clone();
    let receiver = Receiver::start(move |mut peer: Peer, number| {
        let acted = acted.clone();
        async move {
            let control_id = peer.message().await.unwrap();
            peer.send(&ack("AA", &control_id)).await;
            if number == 1 {
                peer.send(&ack("AA", "2")).await;
                acted.fetch_add(1, Ordering::Relaxed);
            }
            while let Some(control_id) = peer.message().await {
                peer.send(&ack("AE", &control_id)).await;
            }
        }
    })
    .await;
    let outbound = receiver.outbound(|_| ());
    assert_eq!(deliver(&outbound, "1").await, "delivered: AA");
    eventually("it was hasty", || hasty.load(Ordering::Relaxed) == 1).await;
    assert_eq!(deliver(&outbound, "2").await, "delivered: AA");
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_connection_on_which_others_were_answered_is_not_kept() {
    let receiver = Receiver::start(|mut peer: Peer, _| async move {
        while let Some(control_id) = peer.message().await {
            peer.send(&[ack("AA", "other"), ack("AA", &control_id)].concat()).await;
        }
    })
    .await;
    let outbound = receiver.outbound(|_| ());
    assert_eq!(deliver(&outbound, "1").await, "delivered: AA");
    assert_eq!(outbound.idle(), 0);
}

/// However often the receiver restarts between two messages, none is in doubt.
#[tokio::test]
async fn a_restart_between_messages_is_noticed_before_sending() {
    let mut receiver = Receiver::start(say_yes).await;
    let outbound = receiver.outbound(|_| ());
    for number in 0..5 {
        assert_eq!(deliver(&outbound, &number.to_string()).await, "delivered: AA");
        let address = receiver.address;
        drop(receiver);
        let listener = loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            match socket.bind(address).and_then(|()| socket.listen(16)) {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        receiver = Receiver::on(listener, say_yes);
    }
    assert_eq!(deliver(&outbound, "last").await, "delivered: AA");
}

#[tokio::test]
async fn a_peer_that_closes_after_each_answer_is_followed() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    let receiver = Receiver::start(move |mut peer: Peer, _| {
        let count = count.clone();
        async move {
            let control_id = peer.message().await.unwrap();
            peer.send(&ack("AA", &control_id)).await;
            drop(peer);
            count.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    let outbound = receiver.outbound(|_| ());
    for number in 1..=5 {
        assert_eq!(deliver(&outbound, &number.to_string()).await, "delivered: AA");
        eventually("it was closed", || closed.load(Ordering::Relaxed) == number).await;
        assert_eq!(receiver.connections(), number);
    }
}

/// Neither side is left with a connection that the other has closed.
#[tokio::test]
async fn a_connection_that_the_peer_closed_is_closed_soon() {
    let receiver = Receiver::start(|mut peer: Peer, _| async move {
        let control_id = peer.message().await.unwrap();
        peer.send(&ack("AA", &control_id)).await;
    })
    .await;
    let outbound = receiver.outbound(|config| config.idle_close = millis(300));
    assert_eq!(deliver(&outbound, "1").await, "delivered: AA");
    eventually("it was closed", || outbound.idle() == 0).await;
}

#[tokio::test]
async fn an_unused_connection_is_closed_in_time() {
    let receiver = Receiver::start(say_yes).await;
    let outbound = receiver.outbound(|config| config.idle_close = millis(30));
    assert_eq!(deliver(&outbound, "1").await, "delivered: AA");
    eventually("it was closed", || outbound.idle() == 0).await;
}

#[tokio::test]
async fn nobody_there_is_told_from_nobody_answering() {
    let nobody = TcpListener::bind(super::local()).await.unwrap().local_addr().unwrap();
    let unreachable = outbound(nobody, |_| ());
    assert_eq!(deliver(&unreachable, "1").await, "unavailable, down");
    assert!(matches!(unreachable.probe().await, Err(DeliveryError::Unavailable { down: true, .. })));
    let receiver = Receiver::start(say_yes).await;
    let probed = receiver.outbound(|_| ()).probe().await.unwrap();
    assert!(probed.starts_with(&format!("connected to {} in ", receiver.address)), "{probed}");
}

/// A message that did not leave whole cannot have been taken: no doubt about it.
#[tokio::test]
async fn a_peer_that_does_not_read_is_unavailable() {
    let receiver = Receiver::start(|peer, _| async move {
        let _kept_open_unread = peer;
        std::future::pending().await
    })
    .await;
    let outbound = receiver.outbound(|config| config.send_timeout = millis(100));
    let message = adt("1").replace("123", &"A".repeat(30_000_000));
    let outcome = show(outbound.deliver(&outgoing(&message)).await);
    assert_eq!(outcome, "unavailable: the message was not sent whole: the peer did not read it within 100ms");
}
