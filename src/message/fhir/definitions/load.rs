//! Reading the table.

use std::collections::HashMap;

use super::lookup::Lookup;
use super::{Element, Kind, Type, TypeId, Types, ValueSet, ValueSetId, primitive};

/// Types of which a list is a set.
const SETS: [&str; 8] =
    ["Identifier", "Coding", "CodeableConcept", "Reference", "ContactPoint", "Address", "HumanName", "Extension"];

/// The names that a line may use.
struct Names {
    types: HashMap<&'static str, TypeId, foldhash::quality::RandomState>,
    value_sets: HashMap<&'static str, ValueSetId>,
}

/// The whole table.
pub(super) fn load() -> Types {
    let lines = || include_str!("elements.txt").lines().filter(|line| !line.starts_with('#'));
    let name_of = |line: &'static str| line.split(' ').next().unwrap_or_default();
    let of_types = || lines().filter(|line| *line != RESOURCES);
    let value_sets = include_str!("value-sets.txt").lines().filter(|line| !line.starts_with('#')).map(ValueSet::read);
    let value_sets: Vec<_> = value_sets.collect();
    let names = Names {
        types: of_types().map(name_of).zip((0..).map(TypeId)).collect(),
        value_sets: value_sets.iter().map(|set| set.name).zip((0..).map(ValueSetId)).collect(),
    };
    let mut types = Vec::with_capacity(names.types.len());
    let mut resources = false;
    for line in lines() {
        if line == RESOURCES {
            resources = true;
        } else {
            types.push(names.type_of(line, resources));
        }
    }
    Types { types, by_name: names.types, value_sets }
}

/// The line after which the resources come.
const RESOURCES: &str = "resources";
/// No resource is of one of these alone.
const ABSTRACT: [&str; 2] = ["Resource", "DomainResource"];

/// A type without elements.
pub(super) fn empty(name: &str) -> Type {
    Type {
        name: name.to_owned(),
        resource: false,
        elements: Vec::new(),
        lookup: Lookup::default(),
        required: Vec::new(),
        required_places: 0,
    }
}

impl Names {
    /// `Patient active:boolean name*:HumanName …`.
    fn type_of(&self, line: &'static str, resources: bool) -> Type {
        let mut words = line.split(' ');
        let mut made = empty(words.next().unwrap_or_default());
        let is_backbone = made.name.contains('.');
        made.resource = resources && !is_backbone && !ABSTRACT.contains(&made.name.as_str());
        for (word, place) in words.zip(0..64) {
            self.add_elements(&mut made, word, place, resources && !is_backbone);
        }
        made.lookup = Lookup::new(made.elements.iter().map(|element| element.name.as_str()));
        made
    }

    /// `name*!:types@value-set`: one element, or one of each type of a choice.
    fn add_elements(&self, made: &mut Type, word: &'static str, place: u8, resource: bool) {
        let Some((name, types)) = word.split_once(':') else { return };
        let (types, value_set) = types.split_once('@').unwrap_or((types, ""));
        let marked = name.trim_end_matches(['*', '!']);
        let marks = name.get(marked.len()..).unwrap_or_default();
        let (list, required) = (marks.contains('*'), marks.contains('!'));
        let stem = marked.strip_suffix("[x]");
        if required {
            made.required.push(stem.unwrap_or(marked).to_owned());
            made.required_places |= 1 << place;
        }
        for word in types.split(',') {
            let (kind_name, targets) = word.split_once('(').unwrap_or((word, ""));
            let Some(kind) = self.kind(kind_name) else { continue };
            made.elements.push(Element {
                name: stem.map_or(marked.to_owned(), |stem| choice_name(stem, kind_name)),
                kind,
                list,
                required,
                choice: stem.map(str::to_owned),
                set: list && SETS.contains(&kind_name),
                place,
                values: self.value_sets.get(value_set).copied(),
                targets: self.targets(targets),
                attribute: !resource && (marked == "id" || (marked == "url" && made.name == "Extension")),
            });
        }
    }

    /// `Patient|Group)`; none for `Resource)`, which is any.
    fn targets(&self, text: &str) -> Box<[TypeId]> {
        let names = text.trim_end_matches(')').split('|').filter(|name| !ABSTRACT.contains(name));
        names.filter_map(|name| self.types.get(name).copied()).collect()
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        primitive(name).map(Kind::Primitive).or_else(|| self.types.get(name).copied().map(Kind::Complex))
    }
}

/// `value` and `dateTime`: `valueDateTime`.
fn choice_name(stem: &str, kind: &str) -> String {
    let mut chars = kind.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    stem.chars().chain(first).chain(chars).collect()
}
