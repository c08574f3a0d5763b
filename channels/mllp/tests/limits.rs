//! What happens past each limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use super::{Engine, Peer, Site, adt, eventually, framed, millis, stored};
use crate::setting::Size;

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn one() -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::MIN
}

/// A message of about `length` bytes.
fn long(control_id: &str, length: usize) -> String {
    format!("{}OBX|1|ED|PDF||{}\r", adt(control_id), "A".repeat(length))
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_and_the_next_is_taken() {
    let engine = Engine::new();
    let site = Site::start(engine.clone(), |config| config.max_message_bytes = Size(1000));
    let mut peer = site.connect().await;
    peer.send(&framed(&long("1", 3_000_000))).await;
    assert_eq!(peer.ack().await, "AE 1: the message is longer than the 1000 bytes that are taken here");
    peer.send(&framed(&adt("2"))).await;
    assert_eq!(peer.ack().await, "AA 2");
    assert_eq!((engine.count(), load(&site.counts.too_long)), (1, 1));
}

#[tokio::test]
async fn twenty_megabytes_come_through_unchanged() {
    let engine = Engine::new();
    let site = Site::start(engine.clone(), |_| ());
    let message = long("1", 20_000_000);
    let mut peer = site.connect().await;
    peer.send(&framed(&message)).await;
    peer.send(&framed(&adt("2"))).await;
    assert_eq!(peer.ack().await, "AA 1");
    assert_eq!(peer.ack().await, "AA 2");
    assert!(engine.offers()[0] == message.as_bytes());
}

#[tokio::test]
async fn a_message_without_an_end_is_refused_in_time() {
    let site = Site::start(Engine::new(), |config| config.frame_timeout = millis(300));
    let mut peer = site.connect().await;
    peer.send(b"\x0B").await;
    peer.send(adt("1").as_bytes()).await;
    assert_eq!(peer.ack().await, "AE 1: the end of the message (FS CR) did not come within 300ms");
    assert_eq!(peer.ack().await, "the end");
    assert_eq!(load(&site.counts.too_slow), 1);
    let mut peer = site.connect().await;
    peer.send(b"\x0BMS").await;
    assert_eq!(peer.ack().await, "the end");
}

/// A trickle does not renew the time that a message has.
#[tokio::test]
async fn a_trickle_is_no_excuse() {
    let site = Site::start(Engine::new(), |config| config.frame_timeout = millis(300));
    let mut peer = site.connect().await;
    peer.send(b"\x0BMSH|").await;
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
    while load(&site.counts.too_slow) == 0 {
        ticks.tick().await;
        if peer.stream.write_all(b"x").await.is_err() {
            break;
        }
    }
    eventually("the trickle was ended", || load(&site.counts.too_slow) == 1).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let site = Site::start(Engine::new(), |config| config.idle_timeout = millis(300));
    let mut peer = site.connect().await;
    peer.send(&framed(&adt("1"))).await;
    assert_eq!(peer.ack().await, "AA 1");
    assert_eq!(peer.ack().await, "the end");
}

/// What waits for its answer is not silent.
#[tokio::test]
async fn a_connection_that_waits_for_an_answer_is_not_idle() {
    let engine = Engine::deciding(|_, number| {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            stored(number)
        })
    });
    let site = Site::start(engine, |config| config.idle_timeout = millis(300));
    let mut peer = site.connect().await;
    peer.send(&framed(&adt("1"))).await;
    assert_eq!(peer.acks().await, "AA 1");
}

