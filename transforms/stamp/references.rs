//! References between the entries of a Bundle, kept true while entries get new names.

use std::collections::{HashMap, HashSet};

use message::fhir::is_resource_type;
use message::json::{Map, Text, Value};
use smol_str::format_smolstr;

use super::bundle::{business_identifier, text};
use super::ids::Ids;
use super::uri::identifier_query;

/// What the entries of a Bundle were called, and what they are called now.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Old `fullUrl` or `Type/id` to the new reference; `None` where two entries share the old name.
    known: HashMap<String, Option<Text>>,
    /// The servers that entries came from, such as `https://emr.example.org/fhir`.
    bases: HashSet<String>,
}

impl Names {
    /// An entry that was called `old`, a `fullUrl` or `Type/id`, is called `new` now.
    pub(super) fn add(&mut self, old: String, new: &Text) {
        if let Some(base) = base_of(&old) {
            self.bases.insert(base.to_owned());
        }
        self.known
            .entry(old)
            .and_modify(|known| *known = known.take().filter(|known| known == new))
            .or_insert_with(|| Some(new.clone()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The new name of what `reference`, found in an entry from `base`, means.
    fn resolve(&self, reference: &str, base: Option<&str>) -> Option<&Text> {
        let bare = without_version(reference);
        let relative_to_base = base.filter(|_| relative(bare).is_some()).map(|base| format!("{base}/{bare}"));
        let found = relative_to_base.and_then(|absolute| self.known.get(&absolute)).or_else(|| self.known.get(bare));
        found?.as_ref()
    }

    /// Type and id of what `reference` means at the sender's own server, if that is what it does.
    fn outside<'r>(&self, reference: &'r str) -> Option<(&'r str, &'r str)> {
        let bare = without_version(reference);
        relative(bare).or_else(|| {
            let base = base_of(bare).filter(|base| self.bases.contains(*base))?;
            relative(bare.get(base.len() + 1..)?)
        })
    }
}

/// Rewrites the references of one Bundle.
pub(super) struct Rewriting<'a> {
    pub(super) names: &'a Names,
    /// Names what is not in the Bundle; `None` leaves such references as they are.
    pub(super) ids: Option<&'a Ids>,
    /// How many references point out of the Bundle, to what only its id tells.
    pub(super) outside: usize,
}

impl Rewriting<'_> {
    /// Rewrites all references in `value`, part of an entry whose `fullUrl` was under `base`.
    ///
    /// Besides Reference.reference these are the URLs of attachments and the like, which may name a
    /// Binary in the same Bundle.
    fn visit(&mut self, value: &mut Value, base: Option<&str>) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.visit(item, base)),
            Value::Object(members) => self.visit_members(members, base),
            _ => {}
        }
    }

    /// As [`Rewriting::visit`], of an object.
    pub(super) fn visit_members(&mut self, members: &mut Map, base: Option<&str>) {
        if let Some(new) = text(members, "reference").and_then(|reference| self.renamed(reference, members, base)) {
            members.insert("reference", new);
        }
        for (key, member) in members.iter_mut() {
            match (key.as_str(), member) {
                ("url" | "uri" | "valueUri" | "valueUrl", Value::String(url)) => {
                    if let Some(new) = self.names.resolve(url, base) {
                        *url = new.clone();
                    }
                }
                (_, nested @ (Value::Array(_) | Value::Object(_))) => self.visit(nested, base),
                _ => {}
            }
        }
    }

    /// What `reference`, part of the Reference `whole`, is called now; `None` where it stays as it is.
    ///
    /// What is outside the Bundle is found by its identifier if the Reference has one, and else has
    /// the id that it would have had within: a relative reference must never be taken for another
    /// provider's resource of the same id.
    fn renamed(&mut self, reference: &str, whole: &Map, base: Option<&str>) -> Option<Text> {
        if reference.starts_with('#') || reference.contains('?') {
            return None;
        }
        if let Some(new) = self.names.resolve(reference, base) {
            return Some(new.clone());
        }
        let (kind, id) = self.names.outside(reference).filter(|_| self.ids.is_some())?;
        if let Some((system, value)) = business_identifier(whole) {
            return Some(format_smolstr!("{kind}?{}", identifier_query(system, value)));
        }
        self.outside += 1;
        Some(format_smolstr!("{kind}/{}", self.ids?.of_resource(kind, id)))
    }
}

/// The server of an absolute RESTful URL: `https://emr.example.org/fhir` of `…/fhir/Patient/1`.
pub(super) fn base_of(url: &str) -> Option<&str> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return None;
    }
    let (before_id, id) = url.rsplit_once('/')?;
    let (base, kind) = before_id.rsplit_once('/')?;
    (is_resource_type(kind) && !id.is_empty()).then_some(base)
}

/// Type and id of `Type/id`.
fn relative(reference: &str) -> Option<(&str, &str)> {
    let (kind, id) = reference.split_once('/')?;
    (is_resource_type(kind) && !id.is_empty() && !id.contains('/')).then_some((kind, id))
}

fn without_version(reference: &str) -> &str {
    reference.split_once("/_history/").map_or(reference, |(bare, _)| bare)
}
