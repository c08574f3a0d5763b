//! What senders hear: original and enhanced mode, and how long they wait for it.

use crate::kit::hl7::{adt, code, field, update};
use crate::kit::mllp::{Sender, framed};
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, QUICK, Reply, Sink, Site, TO_OUT, http, wait_until};

/// One channel whose senders hear when a message has come as far as `policy` says.
fn waiting(policy: &str, extra: &str, out: &str) -> Site {
    let channel = format!("{MLLP_IN}acknowledge = \"{policy}\"\n{extra}\n{TO_OUT}");
    Site::new().channel("in", &channel).destination("out", out)
}

#[test]
fn stored_is_answered_whatever_the_destination_does() {
    let sink = Sink::start(|_, _| Reply::Silence);
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let message = update("P1", "C1", "Ada");
    let ack = sender.send(&message);
    assert_eq!((code(&ack), field(&ack, "MSA", 2)), ("AA".into(), "C1".into()));
    assert_eq!(field(&ack, "MSH", 9), "ACK^A08^ACK");
    assert_eq!((field(&ack, "MSH", 3), field(&ack, "MSH", 5)), ("TRIBUTARY".into(), "MERIDIAN".into()));
    assert_ne!(field(&ack, "MSH", 10), "C1");
}

#[test]
fn enhanced_mode_commits_and_then_tells_what_came_of_it() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let commit_alone = adt("A08", "P1", "C1", "Ada", "|||AL|NE");
    assert_eq!(code(&sender.send(&commit_alone)), "CA");
    let both = adt("A08", "P1", "C2", "Ada", "|||AL|AL");
    assert_eq!(code(&sender.send(&both)), "CA");
    let outcome = sender.read().unwrap();
    assert_eq!((code(&outcome), field(&outcome, "MSA", 2)), ("AA".into(), "C2".into()));
    let outcome_alone = adt("A08", "P1", "C3", "Ada", "|||NE|SU");
    assert_eq!(code(&sender.send(&outcome_alone)), "AA");
    let errors_alone = adt("A08", "P1", "C4", "Ada", "|||ER|ER");
    sender.write(&framed(&errors_alone)).unwrap();
    assert!(sender.is_silent());
    let unsupported = adt("A08", "P1", "C5", "Ada", "|||ER|ER").to_vec();
    let unsupported = String::from_utf8(unsupported).unwrap().replace("|P|2.5.1", "|P|9.9");
    assert_eq!(code(&sender.send(unsupported.as_bytes())), "CR");
    running.wait_messages(&[("delivered", 4)]);
}

#[test]
fn pipelined_messages_are_answered_in_their_order() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let ids: Vec<String> = (0..100).map(|n| format!("C{n}")).collect();
    let all: Vec<u8> = ids.iter().flat_map(|id| framed(&update("P1", id, "Ada"))).collect();
    sender.write(&all).unwrap();
    for id in &ids {
        assert_eq!(field(&sender.read().unwrap(), "MSA", 2), *id);
    }
    running.wait_messages(&[("delivered", 100)]);
    assert_eq!(sink.control_ids(), ids);
}

#[test]
fn an_acknowledgment_that_comes_in_is_not_acknowledged() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.write(&framed(&crate::kit::sink::ack("AA", "C0"))).unwrap();
    assert!(sender.is_silent());
    sender.accepted(&update("P1", "C1", "Ada"));
    running.wait_messages(&[("delivered", 1)]);
}

#[test]
fn delivered_waits_for_the_destination() {
    let sink = Sink::start(|_, before| Reply::Code(["AE", "AA", "AR"][before.min(2)]));
    let site = waiting("delivered", "", &format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("P1", "C1", "Ada"));
    assert_eq!(sink.control_ids(), ["C1", "C1"], "it was taken before its sender heard so");
    assert_eq!(code(&sender.send(&update("P1", "C2", "Ada"))), "AE", "the destination refused it");
    running.wait_messages(&[("dead", 1), ("delivered", 1)]);
}

#[test]
fn delivered_is_told_later_where_the_destination_is_away() {
    let sink = Sink::good();
    let address = sink.address;
    let out = format!("{}{QUICK}[pause]\nprobe_interval = \"100ms\"\n", sink.outbound(""));
    drop(sink);
    let site = waiting("delivered", "outcome_timeout = \"300ms\"", &out);
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let message = update("P1", "C1", "Ada");
    assert_eq!(code(&sender.send(&message)), "AR", "not now");
    assert_eq!(code(&sender.send(&message)), "AR", "still not now, and not twice");
    let sink = Sink::start_at(address, |_, _| Reply::Code("AA"));
    running.wait_messages(&[("delivered", 1)]);
    sender.accepted(&message);
    assert_eq!(sink.control_ids(), ["C1"]);
}

#[test]
fn processed_tells_of_a_failed_transform() {
    let site = waiting("processed", "", "[outbound.file]\nfolder = \"out\"\n");
    let channel = format!("{MLLP_IN}acknowledge = \"processed\"\n{}{TO_OUT}", crate::kit::TO_FHIR);
    site.set_channel("in", &channel);
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("P1", "C1", "Ada"));
    let no_patient = b"MSH|^~\\&|MERIDIAN|ST-MARY|||20261102||ADT^A08^ADT_A01|C2|P|2.5.1\rEVN|A08\r";
    let ack = sender.send(no_patient);
    let message = site.message("C2");
    match message["message"]["state"].as_str().unwrap() {
        "failed" => {
            assert_eq!(code(&ack), "AE");
            assert!(!message["message"]["reason"].as_str().unwrap().is_empty());
        }
        _ => assert_eq!(code(&ack), "AA"),
    }
}

#[test]
fn a_bundle_is_answered_with_what_the_repository_said() {
    let fhir = Fhir::start();
    let site = Site::new()
        .channel("in", &format!("{HTTP_IN}acknowledge = \"delivered\"\n{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    let address = running.address("in");
    let answer = http::post(address, "", &http::bundle("B1", "P1", "Ada"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("transaction-response"), "{}", answer.body);
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Ada"));
    fhir.behave(serde_json::json!({ "refuse": ["Patient"] }));
    let refused = http::post(address, "", &http::bundle("B2", "P2", "Ben"));
    assert_eq!(refused.status, 422, "{}", refused.body);
    running.wait_messages(&[("dead", 1), ("delivered", 1)]);
}

#[test]
fn a_client_that_does_not_wait_loses_nothing() {
    let fhir = Fhir::start();
    let site = Site::new()
        .channel("in", &format!("{HTTP_IN}{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    let address = running.address("in");
    // Each hangs up as soon as its body has left: what is stored of them must also be delivered.
    for n in 0..50 {
        let body = http::bundle(&format!("B{n}"), &format!("P{n}"), "Ada");
        http::post_and_hang_up(address, &body);
    }
    assert_eq!(http::post(address, "", &http::bundle("LAST", "P", "Zoe")).status, 202);
    wait_until("everything stored is delivered", || {
        let messages = running.status().messages;
        messages.keys().eq(["delivered"]) && fhir.given_name("P").is_some()
    });
}
