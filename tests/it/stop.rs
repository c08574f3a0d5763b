//! The end of a run in good order.

use std::time::Duration;

use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{QUICK, Reply, Sink, Site, wait_until};

#[test]
fn a_stop_finishes_what_is_in_flight_and_ends_with_0() {
    let late = Reply::Late(Duration::from_millis(800), Box::new(Reply::Code("AA")));
    let sink = Sink::start(move |_, _| late.clone());
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for n in 1..=3 {
        sender.accepted(&update("P1", &format!("C{n}"), "Ada"));
    }
    wait_until("the first is under way", || sink.taken().len() == 1);
    running.terminate();
    let status = site.json(&["status"]);
    assert_eq!(status["running"], false);
    assert!(status["messages"]["delivered"].as_u64().unwrap() >= 1, "{status:#}");
    assert_eq!(sink.taken().len() as u64, status["messages"]["delivered"].as_u64().unwrap());
    sink.script(|_, _| Reply::Code("AA"));
    let running = site.start();
    running.wait_messages(&[("delivered", 3)]);
    assert_eq!(sink.control_ids(), ["C1", "C2", "C3"], "nothing twice");
}

#[test]
fn a_stop_does_not_wait_longer_than_its_grace() {
    let sink = Sink::start(|_, _| Reply::Silence);
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound(""))).engine("grace    = \"20s\"", "grace = \"300ms\"");
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    wait_until("it is under way", || sink.taken().len() == 1);
    running.terminate();
    sink.script(|_, _| Reply::Code("AA"));
    let running = site.start();
    running.wait_messages(&[("delivered", 1)]);
    running.terminate();
    site.verify();
}

#[test]
fn a_stop_answers_all_that_was_read() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let address = running.address("in");
    let accepted = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|patient| {
                scope.spawn(move || {
                    let mut sender = Sender::connect(address);
                    let message = |n: usize| update(&format!("P{patient}"), &format!("P{patient}-{n}"), "Ada");
                    (0..).take_while(|n| sender.try_send(&message(*n)).is_ok()).count()
                })
            })
            .collect();
        wait_until("they are at it", || running.status().channels[0].accepted > 50);
        running.terminate();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum::<usize>()
    });
    let stored = site.messages().len();
    // A message whose bytes had all come is answered before the connection ends.
    assert_eq!(stored, accepted);
    let running = site.start();
    running.wait_messages(&[("delivered", accepted as u64)]);
    running.terminate();
    site.verify();
}

#[test]
fn an_interrupted_start_loses_nothing() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for n in 1..=50 {
        sender.accepted(&update("P1", &format!("C{n}"), "Ada"));
    }
    running.kill();
    for millis in [5, 20, 60, 120] {
        let mut child = site.command(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let running = site.start();
    running.wait_messages(&[("delivered", 50)]);
    running.terminate();
    site.verify();
}
