//! What R4 requires and the message does not say: a stated fallback, or a reason for its absence.

use message::json::{Map, Value};

use message::fhir::definitions::{TypeId, types};

use super::known::known;
use super::run::Run;
use super::tree::{self, Key, ResourceId};

/// Sets the patient of every resource that is about one and does not say whom.
pub(super) fn subjects(run: &mut Run<'_>) {
    let only = run.patient();
    for number in 0..run.tree.resources.len() {
        let id = ResourceId(u32::try_from(number).unwrap_or(u32::MAX));
        let Some(resource) = run.tree.get(id) else { continue };
        let (root, kind, labelled) = (resource.root, resource.kind, resource.labelled);
        let Some(patient) = resource.patient.or(only).filter(|patient| *patient != id) else { continue };
        let Some(element) = known().kind(kind).about.filter(|e| labelled || e.required) else { continue };
        if run.tree.named(root, &element.name).is_none() && !run.tree.is_empty(root) {
            let node = run.tree.child(root, element, Key::default());
            run.tree.refer(node, patient);
        }
    }
}

/// Adds to the JSON of a resource what R4 requires of it.
pub(super) fn complete(run: &Run<'_>, kind: TypeId, out: &mut Map) {
    let rule = known().kind(kind).rule;
    let kind = types().get(kind);
    for name in kind.required() {
        if tree::has(out, name) {
            continue;
        }
        match fallback(run, &kind.name, name) {
            Some((name, value)) => out.put(name, value),
            None => tree::absent(kind, name, out),
        }
    }
    if kind.name == "AllergyIntolerance" && !out.contains_key("clinicalStatus") {
        out.put(
            "clinicalStatus",
            concept("http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "active"),
        );
    }
    if let Some(rule) = rule {
        rule(kind, out);
    }
}

/// What a required element becomes where the message has nothing: its name and value.
fn fallback(run: &Run<'_>, kind: &str, name: &str) -> Option<(&'static str, Value)> {
    let unknown = || concept("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown");
    Some(match (kind, name) {
        ("Account" | "Coverage", "status") => ("status", Value::fixed("active")),
        ("DocumentReference", "status") => ("status", Value::fixed("current")),
        ("EpisodeOfCare", "status") => ("status", Value::fixed("active")),
        ("Immunization", "status") => ("status", Value::fixed("completed")),
        ("Appointment", "status") => ("status", Value::fixed("proposed")),
        ("ResearchStudy", "status") => ("status", Value::fixed("active")),
        (_, "status") => ("status", Value::fixed("unknown")),
        ("ServiceRequest" | "MedicationRequest" | "NutritionOrder", "intent") => ("intent", Value::fixed("order")),
        ("Encounter", "class") => ("class", coding("http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "UNK")),
        ("Observation" | "DiagnosticReport" | "Basic", "code") => ("code", unknown()),
        ("Immunization", "vaccineCode") => ("vaccineCode", unknown()),
        ("Immunization", "occurrence") => ("occurrenceString", Value::fixed("unknown")),
        ("MedicationRequest", "medication") => ("medicationCodeableConcept", unknown()),
        ("Provenance", "recorded") => ("recorded", Value::from(run.received())),
        ("Provenance", "agent") => {
            let who = Value::object([("display", run.sender().into())]);
            ("agent", Value::Array(vec![Value::object([("who", who)])]))
        }
        ("MessageHeader", "event") => {
            ("eventCoding", coding("http://terminology.hl7.org/CodeSystem/v2-0003", "unknown"))
        }
        ("MessageHeader", "source") => {
            ("source", Value::object([("endpoint", run.systems.own("ns", "unknown").into())]))
        }
        _ => return None,
    })
}

fn coding(system: &'static str, code: &'static str) -> Value {
    Value::object([("system", Value::fixed(system)), ("code", Value::fixed(code))])
}

fn concept(system: &'static str, code: &'static str) -> Value {
    Value::object([("coding", Value::Array(vec![coding(system, code)]))])
}
