//! A Provenance that came beside a message, in a header of its request, becomes an entry of it (FHIR R4 Provenance
//! §6.3.4.6). It has no target: the stamper fills in all that the message writes.

use message::json::{Value, json};
use message::{Body, Original, Sha256, fhir};
use uuid::Uuid;

/// Adds what came beside `original` to what was read of it. Signatures are checked before: they are of the bytes.
pub(super) fn join(original: &Original, body: &mut Body) {
    let Body::Fhir(resource) = body else { return };
    if original.beside.is_empty() {
        return;
    }
    // It was read at the door.
    let Ok(mut provenance) = fhir::read(&original.beside, &fhir::Limits::default()) else { return };
    // The same with every replay, and another than that of the same bytes with another Provenance.
    let name = [&original.sha256.0[..], &Sha256::of(&original.beside).0].concat();
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &name).to_string();
    if let Some(members) = provenance.as_object_mut() {
        members.insert("id", Value::from(id.clone()));
    }
    let mut entry = json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": provenance });
    if fhir::get_str(resource, "resourceType") != Some("Bundle") {
        let alone = resource.take();
        *resource = json!({ "resourceType": "Bundle", "type": "collection", "entry": [{ "resource": alone }, entry] });
        return;
    }
    let has_requests = matches!(fhir::get_str(resource, "type"), Some("transaction" | "batch"));
    if let (true, Some(entry)) = (has_requests, entry.as_object_mut()) {
        entry.put("request", json!({ "method": "PUT", "url": format!("Provenance/{id}") }));
    }
    let Some(bundle) = resource.as_object_mut() else { return };
    if !bundle.contains_key("entry") {
        bundle.insert("entry", json!([]));
    }
    if let Some(Value::Array(entries)) = bundle.get_mut("entry") {
        entries.push(entry);
    }
}
