//! The audit, as a privacy officer has it: what happened is told, and what was altered is found.

use serde_json::Value;

use crate::consent::{SYSTEM, site};
use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, Sink, Site, wait_until};

/// The kinds of all events, in order.
fn kinds(site: &Site, more: &[&str]) -> Vec<String> {
    let listed = site.json(&[&["audit", "list"], more].concat());
    let kind = |line: &Value| line["event"]["kind"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(kind).collect()
}

fn count(site: &Site, kind: &str) -> usize {
    kinds(site, &["--kind", kind]).len()
}

fn patient(number: &str) -> String {
    format!("{SYSTEM}|{number}")
}

#[test]
fn who_got_a_patients_data_is_told_and_a_look_at_it_too() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    let id = site.message("C1")["message"]["id"].as_str().unwrap().to_owned();
    site.cli(&["messages", "show", &id, "--original"]);
    wait_until("both are told", || count(&site, "disclosure") == 2);
    let treatment = site.json(&["disclosures", "--patient", &patient("MRN-1")]);
    assert_eq!(treatment, serde_json::json!([]), "treatment need not be accounted for");
    let all = site.json(&["disclosures", "--patient", &patient("MRN-1"), "--all"]);
    let [told] = &all.as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!((&told["event"]["message"], &told["event"]["destination"]), (&id.clone().into(), &"out".into()));
    let bundle = site.json(&["disclosures", "--patient", &patient("MRN-1"), "--all", "--fhir"]);
    assert_eq!(bundle["entry"][0]["resource"]["purposeOfEvent"][0]["coding"][0]["code"], "TREAT");
    wait_until("the look is told", || count(&site, "view") == 1);
    let views = site.json(&["audit", "list", "--kind", "view"]);
    let view = &views[0]["event"];
    assert_eq!(view["message"], id);
    assert!(view["by"].as_str().unwrap().starts_with("uid "), "{view}");
    let all = kinds(&site, &[]);
    assert!(all[0] == "start" && all.contains(&"decision".to_owned()), "{all:?}");
    wait_until("that the audit was read is told", || count(&site, "audit-read") > 0);
    let verified = site.json(&["audit", "verify"]);
    assert_eq!(verified["faults"], serde_json::json!([]));
    // Neither names nor identifiers are in its files.
    running.terminate();
    let lines = audit(&site);
    assert!(!["Ada", "MRN-1", "MRN-2"].iter().any(|word| lines.contains(word)), "{lines}");
}

/// The text of the chain.
fn audit(site: &Site) -> String {
    std::fs::read_to_string(site.path("data/audit/00000000000000000001.jsonl")).unwrap()
}

/// Killed at any time, the audit tells of each message and each delivery, each once.
#[test]
fn nothing_that_happened_is_missing_after_a_kill() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    for round in 0..4 {
        let running = site.start();
        let mut sender = Sender::connect(running.address("in"));
        for number in 0..25 {
            sender.accepted(&update(&format!("P{}", number % 5), &format!("C{round}-{number}"), "Ada"));
        }
        running.kill();
    }
    let running = site.start();
    running.wait_deliveries("out", &[("delivered", 100)]);
    wait_until("all is told", || count(&site, "disclosure") >= 100);
    running.terminate();
    assert_eq!(count(&site, "import"), 100);
    let told = site.json(&["audit", "list", "--kind", "disclosure"]);
    let mut deliveries: Vec<u64> =
        told.as_array().unwrap().iter().map(|line| line["event"]["delivery"].as_u64().unwrap()).collect();
    deliveries.sort_unstable();
    deliveries.dedup();
    assert_eq!((deliveries.len(), told.as_array().unwrap().len()), (100, 100));
    assert_eq!(site.json(&["audit", "verify"])["faults"], serde_json::json!([]));
}

#[test]
fn a_line_that_somebody_alters_is_named() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    running.terminate();
    let whole = site.run(&["audit", "verify"]);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stdout));
    let (text, path) = (audit(&site), site.path("data/audit/00000000000000000001.jsonl"));
    let altered = text.replacen("\"destination\":\"out\"", "\"destination\":\"elsewhere\"", 1);
    assert_ne!(altered, text);
    std::fs::write(&path, altered).unwrap();
    let found = site.run(&["audit", "verify"]);
    let told = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{told}");
    assert!(told.contains("was changed") && told.contains("NOT whole"), "{told}");
    // Not even the last one can be altered, nor gone on from.
    let last = text.trim_end().rfind("\"kind\":\"").unwrap();
    std::fs::write(&path, format!("{}\"kind\":\"X{}", &text[..last], &text[last + 8..])).unwrap();
    let found = site.run(&["audit", "verify"]);
    let told = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{told}");
    assert!(told.contains("was changed"), "{told}");
    let refused = site.command(&["run"]).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("is not as it was signed"), "{told}");
    std::fs::rename(site.path("data/audit"), site.path("data/audit.broken")).unwrap();
    let running = site.start();
    wait_until("what the log has is told again", || count(&site, "disclosure") == 1);
    drop(running);
}
