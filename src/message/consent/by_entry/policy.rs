//! A site's policy: what the law and the house say before and after the patient is asked.

use std::collections::BTreeMap;

use crate::json::{Number, Text, Value};

use super::entry::Coded;
use super::span::Micros;
use crate::consent::Confidentiality;

/// What is answered for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It may go.
    Permit,
    /// It may not.
    Deny,
    /// It cannot be said yet: it waits, and nothing is lost.
    Park,
}

impl Effect {
    /// `permit`, `deny` or `park`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Park => "park",
        }
    }

    fn from_code(code: &str) -> Option<Self> {
        [Self::Permit, Self::Deny, Self::Park].into_iter().find(|effect| effect.code() == code)
    }
}

/// What the receiver is told of what was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notice {
    /// Nothing: no label, no count, no Provenance.
    None,
    /// `REDACTED` on the Bundle and on entries that lost something.
    #[default]
    Label,
    /// An OperationOutcome, without what or why.
    Outcome,
}

/// A deployment policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name, such as `us-tpo`.
    pub id: String,
    /// The confidentiality of what carries no such label.
    pub unlabelled: Confidentiality,
    /// True if one denied entry denies the whole message (signed documents).
    pub whole: bool,
    /// ActReason code, or `*`, to what is answered where nobody says anything.
    pub default: BTreeMap<String, Effect>,
    /// How old cached consents may be while their source is down, in microseconds.
    pub max_stale: Micros,
    /// Whether and how an emergency opens a record.
    pub break_glass: Option<BreakGlass>,
    /// What the law forbids.
    pub mandatory_deny: Vec<Rule>,
    /// What the law demands.
    pub mandatory_permit: Vec<Rule>,
    /// What a recipient must do with what it gets.
    pub obligations: Vec<Rule>,
    /// Purposes that only a consent naming them permits.
    pub explicit_purpose: Vec<String>,
    /// Policy URIs that a Consent may cite, with how confidential the data is that it can release.
    pub caps: Vec<(String, Confidentiality)>,
    /// What the receiver is told of what was left out.
    pub notice: Notice,
    /// True if a document may go of which a section is left empty that it must have: allergies, medicines, problems.
    pub partial_documents: bool,
}

/// Opening a record in an emergency, against or without consent.
#[derive(Clone, Debug, Default)]
pub struct BreakGlass {
    /// The purposes for which it can be declared.
    pub purposes: Vec<String>,
    /// True if a reason must be given.
    pub requires_reason: bool,
    /// How long a declaration lasts, in microseconds; for ever where it is not said.
    pub lasts: Option<Micros>,
    /// True if it works while consents cannot be known.
    pub when_unavailable: bool,
    /// True if a patient's refusal that names emergencies stands.
    pub patient_can_block: bool,
    /// Labels that it never opens.
    pub never: Vec<String>,
    /// Obligations of what it opens; `AUDIT` is always among them.
    pub obligations: Vec<String>,
}

/// A rule of law or of the house.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, such as `part2`.
    pub id: String,
    /// The law, such as `42 CFR 2.13`.
    pub cite: Option<String>,
    /// What it applies to.
    pub when: When,
    /// What lifts a prohibition.
    pub unless: Option<Lift>,
    /// True if a declared emergency lifts it.
    pub emergency_exempt: bool,
    /// The obligations that come with it.
    pub add: Vec<String>,
}

/// What lifts a prohibition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lift {
    /// A consent that permits it.
    Permit,
    /// A consent that permits it and names the label.
    PermitNamingLabel,
    /// A consent that permits it and names the purpose.
    PermitNamingPurpose,
}

/// What a rule applies to: all that is said must hold, any value of each is enough.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// ActCode labels, or Confidentiality levels: at least that.
    pub label: Vec<String>,
    /// ActReason codes, with what lies within them.
    pub purpose: Vec<String>,
    /// Kinds of the receiving organisation.
    pub recipient_type: Vec<String>,
    /// True if the recipient is the patient.
    pub recipient_is_patient: Option<bool>,
    /// Clinical codes.
    pub code: Vec<Coded>,
    /// Resource types.
    pub resource_type: Vec<String>,
    /// Asserted actions.
    pub action: Vec<String>,
}

