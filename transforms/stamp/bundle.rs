//! A Bundle as a destination takes it: a transaction or a batch, each entry with its request.

use message::TransformError;
use message::provenance::Reference;
use serde_json::{Map, Value};

/// A transaction or batch, taken apart so that its entries can be changed in place.
#[derive(Debug)]
pub(super) struct Bundle {
    /// All members but `entry`.
    pub(super) fields: Map<String, Value>,
    pub(super) kind: Kind,
    pub(super) entries: Vec<Entry>,
}

/// Whether entries may refer to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All or nothing; references between entries by `fullUrl`.
    Transaction,
    /// Each entry for itself; no references between entries.
    Batch,
}

/// One entry of a Bundle.
#[derive(Debug)]
pub(super) struct Entry(pub(super) Map<String, Value>);

impl Bundle {
    /// The Bundle as a resource again.
    pub(super) fn into_value(self) -> Value {
        let mut fields = self.fields;
        if !self.entries.is_empty() {
            let entries = self.entries.into_iter().map(|entry| Value::Object(entry.0)).collect();
            fields.insert("entry".to_owned(), Value::Array(entries));
        }
        Value::Object(fields)
    }

    /// The resources that this Bundle writes, each with the index of its entry.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, &Map<String, Value>)> {
        self.entries.iter().enumerate().filter_map(|(i, entry)| Some((i, entry.record()?)))
    }

    /// The first resource of type `kind`.
    pub(super) fn first(&self, kind: &str) -> Option<&Map<String, Value>> {
        self.records().map(|(_, resource)| resource).find(|resource| kind_of(resource) == kind)
    }

    /// How another entry refers to `entry`.
    pub(super) fn reference_to(&self, entry: &Entry) -> Option<Reference> {
        let full_url = entry.full_url().filter(|_| self.kind == Kind::Transaction);
        let reference = full_url.or_else(|| entry.url().filter(|url| !url.contains('?') && url.contains('/')));
        reference.map(Reference::to).or_else(|| {
            let (system, value) = business_identifier(entry.record()?)?;
            let (system, value) = (Some(system.to_owned()), value.to_owned());
            Some(Reference::Logical { kind: None, system, value, display: None })
        })
    }
}

impl Entry {
    /// An entry that writes `resource` to `url` by PUT.
    pub(super) fn put(full_url: String, resource: Map<String, Value>, url: String) -> Self {
        let mut entry = Map::with_capacity(3);
        entry.insert("fullUrl".to_owned(), Value::String(full_url));
        entry.insert("resource".to_owned(), Value::Object(resource));
        entry.insert("request".to_owned(), request("PUT", url));
        Self(entry)
    }

    pub(super) fn full_url(&self) -> Option<&str> {
        text(&self.0, "fullUrl")
    }

    /// The request's method; empty where there is none.
    pub(super) fn method(&self) -> &str {
        self.request("method").unwrap_or_default()
    }

    /// The request's URL.
    pub(super) fn url(&self) -> Option<&str> {
        self.request("url")
    }

    fn request(&self, key: &str) -> Option<&str> {
        text(self.0.get("request")?.as_object()?, key)
    }

    pub(super) fn resource(&self) -> Option<&Map<String, Value>> {
        self.0.get("resource")?.as_object()
    }

    /// The resource, if this entry writes it: no patch, no operation, no read.
    pub(super) fn record(&self) -> Option<&Map<String, Value>> {
        if self.is_record() { self.resource() } else { None }
    }

    /// As [`Entry::record`], to change it.
    pub(super) fn record_mut(&mut self) -> Option<&mut Map<String, Value>> {
        if self.is_record() { self.0.get_mut("resource")?.as_object_mut() } else { None }
    }

    fn is_record(&self) -> bool {
        matches!(self.method(), "PUT" | "POST") && !self.url().is_some_and(|url| url.contains('$'))
    }
}

/// A `Bundle.entry.request`.
pub(super) fn request(method: &str, url: String) -> Value {
    let mut request = Map::with_capacity(2);
    request.insert("method".to_owned(), Value::from(method));
    request.insert("url".to_owned(), Value::String(url));
    Value::Object(request)
}

/// The text at `key`.
pub(super) fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The resource's type; empty where it has none.
pub(super) fn kind_of(resource: &Map<String, Value>) -> &str {
    text(resource, "resourceType").unwrap_or_default()
}

/// The objects at `key`: of an array, or the one that stands there.
pub(super) fn objects<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    let found = map.get(key);
    let many = found.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    found.and_then(Value::as_object).into_iter().chain(many.iter().filter_map(Value::as_object))
}

/// The identifier that names the resource wherever it is: the first with system and value that is
/// in use and may stand in a URL (no social security number).
pub(super) fn business_identifier(resource: &Map<String, Value>) -> Option<(&str, &str)> {
    objects(resource, "identifier").filter(|identifier| may_name(identifier)).find_map(|identifier| {
        let value = text(identifier, "value").filter(|value| !value.trim().is_empty())?;
        Some((text(identifier, "system")?, value))
    })
}

fn may_name(identifier: &Map<String, Value>) -> bool {
    let outdated = matches!(text(identifier, "use"), Some("old" | "temp"));
    let social_security = text(identifier, "system") == Some("http://hl7.org/fhir/sid/us-ssn")
        || objects(identifier, "type").flat_map(|kind| objects(kind, "coding")).any(|c| text(c, "code") == Some("SS"));
    !outdated && !social_security
}

/// An error at `location`.
pub(super) fn error(location: impl Into<String>, reason: impl Into<String>) -> TransformError {
    TransformError { location: location.into(), reason: reason.into() }
}
