//! From a place in an HL7 v2 message to the entries that it became.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use message::hl7v2::Message;
use message::json::Map;

use super::bundle::{Bundle, Entry, objects, text};
use super::labels::{Labels, Mark, On};
use super::meta;
use super::orders::{Order, ordered_entries, orders};

/// How many steps of derivation are followed one by one.
const ROUNDS: usize = 16;

/// The labels that a message's fields call for.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// On everything.
    pub(super) all: Labels,
    /// By entry; shorter than the entries where the rest has none.
    entries: Vec<Labels>,
}

impl Marked {
    /// Places `marks`, read from `message`, on the entries of `bundle`.
    ///
    /// Where the entry that a segment became cannot be told, all that it can have become are marked:
    /// a label too many delays, a label too few discloses.
    pub(super) fn place(marks: &[Mark], message: &Message, bundle: &Bundle) -> Self {
        let mut marked = Self::default();
        let mut by_entry = vec![Labels::default(); bundle.entries.len()];
        let orders = if marks.iter().any(|mark| mark.on == On::Order) { orders(message) } else { Vec::new() };
        for mark in marks {
            if mark.on == On::Message {
                marked.all.add(&mark.labels);
                continue;
            }
            for i in entries_of(mark, message, &orders, bundle) {
                if let Some(labels) = by_entry.get_mut(i) {
                    labels.add(&mark.labels);
                }
            }
        }
        marked.entries = by_entry;
        marked
    }

    /// Takes on who asserts what, of `count` entries.
    pub(super) fn assert(&mut self, assertions: &[(usize, &'static str)], count: usize) {
        for (i, code) in assertions {
            self.entries.resize(count.max(self.entries.len()), Labels::default());
            self.entries.get_mut(*i).into_iter().for_each(|labels| _ = labels.assertions.insert(code));
        }
    }

    /// What is derived from other records of `bundle`, by a Provenance in it, is at least as confidential as all of
    /// them, and carries their labels.
    pub(super) fn inherit(&mut self, bundle: &Bundle) {
        let derivations = derivations(bundle);
        let mut labels: BTreeMap<usize, Labels> = BTreeMap::new();
        // As often as there are steps from a parent to its furthest descendant. Where that is more than anybody's
        // chain of derivations, all that is derived is as confidential as any of it.
        for round in 0..=ROUNDS {
            let before = labels.clone();
            if round == ROUNDS {
                let mut all = Labels::default();
                before.values().for_each(|own| all.add(own));
                labels.values_mut().for_each(|own| own.add(&all));
                break;
            }
            for Derivation { children, parents } in &derivations {
                let mut inherited = Labels::default();
                for parent in parents {
                    let stated = bundle.entries.get(*parent).and_then(Entry::record).map(meta::labels_of);
                    let all = before.get(parent).into_iter().chain(&stated).chain(self.of(*parent));
                    all.for_each(|own| inherited.add(own));
                }
                children.iter().for_each(|child| labels.entry(*child).or_default().add(&inherited));
            }
            if labels == before {
                break;
            }
        }
        if !labels.is_empty() {
            self.entries.resize(bundle.entries.len().max(self.entries.len()), Labels::default());
        }
        for (child, inherited) in labels {
            self.entries.get_mut(child).into_iter().for_each(|own| own.add(&inherited));
        }
    }

    /// What entry `i` is labelled with besides [`Marked::all`].
    pub(super) fn of(&self, i: usize) -> Option<&Labels> {
        self.entries.get(i)
    }
}

/// Entries that were made from others, by one Provenance.
struct Derivation {
    children: Vec<usize>,
    parents: Vec<usize>,
}

/// What was made from what (Provenance.entity in the role `derivation`).
fn derivations(bundle: &Bundle) -> Vec<Derivation> {
    let is_derivation = |entity: &Map| text(entity, "role") == Some("derivation");
    let mut provenances = bundle.records().filter(|(_, entry, _)| entry.kind() == "Provenance");
    if !provenances.any(|(_, _, provenance)| objects(provenance, "entity").any(is_derivation)) {
        return Vec::new();
    }
    let names = bundle
        .entries
        .iter()
        .enumerate()
        .flat_map(|(i, entry)| [entry.full_url(), entry.url()].into_iter().flatten().map(move |name| (name, i)));
    let names: HashMap<&str, usize, foldhash::quality::RandomState> = names.collect();
    let at = |reference: &str| names.get(reference).copied();
    let mut found = Vec::new();
    for (_, _, provenance) in bundle.records().filter(|(_, entry, _)| entry.kind() == "Provenance") {
        let derived = objects(provenance, "entity").filter(|entity| text(entity, "role") == Some("derivation"));
        let parents: Vec<usize> = derived
            .flat_map(|entity| objects(entity, "what"))
            .filter_map(|what| at(text(what, "reference")?))
            .collect();
        if parents.is_empty() {
            continue;
        }
        let children = objects(provenance, "target").filter_map(|target| at(text(target, "reference")?));
        found.push(Derivation { children: children.collect(), parents });
    }
    found
}

fn entries_of(mark: &Mark, message: &Message, orders: &[Order<'_>], bundle: &Bundle) -> BTreeSet<usize> {
    match mark.on {
        On::Message => BTreeSet::new(),
        On::Patient => of_kind(bundle, "Patient"),
        On::Encounter => of_kind(bundle, "Encounter"),
        On::Visit => visit(bundle),
        On::RelatedPerson => of_kind(bundle, "RelatedPerson"),
        On::Document => of_kind(bundle, "DocumentReference"),
        On::Condition => conditions(mark, message, bundle),
        On::Order => {
            let order = orders.iter().find(|order| order.holds(mark.segment));
            let entries = order.map(|order| order.entries(bundle)).unwrap_or_default();
            if entries.is_empty() { ordered_entries(bundle) } else { entries }
        }
    }
}

fn of_kind(bundle: &Bundle, kind: &str) -> BTreeSet<usize> {
    matching(bundle, |entry, _| entry.kind() == kind)
}

fn visit(bundle: &Bundle) -> BTreeSet<usize> {
    let belongs = |resource: &Map| ["encounter", "context"].iter().any(|key| resource.contains_key(key));
    matching(bundle, |entry, resource| entry.kind() == "Encounter" || belongs(resource))
}

/// The Conditions with the code of the segment's third field (DG1-3), or all.
fn conditions(mark: &Mark, message: &Message, bundle: &Bundle) -> BTreeSet<usize> {
    let code = message.nth(mark.segment).map(|segment| segment.field(3).component(1).value().trim().to_owned());
    let code = code.filter(|code| !code.is_empty());
    let has_code = |resource: &Map| {
        let codings = objects(resource, "code").flat_map(|concept| objects(concept, "coding"));
        codings.filter_map(|coding| text(coding, "code")).any(|found| Some(found) == code.as_deref())
    };
    let exact = matching(bundle, |entry, resource| entry.kind() == "Condition" && has_code(resource));
    if exact.is_empty() { of_kind(bundle, "Condition") } else { exact }
}

fn matching(bundle: &Bundle, wanted: impl Fn(&Entry, &Map) -> bool) -> BTreeSet<usize> {
    bundle.records().filter(|(_, entry, resource)| wanted(entry, resource)).map(|(i, _, _)| i).collect()
}
