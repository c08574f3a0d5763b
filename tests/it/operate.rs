//! What operators do: hold, release, skip, pause, resume, look.

use serde_json::Value;

use crate::kit::hl7::{adt, update};
use crate::kit::mllp::Sender;
use crate::kit::{MLLP_IN, QUICK, Reply, Running, Sink, Site, wait_until};

fn send(running: &Running<'_>, patient: &str, control_id: &str) {
    Sender::connect(running.address("in")).accepted(&update(patient, control_id, "Ada"));
}

fn delivery(site: &Site, control_id: &str) -> String {
    site.delivery(control_id)["id"].to_string()
}

#[test]
fn a_paused_destination_stays_paused_over_a_restart_and_its_queue_grows() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    site.cli(&["destinations", "pause", "out", "--reason", "they move house"]);
    send(&running, "P1", "C1");
    running.wait_deliveries("out", &[("queued", 1)]);
    running.terminate();
    let running = site.start();
    running.wait_state("out", "stopped");
    assert!(running.destination("out").reason.unwrap().starts_with("they move house"));
    send(&running, "P1", "C2");
    running.wait_deliveries("out", &[("queued", 2)]);
    assert!(sink.taken().is_empty());
    site.cli(&["destinations", "resume", "out"]);
    running.wait_deliveries("out", &[("delivered", 2)]);
    assert_eq!(sink.control_ids(), ["C1", "C2"]);
}

#[test]
fn a_paused_channel_takes_nothing_over_a_restart_until_resumed() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let address = running.address("in");
    send(&running, "P1", "C1");
    site.cli(&["channels", "pause", "in", "--reason", "a test feed"]);
    assert_eq!(running.channel("in").0, "paused");
    assert!(Sender::try_connect(address).is_err());
    running.kill();
    let running = site.start();
    let (state, reason) = running.channel("in");
    assert_eq!(state, "paused");
    assert!(reason.starts_with("a test feed"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    site.cli(&["channels", "resume", "in"]);
    send(&running, "P1", "C2");
    running.wait_deliveries("out", &[("delivered", 2)]);
}

#[test]
fn a_delivery_can_be_held_released_and_skipped() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    site.cli(&["destinations", "pause", "out", "--reason", "first look"]);
    for n in 1..=4 {
        send(&running, "P1", &format!("C{n}"));
    }
    running.wait_deliveries("out", &[("queued", 4)]);
    let ids: Vec<String> = (1..=4).map(|n| delivery(&site, &format!("C{n}"))).collect();
    site.cli(&["deliveries", "hold", &ids[0], "--reason", "is it theirs?"]);
    site.cli(&["deliveries", "skip", &ids[1], "--reason", "sent by fax"]);
    site.cli(&["destinations", "resume", "out"]);
    running.wait_deliveries("out", &[("delivered", 2), ("held", 1), ("skipped", 1)]);
    assert_eq!(sink.control_ids(), ["C3", "C4"]);
    let refused = site.run(&["deliveries", "hold", &ids[2], "--reason", "too late"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("delivered"));
    running.kill();
    let running = site.start();
    running.wait_deliveries("out", &[("delivered", 2), ("held", 1), ("skipped", 1)]);
    site.cli(&["deliveries", "release", &ids[0], "--reason", "it is"]);
    running.wait_deliveries("out", &[("delivered", 3), ("skipped", 1)]);
    running.wait_messages(&[("delivered", 3), ("skipped", 1)]);
    running.terminate();
    site.verify();
}

#[test]
fn what_is_changed_while_the_engine_is_down_counts_when_it_is_up() {
    let sink = Sink::start(|_, _| Reply::Code("AR"));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, "P1", "C1");
    send(&running, "P2", "C2");
    running.wait_deliveries("out", &[("dead", 2)]);
    running.terminate();
    sink.script(|_, _| Reply::Code("AA"));
    site.cli(&["deliveries", "release", &delivery(&site, "C1"), "--reason", "mended"]);
    site.cli(&["deliveries", "skip", &delivery(&site, "C2"), "--reason", "not needed"]);
    let running = site.start();
    running.wait_deliveries("out", &[("delivered", 1), ("skipped", 1)]);
}

#[test]
fn what_a_route_may_not_send_is_held_with_the_reason_until_it_may() {
    let sink = Sink::good();
    let research = "[[route]]\nto = \"out\"\npurpose = \"HRESCH\"\n";
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    site.set_channel("in", &format!("purposes = [\"TREAT\"]\n{MLLP_IN}{research}"));
    let running = site.start();
    send(&running, "P1", "C1");
    running.wait_deliveries("out", &[("held", 1)]);
    let held = site.delivery("C1");
    assert!(held["reason"].as_str().unwrap().contains("HRESCH"), "{held:#}");
    let lineage = site.json(&["lineage", &held["id"].to_string()]);
    let begun = &lineage["deliveries"][0]["events"][0];
    assert_eq!((&begun["what"], &begun["text"]), (&"held".into(), &held["reason"]));
    // An operator's release does not override it: it is decided again before every attempt.
    site.cli(&["deliveries", "release", &held["id"].to_string(), "--reason", "please"]);
    wait_until("it is held again", || {
        let delivery = site.delivery("C1");
        delivery["state"] == "held" && delivery["reason"].as_str().unwrap().contains("HRESCH")
    });
    assert!(sink.taken().is_empty());
    // Once the channel allows it, a replay sends it.
    site.set_channel("in", &format!("purposes = [\"TREAT\", \"HRESCH\"]\n{MLLP_IN}{research}"));
    site.cli(&["reload"]);
    site.cli(&["replay", "--state", "held", "--reason", "they agreed"]);
    running.wait_deliveries("out", &[("delivered", 1), ("skipped", 1)]);
    running.wait_messages(&[("delivered", 1)]);
    let lineage = site.json(&["lineage", &held["id"].to_string()]);
    let whats = |n: usize| -> Vec<&str> {
        let events = lineage["deliveries"][n]["events"].as_array().unwrap();
        events.iter().map(|event| event["what"].as_str().unwrap()).collect()
    };
    assert_eq!(whats(0), ["held", "released", "held", "skipped"]);
    assert_eq!(whats(1), ["queued", "delivered"]);
}