#[tokio::test]
async fn endless_noise_is_cut_off() {
    let site = Site::start(Engine::new(), |config| config.max_noise_bytes = Size(1000));
    let mut peer = site.connect().await;
    while peer.stream.write_all(&[b'x'; 5000]).await.is_ok() {}
    eventually("the noise was counted", || load(&site.counts.noise_bytes) > 1000).await;
    let mut tls = site.connect().await;
    tls.send(b"\x16\x03\x01").await;
    tls.send(&framed(&adt("1"))).await;
    assert_eq!(tls.ack().await, "AA 1");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_a_free_place_is_given_again() {
    let site = Site::start(Engine::new(), |config| config.max_connections = one());
    let mut first = site.connect().await;
    first.send(&framed(&adt("1"))).await;
    assert_eq!(first.ack().await, "AA 1");
    assert!(site.connect().await.is_closed().await);
    assert_eq!(load(&site.counts.refused_connections), 1);
    first.hang_up().await;
    assert!(first.is_closed().await);
    loop {
        let mut next = site.connect().await;
        if next.stream.write_all(&framed(&adt("2"))).await.is_ok() && next.ack().await == "AA 2" {
            break;
        }
    }
}

#[tokio::test]
async fn one_peer_cannot_take_all_places() {
    let site = Site::start(Engine::new(), |config| config.max_connections_per_peer = one());
    let mut greedy = site.connect().await;
    greedy.send(&framed(&adt("1"))).await;
    assert_eq!(greedy.ack().await, "AA 1");
    assert!(site.connect().await.is_closed().await);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Peer::new(socket.connect(site.address).await.unwrap());
    other.send(&framed(&adt("2"))).await;
    assert_eq!(other.ack().await, "AA 2");
}

#[tokio::test]
async fn a_flood_of_connections_leaves_the_others_alone() {
    let site = Site::start(Engine::new(), |config| config.max_connections = 5.try_into().unwrap());
    let mut honest = site.connect().await;
    honest.send(&framed(&adt("1"))).await;
    assert_eq!(honest.ack().await, "AA 1");
    let mut flood = Vec::new();
    for _ in 0..300 {
        flood.push(site.connect().await);
    }
    eventually("the flood was refused", || load(&site.counts.refused_connections) == 296).await;
    honest.send(&framed(&adt("2"))).await;
    assert_eq!(honest.ack().await, "AA 2");
}

/// Past the budget nothing is read, but for one message; with room again it all comes.
#[tokio::test]
async fn memory_in_flight_is_bounded() {
    let gate = Arc::new(Semaphore::new(0));
    let engine = {
        let gate = gate.clone();
        Engine::deciding(move |_, number| {
            let gate = gate.clone();
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                stored(number)
            })
        })
    };
    let site = Site::start(engine.clone(), |config| config.max_bytes_in_flight = Size(100 << 10));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut peer = site.connect().await;
        senders.spawn(async move {
            for number in 0..20 {
                peer.send(&framed(&long(&number.to_string(), 20_000))).await;
            }
            peer.hang_up().await;
            assert_eq!(peer.acks().await.split(", ").count(), 20);
        });
    }
    for answered in 0..80 {
        eventually("another came", || engine.count() > answered).await;
        let in_flight = engine.count() - answered;
        assert!(in_flight <= 6, "{in_flight} messages of 20 kB in a budget of 100 KiB");
        gate.add_permits(1);
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
}

/// Each holds a part of the budget and needs more of it than there is: none may wait for ever.
#[tokio::test]
async fn half_messages_do_not_wait_for_one_another() {
    let engine = Engine::new();
    let site = Site::start(engine.clone(), |config| {
        config.max_bytes_in_flight = Size(256 << 10);
        config.frame_timeout = millis(5000);
    });
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut peer = site.connect().await;
        senders.spawn(async move {
            peer.send(&framed(&long(&number.to_string(), 1_000_000))).await;
            assert_eq!(peer.ack().await, format!("AA {number}"));
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    assert_eq!(engine.count(), 8);
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_acknowledgments_is_let_go() {
    let engine = Engine::new();
    let site = Site::start(engine.clone(), |config| config.write_timeout = millis(100));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(site.address).await.unwrap();
    let message = framed(&adt(&"9".repeat(15_000)));
    let sending = async {
        for _ in 0..100_000 {
            if deaf.write_all(&message).await.is_err() {
                return;
            }
        }
        panic!("it may send for ever");
    };
    tokio::time::timeout(super::SOON, sending).await.unwrap();
    eventually("it was let go", || load(&site.counts.unanswered) > 0).await;
}
