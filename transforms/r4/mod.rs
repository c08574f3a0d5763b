//! What elements FHIR R4's types have: name, type, list or single, required or not.
//!
//! The table is `elements.txt`, written by `generate.py` from HL7's own definitions.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The primitive types whose JSON form or syntax differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Primitive {
    /// `base64Binary`.
    Base64Binary,
    /// `boolean`.
    Boolean,
    /// `code`: no blanks but single ones inside.
    Code,
    /// `date`: a year, a month or a day.
    Date,
    /// `dateTime`: with a zone wherever it has a time.
    DateTime,
    /// `decimal`: its digits are kept.
    Decimal,
    /// `id`: up to 64 letters, digits, `-` and `.`.
    Id,
    /// `instant`: to the second, with a zone.
    Instant,
    /// `integer`.
    Integer,
    /// `markdown`.
    Markdown,
    /// `positiveInt`: 1 or more.
    PositiveInt,
    /// `string`.
    String,
    /// `time`.
    Time,
    /// `unsignedInt`: 0 or more.
    UnsignedInt,
    /// `uri`, `url`, `canonical`, `oid`, `uuid`.
    Uri,
    /// `xhtml`.
    Xhtml,
}

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
}

/// One type with its elements.
#[derive(Debug)]
pub struct Type {
    /// `Patient`, `HumanName`, `Encounter.location`.
    pub name: String,
    elements: HashMap<String, Element>,
    required: Vec<String>,
}

impl Type {
    /// The element called `name`.
    #[must_use]
    pub fn element(&self, name: &str) -> Option<&Element> {
        self.elements.get(name)
    }

    /// One element of the choice called `name`: a coded one where there is one.
    #[must_use]
    pub fn choice(&self, name: &str) -> Option<&Element> {
        let mut all: Vec<_> = self.elements.values().filter(|e| e.choice.as_deref() == Some(name)).collect();
        all.sort_by_key(|e| (!e.name.ends_with("CodeableConcept"), &e.name));
        all.first().copied()
    }

    /// The names of all elements, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.elements.keys().map(String::as_str)
    }

    /// The names of the required elements; of a choice without its type, such as `value`.
    #[must_use]
    pub fn required(&self) -> &[String] {
        &self.required
    }
}

/// All types.
#[derive(Debug)]
pub struct Types {
    types: Vec<Type>,
    by_name: HashMap<String, TypeId>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| Types::read(include_str!("elements.txt")));

/// The table of R4's types.
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

    /// The type behind `id`; an empty one for an id that is not from this table.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        static NONE: LazyLock<Type> =
            LazyLock::new(|| Type { name: String::new(), elements: HashMap::new(), required: Vec::new() });
        self.types.get(usize::from(id.0)).unwrap_or(&NONE)
    }

    /// The names of all complex types and resources.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.types.iter().map(|t| t.name.as_str())
    }

    fn read(text: &str) -> Self {
        let lines = || text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("primitives "));
        let name_of = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let by_name: HashMap<_, _> = (0..).zip(lines()).map(|(id, line)| (name_of(line), TypeId(id))).collect();
        let types = lines().map(|line| read_type(line, &by_name)).collect();
        Self { types, by_name }
    }
}

/// Types of which a list is a set.
const SETS: [&str; 8] =
    ["Identifier", "Coding", "CodeableConcept", "Reference", "ContactPoint", "Address", "HumanName", "Extension"];

/// `Patient active:boolean name*:HumanName …`.
fn read_type(line: &str, by_name: &HashMap<String, TypeId>) -> Type {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default().to_owned();
    let (mut elements, mut required) = (HashMap::new(), Vec::new());
    for word in words {
        let Some((name, types)) = word.split_once(':') else { continue };
        let marked = name.trim_end_matches(['*', '!']);
        let marks = name.get(marked.len()..).unwrap_or_default();
        let (list, is_required) = (marks.contains('*'), marks.contains('!'));
        let stem = marked.strip_suffix("[x]");
        if is_required {
            required.push(stem.unwrap_or(marked).trim_end_matches(['*', '!']).to_owned());
        }
        for kind_name in types.split(',').map(|t| t.split('(').next().unwrap_or(t)) {
            let Some(kind) = kind(kind_name, by_name) else { continue };
            let name = stem.map_or(marked.to_owned(), |stem| choice_name(stem, kind_name));
            let choice = stem.map(|stem| stem.trim_end_matches(['*', '!']).to_owned());
            let set = list && SETS.contains(&kind_name);
            elements.insert(name.clone(), Element { name, kind, list, required: is_required, choice, set });
        }
    }
    Type { name, elements, required }
}

/// `value` and `dateTime`: `valueDateTime`.
fn choice_name(stem: &str, kind: &str) -> String {
    let stem = stem.trim_end_matches(['*', '!']);
    let mut chars = kind.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    stem.chars().chain(first).chain(chars).collect()
}

fn kind(name: &str, by_name: &HashMap<String, TypeId>) -> Option<Kind> {
    primitive(name).map(Kind::Primitive).or_else(|| by_name.get(name).copied().map(Kind::Complex))
}

/// The primitive type called `name`.
#[must_use]
pub fn primitive(name: &str) -> Option<Primitive> {
    Some(match name {
        "base64Binary" => Primitive::Base64Binary,
        "boolean" => Primitive::Boolean,
        "code" => Primitive::Code,
        "date" => Primitive::Date,
        "dateTime" => Primitive::DateTime,
        "decimal" => Primitive::Decimal,
        "id" => Primitive::Id,
        "instant" => Primitive::Instant,
        "integer" => Primitive::Integer,
        "markdown" => Primitive::Markdown,
        "positiveInt" => Primitive::PositiveInt,
        "string" => Primitive::String,
        "time" => Primitive::Time,
        "unsignedInt" => Primitive::UnsignedInt,
        "uri" | "url" | "canonical" | "oid" | "uuid" => Primitive::Uri,
        "xhtml" => Primitive::Xhtml,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: (&str, &str), list: bool, kind_name: &str) {
        let owner = types().get(types().id(path.0).expect("a type"));
        let element = owner.element(path.1).expect("an element");
        let kind = match element.kind {
            Kind::Primitive(p) => format!("{p:?}"),
            Kind::Complex(id) => types().get(id).name.clone(),
        };
        assert_eq!((element.list, kind.as_str()), (list, kind_name));
    }

    #[test]
    fn knows_lists_choices_backbones_and_references() {
        check(("Patient", "name"), true, "HumanName");
        check(("Patient", "deceasedDateTime"), false, "DateTime");
        check(("Observation", "valueQuantity"), false, "Quantity");
        check(("Encounter", "location"), true, "Encounter.location");
        check(("Encounter.location", "location"), false, "Reference");
        assert_eq!(types().get(types().id("Encounter").expect("a type")).required(), ["status", "class"]);
    }
}
