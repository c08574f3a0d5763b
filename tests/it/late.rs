//! Older events that arrive late, and messages that are sent again.

use serde_json::Value;

use crate::kit::hl7::{adt, update};
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, MLLP_IN, QUICK, Site, TO_FHIR, TO_OUT};

/// An update whose event is of this time; the sending is always of the same.
fn event(patient: &str, control_id: &str, given: &str, at: &str) -> Vec<u8> {
    let text = String::from_utf8(update(patient, control_id, given)).unwrap();
    text.replace("EVN|A08|20261102081512-0600", &format!("EVN|A08|{at}")).into_bytes()
}

/// Everything in the repository but what the engine says of its own doing.
fn content(fhir: &Fhir) -> Vec<Value> {
    let mut all = Vec::new();
    for kind in ["Patient", "Encounter", "Location", "Observation", "Organization"] {
        all.extend(fhir.repository.resources(kind).into_iter().map(|mut resource| {
            if let Some(members) = resource.as_object_mut() {
                members.remove("meta");
            }
            resource
        }));
    }
    all.sort_by_key(Value::to_string);
    all
}

#[test]
fn an_older_event_that_comes_late_does_not_roll_a_newer_state_back() {
    let fhir = Fhir::start();
    let site = Site::convert(&format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&event("P1", "C1", "Newest", "20261102120000"));
    running.wait_messages(&[("delivered", 1)]);
    sender.accepted(&event("P1", "C2", "Older", "20261102090000"));
    sender.accepted(&event("P2", "C3", "Other", "20261102080000"));
    running.wait_messages(&[("delivered", 3)]);
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Newest"));
    assert_eq!(fhir.given_name("P2").as_deref(), Some("Other"));
    // Whoever looks is told.
    let late = site.message("C2");
    let lineage = site.cli(&["lineage", late["message"]["id"].as_str().unwrap()]);
    assert!(lineage.contains("late") && lineage.contains("a newer event was taken before"), "{lineage}");
    let coverage = site.json(&["coverage", "--channel", "in"]);
    assert!(coverage["items"].as_array().unwrap().iter().any(|item| item["kind"] == "late"), "{coverage:#}");
    // What is kept survives a crash, and a rebuilt index.
    running.kill();
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&event("P1", "C4", "Older again", "20261102110000"));
    running.wait_messages(&[("delivered", 4)]);
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Newest"));
    running.terminate();
    site.cli(&["store", "rebuild"]);
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&event("P1", "C5", "Older still", "20261102113000"));
    running.wait_messages(&[("delivered", 5)]);
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Newest"));
    // An older message that is replayed rolls nothing back either; a newer one goes through.
    let id = late["message"]["id"].as_str().unwrap();
    site.cli(&["replay", id, "--reason", "test"]);
    sender.accepted(&event("P1", "C6", "Newer", "20261102130000"));
    running.wait_messages(&[("delivered", 6)]);
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Newer"));
    running.terminate();
    site.verify();
}

#[test]
fn a_channel_may_take_events_as_they_come() {
    let fhir = Fhir::start();
    let late = "[late_events]\npolicy = \"note\"\n";
    let site = Site::new()
        .channel("in", &format!("{MLLP_IN}{late}{TO_FHIR}{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&event("P1", "C1", "Newest", "20261102120000"));
    sender.accepted(&event("P1", "C2", "Older", "20261102090000"));
    running.wait_messages(&[("delivered", 2)]);
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Older"));
    let coverage = site.json(&["coverage", "--channel", "in"]);
    assert!(coverage["items"].as_array().unwrap().iter().any(|item| item["kind"] == "late"), "{coverage:#}");
}

#[test]
fn the_same_message_under_another_control_id_changes_nothing() {
    let fhir = Fhir::start();
    let site = Site::convert(&format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&adt("A01", "P1", "C1", "Ada", ""));
    running.wait_messages(&[("delivered", 1)]);
    let before = content(&fhir);
    assert!(before.len() >= 2, "{before:#?}");
    sender.accepted(&adt("A01", "P1", "C1", "Ada", ""));
    sender.accepted(&adt("A01", "P1", "C2", "Ada", ""));
    running.wait_messages(&[("delivered", 2)]);
    assert_eq!(content(&fhir), before);
}
