//! Whose data each entry of a content is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use message::consent::by_entry::normal;
use message::json::Value;
use message::{Provider, fhir};

use super::super::patient::{self, Identifier};
use super::super::process::Hash;
use super::arrive::lanes;
use crate::store::Lane;

/// What stands for an entry without a resource: a deletion, a query.
static NOTHING: Value = Value::Null;

/// One entry of a content.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// What it is called in its Bundle.
    pub(super) full_url: Option<&'a str>,
    /// Its resource.
    pub(super) resource: &'a Value,
    /// The entry itself; the resource where that is no Bundle.
    entry: &'a Value,
}

/// The entries of a Bundle, each in its place; a resource that is no Bundle is its own.
pub(super) fn parts(content: &Value) -> Vec<Part<'_>> {
    let is_bundle = fhir::get_str(content, "resourceType") == Some("Bundle");
    match content.get("entry").and_then(Value::as_array).filter(|_| is_bundle) {
        Some(entries) => entries
            .iter()
            .map(|entry| Part {
                full_url: fhir::get_str(entry, "fullUrl").or_else(|| fhir::get_str(entry, "request.url")),
                resource: entry.get("resource").unwrap_or(&NOTHING),
                entry,
            })
            .collect(),
        None => vec![Part { full_url: None, resource: content, entry: content }],
    }
}

/// The places of what refers to each of `parts`, itself and Provenance left out.
pub(super) fn referred_by(parts: &[Part<'_>]) -> Vec<BTreeSet<usize>> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        let kind = fhir::get_str(part.resource, "resourceType").unwrap_or_default();
        let id = fhir::get_str(part.resource, "id").map(|id| format!("{kind}/{id}"));
        let url =
            part.full_url.into_iter().chain(fhir::get_str(part.entry, "request.url")).map(|url| normal(url).into());
        names.extend(url.chain(id).map(|name| (name, at)));
    }
    let mut by = vec![BTreeSet::new(); parts.len()];
    for (from, part) in parts.iter().enumerate().filter(|(_, part)| !is(part.resource, "Provenance")) {
        let mut named = |reference: &str| {
            let to = names.get(&*normal(reference)).filter(|to| **to != from);
            to.and_then(|to| by.get_mut(*to)).into_iter().for_each(|by| _ = by.insert(from));
        };
        fhir::for_each_reference(part.resource, &mut named);
        for_each_attachment(part.resource, &mut named);
    }
    by
}

/// Calls `visit` with the address of all bytes that stand elsewhere.
fn for_each_attachment(value: &Value, visit: &mut dyn FnMut(&str)) {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                if members.contains_key("contentType") {
                    members.get("url").and_then(Value::as_str).into_iter().for_each(&mut *visit);
                }
                waiting.extend(members.iter().map(|(_, value)| value));
            }
            _ => {}
        }
    }
}

/// Keyed hashes of the identifiers of all patients that a FHIR resource or Bundle is about, and whether they are several.
pub(in crate::engine) fn subjects(content: &Value, provider: &Provider, hash: &Hash) -> (Vec<Lane>, bool) {
    let people = people(&parts(content), provider, hash);
    let several = people.len() > 1;
    let all: BTreeSet<Lane> = people.into_iter().flat_map(|person| person.subjects).collect();
    (all.into_iter().collect(), several)
}

/// One patient of a content.
pub(super) struct Person {
    /// Keyed hashes of their identifiers.
    pub(super) subjects: Vec<Lane>,
    /// Their identifiers: patient data.
    pub(super) identifiers: BTreeSet<Identifier>,
    /// The entries about them; all those about nobody else are among them.
    pub(super) places: BTreeSet<usize>,
}

