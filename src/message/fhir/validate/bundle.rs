//! The invariants of Bundle (bdl-1 to bdl-12), and what its entries must agree in.

use super::issue::IssueType;
use super::path::Path;
use super::requests;
use super::walk::Walk;
use crate::fhir::{Object, Value, get_str};

/// Checks `bundle`, whose entries the walk knows.
pub(super) fn check<'a>(walk: &mut Walk<'a>, bundle: &'a Object, path: &Path<'_>) {
    let Some(entries) = &mut walk.entries else { return };
    let (kind, doubles) = (entries.kind, std::mem::take(&mut entries.doubles));
    let at = path.to("entry");
    if kind != "history" {
        for number in doubles {
            let text = "an entry before has the same fullUrl, so that references to it have two meanings".into();
            let rule = Some("bdl-7");
            walk.tell(crate::fhir::Severity::Error, IssueType::Duplicate, &at.at(number), text, rule);
        }
    }
    if bundle.contains_key("total") && !matches!(kind, "searchset" | "history") {
        walk.broken("bdl-1", path, "only a searchset or a history has a total");
    }
    let all = bundle.get("entry").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (number, entry) in all.iter().enumerate() {
        check_entry(walk, kind, entry, &at.at(number));
    }
    match kind {
        "document" => check_document(walk, bundle, path),
        "message" if !first_is(all, "MessageHeader") => {
            walk.broken("bdl-12", path, "the first entry of a message is a MessageHeader");
        }
        _ => {}
    }
}

fn check_document(walk: &mut Walk<'_>, bundle: &Object, path: &Path<'_>) {
    let identifier = bundle.get("identifier");
    let has = |name: &str| identifier.is_some_and(|identifier| identifier.get(name).is_some());
    if !(has("system") && has("value")) {
        walk.broken("bdl-9", path, "a document has an identifier with system and value");
    }
    if !bundle.contains_key("timestamp") {
        walk.broken("bdl-10", path, "a document has a timestamp");
    }
    let all = bundle.get("entry").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !first_is(all, "Composition") {
        walk.broken("bdl-11", path, "the first entry of a document is a Composition");
    }
}

fn first_is(entries: &[Value], kind: &str) -> bool {
    entries.first().and_then(|entry| get_str(entry, "resource.resourceType")) == Some(kind)
}

fn check_entry(walk: &mut Walk<'_>, kind: &str, entry: &Value, path: &Path<'_>) {
    let Some(own) = entry.as_object() else { return };
    let (mut search, mut request, mut response, mut resource) = (false, false, false, false);
    for name in own.keys() {
        match name.as_str() {
            "search" => search = true,
            "request" => request = true,
            "response" => response = true,
            "resource" => resource = true,
            _ => {}
        }
    }
    if search && kind != "searchset" {
        walk.broken("bdl-2", path, "only an entry of a searchset has a search");
    }
    let wants_request = matches!(kind, "batch" | "transaction" | "history");
    if request != wants_request {
        walk.broken("bdl-3", path, "an entry of a batch, transaction or history has a request, and no other");
    }
    let wants_response = matches!(kind, "batch-response" | "transaction-response" | "history");
    if response != wants_response {
        walk.broken("bdl-4", path, "an entry of a response or history has a response, and no other");
    }
    if !(resource || request || response) {
        walk.broken("bdl-5", path, "an entry has a resource, a request or a response");
    }
    if let Some(full_url) = own.get("fullUrl").and_then(Value::as_str) {
        check_full_url(walk, full_url, entry, path);
    }
    if matches!(kind, "batch" | "transaction") {
        requests::check(walk, entry, path);
    }
}

/// It is absolute, has no version, and where it ends with type and id, they are those of the resource.
fn check_full_url(walk: &mut Walk<'_>, full_url: &str, entry: &Value, path: &Path<'_>) {
    let at = path.to("fullUrl");
    if full_url.as_bytes().contains(&b'/') && full_url.contains("/_history/") {
        walk.broken("bdl-8", &at, "a fullUrl has no version");
    }
    if !full_url.contains(':') {
        return walk.error(IssueType::Value, &at, "a fullUrl is an absolute URI");
    }
    let Some(resource) = entry.get("resource").filter(|_| full_url.starts_with("http")) else { return };
    let Some((kind, id)) = requests::type_and_id(full_url) else { return };
    let same_type = get_str(resource, "resourceType").and_then(|name| crate::fhir::definitions::types().resource(name));
    if same_type.is_some_and(|own| own != kind) || get_str(resource, "id").is_some_and(|own| own != id) {
        walk.error(IssueType::Value, &at, "the fullUrl does not end with the type and the id of the resource");
    }
}
