//! `policies/*.toml`, `labels/*` and the directory: what consent is decided by.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use message::consent::by_entry::{Directory, Policy, PolicyError, Terms};
use message::{Provider, Sha256};
use serde_json::json;
use transforms::label::{LabelRules, RuleError};

use super::consents::consents;
use super::files::{Files, Part};
use super::patients::patients;
use super::services::services;
use super::tree::{Node, Value};
use crate::config::consent::{ConsentConfig, PolicyConfig};
use crate::config::problem::{Place, Problem};

/// Reads all that consent is decided by, and reports what is wrong with it.
pub(in crate::config) fn consent(
    files: &Files,
    dir: &Path,
    providers: &BTreeMap<String, Arc<Provider>>,
    problems: &mut Vec<Problem>,
) -> ConsentConfig {
    // What ships is tried by a test.
    let terms = Terms::shipped().unwrap_or_default();
    let policies = files.policies.iter().flat_map(|part| policies(part, &terms)).collect();
    let labels = labels(files, problems);
    let services = files.services.as_ref().map(|document| services(document, dir)).unwrap_or_default();
    let (patients, table) = patients(dir, problems);
    let (fixed, bodies) = consents(dir, problems);
    let hash = hash(files, [&table, &bodies]);
    ConsentConfig {
        policies,
        labels: Arc::new(labels),
        directory: Arc::new(directory(providers)),
        terms: Arc::new(terms),
        services,
        patients,
        fixed,
        hash,
    }
}

fn hash(files: &Files, more: [&String; 2]) -> String {
    let documents = files
        .providers
        .iter()
        .chain(&files.services)
        .chain(files.policies.iter().chain(&files.labels).map(|part| &part.document));
    let texts = documents.map(|document| (document.path(), document.text()));
    let sets = files.label_sets.iter().map(|(path, text)| (path.as_path(), text.as_str()));
    let mut all = Vec::new();
    for (path, text) in texts.chain(sets) {
        for part in [path.file_name().unwrap_or_default().as_encoded_bytes(), text.as_bytes()] {
            all.extend(part.len().to_be_bytes());
            all.extend(part);
        }
    }
    for text in more {
        all.extend(text.len().to_be_bytes());
        all.extend(text.as_bytes());
    }
    Sha256::of(&all).to_string()
}

/// The policies of one file: the file itself, or each table under `[policy]`.
fn policies(part: &Part, terms: &Terms) -> Vec<(String, Arc<PolicyConfig>)> {
    let document = &part.document;
    let hash = Sha256::of(document.text().as_bytes()).to_string();
    let mut read = Vec::new();
    for (name, node) in tables(part) {
        let Some(value) = plain(node) else { continue };
        match Policy::read(name, &message::json::Value::from(value)) {
            Ok(policy) => {
                for note in policy.notes(terms) {
                    document.warning(node.span.clone(), note, None);
                }
                read.push((name.to_owned(), Arc::new(PolicyConfig { policy, hash: hash.clone() })));
            }
            Err(PolicyError { path, reason }) => {
                let help = "a rule that is skipped would be a disclosure: see docs/consent.md".to_owned();
                document.error(place(node, &path), reason, Some(help));
            }
        }
    }
    read
}

/// Each policy of a file, by name.
fn tables(part: &Part) -> Vec<(&str, &Node)> {
    let root = part.document.root();
    match root.at(&["policy"]) {
        Some(table) => table.entries().iter().map(|entry| (entry.key.as_str(), &entry.node)).collect(),
        None => vec![(part.name.as_str(), root)],
    }
}

/// Where `path` leads to, as far as it does.
fn place(node: &Node, path: &[String]) -> std::ops::Range<usize> {
    let (mut node, mut span) = (node, node.span.clone());
    for step in path {
        if let Some(entry) = node.entries().iter().find(|entry| entry.key == *step) {
            (node, span) = (&entry.node, entry.span.clone());
        } else if let Some(element) = step.parse::<usize>().ok().and_then(|at| node.elements().get(at)) {
            (node, span) = (element, element.span.clone());
        } else {
            break;
        }
    }
    span
}

