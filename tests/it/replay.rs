//! Stored messages through today's transforms and routes again.

use serde_json::Value;

use crate::kit::hl7::{control_id, patient, update};
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, MLLP_IN, QUICK, Reply, Running, Sink, Site, TO_OUT, wait_for, wait_until};

fn send(running: &Running<'_>, range: std::ops::RangeInclusive<usize>) {
    let mut sender = Sender::connect(running.address("in"));
    for n in range {
        sender.accepted(&update(&format!("P{n}"), &format!("C{n}"), "Ada"));
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// How the newest job stands.
fn job(site: &Site) -> Value {
    site.json(&["replay", "--jobs"])[0].clone()
}

#[test]
fn dead_letters_are_replayed_once_the_receiver_is_mended() {
    let sink = Sink::start(|message, _| Reply::Code(if patient(message) == "P3" { "AA" } else { "AR" }));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, 1..=3);
    running.wait_messages(&[("dead", 2), ("delivered", 1)]);
    sink.script(|_, _| Reply::Code("AA"));
    let done = site.json(&["replay", "--state", "dead", "--destination", "out", "--reason", "mended"]);
    assert_eq!((&done["state"], &done["replayed"]), (&"done".into(), &2.into()));
    running.wait_messages(&[("delivered", 3)]);
    running.wait_deliveries("out", &[("delivered", 3), ("skipped", 2)]);
    assert_eq!(sorted(sink.control_ids()), ["C1", "C1", "C2", "C2", "C3"]);
    running.terminate();
    site.verify();
}

/// More than a page of them, and the receiver refuses them all again: what is replayed is selected no more.
#[test]
fn dead_letters_that_die_again_are_replayed_once() {
    let sink = Sink::start(|_, _| Reply::Code("AR"));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, 1..=120);
    running.wait_messages(&[("dead", 120)]);
    let done = site.json(&["replay", "--state", "dead", "--destination", "out", "--reason", "hope"]);
    assert_eq!((&done["state"], &done["replayed"]), (&"done".into(), &120.into()));
    running.wait_deliveries("out", &[("dead", 120), ("skipped", 120)]);
    running.terminate();
    site.verify();
}

#[test]
fn one_message_is_replayed_by_its_id_and_says_so() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, 1..=2);
    running.wait_messages(&[("delivered", 2)]);
    let id = site.message("C1")["message"]["id"].as_str().unwrap().to_owned();
    site.cli(&["replay", &id, "--reason", "they lost it"]);
    running.wait_deliveries("out", &[("delivered", 3)]);
    assert_eq!(sorted(sink.control_ids()), ["C1", "C1", "C2"]);
    let lineage = site.cli(&["lineage", &id]);
    assert!(lineage.contains("they lost it"), "{lineage}");
    assert_eq!(site.run(&["replay", "--reason", "nothing selected"]).status.code(), Some(1));
}

#[test]
fn a_replay_to_one_destination_leaves_the_others_alone() {
    let (left, right) = (Sink::good(), Sink::start(|_, _| Reply::Code("AR")));
    let site = Site::relay(&left.outbound(""));
    site.set_destination("right", &format!("{}{QUICK}", right.outbound("")));
    let both = "[[route]]\nto = [\"out\", \"right\"]\npurpose = \"TREAT\"\n";
    site.set_channel("in", &format!("{MLLP_IN}{both}"));
    let running = site.start();
    send(&running, 1..=2);
    running.wait_messages(&[("dead", 2)]);
    running.wait_deliveries("out", &[("delivered", 2)]);
    right.script(|_, _| Reply::Code("AA"));
    site.cli(&["replay", "--state", "dead", "--destination", "right", "--reason", "mended"]);
    running.wait_messages(&[("delivered", 2)]);
    assert_eq!(left.taken().len(), 2);
    assert_eq!(right.taken().len(), 4);
}

