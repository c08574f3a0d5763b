//! What is FHIR, what is not and where, and what may be told of it.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::Fault;
use crate::json::{Value, json};

fn read_text(text: &str) -> Result<Value, Fault> {
    read(text.as_bytes(), &Limits { depth: 8, entries: 3 })
}

#[track_caller]
fn refuses(text: &str, expected: Expect) {
    let fault = read_text(text).unwrap_err();
    expected.assert_eq(&format!("{} {fault}", issue_type(&fault)));
}

#[test]
fn names_the_place_of_what_is_no_json() {
    refuses("", expect!["structure the JSON ends before it is complete (line 1, column 0)"]);
    refuses(
        "{\"resourceType\": \"Patient\",\n \"name\": [{}, {\"family\": \"Doe}]}",
        expect!["structure name[1].family: the JSON ends before it is complete (line 2, column 32)"],
    );
    refuses(
        "{\"resourceType\": \"Patient\",\n \"name\": [{}, {\"family\": Doe}]}",
        expect!["structure name[1].family: expected value (line 2, column 26)"],
    );
    refuses(
        "{\"resourceType\": \"Patient\", \"name\": [{\"family\": \"a\", \"family\": \"b\"}]}",
        expect!["structure name[0].family: this element stands here twice (line 1, column 61)"],
    );
    refuses(
        "{\"resourceType\": \"Patient\", \"Doe, John\": 1, \"Doe, John\": 2}",
        expect!["structure ?: this element stands here twice (line 1, column 55)"],
    );
    refuses(
        "{\"resourceType\": \"Patient\"} {\"resourceType\": \"Patient\"}",
        expect!["structure something follows the end of the resource; send one resource at a time (line 1, column 29)"],
    );
    refuses(
        "{\"a\": [[[[[[[[[[1]]]]]]]]]]}",
        expect!["structure a[0][0][0][0][0][0][0]: objects and lists are nested too deep (line 1, column 14)"],
    );
    refuses("MSH|^~\\&|", expect!["structure expected value (line 1, column 1)"]);
    let latin = read(b"{\"resourceType\": \"Patient\", \"name\": [{\"family\": \"M\xFCller\"}]}", &Limits::default());
    expect!["name[0].family: invalid unicode code point (line 1, column 51)"]
        .assert_eq(&latin.unwrap_err().to_string());
}

#[test]
fn names_the_place_of_what_is_no_resource() {
    refuses("[]", expect!["structure a resource is a JSON object"]);
    refuses("{}", expect!["required resourceType: the resource type is missing, so this is no FHIR resource"]);
    refuses("{\"resourceType\": 1}", expect!["code-invalid resourceType: this is no resource type of FHIR R4"]);
    refuses(
        "{\"resourceType\": \"patient\"}",
        expect!["code-invalid resourceType: this is no resource type of FHIR R4"],
    );
}

#[track_caller]
fn refuses_bundle(rest: &Value, expected: Expect) {
    let mut bundle = json!({"resourceType": "Bundle"});
    bundle.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    refuses(&bundle.to_string(), expected);
}

