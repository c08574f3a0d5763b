//! The flat form of the tables that a conversion runs over: names are indices, paths are steps.

use std::collections::HashSet;

use message::condition::{Check, Measure};
use message::json::{Text, Value};

use message::fhir::definitions::{Element, Kind, TypeId};

use crate::hl7v2_to_fhir::hashed::{Hashed, Hasher};

/// All tables, compiled.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) tables: Vec<Table>,
    pub(crate) codes: Vec<Codes>,
    pub(crate) messages: Vec<MessagePlan>,
    /// `ADT^A04` or `ADT_A01` to its message plan.
    pub(crate) structures: Hashed<String, usize>,
    /// For structures that have no table.
    pub(crate) any: usize,
    /// For a plan without any structure.
    pub(crate) empty: MessagePlan,
    /// Table 0396: names of coding systems to their URIs.
    pub(crate) coding_systems: Option<usize>,
    /// What of OBR is said of an Observation that is made of a group of results.
    pub(crate) group_of_results: Option<usize>,
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The guide, by the generator.
    Guide,
    /// Tributary's own decision.
    Ours,
    /// The site's `maps/` folder.
    Site,
}

/// A segment's or a data type's table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) base: Kind,
    pub(crate) rows: Vec<Row>,
    /// Rows of field or component `n`.
    pub(crate) by_part: Vec<PartRows>,
    /// Rows that run whether or not their source has a value.
    pub(crate) always: Vec<u16>,
    /// Rows of the whole slice.
    pub(crate) whole: Vec<u16>,
    /// Rows whose target has `[each]`: they run last.
    pub(crate) each: Vec<u16>,
    /// The element by which numbered instances hang together.
    pub(crate) chain: Option<&'static Element>,
    /// True if its rows fill list members that other segments fill too.
    pub(crate) shares: bool,
    /// True if several of its rows ask whether something has a value.
    pub(crate) asks: bool,
}

impl Table {
    pub(crate) fn row(&self, number: u16) -> Option<&Row> {
        self.rows.get(usize::from(number))
    }
}

/// The rows of one field or component.
#[derive(Debug, Default)]
pub(crate) struct PartRows {
    /// All of them, in order.
    pub(crate) all: Vec<u16>,
    /// Those that can hold, by what a field says.
    pub(crate) by_value: Option<ByValue>,
}

/// Rows by the first value of a field of their segment.
#[derive(Debug)]
pub(crate) struct ByValue {
    pub(crate) field: u16,
    /// In order, for each value that some of them name.
    pub(crate) of: Hashed<Box<str>, Vec<u16>>,
    /// Where it says something else, or nothing.
    pub(crate) other: Vec<u16>,
}

/// One compiled row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) from: From,
    pub(crate) when: Option<Test>,
    pub(crate) target: Target,
    pub(crate) action: Action,
    pub(crate) codes: Option<usize>,
    /// What `""` becomes.
    pub(crate) null: Option<String>,
    /// True if no other row adds to the resource at the end of the target.
    pub(crate) alone: bool,
    /// Where it is written.
    pub(crate) at: RowPlace,
}

/// Where a row is written: which file of all that were read, and the offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowPlace {
    pub(crate) file: u32,
    pub(crate) offset: u32,
}

impl RowPlace {
    pub(crate) fn new(file: usize, offset: usize) -> Self {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { file: small(file), offset: small(offset) }
    }
}

/// Field or component, then what lies within it; 0 for the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct From {
    pub(crate) part: u16,
    pub(crate) component: u16,
    pub(crate) subcomponent: u16,
}

/// What a row does with its source.
#[derive(Debug)]
pub(crate) enum Action {
    Copy(Option<Convert>),
    Fixed(Value),
    Text(Vec<Piece>),
    Table(usize),
    Absent(String),
    Skip,
}

/// A piece of a `value` template.
#[derive(Debug)]
pub(crate) enum Piece {
    Literal(String),
    Place(Place),
}

/// The engine's own conversions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Convert {
    /// HD: the URI of an identifier system.
    IdentifierSystem,
    /// EI: as above, of its components 2 to 4.
    EntitySystem,
    /// The name of a coding system to its URI.
    CodingSystem,
    /// ED.5 by the encoding of ED.4.
    Base64,
    /// ED or RP: the MIME type.
    Mime,
    /// A name as one text.
    NameText,
    /// NA, MA: the numbers of all components.
    SampledData,
    /// NA, MA: how many numbers stand side by side.
    Dimensions,
    /// All text of a repetition, delimiters and all.
    WholeText,
    /// A sign of SN.1 that Quantity.comparator knows.
    Comparator,
}

