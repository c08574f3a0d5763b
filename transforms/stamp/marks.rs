//! From a place in an HL7 v2 message to the entries that it became.

use std::collections::BTreeSet;

use message::hl7v2::Message;
use message::json::Map;

use super::bundle::{Bundle, Entry, objects, text};
use super::labels::{Labels, Mark, On};
use super::orders::{Order, ordered_entries, orders};

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

    /// What entry `i` is labelled with besides [`Marked::all`].
    pub(super) fn of(&self, i: usize) -> Option<&Labels> {
        self.entries.get(i)
    }
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
