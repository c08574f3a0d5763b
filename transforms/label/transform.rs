//! The transform: labels the entries of a FHIR message.

use std::collections::BTreeSet;
use std::sync::Arc;

use message::consent::by_entry::{Directory, Entry, Sources};
use message::json::Value;
use message::{Body, Context, Finding, FindingKind, Message, Sha256, Transform, TransformError};

use super::apply::add_labels;
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
        let mut uncovered = BTreeSet::new();
        let entries: Vec<Entry> = {
            let resources: Vec<(Option<&str>, &Value)> = resources(content);
            Entry::read(Sources { resources: &resources, provenance: &[], context: &[] }, &self.directory)
        };
        let mut changed = false;
        let labels = self.rules.labels(&entries, &self.directory, &self.flags);
        for (resource, labels) in resources_mut(content).zip(&labels) {
            uncovered.extend(labels.uncovered.iter().cloned());
            let plain = labels.codes.is_empty() && labels.level.is_none();
            if let Some(resource) = resource.as_object_mut().filter(|_| !plain) {
                changed |= add_labels(resource, labels, &context.engine);
            }
        }
        message.changed = changed;
        if !uncovered.is_empty() {
            message.findings.push(Finding {
                kind: FindingKind::Untranslated,
                location: "Bundle".into(),
                text: format!(
                    "no label value set covers {} of its code systems: what those codes say goes unlabelled",
                    uncovered.len()
                )
                .into(),
            });
        }
        Ok(message)
    }
}

/// The resources of a Bundle with their `fullUrl`; of any other resource itself.
fn resources(content: &Value) -> Vec<(Option<&str>, &Value)> {
    match content.get("entry").and_then(Value::as_array) {
        Some(entries) => entries
            .iter()
            .filter_map(|entry| Some((entry.get("fullUrl").and_then(Value::as_str), entry.get("resource")?)))
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
