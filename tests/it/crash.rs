//! Killed at random instants, under load, between destinations that misbehave: nothing that was
//! acknowledged is lost or altered, and a patient's messages keep their order.
//!
//! `TRIBUTARY_ROUNDS` says how many times (8 by default); `TRIBUTARY_SEED` repeats a run's choices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::kit::hl7::{code, control_id, patient, update};
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, MLLP_IN, Reply, Running, Sink, Site, TO_FHIR};

/// Patients, each of whom an EMR of their own sends.
const PATIENTS: usize = 6;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The EMR of one patient: sends the next message once the last was accepted, and the last one again
/// where it does not know.
struct Emr {
    patient: usize,
    /// Where the channel listens now; `None` while the engine is down.
    address: Arc<Mutex<Option<SocketAddr>>>,
    ended: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
}

impl Emr {
    fn message(patient: usize, number: u64) -> Vec<u8> {
        let mut message = update(&format!("P{patient}"), &format!("P{patient}-{number:06}"), &format!("N{number}"));
        if number % 50 == 49 {
            // Now and then one that gets a file of its own.
            message.extend_from_slice(format!("NTE|1||{}\r", "y".repeat(600 << 10)).as_bytes());
        }
        message
    }

    /// Sends until it is told to end; returns how many messages were accepted.
    fn work(&self) -> u64 {
        let (mut number, mut sender) = (0, None);
        while !self.ended.load(Ordering::SeqCst) {
            let Some(open) = sender.as_mut() else {
                sender = (*self.address.lock().unwrap()).and_then(|address| Sender::try_connect(address).ok());
                if sender.is_none() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                continue;
            };
            match open.try_send(&Self::message(self.patient, number)).map(|ack| code(&ack)) {
                Ok(code) if code == "AA" => {
                    number += 1;
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                }
                Ok(code) => assert_eq!(code, "AR", "only 'not now' may be said of it"),
                Err(_) => sender = None,
            }
        }
        number
    }
}

/// A receiver that does something wrong about once in ten times, and which messages it answered AA,
/// by their place among all that came.
fn rude(seed: u64) -> (Sink, Arc<Mutex<BTreeSet<usize>>>) {
    let mut random = SmallRng::seed_from_u64(seed);
    let taken = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&taken);
    let sink = Sink::start(move |_, before| match random.random_range(0..60) {
        0 => Reply::Code("AE"),
        1 => Reply::Close,
        2 => Reply::Foreign,
        3 => Reply::Raw(b"\x0bMSH|^~\\&|half".to_vec()),
        4 => Reply::Late(Duration::from_millis(700), Box::new(Reply::Code("AA"))),
        5 => Reply::Code("AR"),
        _ => {
            noted.lock().unwrap().insert(before);
            Reply::Code("AA")
        }
    });
    (sink, taken)
}

/// Ways for a repository to be, each for one round.
fn moods() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "fail": 503, "every": 5 }),
        json!({ "drop_after": "stored", "every": 4 }),
        json!({ "drop_after": "read", "every": 4 }),
        json!({ "latency": "30ms" }),
        json!({ "fail": 503, "retry_after": 1 }),
        json!({ "fail": 500, "every": 3 }),
        json!({ "full": true, "every": 7 }),
    ]
}

fn site(sink: &Sink, fhir: &Fhir) -> Site {
    let retry = "[retry]\nfirst = \"20ms\"\nmax_delay = \"300ms\"\nattempts = { erred = 50, unknown = 50 }\n\
                 [pause]\nprobe_interval = \"100ms\"\n";
    let routes = "[[route]]\nto = \"out\"\npurpose = \"TREAT\"\ncontent = \"original\"\n\
                  [[route]]\nto = \"fhir\"\npurpose = \"TREAT\"\n";
    Site::new()
        .engine("level  = \"info,tributary=debug,channels=debug\"", "level = \"error\"")
        .channel("in", &format!("{MLLP_IN}{TO_FHIR}{routes}"))
        .destination("out", &format!("{}{retry}", sink.outbound("ack_timeout = \"300ms\"\nconnections = 8")))
        .destination("fhir", &format!("{}{retry}", fhir.outbound("")))
}

