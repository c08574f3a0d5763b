//! What an MLLP receiver may do wrong, and what becomes of the delivery.

use std::time::Duration;

use crate::kit::hl7::{control_id, update};
use crate::kit::mllp::{Sender, framed};
use crate::kit::{NEVER, QUICK, Reply, Running, Sink, Site, wait_until};

/// Sends messages of as many patients: `C1`, `C2`, …
fn send(running: &Running<'_>, count: usize) {
    let mut sender = Sender::connect(running.address("in"));
    for n in 1..=count {
        sender.accepted(&update(&format!("P{n}"), &format!("C{n}"), "Ada"));
    }
}

/// One message to a receiver that does `first`, and then takes everything: delivered at the second try.
#[track_caller]
fn check_second_try(first: Reply) {
    let sink = Sink::start(move |_, before| if before == 0 { first.clone() } else { Reply::Code("AA") });
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("ack_timeout = \"2s\"")));
    let running = site.start();
    send(&running, 1);
    running.wait_deliveries("out", &[("delivered", 1)]);
    send_another(&running);
    running.wait_deliveries("out", &[("delivered", 2)]);
    assert_eq!(sink.control_ids(), ["C1", "C1", "ANOTHER"]);
    assert_eq!(site.delivery("C1")["attempts"], 2);
    assert_eq!(site.delivery("ANOTHER")["attempts"], 1);
}

fn send_another(running: &Running<'_>) {
    Sender::connect(running.address("in")).accepted(&update("P1", "ANOTHER", "Ada"));
}

#[test]
fn a_late_acknowledgment_is_credited_to_nobody() {
    check_second_try(Reply::Late(Duration::from_secs(5), Box::new(Reply::Code("AA"))));
}

#[test]
fn an_acknowledgment_of_another_message_counts_for_nothing() {
    check_second_try(Reply::Foreign);
}

#[test]
fn half_an_acknowledgment_is_none() {
    check_second_try(Reply::Raw(b"\x0bMSH|^~\\&|CLINIC|REGION|||2026".to_vec()));
}

#[test]
fn a_connection_closed_instead_of_an_answer_is_tried_again() {
    check_second_try(Reply::Close);
}

