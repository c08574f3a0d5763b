use std::collections::BTreeSet;
use std::sync::Arc;

use expect_test::{Expect, expect};
use message::consent::by_entry::{Directory, Entry, Sources};
use message::json::{Value, json};

use super::transform::lacking;
use super::{LabelRules, add_labels};

const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";

fn directory() -> Arc<Directory> {
    let directory = Directory::read(&json!({
        "organizations": { "Organization/program": { "flags": ["part2-program"] } },
        "practitioners": { "Practitioner/s": { "organizations": ["Organization/program"] } },
    }));
    Arc::new(directory.unwrap())
}

/// The labels of each resource after labelling by the shipped rules: one line a resource.
#[track_caller]
fn check(resources: &[Value], expected: Expect) {
    let rules = LabelRules::shipped().unwrap();
    let listed: Vec<(Option<&_>, &Value)> = resources.iter().map(|resource| (None, resource)).collect();
    let entries = Entry::read(Sources { resources: &listed, provenance: &[], context: &[] }, &directory());
    let labels = rules.labels(&entries, &directory(), &BTreeSet::new());
    let mut told = Vec::new();
    for (resource, labels) in resources.iter().zip(&labels) {
        let mut resource = resource.clone();
        add_labels(resource.as_object_mut().unwrap(), labels, "tributary 0.1.0");
        let codes =
            resource["meta"]["security"].as_array().unwrap().iter().map(|label| label["code"].as_str().unwrap());
        let codes: Vec<&str> = codes.collect();
        told.push(format!("{}: {}", resource["id"].as_str().unwrap(), codes.join(" ")));
    }
    expected.assert_eq(&told.join("\n"));
}

fn condition(id: &str, code: &str) -> Value {
    json!({ "resourceType": "Condition", "id": id, "code": { "coding": [{ "system": ICD, "code": code }] } })
}

