//! What elements FHIR R4's types have: name, type, list or single, required or not, value set, targets.
//!
//! The table is `elements.txt` and `value-sets.txt`, written by `generate.py` from HL7's own definitions. Everything
//! that must know R4 asks it: the conversion to FHIR, the validator, FHIR XML.

mod load;
mod lookup;
mod primitive;
mod value_set;

use std::collections::HashMap;
use std::sync::LazyLock;

use lookup::Lookup;
pub use primitive::{Primitive, primitive};
pub use value_set::{ValueSet, ValueSetId};

/// Index of a complex type or a resource in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u16);

/// What an element holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A primitive.
    Primitive(Primitive),
    /// A data type, a backbone element or a resource.
    Complex(TypeId),
}

/// One element of a type.
#[derive(Debug)]
pub struct Element {
    /// Its name in JSON; of a choice the whole name, such as `valueQuantity`.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// True where JSON has an array.
    pub list: bool,
    /// True where R4 requires at least one.
    pub required: bool,
    /// Of a choice the name without the type, such as `value`: only one of them can be there.
    pub choice: Option<String>,
    /// True for lists in which the same member twice says nothing more: identifiers, names, codes.
    pub set: bool,
    /// Its place among the elements of its type, in the order of the definition; a choice has one place.
    pub place: u8,
    /// The value set of a required binding.
    pub values: Option<ValueSetId>,
    /// Of a reference the resources that it may be to; all of them where there is none.
    pub targets: Box<[TypeId]>,
    /// True where XML has an attribute: `id` of what is no resource, and `Extension.url`.
    pub attribute: bool,
}

/// Elements are the same if they are the same line of the table.
impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Element {}

/// One type with its elements.
#[derive(Debug)]
pub struct Type {
    /// `Patient`, `HumanName`, `Encounter.location`.
    pub name: String,
    /// True for a resource.
    pub resource: bool,
    elements: Vec<Element>,
    lookup: Lookup,
    required: Vec<String>,
    required_places: u64,
}

impl Type {
    /// The element called `name`.
    #[must_use]
    pub fn element(&self, name: &str) -> Option<&Element> {
        // What we make ourselves has the table's own names: then their addresses are the same.
        let is_it = |element: &&Element| {
            element.name.len() == name.len() && (element.name.as_ptr() == name.as_ptr() || element.name == name)
        };
        self.lookup.find(name, |index| self.elements.get(index).filter(is_it))
    }

    /// One element of the choice called `name`: a coded one where there is one.
    #[must_use]
    pub fn choice(&self, name: &str) -> Option<&Element> {
        let all = self.elements.iter().filter(|e| e.choice.as_deref() == Some(name));
        all.min_by_key(|e| (!e.name.ends_with("CodeableConcept"), &e.name))
    }

    /// Its elements in the order of the definition; of a choice each.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// The names of all elements, in the order of the definition.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.elements.iter().map(|element| element.name.as_str())
    }

    /// The names of the required elements; of a choice without its type, such as `value`.
    #[must_use]
    pub fn required(&self) -> &[String] {
        &self.required
    }

    /// The places of the required elements, as bits.
    #[must_use]
    pub fn required_places(&self) -> u64 {
        self.required_places
    }

    /// The place of the element or choice called `name`, as a bit; 0 where there is none.
    #[must_use]
    pub fn bit(&self, name: &str) -> u64 {
        let is_it = |e: &&Element| e.name == name || e.choice.as_deref() == Some(name);
        self.elements.iter().find(is_it).map_or(0, |element| 1 << element.place)
    }

    /// The name of what stands at a place: of a choice as the definition writes it, such as `value[x]`.
    #[must_use]
    pub fn name_at(&self, place: u8) -> String {
        let found = self.elements.iter().find(|element| element.place == place);
        found.map_or_else(String::new, |element| match &element.choice {
            Some(choice) => format!("{choice}[x]"),
            None => element.name.clone(),
        })
    }
}

/// All types.
#[derive(Debug)]
pub struct Types {
    types: Vec<Type>,
    by_name: HashMap<&'static str, TypeId, foldhash::quality::RandomState>,
    value_sets: Vec<ValueSet>,
}

static TYPES: LazyLock<Types> = LazyLock::new(load::load);

/// The table of R4's types. The first call reads it, in a few milliseconds.
#[must_use]
pub fn types() -> &'static Types {
    &TYPES
}

impl Types {
    /// The complex type or resource called `name`.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    /// The resource called `name`; none for the abstract `Resource` and `DomainResource`.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<TypeId> {
        self.id(name).filter(|id| self.get(*id).resource)
    }

    /// The type behind `id`; an empty one for an id that is not from this table.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        static NONE: LazyLock<Type> = LazyLock::new(|| load::empty(""));
        self.types.get(usize::from(id.0)).unwrap_or(&NONE)
    }

    /// True for a resource, also the abstract `Resource`: what is of this type says its own type.
    #[must_use]
    pub fn is_resource(&self, id: TypeId) -> bool {
        let kind = self.get(id);
        kind.resource || kind.name == "Resource"
    }

    /// The names of all complex types and resources.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.types.iter().map(|t| t.name.as_str())
    }

    /// How many types there are: their ids count from 0.
    #[must_use]
    pub fn count(&self) -> usize {
        self.types.len()
    }

    /// The value set behind `id`, if it is from this table.
    #[must_use]
    pub fn value_set(&self, id: ValueSetId) -> Option<&ValueSet> {
        self.value_sets.get(usize::from(id.0))
    }
}

#[cfg(test)]
mod tests;
