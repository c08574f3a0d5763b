//! Files in and out.

use crate::kit::hl7::{control_id, update};
use crate::kit::{QUICK, Running, Sink, Site, TO_OUT, files_in, wait_until};

const DROP: &str = "[inbound.file]\nfolder = \"in\"\nready = \"renamed\"\nevery = \"50ms\"\n";

fn drop_site(sink: &Sink) -> Site {
    Site::new()
        .channel("in", &format!("{DROP}{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", sink.outbound("connections = 8")))
}

/// Puts a file into the drop folder as a whole.
fn drop_file(site: &Site, name: &str, content: &[u8]) {
    site.write(&format!("data/in/.{name}"), content);
    std::fs::rename(site.path(&format!("data/in/.{name}")), site.path(&format!("data/in/{name}"))).unwrap();
}

fn accepted(running: &Running<'_>) -> u64 {
    running.status().channels[0].accepted
}

#[test]
fn a_file_is_taken_once_though_the_engine_is_killed_in_the_middle_of_it() {
    const COUNT: usize = 600;
    let sink = Sink::good();
    let site = drop_site(&sink);
    let content: Vec<u8> =
        (0..COUNT).flat_map(|n| update(&format!("P{}", n % 5), &format!("C{n:04}"), "Ada")).collect();
    let mut kills = 0;
    let mut running = site.start();
    drop_file(&site, "many.hl7", &content);
    for share in [100, 250, 400] {
        wait_until("so many are taken", || accepted(&running) >= share);
        kills += usize::from(accepted(&running) < COUNT as u64);
        running.kill();
        running = site.start();
    }
    wait_until("the file is done", || files_in(&site.path("data/in/done")) == ["many.hl7"]);
    running.wait_messages(&[("delivered", COUNT as u64)]);
    eprintln!("killed {kills} times in the middle of the file");
    assert!(files_in(&site.path("data/in")).is_empty());
    for patient in 0..5 {
        let mut order: Vec<String> = sink.taken().iter().map(|m| control_id(m)).collect();
        order.retain(|id| id[1..].parse::<usize>().unwrap() % 5 == patient);
        order.dedup();
        assert_eq!(order.len(), COUNT / 5, "each once, but for what was in flight at a kill");
        assert!(order.is_sorted(), "{order:?}");
    }
    running.terminate();
    site.verify();
}

#[test]
fn what_is_refused_of_a_file_is_told_beside_it() {
    let sink = Sink::good();
    let site = drop_site(&sink);
    let running = site.start();
    let unsupported = String::from_utf8(update("P2", "C2", "Ben")).unwrap().replace("|2.5.1", "|9.9");
    let content = [update("P1", "C1", "Ada"), unsupported.into_bytes(), update("P3", "C3", "Cy")].concat();
    drop_file(&site, "mixed.hl7", &content);
    wait_until("it is rejected", || files_in(&site.path("data/in/rejected")).len() == 2);
    assert_eq!(files_in(&site.path("data/in/rejected")), ["mixed.hl7", "mixed.hl7.reason.json"]);
    let reason = std::fs::read_to_string(site.path("data/in/rejected/mixed.hl7.reason.json")).unwrap();
    assert!(reason.contains("MSH-12"), "{reason}");
    running.wait_messages(&[("delivered", 2)]);
    let mut came = sink.control_ids();
    came.sort();
    assert_eq!(came, ["C1", "C3"]);
}

#[test]
fn files_leave_whole_and_once() {
    let site = Site::relay("[outbound.file]\nfolder = \"out\"\nname = \"{control_id}-{delivery}.{ext}\"\n");
    let running = site.start();
    let mut sender = crate::kit::mllp::Sender::connect(running.address("in"));
    for n in 0..20 {
        sender.accepted(&update("P1", &format!("C{n}"), "Ada"));
    }
    running.wait_messages(&[("delivered", 20)]);
    let names = files_in(&site.path("data/out"));
    assert_eq!(names.len(), 20);
    for name in names {
        let content = std::fs::read(site.path(&format!("data/out/{name}"))).unwrap();
        assert!(name.starts_with(&format!("{}-", control_id(&content))));
    }
}
