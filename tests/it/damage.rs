//! Bytes that flip on the disk under a site: told by `verify`, named, the rest goes on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{QUICK, Reply, Sink, Site};

const COUNT: usize = 24;

/// A site, stopped, with messages delivered and dead, and one whose payload has a file of its own.
fn filled() -> (Site, Sink) {
    let sink = Sink::start(|_, before| Reply::Code(if before % 4 == 3 { "AR" } else { "AA" }));
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for n in 0..COUNT - 1 {
        sender.accepted(&update(&format!("P{}", n % 7), &format!("C{n}"), "Ada"));
    }
    let mut big = update("P1", "BIG", "Ada");
    big.extend_from_slice(format!("NTE|1||{}\r", "z".repeat(600 << 10)).as_bytes());
    sender.accepted(&big);
    running.wait_idle();
    running.terminate();
    site.verify();
    (site, sink)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Flips one bit among the bytes that are used, and returns what it was flipped in before.
fn flip(path: &Path, random: &mut SmallRng) -> Vec<u8> {
    let intact = std::fs::read(path).unwrap();
    let used = intact.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let mut bytes = intact.clone();
    let at = random.random_range(0..=used);
    bytes[at] ^= 1 << random.random_range(0..8);
    std::fs::write(path, bytes).unwrap();
    intact
}

/// `verify`, whatever it says.
fn verify(site: &Site) -> (Option<i32>, Value) {
    let output = site.run(&["--json", "verify"]);
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

fn listed(site: &Site) -> BTreeSet<String> {
    site.messages().iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_flipped_bit_in_the_log_or_a_payload_is_named_and_the_rest_goes_on() {
    let (site, _sink) = filled();
    let all = listed(&site);
    assert_eq!(all.len(), COUNT);
    let data = site.path("data");
    let originals: Vec<(String, Vec<u8>)> =
        all.iter().map(|id| (id.clone(), site.run(&["messages", "show", id, "--original"]).stdout)).collect();
    let intact = site.path("intact");
    copy(&data, &intact);
    let mut random = SmallRng::seed_from_u64(3);
    for round in 0..6 {
        std::fs::remove_dir_all(&data).unwrap();
        copy(&intact, &data);
        let candidates = if round % 3 == 2 { files(&data.join("big")) } else { files(&data.join("wal")) };
        let path = &candidates[random.random_range(0..candidates.len())];
        flip(path, &mut random);
        let (code, report) = verify(&site);
        let damages = report["damages"].as_array().unwrap();
        // A bit that means nothing (beyond the last group) hurts nobody.
        if damages.is_empty() {
            assert_eq!(code, Some(0), "round {round}: {report:#}");
        } else {
            assert_eq!(code, Some(1));
            let named = damages.iter().all(|damage| path.ends_with(damage["file"].as_str().unwrap()));
            assert!(named, "round {round}, {}: {report:#}", path.display());
        }
        // One group at most is gone: what can be read is as it was.
        let mut unreadable = 0;
        for (id, bytes) in &originals {
            let shown = site.run(&["messages", "show", id, "--original"]);
            match shown.status.success() {
                true => assert_eq!(shown.stdout, *bytes),
                false => unreadable += 1,
            }
        }
        assert!(unreadable <= 1, "round {round}: {unreadable} cannot be read any more");
        assert!(unreadable == 0 || !damages.is_empty());
        let running = site.start();
        Sender::connect(running.address("in")).accepted(&update("P9", &format!("AFTER{round}"), "Zoe"));
        running.wait_idle();
        running.terminate();
    }
}

#[test]
fn a_flipped_bit_in_the_index_costs_nothing() {
    let (site, _sink) = filled();
    let (all, data) = (listed(&site), site.path("data"));
    let intact = site.path("intact");
    copy(&data, &intact);
    let mut random = SmallRng::seed_from_u64(4);
    for round in 0..6 {
        std::fs::remove_dir_all(&data).unwrap();
        copy(&intact, &data);
        let index = data.join("index").join("db");
        match round {
            0 => std::fs::write(&index, "no index at all").unwrap(),
            1 => std::fs::remove_dir_all(data.join("index")).unwrap(),
            _ => drop(flip(&index, &mut random)),
        }
        let (code, report) = verify(&site);
        assert_eq!(report["damages"].as_array().unwrap().len(), 0, "round {round}: {report:#}");
        if code != Some(0) {
            site.cli(&["store", "rebuild"]);
        }
        site.verify();
        assert_eq!(listed(&site), all, "round {round}");
        let running = site.start();
        Sender::connect(running.address("in")).accepted(&update("P9", &format!("AFTER{round}"), "Zoe"));
        running.wait_idle();
        running.terminate();
        site.verify();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        let target = to.join(path.file_name().unwrap());
        match kind {
            kind if kind.is_dir() => copy(&path, &target),
            kind if kind.is_file() => drop(std::fs::copy(&path, &target).unwrap()),
            _ => {}
        }
    }
}
