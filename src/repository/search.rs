//! Searching: what a resource is found by, and what a query asks for.

use serde_json::{Map, Value};

use super::kind::{Kind, kind, split_reference};
use super::outcome::Refusal;

/// What resources are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Parameter {
    Id,
    Tag,
    Identifier,
    Code,
    Subject,
    Patient,
    Family,
    Target,
}

/// One value that a resource is found by: `(Identifier, "urn:mrn|1")`.
pub(super) type Term = (Parameter, String);

/// Every term of a resource. A tag, an identifier and a code are found alone and with their system
/// (empty where they have none); a reference by its type and id; a family name in lower case.
pub(super) fn terms(kind: Kind, content: &Map<String, Value>) -> Vec<Term> {
    let mut terms = Vec::new();
    each(content.get("meta").and_then(|meta| meta.get("tag")), |tag| {
        let text = |key| tag.get(key).and_then(Value::as_str);
        if let Some(code) = text("code") {
            terms.push((Parameter::Tag, code.to_owned()));
            terms.push((Parameter::Tag, format!("{}|{code}", text("system").unwrap_or_default())));
        }
    });
    // A Bundle and a QuestionnaireResponse have one, most others a list.
    each(content.get("identifier"), |identifier| {
        let text = |key| identifier.get(key).and_then(Value::as_str);
        if let Some(value) = text("value") {
            terms.push((Parameter::Identifier, value.to_owned()));
            terms.push((Parameter::Identifier, format!("{}|{value}", text("system").unwrap_or_default())));
        }
    });
    each(content.get("code").and_then(|code| code.get("coding")), |coding| {
        let text = |key| coding.get(key).and_then(Value::as_str);
        if let Some(code) = text("code") {
            terms.push((Parameter::Code, code.to_owned()));
            terms.push((Parameter::Code, format!("{}|{code}", text("system").unwrap_or_default())));
        }
    });
    let mut reference = |parameter, key| {
        each(content.get(key), |value| {
            let text = value.get("reference").and_then(Value::as_str);
            if let Some((kind, id)) = text.and_then(split_reference) {
                terms.push((parameter, format!("{kind}/{id}")));
            }
        });
    };
    reference(Parameter::Subject, "subject");
    for key in ["patient", "subject", "beneficiary"] {
        reference(Parameter::Patient, key);
    }
    if kind == "Provenance" {
        reference(Parameter::Target, "target");
    }
    each(content.get("name"), |name| {
        if let Some(family) = name.get("family").and_then(Value::as_str) {
            terms.push((Parameter::Family, family.to_lowercase()));
        }
    });
    terms.retain(|(parameter, value)| *parameter != Parameter::Patient || value.starts_with("Patient/"));
    terms.sort_unstable();
    terms.dedup();
    terms
}

fn each(value: Option<&Value>, mut visit: impl FnMut(&Value)) {
    match value {
        Some(Value::Array(list)) => list.iter().for_each(visit),
        Some(value) => visit(value),
        None => {}
    }
}

/// Every one must hold, and of each one of its values.
pub(super) type Criteria = Vec<(Parameter, Vec<String>)>;

/// What a search asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) kind: Kind,
    /// As it was written.
    pub(super) text: String,
    pub(super) criteria: Criteria,
    pub(super) count: usize,
    pub(super) offset: usize,
}

/// Most matches in one answer, also where more are asked for.
const MOST_MATCHES: usize = 1000;

impl Query {
    /// Reads a query string, such as `identifier=urn:mrn|1&_count=2`.
    ///
    /// # Errors
    ///
    /// 400 for a parameter that is not known here, so that none is overlooked.
    pub(super) fn new(kind: Kind, text: &str) -> Result<Self, Refusal> {
        let mut query = Self { kind, text: text.to_owned(), criteria: Vec::new(), count: 100, offset: 0 };
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            query.read(&name, &value)?;
        }
        Ok(query)
    }

    /// Reads the condition of a conditional write or reference, which must ask for something.
    ///
    /// # Errors
    ///
    /// As [`Query::new`].
    pub(super) fn condition(kind: Kind, text: &str) -> Result<Self, Refusal> {
        let query = Self::new(kind, text)?;
        if query.criteria.is_empty() {
            return Err(Refusal::condition(format!("the condition `{kind}?{text}` asks for nothing")));
        }
        Ok(query)
    }

    /// Reads a conditional reference: `Patient?identifier=…`.
    ///
    /// # Errors
    ///
    /// As [`Query::new`].
    pub(super) fn reference(text: &str) -> Option<Result<Self, Refusal>> {
        let (name, query) = text.split_once('?')?;
        Some(Self::condition(kind(name)?, query))
    }

    /// The query string of the page that begins at `offset`.
    pub(super) fn page(&self, offset: usize) -> String {
        let parts = self.text.split('&').filter(|part| !part.is_empty() && !part.starts_with("_offset="));
        parts.map(str::to_owned).chain([format!("_offset={offset}")]).collect::<Vec<_>>().join("&")
    }

    fn read(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let number = || value.parse().map_err(|_| Refusal::invalid(format!("`{name}` is no number")));
        let parameter = match name {
            "_count" => return number().map(|count: usize| self.count = count.min(MOST_MATCHES)),
            "_offset" => return number().map(|offset| self.offset = offset),
            "_format" if value.contains("json") => return Ok(()),
            "_id" => Parameter::Id,
            "_tag" => Parameter::Tag,
            "identifier" => Parameter::Identifier,
            "code" => Parameter::Code,
            "subject" => Parameter::Subject,
            "patient" => Parameter::Patient,
            "family" => Parameter::Family,
            "target" if self.kind == "Provenance" => Parameter::Target,
            _ => return Err(unknown(self.kind, name)),
        };
        self.criteria.push((parameter, alternatives(value).iter().map(|value| normal(parameter, value)).collect()));
        Ok(())
    }

    /// True if a resource that is not in the store yet, with these terms, would be found.
    pub(super) fn matches(&self, id: &str, terms: &[Term]) -> bool {
        self.criteria.iter().all(|(parameter, values)| {
            values.iter().any(|value| match parameter {
                Parameter::Id => value == id,
                Parameter::Family => terms.iter().any(|term| term.0 == *parameter && term.1.starts_with(value)),
                _ => terms.iter().any(|term| term.0 == *parameter && term.1 == *value),
            })
        })
    }
}

fn unknown(kind: Kind, name: &str) -> Refusal {
    Refusal::invalid(format!("the search parameter `{name}` of {kind} is not supported here"))
}

/// The value as [`terms`] writes it.
fn normal(parameter: Parameter, value: &str) -> String {
    match parameter {
        Parameter::Family => value.to_lowercase(),
        Parameter::Patient if !value.contains('/') => format!("Patient/{value}"),
        _ => value.to_owned(),
    }
}

/// Cuts at commas that no backslash stands before, and takes the backslashes out.
fn alternatives(value: &str) -> Vec<String> {
    let (mut out, mut current, mut chars) = (Vec::new(), String::new(), value.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => current.extend(chars.next()),
            ',' => out.push(std::mem::take(&mut current)),
            c => current.push(c),
        }
    }
    out.push(current);
    out
}
