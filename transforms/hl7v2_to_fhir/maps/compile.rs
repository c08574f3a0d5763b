//! From tables in text to the flat plan that conversions run over.

use std::collections::{HashMap, HashSet};

use message::condition::Check;
use message::json::Value;
use toml::Spanned;

use message::fhir::definitions::{self, Element, Kind, Primitive, types};

use super::condition::{self, Scope};
use super::error::{MapError, Wrong};
use super::layers::{Folder, Layered, LayeredRow, Layers, Source, mistake};
use super::plan::{
    Action, Codes, Convert, From, MessagePlan, PartRows, Place, Plan, Row, RowPlace, Step, Table, Target, Test,
    Translation,
};
use super::{dispatch, path, structure};
use crate::hl7v2_to_fhir::hashed::{Hashed, Hasher};

/// The table for what is made of a group of results, in lower case: no message names it.
pub(super) const GROUP_OF_RESULTS: &str = "obr[observation-group]";

/// What the compiler knows while it works.
pub(super) struct Compiler<'a> {
    pub(super) sources: &'a [Source],
    /// Lower-case table names to their index.
    pub(super) tables: HashMap<String, (usize, Kind)>,
    pub(super) codes: HashMap<String, usize>,
    /// Code tables without a code: HL7 leaves them to a site, and until it fills them codes stay as sent.
    pub(super) empty: HashSet<usize>,
    pub(super) errors: Vec<MapError>,
    /// How many ways of targets have a number.
    ways: u32,
}

/// Compiles all layers, or says all that is wrong with them.
pub(super) fn compile(layers: Layers, sources: &[Source]) -> Result<Plan, Vec<MapError>> {
    let mut compiler = Compiler {
        sources,
        tables: HashMap::new(),
        codes: HashMap::new(),
        empty: HashSet::new(),
        errors: layers.errors,
        ways: 0,
    };
    let is_table = |folder: Folder| matches!(folder, Folder::Segments | Folder::DataTypes);
    let layered: Vec<_> = layers.tables.iter().filter(|((folder, _), _)| is_table(*folder)).collect();
    for (index, ((_, key), table)) in layered.iter().enumerate() {
        match base(&table.name) {
            Ok(base) => drop(compiler.tables.insert(key.clone(), (index, base))),
            Err(wrong) => compiler.report(table.file, 0, wrong),
        }
    }
    let codes: Vec<_> = layers.codes.into_values().map(codes).collect();
    compiler.codes = codes.iter().enumerate().map(|(i, table)| (table.name.to_lowercase(), i)).collect();
    let is_empty = |table: &Codes| table.codes.is_empty() && table.otherwise.is_none();
    compiler.empty = codes.iter().enumerate().filter(|(_, table)| is_empty(table)).map(|(i, _)| i).collect();
    let tables = layered.iter().map(|((folder, _), table)| compiler.table(*folder, table)).collect();
    let messages: Vec<_> =
        layers.tables.iter().filter(|((folder, _), _)| *folder == Folder::Messages).map(|(_, table)| table).collect();
    let structures = structures(&messages);
    let plans: Vec<_> = messages.iter().filter_map(|table| structure::compile(&mut compiler, table)).collect();
    if compiler.errors.is_empty() {
        let any = structures.get("ANY").copied().unwrap_or(0);
        let coding_systems = compiler.codes.get("codingsystem").copied();
        let group_of_results = compiler.tables.get(GROUP_OF_RESULTS).map(|(index, _)| *index);
        let empty = MessagePlan::default();
        Ok(Plan { tables, codes, messages: plans, structures, any, empty, coding_systems, group_of_results })
    } else {
        Err(compiler.errors)
    }
}

/// `ADT_A01` and all its events to the place of its plan.
fn structures(messages: &[&Layered]) -> Hashed<String, usize> {
    let names = messages.iter().enumerate().flat_map(|(i, table)| {
        let events = table.events.iter().cloned();
        std::iter::once(table.name.clone()).chain(events).map(move |name| (name, i))
    });
    names.collect()
}

