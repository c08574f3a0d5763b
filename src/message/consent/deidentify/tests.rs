//! What is left of a Bundle by the Safe Harbor rule.

#![allow(clippy::indexing_slicing, reason = "a test may")]

use proptest::prelude::*;

use super::*;
use crate::fhir::Severity;
use crate::fhir::validate::{Options, validate};

fn rule() -> Rule<'static> {
    let rename = &|name: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("message 1 {name}").as_bytes());
    Rule { year: 2026, rename, pseudonym: None }
}

fn entry(id: &str, resource: Value) -> Value {
    let kind = resource["resourceType"].as_str().unwrap().to_owned();
    json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": resource, "request": { "method": "PUT", "url": format!("{kind}?identifier=x|{id}") } })
}

fn patient(birth: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": "SECRETID", "meta": { "source": "urn:x#SECRETCONTROL", "security": [{ "system": super::super::CONFIDENTIALITY, "code": "R" }] },
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">SECRETTEXT</div>" },
        "extension": [{ "url": "urn:x", "valueString": "SECRETEXTENSION" }],
        "identifier": [{ "system": "urn:oid:1.2", "value": "SECRETMRN" }], "name": [{ "family": "SECRETNAME" }],
        "telecom": [{ "system": "phone", "value": "SECRETPHONE" }], "gender": "female", "birthDate": birth, "_birthDate": { "id": "SECRETELEMENT" },
        "address": [{ "line": ["SECRETSTREET"], "city": "SECRETCITY", "district": "SECRETCOUNTY", "state": "NY", "postalCode": "12180" }],
        "contact": [{ "name": { "family": "SECRETKIN" } }], "photo": [{ "data": "U0VDUkVU" }],
    })
}

fn glucose() -> Value {
    json!({
        "resourceType": "Observation", "id": "o", "identifier": [{ "value": "SECRETORDER" }], "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7", "display": "SECRETDISPLAY" }], "text": "SECRETWORDS" },
        "subject": { "reference": "urn:uuid:p", "display": "SECRETSUBJECT" }, "performer": [{ "display": "SECRETDOCTOR" }],
        "effectiveDateTime": "2026-03-01T09:15:00Z", "issued": "2026-03-01T09:15:00Z",
        "valueQuantity": { "value": 73.40, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL" },
        "note": [{ "text": "SECRETNOTE" }], "component": [{ "code": { "text": "SECRETONLY" }, "valueString": "SECRETVALUE" }],
    })
}

fn bundle(entries: Vec<Value>) -> Value {
    json!({ "resourceType": "Bundle", "type": "transaction", "id": "SECRETBUNDLE", "timestamp": "2026-03-01T09:15:00Z", "entry": entries })
}

#[test]
fn what_is_left_names_nobody() {
    let provenance = json!({ "resourceType": "Provenance", "recorded": "2026-03-01T09:15:00Z", "agent": [{ "who": { "display": "SECRETAGENT" } }] });
    let organization = json!({ "resourceType": "Organization", "name": "SECRETHOSPITAL" });
    let whole = bundle(vec![
        entry("p", patient("1971-04-23")),
        entry("o", glucose()),
        entry("v", provenance),
        entry("g", organization),
    ]);
    let left = deidentify(&whole, &rule()).unwrap();
    let text = left.to_string();
    assert!(
        !text.contains("SECRET") && !text.contains("U0VD") && !text.contains("2026-03") && !text.contains("1971-04"),
        "{text}"
    );
    let entries = left["entry"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    let (person, result) = (&entries[0]["resource"], &entries[1]["resource"]);
    assert_eq!((&person["gender"], &person["birthDate"]), (&json!("female"), &json!("1971")));
    assert_eq!(person["address"], json!([{ "state": "NY", "postalCode": "121" }]));
    assert_eq!(person["meta"]["security"][1]["code"], "ANONYED");
    assert_eq!(result["effectiveDateTime"], "2026");
    assert_eq!(result["valueQuantity"]["value"].to_string(), "73.4");
    assert_eq!(result["subject"]["reference"], entries[0]["fullUrl"]);
    assert_eq!(entries[1]["request"]["url"], json!(format!("Observation/{}", result["id"].as_str().unwrap())));
    assert_eq!(left["meta"]["security"][0]["code"], "R", "the mark is of what is left");
    let issues = validate(&left, &Options::default());
    assert!(issues.iter().all(|issue| issue.severity != Severity::Error), "{issues:?}");
}

#[test]
fn ages_over_89_are_one() {
    for (birth, left) in [("1936", false), ("1937-01-01", true), ("1936-12-31", false)] {
        let bundle = deidentify(&bundle(vec![entry("p", patient(birth)), entry("o", glucose())]), &rule()).unwrap();
        assert_eq!(bundle["entry"][0]["resource"].get("birthDate").is_some(), left, "{birth}");
    }
    let age = |value: u32, unit: &str| {
        let mut age = glucose();
        *age.get_mut("valueQuantity").unwrap() = json!({ "value": value, "unit": unit });
        let left = deidentify(&bundle(vec![entry("p", patient("1971")), entry("o", age)]), &rule()).unwrap();
        left["entry"][1]["resource"].get("valueQuantity").is_some()
    };
    assert!(age(89, "years") && !age(90, "years") && !age(1080, "mo") && age(1080, "mg"));
}

#[test]
fn a_pseudonym_lasts_and_a_name_does_not() {
    let lasting = |identifier: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, identifier.as_bytes());
    let rule = Rule { pseudonym: Some(("urn:site", &lasting)), ..rule() };
    let left = deidentify(&bundle(vec![entry("p", patient("1971")), entry("o", glucose())]), &rule).unwrap();
    let person = &left["entry"][0]["resource"];
    assert_eq!(
        person["identifier"],
        json!([{ "system": "urn:site", "value": lasting("urn:oid:1.2|SECRETMRN").to_string() }])
    );
    assert_eq!(person["meta"]["security"][1]["code"], "PSEUDED");
    let nobody = json!({ "resourceType": "Patient" });
    assert!(deidentify(&bundle(vec![entry("p", nobody), entry("o", glucose())]), &rule).is_err());
}

