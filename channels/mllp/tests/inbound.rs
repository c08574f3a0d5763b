//! What senders send, and what they hear.

use std::sync::Arc;

use expect_test::{Expect, expect};
use message::{Answer, Fault};
use tokio::sync::Notify;

use super::{Engine, Peer, Site, adt, eventually, framed, id, millis, stored};
use crate::Ticket;

/// Sends `pieces`, each in its own segment, hangs up, and shows what was answered and counted.
async fn converse(pieces: &[&[u8]]) -> String {
    let engine = Engine::new();
    let site = Site::start(engine.clone(), |config| config.missing_cr_wait = millis(20));
    let mut peer = site.connect().await;
    for piece in pieces {
        peer.send(piece).await;
        tokio::task::yield_now().await;
    }
    peer.hang_up().await;
    let acks = peer.acks().await;
    let counts = site.counts.clone();
    site.stop().await;
    let mut shown = format!("{acks} | {} offered", engine.count());
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    for (name, counter) in [
        ("noise", &counts.noise_bytes),
        ("abandoned", &counts.abandoned),
        ("cut off", &counts.cut_off),
        ("acknowledgments", &counts.acknowledgments_received),
    ] {
        if load(counter) > 0 {
            shown.push_str(&format!(", {} {name}", load(counter)));
        }
    }
    shown
}

async fn check(pieces: &[&[u8]], expected: Expect) {
    expected.assert_eq(&converse(pieces).await);
}

#[tokio::test]
async fn acknowledges_a_message_however_it_is_cut() {
    let message = framed(&adt("1"));
    check(&[&message], expect!["AA 1 | 1 offered"]).await;
    check(&[&message[..1], &message[1..20], &message[20..]], expect!["AA 1 | 1 offered"]).await;
    let bytes: Vec<&[u8]> = message.chunks(1).collect();
    check(&bytes, expect!["AA 1 | 1 offered"]).await;
}

#[tokio::test]
async fn answers_pipelined_messages_in_order() {
    let both = [framed(&adt("1")), framed(&adt("2"))].concat();
    check(&[&both], expect!["AA 1, AA 2 | 2 offered"]).await;
    check(&[&both[..both.len() - 30], &both[both.len() - 30..]], expect!["AA 1, AA 2 | 2 offered"]).await;
}

#[tokio::test]
async fn forgives_framing_that_is_not_quite_right() {
    let whole = framed(&adt("1"));
    let without_cr = &whole[..whole.len() - 1];
    check(&[without_cr], expect!["AA 1 | 1 offered"]).await;
    check(&[without_cr, &framed(&adt("2"))], expect!["AA 1, AA 2 | 2 offered"]).await;
    check(&[b"hello\r\n", &whole, b"\r\n\r\n", &whole], expect!["AA 1, AA 1 | 2 offered, 5 noise"]).await;
    check(&[b"\x0BMSH|half", &whole], expect!["AA 1 | 1 offered, 1 abandoned"]).await;
    check(&[b"\x0B\x1C\r", &whole], expect!["AA 1 | 1 offered"]).await;
}

#[tokio::test]
async fn takes_a_message_without_cr_from_a_sender_that_waits() {
    let site = Site::start(Engine::new(), |config| config.missing_cr_wait = millis(20));
    let mut peer = site.connect().await;
    for number in ["1", "2"] {
        let whole = framed(&adt(number));
        peer.send(&whole[..whole.len() - 1]).await;
        assert_eq!(peer.ack().await, format!("AA {number}"));
    }
    peer.send(b"\r").await;
    peer.send(&framed(&adt("3"))).await;
    assert_eq!(peer.ack().await, "AA 3");
}

#[tokio::test]
async fn offers_nothing_of_a_message_that_is_cut_off() {
    let message = framed(&adt("1"));
    check(&[&message[..40]], expect![" | 0 offered, 1 cut off"]).await;
    check(&[&message, &message[..40]], expect!["AA 1 | 1 offered, 1 cut off"]).await;
}

#[tokio::test]
async fn answers_bytes_that_are_no_message() {
    check(&[b"\x0Bhello\x1C\r"], expect!["AA  | 1 offered"]).await;
}

#[tokio::test]
async fn never_answers_an_acknowledgment() {
    let ack = super::ack("AA", "77");
    check(&[&ack, &framed(&adt("1"))], expect!["AA 1 | 1 offered, 1 acknowledgments"]).await;
}

#[tokio::test]
async fn keeps_the_bytes_as_they_came() {
    let engine = Engine::new();
    let site = Site::start(engine.clone(), |_| ());
    let mut peer = site.connect().await;
    let message = b"MSH|^~\\&|M\xFCnster\r\nPID|\x1Cx\x0B\x00\n\n ";
    peer.send(&[b"\x0B".as_slice(), message, b"\x1C\r"].concat()).await;
    peer.ack().await;
    assert_eq!(engine.offers(), [message.as_slice()]);
}

