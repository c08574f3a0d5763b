//! What it can do, as `GET /metadata` says it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kind::{Kind, kinds};
use super::store::instant;

/// The CapabilityStatement (FHIR R4 §3.1.0.8).
pub(super) fn statement(now: Timestamp) -> Value {
    let codes = |codes: &[&str]| codes.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(now),
        "kind": "instance",
        "software": { "name": "Tributary stand-in repository", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": "A FHIR R4 server in memory, for demos, tests and benches" },
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{
            "mode": "server",
            "resource": kinds().map(resource).collect::<Vec<_>>(),
            "interaction": codes(&["transaction", "batch"]),
        }],
    })
}

fn resource(kind: Kind) -> Value {
    let interactions = ["read", "vread", "update", "delete", "history-instance", "create", "search-type"];
    let mut parameters = vec![
        ("_id", "token"),
        ("_tag", "token"),
        ("identifier", "token"),
        ("subject", "reference"),
        ("patient", "reference"),
    ];
    match kind {
        "Patient" | "Practitioner" | "RelatedPerson" | "Person" => parameters.push(("family", "string")),
        "Provenance" => parameters.push(("target", "reference")),
        _ => {}
    }
    json!({
        "type": kind,
        "interaction": interactions.map(|code| json!({ "code": code })),
        "versioning": "versioned-update",
        "readHistory": true,
        "updateCreate": true,
        "conditionalCreate": true,
        "conditionalUpdate": true,
        "conditionalDelete": "single",
        "searchParam": parameters.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect::<Vec<_>>(),
    })
}
