//! A Bundle as a destination takes it: a transaction or a batch, each entry with its request.

use message::TransformError;
use message::json::{Map, Text, Value};
use message::provenance::Reference;

/// A transaction or batch, taken apart so that its entries can be changed in place.
#[derive(Debug)]
pub(super) struct Bundle {
    /// All members but `entry`.
    pub(super) fields: Map,
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
    members: Map,
    full_url: Option<Text>,
    resource: Option<Map>,
    /// The resource's type; empty without a resource.
    kind: Text,
    method: Text,
    url: Option<Text>,
    /// It writes its resource.
    writes: bool,
}

impl Bundle {
    /// The Bundle as a resource again.
    pub(super) fn into_value(self) -> Value {
        let mut fields = self.fields;
        if !self.entries.is_empty() {
            let entries = self.entries.into_iter().map(Entry::into_value).collect();
            fields.insert("entry", Value::Array(entries));
        }
        Value::Object(fields)
    }

    /// The entries whose resources this Bundle writes, each with its index.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, &Entry, &Map)> {
        self.entries.iter().enumerate().filter_map(|(i, entry)| Some((i, entry, entry.record()?)))
    }

    /// The first resource of type `kind`.
    pub(super) fn first(&self, kind: &str) -> Option<&Map> {
        self.records().find(|(_, entry, _)| entry.kind == kind).map(|(_, _, resource)| resource)
    }

    /// How another entry refers to `entry`.
    pub(super) fn reference_to(&self, entry: &Entry) -> Option<Reference> {
        let full_url = entry.full_url.as_ref().filter(|_| self.kind == Kind::Transaction);
        let reference = full_url.or_else(|| entry.url.as_ref().filter(|url| !url.contains('?') && url.contains('/')));
        reference.cloned().map(Reference::to).or_else(|| {
            let (system, value) = business_identifier(entry.record()?)?;
            let (system, value) = (Some(system.into()), value.into());
            Some(Reference::Logical { kind: None, system, value, display: None })
        })
    }
}

impl Entry {
    /// An entry as it stands in a Bundle.
    pub(super) fn new(mut members: Map) -> Self {
        let (mut full_url, mut resource, mut method, mut url) = (None, None, None, None);
        for (name, value) in members.iter_mut() {
            match (name.as_str(), value) {
                ("fullUrl", Value::String(own)) => full_url = Some(std::mem::take(own)),
                ("resource", Value::Object(own)) => resource = Some(std::mem::take(own)),
                ("request", Value::Object(own)) => {
                    (method, url) = (text_of(own, "method").cloned(), text_of(own, "url").cloned());
                }
                _ => {}
            }
        }
        let kind =
            resource.as_ref().and_then(|resource| text_of(resource, "resourceType")).cloned().unwrap_or_default();
        let method = method.unwrap_or_default();
        let writes = is_write(&method, url.as_deref());
        Self { members, full_url: full_url.filter(|url| !url.is_empty()), resource, kind, method, url, writes }
    }

    /// An entry that writes `resource` to `url` by PUT.
    pub(super) fn put(full_url: Text, resource: Map, url: Text) -> Self {
        let mut members = Map::with_capacity(3);
        members.put("fullUrl", full_url);
        members.put("resource", resource);
        let mut entry = Self::new(members);
        entry.set_put(url);
        entry
    }

    /// Makes clones of it cost little, as long as its resource is not changed.
    pub(super) fn share(&mut self) {
        self.resource.iter_mut().for_each(Map::share);
        self.members.get_mut("request").into_iter().for_each(Value::share);
    }

    fn into_value(self) -> Value {
        let Self { mut members, mut full_url, mut resource, .. } = self;
        for (name, value) in members.iter_mut() {
            match name.as_str() {
                "fullUrl" => full_url.take().into_iter().for_each(|own| *value = Value::String(own)),
                "resource" => resource.take().into_iter().for_each(|own| *value = Value::Object(own)),
                _ => {}
            }
        }
        Value::Object(members)
    }

    pub(super) fn full_url(&self) -> Option<&str> {
        self.full_url.as_deref()
    }

    pub(super) fn set_full_url(&mut self, full_url: Text) {
        if !self.members.contains_key("fullUrl") {
            self.members.shift_insert(0, "fullUrl", Value::Null);
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
    pub(super) fn set_put(&mut self, url: Text) {
        self.method = Text::new_static("PUT");
        let request = [("method", self.method.clone().into()), ("url", url.clone().into())];
        self.members.insert("request", Value::object(request));
        self.writes = is_write(&self.method, Some(&url));
        self.url = Some(url);
    }

    /// Another member of the entry, or of its request.
    pub(super) fn member(&self, key: &str, within: &str) -> Option<&Value> {
        self.members.get(key)?.get(within)
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.members.shift_remove(key);
    }

    pub(super) fn resource(&self) -> Option<&Map> {
        self.resource.as_ref()
    }

    pub(super) fn resource_mut(&mut self) -> Option<&mut Map> {
        self.resource.as_mut()
    }

    /// The resource, if this entry writes it: no patch, no operation, no read.
    pub(super) fn record(&self) -> Option<&Map> {
        self.resource.as_ref().filter(|_| self.writes)
    }

    /// As [`Entry::record`], to change it.
    pub(super) fn record_mut(&mut self) -> Option<&mut Map> {
        if self.writes { self.resource.as_mut() } else { None }
    }
}

fn is_write(method: &str, url: Option<&str>) -> bool {
    matches!(method, "PUT" | "POST") && !url.is_some_and(|url| url.as_bytes().contains(&b'$'))
}

/// The text at `key`.
pub(super) fn text<'a>(map: &'a Map, key: &str) -> Option<&'a str> {
    text_of(map, key).map(Text::as_str)
}

/// As [`text`], to be shared.
fn text_of<'a>(map: &'a Map, key: &str) -> Option<&'a Text> {
    match map.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// The resource's type; empty where it has none.
pub(super) fn kind_of(resource: &Map) -> &str {
    text(resource, "resourceType").unwrap_or_default()
}

/// The objects at `key`: of an array, or the one that stands there.
pub(super) fn objects<'a>(map: &'a Map, key: &str) -> impl Iterator<Item = &'a Map> {
    let found = map.get(key);
    let many = found.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    found.and_then(Value::as_object).into_iter().chain(many.iter().filter_map(Value::as_object))
}

/// The identifier that names the resource wherever it is: the first with system and value that is
/// in use and may stand in a URL (no social security number).
pub(super) fn business_identifier(resource: &Map) -> Option<(&str, &str)> {
    objects(resource, "identifier").filter(|identifier| may_name(identifier)).find_map(|identifier| {
        let value = text(identifier, "value").filter(|value| !value.trim().is_empty())?;
        Some((text(identifier, "system")?, value))
    })
}

fn may_name(identifier: &Map) -> bool {
    let outdated = matches!(text(identifier, "use"), Some("old" | "temp"));
    let social_security = text(identifier, "system") == Some("http://hl7.org/fhir/sid/us-ssn")
        || objects(identifier, "type").flat_map(|kind| objects(kind, "coding")).any(|c| text(c, "code") == Some("SS"));
    !outdated && !social_security
}

/// An error at `location`.
pub(super) fn error(location: impl Into<String>, reason: impl Into<String>) -> TransformError {
    TransformError { location: location.into(), reason: reason.into() }
}