#[test]
fn a_killed_engine_loses_and_alters_nothing() {
    let rounds = from_environment("TRIBUTARY_ROUNDS", 8);
    let seed = from_environment("TRIBUTARY_SEED", rand::random());
    eprintln!("TRIBUTARY_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let ((sink, answered_aa), fhir) = (rude(seed), Fhir::start());
    sink.leave_what_was_given_up();
    let site = site(&sink, &fhir);
    let (address, ended) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
    let accepted = Arc::new(AtomicU64::new(0));
    let mut verified = 0;
    let sent = std::thread::scope(|scope| {
        let emrs: Vec<_> = (0..PATIENTS)
            .map(|patient| {
                let emr = Emr {
                    patient,
                    address: Arc::clone(&address),
                    ended: Arc::clone(&ended),
                    accepted: Arc::clone(&accepted),
                };
                scope.spawn(move || emr.work())
            })
            .collect();
        // An engine that fails the test must not leave its senders at it for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..rounds {
                fhir.behave(moods()[random.random_range(0..moods().len())].clone());
                let running = site.start();
                *address.lock().unwrap() = Some(running.address("in"));
                let before = accepted.load(Ordering::SeqCst);
                crate::kit::wait_until("messages come", || accepted.load(Ordering::SeqCst) > before + 20);
                std::thread::sleep(Duration::from_millis(random.random_range(0..600)));
                // The port is another's as soon as the engine is gone.
                *address.lock().unwrap() = None;
                running.kill();
                if random.random_ratio(1, 4) {
                    site.verify();
                    verified += 1;
                }
            }
        }));
        ended.store(true, Ordering::SeqCst);
        let sent: Vec<u64> = emrs.into_iter().map(|emr| emr.join().unwrap()).collect();
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        sent
    });
    fhir.behave(json!({}));
    sink.script(|_, _| Reply::Code("AA"));
    let running = site.start();
    running.wait_idle();
    let (accepted, late) = (sent.iter().sum::<u64>(), sink.abandoned());
    eprintln!("{rounds} kills, {accepted} messages accepted, verified {verified} times, {late} read too late to count");
    check(&site, &running, &sink, &fhir, &sent);
    let repeated = repeated(&sink.taken(), &answered_aa.lock().unwrap());
    assert!(
        repeated <= rounds as usize * PATIENTS,
        "{repeated} came again: more than were in flight at {rounds} kills"
    );
    running.terminate();
    site.verify();
}

/// Everything that was acknowledged, wherever it ended.
fn check(site: &Site, running: &Running<'_>, sink: &Sink, fhir: &Fhir, sent: &[u64]) {
    let taken = sink.taken();
    let mut dead = BTreeSet::new();
    for delivery in site.json(&["deliveries", "list", "--state", "dead", "-n", "1000000"]).as_array().unwrap() {
        assert_eq!(delivery["destination"], "out", "{delivery:#}");
        dead.insert(delivery["message"].as_str().unwrap().to_owned());
    }
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for message in site.messages() {
        let id = message["control_id"].as_str().unwrap().to_owned();
        let twice = known.insert(id.clone(), message);
        assert!(twice.is_none(), "{id} was stored twice");
    }
    let came: BTreeSet<&[u8]> = taken.iter().map(Vec::as_slice).collect();
    let ids_came: BTreeSet<String> = taken.iter().map(|message| control_id(message)).collect();
    assert_eq!(came.len(), ids_came.len(), "something came in two versions");
    for (number_of_patient, count) in sent.iter().enumerate() {
        for number in 0..*count {
            let message = Emr::message(number_of_patient, number);
            let id = control_id(&message);
            let stored = known.get(&id).unwrap_or_else(|| panic!("{id} was acknowledged, and is not in the store"));
            let state = stored["state"].as_str().unwrap();
            let is_dead = dead.contains(stored["id"].as_str().unwrap());
            assert_eq!(state, if is_dead { "dead" } else { "delivered" }, "{stored:#}");
            assert!(is_dead || came.contains(message.as_slice()), "{id} did not arrive as it was sent");
        }
        check_order(number_of_patient, &taken);
        // The last one counts in the repository, whichever order the others came in: so must the order have been.
        let last = known.keys().rfind(|id| id.starts_with(&format!("P{number_of_patient}-"))).unwrap();
        let number: u64 = last[last.len() - 6..].parse().unwrap();
        assert_eq!(fhir.given_name(&format!("P{number_of_patient}")), Some(format!("N{number}")));
    }
    // What was on its way when the engine or the sender ended may be stored without an answer heard.
    let acknowledged: u64 = sent.iter().sum();
    assert!(known.len() as u64 <= acknowledged + PATIENTS as u64);
    let status = running.status();
    assert_eq!(status.messages.values().sum::<u64>(), known.len() as u64, "{status:#?}");
}

/// One at a time and in order: only the same message again may follow a message.
fn check_order(of: usize, taken: &[Vec<u8>]) {
    let name = format!("P{of}");
    let mut ids: Vec<String> = taken.iter().filter(|m| patient(m) == name).map(|m| control_id(m)).collect();
    ids.dedup();
    for pair in ids.windows(2) {
        assert!(pair[0] < pair[1], "{} came after {}: {:?}", pair[1], pair[0], around(&ids, &pair[1]));
    }
}

/// What came before and after each time that `id` came.
fn around<'a>(ids: &'a [String], id: &str) -> Vec<&'a [String]> {
    let places = (0..ids.len()).filter(|place| ids[*place] == id);
    places.map(|place| &ids[place.saturating_sub(3)..(place + 4).min(ids.len())]).collect()
}

/// How often a message came again though it had been answered AA.
fn repeated(taken: &[Vec<u8>], answered_aa: &BTreeSet<usize>) -> usize {
    let mut done = BTreeSet::new();
    let mut count = 0;
    for (place, message) in taken.iter().enumerate() {
        let id = control_id(message);
        count += usize::from(done.contains(&id));
        if answered_aa.contains(&place) {
            done.insert(id);
        }
    }
    count
}
