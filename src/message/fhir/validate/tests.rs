use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

/// Each issue on a line.
fn told(resource: &Value) -> String {
    validate(resource, &Options::default()).iter().map(|issue| format!("{issue}\n")).collect()
}

#[track_caller]
fn check(resource: &Value, expected: Expect) {
    expected.assert_eq(&told(resource));
}

/// A valid Patient, but for the elements of `other`.
#[track_caller]
fn check_patient(other: Value, expected: Expect) {
    check(&with(json!({ "resourceType": "Patient", "id": "p1", "active": true }), other), expected);
}

/// A valid Observation, but for the elements of `other`.
#[track_caller]
fn check_observation(other: Value, expected: Expect) {
    check(&with(json!({ "resourceType": "Observation", "status": "final", "code": { "text": "x" } }), other), expected);
}

fn with(mut resource: Value, other: Value) -> Value {
    if let (Some(own), Value::Object(other)) = (resource.as_object_mut(), other) {
        own.extend(other);
    }
    resource
}

/// A transaction of a Patient and an Observation of it.
fn transaction() -> Value {
    let (patient, observation) =
        ("urn:uuid:0190a1c2-0000-7000-8000-000000000001", "urn:uuid:0190a1c2-0000-7000-8000-000000000002");
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        { "fullUrl": patient,
          "resource": { "resourceType": "Patient", "identifier": [{ "system": "urn:oid:1.2.3", "value": "1" }],
            "name": [{ "family": "Test", "given": ["Ann", null], "_given": [null, { "extension": [
                { "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown" }] }] }],
            "birthDate": "1970-02", "_birthDate": { "id": "b" }, "gender": "female" },
          "request": { "method": "PUT", "url": "Patient?identifier=urn:oid:1.2.3%7C1" } },
        { "fullUrl": observation,
          "resource": { "resourceType": "Observation", "status": "final", "code": { "coding": [
                { "system": "http://loinc.org", "code": "718-7" }] },
            "subject": { "reference": patient }, "effectiveDateTime": "2024-02-29T10:30:00.5+01:00",
            "valueQuantity": { "value": 13.50, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL" },
            "performer": [{ "reference": "Practitioner?identifier=1" }, { "display": "Dr Test" }],
            "encounter": { "reference": "Encounter/e1" } },
          "request": { "method": "POST", "url": "Observation" } }] })
}

/// The transaction, with what `change` does to it.
#[track_caller]
fn check_changed(change: impl Fn(&mut Value), expected: Expect) {
    let mut bundle = transaction();
    change(&mut bundle);
    check(&bundle, expected);
}

#[test]
fn what_is_valid_has_no_issue() {
    check(&transaction(), expect![[]]);
    check_patient(
        json!({ "text": { "status": "generated",
        "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a &lt; b<br/></p></div>" } }),
        expect![[]],
    );
}

#[test]
fn names_what_is_no_resource() {
    check(&json!([]), expect![[]]);
    check(&json!({ "id": "x" }), expect![[]]);
    check(&json!({ "resourceType": "DomainResource" }), expect![[]]);
}

#[test]
fn names_unknown_elements_but_no_values() {
    check_patient(json!({ "nick": "Ann", "Ann Test, 1970": 1, "_name": [] }), expect![[]]);
    check_patient(json!({ "contact": [{ "name": { "nick": "x", "text": "y" } }] }), expect![[]]);
}

#[test]
fn counts_elements_and_looks_at_their_form() {
    check(&json!({ "resourceType": "Observation" }), expect![[]]);
    check_patient(json!({ "name": { "text": "x" }, "active": [true], "telecom": [], "photo": null }), expect![[]]);
    check_patient(json!({ "name": [{}, { "id": "x" }, "x"], "maritalStatus": {} }), expect![[]]);
    check_observation(json!({ "valueString": "x", "valueInteger": 1, "_valueBoolean": { "id": "x" } }), expect![[]]);
    check_patient(json!({ "name": [{ "given": [null, "a"], "_given": [null, null, "x"] }] }), expect![[]]);
    check_patient(json!({ "_birthDate": { "id": "x" }, "_active": { "value": 1 } }), expect![[]]);
}

