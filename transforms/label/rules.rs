//! Label rules: which codes and which authors' programs call for which labels.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use message::consent::by_entry::Coded;
use message::consent::{CONFIDENTIALITY, Confidentiality};
use message::json::{Text, Value};

/// The value sets that come with the engine: ICD-10-CM, RxNorm and LOINC; illustrative, not complete.
const SHIPPED: &str = include_str!("../../config/labels/sensitive.toml");

/// Rules that call for labels.
#[derive(Clone, Debug, Default)]
pub struct LabelRules {
    pub(super) rules: Vec<Rule>,
    /// By system: the codes and the beginnings of codes, with the rules that they call for.
    sets: BTreeMap<Text, ValueSet>,
}

/// One rule: labels, and the flag of an author that calls for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) labels: BTreeSet<Text>,
    pub(super) level: Option<Confidentiality>,
    pub(super) author_flag: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct ValueSet {
    codes: BTreeMap<Text, Vec<usize>>,
    prefixes: Vec<Prefix>,
}

#[derive(Clone, Debug)]
struct Prefix {
    text: Text,
    except: Vec<Text>,
    rule: usize,
}

/// Label rules that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label rule {rule}: {reason}")]
pub struct RuleError {
    /// The rule's id, or its place.
    pub rule: String,
    /// What is wrong with it.
    pub reason: String,
}

impl LabelRules {
    /// The rules that come with the engine.
    ///
    /// # Errors
    ///
    /// Never for what is shipped; a test reads it.
    pub fn shipped() -> Result<Self, RuleError> {
        let mut rules = Self::default();
        rules.add_toml(SHIPPED)?;
        Ok(rules)
    }

    /// Adds the rules of a TOML file: `[[rule]]` with `id`, `label`, `[[rule.match]]`, `author_flag`.
    ///
    /// # Errors
    ///
    /// [`RuleError`] for what is not understood.
    pub fn add_toml(&mut self, text: &str) -> Result<(), RuleError> {
        let value: serde_json::Value = toml::from_str(text).map_err(|error| wrong("of the file", error.message()))?;
        self.add(&value.into())
    }

    /// Adds rules of the same shape as JSON: `{"rules": [{"id", "labels": [Coding], "match": [..]}]}`.
    ///
    /// # Errors
    ///
    /// [`RuleError`] for what is not understood.
    pub fn add(&mut self, value: &Value) -> Result<(), RuleError> {
        let listed = value.get("rule").or_else(|| value.get("rules")).and_then(Value::as_array);
        let listed = listed.ok_or_else(|| wrong("of the file", "there must be a list of rules"))?;
        listed.iter().enumerate().try_for_each(|(at, rule)| self.add_rule(&format!("{}", at + 1), rule))
    }

    /// Adds a value set as CSV, `system,code,label` in each line after a line of headings; several
    /// labels are parted by blanks, and what follows a fourth comma is for people.
    ///
    /// # Errors
    ///
    /// [`RuleError`] with the line that is not understood.
    pub fn add_csv(&mut self, name: &str, text: &str) -> Result<(), RuleError> {
        for (number, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()) {
            let place = format!("{name}:{}", number + 1);
            let parts: Vec<&str> = line.split(',').map(str::trim).collect();
            let [system, code, labels, ..] = parts.as_slice() else {
                return Err(wrong(&place, "must be `system,code,label`"));
            };
            if [system, code, labels].iter().any(|part| part.is_empty() || part.contains('"')) {
                return Err(wrong(&place, "must be `system,code,label` without quotes"));
            }
            let mut rule = Rule { id: name.to_owned(), ..Rule::default() };
            labels.split_whitespace().for_each(|label| rule.take(label));
            let known = self
                .rules
                .iter()
                .position(|known| known.id == rule.id && known.labels == rule.labels && known.level == rule.level);
            let at = known.unwrap_or_else(|| {
                self.rules.push(rule);
                self.rules.len() - 1
            });
            self.set(system).codes.entry(comparable(system, code).into()).or_default().push(at);
        }
        Ok(())
    }

    fn set(&mut self, system: &str) -> &mut ValueSet {
        self.sets.entry(known_as(system).into()).or_default()
    }

