//! The resources themselves, with their versions and an index of what they are found by.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::search::{Parameter, Query, Term, terms};

/// Versions kept of each resource.
const KEPT_VERSIONS: usize = 10;

pub(super) struct Store {
    tables: HashMap<Kind, Table>,
    max: usize,
    /// Resources held, deleted ones too: they are remembered.
    held: usize,
    versions: u64,
    next_id: u64,
}

/// All resources of one type.
#[derive(Default)]
struct Table {
    rows: HashMap<String, Row>,
    by_term: BTreeMap<Term, Vec<String>>,
}

struct Row {
    /// Its place among all resources, by the time of its first version.
    number: u64,
    /// What it is found by now; nothing once it is deleted.
    terms: Vec<Term>,
    /// The last ones; never empty.
    versions: VecDeque<Version>,
}

/// One version of a resource.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) at: Timestamp,
    /// Compact JSON with its id, without `meta.versionId` and `meta.lastUpdated`; `None` if this
    /// version is the deletion.
    pub(super) content: Option<Bytes>,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Created,
    Updated,
    /// It was there already, and no version was made.
    None,
}

impl Version {
    /// As it is read: with its version and its time. Null for a deletion.
    pub(super) fn render(&self) -> Value {
        // What is stored was written from a Value: it reads.
        let parsed = self.content.as_ref().and_then(|content| serde_json::from_slice(content).ok());
        let Some(Value::Object(mut resource)) = parsed else { return Value::Null };
        let place = resource.len().min(2);
        if !resource.contains_key("meta") {
            resource.shift_insert(place, "meta".to_owned(), json!({}));
        }
        if let Some(Value::Object(meta)) = resource.get_mut("meta") {
            meta.insert("versionId".to_owned(), Value::from(self.number.to_string()));
            meta.insert("lastUpdated".to_owned(), Value::from(instant(self.at)));
        }
        Value::Object(resource)
    }
}

/// FHIR R4 `instant`, in milliseconds.
pub(super) fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

impl Store {
    pub(super) fn new(max: usize) -> Self {
        Self { tables: HashMap::new(), max, held: 0, versions: 0, next_id: 0 }
    }

    pub(super) fn has_room_for(&self, new: usize) -> bool {
        self.held + new <= self.max
    }

    pub(super) fn versions(&self) -> u64 {
        self.versions
    }

    pub(super) fn counts(&self) -> BTreeMap<Kind, usize> {
        let live = |table: &Table| table.rows.values().filter(|row| row.live().is_some()).count();
        self.tables.iter().map(|(kind, table)| (*kind, live(table))).filter(|(_, count)| *count > 0).collect()
    }

    /// Every version kept, oldest first; nothing if the resource never was.
    pub(super) fn history(&self, kind: Kind, id: &str) -> impl DoubleEndedIterator<Item = &Version> {
        self.row(kind, id).into_iter().flat_map(|row| &row.versions)
    }

    /// The version that stands, unless it is a deletion.
    pub(super) fn current(&self, kind: Kind, id: &str) -> Option<&Version> {
        self.row(kind, id)?.live()
    }

    /// The last version, be it a deletion.
    pub(super) fn last(&self, kind: Kind, id: &str) -> Option<&Version> {
        self.row(kind, id)?.versions.back()
    }

    fn row(&self, kind: Kind, id: &str) -> Option<&Row> {
        self.tables.get(kind)?.rows.get(id)
    }

    /// The ids of all live resources of a type, oldest first.
    pub(super) fn all(&self, kind: Kind) -> Vec<&str> {
        let Some(table) = self.tables.get(kind) else { return Vec::new() };
        in_order(table.rows.iter().filter(|(_, row)| row.live().is_some()))
    }

    /// The ids of all live resources that a query asks for, oldest first.
    pub(super) fn find(&self, query: &Query) -> Vec<&str> {
        let Some((parameter, values)) = query.criteria.first() else { return self.all(query.kind) };
        let Some(table) = self.tables.get(query.kind) else { return Vec::new() };
        let candidates = values.iter().flat_map(|value| table.found_by(*parameter, value));
        let rows = candidates.filter_map(|id| table.rows.get_key_value(id));
        let mut ids = in_order(rows.filter(|(id, row)| row.live().is_some() && query.matches(id, &row.terms)));
        ids.dedup();
        ids
    }

