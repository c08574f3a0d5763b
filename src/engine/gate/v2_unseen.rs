//! What an HL7 v2 message says that its conversion makes nothing of, as entries to be decided about: the message leaves with
//! all its segments, also those that no table takes.

use std::collections::BTreeSet;

use message::consent::by_entry::{Coded, Entry};
use message::hl7v2::{Message, Segment};
use message::json::{Value, json};
use message::{Finding, FindingKind, fhir};

/// Segments that say what somebody has, had or got: which field says it, and as what that is decided about.
const TELLING: [(&str, usize, &str); 14] = [
    ("AL1", 3, "AllergyIntolerance"),
    ("DG1", 3, "Condition"),
    ("GOL", 3, "Goal"),
    ("IAM", 3, "AllergyIntolerance"),
    ("OBR", 4, "ServiceRequest"),
    ("OBX", 3, "Observation"),
    ("PR1", 3, "Procedure"),
    ("PRB", 3, "Condition"),
    ("RXA", 5, "Immunization"),
    ("RXC", 2, "MedicationRequest"),
    ("RXD", 2, "MedicationDispense"),
    ("RXE", 2, "MedicationRequest"),
    ("RXG", 4, "MedicationAdministration"),
    ("RXO", 1, "MedicationRequest"),
];

/// Code systems by the names that HL7 v2 gives them (table 0396).
const SYSTEMS: [(&str, &str); 13] = [
    ("CVX", "http://hl7.org/fhir/sid/cvx"),
    ("I10", "http://hl7.org/fhir/sid/icd-10"),
    ("I10C", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("ICD-10", "http://hl7.org/fhir/sid/icd-10"),
    ("ICD-10-CM", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("ICD10", "http://hl7.org/fhir/sid/icd-10"),
    ("ICD10CM", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("LN", "http://loinc.org"),
    ("LOINC", "http://loinc.org"),
    ("NDC", "http://hl7.org/fhir/sid/ndc"),
    ("RXNORM", "http://www.nlm.nih.gov/research/umls/rxnorm"),
    ("SCT", "http://snomed.info/sct"),
    ("SNM3", "http://snomed.info/sct"),
];

/// Adds to `content`, which `message` was converted to, an entry for each segment that is not in it: of a kind that tells
/// something, or with a code that none of the entries has.
pub(super) fn add(content: &mut Value, message: &Message, findings: &[Finding]) {
    let known = codes_of(content);
    let lost = |name: &str, field: usize| {
        let at = format!("-{field}");
        findings.iter().filter(|finding| matches!(finding.kind, FindingKind::Unmapped | FindingKind::Unexpected)).any(
            |finding| {
                let Some(rest) = finding.location.strip_prefix(name) else { return false };
                let rest = if rest.starts_with('[') { rest.split_once(']').map_or("", |(_, rest)| rest) } else { rest };
                rest.strip_prefix(at.as_str()).is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
            },
        )
    };
    let patient = patient_of(content);
    let mut more = Vec::new();
    for segment in message.segments() {
        let telling = TELLING.iter().find(|(name, _, _)| *name == segment.name());
        let unseen: Vec<Coded> = codes_in(&segment).into_iter().filter(|code| !known.contains(code)).collect();
        let unread = telling.is_some_and(|(name, field, _)| segment.field(*field).is_valued() && lost(name, *field));
        if unseen.is_empty() && !unread {
            continue;
        }
        let kind = telling.map_or("Basic", |(_, _, kind)| kind);
        let coding: Vec<Value> =
            unseen.iter().map(|code| json!({ "system": code.system, "code": code.code })).collect();
        let code = if coding.is_empty() { json!({ "text": "?" }) } else { json!({ "coding": coding }) };
        more.push(json!({ "resource": { "resourceType": kind, "code": code, "subject": patient } }));
    }
    if let Some(entries) = content.get_mut("entry").and_then(Value::as_array_mut) {
        entries.extend(more);
    }
}

/// The codes in a segment whose system is said and known.
fn codes_in(segment: &Segment<'_>) -> BTreeSet<Coded> {
    let mut codes = BTreeSet::new();
    for (_, field) in segment.fields() {
        for repetition in field.repetitions() {
            for (code, system) in [(1, 3), (4, 6)] {
                let system = repetition.component(system).value().trim().to_ascii_uppercase();
                let known = SYSTEMS.iter().find(|(name, _)| *name == system);
                let code = repetition.component(code).value().trim().to_owned();
                codes.extend(known.filter(|_| !code.is_empty()).map(|(_, uri)| Coded::new(uri, &code)));
            }
        }
    }
    codes
}

/// Every code that is in the entries.
fn codes_of(content: &Value) -> BTreeSet<Coded> {
    let parts = super::people::parts(content);
    let resources: Vec<(Option<&_>, &Value)> = parts.iter().map(|part| (None, part.resource)).collect();
    let sources = message::consent::by_entry::Sources { resources: &resources, ..Default::default() };
    let entries = Entry::read(sources, &std::sync::Arc::default());
    entries.iter().flat_map(Entry::codes).cloned().collect()
}

/// A reference to the first Patient.
fn patient_of(content: &Value) -> Value {
    let entries = content.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let patient = entries.iter().find(|entry| fhir::get_str(entry, "resource.resourceType") == Some("Patient"));
    patient.and_then(|entry| fhir::get_str(entry, "fullUrl")).map_or(Value::Null, |url| json!({ "reference": url }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use message::hl7v2::CharsetOptions;

    use super::*;

    fn seen(text: &str, findings: &[(&str, FindingKind)]) -> Vec<String> {
        let (message, _) = Message::read(Bytes::copy_from_slice(text.as_bytes()), &CharsetOptions::default()).unwrap();
        let known = json!([{ "fullUrl": "urn:uuid:p", "resource": { "resourceType": "Patient" } },
            { "resource": { "resourceType": "Observation", "code": { "coding": [{ "system": "http://loinc.org", "code": "1-8" }] } } }]);
        let mut content = json!({ "resourceType": "Bundle", "entry": known });
        let findings: Vec<Finding> = findings
            .iter()
            .map(|(at, kind)| Finding { kind: *kind, location: (*at).into(), text: "".into() })
            .collect();
        add(&mut content, &message, &findings);
        let more = content["entry"].as_array().unwrap().iter().skip(2);
        more.map(|entry| {
            format!(
                "{} {}",
                entry["resource"]["resourceType"].as_str().unwrap(),
                entry["resource"]["code"]["coding"][0]["code"]
            )
        })
        .collect()
    }

    #[test]
    fn what_the_conversion_makes_nothing_of_is_decided_about() {
        let text = "MSH|^~\\&|A|X|||20260101||ORU^R01|1|P|2.5.1\rPID|1||7\rDG1|1||B20^HIV^I10C\rAL1|1||x^Penicillin\rOBX|1|NM|1-8^Glucose^LN||1\rZHV|75622-1^x^LN\r";
        let lost = [
            ("DG1[1]-3.1", FindingKind::Unmapped),
            ("AL1-3.1", FindingKind::Unmapped),
            ("OBX-30", FindingKind::Unmapped),
        ];
        assert_eq!(seen(text, &lost), [r#"Condition "B20""#, "AllergyIntolerance null", r#"Basic "75622-1""#]);
        assert_eq!(seen(text, &[]), [r#"Condition "B20""#, r#"Basic "75622-1""#], "by its code alone");
        assert!(seen("MSH|^~\\&|A|X|||20260101||ORU^R01|1|P|2.5.1\rOBX|1|NM|1-8^Glucose^LN||1\r", &[]).is_empty());
    }
}
