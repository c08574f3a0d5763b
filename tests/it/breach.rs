//! What went out and should not have, as is known later.

use serde_json::{Value, json};

use crate::consent::{SYSTEM, consent, file, results, site};
use crate::kit::hl7::update;
use crate::kit::http::Server;
use crate::kit::mllp::Sender;
use crate::kit::{DEADLINE, Fhir, MLLP_IN};

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
    // What cannot be decided about any more is counted apart.
    site.set_channel("in", MLLP_IN);
    std::fs::remove_file(site.path("destinations/out.toml")).unwrap();
    site.cli(&["reload"]);
    let report = site.json(&["breach", "list"]);
    assert_eq!((&report["found"], &report["unknown"][0]["grounds"]), (&json!([]), &json!("its destination is gone")));
    assert!(site.cli(&["breach", "list"]).contains("1 cannot be decided about"));
    drop(running);
}

/// The destination takes longer to answer than a revocation is kept waiting: nothing can call back what is on its way, and
/// it is told.
#[test]
fn what_was_on_its_way_as_consent_ended_is_told() {
    let (began, begins) = std::sync::mpsc::sync_channel(1);
    let (go_on, told_to) = std::sync::mpsc::sync_channel::<()>(1);
    let server = Server::start(move |body, _| {
        began.send(()).unwrap();
        told_to.recv().unwrap();
        let taken = |_| json!({ "response": { "status": "201" } });
        let entries: Vec<Value> = body["entry"].as_array().unwrap().iter().map(taken).collect();
        (200, String::new(), json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": entries }))
    });
    let site = site("us-tpo", &format!("[outbound.fhir]\nurl = \"http://{}\"\n", server.address));
    let running = site.start();
    file(&site, &running, &consent("ada", "ADA", 5, "OPTIN", Value::Null));
    Sender::connect(running.address("in")).accepted(&results("ADA", "A1"));
    begins.recv_timeout(DEADLINE).unwrap();
    let mut ended = consent("ada", "ADA", 6, "OPTOUT", Value::Null);
    ended["dateTime"] = json!(tributary::engine::clock::now().to_string());
    file(&site, &running, &ended);
    go_on.send(()).unwrap();
    running.wait_deliveries("out", &[("delivered", 1)]);
    let events = site.json(&["audit", "list", "--kind", "late-revocation"]);
    let event = &events[0]["event"];
    let message = &site.message("A1")["message"]["id"];
    assert_eq!((&event["message"], events.as_array().unwrap().len()), (message, 1));
    assert!(
        event["text"].as_str().unwrap().starts_with("sent to out as consent for it ended: denied by consent"),
        "{event}"
    );
    let report = site.json(&["breach", "list", "--patient", &format!("{SYSTEM}|ADA")]);
    let causes: Vec<&Value> = report["found"].as_array().unwrap().iter().map(|one| &one["cause"]).collect();
    assert_eq!(causes, ["late-revocation"]);
    running.terminate();
}