/// The patients that `parts` are about. Where there is one at most, everything is about them.
pub(super) fn people(parts: &[Part<'_>], provider: &Provider, hash: &Hash) -> Vec<Person> {
    let mut found = Found::default();
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| is_patient(part.resource)) {
        let mut own = patient::of_patient(part.resource, provider);
        own.extend(patient::local(part.entry, part.resource, provider));
        let id = fhir::get_str(part.resource, "id").map(|id| format!("Patient/{id}"));
        let names = part.full_url.map(|url| normal(url).into()).into_iter().chain(part.full_url.map(str::to_owned));
        let person = found.add(&own, names.chain(id));
        found.about.entry(person).or_default().insert(at);
    }
    let mut nobodys = Vec::new();
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| !is_patient(part.resource)) {
        let mut people = BTreeSet::new();
        fhir::for_each_reference(part.resource, |reference| people.extend(found.named(reference, provider)));
        if people.is_empty() {
            nobodys.push(at);
        }
        people.into_iter().for_each(|person| _ = found.about.entry(person).or_default().insert(at));
    }
    let Found { identifiers, about, .. } = found;
    let person = |(at, own): (usize, BTreeSet<Identifier>)| Person {
        subjects: lanes(hash, &own),
        identifiers: own,
        // What is about nobody may tell of anybody.
        places: about.get(&at).into_iter().flatten().chain(&nobodys).copied().collect(),
    };
    identifiers.into_iter().enumerate().map(person).collect()
}

fn is_patient(resource: &Value) -> bool {
    is(resource, "Patient")
}

fn is(resource: &Value, kind: &str) -> bool {
    fhir::get_str(resource, "resourceType") == Some(kind)
}

/// Patients found so far, by number.
#[derive(Default)]
struct Found {
    identifiers: Vec<BTreeSet<Identifier>>,
    names: BTreeMap<String, usize>,
    about: BTreeMap<usize, BTreeSet<usize>>,
}

impl Found {
    /// A patient with these identifiers and names: the same as another that has one of the identifiers.
    fn add(&mut self, own: &BTreeSet<Identifier>, names: impl Iterator<Item = String>) -> usize {
        let same = self.identifiers.iter().position(|known| !known.is_disjoint(own));
        let at = same.unwrap_or_else(|| {
            self.identifiers.push(BTreeSet::new());
            self.identifiers.len() - 1
        });
        if let Some(known) = self.identifiers.get_mut(at) {
            known.extend(own.iter().cloned());
        }
        names.for_each(|name| _ = self.names.insert(name, at));
        at
    }

    /// The patient that a reference means, if it means one.
    fn named(&mut self, reference: &str, provider: &Provider) -> Option<usize> {
        let plain = normal(reference);
        if let Some(at) = self.names.get(reference).or_else(|| self.names.get(&*plain)) {
            return Some(*at);
        }
        let referred = reference.contains("Patient").then(|| patient::referred(reference, provider)).flatten()?;
        Some(self.add(&BTreeSet::from([referred]), [plain.into()].into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use message::json::json;

    use super::*;

    fn of(content: &Value) -> Vec<(usize, Vec<usize>)> {
        let hash: Hash = Arc::new(|bytes| {
            let mut lane = [0; 16];
            lane.iter_mut().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
            lane
        });
        let provider = Provider { key: "p".into(), ..Provider::default() };
        let people = people(&parts(content), &provider, &hash);
        people.into_iter().map(|person| (person.subjects.len(), person.places.into_iter().collect())).collect()
    }

    fn patient(id: &str, mrn: &str) -> Value {
        json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": { "resourceType": "Patient", "identifier": [{ "system": "urn:x", "value": mrn }] } })
    }

    fn about(id: &str) -> Value {
        json!({ "resource": { "resourceType": "Observation", "subject": { "reference": format!("urn:uuid:{id}") } } })
    }

    #[test]
    fn tells_two_patients_of_a_bundle_apart() {
        let place = json!({ "resource": { "resourceType": "Location" } });
        let bundle = json!({ "resourceType": "Bundle", "entry": [patient("a", "1"), about("a"), patient("b", "2"), about("b"), place] });
        assert_eq!(of(&bundle), [(1, vec![0, 1, 4]), (1, vec![2, 3, 4])]);
    }

    #[test]
    fn one_patient_twice_is_one() {
        let bundle = json!({ "resourceType": "Bundle", "entry": [patient("a", "1"), patient("b", "1"), about("b")] });
        assert_eq!(of(&bundle), [(1, vec![0, 1, 2])]);
    }

    #[test]
    fn finds_a_patient_that_is_only_referred_to() {
        assert_eq!(
            of(&json!({ "resourceType": "Observation", "subject": { "reference": "Patient/7" } })),
            [(1, vec![0])]
        );
        assert!(of(&json!({ "resourceType": "Location" })).is_empty());
    }
}
