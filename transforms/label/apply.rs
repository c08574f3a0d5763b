//! What each entry is to be labelled with.

use std::collections::BTreeSet;

use message::consent::by_entry::{ACT_CODE, Coded, Directory, Entry};
use message::consent::{CONFIDENTIALITY, Confidentiality};
use message::json::{Map, Text, Value, json};

use super::rules::LabelRules;

/// What an entry is to be labelled with, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// ActCode codes.
    pub codes: BTreeSet<Text>,
    /// At least this confidential.
    pub level: Option<Confidentiality>,
    /// The ids of the rules that call for it.
    pub rules: BTreeSet<String>,
    /// Systems of codes in it that no value set covers, so that what they say goes unlabelled.
    pub uncovered: Vec<Text>,
    /// True where a code in it is of a system that a value set covers, whether or not that calls for a label.
    pub covered: bool,
}

/// Systems whose codes say nothing of what a record is about.
const PLAIN: &[&str] = &[
    "http://terminology.hl7.org/CodeSystem/",
    "http://hl7.org/fhir/",
    "http://unitsofmeasure.org",
    "urn:iso:",
    "urn:ietf:",
];

/// What has bytes as entries of their own.
const DOCUMENTS: [&str; 4] = ["Communication", "Composition", "DiagnosticReport", "DocumentReference"];

impl Labels {
    /// True where it is for want of a value set that nothing is known of what it is about: its codes arrive alone, of systems
    /// that none covers, and nothing else calls for a label.
    #[must_use]
    pub fn is_wanting(&self) -> bool {
        !self.uncovered.is_empty() && !self.covered && self.is_plain()
    }

    /// True where nothing calls for a label.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.codes.is_empty() && self.level.is_none()
    }

    fn add(&mut self, other: &Self) {
        self.codes.extend(other.codes.iter().cloned());
        self.level = self.level.max(other.level);
        self.rules.extend(other.rules.iter().cloned());
    }
}

impl LabelRules {
    /// What each of `entries` is to be labelled with, in their order. `source_flags` are those of the
    /// provider they all come from; `directory` knows the authors' organisations.
    #[must_use]
    pub fn labels(&self, entries: &[Entry], directory: &Directory, source_flags: &BTreeSet<String>) -> Vec<Labels> {
        let mut labels = self.called_for(entries, directory, source_flags);
        entries.iter().zip(&mut labels).for_each(|(entry, labels)| self.look_for_uncovered(entry, labels));
        labels
    }

    /// As [`LabelRules::labels`], without what goes unlabelled.
    #[must_use]
    pub fn called_for(&self, entries: &[Entry], directory: &Directory, source_flags: &BTreeSet<String>) -> Vec<Labels> {
        let mut labels: Vec<Labels> = entries.iter().map(|entry| self.own(entry, directory, source_flags)).collect();
        // A medicine tells what it is for; a visit or an order tells what was done in it.
        for contexts in [&["Medication"][..], &["Encounter", "EpisodeOfCare"], &["ServiceRequest", "MedicationRequest"]]
        {
            let above = told(entries, &labels, contexts);
            if above.iter().all(Option::is_none) {
                continue;
            }
            for (entry, to) in entries.iter().zip(&mut labels) {
                entry.targets().filter_map(|other| above.get(other)?.as_ref()).for_each(|from| to.add(from));
            }
        }
        documents(entries, &mut labels);
        labels
    }

    /// By its own codes and authors.
    fn own(&self, entry: &Entry, directory: &Directory, source_flags: &BTreeSet<String>) -> Labels {
        let mut labels = Labels::default();
        for Coded { system, code } in entry.codes() {
            self.of(system, code).into_iter().flatten().for_each(|rule| self.call(rule, &mut labels));
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let Some(flag) = &rule.author_flag else { continue };
            let by_author = || {
                let authors = entry.authors().into_iter().flat_map(|authors| authors.sure.iter().chain(&authors.maybe));
                authors.into_iter().any(|author| directory.has_flag(author, flag))
            };
            if source_flags.contains(flag) || (directory.knows_flag(flag) && by_author()) {
                self.call(at, &mut labels);
            }
        }
        labels
    }

    /// Which codes no value set covers.
    fn look_for_uncovered(&self, entry: &Entry, labels: &mut Labels) {
        let is_plain = |system: &Text| PLAIN.iter().any(|plain| system.starts_with(plain));
        for Coded { system, code } in entry.codes() {
            if self.of(system, code).is_some() {
                labels.covered = true;
            } else if !is_plain(system) {
                labels.uncovered.push(system.clone());
            }
        }
        labels.uncovered.sort_unstable();
        labels.uncovered.dedup();
    }