#[test]
fn a_dry_run_shows_what_would_change_and_sends_nothing() {
    let fhir = Fhir::start();
    let site = Site::convert(&format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    send(&running, 1..=1);
    running.wait_messages(&[("delivered", 1)]);
    let (requests, versions) = (fhir.repository.requests(), fhir.repository.versions());
    let same = site.cli(&["replay", "--all", "--dry-run"]);
    assert!(same.contains("1 would go out as before, 0 would not"), "{same}");
    site.set_channel("in", &format!("confidentiality = \"R\"\n{MLLP_IN}{}{TO_OUT}", crate::kit::TO_FHIR));
    site.cli(&["reload"]);
    let other = site.cli(&["replay", "--all", "--dry-run"]);
    assert!(other.contains("+") && other.contains("\"R\""), "{other}");
    assert_eq!(fhir.repository.requests(), requests);
    // Sending it again as it was changes nothing in the repository.
    site.set_channel("in", &format!("{MLLP_IN}{}{TO_OUT}", crate::kit::TO_FHIR));
    site.cli(&["reload"]);
    site.cli(&["replay", "--all", "--reason", "again"]);
    running.wait_deliveries("out", &[("delivered", 2)]);
    assert_eq!(fhir.repository.versions(), versions, "sent twice, nothing changed");
}

#[test]
fn a_dry_run_tells_what_cannot_be_replayed_and_that_there_is_more() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    site.set_channel("gone", &format!("{MLLP_IN}{TO_OUT}"));
    let running = site.start();
    send(&running, 1..=3);
    Sender::connect(running.address("gone")).accepted(&update("P9", "C9", "Zoe"));
    running.wait_messages(&[("delivered", 4)]);
    std::fs::remove_file(site.path("channels/gone.toml")).unwrap();
    site.cli(&["reload"]);
    let all = site.cli(&["replay", "--all", "--dry-run"]);
    assert!(all.contains("no channel `gone`") && all.contains("3 would go out as before, 1 would not"), "{all}");
    let first = site.json(&["replay", "--all", "--dry-run", "-n", "2"]);
    assert_eq!((first["compared"].as_array().unwrap().len(), &first["more"]), (2, &true.into()));
    let done = site.json(&["replay", "--all", "--reason", "all of it"]);
    assert_eq!((&done["replayed"], &done["skipped"]), (&3.into(), &1.into()));
}

#[test]
fn a_failed_message_is_replayed_when_its_cause_is_mended() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let only_oru = "[[route]]\nto = \"out\"\npurpose = \"TREAT\"\nwhen = \"MSH-9.1 = 'ORU'\"\n";
    site.set_channel("in", &format!("{MLLP_IN}{only_oru}"));
    let running = site.start();
    send(&running, 1..=2);
    running.wait_messages(&[("filtered", 2)]);
    site.set_channel("in", &format!("{MLLP_IN}{TO_OUT}"));
    site.cli(&["reload"]);
    site.cli(&["replay", "--state", "filtered", "--since", "1h", "--reason", "the route was wrong"]);
    running.wait_messages(&[("delivered", 2)]);
}

#[test]
fn a_job_keeps_its_rate_goes_on_after_a_kill_and_repeats_nothing() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, 1..=30);
    running.wait_messages(&[("delivered", 30)]);
    site.cli(&["replay", "--all", "--rate", "20", "--background", "--reason", "all of it"]);
    wait_until("it has begun", || job(&site)["replayed"].as_u64().unwrap() >= 3);
    running.kill();
    let running = site.start();
    let done = wait_for("the job is done", || Some(job(&site)).filter(|job| job["state"] == "done"));
    assert_eq!(done["replayed"], 30);
    running.wait_deliveries("out", &[("delivered", 60)]);
    let mut times = std::collections::BTreeMap::<String, usize>::new();
    for message in sink.taken() {
        *times.entry(control_id(&message)).or_default() += 1;
    }
    let more: Vec<_> = times.iter().filter(|(_, times)| **times != 2).collect();
    assert!(more.len() <= 4, "only what was in flight at the kill came again: {more:?}");
    assert!(more.iter().all(|(_, times)| **times == 3), "{more:?}");
    running.terminate();
    site.verify();
}

#[test]
fn a_job_can_be_cancelled() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, 1..=20);
    running.wait_messages(&[("delivered", 20)]);
    let begun = site.json(&["replay", "--all", "--rate", "2", "--background", "--reason", "a mistake"]);
    site.cli(&["replay", "--cancel", begun["job"].as_str().unwrap()]);
    wait_until("it is cancelled", || job(&site)["state"] == "cancelled");
    let replayed = job(&site)["replayed"].as_u64().unwrap();
    assert!(replayed < 20);
    running.wait_deliveries("out", &[("delivered", 20 + replayed)]);
    running.kill();
    let running = site.start();
    assert_eq!(job(&site)["state"], "cancelled");
    running.wait_deliveries("out", &[("delivered", 20 + replayed)]);
    // It was no mistake after all: it goes on where it stopped.
    let begun = site.json(&["replay", "--resume", begun["job"].as_str().unwrap(), "--background"]);
    assert_eq!((&begun["state"], &begun["replayed"]), (&"running".into(), &replayed.into()));
    let done = wait_for("the job is done", || Some(job(&site)).filter(|job| job["state"] == "done"));
    assert_eq!(done["replayed"], 20);
    running.wait_deliveries("out", &[("delivered", 40)]);
    let ended = site.run(&["replay", "--resume", begun["job"].as_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1), "what is done is not taken up again");
}

