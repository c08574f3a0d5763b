//! What a message became: its outputs, and of each record in them who did what to it by its Provenance. No patient
//! data: types, the engine's own ids, ids that destinations gave, roles, codes, hashes.

use std::collections::BTreeMap;

use message::json::Value;
use message::{Format, Sha256, fhir};
use serde::{Deserialize, Serialize};

use crate::store::{DeliveryId, NewOutput};

/// The text at the end of `path`.
fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    let found = path.iter().try_fold(value, |value, key| match value {
        Value::Array(items) => items.first()?.get(*key),
        _ => value.get(*key),
    });
    found.and_then(Value::as_str).unwrap_or_default()
}

/// What a message became for some of its destinations.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LineageOutput {
    /// What it is.
    pub format: Format,
    /// SHA-256 of its bytes, before what a destination may not have is taken out; `None` for the bytes as they came.
    pub sha256: Option<String>,
    /// The engine that put it together, with its version.
    pub engine: String,
    /// Its records.
    pub records: Vec<LineageRecord>,
}

/// One record of an output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LineageRecord {
    /// Its type.
    pub kind: String,
    /// How the engine names it: the entry's `fullUrl`, or `Type/id`.
    pub name: String,
    /// What is told of how it came about.
    pub provenance: Vec<LineageProvenance>,
    /// Where deliveries wrote it: `Patient/42/_history/3`.
    pub written: Vec<LineageWritten>,
}

/// One Provenance of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageProvenance {
    /// Its id.
    pub id: String,
    /// The activity's code; empty where none is told.
    pub activity: String,
    /// The roles of who took part.
    pub roles: Vec<String>,
    /// By which versions: mapping, label rules, configuration.
    pub policy: Vec<String>,
    /// The hashes of the bytes that it was made from.
    pub sources: Vec<String>,
}

/// Where a delivery wrote a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageWritten {
    /// The delivery.
    pub delivery: DeliveryId,
    /// What the destination calls it, with its version where it has one.
    pub location: String,
}

/// What `output` holds, and where `answers` of destinations say that its records were written.
pub(super) fn of_output(output: &NewOutput, answers: &[(DeliveryId, Value)]) -> LineageOutput {
    let sha256 = output.bytes.as_ref().map(|bytes| Sha256::of(bytes).to_string());
    let read = output.bytes.as_ref().filter(|_| output.format == Format::FhirJson);
    let bundle = read.and_then(|bytes| fhir::read(bytes, &fhir::Limits::default()).ok()).unwrap_or_default();
    let provenance = provenance(&bundle);
    let records = entries(&bundle).iter().enumerate().filter(|(_, entry)| kind(entry) != "Provenance");
    let records = records.map(|(place, entry)| {
        let written = answers.iter().filter_map(|(delivery, answer)| {
            Some(LineageWritten { delivery: *delivery, location: location(&bundle, place, answer)? })
        });
        LineageRecord {
            kind: kind(entry).to_owned(),
            name: name(entry),
            provenance: names(entry).filter_map(|name| provenance.get(name)).flatten().cloned().collect(),
            written: written.collect(),
        }
    });
    LineageOutput { format: output.format, sha256, engine: engine(&bundle), records: records.collect() }
}

