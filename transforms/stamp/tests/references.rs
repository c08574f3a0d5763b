//! References within and out of a Bundle.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{received, stamped, stamper};

/// Stamps a collection of a Patient `https://emr.example.org/fhir/Patient/1` and an Observation `o` of
/// the same server, and tells what the Observation's `subject` becomes.
#[track_caller]
fn check(subject: Value, expected: Expect) {
    let patient = json!({ "resourceType": "Patient", "id": "1" });
    let observation = json!({ "resourceType": "Observation", "id": "o", "subject": subject });
    let bundle = json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            { "fullUrl": "https://emr.example.org/fhir/Patient/1", "resource": patient },
            { "fullUrl": "https://emr.example.org/fhir/Observation/o", "resource": observation },
        ],
    });
    let (bundle, message) = stamped(&stamper(), received(&bundle));
    let patient = bundle["entry"][0]["fullUrl"].as_str().unwrap();
    let subject = bundle["entry"][1]["resource"]["subject"]["reference"].as_str().unwrap();
    expected.assert_eq(&format!("{} ({} findings)", subject.replace(patient, "the Patient"), message.findings.len()));
}

#[test]
fn follow_what_the_entries_are_called_now() {
    check(json!({ "reference": "Patient/1" }), expect!["the Patient (0 findings)"]);
    check(json!({ "reference": "https://emr.example.org/fhir/Patient/1" }), expect!["the Patient (0 findings)"]);
    check(json!({ "reference": "Patient/1/_history/4" }), expect!["the Patient (0 findings)"]);
}

#[test]
fn stay_where_they_are_contained_conditional_or_foreign() {
    check(json!({ "reference": "#p" }), expect!["#p (0 findings)"]);
    check(json!({ "reference": "Patient?identifier=urn:ex|1" }), expect!["Patient?identifier=urn:ex|1 (0 findings)"]);
    check(
        json!({ "reference": "https://other.example.org/fhir/Patient/1" }),
        expect!["https://other.example.org/fhir/Patient/1 (0 findings)"],
    );
    check(json!({ "reference": "urn:oid:2.999" }), expect!["urn:oid:2.999 (0 findings)"]);
}

/// `Patient/2` of this sender must never become `Patient/2` of the destination, somebody else's.
#[test]
fn out_of_the_bundle_lead_to_the_senders_own_resource() {
    check(json!({ "reference": "Patient/2" }), expect!["Patient/bbdeabdb-31dc-5412-9f22-453f55e8e212 (1 findings)"]);
    check(
        json!({ "reference": "https://emr.example.org/fhir/Patient/2" }),
        expect!["Patient/bbdeabdb-31dc-5412-9f22-453f55e8e212 (1 findings)"],
    );
}

#[test]
fn out_of_the_bundle_are_found_by_identifier() {
    let identifier = json!({ "system": "urn:oid:2.999.1", "value": "42" });
    check(
        json!({ "reference": "Patient/2", "identifier": identifier }),
        expect!["Patient?identifier=urn:oid:2.999.1%7C42 (0 findings)"],
    );
}
