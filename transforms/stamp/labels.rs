//! Which HL7 v2 fields say how data must be handled, and what they say: rules from `labels.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use message::consent::{Confidentiality, Flags, Purpose};
use message::hl7v2::{self, Path, Segment};
use message::{Finding, FindingKind};
use serde::Deserialize;

/// The rules that come with the engine.
const SHIPPED: &str = include_str!("labels.toml");

/// One rule: a field, the values it fits, and the labels that follow. See `labels.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRule {
    /// The field or component: `ORC-28`, `PV1-3.1`.
    pub from: String,
    /// The values it fits; any where empty.
    #[serde(default)]
    pub value: Vec<String>,
    /// Another field of the same segment that must have one of these values.
    pub given: Option<Beside>,
    /// Another field of the same segment that must not have one of these values.
    pub unless: Option<Beside>,
    /// What is labelled.
    pub on: On,
    /// Confidentiality or ActCode codes.
    #[serde(default)]
    pub label: Vec<String>,
    /// The value itself is an ActCode code.
    #[serde(default)]
    pub copy: bool,
    /// The only purposes of use that are left; none where empty.
    pub purpose: Option<BTreeSet<Purpose>>,
    /// Leaves a finding, because an analyst should see to it.
    #[serde(default)]
    pub report: bool,
}

/// A field of the same segment and its values; any value where none is listed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The field: `CON-2`.
    pub field: String,
    /// Its values.
    #[serde(default)]
    pub value: Vec<String>,
}

/// What a rule labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// Everything in the message.
    Message,
    /// The Patient.
    Patient,
    /// The Encounter.
    Encounter,
    /// The Encounter and all that belongs to it.
    Visit,
    /// The resources of the order group (ORC or OBR to the next).
    Order,
    /// The Condition that the segment became.
    Condition,
    /// The RelatedPersons.
    RelatedPerson,
    /// The DocumentReferences.
    Document,
}

/// A rule that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label rule for `{from}`: {reason}")]
pub struct LabelRuleError {
    /// The rule's `from`, or `labels.toml`.
    pub from: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is labelled on a resource: how confidential at least, and which ActCode codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    /// At least this confidential.
    pub(super) level: Option<Confidentiality>,
    /// ActCode codes.
    pub(super) codes: BTreeSet<String>,
    /// Who stands behind it: codes of v3-ObservationValue, such as `DEVAST`.
    pub(super) assertions: BTreeSet<&'static str>,
}

impl Labels {
    /// Takes on all of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        self.level = self.level.max(other.level);
        self.codes.extend(other.codes.iter().cloned());
        self.assertions.extend(&other.assertions);
    }

    pub(super) fn add_code(&mut self, code: &str) {
        match Confidentiality::from_code(code) {
            Some(level) => self.level = self.level.max(Some(level)),
            None => {
                self.codes.insert(code.to_owned());
            }
        }
    }
}

/// One place in a message that says how data must be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// What it is about.
    pub(super) on: On,
    /// The segment it stands in, counted from 0.
    pub(super) segment: usize,
    /// What it asks for.
    pub(super) labels: Labels,
}

/// All that a message's fields say of how to handle it.
#[derive(Clone, Debug, Default)]
pub(super) struct Handling {
    /// The labels and what they are about.
    pub(super) marks: Vec<Mark>,
    /// The purposes that are left for the whole message.
    pub(super) flags: Flags,
    /// What an analyst should see to.
    pub(super) findings: Vec<Finding>,
}

/// The rules, compiled: by segment, then by field, in order.
#[derive(Clone, Debug)]
pub(super) struct LabelRules(BTreeMap<String, Vec<Field>>);

#[derive(Clone, Debug)]
struct Field {
    at: At,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    given: Option<Condition>,
    unless: Option<Condition>,
    stated: LabelRule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    field: usize,
    component: usize,
}

#[derive(Clone, Debug)]
struct Condition {
    at: At,
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<LabelRule>,
}

impl LabelRules {
    /// `site`'s rules, then those that come with the engine.
    pub(super) fn new(site: &[LabelRule]) -> Result<Self, LabelRuleError> {
        let shipped: File = toml::from_str(SHIPPED)
            .map_err(|error| LabelRuleError { from: "labels.toml".to_owned(), reason: error.message().to_owned() })?;
        let mut rules = Self(BTreeMap::new());
        site.iter().cloned().chain(shipped.rule).try_for_each(|rule| rules.push(rule))?;
        Ok(rules)
    }