#[test]
fn bytes_that_are_no_frame_are_no_answer() {
    check_second_try(Reply::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
}

#[test]
fn an_application_error_is_tried_again() {
    check_second_try(Reply::Code("AE"));
}

#[test]
fn application_errors_without_end_are_a_dead_letter_with_its_answer() {
    let sink = Sink::start(|_, _| Reply::Code("AE"));
    let site = Site::relay(&format!("{}{QUICK}[retry.attempts]\nerred = 3\n", sink.outbound("")));
    let running = site.start();
    send(&running, 1);
    running.wait_deliveries("out", &[("dead", 1)]);
    assert_eq!(sink.control_ids(), ["C1", "C1", "C1"]);
    check_dead_letter(&site);
}

#[test]
fn a_reject_is_a_dead_letter_at_once_with_its_answer() {
    let sink = Sink::start(|_, _| Reply::Code("AR"));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    send(&running, 1);
    running.wait_deliveries("out", &[("dead", 1)]);
    assert_eq!(sink.control_ids(), ["C1"]);
    check_dead_letter(&site);
    // It can be sent again once the receiver is mended.
    sink.script(|_, _| Reply::Code("AA"));
    site.cli(&["deliveries", "release", &site.delivery("C1")["id"].to_string(), "--reason", "mended"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
    running.wait_messages(&[("delivered", 1)]);
}

/// The one dead letter is listed, and shown with what the receiver said.
#[track_caller]
fn check_dead_letter(site: &Site) {
    let dead = site.json(&["dead", "list"]);
    assert_eq!(dead.as_array().unwrap().len(), 1, "{dead:#}");
    let shown = site.json(&["dead", "show", &dead[0]["id"].to_string()]);
    assert!(shown["answer"].as_str().unwrap().contains("the receiver says no"), "{shown:#}");
}

#[test]
fn when_nobody_knows_the_destinations_rule_decides() {
    for (rule, state) in [("dead", "dead"), ("hold", "held")] {
        let sink = Sink::start(|_, before| if before == 0 { Reply::Close } else { Reply::Code("AA") });
        let site = Site::relay(&format!("{}{QUICK}on_unknown = \"{rule}\"\n", sink.outbound("")));
        let running = site.start();
        send(&running, 1);
        running.wait_deliveries("out", &[(state, 1)]);
        running.wait_messages(&[(state, 1)]);
        let id = site.delivery("C1")["id"].to_string();
        site.cli(&["deliveries", "release", &id, "--reason", "the clinic did not get it"]);
        running.wait_deliveries("out", &[("delivered", 1)]);
        assert_eq!(sink.control_ids(), ["C1", "C1"]);
    }
}

#[test]
fn a_peer_that_reads_slowly_makes_nobody_else_wait() {
    let sink = Sink::good();
    sink.set_deaf(true);
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("send_timeout = \"2s\"")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let mut long = update("P1", "C1", "Ada");
    long.extend_from_slice(format!("NTE|1||{}\r", "x".repeat(12 << 20)).as_bytes());
    sender.accepted(&long);
    wait_until("it was tried in vain", || site.delivery("C1")["attempts"].as_u64().unwrap() > 0);
    assert_eq!(running.destination("out").deliveries["queued"], 1);
    sink.set_deaf(false);
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert!(sink.taken().iter().all(|taken| *taken == long), "what came whole is what was sent");
}

#[test]
fn a_receiver_that_was_away_gets_everything_at_once_when_it_is_back() {
    let sink = Sink::good();
    let (address, out) = (sink.address, sink.outbound(""));
    drop(sink);
    let site = Site::relay(&format!("{out}{NEVER}[pause]\nafter = 3\nprobe_interval = \"200ms\"\n"));
    let running = site.start();
    send(&running, 8);
    running.wait_state("out", "down");
    running.wait_deliveries("out", &[("queued", 8)]);
    // It is still down after a restart, and comes back in the middle of it.
    running.kill();
    let running = site.start();
    let sink = Sink::start_at(address, |_, _| Reply::Code("AA"));
    running.wait_deliveries("out", &[("delivered", 8)]);
    running.wait_state("out", "up");
    assert_eq!(sink.taken().len(), 8);
}

#[test]
fn a_receiver_that_is_back_with_an_error_is_back() {
    let sink = Sink::good();
    let (address, out) = (sink.address, sink.outbound(""));
    drop(sink);
    let site = Site::relay(&format!("{out}{NEVER}[pause]\nafter = 3\nprobe_interval = \"200ms\"\n"));
    let running = site.start();
    send(&running, 8);
    running.wait_state("out", "down");
    let first = std::sync::Mutex::new(None);
    let sink = Sink::start_at(address, move |message, _| {
        let mut first = first.lock().unwrap();
        let probe = first.get_or_insert_with(|| control_id(message));
        Reply::Code(if *probe == control_id(message) { "AE" } else { "AA" })
    });
    running.wait_deliveries("out", &[("delivered", 7), ("queued", 1)]);
    running.wait_state("out", "up");
    assert_eq!(sink.taken().len(), 8);
}

#[test]
fn half_a_message_is_not_taken() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let whole = framed(&update("P1", "C1", "Ada"));
    let mut sender = Sender::connect(running.address("in"));
    sender.write(&whole[..whole.len() / 2]).unwrap();
    drop(sender);
    let mut sender = Sender::connect(running.address("in"));
    for part in whole.chunks(7) {
        sender.write(part).unwrap();
    }
    assert_eq!(crate::kit::hl7::code(&sender.read().unwrap()), "AA");
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert_eq!(sink.taken(), [update("P1", "C1", "Ada")]);
    assert_eq!(site.messages().len(), 1);
}
