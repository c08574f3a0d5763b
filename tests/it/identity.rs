//! Whose data it is, where the message does not tell all: the site's own table, and an identity manager (PIXm).

use serde_json::{Value, json};

use crate::consent::{SYSTEM, consent, file, site as decided_by};
use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, Service, Site, wait_until};

const OTHER: &str = "urn:oid:2.16.840.1.113883.19.77";

/// A Consent of whoever has `number` in the other domain.
fn consent_of_other(id: &str, number: &str, rule: &str) -> Value {
    let mut consent = consent(id, number, 5, rule, Value::Null);
    consent["patient"]["identifier"]["system"] = json!(OTHER);
    consent
}

/// Files a Consent of the other domain, and waits until it is on file.
fn file_other(site: &Site, running: &crate::kit::Running<'_>, consent: &Value) {
    crate::consent::put(running, consent);
    let number = consent["patient"]["identifier"]["value"].as_str().unwrap();
    let id = consent["id"].as_str().unwrap();
    wait_until("the consent is on file", || {
        let listed = site.json(&["consent", "list", "--patient", &format!("{OTHER}|{number}")]);
        listed.as_array().unwrap().iter().any(|filed| filed["id"] == id)
    });
}

fn reason(site: &Site, control_id: &str) -> String {
    site.delivery(control_id)["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_consent_by_another_number_counts_where_the_sites_table_links_them() {
    let fhir = Fhir::start();
    let site = decided_by("park-unknown", &fhir.outbound(""));
    site.write("codes/patients.csv", format!("person,system,value\n1,{SYSTEM},MRN-1\n1,{OTHER},77\n"));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("held", 2)]);
    file_other(&site, &running, &consent_of_other("c1", "77", "OPTIN"));
    running.wait_deliveries("out", &[("delivered", 1), ("held", 1)]);
    assert_eq!(fhir.given_name("MRN-1").as_deref(), Some("Ada"));
    let listed = site.json(&["consent", "list", "--patient", &format!("{SYSTEM}|MRN-1")]);
    assert_eq!(listed[0]["id"], "c1", "it is on file by either number");
    // Another line, and the other patient is found as well.
    site.write(
        "codes/patients.csv",
        format!("person,system,value\n1,{SYSTEM},MRN-1\n1,{OTHER},77\n1,{SYSTEM},MRN-2\n"),
    );
    site.cli(&["reload"]);
    running.wait_deliveries("out", &[("delivered", 2)]);
}

#[test]
fn mistakes_of_the_table_are_told_by_their_lines_and_without_values() {
    let site = decided_by("us-tpo", "[outbound.fhir]\nurl = \"http://127.0.0.1:1\"\n");
    site.write("codes/patients.csv", format!("person,system,value\n1,{SYSTEM},MRN-1\n2,{SYSTEM},MRN-1\n3,here,X\n"));
    let output = site.run(&["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("codes/patients.csv:3:1") && told.contains("another person's in line 2"), "{told}");
    assert!(told.contains("codes/patients.csv:4:1") && !told.contains("MRN-1"), "{told}");
}

/// A manager that knows some.
fn manager(target: &str) -> (u16, String, Value) {
    let parameters = |values: &[&str]| {
        let parameter = |value: &&str| json!({ "name": "targetIdentifier", "valueIdentifier": { "system": OTHER, "value": value } });
        let listed: Vec<Value> = values.iter().map(parameter).collect();
        (200, String::new(), json!({ "resourceType": "Parameters", "parameter": listed }))
    };
    let outcome = |status: u16, code: &str| {
        let issue = json!([{ "severity": "error", "code": code }]);
        (status, String::new(), json!({ "resourceType": "OperationOutcome", "issue": issue }))
    };
    match target.rsplit("%7C").next().unwrap_or_default() {
        "MRN-1" => parameters(&["77"]),
        "MRN-5" => outcome(409, "multiple-matches"),
        _ => outcome(404, "not-found"),
    }
}

fn managed(site: &Site, address: std::net::SocketAddr) {
    site.write("services.toml", format!("[identity]\nurl = \"http://{address}/fhir\"\nanswer_timeout = \"500ms\"\n"));
}

#[test]
fn a_manager_links_holds_what_is_ambiguous_and_leaves_who_is_unknown_to_their_own_numbers() {
    let (fhir, pixm) = (Fhir::start(), Service::start(|target, _| manager(target)));
    let site = decided_by("us-tpo", &fhir.outbound(""));
    managed(&site, pixm.address);
    let running = site.start();
    file_other(&site, &running, &consent_of_other("c1", "77", "OPTOUT"));
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-5", "C5", "Eve"));
    sender.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("delivered", 1), ("held", 1), ("skipped", 1)]);
    assert!(reason(&site, "C1").contains("denied by consent: consent:c1"), "{}", reason(&site, "C1"));
    assert!(reason(&site, "C5").starts_with("waits for consent: patient-identity"), "{}", reason(&site, "C5"));
    assert_eq!(fhir.given_name("MRN-2").as_deref(), Some("Ben"));
    let asked = pixm.asked();
    let target = format!("/fhir/Patient/$ihe-pix?sourceIdentifier={}%7CMRN-1", SYSTEM.replace(':', "%3A"));
    assert!(asked.iter().any(|(asked, _)| *asked == target), "{asked:?}");
    // Its answer is kept for a while.
    sender.accepted(&update("MRN-2", "C3", "Ben"));
    running.wait_deliveries("out", &[("delivered", 2), ("held", 1), ("skipped", 1)]);
    assert_eq!(pixm.asked().iter().filter(|(target, _)| target.ends_with("MRN-2")).count(), 1);
}

/// A consent by another number wakes what waits, though the message does not know that number.
#[test]
fn a_consent_by_a_linked_number_wakes_what_waits() {
    let (fhir, pixm) = (Fhir::start(), Service::start(|target, _| manager(target)));
    let site = decided_by("park-unknown", &fhir.outbound(""));
    managed(&site, pixm.address);
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("held", 1)]);
    file_other(&site, &running, &consent_of_other("c1", "77", "OPTIN"));
    running.wait_deliveries("out", &[("delivered", 1)]);
}

#[test]
fn nothing_goes_while_the_manager_is_gone_and_all_goes_once_it_is_back() {
    let (fhir, address) = (Fhir::start(), Service::nobody());
    let site = decided_by("us-tpo", &fhir.outbound(""));
    managed(&site, address);
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for n in 2..5 {
        sender.accepted(&update(&format!("MRN-{n}"), &format!("C{n}"), "Ada"));
    }
    running.wait_deliveries("out", &[("held", 3)]);
    assert!(fhir.repository.resources("Patient").is_empty());
    assert!(reason(&site, "C2").starts_with("waits for consent: patient-identity"), "{}", reason(&site, "C2"));
    let _back = Service::at(address, |target, _| manager(target));
    running.wait_deliveries("out", &[("delivered", 3)]);
    file(&site, &running, &consent("c9", "MRN-9", 5, "OPTIN", Value::Null));
}
