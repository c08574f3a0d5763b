//! De-identification by the Safe Harbor rule (45 CFR 164.514(b)(2)): what is left of a Bundle names nobody.
//!
//! Not what is known to identify is taken out: what is known *not* to is all that stays. By FHIR R4's own table of types,
//! an element stays if its type is one that can hold no identifier of a person (a code of a system, a quantity, a
//! boolean, the year of a date), of a resource of a type that is listed here. Names, addresses below a state but for three
//! digits of a ZIP code, dates below the year, telephone numbers, addresses of mail and of the web, every identifier, free
//! text, narrative, attachments, extensions and contained resources go; so do ages over 89 and years that tell of one.
//! Ids and references are renamed.

mod element;
mod places;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use uuid::Uuid;

use super::by_entry::identifier;
use super::marks::high_water_mark;
use crate::consent::OBSERVATION_VALUE;
use crate::json::{Map, Value, json};

use element::Cleaning;

/// Where the code systems of labels are.
const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem/";
const PROCESSING_ID: &str = "http://terminology.hl7.org/CodeSystem/v2-0103";

/// Bundles that say nothing of anybody by themselves. A document or a message has a head that does.
const BUNDLES: [&str; 5] = ["transaction", "batch", "collection", "searchset", "batch-response"];

/// Resource types of which something is left.
const KEPT: [&str; 16] = [
    "AllergyIntolerance",
    "Condition",
    "DiagnosticReport",
    "Encounter",
    "Goal",
    "Immunization",
    "Medication",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Patient",
    "Procedure",
    "ServiceRequest",
    "Specimen",
];

/// The system of pseudonyms, and the one that follows from an identifier.
pub type Pseudonyms<'a> = (&'a str, &'a dyn Fn(&str) -> Uuid);

/// How a Bundle is de-identified.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    /// The year of the decision: what is ninety years older tells of an age over 89.
    pub year: i16,
    /// The new name of a resource that is called so in its Bundle. It must not follow from what it is about.
    pub rename: &'a dyn Fn(&str) -> Uuid,
    /// The lasting pseudonym of a person who goes by an identifier (`SYSTEM|VALUE`), and its system; none is given where
    /// `None`.
    pub pseudonym: Option<Pseudonyms<'a>>,
}

/// What of a Bundle may go to somebody who is not to know whom it is about.
///
/// # Errors
///
/// Why it cannot be de-identified.
pub fn deidentify(bundle: &Value, rule: &Rule<'_>) -> Result<Value, &'static str> {
    let kind = bundle.get("type").and_then(Value::as_str).filter(|kind| BUNDLES.contains(kind));
    let kind = kind.ok_or("what is no plain Bundle names whom it is about")?;
    let entries = bundle.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut kept: Vec<Part<'_>> = entries.iter().enumerate().filter_map(|(at, entry)| Part::of(at, entry)).collect();
    // What cannot stand without something that goes, goes as well; references to it then go too.
    let cleaned: Vec<Map> = loop {
        let names = names(&kept, rule);
        let cleaning = Cleaning { year: rule.year, names: &names };
        let each: Vec<Option<Map>> = kept.iter().map(|part| cleaning.resource(part.resource)).collect();
        let stands: Vec<bool> = each.iter().map(Option::is_some).collect();
        if stands.iter().all(|stands| *stands) {
            break each.into_iter().flatten().collect();
        }
        kept = kept.into_iter().zip(stands).filter_map(|(part, stands)| stands.then_some(part)).collect();
    };
    if kept.iter().all(|part| part.kind == "Patient") {
        return Err("nothing is left of it but that there is somebody");
    }
    let integrity = if rule.pseudonym.is_some() { "PSEUDED" } else { "ANONYED" };
    let mut left = Vec::with_capacity(cleaned.len());
    for (mut resource, part) in cleaned.into_iter().zip(kept) {
        if let Some((system, pseudonym)) = rule.pseudonym.filter(|_| part.kind == "Patient") {
            let own = part.identifier().ok_or("whom it is about cannot be told apart from others")?;
            resource.put("identifier", json!([{ "system": system, "value": pseudonym(&own).to_string() }]));
        }
        let id = (rule.rename)(&part.name());
        resource.put_at(1, "id", json!(id.to_string()));
        resource.put_at(2, "meta", meta(part.resource, integrity));
        left.push(part.rewrapped(resource, id));
    }
    let mut mark = high_water_mark(left.iter().filter_map(|entry| entry.get("resource")));
    mark.push(json!({ "system": OBSERVATION_VALUE, "code": integrity }));
    Ok(json!({ "resourceType": "Bundle", "meta": { "security": mark }, "type": kind, "entry": left }))
}

/// An entry of which something may stay.
struct Part<'a> {
    at: usize,
    entry: &'a Value,
    resource: &'a Map,
    kind: &'a str,
}