#[test]
fn test_data_is_held_from_production_until_the_destination_is_none() {
    let sink = Sink::good();
    let out = format!("{}{QUICK}", sink.outbound(""));
    let site = Site::relay(&format!("production = true\n{out}"));
    let running = site.start();
    let test = String::from_utf8(adt("A08", "P1", "C1", "Ada", "")).unwrap().replace("|P|2.5.1", "|T|2.5.1");
    Sender::connect(running.address("in")).accepted(test.as_bytes());
    running.wait_deliveries("out", &[("held", 1)]);
    site.set_destination("out", &out);
    site.cli(&["reload"]);
    site.cli(&["deliveries", "release", &delivery(&site, "C1"), "--reason", "it is a test system now"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
}

#[test]
fn lineage_walks_from_the_bytes_to_every_answer() {
    let sink = Sink::start(|_, before| Reply::Code(if before == 0 { "AE" } else { "AA" }));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, "P1", "C1");
    running.wait_deliveries("out", &[("delivered", 1)]);
    let message = site.message("C1");
    let id = message["message"]["id"].as_str().unwrap();
    let lineage = site.json(&["lineage", id]);
    let whats = |events: &serde_json::Value| -> Vec<String> {
        events.as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(whats(&lineage["events"])[0], "received");
    assert!(whats(&lineage["events"]).contains(&"queued".to_owned()), "{lineage:#}");
    assert_eq!(whats(&lineage["deliveries"][0]["events"]), ["queued", "attempted", "delivered"]);
    let received = lineage["events"][0]["text"].as_str().unwrap();
    assert!(received.contains(message["message"]["sha256"].as_str().unwrap()));
    let by_delivery = site.json(&["lineage", &message["deliveries"][0]["id"].to_string()]);
    assert_eq!(by_delivery, lineage);
    for text in [site.cli(&["lineage", id]), site.cli(&["messages", "show", id]), site.cli(&["status"])] {
        assert!(!text.contains("Thornfield") && !text.is_empty());
    }
    let unknown = site.run(&["messages", "show", "01890a5d-ac96-774b-bcce-b302099a8057"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn messages_are_found_by_patient_type_and_error() {
    let sink =
        Sink::start(|message, _| Reply::Code(if crate::kit::hl7::patient(message) == "P2" { "AR" } else { "AA" }));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, "P1", "C1");
    send(&running, "P2", "C2");
    running.wait_messages(&[("dead", 1), ("delivered", 1)]);
    let found = |arguments: &[&str]| -> Vec<String> {
        let all = site.json(&[&["messages", "search"], arguments].concat());
        all.as_array().unwrap().iter().map(|m| m["control_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found(&["--patient", "P2"]), ["C2"]);
    assert_eq!(found(&["--type", "ADT"]), ["C2", "C1"]);
    assert_eq!(found(&["--type", "ORU"]), Vec::<String>::new());
    assert_eq!(found(&["--state", "dead", "--destination", "out"]), ["C2"]);
    assert_eq!(found(&["--error", "AR"]), ["C2"]);
    let dead = site.json(&["messages", "search", "--state", "dead"]);
    assert!(dead[0]["reason"].as_str().unwrap().starts_with("out: "), "{dead:#}");
    assert_eq!(found(&["--since", "1h", "--channel", "in"]), ["C2", "C1"]);
    assert_eq!(found(&["--until", "1h"]), Vec::<String>::new());
}

#[test]
fn long_lists_go_on_page_by_page() {
    let sink = Sink::start(|_, _| Reply::Code("AR"));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    for n in 1..=7 {
        send(&running, &format!("P{n}"), &format!("C{n}"));
    }
    running.wait_messages(&[("dead", 7)]);
    let walk = |command: &[&str]| -> Vec<String> {
        let (mut found, mut last) = (Vec::new(), None::<String>);
        loop {
            let after = last.iter().flat_map(|last| ["--after", last]).collect::<Vec<_>>();
            let page = site.json(&[command, &["-n", "3"], &after].concat());
            let Some(end) = page.as_array().unwrap().last() else { return found };
            let end = end["id"].to_string().trim_matches('"').to_owned();
            let message = |row: &Value| row.get("message").unwrap_or(&row["id"]).as_str().unwrap().to_owned();
            found.extend(page.as_array().unwrap().iter().map(message));
            last = Some(end);
        }
    };
    let all: Vec<String> = site.messages().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    for command in [
        &["messages", "list"][..],
        &["messages", "search", "--state", "dead"],
        &["messages", "search", "--destination", "out"],
        &["messages", "search", "--type", "ADT", "--since", "1h"],
        &["dead", "list"],
        &["deliveries", "list", "--destination", "out"],
    ] {
        assert_eq!(walk(command), all, "{command:?}");
    }
    let said = site.cli(&["messages", "search", "--state", "dead", "-n", "3"]);
    assert!(said.contains(&format!("--after {}", all[2])), "{said}");
}