#[test]
fn a_job_is_cancelled_and_taken_up_without_an_engine_too() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, 1..=20);
    running.wait_messages(&[("delivered", 20)]);
    let begun = site.json(&["replay", "--all", "--rate", "2", "--background", "--reason", "all of it"]);
    wait_until("it has begun", || job(&site)["replayed"].as_u64().unwrap() >= 2);
    running.terminate();
    let id = begun["job"].as_str().unwrap();
    assert_eq!(site.json(&["replay", "--cancel", id])["state"], "cancelled");
    let done = site.json(&["replay", "--resume", id]);
    assert_eq!((&done["state"], &done["replayed"]), (&"done".into(), &20.into()));
    let running = site.start();
    running.wait_deliveries("out", &[("delivered", 40)]);
}

#[test]
fn a_stop_ends_a_job_in_order_and_the_next_start_goes_on_with_it() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("connections = 8")));
    let running = site.start();
    send(&running, 1..=150);
    running.wait_messages(&[("delivered", 150)]);
    site.cli(&["replay", "--all", "--background", "--reason", "all of it"]);
    wait_until("it has begun", || job(&site)["replayed"].as_u64().unwrap() >= 5);
    running.terminate();
    let running = site.start();
    let done = wait_for("the job is done", || Some(job(&site)).filter(|job| job["state"] == "done"));
    assert_eq!((&done["replayed"], &done["skipped"]), (&150.into(), &0.into()));
    running.wait_deliveries("out", &[("delivered", 300)]);
    assert_eq!(sink.taken().len(), 300, "a stop in good order sends nothing twice");
    running.terminate();
    site.verify();
}

#[test]
fn a_reload_counts_for_a_job_under_way() {
    let (left, right) = (Sink::good(), Sink::good());
    let site = Site::relay(&format!("{}{QUICK}", left.outbound("")));
    site.set_destination("right", &format!("{}{QUICK}", right.outbound("")));
    let running = site.start();
    send(&running, 1..=20);
    running.wait_messages(&[("delivered", 20)]);
    site.cli(&["replay", "--all", "--rate", "2", "--background", "--reason", "all of it"]);
    wait_until("it has begun", || job(&site)["replayed"].as_u64().unwrap() >= 2);
    site.set_channel("in", &format!("{MLLP_IN}{}", TO_OUT.replace("\"out\"", "\"right\"")));
    site.cli(&["reload"]);
    wait_until("the job is done", || job(&site)["state"] == "done");
    running.wait_messages(&[("delivered", 20)]);
    let (left, right) = (left.taken().len(), right.taken().len());
    assert!(right > 0 && left + right == 40, "{left} before the reload, {right} after it");
}

#[test]
fn what_is_replayed_without_an_engine_leaves_when_one_is_up() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, 1..=3);
    running.wait_messages(&[("delivered", 3)]);
    running.terminate();
    site.cli(&["replay", "--all", "--reason", "the receiver was restored from a backup"]);
    let running = site.start();
    running.wait_deliveries("out", &[("delivered", 6)]);
}

#[test]
fn a_replay_takes_the_place_of_what_still_waits() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    site.cli(&["destinations", "pause", "out", "--reason", "wait"]);
    send(&running, 1..=3);
    running.wait_deliveries("out", &[("queued", 3)]);
    site.cli(&["replay", "--all", "--reason", "new maps"]);
    running.wait_deliveries("out", &[("queued", 3), ("skipped", 3)]);
    site.cli(&["destinations", "resume", "out"]);
    running.wait_deliveries("out", &[("delivered", 3), ("skipped", 3)]);
    assert_eq!(sorted(sink.control_ids()), ["C1", "C2", "C3"], "each once");
    running.wait_messages(&[("delivered", 3)]);
}