#[test]
fn a_code_calls_for_its_label_with_or_without_its_dot() {
    check(
        &[condition("a", "F11.20"), condition("b", "f1120"), condition("c", "I10")],
        expect![[r#"
        a: OPIOIDUD R
        b: OPIOIDUD R
        c: N"#]],
    );
}

/// Nicotine dependence is no substance use disorder of the list, and sickle cell trait no sickle cell disease.
#[test]
fn the_beginning_of_a_code_is_not_enough() {
    check(
        &[condition("nicotine", "F17.210"), condition("trait", "D57.3"), condition("disease", "D57.1")],
        expect![[r#"
        nicotine: N
        trait: N
        disease: SCA R"#]],
    );
}

/// 2106-3 is a pregnancy test in LOINC and a race in the CDC's code set.
#[test]
fn the_same_digits_in_another_system_call_for_nothing() {
    let coded = |id: &str, system: &str| json!({ "resourceType": "Observation", "id": id, "code": { "coding": [{ "system": system, "code": "2106-3" }] } });
    check(
        &[coded("test", "http://loinc.org/"), coded("race", "urn:oid:2.16.840.1.113883.6.238")],
        expect![[r#"
        test: PREGNANT SEX R
        race: N"#]],
    );
}

#[test]
fn a_medicine_that_is_referred_to_calls_for_the_label() {
    check(
        &[
            json!({ "resourceType": "Medication", "id": "m", "code": { "coding": [{ "system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "6813" }] } }),
            json!({ "resourceType": "MedicationRequest", "id": "r", "medicationReference": { "reference": "Medication/m" } }),
        ],
        expect![[r#"
            m: OPIOIDUD R
            r: OPIOIDUD R"#]],
    );
}

#[test]
fn what_was_done_in_a_labelled_visit_is_labelled_like_it() {
    let visit = json!({ "resourceType": "Encounter", "id": "v", "meta": { "security": [
        { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY" },
        { "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V" },
    ] } });
    let note = json!({ "resourceType": "Observation", "id": "o", "encounter": { "reference": "Encounter/v" } });
    check(
        &[visit, note],
        expect![[r#"
        v: PSY V
        o: PSY V"#]],
    );
}

/// 42 CFR 2.12(a): the program, not the diagnosis.
#[test]
fn a_program_calls_for_its_law_whatever_the_code() {
    let mut ordinary = condition("c", "I10");
    ordinary.as_object_mut().unwrap().insert("recorder", json!({ "reference": "Practitioner/s" }));
    check(&[ordinary], expect![[r#"c: 42CFRPart2 NORDSCLCD SUD R"#]]);
}

#[test]
fn a_label_is_never_lowered() {
    let mut very = condition("c", "B20");
    very.as_object_mut().unwrap().insert(
        "meta",
        json!({ "security": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V" }] }),
    );
    check(&[very], expect![[r#"c: HIV V"#]]);
}

#[test]
fn counts_what_no_value_set_covers() {
    let rules = LabelRules::shipped().unwrap();
    let local = json!({ "resourceType": "Condition", "id": "c", "code": { "coding": [{ "system": "urn:site:codes", "code": "X" }] } });
    let entries = Entry::read(Sources { resources: &[(None, &local)], provenance: &[], context: &[] }, &directory());
    let labels = rules.labels(&entries, &directory(), &BTreeSet::new());
    assert_eq!(labels[0].uncovered, ["urn:site:codes"]);
}

/// The envelope rule: a deny of HIV must not miss the bytes of the document that tells of it.
#[test]
fn a_document_and_its_bytes_are_labelled_alike() {
    let letter = json!({
        "resourceType": "DocumentReference", "id": "d", "type": { "coding": [{ "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "B20" }] },
        "content": [{ "attachment": { "contentType": "application/pdf", "url": "Binary/b" } }],
    });
    let bytes = json!({ "resourceType": "Binary", "id": "b", "contentType": "application/pdf", "data": "" });
    let secured =
        json!({ "resourceType": "Binary", "id": "s", "securityContext": { "reference": "DocumentReference/d" } });
    let other = json!({ "resourceType": "Binary", "id": "o", "contentType": "application/pdf", "data": "" });
    check(
        &[letter, bytes, secured, other],
        expect![[r#"
        d: HIV R
        b: HIV R
        s: HIV R
        o: N"#]],
    );
}

#[test]
fn tells_what_goes_unlabelled_for_want_of_a_value_set() {
    let coded = |system: &str, code: &str| json!({ "resourceType": "Condition", "id": code, "code": { "coding": [{ "system": system, "code": code }] } });
    let both = json!({ "resourceType": "Condition", "id": "both", "code": { "coding": [
        { "system": "urn:site:codes", "code": "X" }, { "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I10" }] } });
    let words = json!({ "resourceType": "Condition", "id": "words", "code": { "text": "a secret" } });
    let all = [
        coded("urn:site:codes", "X"),
        coded("http://hl7.org/fhir/sid/icd-10-cm", "I10"),
        both,
        words,
        coded("Jane Doe", "Y"),
    ];
    let rules = LabelRules::shipped().unwrap();
    let listed: Vec<(Option<&_>, &Value)> = all.iter().map(|resource| (None, resource)).collect();
    let entries = Entry::read(Sources { resources: &listed, provenance: &[], context: &[] }, &directory());
    let labels = rules.labels(&entries, &directory(), &BTreeSet::new());
    let found = all.iter().zip(&labels).filter_map(|(resource, labels)| lacking(resource, labels));
    let told: Vec<String> = found.map(|f| format!("{} {} {}", f.kind.as_str(), f.location, f.text)).collect();
    expect![[r#"
        unlabelled Condition no label value set covers its codes: urn:site:codes
        unlabelled Condition it says in words alone what it is about
        unlabelled Condition no label value set covers its codes: (a system of the sender's own)"#]]
    .assert_eq(&told.join("\n"));
}

#[test]
fn reads_a_site_s_value_set_from_csv() {
    let mut rules = LabelRules::default();
    rules
        .add_csv("site.csv", "system,code,label,display\nurn:site:codes,X,HIV R,a test\n\nurn:site:codes,Y,PSY\n")
        .unwrap();
    let local = json!({ "resourceType": "Condition", "id": "c", "code": { "coding": [{ "system": "urn:site:codes", "code": "X" }] } });
    let entries = Entry::read(Sources { resources: &[(None, &local)], provenance: &[], context: &[] }, &directory());
    let labels = rules.labels(&entries, &directory(), &BTreeSet::new());
    assert_eq!(labels[0].codes, BTreeSet::from(["HIV".into()]));
    assert_eq!(labels[0].rules, BTreeSet::from(["site.csv".to_owned()]));
    let error = rules.add_csv("bad.csv", "system,code,label\nurn:x,1\n").unwrap_err();
    assert_eq!(error.to_string(), "label rule bad.csv:2: must be `system,code,label`");
}

#[test]
fn refuses_rules_that_it_does_not_understand() {
    let error =
        LabelRules::default().add_toml("[[rule]]\nid = \"x\"\nlabel = \"HIV\"\nprefixes = [\"B\"]").unwrap_err();
    assert_eq!(error.to_string(), "label rule x: `prefixes` is not understood");
    let error = LabelRules::default().add_toml("[[rule]]\nid = \"x\"").unwrap_err();
    assert_eq!(error.to_string(), "label rule x: it calls for no label");
}
