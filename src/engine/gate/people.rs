//! Whose data each entry of a content is. Pure.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use message::consent::by_entry::{changed, normal};
use message::json::{Text, Value};
use message::{Provider, fhir};

use super::super::patient::{self, Identifier, Mention, Mentions};
use super::super::process::Hash;
use super::arrive::lanes;
use crate::store::Lane;

/// What stands for an entry without a resource: a deletion, a query.
static NOTHING: Value = Value::Null;

/// One entry of a content.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// What it is called in its Bundle.
    pub(super) full_url: Option<&'a Text>,
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
                full_url: entry.get("fullUrl").and_then(Value::as_text).or_else(|| url_of(entry)),
                resource: entry.get("resource").unwrap_or(&NOTHING),
                entry,
            })
            .collect(),
        None => vec![Part { full_url: None, resource: content, entry: content }],
    }
}

/// Where an entry asks to be written.
fn url_of(entry: &Value) -> Option<&Text> {
    entry.get("request")?.get("url")?.as_text()
}

/// The places of what refers to each of `parts`, itself and Provenance left out.
pub(super) fn referred_by(parts: &[Part<'_>]) -> Vec<BTreeSet<usize>> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        let kind = fhir::get_str(part.resource, "resourceType").unwrap_or_default();
        let id = fhir::get_str(part.resource, "id").map(|id| format!("{kind}/{id}"));
        let url = part.full_url.into_iter().chain(url_of(part.entry)).map(|url| normal(url).into());
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
    let people = people(&parts(content), provider);
    let several = people.len() > 1;
    let all: BTreeSet<Lane> = people.iter().flat_map(|person| person.subjects(hash)).collect();
    (all.into_iter().collect(), several)
}

/// One patient of a content.
#[derive(Clone)]
pub(super) struct Person {
    /// Their identifiers: patient data.
    pub(super) identifiers: BTreeSet<Identifier>,
    /// The entries about them; all those about nobody else are among them.
    pub(super) places: BTreeSet<usize>,
}

impl Person {
    /// Keyed hashes of their identifiers.
    pub(super) fn subjects(&self, hash: &Hash) -> Vec<Lane> {
        lanes(hash, &self.identifiers)
    }
}

/// The patients that `parts` are about. Where there is one at most, everything is about them.
pub(super) fn people(parts: &[Part<'_>], provider: &Provider) -> Vec<Person> {
    let mut found = Found::default();
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| is_patient(part.resource)) {
        let mut own = patient::of_patient(part.resource, provider);
        own.extend(patient::local(part.entry, part.resource, provider));
        let id = fhir::get_str(part.resource, "id").map(|id| Text::from(format!("Patient/{id}")));
        let names = part.full_url.map(|url| normal(url)).into_iter().chain(part.full_url.cloned());
        let person = found.add(&own, names.chain(id));
        found.about.entry(person).or_default().insert(at);
    }
    let mut nobodys = Vec::new();
    let mut mentions = Mentions::default();
    let (mut strangers, others) = (false, LazyCell::new(|| names_of(parts)));
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| !is_patient(part.resource)) {
        let mut people = BTreeSet::new();
        mentions.for_each(part.resource, &mut |mention| {
            let named = mention.reference().and_then(|reference| found.named(reference, provider));
            people.extend(named);
            if mention.is_reference() {
                match found.mentioned(mention, named, part.resource, provider) {
                    Some(person) => _ = people.insert(person),
                    None => strangers |= is_stranger(mention, &others),
                }
            }
        });
        if people.is_empty() {
            nobodys.push(at);
        }
        people.into_iter().for_each(|person| _ = found.about.entry(person).or_default().insert(at));
    }
    if strangers && found.identifiers.is_empty() {
        // It tells of somebody, and not of whom.
        found.identifiers.push(BTreeSet::new());
    }
    let Found { identifiers, about, .. } = found;
    let person = |(at, own): (usize, BTreeSet<Identifier>)| Person {
        identifiers: own,
        // What is about nobody may tell of anybody.
        places: about.get(&at).into_iter().flatten().chain(&nobodys).copied().collect(),
    };
    identifiers.into_iter().enumerate().map(person).collect()
}

/// What all of `parts` are called.
fn names_of(parts: &[Part<'_>]) -> BTreeSet<Text> {
    let id = |part: &Part<'_>| {
        Some([fhir::get_str(part.resource, "resourceType")?, "/", fhir::get_str(part.resource, "id")?].concat().into())
    };
    let urls = parts.iter().filter_map(|part| part.full_url).map(|url| normal(url));
    urls.chain(parts.iter().filter_map(id)).collect()
}

/// True where somebody is named as whose data it is, and cannot be told from others.
fn is_stranger(mention: Mention<'_>, others: &LazyCell<BTreeSet<Text>, impl FnOnce() -> BTreeSet<Text>>) -> bool {
    if !mention.is_patient() {
        return false;
    }
    let Some(reference) = mention.reference() else { return true };
    let plain = normal(reference);
    // A group, a device, a place.
    let other = plain.split_once('/').is_some_and(|(kind, _)| kind != "Patient" && fhir::is_resource_type(kind));
    !other && !others.contains(&plain)
}

fn is_patient(resource: &Value) -> bool {
    is(resource, "Patient")
}

fn is(resource: &Value, kind: &str) -> bool {
    fhir::get_str(resource, "resourceType") == Some(kind)
}

/// So many names are looked through; more are looked up.
const FEW: usize = 8;

