//! What cannot be audited does not leave: deliveries wait, senders are answered, and it goes on by itself.

use std::net::SocketAddr;

use serde_json::Value;

use crate::kit::disk::{SmallDisk, fill};
use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{QUICK, Running, Sink, Site, http, wait_until};

/// A site whose audit has been written so far, its admin port, and the destination.
fn relay() -> (Site, SocketAddr, Sink) {
    let sink = Sink::good();
    let (site, port) = Site::relay(&format!("{}{QUICK}", sink.outbound(""))).admin();
    (site, port, sink)
}

fn ready(port: SocketAddr) -> (u16, Value) {
    let answer = http::get(port, "/ready");
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

fn stops_deliveries(port: SocketAddr) -> bool {
    let metrics = http::get(port, "/metrics").body;
    metrics.lines().any(|line| line == "tributary_audit_stops_deliveries 1")
}

/// Sends one message after the other until the audit is found not to be writable.
fn find_it_down(sender: &mut Sender, port: SocketAddr) -> usize {
    let mut sent = 0;
    wait_until("that the audit cannot be written is found", || {
        sent += 1;
        sender.accepted(&update(&format!("P{}", sent % 5), &format!("F{sent}"), "Ada"));
        ready(port).0 == 503
    });
    sent
}

/// While it is down: accepted, and not sent; told everywhere.
fn wait_and_tell(site: &Site, running: &Running<'_>, sender: &mut Sender, port: SocketAddr, sink: &Sink, why: &str) {
    // What was under way when it was found ends.
    wait_until("what was under way has ended", || running.destination("out").in_flight == 0);
    let before = sink.control_ids().len();
    for number in 0..5 {
        sender.accepted(&update("P1", &format!("W{number}"), "Ada"));
    }
    running.wait_messages_in("queued", 5);
    // What an operator asks passes through the dispatcher, which looks at all that it might send before and after.
    let listed = site.json(&["deliveries", "list", "--state", "queued"]);
    let id = listed[0]["id"].to_string();
    for change in ["hold", "release", "hold", "release"] {
        site.cli(&["deliveries", change, &id, "--reason", "a look at the queue"]);
    }
    assert_eq!(running.destination("out").in_flight, 0);
    assert_eq!(sink.control_ids().len(), before, "something left that could not be audited");
    let destination = running.destination("out");
    assert_eq!(destination.state, "waiting");
    let reason = destination.reason.unwrap_or_default();
    assert!(reason.contains(why), "{reason}");
    let (status, told) = ready(port);
    assert!(status == 503 && told["deliveries_wait"].as_str().is_some_and(|text| text.contains(why)), "{told}");
    let health: Value = serde_json::from_str(&http::get(port, "/health").body).unwrap();
    assert!(health["audit"]["stops_deliveries"].is_string(), "{health}");
    assert!(stops_deliveries(port));
}

/// When it can be written again: all goes by itself, and all is told.
fn go_on(site: &Site, running: Running<'_>, port: SocketAddr, sink: &Sink) {
    running.wait_idle();
    wait_until("it is ready again", || ready(port).0 == 200);
    assert!(!stops_deliveries(port));
    assert_eq!(running.destination("out").state, "up");
    let sent = sink.control_ids();
    assert!((0..5).all(|number| sent.contains(&format!("W{number}"))), "{sent:?}");
    running.terminate();
    let told = site.json(&["audit", "list", "--kind", "disclosure"]);
    assert_eq!(told.as_array().unwrap().len(), sent.len());
    assert_eq!(site.json(&["audit", "verify"])["faults"], serde_json::json!([]));
    site.verify();
    let logs = site.logs();
    let said = logs.lines().filter(|line| line.contains("nothing leaves that cannot be audited")).count();
    assert_eq!(said, 1, "the alarm is given once");
    assert!(logs.contains("the audit is written again: deliveries go on"));
}

/// The disk of the audit alone is full.
#[test]
fn nothing_leaves_while_the_disk_of_the_audit_is_full() {
    let (site, port, sink) = relay();
    let Some(disk) = SmallDisk::mount(site.path("data/audit"), "256k") else {
        eprintln!("skipped: this user cannot mount a small disk");
        return;
    };
    let running = site.start();
    let mut sender = running.first_delivered();
    let filler = disk.path().join("filler");
    fill(&filler);
    find_it_down(&mut sender, port);
    wait_and_tell(&site, &running, &mut sender, port, &sink, "No space left");
    std::fs::remove_file(filler).unwrap();
    go_on(&site, running, port, &sink);
    drop(disk);
}

/// The folder was moved away, and a file is in its place.
#[test]
fn nothing_leaves_while_the_folder_of_the_audit_is_replaced() {
    let (site, port, sink) = relay();
    let running = site.start();
    let mut sender = running.first_delivered();
    let (folder, away) = (site.path("data/audit"), site.path("data/audit.away"));
    std::fs::rename(&folder, &away).unwrap();
    std::fs::write(&folder, "").unwrap();
    wait_until("it is found without a message", || ready(port).0 == 503);
    wait_and_tell(&site, &running, &mut sender, port, &sink, "is gone");
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    go_on(&site, running, port, &sink);
}

/// Somebody else wrote to the chain: nothing leaves until that is undone.
#[test]
fn nothing_leaves_once_somebody_else_wrote_to_the_chain() {
    let (site, port, sink) = relay();
    let running = site.start();
    let mut sender = running.first_delivered();
    wait_until("it is told", || site.json(&["audit", "list", "--kind", "disclosure"]).as_array().unwrap().len() == 1);
    let path = site.path("data/audit/00000000000000000001.jsonl");
    let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    std::io::Write::write_all(&mut &file, b"{}\n").unwrap();
    wait_until("it is found", || ready(port).0 == 503);
    wait_and_tell(&site, &running, &mut sender, port, &sink, "somebody else wrote to it");
    file.set_len(length).unwrap();
    go_on(&site, running, port, &sink);
}

/// Only the second place of checkpoints is away: lines are written on, and deliveries go.
#[test]
fn deliveries_go_on_while_only_the_anchor_is_away() {
    let (site, port, sink) = relay();
    let site = site.engine("[log]", "[audit]\nanchor = \"away/anchor.jsonl\"\n\n[log]");
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for number in 0..600 {
        sender.accepted(&update(&format!("P{}", number % 7), &format!("C{number}"), "Ada"));
    }
    running.wait_deliveries("out", &[("delivered", 600)]);
    let failing = || http::get(port, "/metrics").body.lines().any(|line| line == "tributary_audit_failing 1");
    wait_until("that it cannot be signed is told", failing);
    assert_eq!((ready(port).0, stops_deliveries(port)), (200, false));
    sender.accepted(&update("P1", "W", "Ada"));
    running.wait_deliveries("out", &[("delivered", 601)]);
    std::fs::create_dir(site.path("away")).unwrap();
    wait_until("it is signed", || !failing());
    assert_eq!(sink.control_ids().len(), 601);
    running.terminate();
    assert_eq!(site.json(&["audit", "verify"])["faults"], serde_json::json!([]));
}
