//! Reading: a resource, a version, a history, a search.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::entry::Get;
use super::kind::Kind;
use super::outcome::Refusal;
use super::search::Query;
use super::store::{Store, Version, instant};
use super::transaction::{Done, Written};

/// Reads what `get` asks for.
///
/// # Errors
///
/// 404 for what never was, 410 for what is deleted.
pub(super) fn read(store: &Store, get: &Get) -> Result<Done, Refusal> {
    match get {
        Get::Read(kind, id) => version(kind, id, store.last(kind, id)),
        Get::Version(kind, id, number) => {
            version(kind, id, store.history(kind, id).find(|version| version.number.to_string() == *number))
        }
        Get::History(kind, id) => history(store, kind, id).map(bundle),
        Get::Search(query) => Ok(bundle(search(store, query))),
    }
}

fn bundle(body: Value) -> Done {
    Done { status: StatusCode::OK, written: None, body: Some(body) }
}

fn version(kind: Kind, id: &str, found: Option<&Version>) -> Result<Done, Refusal> {
    let version = found.ok_or_else(|| missing(kind, id))?;
    if version.content.is_none() {
        return Err(Refusal::new(StatusCode::GONE, "deleted", format!("{kind}/{id} is deleted")));
    }
    let written = Written { kind, id: id.to_owned(), version: version.clone() };
    Ok(Done { status: StatusCode::OK, body: Some(version.render()), written: Some(written) })
}

fn missing(kind: Kind, id: &str) -> Refusal {
    Refusal::not_found(format!("there is no {kind}/{id}, or not in this version"))
}

/// The versions kept, newest first (FHIR R4 §3.1.0.10).
fn history(store: &Store, kind: Kind, id: &str) -> Result<Value, Refusal> {
    let entries: Vec<Value> = store.history(kind, id).rev().map(|version| history_entry(kind, id, version)).collect();
    if entries.is_empty() {
        return Err(missing(kind, id));
    }
    Ok(json!({ "resourceType": "Bundle", "type": "history", "total": entries.len(), "entry": entries }))
}

fn history_entry(kind: Kind, id: &str, version: &Version) -> Value {
    let method = if version.content.is_some() { "PUT" } else { "DELETE" };
    let status = if version.content.is_some() { "200" } else { "204" };
    let mut entry = json!({
        "fullUrl": format!("{kind}/{id}"),
        "request": { "method": method, "url": format!("{kind}/{id}") },
        "response": { "status": status, "lastModified": instant(version.at) },
    });
    if let (Some(entry), true) = (entry.as_object_mut(), version.content.is_some()) {
        entry.insert("resource".to_owned(), version.render());
    }
    entry
}

/// Puts `base` before the URLs of a Bundle that was read: `fullUrl` and links are absolute (FHIR R4 §2.36.4).
pub(super) fn make_absolute(bundle: &mut Value, base: &str) {
    for (list, name) in [("link", "url"), ("entry", "fullUrl")] {
        for part in bundle.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(Value::String(url)) = part.get_mut(name) {
                url.insert_str(0, base);
            }
        }
    }
}

/// One page of what was found, in the order of first writing (FHIR R4 §3.1.1).
fn search(store: &Store, query: &Query) -> Value {
    let found = store.find(query);
    let page = found.iter().skip(query.offset).take(query.count);
    let entries: Vec<Value> = page
        .filter_map(|id| Some((id, store.current(query.kind, id)?)))
        .map(|(id, version)| {
            json!({ "fullUrl": format!("{}/{id}", query.kind), "resource": version.render(), "search": { "mode": "match" } })
        })
        .collect();
    let mut links = vec![json!({ "relation": "self", "url": format!("{}?{}", query.kind, query.text) })];
    let next = query.offset + query.count;
    if query.count > 0 && next < found.len() {
        links.push(json!({ "relation": "next", "url": format!("{}?{}", query.kind, query.page(next)) }));
    }
    let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "total": found.len(), "link": links });
    if let (Some(bundle), false) = (bundle.as_object_mut(), entries.is_empty()) {
        bundle.insert("entry".to_owned(), Value::from(entries));
    }
    bundle
}