#[test]
fn looks_at_values() {
    check_patient(
        json!({ "active": "true", "birthDate": "2023-02-29", "multipleBirthInteger": 1.5, "gender": "F", "id": "a_b",
            "language": " x", "deceasedDateTime": "2024-01-01T10:00", "implicitRules": "a b" }),
        expect![[]],
    );
    check_observation(
        json!({ "issued": "2024-01-01", "valueTime": "24:00:00", "effectiveInstant": "2024-06-31T00:00:00Z",
            "note": [{ "text": " " }, { "text": "\u{1}", "time": "0000" }] }),
        expect![[]],
    );
    check_patient(
        json!({ "photo": [{ "contentType": "x", "data": "AAA", "size": -1 }], "identifier": [
            { "system": "urn:oid:1", "value": "" }, { "system": "urn:uuid:x" }] }),
        expect![[]],
    );
}

#[test]
fn looks_at_required_codes() {
    check(
        &json!({ "resourceType": "Condition", "subject": { "reference": "Patient/1" },
            "clinicalStatus": { "coding": [{ "system": "http://snomed.info/sct", "code": "active" }] },
            "verificationStatus": { "extension": [{ "url": "http://e.org/x", "valueCode": "y" }] } }),
        expect![[]],
    );
    check_observation(json!({ "status": "done" }), expect![[]]);
}

