//! Which elements tell what a label of demographics is about (`DEMO`, `DOB`, `PATLOC`, `REL`, …), and how they are left out.
//!
//! A restriction of a date of birth says nothing of the rest of a Patient: the element is masked, and the rest goes. What
//! cannot be looked into (documents, what is contained) may tell it as well, and is covered whole.

use std::collections::BTreeSet;

use super::by_entry::{Entry, Inner, Notice};
use crate::consent::OBSERVATION_VALUE;
use crate::json::{Map, Text, Value, json};

const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// Every label of demographics that is known here, with the elements of a Patient that it covers, and the extensions.
const OF_PATIENT: &[(&str, &[&str], &[&str])] = &[
    (
        "DEMO",
        &[
            "address",
            "birthDate",
            "communication",
            "contact",
            "deceasedBoolean",
            "deceasedDateTime",
            "gender",
            "maritalStatus",
            "multipleBirthBoolean",
            "multipleBirthInteger",
            "name",
            "photo",
            "telecom",
        ],
        &[""],
    ),
    ("DOB", &["birthDate"], &["patient-birthTime"]),
    (
        "GENDER",
        &["gender"],
        &[
            "patient-genderIdentity",
            "individual-genderIdentity",
            "us-core-genderIdentity",
            "us-core-birthsex",
            "us-core-sex",
        ],
    ),
    ("MARST", &["maritalStatus"], &[]),
    ("PATLOC", &["address"], &["patient-birthPlace"]),
    ("RACE", &[], &["us-core-race", "us-core-ethnicity"]),
    ("REL", &[], &["patient-religion", "patient-congregation"]),
];

/// Elements of any resource that tell where a patient is.
const PLACES: [&str; 4] = ["location", "locationCode", "locationReference", "hospitalization"];
/// What tells nothing but where somebody is, and nothing but who is next to them.
const PLACE: &str = "Location";
const NEXT_OF_KIN: &str = "RelatedPerson";
/// What tells when somebody was born (LOINC): date of birth, ages.
const BIRTH: [&str; 7] = ["21112-8", "21611-9", "21612-7", "29553-5", "30525-0", "35659-2", "63900-5"];
/// Resource types whose content is not looked into.
const SEALED: [&str; 6] = ["Binary", "Bundle", "Media", "Parameters", "Person", "QuestionnaireResponse"];

/// What single elements of `resource` tell of, which is a `kind`.
fn of(kind: &str, resource: &Value, carries_bytes: bool) -> Vec<Inner> {
    let (mut contains, mut place, mut birth) = (false, false, false);
    for (name, element) in resource.as_object().into_iter().flatten() {
        match name.as_str() {
            "contained" => contains = true,
            "code" => birth = tells_of_birth(element),
            name => place |= PLACES.contains(&name),
        }
    }
    let sealed = SEALED.contains(&kind) || contains || carries_bytes;
    if kind != "Patient" && kind != PLACE && kind != NEXT_OF_KIN && !sealed && !birth && !place {
        return Vec::new();
    }
    let each = OF_PATIENT.iter().filter_map(|(label, elements, extensions)| {
        let whole = sealed
            || (kind == PLACE && *label == "PATLOC")
            || (kind == NEXT_OF_KIN && *label == "DEMO")
            || (matches!(*label, "DOB" | "DEMO") && birth);
        let patient = kind == "Patient"
            && (elements.iter().any(|element| resource.get(*element).is_some()) || has_extension(resource, extensions));
        let place = *label == "PATLOC" && place;
        (whole || patient || place).then_some(Inner { label, whole })
    });
    each.collect()
}

/// Puts onto each entry what its single elements tell of.
pub fn read<'a>(entries: &mut [Entry], resources: impl Iterator<Item = &'a Value>) {
    for (entry, resource) in entries.iter_mut().zip(resources) {
        entry.inner = of(&entry.kind, resource, entry.carries_bytes);
    }
}

/// True for a label that covers single elements.
#[must_use]
pub fn is_known(label: &str) -> bool {
    OF_PATIENT.iter().any(|(known, _, _)| *known == label)
}