    fn add_rule(&mut self, place: &str, value: &Value) -> Result<(), RuleError> {
        let Some(members) = value.as_object() else { return Err(wrong(place, "must be a table")) };
        let id = members.get("id").and_then(Value::as_str).unwrap_or(place).to_owned();
        let mut rule = Rule { id: id.clone(), ..Rule::default() };
        let at = self.rules.len();
        for (key, value) in members {
            match key.as_str() {
                "id" | "note" | "cite" => {}
                "label" => texts(&id, key, value)?.iter().for_each(|label| rule.take(label)),
                "labels" => {
                    for label in value.as_array().into_iter().flatten() {
                        let coded = Coded::of(label).ok_or_else(|| wrong(&id, "`labels` must be codings"))?;
                        rule.take_coded(&coded);
                    }
                }
                "author_flag" => rule.author_flag = texts(&id, key, value)?.into_iter().next(),
                "match" => {
                    let listed = value.as_array().ok_or_else(|| wrong(&id, "`match` must be a list"))?;
                    listed.iter().try_for_each(|set| self.add_match(&id, at, set))?;
                }
                _ => return Err(wrong(&id, &format!("`{key}` is not understood"))),
            }
        }
        if rule.labels.is_empty() && rule.level.is_none() {
            return Err(wrong(&id, "it calls for no label"));
        }
        self.rules.push(rule);
        Ok(())
    }

    fn add_match(&mut self, id: &str, rule: usize, value: &Value) -> Result<(), RuleError> {
        let Some(members) = value.as_object() else { return Err(wrong(id, "`match` must list tables")) };
        let system = members.get("system").and_then(Value::as_str);
        let system = system.ok_or_else(|| wrong(id, "a match has no `system`"))?.to_owned();
        let (mut codes, mut prefixes, mut except) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in members {
            match key.as_str() {
                "system" => {}
                "codes" => codes = texts(id, key, value)?,
                "prefixes" => prefixes = texts(id, key, value)?,
                "except_prefixes" => except = texts(id, key, value)?,
                _ => return Err(wrong(id, &format!("`match.{key}` is not understood"))),
            }
        }
        let except: Vec<Text> = except.iter().map(|code| comparable(&system, code).into()).collect();
        let set = self.set(&system);
        codes.iter().for_each(|code| set.codes.entry(comparable(&system, code).into()).or_default().push(rule));
        set.prefixes.extend(prefixes.iter().map(|code| Prefix {
            text: comparable(&system, code).into(),
            except: except.clone(),
            rule,
        }));
        Ok(())
    }

    /// The rules that a code calls for; `None` where no value set covers its system.
    pub(super) fn of(&self, system: &str, code: &str) -> Option<impl Iterator<Item = usize>> {
        let system = known_as(system);
        let set = self.sets.get(system)?;
        let own = comparable(system, code);
        let listed = set.codes.get(&*own).into_iter().flatten().copied();
        let begins = move |prefix: &&Prefix| {
            own.starts_with(&*prefix.text) && !prefix.except.iter().any(|except| own.starts_with(&**except))
        };
        Some(listed.chain(set.prefixes.iter().filter(begins).map(|prefix| prefix.rule)))
    }
}

impl Rule {
    fn take(&mut self, label: &str) {
        match Confidentiality::from_code(label) {
            Some(level) => self.level = self.level.max(Some(level)),
            None => {
                self.labels.insert(label.into());
            }
        }
    }

    fn take_coded(&mut self, label: &Coded) {
        if &*label.system == CONFIDENTIALITY {
            let level = Confidentiality::from_code(&label.code).unwrap_or(Confidentiality::V);
            self.level = self.level.max(Some(level));
        } else {
            self.labels.insert(label.code.clone());
        }
    }
}

/// What HL7 v2, C-CDA and FHIR call one code system.
fn known_as(system: &str) -> &str {
    match system.trim_end_matches('/') {
        "urn:oid:2.16.840.1.113883.6.90" => "http://hl7.org/fhir/sid/icd-10-cm",
        // The international edition and those of other countries mean the same by the same beginning: labels only rise.
        "http://hl7.org/fhir/sid/icd-10"
        | "http://fhir.de/CodeSystem/bfarm/icd-10-gm"
        | "http://fhir.de/CodeSystem/dimdi/icd-10-gm" => "http://hl7.org/fhir/sid/icd-10-cm",
        "urn:oid:2.16.840.1.113883.6.1" => "http://loinc.org",
        "urn:oid:2.16.840.1.113883.6.88" => "http://www.nlm.nih.gov/research/umls/rxnorm",
        system => system,
    }
}

/// A code as it is compared: ICD codes with or without their dot.
fn comparable<'a>(system: &str, code: &'a str) -> Cow<'a, str> {
    if known_as(system) == "http://hl7.org/fhir/sid/icd-10-cm" {
        code.trim().replace('.', "").to_ascii_uppercase().into()
    } else {
        code.trim().into()
    }
}

fn wrong(rule: &str, reason: &str) -> RuleError {
    RuleError { rule: rule.to_owned(), reason: reason.to_owned() }
}

fn texts(id: &str, key: &str, value: &Value) -> Result<Vec<String>, RuleError> {
    let one =
        |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(id, &format!("`{key}` must be texts")));
    value.as_array().map_or_else(|| Ok(vec![one(value)?]), |list| list.iter().map(one).collect())
}