/// A policy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy: {reason}")]
pub struct PolicyError {
    /// What leads to the mistake: keys, and places in lists from 0.
    pub path: Vec<String>,
    /// What is wrong there.
    pub reason: String,
}

impl PolicyError {
    fn under(mut self, key: impl ToString) -> Self {
        self.path.insert(0, key.to_string());
        self
    }
}

type Read<T> = Result<T, PolicyError>;

fn wrong<T>(what: impl Into<String>) -> Read<T> {
    Err(PolicyError { path: Vec::new(), reason: what.into() })
}

impl Policy {
    /// Reads a policy; `id` is its name where it does not say.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] for what is not understood: a rule that is skipped is a disclosure.
    pub fn read(id: &str, value: &Value) -> Read<Self> {
        let Some(members) = value.as_object() else { return wrong("it must be a table") };
        let mut policy = Self::silent(id);
        members.iter().try_for_each(|(key, value)| policy.take(key, value).map_err(|error| error.under(key)))?;
        Ok(policy)
    }

    fn take(&mut self, key: &str, value: &Value) -> Read<()> {
        match key {
            "id" => self.id = text(key, value)?,
            "description" | "version" | "note" | "cite" => {}
            "unlabeled_confidentiality" => self.unlabelled = level(key, value)?,
            "granularity" => self.whole = one_of(key, value, &["resource", "message"])? == 1,
            "partial_documents" => self.partial_documents = flag(key, value)?,
            "combine" => {
                one_of(key, value, &["latest-in-series, deny-across-series"])?;
            }
            "multi_purpose" => {
                one_of(key, value, &["every"])?;
            }
            "default" => self.default = defaults(value)?,
            "cache" => self.max_stale = max_stale(value)?,
            "break_glass" => self.break_glass = break_glass(value)?,
            "mandatory_deny" => self.mandatory_deny = rules(key, value)?,
            "mandatory_permit" => self.mandatory_permit = rules(key, value)?,
            "obligations" | "obligation" => self.obligations = rules(key, value)?,
            "explicit_purpose" => self.explicit_purpose = texts(key, value)?,
            "uri_rules" => self.caps = caps(value)?,
            "redaction_notice" => {
                let notices = [Notice::None, Notice::Label, Notice::Outcome];
                let at = one_of(key, value, &["none", "label", "outcome"])?;
                self.notice = notices.get(at).copied().unwrap_or_default();
            }
            _ => return wrong(format!("`{key}` is not understood")),
        }
        Ok(())
    }

    /// A policy that says nothing and permits nothing.
    #[must_use]
    pub fn silent(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            unlabelled: Confidentiality::N,
            whole: false,
            default: BTreeMap::new(),
            max_stale: 900_000_000,
            break_glass: None,
            mandatory_deny: Vec::new(),
            mandatory_permit: Vec::new(),
            obligations: Vec::new(),
            explicit_purpose: vec!["MLTRAINING".to_owned()],
            caps: Vec::new(),
            notice: Notice::default(),
            partial_documents: false,
        }
    }
}

fn text(key: &str, value: &Value) -> Read<String> {
    value.as_str().map(str::to_owned).map_or_else(|| wrong(format!("`{key}` must be a text")), Ok)
}

/// A list of texts, or one; `{"label": TEXT}` for one of them.
fn texts(key: &str, value: &Value) -> Read<Vec<String>> {
    match value {
        Value::Array(list) => list.iter().map(|item| text(key, item.get("label").unwrap_or(item))).collect(),
        _ => Ok(vec![text(key, value)?]),
    }
}

fn flag(key: &str, value: &Value) -> Read<bool> {
    value.as_bool().map_or_else(|| wrong(format!("`{key}` must be true or false")), Ok)
}

fn level(key: &str, value: &Value) -> Read<Confidentiality> {
    let level = Confidentiality::from_code(&text(key, value)?);
    level.map_or_else(|| wrong(format!("`{key}` must be one of U, L, M, N, R, V")), Ok)
}