/// Patients found so far, by number.
#[derive(Default)]
struct Found {
    identifiers: Vec<BTreeSet<Identifier>>,
    names: HashMap<Text, usize, foldhash::fast::RandomState>,
    about: BTreeMap<usize, BTreeSet<usize>>,
}

impl Found {
    /// A patient with these identifiers and names: the same as another that has one of the identifiers.
    fn add(&mut self, own: &BTreeSet<Identifier>, names: impl Iterator<Item = Text>) -> usize {
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

    /// The patient that is named, if it is one: by an identifier, by what is contained, or by a reference, which means
    /// the patient `named`.
    fn mentioned(
        &mut self,
        mention: Mention<'_>,
        named: Option<usize>,
        within: &Value,
        provider: &Provider,
    ) -> Option<usize> {
        let identifier = mention.identifier(provider);
        let Some(reference) = mention.reference() else {
            return Some(self.add(&BTreeSet::from([identifier?]), [].into_iter()));
        };
        if let Some(inner) = reference.strip_prefix('#') {
            let contained = within.get("contained").and_then(Value::as_array).into_iter().flatten();
            let person = contained.filter(|one| is_patient(one)).find(|one| fhir::get_str(one, "id") == Some(inner))?;
            return Some(self.add(&patient::of_patient(person, provider), [].into_iter()));
        }
        let at = named?;
        self.identifiers.get_mut(at)?.extend(identifier);
        Some(at)
    }

    fn called(&self, name: &str) -> Option<usize> {
        // Most are of one patient, and most references are to something else.
        if self.names.len() <= FEW {
            return self.names.iter().find(|(known, _)| **known == *name).map(|(_, at)| *at);
        }
        self.names.get(name).copied()
    }

    /// The patient that a reference means, if it means one.
    fn named(&mut self, reference: &str, provider: &Provider) -> Option<usize> {
        if let Some(at) = self.called(reference) {
            return Some(at);
        }
        let plain = changed(reference);
        if let Some(at) = plain.as_ref().and_then(|plain| self.called(plain)) {
            return Some(at);
        }
        let referred = reference.contains("Patient").then(|| patient::referred(reference, provider)).flatten()?;
        let plain = plain.unwrap_or_else(|| reference.into());
        Some(self.add(&BTreeSet::from([referred]), [plain].into_iter()))
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
        let people = people(&parts(content), &provider);
        people.into_iter().map(|person| (person.subjects(&hash).len(), person.places.into_iter().collect())).collect()
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
    fn finds_a_patient_by_an_identifier_alone() {
        let by = |subject: Value| of(&json!({ "resourceType": "Observation", "subject": subject }));
        let identifier = json!({ "system": "urn:x", "value": "1" });
        let one = vec![(1, vec![0])];
        assert_eq!(by(json!({ "identifier": identifier })), one);
        assert_eq!(by(json!({ "reference": "Patient?identifier=urn:x%7C1" })), one);
        assert_eq!(
            by(json!({ "reference": "Patient/7", "identifier": identifier })),
            [(2, vec![0])],
            "both are theirs"
        );
        assert!(by(json!({ "type": "Group", "identifier": identifier })).is_empty());
        assert!(by(json!({ "reference": "Group/7" })).is_empty());
        let contained = json!({ "resourceType": "Observation", "subject": { "reference": "#p" },
            "contained": [{ "resourceType": "Patient", "id": "p", "identifier": [identifier] }] });
        assert_eq!(of(&contained), one);
    }

    #[test]
    fn whoever_cannot_be_told_is_somebody() {
        let by = |subject: Value| of(&json!({ "resourceType": "Observation", "subject": subject }));
        let somebody = vec![(0, vec![0])];
        assert_eq!(by(json!({ "display": "A" })), somebody);
        assert_eq!(by(json!({ "reference": "urn:uuid:nowhere" })), somebody);
        assert_eq!(by(json!({ "reference": "#nothing" })), somebody);
        let bundle = json!({ "resourceType": "Bundle", "entry": [
            { "fullUrl": "urn:uuid:g", "resource": { "resourceType": "Group" } }, about("g"), { "resource": { "resourceType": "Location" } }
        ] });
        assert!(of(&bundle).is_empty(), "a group is nobody");
        let known = json!({ "resourceType": "Bundle", "entry": [patient("a", "1"),
            { "resource": { "resourceType": "Observation", "subject": { "display": "A" } } }] });
        assert_eq!(of(&known), [(1, vec![0, 1])], "what names nobody else is about the only one");
    }

    #[test]
    fn what_records_have_in_common_is_looked_at_for_each_that_it_says_something_of() {
        let with = |meta: Value| {
            let mut meta = meta.as_object().cloned().unwrap_or_default();
            meta.share();
            let one = |id: &str| {
                let mut about = about(id);
                let resource = about.get_mut("resource").and_then(Value::as_object_mut).unwrap();
                resource.insert("meta", Value::Object(meta.clone()));
                about
            };
            let bundle = json!({ "resourceType": "Bundle", "entry": [patient("a", "1"), patient("b", "2"), one("a"), one("a"), one("b")] });
            of(&bundle)
        };
        let apart = vec![(1, vec![0, 2, 3]), (1, vec![1, 4])];
        assert_eq!(with(json!({ "security": [{ "system": "urn:x", "code": "N", "display": "normal" }] })), apart);
        let named = json!({ "extension": [{ "url": "urn:x", "valueReference": { "reference": "urn:uuid:b" } }] });
        assert_eq!(with(named), [(1, vec![0, 2, 3]), (1, vec![1, 2, 3, 4])], "each is about whom it names");
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