#[tokio::test]
async fn says_what_the_engine_says() {
    let fault = |code| Fault::new(code, "PID[1]-3".to_owned(), "no identifier");
    let answers = move |number| match number {
        1 => Answer::Stored(id(1)),
        2 => Answer::Duplicate(id(1)),
        3 => Answer::Invalid(fault(101)),
        4 => Answer::Unsupported(fault(200)),
        5 => Answer::Unavailable { reason: "the disk is nearly full".into(), retry_after: None },
        _ => Answer::Conflict { id: id(2), earlier: id(1) },
    };
    let engine = Engine::answering(move |_, number| Ticket { answer: answers(number), outcome: None });
    let site = Site::start(engine, |_| ());
    let mut peer = site.connect().await;
    for number in 1..=7 {
        peer.send(&framed(&super::adt_asking(&number.to_string(), if number < 7 { "" } else { "AL" }, ""))).await;
    }
    peer.hang_up().await;
    let acks = peer.acks().await;
    expect!["AA 1, AA 2, AE 3: no identifier, AR 4: no identifier, AR 5: the message cannot be taken now, send it again later: the disk is nearly full, AE 6: this control id was used before for another message; give each message its own, CE 7: this control id was used before for another message; give each message its own"].assert_eq(&acks);
    assert_eq!(site.counts.sent(message::hl7v2::ack::AcknowledgmentCode::Ar), 2);
}

/// Stored side by side, in whatever order the disk likes; offered and answered in order.
#[tokio::test]
async fn stores_side_by_side_and_answers_in_order() {
    let last = Arc::new(Notify::new());
    let engine = {
        let last = last.clone();
        Engine::deciding(move |_, number| {
            let last = last.clone();
            Box::pin(async move {
                if number == 1 {
                    last.notified().await;
                } else if number == 10 {
                    last.notify_one();
                }
                stored(number)
            })
        })
    };
    let site = Site::start(engine.clone(), |_| ());
    let mut peer = site.connect().await;
    let all: Vec<u8> = (1..=10).flat_map(|number| framed(&adt(&number.to_string()))).collect();
    peer.send(&all).await;
    for number in 1..=10 {
        assert_eq!(peer.ack().await, format!("AA {number}"));
    }
    let offered: Vec<String> =
        engine.offers().iter().map(|bytes| message::hl7v2::Header::read(bytes).control_id().into_owned()).collect();
    assert_eq!(offered, (1..=10).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn reads_no_further_than_the_window() {
    let gate = Arc::new(Notify::new());
    let engine = {
        let gate = gate.clone();
        Engine::deciding(move |_, number| {
            let gate = gate.clone();
            Box::pin(async move {
                gate.notified().await;
                stored(number)
            })
        })
    };
    let site = Site::start(engine.clone(), |config| config.window = 3.try_into().unwrap());
    let mut peer = site.connect().await;
    let all: Vec<u8> = (1..=10).flat_map(|number| framed(&adt(&number.to_string()))).collect();
    peer.send(&all).await;
    for answered in 0..10 {
        eventually("the window filled", || engine.count() >= (answered + 3).min(10)).await;
        assert!(engine.count() <= answered + 3);
        gate.notify_one();
        assert_eq!(peer.ack().await, format!("AA {}", answered + 1));
    }
}

#[tokio::test]
async fn a_stop_answers_what_was_read_and_reads_no_more() {
    let gate = Arc::new(Notify::new());
    let engine = {
        let gate = gate.clone();
        Engine::deciding(move |_, number| {
            let gate = gate.clone();
            Box::pin(async move {
                gate.notified().await;
                stored(number)
            })
        })
    };
    let site = Site::start(engine.clone(), |_| ());
    let address = site.address;
    let mut peer = site.connect().await;
    let mut silent = site.connect().await;
    peer.send(&[framed(&adt("1")), framed(&adt("2")), b"\x0BMSH|half".to_vec()].concat()).await;
    eventually("both were read", || engine.count() == 2).await;
    site.stopping();
    assert!(silent.is_closed().await);
    gate.notify_one();
    gate.notify_one();
    assert_eq!(peer.ack().await, "AA 1");
    gate.notify_one();
    assert_eq!(peer.ack().await, "AA 2");
    assert_eq!(peer.ack().await, "the end");
    site.stop().await;
    assert_eq!(engine.count(), 2);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_peer_that_hangs_up_its_side_still_hears_the_answer() {
    let engine = Engine::deciding(|_, number| {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            stored(number)
        })
    });
    let site = Site::start(engine, |_| ());
    let mut peer: Peer = site.connect().await;
    peer.send(&framed(&adt("1"))).await;
    peer.hang_up().await;
    assert_eq!(peer.acks().await, "AA 1");
}