/// What `CX[Identifier]` or `HD[MessageHeader.source-name]` makes.
fn base(name: &str) -> Result<Kind, Wrong> {
    let inner = name.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
    let inner = inner.ok_or_else(|| Wrong::new(format!("`{name}` names no target; write it like PID[Patient]")))?;
    let kind = inner.split('-').next().unwrap_or(inner);
    let found = definitions::primitive(kind).map(Kind::Primitive).or_else(|| types().id(kind).map(Kind::Complex));
    found.ok_or_else(|| Wrong::unknown("R4 has no type", kind, types().names()))
}

fn codes(table: super::layers::LayeredCodes) -> Codes {
    let file = table.file;
    let mut out = Codes {
        name: table.name,
        source: file.source.as_deref().map(|s| hl7_table_uri(s).unwrap_or_else(|| s.to_owned()).into()),
        otherwise: file.otherwise,
        partial: file.partial,
        codes: Hashed::with_capacity_and_hasher(file.codes.len(), Hasher::default()),
    };
    for code in file.codes {
        let translations: &mut Vec<Translation> = out.codes.entry(code.from).or_default();
        if let Some(to) = code.to {
            let system = code.system.filter(|s| !s.is_empty());
            translations.push(Translation {
                code: to.into(),
                display: code.display.map(Into::into),
                system: system.map(Into::into),
            });
        }
    }
    out
}

/// `HL70002`, `0002` and the like to the URI of HL7's table.
pub(crate) fn hl7_table_uri(name: &str) -> Option<String> {
    let digits = ["HL7-", "HL7", "hl7", "User", ""].into_iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let is_table = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
    is_table.then(|| format!("http://terminology.hl7.org/CodeSystem/v2-{digits}"))
}

