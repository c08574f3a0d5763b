//! The order of a patient's messages, whatever happens to one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kit::hl7::{control_id, merge, update};
use crate::kit::mllp::Sender;
use crate::kit::{QUICK, Reply, Running, Sink, Site, wait_until};

/// A receiver that answers AE to `C1` until it is told to be well.
fn stubborn() -> (Sink, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&well);
    let sink = Sink::start(move |message, _| {
        let refuses = control_id(message) == "C1" && !told.load(Ordering::SeqCst);
        Reply::Code(if refuses { "AE" } else { "AA" })
    });
    (sink, well)
}

/// A destination that tries again for as long as it takes.
fn patient_destination(sink: &Sink) -> String {
    format!("{}{QUICK}[retry.attempts]\nerred = \"unlimited\"\n", sink.outbound(""))
}

/// The control ids that came, without repetitions of the same one.
fn firsts(sink: &Sink) -> Vec<String> {
    let mut seen = Vec::new();
    for id in sink.control_ids() {
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    seen
}

fn sender(running: &Running<'_>) -> Sender {
    Sender::connect(running.address("in"))
}

#[test]
fn a_patients_messages_wait_for_each_other_and_for_nobody_else() {
    let (sink, well) = stubborn();
    let site = Site::relay(&patient_destination(&sink));
    let running = site.start();
    let mut sender = sender(&running);
    for (patient, id) in [("P1", "C1"), ("P1", "C2"), ("P2", "C3"), ("P1", "C4"), ("P2", "C5")] {
        sender.accepted(&update(patient, id, "Ada"));
    }
    running.wait_deliveries("out", &[("delivered", 2), ("queued", 3)]);
    wait_until("C1 is tried again", || sink.control_ids().iter().filter(|id| *id == "C1").count() > 2);
    // What patients have to do with each other is nothing: C1 and C3 leave by connections of their own, at once.
    let of = |ids: &[&str]| -> Vec<String> { firsts(&sink).into_iter().filter(|id| ids.contains(&&**id)).collect() };
    let (first, second) = (["C1", "C2", "C4"], ["C3", "C5"]);
    assert_eq!(
        (firsts(&sink).len(), of(&first), of(&second)),
        (3, vec!["C1".to_owned()], second.map(str::to_owned).to_vec())
    );
    well.store(true, Ordering::SeqCst);
    running.wait_deliveries("out", &[("delivered", 5)]);
    assert_eq!(
        (firsts(&sink).len(), of(&first), of(&second)),
        (5, first.map(str::to_owned).to_vec(), second.map(str::to_owned).to_vec())
    );
}

/// HL7 v2.5.1 §3.3.40: what follows a merge is about the patient that remains.
#[test]
fn a_merge_waits_for_both_patients_and_both_wait_for_it() {
    let (sink, well) = stubborn();
    let site = Site::relay(&patient_destination(&sink));
    let running = site.start();
    let mut sender = sender(&running);
    sender.accepted(&update("P1", "C1", "Ada"));
    sender.accepted(&update("P2", "C2", "Ben"));
    sender.accepted(&merge("P1", "P2", "MERGE"));
    sender.accepted(&update("P1", "C3", "Ada"));
    sender.accepted(&update("P2", "C4", "Ben"));
    sender.accepted(&update("P3", "C5", "Cy"));
    running.wait_deliveries("out", &[("delivered", 2), ("queued", 4)]);
    assert_eq!(firsts(&sink).len(), 3, "{:?}", firsts(&sink));
    assert!(!firsts(&sink).contains(&"MERGE".to_owned()));
    running.kill();
    let running = site.start();
    well.store(true, Ordering::SeqCst);
    running.wait_deliveries("out", &[("delivered", 6)]);
    let order = firsts(&sink);
    let merged = order.iter().position(|id| id == "MERGE").unwrap();
    assert_eq!(merged, 3, "{order:?}");
}

#[test]
fn a_dead_letter_frees_its_lane_unless_the_destination_says_otherwise() {
    let refuses_c1 = |message: &[u8], _| Reply::Code(if control_id(message) == "C1" { "AR" } else { "AA" });
    let (free, strict) = (Sink::start(refuses_c1), Sink::start(refuses_c1));
    let site = Site::relay(&free.outbound(""));
    site.set_destination("strict", &format!("block_lane = true\n{}", strict.outbound("")));
    let both = "[[route]]\nto = [\"out\", \"strict\"]\npurpose = \"TREAT\"\n";
    site.set_channel("in", &format!("{}{both}", crate::kit::MLLP_IN));
    let running = site.start();
    let mut sender = sender(&running);
    for (patient, id) in [("P1", "C1"), ("P1", "C2"), ("P2", "C3")] {
        sender.accepted(&update(patient, id, "Ada"));
    }
    running.wait_deliveries("out", &[("dead", 1), ("delivered", 2)]);
    running.wait_deliveries("strict", &[("dead", 1), ("delivered", 1), ("queued", 1)]);
    running.kill();
    let running = site.start();
    running.wait_deliveries("strict", &[("dead", 1), ("delivered", 1), ("queued", 1)]);
    assert!(!strict.control_ids().contains(&"C2".to_owned()));
    let dead = site.json(&["dead", "list", "--destination", "strict"]);
    let id = dead[0]["id"].to_string();
    site.cli(&["deliveries", "skip", &id, "--reason", "the clinic knows"]);
    running.wait_deliveries("strict", &[("delivered", 2), ("skipped", 1)]);
}

#[test]
fn a_reload_may_make_a_destination_strict_or_free() {
    let refuses_c1 = |message: &[u8], _| Reply::Code(if control_id(message) == "C1" { "AR" } else { "AA" });
    let sink = Sink::start(refuses_c1);
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = sender(&running);
    sender.accepted(&update("P1", "C1", "Ada"));
    running.wait_deliveries("out", &[("dead", 1)]);
    site.set_destination("out", &format!("block_lane = true\n{}", sink.outbound("")));
    site.cli(&["reload"]);
    sender.accepted(&update("P1", "C2", "Ada"));
    sender.accepted(&update("P2", "C3", "Ben"));
    running.wait_deliveries("out", &[("dead", 1), ("delivered", 1), ("queued", 1)]);
    assert_eq!(sink.control_ids(), ["C1", "C3"]);
    site.set_destination("out", &sink.outbound(""));
    site.cli(&["reload"]);
    running.wait_deliveries("out", &[("dead", 1), ("delivered", 2)]);
}

#[test]
fn lanes_leave_side_by_side() {
    // Nobody is answered before three are under way.
    let sink = Sink::good();
    sink.set_deaf(true);
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = sender(&running);
    for n in 1..=3 {
        sender.accepted(&update(&format!("P{n}"), &format!("C{n}"), "Ada"));
    }
    wait_until("three are under way", || running.destination("out").in_flight == 3);
    sink.set_deaf(false);
    running.wait_deliveries("out", &[("delivered", 3)]);
}

#[test]
fn a_channel_may_be_one_lane() {
    let (sink, well) = stubborn();
    let site = Site::relay(&patient_destination(&sink));
    site.set_channel("in", &format!("lane = \"channel\"\n{}{}", crate::kit::MLLP_IN, crate::kit::TO_OUT));
    let running = site.start();
    let mut sender = sender(&running);
    for n in 1..=4 {
        sender.accepted(&update(&format!("P{n}"), &format!("C{n}"), "Ada"));
    }
    running.wait_deliveries("out", &[("queued", 4)]);
    well.store(true, Ordering::SeqCst);
    running.wait_deliveries("out", &[("delivered", 4)]);
    assert_eq!(firsts(&sink), ["C1", "C2", "C3", "C4"]);
}