    fn push(&mut self, rule: LabelRule) -> Result<(), LabelRuleError> {
        let wrong = |reason: String| LabelRuleError { from: rule.from.clone(), reason };
        if let Some(label) = rule.label.iter().find(|label| !is_code(label)) {
            return Err(wrong(format!(
                "`{label}` is no label: write a Confidentiality or ActCode code, such as R or HIV"
            )));
        }
        let (segment, at) = place(&rule.from).map_err(wrong)?;
        let beside = |beside: &Option<Beside>| beside.as_ref().map(|other| condition(other, &segment)).transpose();
        let given = beside(&rule.given).map_err(wrong)?;
        let unless = beside(&rule.unless).map_err(wrong)?;
        let rule = Rule { given, unless, stated: rule };
        let fields = self.0.entry(segment).or_default();
        match fields.iter_mut().find(|field| field.at == at) {
            Some(field) => field.rules.push(rule),
            None => fields.push(Field { at, rules: vec![rule] }),
        }
        Ok(())
    }

    /// What `message` says of how to handle it.
    pub(super) fn read(&self, message: &hl7v2::Message) -> Handling {
        let mut handling = Handling::default();
        handling.flags.test_data = is_test(message);
        for segment in message.segments() {
            let Some(fields) = self.0.get(segment.name()) else { continue };
            fields.iter().for_each(|field| field.read(&segment, &mut handling));
        }
        handling
    }
}

/// MSH-11.1 is valued and not `P`.
fn is_test(message: &hl7v2::Message) -> bool {
    let processing_id = message.segment("MSH").map(|msh| msh.field(11).component(1));
    processing_id.is_some_and(|id| id.is_valued() && !id.text().trim().eq_ignore_ascii_case("P"))
}

impl Field {
    fn read(&self, segment: &Segment<'_>, handling: &mut Handling) {
        for repetition in segment.field(self.at.field).repetitions() {
            let component = repetition.component(self.at.component);
            if !component.is_valued() {
                continue;
            }
            let value = component.value();
            let value = value.trim();
            if let Some(rule) = self.rules.iter().find(|rule| rule.fits(segment, value)) {
                rule.stated.apply(segment, value, handling);
            }
        }
    }
}

impl Rule {
    fn fits(&self, segment: &Segment<'_>, value: &str) -> bool {
        self.given.as_ref().is_none_or(|given| given.holds(segment))
            && !self.unless.as_ref().is_some_and(|unless| unless.holds(segment))
            && is_among(&self.stated.value, value)
    }
}

/// True if `values` lists `value`, or lists nothing.
fn is_among(values: &[String], value: &str) -> bool {
    values.is_empty() || values.iter().any(|listed| listed.eq_ignore_ascii_case(value))
}

impl LabelRule {
    fn apply(&self, segment: &Segment<'_>, value: &str, handling: &mut Handling) {
        let mut labels = Labels::default();
        self.label.iter().for_each(|label| labels.add_code(label));
        let copied = self.copy && is_code(value);
        if copied {
            labels.add_code(value);
        }
        if let Some(level) = labels.level {
            handling.flags.raise(level);
        }
        labels.codes.iter().for_each(|code| handling.flags.refrain(code));
        if let Some(purposes) = &self.purpose {
            handling.flags.restrict(purposes);
        }
        if self.report || (self.copy && !copied) {
            handling.findings.push(finding(&self.from));
        }
        if labels != Labels::default() {
            handling.marks.push(Mark { on: self.on, segment: segment.number(), labels });
        }
    }
}

fn finding(from: &str) -> Finding {
    Finding {
        kind: FindingKind::Untranslated,
        location: from.into(),
        text: "how to handle this data is said in a way that no label rule knows: add a rule for it".into(),
    }
}

impl Condition {
    fn holds(&self, segment: &Segment<'_>) -> bool {
        segment.field(self.at.field).repetitions().any(|repetition| {
            let component = repetition.component(self.at.component);
            component.is_valued() && is_among(&self.values, component.text().trim())
        })
    }
}

fn condition(beside: &Beside, segment: &str) -> Result<Condition, String> {
    let (name, at) = place(&beside.field)?;
    if name != segment {
        return Err(format!("`{}` is not in the same segment", beside.field));
    }
    Ok(Condition { at, values: beside.value.clone() })
}

/// Segment, field and component of `ORC-28` or `PV1-3.1`.
fn place(text: &str) -> Result<(String, At), String> {
    let path = Path::from_str(text)?;
    match path {
        Path { segment, occurrence: None, field: Some(field), repetition: None, component, subcomponent: None } => {
            Ok((segment, At { field, component: component.unwrap_or(1) }))
        }
        _ => Err(format!("`{text}` must name a field or a component, such as PV1-3.1")),
    }
}

/// True for what can be a label: letters, digits and dashes.
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
