//! The transform: labels the entries of a FHIR message.

use std::collections::BTreeSet;
use std::sync::Arc;

use message::consent::by_entry::{Directory, Entry, Sources};
use message::json::{Text, Value};
use message::{Body, Context, Finding, FindingKind, Message, Sha256, Transform, TransformError};

use super::apply::{Labels, add_labels};
use super::rules::LabelRules;

/// Raises the security labels of each entry to what its codes, its author's program and its context
/// call for. HL7 v2 passes as it is: convert it first.
#[derive(Clone, Debug)]
pub struct LabelSensitivity {
    rules: Arc<LabelRules>,
    directory: Arc<Directory>,
    /// The flags of the provider that the messages come from, such as `part2-program`.
    flags: BTreeSet<String>,
    version: String,
}

impl LabelSensitivity {
    /// Labels by `rules`, for messages of a provider with `flags`.
    #[must_use]
    pub fn new(rules: Arc<LabelRules>, directory: Arc<Directory>, flags: BTreeSet<String>) -> Self {
        let version = Sha256::of(format!("{rules:?}{flags:?}").as_bytes()).to_string();
        Self { rules, directory, flags, version }
    }
}

impl Transform for LabelSensitivity {
    fn name(&self) -> &'static str {
        "label-sensitivity"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn apply(&self, mut message: Message, context: &Context) -> Result<Message, TransformError> {
        let Body::Fhir(content) = &mut message.body else {
            message.changed = false;
            return Ok(message);
        };
        let mut wanting = Vec::new();
        let entries: Vec<Entry> = {
            let resources = resources(content);
            Entry::read(Sources { resources: &resources, provenance: &[], context: &[] }, &self.directory)
        };
        let mut changed = false;
        let labels = self.rules.labels(&entries, &self.directory, &self.flags);
        for (resource, labels) in resources_mut(content).zip(&labels) {
            if wanting.len() < TOLD {
                wanting.extend(lacking(resource, labels));
            }
            if let Some(resource) = resource.as_object_mut().filter(|_| !labels.is_plain()) {
                changed |= add_labels(resource, labels, &context.engine);
            }
        }
        message.changed = changed;
        message.findings.extend(wanting);
        Ok(message)
    }
}

/// How many records of a message are told of as unlabelled.
const TOLD: usize = 1000;

/// That a record goes unlabelled for want of a value set: its codes arrive alone, of systems that none covers, or it says in
/// words alone what it is about.
pub(super) fn lacking(resource: &Value, labels: &Labels) -> Option<Finding> {
    if !(labels.is_wanting() || (labels.is_plain() && in_words(resource))) {
        return None;
    }
    let listed: BTreeSet<&str> = labels.uncovered.iter().map(|system| named(system)).collect();
    let listed: Vec<&str> = listed.into_iter().collect();
    let text = match listed.as_slice() {
        [] => "it says in words alone what it is about".to_owned(),
        listed => format!("no label value set covers its codes: {}", listed.join(", ")),
    };
    Some(Finding { kind: FindingKind::Unlabelled, location: kind_of(resource).into(), text: text.into() })
}

/// Elements that say what a record is about.
const ABOUT: [&str; 6] =
    ["code", "vaccineCode", "medicationCodeableConcept", "type", "productOrServiceCodeableConcept", "reasonCode"];

/// True for a record that says in words alone what it is about.
fn in_words(resource: &Value) -> bool {
    let concept = |value: &Value| value.get("text").is_some() && value.get("coding").is_none();
    let mut stated =
        ABOUT.iter().filter_map(|element| resource.get(*element)).filter(|value| value.is_object()).peekable();
    stated.peek().is_some() && stated.all(concept)
}

/// A code system, where it looks like one: what a sender wrote there else may be anything.
fn named(system: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/.-_".contains(c);
    let is_one = ["http://", "https://", "urn:"].iter().any(|scheme| system.starts_with(scheme));
    match system {
        "" => "(no system)",
        system if is_one && system.len() <= 120 && system.chars().all(plain) => system,
        _ => "(a system of the sender's own)",
    }
}

fn kind_of(resource: &Value) -> String {
    let kind =
        resource.get("resourceType").and_then(Value::as_str).filter(|kind| message::fhir::is_resource_type(kind));
    kind.unwrap_or("Resource").to_owned()
}

/// The resources of a Bundle with their `fullUrl`; of any other resource itself.
fn resources(content: &Value) -> Vec<(Option<&Text>, &Value)> {
    match content.get("entry").and_then(Value::as_array) {
        Some(entries) => entries
            .iter()
            .filter_map(|entry| Some((entry.get("fullUrl").and_then(Value::as_text), entry.get("resource")?)))
            .collect(),
        None => vec![(None, content)],
    }
}

fn resources_mut(content: &mut Value) -> Box<dyn Iterator<Item = &mut Value> + '_> {
    if content.get("entry").is_some_and(Value::is_array) {
        let entries = content.get_mut("entry").and_then(Value::as_array_mut);
        Box::new(entries.into_iter().flatten().filter_map(|entry| entry.get_mut("resource")))
    } else {
        Box::new(std::iter::once(content))
    }
}
