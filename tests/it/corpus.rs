//! Every HL7 v2 file of the shared corpus, through a running engine and through `convert`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::kit::hl7::code;
use crate::kit::http;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, MLLP_IN, QUICK, Site, TO_FHIR, TO_OUT};

/// All its HL7 v2 files; none, aloud, where it is not: it is no part of this repository.
fn files() -> Vec<PathBuf> {
    let roots = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let Some(corpus) = roots.map(|root| root.join("shared/corpus")).find(|path| path.is_dir()) else {
        eprintln!("skipped: there is no shared/corpus beside the repository");
        return Vec::new();
    };
    let mut found = Vec::new();
    for folder in ["hl7v2", "hl7v2-fields"] {
        walk(&corpus.join(folder), &mut found);
    }
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// Each file goes as it is, as one message, by a connection that ends where the file cannot be framed.
#[test]
fn each_is_answered_and_delivered_or_parked_with_a_reason() {
    let files = files();
    if files.is_empty() {
        return;
    }
    let fhir = Fhir::start();
    // The files come from many senders, and use each other's control ids.
    let site = Site::new()
        .engine("[store]", "[store]\nduplicate_window = \"0s\"")
        .channel("in", &format!("lane = \"none\"\n{MLLP_IN}undecodable = \"flag\"\n{TO_FHIR}{TO_OUT}"))
        .destination("out", &format!("clearance = \"V\"\n{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for path in &files {
        let content = std::fs::read(path).unwrap();
        if content.iter().any(|byte| [0x0b, 0x1c].contains(byte)) {
            continue;
        }
        // What asks for no answer, or for two, would be taken for the next one's.
        let mut connection = None;
        let one = if is_answered_otherwise(&content) {
            connection.insert(Sender::connect(running.address("in")))
        } else {
            &mut sender
        };
        one.write(&crate::kit::mllp::framed(&content)).unwrap();
        if connection.is_none() {
            let ack = sender.read().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let code = code(&ack);
            assert!(["AA", "AE", "AR"].contains(&code.as_str()), "{}: {code}", path.display());
            if code != "AA" {
                let said = String::from_utf8_lossy(&ack).replace('\r', "\n");
                assert!(said.lines().last().unwrap().len() > 12, "{}: {said}", path.display());
            }
            *answers.entry(code).or_default() += 1;
        }
    }
    eprintln!("{} files: {answers:?}", files.len());
    running.wait_idle();
    let messages = site.messages();
    assert!(messages.len() > files.len() / 2);
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for message in &messages {
        let state = message["state"].as_str().unwrap();
        *states.entry(state.to_owned()).or_default() += 1;
        let reason = match state {
            "delivered" => continue,
            "failed" | "filtered" => message["reason"].as_str().unwrap().to_owned(),
            "dead" | "held" => {
                let shown = site.json(&["messages", "show", message["id"].as_str().unwrap()]);
                let delivery = site.json(&["deliveries", "show", &shown["deliveries"][0]["id"].to_string()]);
                let answer = delivery["answer"].as_str().map(|answer| format!(": {answer}")).unwrap_or_default();
                format!("{}{answer}", shown["deliveries"][0]["reason"].as_str().unwrap())
            }
            other => panic!("{other}: {message:#}"),
        };
        assert!(reason.len() > 10, "{message:#}");
        *reasons.entry(format!("{state}: {reason}")).or_default() += 1;
    }
    eprintln!("{states:?}\n{reasons:#?}");
    // Many files of the corpus share a control id: all but the first of those are parked, as they must be.
    let conflicts: usize =
        reasons.iter().filter(|(reason, _)| reason.starts_with("failed: duplicate-check")).map(|(_, n)| n).sum();
    assert!(states["delivered"] * 10 > (messages.len() - conflicts) * 8, "{states:?}");
    running.terminate();
    site.verify();
}

/// MSH-15 or MSH-16 is valued, or it is an acknowledgment, which is never acknowledged.
fn is_answered_otherwise(content: &[u8]) -> bool {
    let header = message::hl7v2::Header::read(&bytes::Bytes::copy_from_slice(content));
    header.is_enhanced() || header.is_general_acknowledgment()
}

#[test]
fn each_is_converted_or_refused_with_a_reason() {
    let files = files();
    if files.is_empty() {
        return;
    }
    let site = Site::new();
    let out = site.path("converted");
    let mut refused = 0;
    for some in files.chunks(60) {
        let mut command = site.command(&["convert", "--report", "--out", out.to_str().unwrap()]);
        let output = command.args(some).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(output.status.code() == Some(1), !said.trim().is_empty(), "{said}");
        refused += said.lines().count();
    }
    let made = std::fs::read_dir(&out).unwrap().count();
    eprintln!("{made} converted, {refused} refused");
    assert!(made > files.len() / 2);
}

/// One repository takes all that becomes of them, each twice in a row, and then all once more: no search finds two, and
/// the same again changes nothing.
#[test]
fn a_strict_repository_takes_all_of_them_and_nothing_changes_by_the_second_time() {
    let files = files();
    if files.is_empty() {
        return;
    }
    let (site, fhir) = (Site::new(), Fhir::start());
    let out = site.path("converted");
    for some in files.chunks(60) {
        let mut command = site.command(&["convert", "--out", out.to_str().unwrap()]);
        command.args(some).output().unwrap();
    }
    let mut bundles: Vec<PathBuf> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    bundles.sort();
    let post = |path: &PathBuf| {
        let answer = http::post(fhir.address, "", &std::fs::read(path).unwrap());
        assert_eq!(answer.status, 200, "{}: {}", path.display(), answer.body);
    };
    for path in &bundles {
        post(path);
        let versions = fhir.repository.versions();
        post(path);
        assert_eq!(fhir.repository.versions(), versions, "{} changes something when sent again", path.display());
    }
    let counts = fhir.repository.counts();
    bundles.iter().for_each(post);
    assert_eq!(fhir.repository.counts(), counts);
    eprintln!("{} Bundles, {} resources", bundles.len(), counts.values().sum::<usize>());
}
