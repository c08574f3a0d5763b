//! Senders that want more than there is: connections, memory, patience. The others go on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::kit::hl7::{code, control_id, field, update};
use crate::kit::mllp::{Sender, framed};
use crate::kit::{DEADLINE, Fhir, HTTP_IN, MLLP_IN, QUICK, Running, Sink, Site, TO_OUT, http, wait_for, wait_until};

/// A channel `in` with these settings of its listener, to a receiver.
fn taking(sink: &Sink, settings: &str) -> Site {
    Site::new()
        .channel("in", &format!("{MLLP_IN}{settings}\n{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", sink.outbound("")))
}

/// True if the connection is closed without a word.
fn is_turned_away(mut sender: Sender) -> bool {
    // It may be closed before or while we write.
    sender.try_send(&update("P1", "TOO-MANY", "Ada")).is_err()
}

/// Until a connection is given a place, and its message taken.
fn send_once_there_is_a_place(running: &Running<'_>, id: &str) {
    let address = running.address("in");
    wait_until("there is a place again", || {
        let answer = Sender::connect(address).try_send(&update("P1", id, "Ada"));
        answer.is_ok_and(|ack| code(&ack) == "AA")
    });
}

#[test]
fn one_connection_too_many_is_closed_and_the_others_go_on() {
    let sink = Sink::good();
    let site = taking(&sink, "max_connections = 3");
    let running = site.start();
    let mut senders: Vec<Sender> = (0..3).map(|_| Sender::connect(running.address("in"))).collect();
    for (n, sender) in senders.iter_mut().enumerate() {
        sender.accepted(&update("P1", &format!("C{n}"), "Ada"));
    }
    assert!(is_turned_away(Sender::connect(running.address("in"))));
    wait_until("the log says why", || site.logs().contains("max_connections"));
    for (n, sender) in senders.iter_mut().enumerate() {
        sender.accepted(&update("P1", &format!("D{n}"), "Ada"));
    }
    drop(senders.pop());
    send_once_there_is_a_place(&running, "E1");
    running.wait_messages(&[("delivered", 7)]);
    assert!(!sink.control_ids().contains(&"TOO-MANY".to_owned()));
}

#[test]
fn one_peer_cannot_take_the_places_of_the_others() {
    let sink = Sink::good();
    let site = taking(&sink, "max_connections_per_peer = 2");
    let running = site.start();
    let address = running.address("in");
    let mut greedy: Vec<Sender> = (0..2).map(|_| Sender::connect(address)).collect();
    for (n, sender) in greedy.iter_mut().enumerate() {
        sender.accepted(&update("P1", &format!("C{n}"), "Ada"));
    }
    assert!(is_turned_away(Sender::connect(address)));
    // All of 127.0.0.0/8 is this machine: to the engine, another peer.
    Sender::connect_from([127, 0, 0, 2].into(), address).accepted(&update("P2", "C3", "Ben"));
    wait_until("the log says why", || site.logs().contains("max_connections_per_peer"));
    drop(greedy);
    send_once_there_is_a_place(&running, "C4");
    running.wait_messages(&[("delivered", 4)]);
}

#[test]
fn a_sender_that_reads_no_acknowledgments_holds_up_nobody_and_gets_them_all() {
    let sink = Sink::good();
    let site = taking(&sink, "window = 8\nwrite_timeout = \"10m\"");
    let running = site.start();
    let address = running.address("in");
    const COUNT: usize = 400;
    let ids: Vec<String> = (0..COUNT).map(|n| format!("C{n}")).collect();
    let (mut deaf, mut writes) = Sender::connect(address).split();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let all: Vec<u8> = ids.iter().flat_map(|id| framed(&update("P1", id, "Ada"))).collect();
            writes.write_all(&all).unwrap();
        });
        let mut other = Sender::connect(address);
        for n in 0..20 {
            other.accepted(&update("P2", &format!("D{n}"), "Ben"));
        }
        for id in &ids {
            let ack = deaf.read().unwrap();
            assert_eq!((code(&ack), field(&ack, "MSA", 2)), ("AA".into(), id.clone()));
        }
    });
    running.wait_messages(&[("delivered", COUNT as u64 + 20)]);
    let mine: Vec<String> = sink.control_ids().into_iter().filter(|id| id.starts_with('C')).collect();
    assert_eq!(mine, ids, "in order");
}

