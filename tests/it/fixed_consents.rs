//! Consents that a site has from the start, for patients and feeds that bring none.

use serde_json::{Value, json};

use crate::consent::{SYSTEM, consent, file, site as decided_by};
use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, MLLP_IN, Site, TO_FHIR, TO_OUT};

fn reason(site: &Site, control_id: &str) -> String {
    site.delivery(control_id)["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_fixed_consent_is_a_patients_or_all_of_a_feeds() {
    let fhir = Fhir::start();
    let site = decided_by("park-unknown", &fhir.outbound(""));
    site.set_channel("signed", &format!("consents = [\"signed-at-admission\"]\n{MLLP_IN}{TO_FHIR}{TO_OUT}"));
    let mut all = consent("signed-at-admission", "", 1, "OPTIN", Value::Null);
    all.as_object_mut().unwrap().remove("patient");
    site.write("consents/signed-at-admission.json", all.to_string());
    site.write("consents/ada.json", consent("of-ada", "MRN-1", 1, "OPTIN", Value::Null).to_string());
    let running = site.start();
    let mut bare = Sender::connect(running.address("in"));
    bare.accepted(&update("MRN-1", "C1", "Ada"));
    bare.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("delivered", 1), ("held", 1)]);
    assert!(reason(&site, "C1").contains("by Consent of-ada/"), "{}", reason(&site, "C1"));
    let mut signed = Sender::connect(running.address("signed"));
    signed.accepted(&update("MRN-3", "C3", "Cid"));
    running.wait_deliveries("out", &[("delivered", 2), ("held", 1)]);
    assert!(reason(&site, "C3").contains("consent:signed-at-admission"), "{}", reason(&site, "C3"));
    // What a patient says themself, and later, stands beside it: a denial wins.
    file(&site, &running, &consent("no", "MRN-3", 5, "OPTOUT", Value::Null));
    signed.accepted(&update("MRN-3", "C4", "Cid"));
    running.wait_deliveries("out", &[("delivered", 2), ("held", 1), ("skipped", 1)]);
    // One more, and what waits goes once it is read.
    site.write("consents/ben.json", consent("of-ben", "MRN-2", 1, "OPTIN", Value::Null).to_string());
    site.cli(&["reload"]);
    running.wait_deliveries("out", &[("delivered", 3), ("skipped", 1)]);
}

#[test]
fn a_fixed_consent_that_cannot_be_computed_stops_the_site() {
    let site = decided_by("us-tpo", "[outbound.fhir]\nurl = \"http://127.0.0.1:1\"\n");
    let mut consent = consent("words", "MRN-1", 1, "OPTIN", Value::Null);
    consent.as_object_mut().unwrap().remove("policyRule");
    site.write("consents/words.json", consent.to_string());
    site.write("consents/patient.json", json!({ "resourceType": "Patient", "id": SYSTEM }).to_string());
    site.write("consents/cut.json", "{");
    let output = site.run(&["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{told}");
    for part in ["consents/words.json", "no base rule", "consents/patient.json", "no FHIR Consent", "consents/cut.json"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}