impl<'a> Part<'a> {
    /// `None` for what is of no listed type, and for what is to be erased or asked.
    fn of(at: usize, entry: &'a Value) -> Option<Self> {
        let resource = entry.get("resource")?.as_object()?;
        let kind = resource.get("resourceType")?.as_str().filter(|kind| KEPT.contains(kind))?;
        let method = entry.get("request").and_then(|request| request.get("method")?.as_str());
        matches!(method, None | Some("PUT" | "POST")).then_some(Self { at, entry, resource, kind })
    }

    /// All that it is called in its Bundle, the first what its new name follows from.
    fn called(&self) -> Vec<String> {
        let url = self.entry.get("fullUrl").and_then(Value::as_str).map(str::to_owned);
        let id = self.resource.get("id").and_then(Value::as_str).map(|id| format!("{}/{id}", self.kind));
        url.into_iter().chain(id).chain([format!("#{}", self.at)]).collect()
    }

    fn name(&self) -> String {
        self.called().into_iter().next().unwrap_or_default()
    }

    /// The identifier that a person's pseudonym follows from: the first in the order of their systems.
    fn identifier(&self) -> Option<String> {
        let identifiers = self.resource.get("identifier")?.as_array()?;
        identifiers.iter().filter_map(identifier).map(String::from).min()
    }

    /// The entry around what is left, with a request that tells nothing either.
    fn rewrapped(&self, resource: Map, id: Uuid) -> Value {
        let mut members = Map::new();
        members.put("fullUrl", json!(format!("urn:uuid:{id}")));
        members.put("resource", Value::Object(resource));
        if self.entry.get("request").is_some() {
            members.put("request", json!({ "method": "PUT", "url": format!("{}/{id}", self.kind) }));
        }
        if let Some(mode) = self.entry.get("search").and_then(|search| search.get("mode")?.as_str()) {
            members.put("search", json!({ "mode": if mode == "include" { mode } else { "match" } }));
        }
        Value::Object(members)
    }
}

/// The new id of each entry, by all that it is called.
fn names(kept: &[Part<'_>], rule: &Rule<'_>) -> BTreeMap<String, Uuid> {
    let each = kept.iter().map(|part| ((rule.rename)(&part.name()), part.called()));
    each.flat_map(|(id, called)| called.into_iter().map(move |name| (name, id))).collect()
}

/// What `meta` says of how to handle it, and nothing of where it came from.
fn meta(resource: &Map, integrity: &str) -> Value {
    let meta = resource.get("meta");
    let listed = |key: &str| meta.and_then(|meta| meta.get(key)?.as_array()).map(Vec::as_slice).unwrap_or_default();
    let text = |label: &Value, key: &str| label.get(key).and_then(Value::as_str).map(str::to_owned);
    let coding = |label: &Value| {
        let system = text(label, "system").filter(|system| system.starts_with(TERMINOLOGY))?;
        Some(json!({ "system": system, "code": text(label, "code")? }))
    };
    let mut security: Vec<Value> = listed("security").iter().filter_map(coding).collect();
    security.push(json!({ "system": OBSERVATION_VALUE, "code": integrity }));
    let tags = listed("tag").iter().filter_map(coding);
    let tags: Vec<Value> = tags.filter(|tag| text(tag, "system").as_deref() == Some(PROCESSING_ID)).collect();
    let mut meta = Map::new();
    meta.put("security", Value::Array(security));
    if !tags.is_empty() {
        meta.put("tag", Value::Array(tags));
    }
    Value::Object(meta)
}