/// Leaves the elements out of `resource` that `labels` cover, and says so as far as `notice` allows.
pub fn mask(resource: &mut Value, labels: &BTreeSet<Text>, notice: Notice) {
    let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(members) = resource.as_object_mut() else { return };
    let mut lost = false;
    for (label, elements, extensions) in OF_PATIENT.iter().filter(|(label, _, _)| labels.contains(*label)) {
        if kind == "Patient" {
            lost |= elements.iter().fold(false, |lost, element| leave_out(members, element, notice) | lost);
            lost |= drop_extensions(members, extensions);
        }
        if *label == "PATLOC" {
            lost |= PLACES.iter().fold(false, |lost, element| drop(members, element) | lost);
        }
    }
    if lost {
        tell(members, "MASKED", notice);
    }
}

/// Leaves `elements` out of a resource: `birthDate`, or of a choice all of `value[x]`. `code` says what was done:
/// `MASKED`, or `REDACTED`, which leaves no trace of the element.
pub fn leave_out_named(members: &mut Map, elements: &[String], code: &'static str, notice: Notice) -> bool {
    let names: Vec<Text> = members.keys().cloned().collect();
    let is = |name: &str| {
        elements.iter().any(|element| match element.strip_suffix("[x]") {
            Some(choice) => {
                name.strip_prefix(choice).is_some_and(|kind| kind.starts_with(|c: char| c.is_ascii_uppercase()))
            }
            None => element == name,
        })
    };
    let mut lost = false;
    for name in names.iter().filter(|name| is(name)) {
        lost |= if code == "MASKED" { leave_out(members, name, notice) } else { drop(members, name) };
    }
    if lost {
        members.shift_remove("text");
        tell(members, code, notice);
    }
    lost
}

/// What may tell in words what was masked goes from every resource: narrative, and what a person is called in references.
pub fn hush(resource: &mut Value) {
    let mut waiting = vec![resource];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                if members.get("text").is_some_and(|text| text.get("div").is_some()) {
                    members.shift_remove("text");
                }
                let person = |reference: &str| reference.contains("Patient") || reference.starts_with("urn:");
                let to_person = members.get("reference").and_then(Value::as_str).is_some_and(person)
                    || members.get("type").and_then(Value::as_str) == Some("Patient");
                if to_person {
                    members.shift_remove("display");
                }
                waiting.extend(members.iter_mut().map(|(_, value)| value));
            }
            _ => {}
        }
    }
}

fn leave_out(members: &mut Map, name: &str, notice: Notice) -> bool {
    let Some(was) = members.shift_remove(name) else { return false };
    members.shift_remove(&format!("_{name}"));
    if notice == Notice::None {
        return true;
    }
    let absent = json!({ "extension": [{ "url": ABSENT, "valueCode": "masked" }] });
    match was {
        Value::Array(items) if items.iter().all(Value::is_object) => _ = members.insert(name, json!([absent])),
        Value::Object(_) => _ = members.insert(name, absent),
        Value::Array(_) => {}
        _ => _ = members.insert(format!("_{name}"), absent),
    }
    true
}

fn drop(members: &mut Map, name: &str) -> bool {
    members.shift_remove(&format!("_{name}"));
    members.shift_remove(name).is_some()
}

fn tell(members: &mut Map, code: &'static str, notice: Notice) {
    if notice == Notice::None {
        return;
    }
    if !members.contains_key("meta") {
        members.put("meta", json!({}));
    }
    let Some(Value::Object(meta)) = members.get_mut("meta") else { return };
    if !meta.contains_key("security") {
        meta.put("security", json!([]));
    }
    let label = json!({ "system": OBSERVATION_VALUE, "code": code });
    if let Some(labels) =
        meta.get_mut("security").and_then(Value::as_array_mut).filter(|labels| !labels.contains(&label))
    {
        labels.push(label);
    }
}

/// True for an extension of the listed names; an empty name is all.
fn is_listed(extension: &Value, names: &[&str]) -> bool {
    let url = extension.get("url").and_then(Value::as_str).unwrap_or_default();
    names.iter().any(|name| name.is_empty() || url.rsplit('/').next() == Some(name))
}

