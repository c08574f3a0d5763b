use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

mod shared;

/// Each issue on a line.
fn told(resource: &Value) -> String {
    validate(&resource.clone().into(), &Options::default()).iter().map(|issue| format!("{issue}\n")).collect()
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
    check(&transaction(), expect![""]);
    check_patient(
        json!({ "text": { "status": "generated",
        "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a &lt; b<br/></p></div>" } }),
        expect![""],
    );
}

#[test]
fn names_what_is_no_resource() {
    check(
        &json!([]),
        expect![[r#"
        resource: a resource is a JSON object
    "#]],
    );
    check(
        &json!({ "id": "x" }),
        expect![[r#"
        resource.resourceType: the resource type is missing
    "#]],
    );
    check(
        &json!({ "resourceType": "DomainResource" }),
        expect![[r#"
        resource.resourceType: this is no resource type of FHIR R4
    "#]],
    );
}

#[test]
fn names_unknown_elements_but_no_values() {
    check_patient(
        json!({ "nick": "Ann", "Ann Test, 1970": 1, "_name": [] }),
        expect![[r#"
        Patient.nick: Patient has no such element in R4
        Patient.?: Patient has no such element in R4
        Patient._name: only elements of a primitive type have one with `_`
    "#]],
    );
    check_patient(
        json!({ "contact": [{ "name": { "nick": "x", "text": "y" } }] }),
        expect![[r#"
        Patient.contact[0].name.nick: HumanName has no such element in R4
    "#]],
    );
}

#[test]
fn counts_elements_and_looks_at_their_form() {
    check(
        &json!({ "resourceType": "Observation" }),
        expect![[r#"
            Observation.status: R4 requires the element, and it is missing
            Observation.code: R4 requires the element, and it is missing
        "#]],
    );
    check_patient(
        json!({ "name": { "text": "x" }, "active": [true], "telecom": [], "photo": null }),
        expect![[r#"
        Patient.active: the element does not repeat, so it is no list
        Patient.name: the element repeats, so it is a list
        Patient.telecom: the list is empty; leave the element out (ele-1)
        Patient.photo: the element repeats, so it is a list
    "#]],
    );
    check_patient(
        json!({ "name": [{}, { "id": "x" }, "x"], "maritalStatus": {} }),
        expect![[r#"
        Patient.name[0]: an element has a value or elements, besides its id (ele-1)
        Patient.name[1]: an element has a value or elements, besides its id (ele-1)
        Patient.name[2]: a HumanName is a JSON object
        Patient.maritalStatus: an element has a value or elements, besides its id (ele-1)
    "#]],
    );
    check_observation(
        json!({ "valueString": "x", "valueInteger": 1, "_valueBoolean": { "id": "x" } }),
        expect![[r#"
        Observation.valueInteger: only one of value[x] can be there
        Observation._valueBoolean: an element has a value or an extension (ele-1)
    "#]],
    );
    check_patient(
        json!({ "name": [{ "given": [null, "a"], "_given": [null, null, "x"] }] }),
        expect![[r#"
        Patient.name[0].given[0]: the value is null; leave the element out
        Patient.name[0]._given[2]: an object with the id and the extensions stands here
    "#]],
    );
    check_patient(
        json!({ "_birthDate": { "id": "x" }, "_active": { "value": 1 } }),
        expect![[r#"
        Patient._birthDate: an element has a value or an extension (ele-1)
        Patient._active.value: Element has no such element in R4
    "#]],
    );
}

#[test]
fn looks_at_values() {
    check_patient(
        json!({ "active": "true", "birthDate": "2023-02-29", "multipleBirthInteger": 1.5, "gender": "F", "id": "a_b",
            "language": " x", "deceasedDateTime": "2024-01-01T10:00", "implicitRules": "a b" }),
        expect![[r#"
            Patient.id: an id has 1 to 64 letters, digits, `-` and `.`
            Patient.active: a boolean is true or false, without quotation marks
            Patient.birthDate: a date is a year, a month or a day of the calendar: YYYY, YYYY-MM or YYYY-MM-DD
            Patient.multipleBirthInteger: an integer is a whole number of 32 bits
            Patient.gender: the code is not in the value set administrative-gender: female, male, other, unknown
            Patient.language: a code has no blanks but single ones inside
            Patient.deceasedDateTime: a dateTime is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset
            Patient.implicitRules: a URI has no blanks
        "#]],
    );
    check_observation(
        json!({ "issued": "2024-01-01", "valueTime": "24:00:00", "effectiveInstant": "2024-06-31T00:00:00Z",
            "note": [{ "text": " " }, { "text": "\u{1}", "time": "0000" }] }),
        expect![[r#"
            Observation.issued: an instant is YYYY-MM-DDThh:mm:ss with Z or an offset
            Observation.valueTime: a time is hh:mm:ss
            Observation.effectiveInstant: an instant is YYYY-MM-DDThh:mm:ss with Z or an offset
            Observation.note[0].text: the text has nothing but blanks; leave the element out
            Observation.note[1].text: the text has a control character that R4 does not allow
            Observation.note[1].time: a dateTime is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset
        "#]],
    );
    check_patient(
        json!({ "photo": [{ "contentType": "x", "data": "AAA", "size": -1 }], "identifier": [
            { "system": "urn:oid:1", "value": "" }, { "system": "urn:uuid:x" }] }),
        expect![[r#"
            Patient.photo[0].data: the value is no base64
            Patient.photo[0].size: an unsignedInt is a whole number from 0 to 2147483647
            Patient.identifier[0].system: an OID is written urn:oid: with numbers and dots
            Patient.identifier[0].value: the value is empty; leave the element out
            Patient.identifier[1].system: a UUID is written urn:uuid: with 32 hexadecimal digits in five groups
        "#]],
    );
}

#[test]
fn looks_at_required_codes() {
    check(
        &json!({ "resourceType": "Condition", "subject": { "reference": "Patient/1" },
            "clinicalStatus": { "coding": [{ "system": "http://snomed.info/sct", "code": "active" }] },
            "verificationStatus": { "extension": [{ "url": "http://e.org/x", "valueCode": "y" }] } }),
        expect![[r#"
            Condition.clinicalStatus: no code is in the value set condition-clinical
        "#]],
    );
    check_observation(
        json!({ "status": "done" }),
        expect![[r#"
        Observation.status: the code is not in the value set observation-status: amended, cancelled, corrected, entered-in-error, final, preliminary, registered, unknown
    "#]],
    );
}

#[test]
fn follows_references() {
    check_changed(
        |bundle| {
            bundle["entry"][1]["resource"]["subject"]["reference"] =
                json!("urn:uuid:0190a1c2-0000-7000-8000-00000000000f")
        },
        expect![[r#"
            Bundle.entry[1].resource.subject.reference: the reference resolves to no entry of the Bundle
        "#]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"]["reference"] = bundle["entry"][0]["fullUrl"].clone(),
        expect![[r#"
            Bundle.entry[1].resource.encounter: the reference is to Patient; it may be to Encounter
        "#]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"]["reference"] = json!("https://e.org/fhir/Patient/1"),
        expect![[r#"
            Bundle.entry[1].resource.encounter: the reference is to Patient; it may be to Encounter
        "#]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"] = json!({ "type": "Patient", "display": "x" }),
        expect![[r#"
            Bundle.entry[1].resource.encounter: the reference is to Patient; it may be to Encounter
        "#]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"] = json!({ "type": "Patient", "reference": "Encounter/1" }),
        expect![[r#"
            Bundle.entry[1].resource.encounter.type: the type is not that of what the reference is to
        "#]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"] = json!({ "reference": "e1" }),
        expect![[r#"
        Bundle.entry[1].resource.encounter.reference: a relative reference is a resource type of R4, `/` and an id
    "#]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["resource"]["encounter"] = json!({ "reference": "#e1" }),
        expect![[r#"
        Bundle.entry[1].resource.encounter.reference: nothing with this id is contained in the resource (ref-1)
    "#]],
    );
}

#[test]
fn looks_at_contained_resources() {
    let contained = json!({ "contained": [
        { "resourceType": "Patient", "id": "p", "meta": { "versionId": "1", "security": [{ "code": "R" }] } },
        { "resourceType": "Encounter", "id": "e", "status": "finished", "class": { "code": "AMB" }, "contained": [] }],
        "subject": { "reference": "#p" } });
    check_observation(
        contained,
        expect![[r#"
        Observation.contained[0]: a contained resource has no meta.versionId and no meta.lastUpdated (dom-4)
        Observation.contained[0]: a contained resource has no security label (dom-5)
        Observation.contained[1]: a contained resource contains no other (dom-2)
        Observation.contained[1].contained: the list is empty; leave the element out (ele-1)
        Observation.contained[1]: nothing refers to the contained resource (dom-3)
    "#]],
    );
    let back = json!({ "contained": [{ "resourceType": "Provenance", "id": "v", "target": [{ "reference": "#" }],
        "recorded": "2024-01-01T00:00:00Z", "agent": [{ "who": { "display": "x" } }] }] });
    check_observation(back, expect![""]);
}

#[test]
fn looks_at_bundles() {
    check_changed(
        |bundle| bundle["entry"][1]["fullUrl"] = bundle["entry"][0]["fullUrl"].clone(),
        expect![[r#"
            Bundle.entry[1]: an entry before has the same fullUrl, so that references to it have two meanings (bdl-7)
            Bundle.entry[1].resource.subject: the reference is to Observation; it may be to Patient, Group, Device, Location
        "#]],
    );
    check_changed(
        |bundle| bundle["entry"][1]["request"]["url"] = json!("Patient"),
        expect![[r#"
        Bundle.entry[1].request.url: the url of a POST is the type of the resource
    "#]],
    );
    check_changed(
        |bundle| bundle["entry"][0]["request"]["url"] = json!("Patient/1"),
        expect![[r#"
        Bundle.entry[0].request.url: the url of a PUT ends with the id of the resource
    "#]],
    );
    check_changed(
        |bundle| bundle["entry"][0]["fullUrl"] = json!("http://e.org/Patient/1/_history/2"),
        expect![[r#"
        Bundle.entry[0].fullUrl: a fullUrl has no version (bdl-8)
        Bundle.entry[1].resource.subject.reference: the reference resolves to no entry of the Bundle
    "#]],
    );
    check_changed(
        |bundle| bundle["type"] = json!("message"),
        expect![[r#"
        Bundle.entry[0]: an entry of a batch, transaction or history has a request, and no other (bdl-3)
        Bundle.entry[1]: an entry of a batch, transaction or history has a request, and no other (bdl-3)
        Bundle: the first entry of a message is a MessageHeader (bdl-12)
    "#]],
    );
    check_changed(
        |bundle| bundle["type"] = json!("document"),
        expect![[r#"
        Bundle.entry[0]: an entry of a batch, transaction or history has a request, and no other (bdl-3)
        Bundle.entry[1]: an entry of a batch, transaction or history has a request, and no other (bdl-3)
        Bundle: a document has an identifier with system and value (bdl-9)
        Bundle: a document has a timestamp (bdl-10)
        Bundle: the first entry of a document is a Composition (bdl-11)
    "#]],
    );
    check_changed(
        |bundle| bundle["entry"][0] = json!({ "fullUrl": "x", "search": { "mode": "match" } }),
        expect![[r#"
        Bundle.entry[0]: only an entry of a searchset has a search (bdl-2)
        Bundle.entry[0]: an entry of a batch, transaction or history has a request, and no other (bdl-3)
        Bundle.entry[0]: an entry has a resource, a request or a response (bdl-5)
        Bundle.entry[0].fullUrl: a fullUrl is an absolute URI
        Bundle.entry[1].resource.subject.reference: the reference resolves to no entry of the Bundle
    "#]],
    );
}

#[test]
fn looks_at_invariants() {
    check_observation(
        json!({ "valueString": "x", "dataAbsentReason": { "text": "y" }, "component": [{ "code": { "text": "x" } }],
            "referenceRange": [{ "appliesTo": [{ "text": "x" }] }, { "low": { "value": 2 }, "high": { "value": 1 } }] }),
        expect![[r#"
            Observation.referenceRange[0]: a referenceRange has low, high or text (obs-3)
            Observation: only an observation without a value has a dataAbsentReason (obs-6)
        "#]],
    );
    let code = json!({ "coding": [{ "system": "http://loinc.org", "code": "1-8" }] });
    check_observation(
        json!({ "code": code, "valueString": "x", "component": [{ "code": code }] }),
        expect![[r#"
        Observation: no component has the code of the observation where that has a value (obs-7)
    "#]],
    );
    check_observation(
        json!({ "effectivePeriod": { "start": "2024-02", "end": "2024-01-31" },
        "valueQuantity": { "value": 1, "code": "g" } }),
        expect![[r#"
            Observation.effectivePeriod: the start is not after the end (per-1)
            Observation.valueQuantity: a code of a unit has a system (qty-3)
        "#]],
    );
    check_patient(
        json!({ "extension": [{ "url": "http://e.org/x" }, { "url": "x", "valueCode": "y", "extension": [
        { "url": "z", "valueBoolean": true }] }], "contact": [{ "gender": "male" }], "telecom": [{ "value": "1" }],
        "photo": [{ "data": "AAAA" }] }),
        expect![[r#"
            Patient.extension[0]: an extension has either a value or extensions (ext-1)
            Patient.extension[1]: an extension has either a value or extensions (ext-1)
            Patient.contact[0]: a contact has a name, telecom, address or organization (pat-1)
            Patient.telecom[0]: a value has a system (cpt-2)
            Patient.photo[0]: data has a contentType (att-1)
        "#]],
    );
    check(
        &json!({ "resourceType": "Organization", "active": true }),
        expect![[r#"
        Organization: an organization has an identifier or a name (org-1)
    "#]],
    );
}

#[test]
fn looks_at_narratives() {
    let narrative = |div: &str| json!({ "text": { "status": "generated", "div": div } });
    let within = |body: &str| narrative(&format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{body}</div>"));
    check_patient(
        narrative("<p>x</p>"),
        expect![[r#"
        Patient.text.div: the narrative is one div
    "#]],
    );
    check_patient(
        narrative("<div>x</div>"),
        expect![[r#"
        Patient.text.div: the narrative's div has the namespace of XHTML, xmlns="http://www.w3.org/1999/xhtml"
    "#]],
    );
    check_patient(
        within(" "),
        expect![[r#"
        Patient.text.div: the narrative says nothing; leave it out (txt-2)
    "#]],
    );
    check_patient(
        within("<p>x"),
        expect![[r#"
        Patient.text.div: the narrative is no well-formed XML
    "#]],
    );
    check_patient(
        within("x&nbsp;y"),
        expect![[r#"
        Patient.text.div: the narrative has an entity that XML does not know; write the character itself
    "#]],
    );
    check_patient(
        within("<script>x</script>"),
        expect![[r#"
        Patient.text.div: the narrative has an element that R4 does not allow in it (txt-1)
    "#]],
    );
    check_patient(
        within("<p onclick=\"x\">x</p>"),
        expect![[r#"
        Patient.text.div: the narrative has active content (txt-1)
    "#]],
    );
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
    let issues = validate(
        &crate::json!({ "resourceType": "Patient", "name": names }),
        &Options { issues: 3, ..Options::default() },
    );
    assert_eq!(issues.len(), 4);
    assert_eq!(issues[3].to_string(), "Patient: there are more than the 3 issues that are told");
}

#[test]
fn depth_is_bounded() {
    let mut value = json!({ "url": "http://e.org/x", "valueBoolean": true });
    for _ in 0..300 {
        value = json!({ "url": "http://e.org/x", "extension": [value] });
    }
    let issues = validate(
        &crate::json!({ "resourceType": "Patient", "extension": [value] }),
        &Options { depth: 9999, issues: 9 },
    );
    assert!(issues.iter().all(|issue| issue.kind == IssueType::TooLong) && issues.len() == 1);
}

#[test]
fn an_operation_outcome_of_issues_is_itself_valid() {
    let issues = validate(&crate::json!({ "resourceType": "Observation", "status": "x" }), &Options::default());
    for outcome in [outcome(&issues), outcome(&[])] {
        assert_eq!(told(&outcome.into()), "");
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
        let issues = validate(&resource.into(), &Options { issues: 5, ..Options::default() });
        prop_assert!(issues.len() <= 6);
    }
}