#[test]
fn follows_references() {
    check_changed(
        |bundle| {
            bundle["entry"][1]["resource"]["subject"]["reference"] =
                json!("urn:uuid:0190a1c2-0000-7000-8000-00000000000f")
        },
        expect![[]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"]["reference"] = bundle["entry"][0]["fullUrl"].clone(),
        expect![[]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"]["reference"] = json!("https://e.org/fhir/Patient/1"),
        expect![[]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"] = json!({ "type": "Patient", "display": "x" }),
        expect![[]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"] = json!({ "type": "Patient", "reference": "Encounter/1" }),
        expect![[]],
    );
    check_changed(|bundle| bundle["entry"][1]["resource"]["encounter"] = json!({ "reference": "e1" }), expect![[]]);
    check_changed(|bundle| bundle["entry"][1]["resource"]["encounter"] = json!({ "reference": "#e1" }), expect![[]]);
}

#[test]
fn looks_at_contained_resources() {
    let contained = json!({ "contained": [
        { "resourceType": "Patient", "id": "p", "meta": { "versionId": "1", "security": [{ "code": "R" }] } },
        { "resourceType": "Encounter", "id": "e", "status": "finished", "class": { "code": "AMB" }, "contained": [] }],
        "subject": { "reference": "#p" } });
    check_observation(contained, expect![[]]);
    let back = json!({ "contained": [{ "resourceType": "Provenance", "id": "v", "target": [{ "reference": "#" }],
        "recorded": "2024-01-01T00:00:00Z", "agent": [{ "who": { "display": "x" } }] }] });
    check_observation(back, expect![[]]);
}

#[test]
fn looks_at_bundles() {
    check_changed(|bundle| bundle["entry"][1]["fullUrl"] = bundle["entry"][0]["fullUrl"].clone(), expect![[]]);
    check_changed(|bundle| bundle["entry"][1]["request"]["url"] = json!("Patient"), expect![[]]);
    check_changed(|bundle| bundle["entry"][0]["request"]["url"] = json!("Patient/1"), expect![[]]);
    check_changed(|bundle| bundle["entry"][0]["fullUrl"] = json!("http://e.org/Patient/1/_history/2"), expect![[]]);
    check_changed(|bundle| bundle["type"] = json!("message"), expect![[]]);
    check_changed(|bundle| bundle["type"] = json!("document"), expect![[]]);
    check_changed(|bundle| bundle["entry"][0] = json!({ "fullUrl": "x", "search": { "mode": "match" } }), expect![[]]);
}

#[test]
fn looks_at_invariants() {
    check_observation(
        json!({ "valueString": "x", "dataAbsentReason": { "text": "y" }, "component": [{ "code": { "text": "x" } }],
            "referenceRange": [{ "appliesTo": [{ "text": "x" }] }, { "low": { "value": 2 }, "high": { "value": 1 } }] }),
        expect![[]],
    );
    let code = json!({ "coding": [{ "system": "http://loinc.org", "code": "1-8" }] });
    check_observation(json!({ "code": code, "valueString": "x", "component": [{ "code": code }] }), expect![[]]);
    check_observation(
        json!({ "effectivePeriod": { "start": "2024-02", "end": "2024-01-31" },
        "valueQuantity": { "value": 1, "code": "g" } }),
        expect![[]],
    );
    check_patient(
        json!({ "extension": [{ "url": "http://e.org/x" }, { "url": "x", "valueCode": "y", "extension": [
        { "url": "z", "valueBoolean": true }] }], "contact": [{ "gender": "male" }], "telecom": [{ "value": "1" }],
        "photo": [{ "data": "AAAA" }] }),
        expect![[]],
    );
    check(&json!({ "resourceType": "Organization", "active": true }), expect![[]]);
}

#[test]
fn looks_at_narratives() {
    let narrative = |div: &str| json!({ "text": { "status": "generated", "div": div } });
    let within = |body: &str| narrative(&format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{body}</div>"));
    check_patient(narrative("<p>x</p>"), expect![[]]);
    check_patient(narrative("<div>x</div>"), expect![[]]);
    check_patient(within(" "), expect![[]]);
    check_patient(within("<p>x"), expect![[]]);
    check_patient(within("x&nbsp;y"), expect![[]]);
    check_patient(within("<script>x</script>"), expect![[]]);
    check_patient(within("<p onclick=\"x\">x</p>"), expect![[]]);
}

#[test]
fn periods_are_compared_as_far_as_they_say() {
    let holds = |start: &str, end: &str| {
        told(&json!({ "resourceType": "Observation", "status": "final", "code": { "text": "x" },
            "effectivePeriod": { "start": start, "end": end } }))
        .is_empty()
    };
    assert!(holds("2024", "2024-01-01") && holds("2024-01-31", "2024-01") && holds("2024-01-01", "2024-01-01"));
    assert!(holds("2024-01-01T23:00:00-05:00", "2024-01-02T03:59:59-01:00"));
    assert!(holds("2024-01-02", "2024-01-01T23:30:00-05:00"));
    assert!(!holds("2024-01-01T23:00:00-05:00", "2024-01-02T02:59:59-01:00"));
    assert!(!holds("2024-01-03", "2024-01-01T23:30:00-05:00") && !holds("2025", "2024-12-31"));
    assert!(!holds("2024-01-01T00:00:00.002Z", "2024-01-01T00:00:00.001Z"));
}

#[test]
fn tells_no_more_than_it_may_and_says_so() {
    let names: Vec<_> = (0..1000).map(|_| json!({ "nick": 1 })).collect();
    let issues =
        validate(&json!({ "resourceType": "Patient", "name": names }), &Options { issues: 3, ..Options::default() });
    assert_eq!(issues.len(), 4);
    assert_eq!(issues[3].to_string(), "Patient: there are more than the 3 issues that are told");
}

#[test]
fn depth_is_bounded() {
    let mut value = json!({ "url": "http://e.org/x", "valueBoolean": true });
    for _ in 0..300 {
        value = json!({ "url": "http://e.org/x", "extension": [value] });
    }
    let issues =
        validate(&json!({ "resourceType": "Patient", "extension": [value] }), &Options { depth: 9999, issues: 9 });
    assert!(issues.iter().all(|issue| issue.kind == IssueType::TooLong) && issues.len() == 1);
}

#[test]
fn an_operation_outcome_of_issues_is_itself_valid() {
    let issues = validate(&json!({ "resourceType": "Observation", "status": "x" }), &Options::default());
    for outcome in [outcome(&issues), outcome(&[])] {
        assert_eq!(told(&outcome), "");
    }
    assert_eq!(outcome(&issues)["issue"][0]["expression"][0], "Observation.status");
}

#[test]
fn every_rule_is_of_a_type_and_its_elements() {
    let all = invariants::unknown();
    assert_eq!(all, [] as [String; 0]);
}

/// Any JSON that looks like FHIR.
fn json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "resourceType",
        "entry",
        "resource",
        "name",
        "given",
        "_given",
        "extension",
        "url",
        "valueString",
        "id",
        "contained",
        "reference",
        "subject",
        "type",
        "request",
        "text",
        "div",
        "coding",
        "code",
        "start",
        "end",
        "period",
        "low",
    ]);
    let texts = prop::sample::select(vec![
        "Bundle",
        "Patient",
        "Observation",
        "transaction",
        "#x",
        "urn:uuid:x",
        "",
        "2024-13",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        texts.prop_map(Value::from),
        "\\PC{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_looked_at(value in json(), kind in prop::sample::select(vec!["Bundle", "Patient", "Observation"])) {
        let resource = with(json!({ "resourceType": kind }), value);
        let issues = validate(&resource, &Options { issues: 5, ..Options::default() });
        prop_assert!(issues.len() <= 6);
    }
}
