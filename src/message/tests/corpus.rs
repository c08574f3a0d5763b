//! Every HL7 v2 file of the shared corpus reads, or is refused with a clear fault.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![allow(clippy::unwrap_used, reason = "a test stops where its files cannot be read")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use expect_test::{expect, expect_file};
use message::fhir::validate::{self, validate};
use message::fhir::{self, Limits, xml};
use message::hl7v2::{Batch, CharsetOptions, Field, Header, Message, check};
use message::json::Value;

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

/// The `er7` crate, another reading of the standard, finds the same segments, fields and values.
#[test]
fn another_reader_finds_the_same() {
    for (name, bytes) in messages() {
        let Ok((message, _)) = Message::read(bytes, &CharsetOptions::default()) else { continue };
        let Ok(theirs) = er7::parse(message.text()) else { continue };
        // A doubled escape character in MSH-2 is read differently, and a batch is no message.
        let usual = theirs.separators.encoding_characters() == message.delimiters().encoding_characters();
        if !usual || message.segments().len() != theirs.segments.len() {
            assert!(name.contains("sample_") || name.contains("batch") || name.contains("stream"), "{name}");
            continue;
        }
        for (ours, theirs_of) in message.segments().zip(&theirs.segments) {
            assert_eq!(ours.name(), theirs_of.name, "{name}");
            for (number, field) in ours.fields() {
                let their_field = theirs_of.field(number);
                let place = format!("{name} {}-{number}", ours.name());
                assert_eq!(
                    field.text(),
                    their_field.map(|f| f.to_er7(&theirs.separators)).unwrap_or_default(),
                    "{place}"
                );
                if !(ours.name() == "MSH" && number <= 2) {
                    same_values(&field, their_field, &theirs.separators, &place);
                }
            }
        }
    }
}

fn same_values(ours: &Field<'_>, theirs: Option<&er7::Field>, separators: &er7::Separators, place: &str) {
    for (r, repetition) in ours.repetitions().enumerate() {
        for (c, component) in repetition.components().enumerate() {
            for (s, sub) in component.subcomponents().enumerate() {
                let repetition = theirs.and_then(|field| field.repetition(r + 1));
                let theirs = repetition.and_then(|r| r.component(c + 1)).and_then(|c| c.subcomponent(s + 1));
                // They leave line breaks as they stand, and give `""` as nothing.
                if !sub.text().contains("\\.") && !sub.is_null() {
                    assert_eq!(sub.value(), theirs.map(|sub| sub.value(separators)).unwrap_or_default(), "{place}");
                }
            }
        }
    }
}