impl Compiler<'_> {
    pub(super) fn report(&mut self, file: usize, offset: usize, wrong: Wrong) {
        let Some(source) = self.sources.get(file) else { return };
        self.errors.push(mistake(source, offset, wrong));
    }

    fn table(&mut self, folder: Folder, layered: &Layered) -> Table {
        let source = layered.name.split('[').next().unwrap_or_default();
        let scope = match folder {
            Folder::Segments => Scope { segment: Some(source), data_type: None },
            _ => Scope { segment: None, data_type: Some(source) },
        };
        let base = self.tables.get(&layered.name.to_lowercase()).map_or(Kind::Primitive(Primitive::String), |t| t.1);
        let mut table = Table {
            base,
            rows: Vec::new(),
            by_part: Vec::new(),
            always: Vec::new(),
            whole: Vec::new(),
            each: Vec::new(),
            chain: None,
            shares: layered.shared.is_some(),
            asks: false,
        };
        if let Some((file, chain)) = &layered.chain {
            match path::read(chain.get_ref(), base).map(|t| t.steps.first().copied()) {
                Ok(Some(Step::Element { element, .. })) => table.chain = Some(element),
                Ok(_) => self.report(*file, chain.span().start, Wrong::new("`chain` names an element")),
                Err(wrong) => self.report(*file, chain.span().start, wrong),
            }
        }
        let shared = layered.shared.as_ref().and_then(|(file, name)| self.shared(*file, name, base));
        for row in &layered.rows {
            match self.row(row, scope, base) {
                Ok(mut compiled) => {
                    share(&mut compiled, shared);
                    file_row(&mut table, compiled);
                }
                Err((offset, wrong)) => self.report(row.file, offset, wrong),
            }
        }
        align(&mut table.rows);
        mark_alone(&mut table.rows);
        self.number_ways(&mut table.rows);
        table.asks = table.rows.iter().filter(|row| row.when.is_some()).count() > 2;
        if folder == Folder::Segments {
            table.by_part.iter_mut().for_each(|part| dispatch::sort(&table.rows, part));
        }
        table
    }

    /// Gives the targets that part at their last step the same number.
    fn number_ways(&mut self, rows: &mut [Row]) {
        let mut known: Vec<(Vec<Step>, Option<usize>, u32)> = Vec::new();
        for target in rows.iter_mut().map(|row| &mut row.target) {
            let Some((_, steps)) = target.steps.split_last().filter(|(_, steps)| !steps.is_empty()) else { continue };
            if steps.iter().any(|step| matches!(step, Step::Resource { .. })) {
                continue;
            }
            let multiplies = target.multiplies.filter(|at| *at < steps.len());
            let found = known.iter().find(|(other, of, _)| other == steps && *of == multiplies);
            let number = found.map_or(self.ways, |(.., number)| *number);
            if found.is_none() {
                known.push((steps.to_vec(), multiplies, number));
                self.ways += 1;
            }
            target.way = Some(number);
        }
    }

    /// The list that the segments of a resource share.
    fn shared(&mut self, file: usize, name: &Spanned<String>, base: Kind) -> Option<&'static Element> {
        let wrong = match path::read(name.get_ref(), base).map(|target| target.steps.first().copied()) {
            Ok(Some(Step::Element { element, .. })) if element.list => return Some(element),
            Ok(_) => Wrong::new("`shared` names a list"),
            Err(wrong) => wrong,
        };
        self.report(file, name.span().start, wrong);
        None
    }

    fn row(&mut self, layered: &LayeredRow, scope: Scope<'_>, base: Kind) -> Result<Row, (usize, Wrong)> {
        let row = &layered.row;
        let at_row = RowPlace::new(layered.file, layered.offset);
        let from = match &row.from {
            Some(from) => source_of(from, scope).map_err(at(from))?,
            None => None,
        };
        let when = match &row.when {
            Some(when) => Some(condition::read(when.get_ref(), scope).map_err(within(when))?),
            None => None,
        };
        let null = row.null.as_ref().map(|null| null.get_ref().clone());
        let from = from.unwrap_or_default();
        if row.skip.is_some() {
            let target = path::read("$this", base).map_err(|wrong| (layered.offset, wrong))?;
            return Ok(Row { from, when, target, action: Action::Skip, codes: None, null, alone: false, at: at_row });
        }
        let to = row.to.as_ref().ok_or_else(|| (layered.offset, Wrong::new("a row needs `to` or `skip`")))?;
        let mut target = path::read(to.get_ref(), base).map_err(at(to))?;
        let action = self.action(row, scope, &mut target, to)?;
        let codes = match &row.code {
            Some(code) => Some(self.code_table(code)?).filter(|index| !self.empty.contains(index)),
            None => None,
        };
        Ok(Row { from, when, target, action, codes, null, alone: false, at: at_row })
    }

    fn code_table(&self, code: &Spanned<String>) -> Result<usize, (usize, Wrong)> {
        let found = self.codes.get(&code.get_ref().to_lowercase()).copied();
        let unknown =
            || Wrong::unknown("there is no code table", code.get_ref(), self.codes.keys().map(String::as_str));
        found.ok_or_else(|| (code.span().start, unknown()))
    }

    fn action(
        &self,
        row: &super::file::RowFile,
        scope: Scope<'_>,
        target: &mut Target,
        to: &Spanned<String>,
    ) -> Result<Action, (usize, Wrong)> {
        if let Some(fixed) = &row.fixed {
            return fixed_value(fixed.get_ref(), target.kind).map(Action::Fixed).map_err(at(fixed));
        }
        if let Some(value) = &row.value {
            return condition::template(value.get_ref(), scope).map(Action::Text).map_err(at(value));
        }
        if let Some(absent) = &row.absent {
            return Ok(Action::Absent(absent.get_ref().clone()));
        }
        if let Some(name) = &row.table {
            return self.table_at(name.get_ref(), target).map(Action::Table).map_err(at(name));
        }
        let convert = match &row.convert {
            Some(name) => Some(conversion(name.get_ref()).map_err(at(name))?),
            None => implied_conversion(target),
        };
        match target.kind {
            Kind::Primitive(_) => Ok(Action::Copy(convert)),
            Kind::Complex(id) => {
                let text = format!("`to` holds a {}, so the row needs `as`", types().get(id).name);
                Err((to.span().start, Wrong::new(text)))
            }
        }
    }

    /// The table called `name`, with `target` cut to where it applies.
    fn table_at(&self, name: &str, target: &mut Target) -> Result<usize, Wrong> {
        let Some(&(index, base)) = self.tables.get(&name.to_lowercase()) else {
            return Err(Wrong::unknown("there is no table", name, self.tables.keys().map(String::as_str)));
        };
        if compatible(base, target.kind) {
            return Ok(index);
        }
        // The guide repeats the last step in the table at times: `family` as FN[HumanName].
        if compatible(base, target.parent) && target.steps.len() <= 1 || self.parent_fits(base, target) {
            target.steps.pop();
            target.kind = target.parent;
            target.multiplies = target.multiplies.filter(|at| *at < target.steps.len());
            return Ok(index);
        }
        Err(Wrong::new(format!("`{name}` makes a {}, the element holds a {}", shown(base), shown(target.kind))))
    }

    fn parent_fits(&self, base: Kind, target: &Target) -> bool {
        compatible(base, target.parent) && matches!(target.steps.last(), Some(Step::Element { .. }))
    }
}