fn one_of(key: &str, value: &Value, known: &[&str]) -> Read<usize> {
    let said = text(key, value)?;
    let at = known.iter().position(|known| *known == said);
    at.map_or_else(|| wrong(format!("`{key}` must be one of: {}", known.join("; "))), Ok)
}

fn defaults(value: &Value) -> Read<BTreeMap<String, Effect>> {
    let Some(members) = value.as_object() else { return wrong("`default` must be a table") };
    let entry = |(purpose, value): (&Text, &Value)| {
        let effect = Effect::from_code(&text("default", value)?);
        effect.map_or_else(
            || wrong(format!("`default.{purpose}` must be permit, deny or park")),
            |effect| Ok((purpose.to_string(), effect)),
        )
    };
    members.iter().map(entry).collect()
}

/// A number of `unit` seconds, or a text such as `300s`, `15min`, `24h`, `5d`.
fn duration(key: &str, value: &Value, unit: i64) -> Read<Micros> {
    if let Some(number) = value.as_number().and_then(Number::as_f64).filter(|number| (0.0..1e9).contains(number)) {
        #[expect(clippy::cast_possible_truncation, reason = "it was just bounded")]
        let micros = (number * 1e6) as i64;
        return Ok(micros.saturating_mul(unit));
    }
    let said = value.as_str().unwrap_or_default();
    let (digits, unit) = said.split_at(said.find(|c: char| !c.is_ascii_digit()).unwrap_or(said.len()));
    let seconds = match unit {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return wrong(format!("`{key}` must be a duration, such as \"300s\" or \"24h\"")),
    };
    let count = digits.parse::<i64>().ok();
    count.and_then(|n| n.checked_mul(seconds * 1_000_000)).map_or_else(|| wrong(format!("`{key}` is too long")), Ok)
}

fn max_stale(value: &Value) -> Read<Micros> {
    let Some(members) = value.as_object() else { return wrong("`cache` must be a table") };
    let mut longest = 900_000_000;
    for (key, value) in members {
        match key.as_str() {
            "ttl_seconds" | "ttl" => {
                duration(key, value, 1)?;
            }
            "max_stale_seconds" | "max_stale" => longest = duration(key, value, 1)?,
            _ => return wrong(format!("`cache.{key}` is not understood")),
        }
    }
    Ok(longest)
}

fn break_glass(value: &Value) -> Read<Option<BreakGlass>> {
    let Some(members) = value.as_object() else { return wrong("`break_glass` must be a table") };
    let mut rule = BreakGlass { requires_reason: true, patient_can_block: true, ..BreakGlass::default() };
    let mut enabled = true;
    for (key, value) in members {
        match key.as_str() {
            "enabled" => enabled = flag(key, value)?,
            "purposes" => rule.purposes = texts(key, value)?,
            "requires_reason" => rule.requires_reason = flag(key, value)?,
            "max_hours" => rule.lasts = Some(duration(key, value, 3_600)?),
            "max" => rule.lasts = Some(duration(key, value, 1)?),
            "when_unavailable" => rule.when_unavailable = flag(key, value)?,
            "patient_can_block" => rule.patient_can_block = flag(key, value)?,
            "never" => rule.never = texts(key, value)?,
            "obligations" => rule.obligations = texts(key, value)?,
            "cite" => {}
            _ => return wrong(format!("`break_glass.{key}` is not understood")),
        }
    }
    Ok(enabled.then(|| rule.audited()))
}

fn caps(value: &Value) -> Read<Vec<(String, Confidentiality)>> {
    let Some(members) = value.as_object() else { return wrong("`uri_rules` must be a table") };
    let mut caps = Vec::new();
    for (uri, value) in members {
        for (key, value) in value.as_object().into_iter().flatten() {
            match key.as_str() {
                "max_confidentiality" => caps.push((uri.to_string(), level(key, value)?)),
                "cite" => {}
                _ => return wrong(format!("`uri_rules.{key}` is not understood")),
            }
        }
    }
    Ok(caps)
}

fn rules(key: &str, value: &Value) -> Read<Vec<Rule>> {
    let Some(list) = value.as_array() else { return wrong(format!("`{key}` must be a list")) };
    list.iter().enumerate().map(|(at, value)| rule(key, value).map_err(|error| error.under(at))).collect()
}

