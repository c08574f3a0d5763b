//! Nothing is dropped in silence: a value that stands in a message is in its Bundle, or its place is on the list.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests, too, fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use jiff::tz::TimeZone;
use message::json::Value;
use message::{Context, Finding, Provider, hl7v2};
use transforms::hl7v2_to_fhir::maps::Maps;
use transforms::hl7v2_to_fhir::{Hl7v2ToFhir, Options};

static TRANSFORM: LazyLock<Hl7v2ToFhir> =
    LazyLock::new(|| Hl7v2ToFhir::new(Arc::new(Maps::embedded().expect("our tables compile")), Options::default()));

fn context() -> Context {
    Context {
        now: "2024-02-29T12:00:00Z".parse().expect("a time"),
        provider: Arc::new(Provider { key: "st-mary".into(), name: "St Mary".into(), ..Provider::default() }),
        engine: "tributary".into(),
        base_uri: "https://tributary.example.org".into(),
        time_zone: TimeZone::UTC,
    }
}

fn convert(text: &str) -> Option<(Value, Vec<Finding>)> {
    let bytes = Bytes::from(text.to_owned());
    let message = hl7v2::Message::index(bytes.clone(), bytes).ok()?;
    Some(TRANSFORM.convert(&message, &context()))
}

/// One value of a message: where it stands, as the list writes it, and as a slice of the text.
struct Leaf {
    place: String,
    range: std::ops::Range<usize>,
}

/// All values of a message with HL7's usual delimiters.
fn leaves(text: &str) -> Vec<Leaf> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found = Vec::new();
    let mut at = 0;
    for segment in text.split('\r') {
        let name = segment.split('|').next().unwrap_or_default();
        let nth = seen.entry(name).or_default();
        *nth += 1;
        let named = if *nth == 1 { name.to_owned() } else { format!("{name}[{nth}]") };
        let first = if name == "MSH" { 1 } else { 0 };
        let mut offset = at;
        for (i, field) in segment.split('|').enumerate() {
            let number = i + first;
            if i > 0 && !(name == "MSH" && number == 2) {
                field_leaves(field, offset, &format!("{named}-{number}"), &mut found);
            }
            offset += field.len() + 1;
        }
        at += segment.len() + 1;
    }
    found
}

fn field_leaves(field: &str, mut at: usize, place: &str, found: &mut Vec<Leaf>) {
    for (i, repetition) in field.split('~').enumerate() {
        let place = if i == 0 { place.to_owned() } else { format!("{place}[{}]", i + 1) };
        let single = !repetition.contains('^');
        let mut offset = at;
        for (c, component) in repetition.split('^').enumerate() {
            let mut inner = offset;
            for (s, leaf) in component.split('&').enumerate() {
                let place = match (single, s) {
                    (true, 0) => place.clone(),
                    (_, 0) => format!("{place}.{}", c + 1),
                    (_, s) => format!("{place}.{}.{}", c + 1, s + 1),
                };
                if !leaf.trim().is_empty() && leaf != "\"\"" {
                    found.push(Leaf { place, range: inner..inner + leaf.len() });
                }
                inner += leaf.len() + 1;
            }
            offset += component.len() + 1;
        }
        at += repetition.len() + 1;
    }
}

fn golden() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/hl7v2-to-fhir");
    let cases =
        std::fs::read_dir(folder).expect("golden cases").map(|entry| entry.expect("a case").path().join("in.hl7"));
    let mut files: Vec<_> = cases.filter(|file| file.is_file()).collect();
    files.extend(corpus());
    files.sort();
    let read = |file: PathBuf| {
        let text =
            String::from_utf8_lossy(&std::fs::read(&file).expect("in.hl7")).replace("\r\n", "\r").replace('\n', "\r");
        (file, text.trim_end_matches('\r').to_owned())
    };
    files.into_iter().map(read).filter(|(_, text)| text.starts_with("MSH|^~\\&|") && !text.contains("\rMSH|")).collect()
}

/// Set `TRIBUTARY_CORPUS` to a folder of messages to try them as well.
fn corpus() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("TRIBUTARY_CORPUS").into_iter().map(PathBuf::from).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "hl7") {
                files.push(path);
            }
        }
    }
    files
}

/// Every text and number of a Bundle.
fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|member| texts(member, out)),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::String(text) => out.push(text.to_string()),
        Value::Number(number) => out.push(number.as_str().to_owned()),
        Value::Bool(_) | Value::Null => {}
    }
}

/// What a row skips, with its reason, and what the reader itself uses.
const DECIDED: [&str; 48] = [
    // Sequence numbers.
    "AL1-1", "DG1-1", "FT1-1", "GT1-1", "IAM-1", "IN1-1", "IN2-1", "NK1-1", "NTE-1", "OBR-1", "OBX-1", "PID-1", "PR1-1",
    "PV1-1", "RXA-1", "RXA-2", "SPM-1", "TQ1-1", // Of the transport and of reading; EVN-1 repeats MSH-9.2.
    "EVN-1", "MSH-12", "MSH-13", "MSH-14", "MSH-15", "MSH-16", "MSH-18", "MSH-21",
    // What is done to a record is what a write is.
    "DG1-21", "GOL-1", "IAM-6", "PRB-1", "PTH-1", "ROL-2", // What was asked, in an answer.
    "QAK-1", "QAK-2", "QAK-3", "QPD-1", "QPD-2", "QPD-3", "QRD-1", "QRD-2", "QRD-3", "QRD-4", "QRD-7", "QRD-8",
    "QRD-9",  // The name of the patient, who is the subscriber.
    "IN1-16", // A charge is what a ChargeItem is.
    "FT1-6",  // The type that OBX-5 is read by.
    "OBX-2",
];

/// A word that no table translates, no condition asks for and no message has.
const WORD: &str = "Qzx7Wvk";

/// `OBX-5.2` for `OBX[7]-5[2].2`.
fn anywhere(place: &str) -> String {
    let outside = place.split('[').enumerate();
    outside.map(|(i, part)| if i == 0 { part } else { part.split_once(']').map_or("", |(_, rest)| rest) }).collect()
}

/// Each value in turn becomes a word that nothing expects: then the word is in the Bundle, or its place is listed.
#[test]
fn a_value_that_nothing_expects_is_in_the_bundle_or_on_the_list() {
    let mut missing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut tried = 0;
    for (file, text) in golden() {
        for leaf in leaves(&text) {
            let mut changed = text.clone();
            changed.replace_range(leaf.range.clone(), WORD);
            let Some((bundle, findings)) = convert(&changed) else { continue };
            tried += 1;
            let listed = findings.iter().any(|finding| finding.location == leaf.place);
            let mut all = Vec::new();
            texts(&bundle, &mut all);
            let there = all.iter().any(|text| text.to_lowercase().contains(&WORD.to_lowercase()));
            let name = anywhere(&leaf.place);
            let decided = DECIDED.contains(&name.split('.').next().unwrap_or_default());
            if !listed && !there && !decided {
                let case = file.parent().and_then(|folder| folder.file_name()).unwrap_or_default().to_string_lossy();
                missing.entry(name).or_default().insert(format!("{case} {}", leaf.place));
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
    let shown: Vec<String> = missing
        .iter()
        .map(|(place, cases)| format!("{place}: {} ({})", cases.len(), cases.first().expect("one")))
        .collect();
    assert!(missing.is_empty(), "of {tried} values, dropped in silence:\n{}", shown.join("\n"));
}