/// Makes the first step of `row` the shared member, where it is of the list `shared` and has no number of its own.
fn share(row: &mut Row, shared: Option<&'static Element>) {
    if let Some(Step::Element { element, label, .. }) = row.target.steps.first_mut()
        && *label == 0
        && shared.is_some_and(|shared| shared == *element)
    {
        *label = path::SHARED;
    }
}

/// Finds the rows of which the field alone makes the resource that they lead to.
fn mark_alone(rows: &mut [Row]) {
    let paths: Vec<Vec<Step>> = rows.iter().map(|row| row.target.steps.clone()).collect();
    for (i, row) in rows.iter_mut().enumerate() {
        let steps = &row.target.steps;
        let is_resource = matches!(steps.last(), Some(Step::Resource { .. }));
        let mut others = paths.iter().enumerate().filter(|(j, _)| *j != i);
        row.alone = is_resource && others.all(|(_, other)| !other.starts_with(steps));
    }
}

/// A fixed row goes where its field's value goes: what a repetition multiplies for one, it
/// multiplies for all that share the path so far.
fn align(rows: &mut [Row]) {
    let leads: Vec<(From, Vec<Step>)> = rows
        .iter()
        .filter(|row| matches!(row.action, Action::Table(_) | Action::Copy(_)))
        .filter_map(|row| Some((row.from, row.target.steps.get(..=row.target.multiplies?)?.to_vec())))
        .collect();
    for row in rows {
        let of_field = leads.iter().filter(|(from, _)| from.part == row.from.part);
        let shared = of_field.filter(|(_, lead)| row.target.steps.starts_with(lead)).map(|(_, lead)| lead.len() - 1);
        row.target.multiplies = shared.min().or(row.target.multiplies);
    }
}

/// The place of something wrong within a text in quotes.
pub(super) fn within(spanned: &Spanned<String>) -> impl FnOnce((usize, Wrong)) -> (usize, Wrong) {
    let start = spanned.span().start;
    move |(offset, wrong)| (start + 1 + offset, wrong)
}

fn at(spanned: &Spanned<String>) -> impl FnOnce(Wrong) -> (usize, Wrong) {
    let start = spanned.span().start;
    move |wrong| (start, wrong)
}

fn shown(kind: Kind) -> String {
    match kind {
        Kind::Primitive(primitive) => format!("{primitive:?}"),
        Kind::Complex(id) => types().get(id).name.clone(),
    }
}

/// Primitives become one another by conversion; the kinds of Quantity are built alike.
fn compatible(base: Kind, kind: Kind) -> bool {
    const QUANTITIES: [&str; 6] = ["Quantity", "Duration", "Age", "Count", "Distance", "SimpleQuantity"];
    match (base, kind) {
        (Kind::Primitive(_), Kind::Primitive(_)) => true,
        (Kind::Complex(a), Kind::Complex(b)) => {
            let is_quantity = |id| QUANTITIES.contains(&types().get(id).name.as_str());
            a == b || (is_quantity(a) && is_quantity(b))
        }
        _ => false,
    }
}