    fn call(&self, rule: usize, labels: &mut Labels) {
        if let Some(rule) = self.rules.get(rule) {
            labels.codes.extend(rule.labels.iter().cloned());
            labels.level = labels.level.max(rule.level);
            labels.rules.insert(rule.id.clone());
        }
    }
}

/// What the entries of some kinds tell of what belongs to them; `None` for all others, and where that is nothing that any
/// entry does not say itself.
fn told(entries: &[Entry], labels: &[Labels], kinds: &[&str]) -> Vec<Option<Labels>> {
    let least = entries.iter().map(|entry| entry.confidentiality).min().flatten();
    let of = |(entry, own): (&Entry, &Labels)| {
        let mut all = kinds.contains(&&*entry.kind).then(|| own.clone())?;
        all.add(&carried(entry));
        (!all.codes.is_empty() || !all.rules.is_empty() || all.level > least).then_some(all)
    };
    entries.iter().zip(labels).map(of).collect()
}

/// A document and its bytes tell the same: what either is labelled with holds for both.
fn documents(entries: &[Entry], labels: &mut [Labels]) {
    const BYTES: [&str; 2] = ["Binary", "Media"];
    let is = |at: usize, kinds: &[&str]| entries.get(at).is_some_and(|entry| kinds.contains(&&*entry.kind));
    if !(0..entries.len()).any(|at| is(at, &BYTES)) {
        return;
    }
    let told = told(entries, labels, &[&BYTES[..], &DOCUMENTS[..]].concat());
    let mut share = |one: usize, other: usize| {
        if let (Some(to), Some(Some(from))) = (labels.get_mut(one), told.get(other)) {
            to.add(from);
        }
    };
    for (at, entry) in entries.iter().enumerate() {
        for other in entry.targets() {
            if (is(other, &BYTES) && is(at, &DOCUMENTS)) || (is(at, &BYTES) && is(other, &DOCUMENTS)) {
                share(at, other);
                share(other, at);
            }
        }
    }
}

/// What an entry already carries that those within it inherit.
fn carried(entry: &Entry) -> Labels {
    let codes = entry.labels.iter().filter(|label| !label.contains('|')).cloned().collect();
    Labels { codes, level: entry.confidentiality, ..Labels::default() }
}

/// Who classified what it labels (FHIR DS4P 1.0).
const CLASSIFIER: &str =
    "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-sec-label-classifier";

/// True for a label that says who called for it.
pub(crate) fn is_classified(label: &Value) -> bool {
    let extensions = label.get("extension").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    extensions.iter().any(|extension| extension.get("url").and_then(Value::as_str) == Some(CLASSIFIER))
}

/// Adds `labels` to `resource.meta.security`: what is there stays, the confidentiality only rises, and
/// there is one (N where nothing says more). What is added says that `engine` called for it. True if that changed
/// anything.
pub fn add_labels(resource: &mut Map, labels: &Labels, engine: &str) -> bool {
    if !resource.get("meta").is_some_and(Value::is_object) {
        let at = resource.keys().take(2).take_while(|key| matches!(key.as_str(), "resourceType" | "id")).count();
        resource.shift_insert(at, "meta".to_owned(), json!({}));
    }
    let Some(Value::Object(meta)) = resource.get_mut("meta") else { return false };
    if !meta.contains_key("security") {
        meta.insert("security", json!([]));
    }
    let Some(Value::Array(security)) = meta.get_mut("security") else { return false };
    let part = |label: &Value, key: &str| label.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut highest: Option<(Confidentiality, Value)> = None;
    security.retain_mut(|label| {
        let stated =
            (part(label, "system") == CONFIDENTIALITY).then(|| Confidentiality::from_code(&part(label, "code")));
        let Some(Some(stated)) = stated else { return true };
        if highest.as_ref().is_none_or(|(level, _)| *level < stated) {
            highest = Some((stated, label.take()));
        }
        false
    });
    let mut changed = false;
    let mut classified = |system: &str, code: &str| {
        changed = true;
        let classifier = json!({ "url": CLASSIFIER, "valueReference": { "display": engine } });
        json!({ "system": system, "code": code, "extension": [classifier] })
    };
    for code in &labels.codes {
        if !security.iter().any(|label| part(label, "system") == ACT_CODE && part(label, "code") == **code) {
            security.push(classified(ACT_CODE, code));
        }
    }
    let least = labels.level.unwrap_or_default();
    security.push(match highest {
        Some((level, label)) if level >= least => label,
        _ => classified(CONFIDENTIALITY, least.code()),
    });
    changed
}
