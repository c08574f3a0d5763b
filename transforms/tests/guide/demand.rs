//! What a segment must become by the guide's tables: a path, and the value at its end.

use std::collections::BTreeMap;
use std::fmt;

use super::condition::{self, Place};
use super::segment::{Segment, is_valued, part};
use super::tables::{Guide, Row};

/// A step to an element, or from a reference to the resource that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Child(String),
    Resource(String),
}

/// What must stand at the end of the path.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    OneOf(Vec<String>),
    /// A value that is converted: a system, an attachment.
    Something,
}

/// One value that the guide demands.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    /// The resource's type.
    pub(crate) root: String,
    pub(crate) path: Vec<Step>,
    pub(crate) want: Want,
    /// The rows that led to it, the segment's first.
    pub(crate) rows: Vec<(String, String, String)>,
}

impl Demand {
    /// The path as the guide writes it, with the numbers that keep members of lists apart.
    pub(crate) fn target(&self) -> String {
        let parts: Vec<&str> = self.rows.iter().map(|(.., to)| to.as_str()).filter(|to| !to.starts_with('$')).collect();
        parts.join(".")
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        for step in &self.path {
            match step {
                Step::Child(name) => write!(f, ".{name}")?,
                Step::Resource(kind) => write!(f, "({kind})")?,
            }
        }
        Ok(())
    }
}

/// A part of a field, and what separates its own parts.
#[derive(Clone, Copy, Debug)]
struct Slice<'m> {
    text: &'m str,
    mark: char,
}

impl<'m> Slice<'m> {
    fn part(self, number: usize) -> Slice<'m> {
        let mark = if self.mark == '^' { '&' } else { '\u{1}' };
        Slice { text: part(self.text, self.mark, number), mark }
    }

    fn first(self) -> &'m str {
        self.text.split(['^', '&']).next().unwrap_or_default()
    }
}

/// Where a row stands.
#[derive(Clone)]
struct Around<'m> {
    message: &'m [Segment<'m>],
    at: usize,
    /// The repetition of the field at hand, or the component whose data type it is.
    slice: Option<Slice<'m>>,
    field: usize,
}

impl<'m> Around<'m> {
    fn segment(&self, name: &str) -> Option<&'m Segment<'m>> {
        let before = self.message[..=self.at].iter().rev().find(|segment| segment.name() == name);
        before.or_else(|| self.message[self.at..].iter().find(|segment| segment.name() == name))
    }

    fn is_segment(&self, name: &str) -> bool {
        const TYPES: [&str; 12] = ["CWE", "CNE", "XAD", "XCN", "XON", "XTN", "XPN", "EIP", "DLN", "RPT", "PLN", "MSG"];
        name.len() == 3 && !TYPES.contains(&name)
    }
}

impl Place for Around<'_> {
    fn text(&self, path: &str) -> String {
        let (head, numbers) = path.split_at(path.find(['-', '.']).unwrap_or(path.len()));
        let numbers: Vec<usize> = numbers.split(['-', '.']).filter_map(|number| number.parse().ok()).collect();
        if !self.is_segment(head) {
            let Some(slice) = self.slice else { return String::new() };
            return numbers.iter().fold(slice, |slice, number| slice.part(*number)).text.to_owned();
        }
        let Some(segment) = self.segment(head) else { return String::new() };
        let Some((field, parts)) = numbers.split_first() else { return segment.fields.join("|") };
        let own = segment.name() == self.message[self.at].name() && *field == self.field;
        let text = match self.slice.filter(|slice| own && slice.mark == '^') {
            Some(slice) => slice.text,
            None => segment.field(*field).split('~').next().unwrap_or_default(),
        };
        parts.iter().fold(Slice { text, mark: '^' }, |slice, number| slice.part(*number)).text.to_owned()
    }

    fn count(&self, path: &str) -> usize {
        let Some((name, number)) = path.split_once('-') else { return 0 };
        let text = self.segment(name).map_or("", |segment| segment.field(number.parse().unwrap_or(0)));
        if text.is_empty() { 0 } else { text.split('~').count() }
    }
}

type Codes<'g> = Option<&'g BTreeMap<String, Vec<String>>>;

