//! Every HL7 v2 file of the shared corpus reads, or is refused with a clear fault.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![allow(clippy::unwrap_used, reason = "a test stops where its files cannot be read")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use expect_test::expect;
use message::hl7v2::{CharsetOptions, Header, Message, check};

/// The corpus, if it is here: it is no part of this repository.
fn corpus() -> Option<PathBuf> {
    let roots = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = roots.map(|root| root.join("shared/corpus")).find(|path| path.is_dir());
    if found.is_none() {
        eprintln!("skipped: there is no shared/corpus beside the repository");
    }
    found
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// All HL7 v2 files, by their path within the corpus.
fn messages() -> Vec<(String, Bytes)> {
    let Some(corpus) = corpus() else { return Vec::new() };
    let mut paths = Vec::new();
    for folder in ["hl7v2", "hl7v2-fields"] {
        files(&corpus.join(folder), &mut paths);
    }
    let name = |path: &Path| path.strip_prefix(&corpus).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), Bytes::from(std::fs::read(path).unwrap()))).collect()
}

#[test]
fn every_file_reads_or_is_refused_with_a_fault() {
    let messages = messages();
    if messages.is_empty() {
        return;
    }
    let mut refused = String::new();
    for (name, bytes) in messages {
        let fault = match Message::read(bytes.clone(), &CharsetOptions::default()) {
            Ok((message, _)) => {
                assert!(message.segments().all(|segment| !segment.name().is_empty()), "{name}");
                check(&Header::read(&bytes)).err()
            }
            Err(fault) => Some(fault),
        };
        refused.extend(fault.map(|fault| format!("{name}: {} {fault}\n", fault.code)));
    }
    expect![[r#"
        hl7v2/ORU/dex__Genv1-Case-TestMessage1.hl7: 100 MSH: the message does not begin with an MSH segment
        hl7v2/batch/pkg-hl7standard__batch.hl7: 100 MSH: the message does not begin with an MSH segment
        hl7v2/batch/pkg-pyhl7__sample_batch.hl7: 100 MSH: the message does not begin with an MSH segment
        hl7v2/batch/pkg-pyhl7__sample_file.hl7: 100 MSH: the message does not begin with an MSH segment
        hl7v2/batch/rs__batch_message.hl7: 100 MSH: the message does not begin with an MSH segment
        hl7v2/malformed/dex__Hepatitis_V1_0_1_TM_TC02_HEP_B_ACUTE_MOD.hl7: 200 MSH-9.1: the message type is missing; write it like ADT^A01
        hl7v2/malformed/dex__Lyme_WithBadDelimiters.hl7: 102 MSH-2: the encoding characters must be printable, no letters, and all different
        hl7v2/malformed/mirth__simplesender_hl7.hl7: 100 MSH: the message does not begin with an MSH segment
        hl7v2/malformed/mirth__test-hl7-single-segment-output.hl7: 100 MSH: the message does not begin with an MSH segment
        hl7v2/malformed/pkg-pyhl7__sample_bad_batch.hl7: 100 MSH: the message does not begin with an MSH segment
        hl7v2/xml/hapi__OMD_O03.xml: 100 MSH: the message does not begin with an MSH segment
        hl7v2/xml/hapi__adt_a17.xml: 100 MSH: the message does not begin with an MSH segment
        hl7v2/xml/hapi__extracmp_xml.xml: 100 MSH: the message does not begin with an MSH segment
        hl7v2/xml/hapi__get_version.xml: 100 MSH: the message does not begin with an MSH segment
    "#]].assert_eq(&refused);
}