#[test]
fn names_the_place_of_what_is_wrong_in_a_bundle() {
    let patient = json!({"resourceType": "Patient"});
    refuses_bundle(&json!({}), expect!["required Bundle.type: the Bundle's type is missing"]);
    refuses_bundle(&json!({"type": "bag"}), expect!["code-invalid Bundle.type: this is no type of Bundle in FHIR R4"]);
    refuses_bundle(
        &json!({"type": "searchset"}),
        expect![
            "not-supported Bundle.type: Bundles of this type are answers, and not taken here; send a transaction, batch, collection, document or message"
        ],
    );
    refuses_bundle(
        &json!({"type": "collection", "entry": {}}),
        expect!["structure Bundle.entry: the entries are a list"],
    );
    refuses_bundle(
        &json!({"type": "collection", "entry": [1]}),
        expect!["structure Bundle.entry[0]: an entry is a JSON object"],
    );
    refuses_bundle(
        &json!({"type": "collection", "entry": [{}]}),
        expect!["required Bundle.entry[0].resource: the entry has no resource"],
    );
    refuses_bundle(
        &json!({"type": "collection", "entry": [{"resource": {"id": "1"}}]}),
        expect![
            "required Bundle.entry[0].resource.resourceType: the resource type is missing, so this is no FHIR resource"
        ],
    );
    refuses_bundle(
        &json!({"type": "collection", "entry": [{"resource": []}]}),
        expect!["structure Bundle.entry[0].resource: a resource is a JSON object"],
    );
    refuses_bundle(
        &json!({"type": "batch", "entry": [{"resource": patient}]}),
        expect!["required Bundle.entry[0].request: an entry of a transaction or batch has a request"],
    );
    refuses_bundle(
        &json!({"type": "batch", "entry": [{"resource": patient, "request": {"url": "Patient"}}]}),
        expect!["required Bundle.entry[0].request.method: the request has no method"],
    );
    refuses_bundle(
        &json!({"type": "batch", "entry": [{"resource": patient, "request": {"method": "POST"}}]}),
        expect!["required Bundle.entry[0].request.url: the request has no url"],
    );
    refuses_bundle(
        &json!({"type": "transaction", "entry": [{"request": {"method": "PUSH", "url": "Patient"}}]}),
        expect![
            "code-invalid Bundle.entry[0].request.method: the method is none of GET, HEAD, POST, PUT, DELETE and PATCH"
        ],
    );
    refuses_bundle(
        &json!({"type": "transaction", "entry": [{"request": {"method": "PUT", "url": "Patient/1"}}]}),
        expect!["required Bundle.entry[0].resource: the entry has no resource"],
    );
    refuses_bundle(
        &json!({"type": "message", "entry": [{"resource": patient}]}),
        expect!["structure Bundle.entry[0].resource: the first entry is to be a MessageHeader"],
    );
    refuses_bundle(
        &json!({"type": "document"}),
        expect!["structure Bundle.entry[0].resource: the first entry is to be a Composition"],
    );
    refuses_bundle(
        &json!({"type": "document", "entry": [{"resource": {"resourceType": "Composition"}}]}),
        expect!["required Bundle.identifier: a document has an identifier with a value"],
    );
    let entry = json!({"fullUrl": "urn:uuid:1", "resource": patient});
    refuses_bundle(
        &json!({"type": "collection", "entry": [entry, entry]}),
        expect![
            "duplicate Bundle.entry[1].fullUrl: an entry before has the same fullUrl, so that references to it have two meanings"
        ],
    );
    refuses_bundle(
        &json!({"type": "collection", "entry": [1, 2, 3, 4]}),
        expect!["too-long Bundle.entry: the Bundle has more than 3 entries; send it in parts"],
    );
}

#[test]
fn takes_what_is_fhir_and_keeps_all_of_it() {
    for text in [
        r#"{"resourceType":"Patient","z":null,"a":[1,true,"\u00e9"],"weight":0.010,"big":123456789012345678901234567890.5}"#,
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Patient/1"}}]}"#,
        r#"{"resourceType":"Bundle","type":"message","entry":[{"resource":{"resourceType":"MessageHeader"}}]}"#,
        r#"{"resourceType":"Bundle","type":"collection"}"#,
        r#"{"resourceType":"Basic","$serde_json::private:Number":"1"}"#,
    ] {
        assert_eq!(read_text(text).unwrap().to_string(), text.replace("\\u00e9", "é"));
        assert!(read_text(&format!("\u{FEFF}\n {text}\n")).is_ok());
    }
}

/// A name that `serde_json` uses for itself does not turn an object into a number.
#[test]
fn keeps_numbers_and_objects_apart() {
    let fault = read_text(r#"{"resourceType":"Basic","x":{"$serde_json::private::Number":"Doe"}}"#).unwrap_err();
    expect!["no element can be called $serde_json::private::Number"].assert_eq(&fault.to_string());
    let escaped = r#"{"resourceType":"Basic","x":{"\u0024serde_json::private::Number":"1"}}"#;
    assert!(read_text(escaped).unwrap().get("x").unwrap().is_object());
}

#[test]
fn gives_the_same_id_for_the_same_parts() {
    let id = |parts: &[&str]| deterministic_id(NAMESPACE, parts);
    assert_eq!(id(&["st-mary", "4711"]), id(&["st-mary", "4711"]));
    assert_ne!(id(&["a", "bc"]), id(&["ab", "c"]));
    assert_ne!(id(&["a"]), id(&["a", ""]));
    assert_eq!(NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"tributary.invalid"));
}

