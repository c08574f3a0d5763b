//! Whether a JSON value is a resource that is taken here.

use std::collections::HashSet;

use super::{Limits, get_str, is_resource_type};
use crate::Fault;
use crate::json::Value;

/// Checks that `value` is a resource of R4; for a Bundle also that its type is taken here (transaction, batch,
/// collection, document, message) and that each entry has what the type demands (FHIR R4 §2.36, bdl-3 to bdl-12).
///
/// # Errors
///
/// The first [`Fault`], located as `Bundle.entry[3].request.url`.
pub fn check(value: &Value, limits: &Limits) -> Result<(), Fault> {
    let kind = check_resource(value, Place::Root)?;
    if kind == "Bundle" { check_bundle(value, limits) } else { Ok(()) }
}

/// Where something stands, told only if it is wrong.
#[derive(Clone, Copy)]
enum Place {
    Root,
    /// In an entry, by its number.
    Entry(usize),
}

impl Place {
    /// The element there that is called `name`.
    fn element(self, name: &str) -> String {
        let path = match self {
            Self::Root => name.to_owned(),
            Self::Entry(n) => format!("Bundle.entry[{n}].{name}"),
        };
        path.trim_end_matches('.').to_owned()
    }

    /// The resource there, or its element.
    fn resource(self, name: &str) -> String {
        match self {
            Self::Root => name.to_owned(),
            Self::Entry(_) => self.element(&format!("resource.{name}")),
        }
    }
}

/// The resource type of `value`, which stands at `place`.
fn check_resource(value: &Value, place: Place) -> Result<&str, Fault> {
    if !value.is_object() {
        return fault(102, &place.resource(""), "a resource is a JSON object");
    }
    match value.get("resourceType") {
        Some(Value::String(kind)) if is_resource_type(kind) => Ok(kind),
        None => {
            let text = "the resource type is missing, so this is no FHIR resource";
            fault(101, &place.resource("resourceType"), text)
        }
        Some(_) => fault(103, &place.resource("resourceType"), "this is no resource type of FHIR R4"),
    }
}

fn check_bundle(bundle: &Value, limits: &Limits) -> Result<(), Fault> {
    let kind = match bundle.get("type") {
        None => return fault(101, "Bundle.type", "the Bundle's type is missing"),
        Some(Value::String(kind)) => kind.as_str(),
        Some(_) => return fault(102, "Bundle.type", "the Bundle's type is a string"),
    };
    let rules = Rules::of(kind)?;
    let entries = match bundle.get("entry") {
        None => &[][..],
        Some(Value::Array(entries)) => entries,
        Some(_) => return fault(102, "Bundle.entry", "the entries are a list"),
    };
    if entries.len() > limits.entries {
        let text = format!("the Bundle has more than {} entries; send it in parts", limits.entries);
        return fault(104, "Bundle.entry", text);
    }
    for (n, entry) in entries.iter().enumerate() {
        rules.check_entry(entry, Place::Entry(n))?;
    }
    rules.check_first(entries)?;
    check_full_urls(entries)?;
    if kind == "document" { check_document(bundle) } else { Ok(()) }
}

/// What a type of Bundle demands.
struct Rules {
    /// Each entry has a request, and its method says whether there is a resource.
    requests: bool,
    /// What the first entry is.
    first: Option<&'static str>,
}

impl Rules {
    fn of(kind: &str) -> Result<Self, Fault> {
        match kind {
            "transaction" | "batch" => Ok(Self { requests: true, first: None }),
            "collection" => Ok(Self { requests: false, first: None }),
            "document" => Ok(Self { requests: false, first: Some("Composition") }),
            "message" => Ok(Self { requests: false, first: Some("MessageHeader") }),
            "searchset" | "history" | "transaction-response" | "batch-response" => {
                let text = "Bundles of this type are answers, and not taken here; send a transaction, batch, collection, \
                            document or message";
                fault(200, "Bundle.type", text)
            }
            _ => fault(103, "Bundle.type", "this is no type of Bundle in FHIR R4"),
        }
    }

    fn check_entry(&self, entry: &Value, place: Place) -> Result<(), Fault> {
        if !entry.is_object() {
            return fault(102, &place.element(""), "an entry is a JSON object");
        }
        let needs_resource = if self.requests { check_request(entry, place)? } else { true };
        match entry.get("resource") {
            Some(resource) => check_resource(resource, place).map(|_| ()),
            None if needs_resource => fault(101, &place.element("resource"), "the entry has no resource"),
            None => Ok(()),
        }
    }

    fn check_first(&self, entries: &[Value]) -> Result<(), Fault> {
        let Some(expected) = self.first else { return Ok(()) };
        match entries.first().and_then(|entry| get_str(entry, "resource.resourceType")) {
            Some(kind) if kind == expected => Ok(()),
            _ => fault(100, "Bundle.entry[0].resource", format!("the first entry is to be a {expected}")),
        }
    }
}

/// Checks `entry.request`; true if its method goes with a resource.
fn check_request(entry: &Value, place: Place) -> Result<bool, Fault> {
    let Some(request) = entry.get("request").filter(|request| request.is_object()) else {
        return fault(101, &place.element("request"), "an entry of a transaction or batch has a request");
    };
    if get_str(request, "url").is_none_or(str::is_empty) {
        return fault(101, &place.element("request.url"), "the request has no url");
    }
    let method = || place.element("request.method");
    match get_str(request, "method") {
        Some("POST" | "PUT" | "PATCH") => Ok(true),
        Some("GET" | "HEAD" | "DELETE") => Ok(false),
        Some(_) => fault(103, &method(), "the method is none of GET, HEAD, POST, PUT, DELETE and PATCH"),
        None => fault(101, &method(), "the request has no method"),
    }
}

/// No two entries are the same resource, unless they are versions of it (bdl-7).
fn check_full_urls(entries: &[Value]) -> Result<(), Fault> {
    let mut seen: HashSet<_, foldhash::fast::RandomState> = HashSet::default();
    for (n, entry) in entries.iter().enumerate() {
        let Some(url) = get_str(entry, "fullUrl") else { continue };
        if !seen.insert((url, get_str(entry, "resource.meta.versionId"))) {
            let location = format!("Bundle.entry[{n}].fullUrl");
            return fault(
                205,
                &location,
                "an entry before has the same fullUrl, so that references to it have two meanings",
            );
        }
    }
    Ok(())
}

/// A document has an identifier and a date (bdl-9, bdl-10).
fn check_document(bundle: &Value) -> Result<(), Fault> {
    if get_str(bundle, "identifier.value").is_none() {
        return fault(101, "Bundle.identifier", "a document has an identifier with a value");
    }
    if get_str(bundle, "timestamp").is_none() {
        return fault(101, "Bundle.timestamp", "a document has a timestamp");
    }
    Ok(())
}

fn fault<T>(code: u16, location: &str, text: impl Into<String>) -> Result<T, Fault> {
    let location = Some(location.to_owned()).filter(|location| !location.is_empty());
    Err(Fault::new(code, location, text))
}