#[test]
fn what_cannot_be_de_identified_is_said_so() {
    let document = json!({ "resourceType": "Bundle", "type": "document", "entry": [] });
    assert!(deidentify(&document, &rule()).is_err());
    assert!(deidentify(&glucose(), &rule()).is_err());
    assert!(deidentify(&bundle(vec![entry("p", patient("1971"))]), &rule()).is_err(), "nobody but somebody");
}

#[test]
fn what_needs_what_goes_goes_too() {
    let in_words = json!({ "resourceType": "Observation", "status": "final", "code": { "text": "SECRETWORDS" } });
    let modified = json!({ "resourceType": "Condition", "modifierExtension": [{ "url": "urn:not" }], "subject": { "reference": "urn:uuid:p" } });
    let report = json!({ "resourceType": "DiagnosticReport", "status": "final", "code": { "coding": [{ "system": "http://loinc.org", "code": "24323-8" }] },
        "result": [{ "reference": "urn:uuid:w" }, { "reference": "urn:uuid:o" }], "conclusion": "SECRETCONCLUSION" });
    let erased = json!({ "fullUrl": "urn:uuid:e", "resource": glucose(), "request": { "method": "DELETE", "url": "Observation/SECRET" } });
    let whole = bundle(vec![
        entry("p", patient("1971")),
        entry("o", glucose()),
        entry("w", in_words),
        entry("c", modified),
        entry("r", report),
        erased,
    ]);
    let left = deidentify(&whole, &rule()).unwrap();
    let kinds: Vec<&str> =
        left["entry"].as_array().unwrap().iter().map(|e| e["resource"]["resourceType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Patient", "Observation", "DiagnosticReport"]);
    assert_eq!(left["entry"][2]["resource"]["result"].as_array().unwrap().len(), 1);
    assert!(!left.to_string().contains("SECRET"));
}

/// Whatever a text stands in, and whatever element of R4 that is: if it is unique to a person, it does not leave.
fn anywhere() -> impl Strategy<Value = Value> {
    let names: Vec<(String, String)> = KEPT
        .iter()
        .flat_map(|kind| {
            let id = crate::fhir::definitions::types().resource(kind).unwrap();
            let all = crate::fhir::definitions::types().get(id).names().map(str::to_owned).collect::<Vec<_>>();
            all.into_iter().map(|name| ((*kind).to_owned(), name))
        })
        .collect();
    let canary = prop_oneof![
        Just(json!("CANARY 1")),
        Just(json!(["CANARY 1"])),
        Just(json!({ "reference": "CANARY/1", "display": "CANARY 1", "identifier": { "value": "CANARY 1" } })),
        Just(
            json!([{ "text": "CANARY 1", "coding": [{ "display": "CANARY 1", "version": "CANARY 1", "code": "x" }] }])
        ),
        Just(
            json!({ "text": "CANARY 1", "value": 1, "unit": "CANARY 1", "extension": [{ "url": "u", "valueString": "CANARY 1" }] })
        ),
        Just(
            json!([{ "reference": { "display": "CANARY 1" }, "text": "CANARY 1", "name": { "family": "CANARY 1" }, "value": "CANARY 1" }])
        ),
        Just(json!({ "start": "CANARY 1", "end": "1980-CANARY 1" })),
    ];
    (prop::sample::select(names), canary).prop_map(|((kind, name), value)| {
        let mut resource = json!({ "resourceType": kind });
        resource.as_object_mut().unwrap().insert(name, value);
        resource
    })
}

proptest! {
    #[test]
    fn no_text_of_a_person_leaves(odd in prop::collection::vec(anywhere(), 1..6)) {
        let mut entries = vec![entry("p", patient("1971")), entry("o", glucose())];
        entries.extend(odd.into_iter().enumerate().map(|(at, resource)| entry(&format!("x{at}"), resource)));
        if let Ok(left) = deidentify(&bundle(entries), &rule()) {
            let text = left.to_string();
            prop_assert!(!text.contains("CANARY") && !text.contains("SECRET"), "{}", text);
        }
    }
}