    /// An id that no resource of this type has.
    pub(super) fn fresh_id(&mut self, kind: Kind) -> String {
        loop {
            self.next_id += 1;
            let id = self.next_id.to_string();
            if self.row(kind, &id).is_none() {
                return id;
            }
        }
    }

    /// Writes a resource; the same content as the version that stands makes no new version.
    pub(super) fn put(
        &mut self,
        kind: Kind,
        id: &str,
        content: &Map<String, Value>,
        at: Timestamp,
    ) -> (Change, Version) {
        let bytes = Bytes::from(serde_json::to_vec(content).unwrap_or_default());
        if let Some(version) = self.current(kind, id).filter(|version| is_same(version, &bytes, content)) {
            return (Change::None, version.clone());
        }
        let is_new = self.current(kind, id).is_none();
        let version = self.add(kind, id, Some(bytes), terms(kind, content), at);
        (if is_new { Change::Created } else { Change::Updated }, version)
    }

    /// Deletes a resource. Nothing if it is not there.
    pub(super) fn delete(&mut self, kind: Kind, id: &str, at: Timestamp) -> Option<Version> {
        self.current(kind, id)?;
        Some(self.add(kind, id, None, Vec::new(), at))
    }

    fn add(&mut self, kind: Kind, id: &str, content: Option<Bytes>, terms: Vec<Term>, at: Timestamp) -> Version {
        self.versions += 1;
        let table = self.tables.entry(kind).or_default();
        let row = table.rows.entry(id.to_owned()).or_insert_with(|| {
            self.held += 1;
            Row { number: self.versions, terms: Vec::new(), versions: VecDeque::new() }
        });
        let number = row.versions.back().map_or(0, |version| version.number) + 1;
        let version = Version { number, at, content };
        row.versions.push_back(version.clone());
        if row.versions.len() > KEPT_VERSIONS {
            row.versions.pop_front();
        }
        if row.terms != terms {
            let before = std::mem::replace(&mut row.terms, terms.clone());
            table.reindex(id, before, terms);
        }
        version
    }
}

impl Row {
    fn live(&self) -> Option<&Version> {
        self.versions.back().filter(|version| version.content.is_some())
    }
}

impl Table {
    fn reindex(&mut self, id: &str, before: Vec<Term>, after: Vec<Term>) {
        for term in before {
            if let Some(ids) = self.by_term.get_mut(&term) {
                ids.retain(|other| other != id);
                if ids.is_empty() {
                    self.by_term.remove(&term);
                }
            }
        }
        for term in after {
            self.by_term.entry(term).or_default().push(id.to_owned());
        }
    }

    /// Ids that may be found by `value`: all that are, and perhaps more.
    fn found_by<'a>(&'a self, parameter: Parameter, value: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        if parameter == Parameter::Id {
            return Box::new(std::iter::once(value));
        }
        let from = (parameter, value.to_owned());
        let same = move |term: &Term| {
            term.0 == parameter
                && if parameter == Parameter::Family { term.1.starts_with(value) } else { term.1 == value }
        };
        let found = self.by_term.range(from..).take_while(move |(term, _)| same(term));
        Box::new(found.flat_map(|(_, ids)| ids.iter().map(String::as_str)))
    }
}

fn in_order<'a>(rows: impl Iterator<Item = (&'a String, &'a Row)>) -> Vec<&'a str> {
    let mut rows: Vec<_> = rows.map(|(id, row)| (row.number, id.as_str())).collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, id)| id).collect()
}

/// The order of keys within an object means nothing.
fn is_same(version: &Version, bytes: &Bytes, content: &Map<String, Value>) -> bool {
    version.content.as_ref().is_some_and(|before| {
        before == bytes || serde_json::from_slice::<Map<String, Value>>(before).is_ok_and(|before| before == *content)
    })
}