/// A file's tree as plain JSON; `None` where part of it is broken, which is told already.
fn plain(node: &Node) -> Option<serde_json::Value> {
    Some(match &node.value {
        Value::Text { text, .. } => json!(text),
        Value::Integer(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Boolean(value) => json!(value),
        Value::Datetime(text) => json!(text),
        Value::Array(nodes) => nodes.iter().map(plain).collect::<Option<Vec<_>>>()?.into(),
        Value::Table { entries, .. } => {
            let members = entries.iter().map(|entry| Some((entry.key.clone(), plain(&entry.node)?)));
            serde_json::Value::Object(members.collect::<Option<_>>()?)
        }
        Value::Broken => return None,
    })
}

/// The site's label rules; those that come with the engine where it has none.
fn labels(files: &Files, problems: &mut Vec<Problem>) -> LabelRules {
    if files.labels.is_empty() && files.label_sets.is_empty() {
        // What ships is tried by a test.
        return LabelRules::shipped().unwrap_or_default();
    }
    let mut rules = LabelRules::default();
    for Part { document, .. } in &files.labels {
        let Some(value) = plain(document.root()) else { continue };
        if let Err(RuleError { rule, reason }) = rules.add(&message::json::Value::from(value)) {
            document.error(rule_span(document.root(), &rule), format!("label rule {rule}: {reason}"), None);
        }
    }
    for (path, text) in &files.label_sets {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if let Err(RuleError { rule, reason }) = rules.add_csv(&name, text) {
            problems.push(Problem { place: line_of(&rule), ..Problem::error(path, reason) });
        }
    }
    rules
}

/// Where the rule stands that is called `rule`, by its id or its place from 1.
fn rule_span(root: &Node, rule: &str) -> std::ops::Range<usize> {
    let rules = root.at(&["rule"]).or_else(|| root.at(&["rules"])).map(Node::elements).unwrap_or_default();
    let named = rules.iter().find(|node| node.at(&["id"]).and_then(Node::text) == Some(rule));
    let by_place = || rules.get(rule.parse::<usize>().ok()?.checked_sub(1)?);
    named.or_else(by_place).map_or_else(|| root.span.clone(), |node| node.span.clone())
}

/// The line of a value set that an error names: `NAME:LINE`.
fn line_of(rule: &str) -> Option<Place> {
    let (_, line) = rule.rsplit_once(':')?;
    Some(Place { line: line.parse().ok()?, column: 1 })
}

/// Those who work for a provider, each by its reference, or by one of our own beside its identifier.
fn staff_of((key, provider): (&String, &Arc<Provider>)) -> Vec<(String, serde_json::Value)> {
    let employer = format!("Organization/{key}");
    let each = provider.staff.iter().enumerate().map(|(at, name)| match name.contains('|') {
        true => (format!("staff:{key}:{at}"), json!({ "organizations": [employer], "identifier": [name] })),
        false => (name.clone(), json!({ "organizations": [employer] })),
    });
    each.collect()
}

/// The organisations of `providers.toml`: each is `Organization/KEY`, and what else it goes by.
fn directory(providers: &BTreeMap<String, Arc<Provider>>) -> Directory {
    let organisation = |(key, provider): (&String, &Arc<Provider>)| {
        let own = provider.system.iter().zip(&provider.value);
        let own = own.map(|(system, value)| format!("{}|{value}", system.trim_end_matches('/')));
        let names: Vec<String> = own.chain(provider.names.iter().cloned()).collect();
        let mut entry = serde_json::Map::new();
        entry.insert("identifier".to_owned(), json!(names));
        entry.insert("flags".to_owned(), json!(provider.flags));
        entry.extend(provider.kind.iter().map(|kind| ("type".to_owned(), json!(kind))));
        let whole = provider.part_of.iter().map(|whole| json!(format!("Organization/{whole}")));
        entry.extend(whole.map(|whole| ("partOf".to_owned(), whole)));
        (format!("Organization/{key}"), serde_json::Value::Object(entry))
    };
    let organisations: serde_json::Map<String, serde_json::Value> = providers.iter().map(organisation).collect();
    let staff: serde_json::Map<String, serde_json::Value> = providers.iter().flat_map(staff_of).collect();
    // It is of the expected shape: it was just made.
    Directory::read(&json!({ "organizations": organisations, "practitioners": staff }).into()).unwrap_or_default()
}

/// The names of the policies in one file.
pub(super) fn names(part: &Part) -> Vec<&str> {
    tables(part).into_iter().map(|(name, _)| name).collect()
}
