//! What R4 requires and the message does not say: a stated fallback, or a reason for its absence.

use serde_json::{Map, Value, json};

use crate::r4::{TypeId, types};

use super::run::Run;
use super::tree::{self, Key, ResourceId};

/// Elements that name the patient a resource is about.
const SUBJECTS: [&str; 3] = ["subject", "patient", "beneficiary"];

/// Sets the patient of every resource that is about one and does not say whom.
pub(super) fn subjects(run: &mut Run<'_>) {
    let only = run.patient();
    for number in 0..run.tree.resources.len() {
        let id = ResourceId(u32::try_from(number).unwrap_or(u32::MAX));
        let Some(resource) = run.tree.get(id) else { continue };
        let (root, kind, labelled) = (resource.root, types().get(resource.kind), resource.labelled);
        let Some(patient) = resource.patient.or(only).filter(|patient| *patient != id) else { continue };
        let about = SUBJECTS.into_iter().find_map(|name| kind.element(name));
        let Some(element) = about.filter(|e| labelled || e.required) else { continue };
        let is_other = matches!(kind.name.as_str(), "Provenance" | "Device" | "Bundle" | "MessageHeader");
        if !is_other && run.tree.named(root, &element.name).is_none() && !run.tree.is_empty(root) {
            let node = run.tree.child(root, element, Key::default());
            run.tree.refer(node, patient);
        }
    }
}

/// Adds to the JSON of a resource what R4 requires of it.
pub(super) fn complete(run: &Run<'_>, kind: TypeId, out: &mut Map<String, Value>) {
    let kind = types().get(kind);
    for name in kind.required() {
        if tree::has(out, name) {
            continue;
        }
        match fallback(run, &kind.name, name) {
            Some(value) => drop(out.insert(value.0.to_owned(), value.1)),
            None => tree::absent(kind, name, out),
        }
    }
    if kind.name == "AllergyIntolerance" && !out.contains_key("clinicalStatus") {
        let system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
        out.insert("clinicalStatus".into(), json!({ "coding": [{ "system": system, "code": "active" }] }));
    }
}

/// What a required element becomes where the message has nothing: its name and value.
fn fallback(run: &Run<'_>, kind: &str, name: &str) -> Option<(&'static str, Value)> {
    let unknown = || {
        json!({ "coding": [{
        "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown" }] })
    };
    Some(match (kind, name) {
        ("Account" | "Coverage", "status") => ("status", json!("active")),
        ("DocumentReference", "status") => ("status", json!("current")),
        ("EpisodeOfCare", "status") => ("status", json!("active")),
        ("Immunization", "status") => ("status", json!("completed")),
        ("Appointment", "status") => ("status", json!("proposed")),
        (_, "status") => ("status", json!("unknown")),
        ("ServiceRequest" | "MedicationRequest", "intent") => ("intent", json!("order")),
        ("Encounter", "class") => {
            ("class", json!({ "system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK" }))
        }
        ("Observation" | "DiagnosticReport" | "Basic", "code") => ("code", unknown()),
        ("Immunization", "vaccineCode") => ("vaccineCode", unknown()),
        ("Immunization", "occurrence") => ("occurrenceString", json!("unknown")),
        ("MedicationRequest", "medication") => ("medicationCodeableConcept", unknown()),
        ("Provenance", "recorded") => ("recorded", json!(run.received())),
        ("Provenance", "agent") => ("agent", json!([{ "who": { "display": run.sender() } }])),
        ("MessageHeader", "event") => {
            ("eventCoding", json!({ "system": "http://terminology.hl7.org/CodeSystem/v2-0003", "code": "unknown" }))
        }
        ("MessageHeader", "source") => ("source", json!({ "endpoint": run.systems.own("ns", "unknown") })),
        _ => return None,
    })
}