pub(super) fn entries(bundle: &Value) -> &[Value] {
    bundle.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn kind(entry: &Value) -> &str {
    text(entry, &["resource", "resourceType"])
}

/// How a record may be told of: a search by identifier names a patient.
fn name(entry: &Value) -> String {
    names(entry).find(|name| !name.contains('?')).unwrap_or_default().to_owned()
}

fn names(entry: &Value) -> impl Iterator<Item = &str> {
    [text(entry, &["fullUrl"]), text(entry, &["request", "url"])].into_iter().filter(|name| !name.is_empty())
}

/// What is told of each record, by its names.
fn provenance(bundle: &Value) -> BTreeMap<&str, Vec<LineageProvenance>> {
    let mut told: BTreeMap<&str, Vec<LineageProvenance>> = BTreeMap::new();
    for entry in entries(bundle).iter().filter(|entry| kind(entry) == "Provenance") {
        let resource = entry.get("resource").unwrap_or(&Value::Null);
        let items = |key: &str| resource.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let sources = items("entity").iter().map(|entity| text(entity, &["what", "identifier", "value"]));
        let one = LineageProvenance {
            id: text(resource, &["id"]).to_owned(),
            activity: text(resource, &["activity", "coding", "code"]).to_owned(),
            roles: items("agent").iter().map(|agent| text(agent, &["type", "coding", "code"]).to_owned()).collect(),
            policy: items("policy").iter().filter_map(|policy| policy.as_str().map(str::to_owned)).collect(),
            sources: sources.filter(|source| source.starts_with("ni:")).map(str::to_owned).collect(),
        };
        for target in items("target") {
            told.entry(text(target, &["reference"])).or_default().push(one.clone());
        }
    }
    told
}

/// The engine that put `bundle` together.
fn engine(bundle: &Value) -> String {
    let agents = entries(bundle).iter().filter_map(|entry| entry.get("resource")?.get("agent")?.as_array()).flatten();
    let mut assemblers = agents.filter(|agent| text(agent, &["type", "coding", "code"]) == "assembler");
    assemblers.next_back().map(|agent| text(agent, &["who", "display"]).to_owned()).unwrap_or_default()
}

/// What `answer`, to a transaction or batch, says of the entry at `place`: `Patient/42/_history/3`. Where entries
/// were taken out before it left, only what cannot be another's.
pub(super) fn location(bundle: &Value, place: usize, answer: &Value) -> Option<String> {
    let (sent, answered) = (entries(bundle), entries(answer));
    let own = sent.get(place)?;
    let of = |entry: &Value| tail(text(entry, &["response", "location"])).map(str::to_owned);
    if sent.len() == answered.len() {
        return of(answered.get(place)?);
    }
    let url = text(own, &["request", "url"]);
    let mut alike = answered.iter().filter_map(of).filter(|location| location.split('/').next() == Some(kind(own)));
    let first = alike.clone().find(|location| location.split("/_history").next() == Some(url));
    let alone = sent.iter().filter(|entry| kind(entry) == kind(own)).count() == 1;
    first.or_else(|| alike.next().filter(|_| alone))
}

/// `Patient/42/_history/3` of a location, which may be a whole URL.
pub(super) fn tail(location: &str) -> Option<&str> {
    let parts: Vec<&str> = location.split('/').collect();
    let at = parts.iter().rposition(|part| fhir::is_resource_type(part))?;
    let start: usize = parts.iter().take(at).map(|part| part.len() + 1).sum();
    location.get(start..).filter(|tail| tail.contains('/'))
}

#[cfg(test)]
mod tests {
    use message::json::json;

    use super::*;

    #[test]
    fn a_location_is_that_of_the_entry_or_of_nothing_else() {
        assert_eq!(tail("https://fhir.example.org/r4/Patient/42/_history/3"), Some("Patient/42/_history/3"));
        assert_eq!(tail("Patient/42"), Some("Patient/42"));
        assert_eq!(tail("nothing/42"), None);
        let entry = |kind: &str, url: &str| json!({ "resource": { "resourceType": kind }, "request": { "url": url } });
        let bundle = json!({ "entry": [
            entry("Patient", "Patient?identifier=x"), entry("Observation", "Observation/a"), entry("Observation", "Observation/b"),
        ] });
        let at = |location: &str| json!({ "response": { "location": location } });
        let whole = json!({ "entry": [at("Patient/1"), at("Observation/a"), at("Observation/b/_history/2")] });
        assert_eq!(location(&bundle, 2, &whole).as_deref(), Some("Observation/b/_history/2"));
        let redacted = json!({ "entry": [at("Patient/1"), at("Observation/b/_history/2")] });
        assert_eq!(location(&bundle, 0, &redacted).as_deref(), Some("Patient/1"));
        assert_eq!(location(&bundle, 1, &redacted), None);
        assert_eq!(location(&bundle, 2, &redacted).as_deref(), Some("Observation/b/_history/2"));
    }
}
