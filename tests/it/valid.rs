//! What becomes of a Bundle that is not valid FHIR R4, by the channel's policy.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::kit::http::post;
use crate::kit::{Fhir, HTTP_IN, QUICK, Site, TO_OUT};

/// A code that R4's required binding does not know: the secret that no finding may repeat.
const NO_GENDER: &str = "zephyr";

fn site(fhir: &Fhir, policy: &str) -> Site {
    Site::new().channel("in", &channel(policy)).destination("out", &format!("{}{QUICK}", fhir.outbound("")))
}

fn channel(policy: &str) -> String {
    format!("validate = \"{policy}\"\n{HTTP_IN}{TO_OUT}")
}

/// Posts a Bundle with one Patient of this gender, and more members of the Patient's.
fn send(address: SocketAddr, identifier: &str, gender: &str, more: Value) {
    let mut patient = json!({
        "resourceType": "Patient",
        "identifier": [{ "system": "https://lake.example/mrn", "value": identifier }],
        "name": [{ "family": "Marchbanks", "given": ["Ada"] }],
        "gender": gender,
    });
    patient.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let bundle = json!({
        "resourceType": "Bundle",
        "identifier": { "system": "https://lake.example/bundles", "value": identifier },
        "type": "transaction",
        "entry": [{
            "fullUrl": "urn:uuid:7c1e2f0a-5d0b-4d6e-9a55-0c3f3b1a1001",
            "resource": patient,
            "request": { "method": "PUT", "url": format!("Patient?identifier=https://lake.example/mrn|{identifier}") },
        }],
    });
    let answer = post(address, "", bundle.to_string().as_bytes());
    assert_eq!(answer.status, 202, "what is not valid is no reason to refuse it to the sender: {}", answer.body);
}

/// The kinds of an analyst's work list.
fn listed(site: &Site) -> Vec<String> {
    let coverage = site.json(&["coverage", "--channel", "in"]);
    let items = coverage["items"].as_array().unwrap().iter();
    items.map(|item| item["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn hold_parks_what_is_not_valid_and_a_replay_sends_it_once_the_policy_allows() {
    let fhir = Fhir::start();
    let site = site(&fhir, "hold");
    let running = site.start();
    send(running.address("in"), "B1", "female", json!({}));
    send(running.address("in"), "B2", NO_GENDER, json!({ "shoeSize": 38 }));
    running.wait_messages(&[("delivered", 1), ("failed", 1)]);
    assert_eq!(fhir.repository.resources("Patient").len(), 1, "the invalid one did not leave");
    let parked = site.message("https://lake.example/bundles|B2");
    let outcome = parked["message"].to_string();
    assert!(outcome.contains("not valid FHIR R4") && outcome.contains("and one more issue"), "{parked:#}");
    assert!(!outcome.contains(NO_GENDER), "{parked:#}");
    // It is parked over a crash, and waits for a person.
    running.kill();
    let running = site.start();
    running.wait_messages(&[("delivered", 1), ("failed", 1)]);
    site.set_channel("in", &channel("warn"));
    site.cli(&["reload"]);
    site.cli(&["replay", "--state", "failed", "--since", "1h", "--reason", "the repository takes it"]);
    running.wait_messages(&[("delivered", 2)]);
    assert_eq!(fhir.repository.resources("Patient").len(), 2);
    running.terminate();
    site.verify();
    assert!(!site.logs().contains(NO_GENDER));
}

#[test]
fn warn_sends_it_and_puts_it_on_the_work_list() {
    let fhir = Fhir::start();
    let site = site(&fhir, "warn");
    let running = site.start();
    send(running.address("in"), "B1", NO_GENDER, json!({}));
    running.wait_messages(&[("delivered", 1)]);
    let patients = fhir.repository.resources("Patient");
    assert_eq!(patients[0]["gender"], NO_GENDER, "what came is sent as it came");
    assert!(listed(&site).contains(&"invalid".to_owned()), "{:?}", listed(&site));
}

#[test]
fn off_does_not_look() {
    let fhir = Fhir::start();
    let site = site(&fhir, "off");
    let running = site.start();
    send(running.address("in"), "B1", NO_GENDER, json!({}));
    running.wait_messages(&[("delivered", 1)]);
    assert!(!listed(&site).contains(&"invalid".to_owned()), "{:?}", listed(&site));
}
