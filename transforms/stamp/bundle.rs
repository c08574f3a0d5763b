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
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// All members in order; something empty stands where `fullUrl` and `resource` belong.
    members: Map<String, Value>,
    full_url: Option<String>,
    resource: Option<Map<String, Value>>,
    /// The resource's type; empty without a resource.
    kind: String,
    method: String,
    url: Option<String>,
}

impl Bundle {
    /// The Bundle as a resource again.
    pub(super) fn into_value(self) -> Value {
        let mut fields = self.fields;
        if !self.entries.is_empty() {
            let entries = self.entries.into_iter().map(Entry::into_value).collect();
            fields.insert("entry".to_owned(), Value::Array(entries));
        }
        Value::Object(fields)
    }

    /// The entries whose resources this Bundle writes, each with its index.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, &Entry, &Map<String, Value>)> {
        self.entries.iter().enumerate().filter_map(|(i, entry)| Some((i, entry, entry.record()?)))
    }

    /// The first resource of type `kind`.
    pub(super) fn first(&self, kind: &str) -> Option<&Map<String, Value>> {
        self.records().find(|(_, entry, _)| entry.kind == kind).map(|(_, _, resource)| resource)
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
    /// An entry as it stands in a Bundle.
    pub(super) fn new(mut members: Map<String, Value>) -> Self {
        let full_url = match members.get_mut("fullUrl") {
            Some(Value::String(url)) => Some(std::mem::take(url)),
            _ => None,
        };
        let resource = match members.get_mut("resource") {
            Some(Value::Object(resource)) => Some(std::mem::take(resource)),
            _ => None,
        };
        let request = members.get("request").and_then(Value::as_object);
        let of_request = |key: &str| request.and_then(|request| text(request, key)).map(str::to_owned);
        let kind = resource.as_ref().map(|resource| kind_of(resource).to_owned()).unwrap_or_default();
        let (method, url) = (of_request("method").unwrap_or_default(), of_request("url"));
        Self { members, full_url: full_url.filter(|url| !url.is_empty()), resource, kind, method, url }
    }

    /// An entry that writes `resource` to `url` by PUT.
    pub(super) fn put(full_url: String, resource: Map<String, Value>, url: String) -> Self {
        let mut entry = Self::new(Map::from_iter([("resource".to_owned(), Value::Object(resource))]));
        entry.set_full_url(full_url);
        entry.set_put(url);
        entry
    }

    fn into_value(self) -> Value {
        let mut members = self.members;
        let resource = self.resource.map(Value::Object);
        for (key, value) in [("fullUrl", self.full_url.map(Value::String)), ("resource", resource)] {
            if let (Some(value), Some(place)) = (value, members.get_mut(key)) {
                *place = value;
            }
        }
        Value::Object(members)
    }

    pub(super) fn full_url(&self) -> Option<&str> {
        self.full_url.as_deref()
    }

    pub(super) fn set_full_url(&mut self, full_url: String) {
        if !self.members.contains_key("fullUrl") {
            self.members.shift_insert(0, "fullUrl".to_owned(), Value::Null);
        }
        self.full_url = Some(full_url);
    }

    /// The resource's type; empty without a resource.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// The request's method; empty where there is none.
    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// The request's URL.
    pub(super) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Writes the resource to `url` by PUT.
    pub(super) fn set_put(&mut self, url: String) {
        let mut request = Map::with_capacity(2);
        request.insert("method".to_owned(), Value::from("PUT"));
        request.insert("url".to_owned(), Value::from(url.as_str()));
        self.members.insert("request".to_owned(), Value::Object(request));
        "PUT".clone_into(&mut self.method);
        self.url = Some(url);
    }

    /// Another member of the entry, or of its request.
    pub(super) fn member(&self, key: &str, within: &str) -> Option<&Value> {
        self.members.get(key)?.get(within)
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.members.shift_remove(key);
    }

    pub(super) fn resource(&self) -> Option<&Map<String, Value>> {
        self.resource.as_ref()
    }

    pub(super) fn resource_mut(&mut self) -> Option<&mut Map<String, Value>> {
        self.resource.as_mut()
    }

    /// The resource, if this entry writes it: no patch, no operation, no read.
    pub(super) fn record(&self) -> Option<&Map<String, Value>> {
        self.resource.as_ref().filter(|_| self.is_write())
    }

    /// As [`Entry::record`], to change it.
    pub(super) fn record_mut(&mut self) -> Option<&mut Map<String, Value>> {
        if self.is_write() { self.resource.as_mut() } else { None }
    }

    fn is_write(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "POST") && !self.url().is_some_and(|url| url.contains('$'))
    }
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
