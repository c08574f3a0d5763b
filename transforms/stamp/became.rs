//! From HL7 v2 segments to the entries that they became: by code, in order.

use std::collections::{HashMap, HashSet, VecDeque};

use message::hl7v2::Segment;
use message::json::Map;

use super::bundle::{Bundle, objects, text};

/// Where a segment's code stands, and what it may have become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The field with the code, such as OBX-3.
    pub(super) field: usize,
    /// The types of resource that such segments become.
    pub(super) resources: &'static [&'static str],
    /// The elements in which these have that code.
    pub(super) elements: &'static [&'static str],
}

pub(super) const OBSERVATION: Kind = Kind { field: 3, resources: &["Observation"], elements: &["code"] };
pub(super) const ADMINISTRATION: Kind = Kind {
    field: 5,
    resources: &["Immunization", "MedicationAdministration"],
    elements: &["vaccineCode", "medicationCodeableConcept"],
};
pub(super) const ALLERGY: Kind = Kind { field: 3, resources: &["AllergyIntolerance"], elements: &["code"] };

/// The entry that each of `segments`, in their order, became. One that carries no code of theirs is not guessed at.
pub(super) fn became<'m>(
    segments: impl Iterator<Item = Segment<'m>>,
    kind: Kind,
    bundle: &Bundle,
) -> Vec<(Segment<'m>, usize)> {
    let of_kind = bundle.records().filter(|(_, entry, _)| kind.resources.contains(&entry.kind()));
    let mut by_code: HashMap<&str, VecDeque<usize>, foldhash::quality::RandomState> = HashMap::default();
    for (i, _, resource) in of_kind {
        for code in codes_of(resource, kind.elements) {
            by_code.entry(code).or_default().push_back(i);
        }
    }
    let mut taken = HashSet::new();
    let mut found = Vec::new();
    for segment in segments {
        let codes = [1, 4].map(|component| segment.field(kind.field).component(component).value());
        let first = codes.iter().filter_map(|code| {
            let open = by_code.get_mut(code.trim())?;
            while open.front().is_some_and(|entry| taken.contains(entry)) {
                open.pop_front();
            }
            open.front().copied()
        });
        if let Some(entry) = first.min() {
            taken.insert(entry);
            found.push((segment, entry));
        }
    }
    found
}

fn codes_of<'a>(resource: &'a Map, elements: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
    let concepts = elements.iter().flat_map(|element| objects(resource, element));
    concepts.flat_map(|concept| objects(concept, "coding")).filter_map(|coding| text(coding, "code"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use message::hl7v2::Message;
    use message::json::{Value, json};

    use super::super::bundle::{Entry, Kind as BundleKind};
    use super::*;

    #[test]
    fn finds_each_segment_s_own_entry() {
        let observation = |code: &str| {
            let resource = json!({ "resourceType": "Observation", "code": { "coding": [{ "code": code }] } });
            let Value::Object(resource) = resource else { panic!("an object") };
            Entry::put(code.into(), resource, "Observation/1".into())
        };
        let entries = ["A", "B", "A", "C"].map(observation).to_vec();
        let bundle = Bundle { fields: Map::new(), kind: BundleKind::Transaction, entries };
        let text = Bytes::from_static(b"MSH|^~\\&|\rOBX|1|NM|A\rOBX|2|NM|X\rOBX|3|NM|l^^L^A\rOBX|4|NM|B\rOBX|5|NM|C\r");
        let message = Message::index(text.clone(), text).unwrap();
        let found = became(message.segments_named("OBX"), OBSERVATION, &bundle);
        let found: Vec<(usize, usize)> = found.iter().map(|(segment, entry)| (segment.number(), *entry)).collect();
        assert_eq!(found, [(1, 0), (3, 2), (4, 1), (5, 3)]);
    }
}
