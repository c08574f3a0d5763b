//! What the published vectors leave open: a layer or a label that goes missing shows here.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::sync::Arc;

use message::consent::by_entry::{
    Directive, Directory, Entry, Policy, Request, Snapshot, Source, Sources, Span, Terms, decide,
};
use message::json::{Value, json};

/// Asks for one entry under one Consent; tells the effect, the layer and the basis.
#[track_caller]
fn check(purpose: &str, entry: Value, provision: Value, default: Value, expected: &str) {
    let directory = Arc::new(Directory::default());
    let request = json!({
        "actions": ["disclose", "access"], "purpose": [purpose], "custodian": "Organization/h",
        "recipient": { "organization": "Organization/g" }, "patient": { "reference": "Patient/1", "match": "certain" },
    });
    let request = Request::read(&request, Span::parse("2026-03-01").unwrap().from, &directory);
    let consent = json!({
        "resourceType": "Consent", "id": "c", "status": "active", "patient": { "reference": "Patient/1" },
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "dateTime": "2025-01-10", "provision": provision,
    });
    let policy = Policy::read("p", &json!({ "default": default })).unwrap();
    let entries = Entry::read(Sources { resources: &[(None, &entry)], provenance: &[], context: &[] }, &directory);
    let snapshot = Snapshot::new(vec![Directive::read(&consent)], Source::Fresh);
    let decision = decide(&request, &entries, &snapshot, &policy, &Terms::shipped().unwrap());
    let verdict = &decision.entries[0];
    assert_eq!(format!("{} {} {}", verdict.effect.code(), verdict.layer, verdict.basis), expected);
}

fn labelled(system: &str, codes: &[&str]) -> Value {
    let labels: Vec<Value> = codes
        .iter()
        .map(|code| json!({ "system": format!("http://terminology.hl7.org/CodeSystem/{system}"), "code": code }))
        .collect();
    json!({ "resourceType": "Observation", "id": "o", "meta": { "security": labels } })
}

fn label(code: &str) -> Value {
    json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code }])
}

#[test]
fn data_for_another_purpose_does_not_go() {
    let permit = || json!({ "type": "permit" });
    let deny = || json!({ "*": "deny" });
    check("TREAT", labelled("v3-ActReason", &["HPAYMT"]), permit(), deny(), "deny 3 data-purpose-conflict");
    check("MLTRAINING", labelled("v3-ActReason", &["HOPERAT"]), permit(), deny(), "deny 3 data-purpose-conflict");
    check("TREATDS", labelled("v3-ActReason", &["TREAT"]), permit(), deny(), "permit 6 consent:c");
}

#[test]
fn a_grant_for_one_label_does_not_release_another() {
    let provision = json!({ "type": "permit", "securityLabel": label("PSY") });
    check("TREAT", labelled("v3-ActCode", &["PSY"]), provision.clone(), json!({ "*": "deny" }), "permit 6 consent:c");
    check(
        "TREAT",
        labelled("v3-ActCode", &["PSY", "HIV"]),
        provision.clone(),
        json!({ "*": "permit" }),
        "deny 8 consent:c",
    );
    check("TREAT", labelled("v3-ActCode", &["HIV", "PSY"]), provision, json!({ "*": "permit" }), "deny 8 consent:c");
}

#[test]
fn model_training_needs_a_consent_that_names_it() {
    let operations = json!({ "type": "permit", "purpose": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HOPERAT" }] });
    check("MLTRAINING", labelled("v3-ActCode", &[]), operations, json!({ "HOPERAT": "permit" }), "deny 10 default");
}

#[test]
fn what_is_undated_is_outside_a_permit_and_inside_a_denial() {
    let period = json!({ "start": "2024", "end": "2024" });
    let permit = json!({ "type": "permit", "dataPeriod": period });
    let deny = json!({ "type": "deny", "dataPeriod": { "start": "2024", "end": "2024" } });
    check("TREAT", labelled("v3-ActCode", &[]), permit, json!({ "*": "permit" }), "deny 8 consent:c");
    check("TREAT", labelled("v3-ActCode", &[]), deny, json!({ "*": "permit" }), "deny 8 consent:c");
}

#[test]
fn what_is_printed_names_nobody() {
    let directory = Arc::new(Directory::default());
    let patient = json!({ "reference": "Patient/SECRET-77", "match": "certain" });
    let request = json!({
        "actions": ["disclose"], "purpose": ["TREAT"], "custodian": "Organization/h",
        "recipient": { "organization": "Organization/g" }, "patient": patient,
    });
    let request = Request::read(&request, Span::parse("2026-03-01").unwrap().from, &directory);
    let data = json!([{ "meaning": "instance", "reference": { "reference": "Observation/SECRET-77" } }]);
    let consent = json!({
        "resourceType": "Consent", "id": "c", "status": "active", "patient": { "reference": "Patient/SECRET-77" },
        "provision": { "type": "deny", "data": data },
    });
    let entry = json!({ "resourceType": "Observation", "id": "SECRET-77" });
    let entries = Entry::read(Sources { resources: &[(None, &entry)], ..Sources::default() }, &directory);
    let snapshot = Snapshot::new(vec![Directive::read(&consent)], Source::Fresh);
    let policy = Policy::read("p", &json!({ "default": { "*": "deny" } })).unwrap();
    let decision = decide(&request, &entries, &snapshot, &policy, &Terms::shipped().unwrap());
    let printed = format!("{request:?} {entries:?} {snapshot:?} {decision:?}");
    assert!(printed.contains("Entry(0 Observation)") && printed.contains("Directive"), "{printed}");
    assert!(!printed.contains("SECRET-77"), "{printed}");
}
