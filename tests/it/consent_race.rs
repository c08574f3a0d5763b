//! Consents that change under load, with retries going on: nothing is sent after a refusal is on file, nothing is lost,
//! everything is explained.

use std::sync::Mutex;
use std::time::Instant;

use serde_json::Value;

use crate::consent::{consent, file, site};
use crate::kit::hl7::{control_id, update};
use crate::kit::mllp::Sender;
use crate::kit::{MLLP_IN, Reply, Sink, TO_OUT, wait_until};

/// How many patients change their minds.
const PATIENTS: usize = 6;
/// How often each does.
const TURNS: u32 = 3;
/// Messages of each patient in each state.
const MESSAGES: usize = 8;

#[test]
fn nothing_is_sent_after_a_refusal_and_nothing_is_lost() {
    let arrived: &'static Mutex<Vec<(String, Instant)>> = Box::leak(Box::default());
    let sink = Sink::start(move |message, before| {
        arrived.lock().unwrap().push((control_id(message), Instant::now()));
        // Every third try fails one way or another, so that there is always something to be tried again.
        match before % 6 {
            1 => Reply::Code("AE"),
            4 => Reply::Close,
            _ => Reply::Code("AA"),
        }
    });
    let site = site("us-tpo", &sink.outbound("ack_timeout = \"2s\""));
    site.set_channel("in", &format!("{MLLP_IN}{TO_OUT}"));
    let running = site.start();
    let address = running.address("in");
    let refused: Mutex<Vec<(String, Instant)>> = Mutex::default();
    std::thread::scope(|scope| {
        for patient in 0..PATIENTS {
            let (site, running, refused) = (&site, &running, &refused);
            scope.spawn(move || {
                let mrn = format!("MRN-{patient}");
                let mut sender = Sender::connect(address);
                let mut send = |turn: u32, state: &str| {
                    for n in 0..MESSAGES {
                        sender.accepted(&update(&mrn, &format!("{state}-{patient}-{turn}-{n}"), "Ada"));
                    }
                };
                for turn in 0..TURNS {
                    send(turn, "granted");
                    // Some of these wait for a retry while it is taken back.
                    file(site, running, &consent(&format!("c{patient}"), &mrn, 2 * turn + 1, "OPTOUT", Value::Null));
                    refused.lock().unwrap().push((format!("-{patient}-{turn}-"), Instant::now()));
                    send(turn, "refused");
                    wait_until("all of these are decided", || {
                        (0..MESSAGES)
                            .all(|n| site.delivery(&format!("refused-{patient}-{turn}-{n}"))["state"] == "skipped")
                    });
                    file(site, running, &consent(&format!("c{patient}"), &mrn, 2 * turn + 2, "OPTIN", Value::Null));
                }
            });
        }
    });
    running.wait_idle();
    let arrived = arrived.lock().unwrap();
    assert!(!arrived.iter().any(|(id, _)| id.starts_with("refused")), "a message left that was refused from the start");
    for (which, since) in refused.lock().unwrap().iter() {
        let late: Vec<_> = arrived.iter().filter(|(id, at)| id.contains(which) && at > since).collect();
        assert!(late.is_empty(), "sent after the refusal was on file: {late:?}");
    }
    let total = PATIENTS * MESSAGES * TURNS as usize;
    let counts = running.destination("out").deliveries;
    let of = |state: &str| counts.get(state).copied().unwrap_or(0);
    assert_eq!(of("delivered") + of("skipped"), 2 * total as u64, "{counts:?}");
    assert!(of("delivered") > 0);
    let skipped = site.json(&["deliveries", "list", "--state", "skipped", "-n", "1000"]);
    for delivery in skipped.as_array().unwrap() {
        assert!(delivery["reason"].as_str().unwrap().starts_with("denied by consent: consent:c"), "{delivery}");
    }
    running.kill();
    let running = site.start();
    running.wait_idle();
    assert_eq!(running.destination("out").deliveries, counts, "a crash changes nothing");
    running.terminate();
    site.verify();
}
