//! What went out and should not have, as is known later.

use serde_json::{Value, json};

use crate::consent::{SYSTEM, consent, file, results, site};
use crate::kit::Fhir;
use crate::kit::hl7::update;
use crate::kit::mllp::Sender;

/// Who is listed, with the cause and the Consents.
fn listed(report: &Value) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = report["found"].as_array().unwrap().iter();
    found.map(|one| (text(&one["event"]["message"]), text(&one["cause"]), one["consents"].clone())).collect()
}

/// A revocation that was signed before a delivery and came after it is in the list; one that was signed later is not,
/// nor one that leaves what went out alone.
#[test]
fn a_revocation_that_came_late_lists_what_went_out_meanwhile() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for (patient, control_id) in [("ADA", "A1"), ("BEN", "B1"), ("CARA", "C1"), ("DORA", "D1")] {
        sender.accepted(&results(patient, control_id));
    }
    running.wait_deliveries("out", &[("delivered", 4)]);
    let list = |more: &[&str]| site.json(&[&["breach", "list"], more].concat());
    let before = list(&[]);
    assert_eq!((&before["looked_at"], listed(&before)), (&json!(4), vec![]));
    file(&site, &running, &consent("ada", "ADA", 5, "OPTOUT", Value::Null));
    let mut later = consent("ben", "BEN", 5, "OPTOUT", Value::Null);
    later["dateTime"] = json!("2099-01-01");
    file(&site, &running, &later);
    file(&site, &running, &consent("cara", "CARA", 5, "OPTIN", Value::Null));
    // What it denies is part of what went out.
    let hiv = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV" }]);
    let provisions = json!({ "provision": [{ "type": "deny", "securityLabel": hiv }] });
    file(&site, &running, &consent("dora", "DORA", 5, "OPTIN", provisions));
    let report = list(&[]);
    let message = |control_id: &str| site.messages_called(control_id)[0]["id"].as_str().unwrap().to_owned();
    let late = |control_id, consent: &str| (message(control_id), "late-consent".to_owned(), json!([consent]));
    assert_eq!(listed(&report), [late("A1", "ada/1"), late("D1", "dora/1")], "{report:#}");
    assert_eq!((&report["patients"], &report["looked_at"]), (&json!(2), &json!(4)));
    let decisions: Vec<&Value> = report["found"].as_array().unwrap().iter().map(|one| &one["decision"]).collect();
    assert_eq!(decisions, ["suppress", "deliver-redacted"]);
    assert!(report["found"][0]["filed"].as_str() > report["found"][0]["event"]["at"].as_str(), "{report:#}");
    // By patient, by destination, by time; for people; for programs, with a Task for the recipient.
    let ada = format!("{SYSTEM}|ADA");
    assert_eq!(listed(&list(&["--patient", &ada])), [late("A1", "ada/1")]);
    assert_eq!(list(&["--destination", "elsewhere"])["looked_at"], json!(0));
    assert_eq!(list(&["--until", "1h"])["looked_at"], json!(0));
    let table = site.cli(&["breach", "list"]);
    assert!(table.contains("late-consent") && table.contains("2 should not have been, of 2 patients"), "{table}");
    let bundle = site.json(&["breach", "list", "--fhir"]);
    let kinds: Vec<&str> = bundle["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["resource"]["resourceType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["AuditEvent", "AuditEvent", "Task"]);
    assert_eq!(bundle["entry"][2]["resource"]["input"].as_array().unwrap().len(), 2);
    site.write("bundle.json", bundle.to_string());
    site.cli(&["validate", site.path("bundle.json").to_str().unwrap()]);
    // It works without an engine, too, and the question is in the audit.
    running.terminate();
    assert_eq!(listed(&list(&[])), [late("A1", "ada/1"), late("D1", "dora/1")]);
    let asked = site.json(&["audit", "list", "--kind", "audit-read"]);
    assert!(asked.to_string().contains("what should not have been sent"), "{asked}");
}

/// A policy that turns out to be wrong: the right one says what should not have gone, before and after it is in force.
#[test]
fn a_policy_that_was_wrong_lists_what_it_let_go() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    site.write("right/us-tpo.toml", "[default]\n\"*\" = \"deny\"\n");
    let right = site.path("right/us-tpo.toml");
    let causes = |more: &[&str]| {
        let found = listed(&site.json(&[&["breach", "list"], more].concat()));
        found.into_iter().map(|(_, cause, _)| cause).collect::<Vec<_>>()
    };
    assert_eq!(causes(&[]), [""; 0]);
    assert_eq!(causes(&["--policy", right.to_str().unwrap()]), ["policy"]);
    std::fs::copy(&right, site.path("policies/us-tpo.toml")).unwrap();
    site.cli(&["reload"]);
    assert_eq!(causes(&[]), ["policy"]);
    drop(running);
}
