//! One pass through the resources of a message: what is at hand on the way, and what is looked for.

use crate::json::{Map, Shared, Value};

use super::entry::{Coded, Entry};
use super::links::references_in;
use super::lists::Lists;
use super::reference::{Names, attachment, named};

/// What is at hand while entries are read.
#[derive(Default)]
pub(super) struct Reading<'a> {
    /// Room to work in.
    pub(super) waiting: Vec<&'a Value>,
    /// What each `meta` said that several resources share.
    shared: Vec<(&'a Shared, Meta)>,
    /// Every coding, entry after entry.
    pub(super) codes: Lists<Coded>,
    /// Room for a name.
    pub(super) name: String,
}

/// So many that are shared are remembered.
const SHARED: usize = 8;

/// What the `meta` of a resource says.
pub(super) struct Meta {
    /// Its labels, as an entry has them.
    pub(super) said: Entry,
    /// What it refers to.
    pub(super) refers: Names,
}

impl<'a> Reading<'a> {
    /// Tells `take` what a `meta` says; where several resources share one, that is found out once.
    pub(super) fn meta(&mut self, meta: &'a Value, mut take: impl FnMut(&Meta)) {
        let shared = meta.as_object().and_then(Map::shared);
        let known = shared.and_then(|shared| self.shared.iter().find(|(known, _)| std::ptr::eq(*known, shared)));
        if let Some((_, told)) = known {
            return take(told);
        }
        let mut told = Meta { said: Entry::default(), refers: Names::default() };
        told.said.take_labels(meta);
        references_in(meta, &mut told.refers);
        told.refers.end();
        take(&told);
        if let Some(shared) = shared.filter(|_| self.shared.len() < SHARED) {
            self.shared.push((shared, told));
        }
    }
}

/// What is looked for among the members of an object.
#[derive(Default)]
pub(super) struct Known<'a> {
    pub(super) code: Option<&'a Value>,
    pub(super) system: Option<&'a Value>,
    pub(super) media: Option<&'a Value>,
    pub(super) url: Option<&'a Value>,
    pub(super) reference: Option<&'a Value>,
    pub(super) identifier: Option<&'a Value>,
    pub(super) meta: Option<&'a Value>,
    pub(super) is_resource: bool,
}

impl<'a> Known<'a> {
    /// Finds it in one pass; all members but `meta` that have parts go to `waiting`.
    pub(super) fn of(elements: &'a Map, waiting: &mut Vec<&'a Value>) -> Self {
        let mut known = Self::default();
        for (key, inner) in elements {
            // Most have another length.
            match key.len() {
                3 if key == "url" => known.url = Some(inner),
                4 if key == "code" => known.code = Some(inner),
                4 if key == "meta" => {
                    known.meta = Some(inner);
                    continue;
                }
                6 if key == "system" => known.system = Some(inner),
                9 if key == "reference" => known.reference = Some(inner),
                10 if key == "identifier" => known.identifier = Some(inner),
                11 if key == "contentType" => known.media = Some(inner),
                12 if key == "resourceType" => known.is_resource = true,
                _ => {}
            }
            if has_parts(inner) {
                waiting.push(inner);
            }
        }
        known
    }

    /// Adds what it refers to.
    pub(super) fn refer(&self, to: &mut Names) {
        named(self.reference, self.identifier, to);
        attachment(self.media, self.url, to);
    }
}

/// True for what may have elements in it.
pub(super) fn has_parts(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}