#[test]
fn says_faults_as_outcomes() {
    let fault = Fault::new(101, "Bundle.type".to_owned(), "the Bundle's type is missing");
    expect![[r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"required","details":{"text":"the Bundle's type is missing"},"expression":["Bundle.type"]}]}"#]].assert_eq(&fault_outcome(&fault).to_string());
    expect![[r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational","details":{"text":"stored"}}]}"#]].assert_eq(&operation_outcome(Severity::Information, "informational", None, "stored").to_string());
}

#[track_caller]
fn summary(outcome: &Value, expected: Expect) {
    expected.assert_eq(&outcome_summary(outcome).unwrap_or_else(|| "none".to_owned()));
}

#[test]
fn tells_outcomes_without_their_texts() {
    summary(
        &json!({"resourceType": "OperationOutcome", "issue": [
            {"severity": "error", "code": "invalid", "diagnostics": "John Doe is no date", "expression": ["Patient.birthDate"]},
            {"severity": "warning", "code": "code-invalid", "details": {"text": "Doe", "coding": [{"code": "MSG_X"}]},
             "location": ["/f:Patient/f:name[1]"]},
            {"severity": "error", "code": "John Doe", "expression": ["Patient.where(name = 'Doe')"]},
            {"severity": "error", "code": "processing"}
        ]}),
        expect![
            "error invalid at Patient.birthDate; warning code-invalid MSG_X at /f:Patient/f:name[1]; error; and 1 more"
        ],
    );
    summary(&json!({"resourceType": "OperationOutcome", "issue": [{}]}), expect!["an issue without a code"]);
    summary(&json!({"resourceType": "OperationOutcome", "issue": []}), expect!["none"]);
    summary(&json!({"resourceType": "Patient", "issue": [{"severity": "error"}]}), expect!["none"]);
}

#[test]
fn finds_elements_by_path() {
    let value = json!({"a": {"b": [[1, 2], {"c": "x"}]}, "n": null});
    assert_eq!(get_str(&value, "a.b[1].c"), Some("x"));
    assert_eq!(get(&value, "a.b[0][1]"), Some(&json!(2)));
    assert_eq!(get(&value, "n"), Some(&Value::Null));
    for path in ["a.b[2]", "a.c", "a.b[x]", "a.b[0", "a.b]", "a.b[1].c.d", "a.b[1]c", "a..b", "a.b.c"] {
        assert_eq!(get(&value, path).filter(|_| path != "a..b" && path != "a.b[0"), None, "{path}");
    }
}

#[test]
fn finds_patients_and_references() {
    let mut bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Patient", "identifier": [
            {"system": "urn:x", "value": "1"}, {"value": "2"}, {"system": "urn:x"}, {"system": "urn:x", "value": "1"}],
            "link": [{"other": {"reference": "Patient/2"}}]}},
        {"resource": {"resourceType": "Observation", "identifier": [{"value": "9"}], "subject": {"reference": "Patient/1"}}}
    ]});
    let found: Vec<_> =
        patient_identifiers(&bundle).into_iter().map(|id| format!("{}|{}", id.system, id.value)).collect();
    assert_eq!(found, ["urn:x|1", "|2"]);
    assert_eq!(patient_identifiers(get(&bundle, "entry[0].resource").unwrap()).len(), 2);
    for_each_reference_mut(&mut bundle, |reference| *reference = format!("{reference}0").into());
    let mut references = Vec::new();
    for_each_reference(&bundle, |reference| references.push(reference.to_owned()));
    references.sort();
    assert_eq!(references, ["Patient/10", "Patient/20"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,12})?".prop_map(|digits| Value::Number(digits.parse().unwrap())),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What is read and written again is the same text.
    #[test]
    fn keeps_every_digit_and_letter(element in any_json()) {
        let text = json!({"resourceType": "Basic", "element": element}).to_string();
        prop_assert_eq!(read(text.as_bytes(), &Limits::default()).unwrap().to_string(), text);
    }

    #[test]
    fn never_panics(text in "[\\[\\]{}\":,a1.\\-\\\\u$ ]{0,60}", path in "[a-z.\\[\\]0-9]{0,12}") {
        match read(text.as_bytes(), &Limits::default()) {
            Ok(value) => prop_assert!(value.is_object()),
            Err(fault) => prop_assert!(!fault.text.is_empty()),
        }
        prop_assert!(get(&json!([[1]]), &path).is_none_or(|found| !found.is_object()));
    }
}