/// Whether the condition of a message map holds for segment `at`.
pub(crate) fn applies(when: &str, message: &[Segment<'_>], at: usize) -> bool {
    let around = Around { message, at, slice: None, field: 0 };
    when.is_empty() || condition::holds(when, message[at].name(), &around) == Some(true)
}

/// What `table` demands of segment `at` of `message`.
pub(crate) fn of_segment(guide: &Guide, table: &str, message: &[Segment<'_>], at: usize) -> Vec<Demand> {
    let mut out = Vec::new();
    let root = base(table);
    for row in guide.segments.get(&table.to_lowercase()).into_iter().flatten() {
        let field = row.from.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
        let text = if field == 0 { "" } else { message[at].field(field) };
        for repetition in text.split('~') {
            let slice = (field > 0).then_some(Slice { text: repetition, mark: '^' });
            let around = Around { message, at, slice, field };
            of_row(guide, row, &(root.clone(), Vec::new(), Vec::new()), &around, None, &mut out);
        }
    }
    out
}

/// The resource, the path within it, and the rows so far.
type Base = (String, Vec<Step>, Vec<(String, String, String)>);

fn of_row(guide: &Guide, row: &Row, base_at: &Base, around: &Around<'_>, codes: Codes<'_>, out: &mut Vec<Demand>) {
    // `partOf` of a chain of Locations is no row's alone; what only words condition is a site's to decide.
    let in_words = row.when.is_empty() && !row.narrative.is_empty();
    if row.to.is_empty() || row.to.starts_with('?') || row.to.contains("partOf") || in_words {
        return;
    }
    let (to, given) = match row.to.split_once('=') {
        Some((to, given)) => (to.to_owned(), given.to_owned()),
        None => (row.to.clone(), row.assignment.clone()),
    };
    let is_there = around.slice.is_some_and(|slice| is_valued(slice.text));
    let subject = if row.from.is_empty() { row.table.split('[').next().unwrap_or_default() } else { &row.from };
    // Nothing is demanded where the source is empty, unless a condition asks for that.
    let holds = if row.when.is_empty() { Some(is_there || around.slice.is_none()) } else { None };
    let holds = holds.or_else(|| condition::holds(&row.when, subject, around));
    if holds != Some(true) {
        return;
    }
    // A fixed value of an empty field is demanded where the condition asks for its emptiness.
    let asks_for_emptiness = row.from.is_empty() || row.when.contains(&format!("{} NOT VALUED", row.from));
    if !is_there && around.slice.is_some() && !asks_for_emptiness {
        return;
    }
    let Some(mut steps) = steps(&to) else { return };
    let mut at = base_at.clone();
    at.2.push((row.table.clone(), row.from.clone(), row.to.clone()));
    // `family` of FN, called from `name.family`, is one step.
    if at.1.last().is_some() && at.1.last() == steps.first() {
        steps.remove(0);
    }
    let own_codes = guide.vocabulary(&row.vocabulary).filter(|_| !row.vocabulary.is_empty());
    let fixed = fixed(&given, around);
    match fixed {
        Given::Words => return,
        Given::Text(text) => {
            at.1.extend(steps);
            out.push(Demand { root: at.0, path: at.1, want: Want::OneOf(vec![text]), rows: at.2 });
            return;
        }
        Given::Nothing => {}
    }
    let Some(slice) = around.slice.filter(|_| is_there) else { return };
    let is_complex = row.fhir.starts_with(|c: char| c.is_ascii_uppercase()) || row.fhir.is_empty();
    let guess = format!("{}[{}]", row.kind, row.fhir);
    let name = if row.data_type.is_empty() && is_complex { &guess } else { &row.data_type };
    if let Some(rows) = guide.data_type(name) {
        let made = rows.first().map_or(String::new(), |row| base(&row.table));
        if is_resource(&made) && to.starts_with("$this") {
            (at.0, at.1) = (made, Vec::new());
        } else if is_resource(&made) {
            into_resource(&mut steps, &made, rows);
        }
        at.1.extend(steps);
        for row in rows {
            let number = row.from.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
            let part = number.map_or(slice, |number| slice.part(number));
            // Conditions of a data type look at all of it; the value is the part.
            let inner = Around { slice: Some(slice), ..around.clone() };
            of_part(guide, row, &at, &inner, part, own_codes.or(codes), out);
        }
        return;
    }
    at.1.extend(steps);
    let text = slice.first();
    if !is_valued(text) {
        return;
    }
    out.extend(leaf(at, text, own_codes, codes, &row.fhir));
}

/// Makes `steps` end at the resource that `rows` fill, whichever way the guide writes that: with the resource, without,
/// or with steps that the rows repeat.
fn into_resource(steps: &mut Vec<Step>, made: &str, rows: &[Row]) {
    let hop = Step::Resource(made.to_owned());
    let repeated = rows.first().and_then(|row| super::demand::steps(&row.to)).and_then(|steps| steps.first().cloned());
    if let Some(at) = steps.iter().position(|step| *step == hop) {
        steps.truncate(at + 1);
    } else if steps.last().is_some() && steps.last() == repeated.as_ref() {
        steps.pop();
    } else if !matches!(steps.last(), Some(Step::Resource(_))) {
        steps.push(hop);
    }
}

fn of_part(
    guide: &Guide,
    row: &Row,
    at: &Base,
    around: &Around<'_>,
    part: Slice<'_>,
    codes: Codes<'_>,
    out: &mut Vec<Demand>,
) {
    if !row.when.is_empty() {
        let subject = if row.from.is_empty() { "CWE" } else { &row.from };
        if condition::holds(&row.when, subject, around) != Some(true) {
            return;
        }
    } else if !is_valued(part.text) {
        return;
    }
    let with_templates = Row { when: String::new(), assignment: template(&row.assignment, around), ..row.clone() };
    let is_given = matches!(fixed(&with_templates.assignment, around), Given::Text(_));
    // `XTN.3 NOT VALUED`: a fixed value for an empty part.
    let asks_for_emptiness = row.when.contains(&format!("{} NOT VALUED", row.from));
    let slice = if is_given && !is_valued(part.text) && asks_for_emptiness { None } else { Some(part) };
    let inner = Around { slice, ..around.clone() };
    of_row(guide, &with_templates, at, &inner, codes, out);
}

/// `"+"+XTN.5+" "+XTN.6` filled in, where it is made of places.
fn template(assignment: &str, around: &Around<'_>) -> String {
    let pieces = || assignment.split('+').map(str::trim);
    let is_made_of_places = pieces().any(is_place) && pieces().all(|piece| is_place(piece) || piece.contains('"'));
    if !is_made_of_places || assignment.starts_with('/') {
        return assignment.to_owned();
    }
    let mut text = String::new();
    let mut rest = assignment;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('"') {
            let end = inner.find('"').unwrap_or(inner.len());
            text.push_str(&inner[..end]);
            rest = inner.get(end + 1..).unwrap_or_default();
        } else {
            let end = rest.find(['+', '"']).unwrap_or(rest.len());
            if is_place(rest[..end].trim()) {
                text.push_str(&around.text(rest[..end].trim()));
            }
            rest = rest.get(end..).unwrap_or_default().trim_start_matches(['+', ' ']);
        }
    }
    format!("\"{text}\"")
}

fn is_place(text: &str) -> bool {
    let head = text.split(['.', '-']).next().unwrap_or_default();
    (2..=3).contains(&head.len())
        && text.len() > head.len()
        && head.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && text[head.len()..].bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'))
}

enum Given {
    Nothing,
    Text(String),
    /// Said in words alone: nothing to compare with.
    Words,
}

/// The assignment column.
fn fixed(assignment: &str, around: &Around<'_>) -> Given {
    let filled = template(assignment, around);
    let said = filled.trim();
    if said.is_empty() || said.contains("must convert") || said.contains("map HL7 code system") {
        return Given::Nothing;
    }
    if said.starts_with('/') || said.starts_with('#') || said.starts_with("\"#") {
        return Given::Words;
    }
    let text = said.trim_matches('"').trim().to_owned();
    if said.starts_with('"') || text.starts_with("http") || !text.contains([' ', '+']) && !is_place(&text) {
        Given::Text(text)
    } else {
        Given::Words
    }
}

/// The value of a primitive.
fn leaf(at: Base, text: &str, own: Codes<'_>, around: Codes<'_>, fhir: &str) -> Option<Demand> {
    let last = at.1.iter().rev().find_map(|step| match step {
        Step::Child(name) => Some(name.as_str()),
        Step::Resource(_) => None,
    });
    let is_of_words = matches!(last, Some("system" | "display" | "version" | "text" | "unit"));
    let codes = own.or(around.filter(|_| !is_of_words));
    let is_coding = at.1.iter().any(|step| *step == Step::Child("coding".to_owned()));
    let is_converted = matches!(last, Some("system" | "data" | "contentType" | "endpoint" | "url" | "display"));
    let is_of_type = match fhir {
        "date" | "dateTime" | "instant" | "positiveInt" | "unsignedInt" | "decimal" | "integer" | "time" => {
            text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        }
        _ => true,
    };
    if !is_of_type {
        return None;
    }
    let want = match codes.map(|codes| codes.get(text).cloned().unwrap_or_default()) {
        // A code that the guide's table does not translate: what becomes of it is nobody's demand.
        Some(none) if none.is_empty() && !is_coding => return None,
        Some(mut made) => {
            made.push(text.to_owned());
            Want::OneOf(made)
        }
        None if is_converted || text.contains('\\') => Want::Something,
        None => Want::OneOf(vec![text.to_owned()]),
    };
    Some(Demand { root: at.0, path: at.1, want, rows: at.2 })
}

/// The steps of a target; `None` where it is none.
fn steps(to: &str) -> Option<Vec<Step>> {
    let to = mended(to);
    let mut out = Vec::new();
    let mut rest = to.as_str();
    while !rest.is_empty() {
        let is_hop = rest.starts_with('(');
        rest = rest.trim_start_matches(['.', '(', ')']);
        let end = rest.find(['.', '(', ')', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = match after.strip_prefix('[') {
            Some(index) => &index[index.find([']', '}', '.']).map_or(index.len(), |i| i + 1)..],
            None => after,
        };
        if name.is_empty() || name.starts_with('$') {
            continue;
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        out.push(if is_hop { Step::Resource(name.to_owned()) } else { Step::Child(name.to_owned()) });
    }
    if let [.., Step::Child(before), Step::Child(last)] = out.as_mut_slice()
        && before == "extension"
        && last == "uri"
    {
        *last = "url".to_owned();
    }
    Some(out)
}

/// Misprints of the guide's paths.
fn mended(to: &str) -> String {
    const MISPRINTS: [(&str, &str); 24] = [
        ("sytem", "system"),
        ("valueSampedData", "valueSampledData"),
        ("Practioner", "Practitioner"),
        ("practioner", "practitioner"),
        ("organziation", "organization"),
        ("organisation", "organization"),
        ("organization.(", "organization("),
        ("occurenceTiming", "occurrenceTiming"),
        ("boundPeriod", "boundsPeriod"),
        ("valuedateTime", "valueDateTime"),
        ("value.CodeableConcept", "valueCodeableConcept"),
        (".reference(", "("),
        ("extension.uri", "extension.url"),
        ("payer[1]", "payor[1]"),
        ("policyHolder([1]Organization", "policyHolder(Organization"),
        ("PractitionerRole.Practitioner(", "PractitionerRole.practitioner("),
        ("note(Annotation.", "note.("),
        ("coding.uri", "coding.system"),
        ("coding.value", "coding.code"),
        ("Quantity.", ""),
        ("medication(", "medicationReference("),
        ("doseAndRate.timing", "timing"),
        ("coding[3.version", "coding[3].version"),
        ("\u{a0}", ""),
    ];
    let mut out: String = to.split_whitespace().collect();
    for (wrong, right) in MISPRINTS {
        if wrong != "Quantity." || out.starts_with(wrong) {
            out = out.replace(wrong, right);
        }
    }
    out = out.replace("note.(", "note.");
    // `[4].location(Location.mode)` in PL[Location].
    match out.split_once("].location(Location.") {
        Some((_, rest)) => rest.to_owned(),
        None => out,
    }
}

/// What a table makes: `Patient` of `PID[Patient]`, also of `PD1[Patient-Disability]`.
pub(crate) fn base(table: &str) -> String {
    let inner = table.split(['[', ']']).nth(1).unwrap_or_default();
    let inner = inner.split(['-', '.']).next().unwrap_or_default();
    if inner == "DateTime" { "dateTime".to_owned() } else { inner.to_owned() }
}

fn is_resource(kind: &str) -> bool {
    const RESOURCES: [&str; 14] = [
        "Organization",
        "Location",
        "Practitioner",
        "PractitionerRole",
        "RelatedPerson",
        "Patient",
        "Device",
        "Observation",
        "Condition",
        "Procedure",
        "Specimen",
        "DocumentReference",
        "CareTeam",
        "Encounter",
    ];
    RESOURCES.contains(&kind)
}