/// Where a row writes.
#[derive(Debug)]
pub(crate) struct Target {
    /// A number before the path: which sibling instance.
    pub(crate) sibling: u16,
    pub(crate) steps: Vec<Step>,
    /// The step that a repetition of the source multiplies.
    pub(crate) multiplies: Option<usize>,
    /// What the last step holds.
    pub(crate) kind: Kind,
    /// What holds the last step.
    pub(crate) parent: Kind,
    pub(crate) each: bool,
    /// The number of the way up to the last step, where another row may share it: none through other resources,
    /// which are not the same twice where the reference to them goes nowhere.
    pub(crate) way: Option<u32>,
}

impl Target {
    /// The names of the first and the last element of the path.
    pub(crate) fn ends(&self) -> [&'static str; 2] {
        let name = |step: Option<&Step>| match step {
            Some(Step::Element { element, .. }) => element.name.as_str(),
            _ => "",
        };
        [name(self.steps.first()), name(self.steps.last())]
    }
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Element {
        element: &'static Element,
        label: u16,
        target: u16,
    },
    /// Into the resource that the reference before it points to.
    Resource {
        kind: TypeId,
        label: u16,
    },
}

/// A code table.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    pub(crate) name: String,
    /// The URI of the source table.
    pub(crate) source: Option<Text>,
    pub(crate) otherwise: Option<String>,
    pub(crate) partial: bool,
    pub(crate) codes: Hashed<String, Vec<Translation>>,
}

/// What a code becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    pub(crate) code: Text,
    pub(crate) display: Option<Text>,
    pub(crate) system: Option<Text>,
}

/// A place in the message as a condition or a template names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Any segment of this name in the group or around it.
    Segment(String),
    /// A field, of this segment where `segment` is `None`.
    Field { segment: Option<String>, field: u16, repetition: Option<u16>, component: u16, subcomponent: u16 },
    /// A component of the data type at hand; 0 for all of it.
    Part { part: u16, sub: u16 },
}

/// A compiled condition.
#[derive(Debug)]
pub(crate) enum Test {
    One { place: Place, measure: Measure, check: Check },
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
}

/// A message structure: its grammar and what each segment becomes.
#[derive(Debug, Default)]
pub(crate) struct MessagePlan {
    pub(crate) name: String,
    /// The grammar; 0 is the whole message.
    pub(crate) nodes: Vec<Node>,
    /// The names of all segments of the grammar.
    pub(crate) known: HashSet<String, Hasher>,
    /// Rows by the node of their segment.
    pub(crate) rows: Hashed<usize, Vec<SegmentRow>>,
    /// Rows of segments that the grammar does not name, Z segments above all.
    pub(crate) free: Hashed<String, Vec<SegmentRow>>,
    /// The resources that rows speak of, `Patient[1]`, with the node in which each lives.
    pub(crate) labels: Vec<Label>,
    /// `Patient[1]`.
    pub(crate) patient: Option<usize>,
    /// What observations and the like belong to: the report, the order, the visit.
    pub(crate) contexts: Vec<usize>,
}

/// A node of the grammar: a group or a segment.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) parent: usize,
    pub(crate) children: Vec<usize>,
    pub(crate) optional: bool,
    pub(crate) repeats: bool,
    pub(crate) is_group: bool,
}

/// A resource that the rows of a message speak of.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) kind: TypeId,
    pub(crate) name: String,
    /// It is the same resource within one instance of such a node.
    pub(crate) homes: Vec<usize>,
    /// The segments whose rows speak of it, and whether they make it.
    pub(crate) mentions: Vec<(usize, bool)>,
}

/// What a segment becomes.
#[derive(Debug)]
pub(crate) struct SegmentRow {
    pub(crate) label: usize,
    pub(crate) table: Option<usize>,
    /// The segment that the table is of, where it is not the one at hand: RXA goes through ORC's as well.
    pub(crate) of: Option<Box<str>>,
    pub(crate) when: Option<Test>,
    pub(crate) links: Vec<Link>,
}

/// A reference from one resource to another.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) from: usize,
    pub(crate) path: Target,
    pub(crate) to: usize,
}
