//! How much of what others made of the same messages is in what we make: recall and precision by type of resource.
//!
//! Their Bundles are their choices, not the standard, so this measures and holds a line; what the guide's tables demand
//! is checked by `maps check`. Resources are paired within their type by what they have in common most, and compared as
//! sets of paths and values, without ids, the targets of references, narrative and `meta`.
#![allow(clippy::expect_used, reason = "a test stops where its files cannot be read")]
#![allow(clippy::print_stderr, reason = "the figures are what it is for")]
#![allow(clippy::indexing_slicing, reason = "numbers of a list come from the list")]

mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Path and value of each text, number and code of a resource.
type Content = BTreeSet<(String, String)>;

/// The resources of a Bundle by type.
fn contents(bundle: &Value) -> BTreeMap<String, Vec<Content>> {
    let mut all: BTreeMap<String, Vec<Content>> = BTreeMap::new();
    for entry in bundle["entry"].as_array().into_iter().flatten() {
        let Some(kind) = entry["resource"]["resourceType"].as_str() else { continue };
        let mut content = Content::new();
        for (name, value) in entry["resource"].as_object().into_iter().flatten() {
            if !["id", "text", "meta", "resourceType", "contained"].contains(&name.as_str()) {
                collect(name, value, &mut content);
            }
        }
        all.entry(kind.to_owned()).or_default().push(content);
    }
    all
}

fn collect(path: &str, value: &Value, out: &mut Content) {
    match value {
        Value::Null => {}
        Value::Array(members) => members.iter().for_each(|member| collect(path, member, out)),
        Value::Object(members) => {
            let is_of_vendor = |url: &str| url.contains("reportstream");
            if members.get("url").and_then(Value::as_str).is_some_and(is_of_vendor) {
                return;
            }
            for (name, value) in members {
                if name == "reference" {
                    out.insert((format!("{path}.reference"), String::new()));
                } else {
                    collect(&format!("{path}.{name}"), value, out);
                }
            }
        }
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_lowercase());
            // Their own systems, and times to the minute: they differ in the zone that they take where none is said.
            if !text.contains("example.com/v2-to-fhir") {
                let is_time = text.get(10..11) == Some("t") && text.get(13..14) == Some(":");
                let text = if is_time { text.get(..16).unwrap_or(&text).to_owned() } else { text };
                out.insert((path.replace("._", "."), text));
            }
        }
    }
}

/// What was expected, how much of it was found, and how much was made.
#[derive(Clone, Copy, Default)]
struct Score {
    expected: usize,
    found: usize,
    made: usize,
}

impl Score {
    fn recall(self) -> usize {
        self.found * 100 / self.expected.max(1)
    }

    fn precision(self) -> usize {
        self.found * 100 / self.made.max(1)
    }
}

/// Pairs the resources that have most in common, each with one, and adds up what they share.
fn score(expected: &[Content], made: &[Content]) -> Score {
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (i, theirs) in expected.iter().enumerate() {
        pairs.extend(made.iter().enumerate().map(|(j, ours)| (theirs.intersection(ours).count(), i, j)));
    }
    pairs.sort_unstable_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (mut theirs, mut ours) = (vec![false; expected.len()], vec![false; made.len()]);
    let mut score = Score { expected: expected.iter().map(BTreeSet::len).sum(), ..Score::default() };
    for (found, i, j) in pairs {
        if !theirs[i] && !ours[j] {
            (theirs[i], ours[j]) = (true, true);
            score.found += found;
            score.made += made[j].len();
        }
    }
    score
}

/// The expected Bundles with their messages: the same name, of another ending.
fn pairs(expected: &Path, messages: &[PathBuf]) -> Vec<(PathBuf, PathBuf)> {
    let of = |path: &PathBuf| {
        let stem = path.file_stem()?;
        messages.iter().find(|message| message.file_stem() == Some(stem)).cloned()
    };
    corpus::files(expected, ".json").into_iter().filter_map(|path| Some((of(&path)?, path))).collect()
}

fn scores(pairs: &[(PathBuf, PathBuf)]) -> BTreeMap<String, Score> {
    let (transform, context) = (corpus::transform(), corpus::context());
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for (message, expected) in pairs {
        let Some(message) = corpus::messages(message).into_iter().next() else { continue };
        let (bundle, _) = transform.convert(&message, &context);
        let ours = contents(&serde_json::from_str(&bundle.to_string()).expect("JSON"));
        let text = std::fs::read_to_string(expected).expect("a Bundle");
        for (kind, theirs) in contents(&serde_json::from_str(&text).expect("JSON")) {
            let one = score(&theirs, ours.get(&kind).map_or(&[][..], Vec::as_slice));
            let sum = scores.entry(kind).or_default();
            sum.expected += one.expected;
            sum.found += one.found;
            sum.made += one.made;
        }
    }
    for (kind, score) in &scores {
        eprintln!(
            "{kind:24} {:6} expected, recall {:3} %, precision {:3} %",
            score.expected,
            score.recall(),
            score.precision()
        );
    }
    scores
}

#[track_caller]
fn check(scores: &BTreeMap<String, Score>, kind: &str, least: usize) {
    let recall = scores.get(kind).copied().unwrap_or_default().recall();
    assert!(recall >= least, "{kind}: {recall} % of what is expected was found, and it was {least} %");
}

#[test]
fn what_the_repository_has_is_found_again() {
    let [_, own] = corpus::own();
    let scores = scores(&pairs(&own, &corpus::files(&own, ".hl7")));
    check(&scores, "Patient", 85);
    check(&scores, "Specimen", 90);
}

#[test]
fn what_others_made_of_the_corpus_is_found_again() {
    let Some(root) = corpus::shared() else { return };
    let messages = [corpus::files(&root.join("hl7v2"), ".hl7"), corpus::files(&root.join("hl7v2-fields"), ".hl7")];
    let scores = scores(&pairs(&root.join("expected"), &messages.concat()));
    check(&scores, "Patient", 77);
    check(&scores, "Encounter", 88);
    check(&scores, "MessageHeader", 84);
    check(&scores, "RelatedPerson", 69);
    check(&scores, "Observation", 60);
    check(&scores, "DiagnosticReport", 53);
    check(&scores, "DocumentReference", 50);
    check(&scores, "Immunization", 80);
}
