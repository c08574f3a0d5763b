//! The same control id again: the same message, another one, another sender's.

use crate::kit::hl7::{code, update};
use crate::kit::mllp::Sender;
use crate::kit::{HTTP_IN, Sink, Site, TO_OUT, http};

#[test]
fn the_same_bytes_get_the_earlier_answer_again_over_restarts() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let message = update("P1", "C1", "Ada");
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&message);
    sender.accepted(&message);
    running.wait_messages(&[("delivered", 1)]);
    running.kill();
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&message);
    running.terminate();
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&message);
    running.wait_messages(&[("delivered", 1)]);
    assert_eq!(sink.control_ids(), ["C1"]);
    assert_eq!(site.messages_called("C1").len(), 1);
}

#[test]
fn other_bytes_are_answered_ae_and_both_are_kept() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("P1", "C1", "Ada"));
    let other = update("P1", "C1", "Eve");
    assert_eq!(code(&sender.send(&other)), "AE");
    assert_eq!(code(&sender.send(&other)), "AE", "it does not become right by being sent again");
    sender.accepted(&update("P1", "C1", "Ada"));
    running.wait_idle();
    let kept = site.messages_called("C1");
    let states: Vec<&str> = kept.iter().map(|message| message["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "delivered"], "{kept:#?}");
    assert!(kept[0]["reason"].as_str().unwrap().contains("control id"), "{kept:#?}");
    let id = kept[0]["id"].as_str().unwrap();
    assert_eq!(site.run(&["messages", "show", id, "--original"]).stdout, other);
    assert_eq!(sink.control_ids(), ["C1"]);
    running.kill();
    // After a crash it is parked as before, and not taken for one that waits for its transforms.
    let running = site.start();
    running.wait_messages(&[("delivered", 1), ("failed", 1)]);
    assert_eq!(sink.control_ids(), ["C1"]);
    assert_eq!(code(&Sender::connect(running.address("in")).send(&other)), "AE");
}

#[test]
fn two_senders_may_use_the_same_control_id() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let theirs = String::from_utf8(update("P2", "C1", "Ben")).unwrap().replace("MERIDIAN", "LABSYS");
    sender.accepted(&update("P1", "C1", "Ada"));
    sender.accepted(theirs.as_bytes());
    running.wait_messages(&[("delivered", 2)]);
    assert_eq!(sink.taken().len(), 2);
}

#[test]
fn a_bundle_is_known_by_its_identifier() {
    let site = Site::new()
        .channel("in", &format!("{HTTP_IN}{TO_OUT}"))
        .destination("out", "[outbound.file]\nfolder = \"out\"\n");
    let running = site.start();
    let address = running.address("in");
    let bundle = http::bundle("B1", "P1", "Ada");
    let first = http::post(address, "", &bundle);
    assert_eq!(first.status, 202, "{}", first.body);
    let again = http::post(address, "", &bundle);
    assert_eq!(again.status, 202);
    assert!(again.body.contains("duplicate"), "{}", again.body);
    let other = http::post(address, "", &http::bundle("B1", "P1", "Eve"));
    assert_eq!(other.status, 409, "{}", other.body);
    let location = |answer: &http::Answer| {
        let line = answer.head.lines().find(|line| line.to_ascii_lowercase().starts_with("location:"));
        line.unwrap()["location:".len()..].trim().to_owned()
    };
    assert_eq!(location(&first), location(&again));
    running.wait_messages(&[("delivered", 1), ("failed", 1)]);
    let status = http::get(address, &location(&first));
    assert!(status.body.contains("delivered"), "{}", status.body);
}