#[test]
fn batches_are_cut_into_messages_that_read() {
    let mut table = String::new();
    for (name, bytes) in messages().iter().filter(|(name, _)| name.contains("/batch/") || name.contains("/streams/")) {
        let batch = Batch::split(bytes);
        let read = batch.messages.iter().filter(|m| Message::read(Bytes::clone(m), &CharsetOptions::default()).is_ok());
        let problems: Vec<_> = batch.problems.iter().map(ToString::to_string).collect();
        let (all, read) = (batch.messages.len(), read.count());
        table.push_str(&format!("{name}: {all} messages, {read} read, {} batches {problems:?}\n", batch.batches.len()));
    }
    if !table.is_empty() {
        expect![[r#"
            hl7v2/batch/mirth__filereader_batch_batch01.hl7: 3 messages, 3 read, 0 batches []
            hl7v2/batch/pkg-hl7standard__batch.hl7: 2 messages, 2 read, 1 batches []
            hl7v2/batch/pkg-pyhl7__sample_batch.hl7: 1 messages, 1 read, 1 batches []
            hl7v2/batch/pkg-pyhl7__sample_file.hl7: 1 messages, 1 read, 1 batches []
            hl7v2/batch/rs__batch_message.hl7: 2 messages, 2 read, 1 batches []
            hl7v2/streams/mirth__TestADT-stream.hl7: 74 messages, 74 read, 0 batches []
            hl7v2/streams/simh__messages-stream.hl7: 498 messages, 498 read, 0 batches []
        "#]]
        .assert_eq(&table);
    }
}

#[test]
fn fhir_is_read_whole_or_refused_with_a_fault() {
    let Some(corpus) = corpus() else { return };
    let mut paths = Vec::new();
    files(&corpus.join("fhir"), &mut paths);
    let mut refused = String::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let bytes = std::fs::read(path).unwrap();
        match fhir::read(&bytes, &Limits::default()) {
            Ok(resource) => assert_eq!(
                Ok(resource),
                serde_json::from_slice::<serde_json::Value>(&bytes).map(Into::into).map_err(|e| e.to_string())
            ),
            Err(fault) => {
                let name = path.strip_prefix(&corpus).unwrap().display();
                refused.push_str(&format!("{name}: {} {fault}\n", fault.code));
            }
        }
    }
    expect![[r#"
        fhir/batch-response/r4ex__Bundle-bundle-response-medsallergies.json: 200 Bundle.type: Bundles of this type are answers, and not taken here; send a transaction, batch, collection, document or message
        fhir/malformed/rs__engine-bundle_multiple_bundles.json: 102 something follows the end of the resource; send one resource at a time (line 2, column 1)
        fhir/message/rs__sample_FL_20240702-0001.json: 102 entry[3].resource.address[0].line: this element stands here twice (line 484, column 20)
        fhir/searchset/r4ex__Bundle-bundle-example.json: 200 Bundle.type: Bundles of this type are answers, and not taken here; send a transaction, batch, collection, document or message
        fhir/transaction-response/r4ex__Bundle-bundle-response.json: 200 Bundle.type: Bundles of this type are answers, and not taken here; send a transaction, batch, collection, document or message
    "#]].assert_eq(&refused);
}

/// All resources of FHIR in JSON, by their path within the corpus; the two documents in one file are left out.
fn resources() -> Vec<(String, Value)> {
    let Some(corpus) = corpus() else { return Vec::new() };
    let mut paths = Vec::new();
    files(&corpus.join("fhir"), &mut paths);
    let name = |path: &Path| path.strip_prefix(&corpus).unwrap().display().to_string();
    let read = |path: &PathBuf| {
        let resource = serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).ok()?;
        Some((name(path), resource.into()))
    };
    paths.iter().filter_map(read).collect()
}

/// What the validator says of other people's resources. None of it is a mistake of its own: each was looked up in R4.
#[test]
fn the_validator_finds_in_resources_what_is_wrong_with_them_and_nothing_else() {
    let resources = resources();
    if resources.is_empty() {
        return;
    }
    let mut told = BTreeMap::<String, usize>::new();
    for (name, resource) in &resources {
        for issue in validate(resource, &validate::Options { issues: 1000, ..Default::default() }) {
            *told.entry(format!("{name}: {}", without_indices(&issue.to_string()))).or_default() += 1;
        }
    }
    let told: String = told.iter().map(|(issue, times)| format!("{times} x {issue}\n")).collect();
    expect_file!["corpus-issues.txt"].assert_eq(&told);
}

/// `entry[].resource` for `entry[3].resource`.
fn without_indices(text: &str) -> String {
    let mut out = String::new();
    let mut within = false;
    for c in text.chars() {
        within &= c != ']';
        if !within {
            out.push(c);
        }
        within |= c == '[';
    }
    out
}

/// JSON to XML to JSON gives the same; or XML has no place for it, as it is no R4.
#[test]
fn resources_return_from_xml() {
    let mut refused = String::new();
    let mut returned = 0;
    for (name, resource) in resources() {
        match xml::write(&resource) {
            Ok(written) => {
                let read = xml::read(written.as_bytes(), &Limits::default()).unwrap();
                // Blanks around a narrative are no part of it.
                assert!(read.resource == trimmed(resource), "{name} is another one: {} \n{written}", read.resource);
                returned += 1;
            }
            Err(fault) => refused.push_str(&format!("{name}: {fault}\n")),
        }
    }
    if returned + refused.len() > 0 {
        expect![[r#"
            73 returned
            fhir/batch/phdi__BundleEcrSummary.json: Bundle.entry[0].resource.meta.source: the value is a text, in quotation marks
            fhir/batch/phdi__BundlePatientDeceased.json: Bundle.entry[0].resource.deceasedDate: R4 has no such element
            fhir/message/rs__engine-bundle_diagnostic_report_no_observations.json: Bundle.entry[29].resource.result: the element repeats, so it is a list, and not an empty one
            fhir/message/rs__sample_IL_20240802-0001.json: Bundle.entry[8].resource.identifier[0].extension[0].value: R4 has no such element
            fhir/message/rs__sample_NJ_20240719-0001.json: Bundle.entry[2].resource.identifier[1].extension[0].valueString: the value is a text, in quotation marks
            fhir/us-core/r4ex__uscore-AllergyIntolerance-example.json: AllergyIntolerance.assertedDate: R4 has no such element
            fhir/us-core/r4ex__uscore-Condition-example.json: Condition.assertedDate: R4 has no such element
            fhir/us-core/r4ex__uscore-Device-udi-1.json: Device.udi: R4 has no such element
            fhir/us-core/r4ex__uscore-DiagnosticReport-metabolic-panel.json: DiagnosticReport.category: the element repeats, so it is a list, and not an empty one
            fhir/us-core/r4ex__uscore-DocumentReference-episode-summary.json: DocumentReference.created: R4 has no such element
            fhir/us-core/r4ex__uscore-Immunization-imm-1.json: Immunization.notGiven: R4 has no such element
            fhir/us-core/r4ex__uscore-MedicationRequest-uscore-mo1.json: MedicationRequest.requester.agent: R4 has no such element
            fhir/us-core/r4ex__uscore-MedicationStatement-uscore-ms1.json: MedicationStatement.taken: R4 has no such element
            fhir/us-core/r4ex__uscore-Observation-bmi.json: Observation.context: R4 has no such element
            fhir/us-core/r4ex__uscore-Observation-head-circumference.json: Observation.context: R4 has no such element
            fhir/us-core/r4ex__uscore-Observation-height.json: Observation.context: R4 has no such element
            fhir/us-core/r4ex__uscore-Observation-length.json: Observation.context: R4 has no such element
            fhir/us-core/r4ex__uscore-Observation-respiratory-rate.json: Observation.context: R4 has no such element
            fhir/us-core/r4ex__uscore-Observation-vitals-panel.json: Observation.context: R4 has no such element
        "#]].assert_eq(&format!("{returned} returned\n{refused}"));
    }
}

fn trimmed(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => items.iter_mut().for_each(|item| *item = trimmed(item.take())),
        Value::Object(elements) => {
            for (name, element) in elements.iter_mut() {
                *element = match element.take() {
                    Value::String(text) if name == "div" => Value::from(text.trim()),
                    element => trimmed(element),
                };
            }
        }
        _ => {}
    }
    value
}