fn rule(table: &str, value: &Value) -> Read<Rule> {
    let Some(members) = value.as_object() else { return wrong(format!("`{table}` must list tables")) };
    let mut rule = Rule {
        id: String::new(),
        cite: None,
        when: When::default(),
        unless: None,
        emergency_exempt: false,
        add: Vec::new(),
    };
    members.iter().try_for_each(|(key, value)| rule.take(key, value).map_err(|error| error.under(key)))?;
    Ok(rule)
}

impl Rule {
    fn take(&mut self, key: &str, value: &Value) -> Read<()> {
        match key {
            "id" => self.id = text(key, value)?,
            "cite" => self.cite = Some(text(key, value)?),
            "note" | "description" => {}
            "when" => {
                let Some(conditions) = value.as_object() else { return wrong("`when` must be a table") };
                conditions
                    .iter()
                    .try_for_each(|(key, value)| self.when.read(key, value).map_err(|error| error.under(key)))?;
            }
            "unless" => {
                let lifts = [Lift::Permit, Lift::PermitNamingLabel, Lift::PermitNamingPurpose];
                let known = ["explicit-permit", "explicit-permit-naming-label", "explicit-permit-naming-purpose"];
                self.unless = lifts.get(one_of(key, value, &known)?).copied();
            }
            "emergency_exempt" => self.emergency_exempt = flag(key, value)?,
            "add" | "obligations" => self.add = texts(key, value)?,
            condition => self.when.read(condition, value)?,
        }
        Ok(())
    }
}

impl When {
    fn read(&mut self, key: &str, value: &Value) -> Read<()> {
        match key {
            "label" => self.label = texts(key, value)?,
            "purpose" => self.purpose = texts(key, value)?,
            "recipient_type" => self.recipient_type = texts(key, value)?,
            "recipient_is_patient" => self.recipient_is_patient = Some(flag(key, value)?),
            "code" => {
                let coded = |text: &String| {
                    let (system, code) = text.rsplit_once('|').unwrap_or(("", text));
                    Coded::new(system, code)
                };
                self.code = texts(key, value)?.iter().map(coded).collect();
            }
            "resource_type" => self.resource_type = texts(key, value)?,
            "action" => self.action = texts(key, value)?,
            _ => return wrong(format!("`{key}` is not understood in a rule")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[test]
    fn reads_both_ways_of_writing_it() {
        let by_when = json!({ "mandatory_deny": [{ "id": "part2", "when": { "label": ["42CFRPart2"] } }], "break_glass": { "max_hours": 24, "never": [{ "label": "PSYTHPN" }] } });
        let flat = json!({ "mandatory_deny": [{ "id": "part2", "label": ["42CFRPart2"] }], "break_glass": { "max": "24h", "never": ["PSYTHPN"] } });
        for value in [by_when, flat] {
            let policy = Policy::read("x", &value).unwrap();
            assert_eq!(policy.mandatory_deny[0].when.label, ["42CFRPart2"]);
            let glass = policy.break_glass.unwrap();
            assert_eq!(glass.lasts, Some(86_400_000_000));
            assert_eq!(glass.never, ["PSYTHPN"]);
        }
    }

    #[test]
    fn says_where_a_mistake_is() {
        let value = json!({ "mandatory_deny": [{ "id": "a" }, { "when": { "weather": "rain" } }] });
        assert_eq!(Policy::read("x", &value).unwrap_err().path, ["mandatory_deny", "1", "when", "weather"]);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for (value, reason) in [
            (json!({ "mandatory_dent": [] }), "policy: `mandatory_dent` is not understood"),
            (json!({ "mandatory_deny": [{ "weather": "rain" }] }), "policy: `weather` is not understood in a rule"),
            (json!({ "default": { "*": "maybe" } }), "policy: `default.*` must be permit, deny or park"),
            (
                json!({ "cache": { "max_stale": "soon" } }),
                "policy: `max_stale` must be a duration, such as \"300s\" or \"24h\"",
            ),
        ] {
            assert_eq!(Policy::read("x", &value).unwrap_err().to_string(), reason);
        }
    }
}