fn has_extension(resource: &Value, names: &[&str]) -> bool {
    let extensions = resource.get("extension").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    extensions.iter().any(|extension| is_listed(extension, names))
}

fn drop_extensions(members: &mut Map, names: &[&str]) -> bool {
    let Some(Value::Array(extensions)) = members.get_mut("extension") else { return false };
    let before = extensions.len();
    extensions.retain(|extension| !is_listed(extension, names));
    let lost = extensions.len() != before;
    if extensions.is_empty() {
        members.shift_remove("extension");
    }
    lost
}

/// True for a code that is about when somebody was born.
fn tells_of_birth(concept: &Value) -> bool {
    let codings = concept.get("coding").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    codings.iter().filter_map(|coding| coding.get("code")?.as_str()).any(|code| BIRTH.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::consent::by_entry::Sources;

    use super::*;

    fn labels(resource: &Value) -> Vec<(&'static str, bool)> {
        let sources = Sources { resources: &[(None, resource)], ..Sources::default() };
        let mut entries = Entry::read(sources, &Arc::default());
        read(&mut entries, [resource].into_iter());
        entries.iter().flat_map(|entry| &entry.inner).map(|inner| (inner.label, inner.whole)).collect()
    }

    fn patient() -> Value {
        json!({ "resourceType": "Patient", "identifier": [{ "value": "1" }], "name": [{ "family": "A" }], "birthDate": "1971-04-23",
            "_birthDate": { "extension": [{ "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime" }] },
            "extension": [{ "url": "http://hl7.org/fhir/StructureDefinition/patient-religion" }, { "url": "urn:other" }],
            "text": { "div": "<div>A</div>" } })
    }

    #[test]
    fn a_patient_tells_of_what_it_has() {
        assert_eq!(labels(&patient()), [("DEMO", false), ("DOB", false), ("REL", false)]);
        assert!(labels(&json!({ "resourceType": "Patient", "identifier": [] })).is_empty());
        assert_eq!(labels(&json!({ "resourceType": "Encounter", "location": [] })), [("PATLOC", false)]);
        assert_eq!(labels(&json!({ "resourceType": "Location" })), [("PATLOC", true)]);
        let born = json!({ "resourceType": "Observation", "code": { "coding": [{ "code": "21112-8" }] } });
        assert_eq!(labels(&born), [("DEMO", true), ("DOB", true)]);
        let letter = json!({ "resourceType": "DocumentReference", "content": [{ "attachment": { "contentType": "text/plain", "data": "" } }] });
        assert!(labels(&letter).iter().all(|(_, whole)| *whole) && labels(&letter).len() == OF_PATIENT.len());
    }

    #[test]
    fn a_masked_element_leaves_no_trace_but_that_it_is_masked() {
        let mut masked = patient();
        mask(&mut masked, &BTreeSet::from(["DOB".into(), "REL".into()]), Notice::Label);
        assert_eq!(masked["_birthDate"]["extension"][0]["valueCode"], "masked");
        assert!(masked.get("birthDate").is_none() && masked.get("name").is_some());
        assert_eq!(masked["extension"], json!([{ "url": "urn:other" }]));
        assert_eq!(masked["meta"]["security"][0]["code"], "MASKED");
        let mut silent = patient();
        mask(&mut silent, &BTreeSet::from(["DEMO".into()]), Notice::None);
        let text = silent.to_string();
        assert!(
            !text.contains("1971")
                && !text.contains("masked")
                && !text.contains("MASKED")
                && !text.contains("extension"),
            "{text}"
        );
        assert!(silent.get("identifier").is_some() && labels(&silent).is_empty());
    }

    #[test]
    fn words_go_with_what_they_may_tell() {
        let mut order = json!({ "resourceType": "ServiceRequest", "text": { "div": "<div>born 1971</div>" },
            "subject": { "reference": "urn:uuid:p", "display": "A" }, "code": { "text": "Glucose" } });
        hush(&mut order);
        assert_eq!(
            order,
            json!({ "resourceType": "ServiceRequest", "subject": { "reference": "urn:uuid:p" }, "code": { "text": "Glucose" } })
        );
    }
}