/// The field or component that a row comes from; `None` for a row without one.
fn source_of(from: &Spanned<String>, scope: Scope<'_>) -> Result<Option<From>, Wrong> {
    let text = from.get_ref().as_str();
    if scope.segment == Some(text) {
        return Ok(None);
    }
    match condition::place(text, scope)? {
        Place::Part { part, sub } => Ok(Some(From { part, component: sub, subcomponent: 0 })),
        Place::Field { segment: None, field, component, subcomponent, repetition: None } => {
            Ok(Some(From { part: field, component, subcomponent }))
        }
        _ => Err(Wrong::new(format!("`{text}` is not of this table"))),
    }
}

fn file_row(table: &mut Table, row: Row) {
    let index = u16::try_from(table.rows.len()).unwrap_or(u16::MAX);
    let part = usize::from(row.from.part);
    if row.target.each {
        table.each.push(index);
    } else if row.from == From::default() {
        let of_whole = matches!(row.action, Action::Copy(_) | Action::Table(_));
        if of_whole { table.whole.push(index) } else { table.always.push(index) }
    } else if row.when.as_ref().is_some_and(|test| asks_for_absence(test, row.from)) {
        table.always.push(index);
    } else {
        if table.by_part.len() <= part {
            table.by_part.resize_with(part + 1, PartRows::default);
        }
        if let Some(rows) = table.by_part.get_mut(part) {
            rows.all.push(index);
        }
    }
    table.rows.push(row);
}

/// True if `test` can hold where `from` has no value.
fn asks_for_absence(test: &Test, from: From) -> bool {
    let is_own = |place: &Place| match place {
        Place::Part { part, sub } => *part == from.part && *sub == from.component,
        Place::Field { segment: None, field, component, .. } => *field == from.part && *component == from.component,
        _ => false,
    };
    match test {
        Test::Not(inner) => {
            matches!(&**inner, Test::One { place, check: Check::Valued, .. } if is_own(place))
        }
        Test::All(tests) | Test::Any(tests) => tests.iter().any(|test| asks_for_absence(test, from)),
        Test::One { .. } => false,
    }
}

fn fixed_value(text: &str, kind: Kind) -> Result<Value, Wrong> {
    let wrong = |what: &str| Wrong::new(format!("`{text}` is no {what}"));
    match kind {
        Kind::Primitive(Primitive::Boolean) => text.parse().map(Value::Bool).map_err(|_| wrong("true or false")),
        Kind::Primitive(Primitive::Decimal | Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt) => {
            text.parse().map(Value::Number).map_err(|_| wrong("number"))
        }
        Kind::Primitive(_) => Ok(Value::from(text)),
        Kind::Complex(id) => Err(wrong(&types().get(id).name)),
    }
}

fn conversion(name: &str) -> Result<Convert, Wrong> {
    const NAMES: [(&str, Convert); 10] = [
        ("identifier-system", Convert::IdentifierSystem),
        ("entity-system", Convert::EntitySystem),
        ("coding-system", Convert::CodingSystem),
        ("base64", Convert::Base64),
        ("mime", Convert::Mime),
        ("name-text", Convert::NameText),
        ("sampled-data", Convert::SampledData),
        ("dimensions", Convert::Dimensions),
        ("whole-text", Convert::WholeText),
        ("comparator", Convert::Comparator),
    ];
    let found = NAMES.iter().find(|(known, _)| *known == name).map(|(_, convert)| *convert);
    found.ok_or_else(|| Wrong::unknown("there is no conversion", name, NAMES.iter().map(|(name, _)| *name)))
}

/// `system` beside a code or a value is a URI, the message has a name.
fn implied_conversion(target: &Target) -> Option<Convert> {
    let Some(Step::Element { element, .. }) = target.steps.last() else { return None };
    (element.name == "system" && element.kind == Kind::Primitive(Primitive::Uri)).then_some(Convert::CodingSystem)
}