#[test]
fn a_message_that_is_too_long_or_never_ends_is_refused_and_the_next_is_taken() {
    let sink = Sink::good();
    let site = taking(&sink, "max_message_bytes = \"10KiB\"\nframe_timeout = \"1s\"");
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let mut long = update("P1", "LONG", "Ada");
    long.extend_from_slice(format!("NTE|1||{}\r", "x".repeat(20 << 10)).as_bytes());
    assert_eq!(code(&sender.send(&long)), "AE");
    sender.accepted(&update("P1", "C1", "Ada"));
    let half = framed(&update("P1", "ENDLESS", "Ada"));
    sender.write(&half[..half.len() - 20]).unwrap();
    let ack = sender.read().unwrap();
    assert_eq!((code(&ack), field(&ack, "MSA", 2)), ("AE".into(), "ENDLESS".into()));
    assert!(sender.read().is_err(), "then it is closed");
    Sender::connect(running.address("in")).accepted(&update("P1", "C2", "Ada"));
    running.wait_messages(&[("delivered", 2)]);
    assert_eq!(sink.taken().iter().map(|message| control_id(message)).collect::<Vec<_>>(), ["C1", "C2"]);
    assert!(
        site.logs().contains("max_message_bytes") && site.logs().contains("did not end in time"),
        "{}",
        site.logs()
    );
}

/// A channel `in` that takes Bundles, with these settings of its listener.
fn taking_bundles(fhir: &Fhir, settings: &str) -> Site {
    Site::new()
        .channel("in", &format!("{HTTP_IN}{settings}\n{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")))
}

#[test]
fn a_full_intake_answers_429_and_says_when_to_come_back() {
    let fhir = Fhir::start();
    let site = taking_bundles(&fhir, "max_body_bytes = \"64KiB\"\nmax_bytes_in_flight = \"64KiB\"");
    let running = site.start();
    let address = running.address("in");
    // One that has all the room there is, and takes its time.
    let bundle = http::bundle("B1", "P1", "Ada");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{}",
        64 << 10,
        " ".repeat((64 << 10) - bundle.len())
    );
    let mut slow = wait_for("the intake is full", || {
        let mut slow = TcpStream::connect(address).unwrap();
        slow.set_read_timeout(Some(DEADLINE)).unwrap();
        slow.write_all(head.as_bytes()).unwrap();
        let answer = http::post(address, "", &http::bundle("B2", "P2", "Ben"));
        if answer.status == 202 {
            // It came first: then there was no room for the slow one.
            return None;
        }
        let wait =
            answer.head.to_ascii_lowercase().lines().find_map(|line| {
                line.strip_prefix("retry-after: ").and_then(|seconds| seconds.trim().parse::<u64>().ok())
            });
        assert_eq!(answer.status, 429, "{}", answer.body);
        assert!(wait.is_some_and(|wait| wait >= 1), "{}", answer.head);
        assert!(answer.body.contains("OperationOutcome") && answer.body.contains("throttled"), "{}", answer.body);
        Some(slow)
    });
    slow.write_all(&bundle).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    wait_until("there is room again", || http::post(address, "", &http::bundle("B3", "P3", "Cy")).status == 202);
    wait_until("they arrive", || fhir.given_name("P1").is_some() && fhir.given_name("P3").is_some());
}

#[test]
fn one_client_too_many_is_told_so() {
    let fhir = Fhir::start();
    let site = taking_bundles(&fhir, "max_connections = 2");
    let running = site.start();
    let address = running.address("in");
    let kept: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    wait_until("all places are taken", || {
        // Told before or while it writes.
        http::try_post(address, "", &http::bundle("B1", "P1", "Ada")).is_ok_and(|answer| answer.status == 503)
    });
    drop(kept);
    wait_until("there is a place again", || {
        http::try_post(address, "", &http::bundle("B1", "P1", "Ada")).is_ok_and(|answer| answer.status == 202)
    });
    running.wait_messages(&[("delivered", 1)]);
}
