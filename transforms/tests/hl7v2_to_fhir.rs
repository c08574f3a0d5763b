//! Whole messages through the embedded tables: golden cases, invariants of every Bundle, site
//! overlays and their mistakes.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests, too, fail loudly")]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use jiff::tz::TimeZone;
use message::fhir::definitions::types;
use message::{Context, Finding, FindingKind, Provider, hl7v2};
use proptest::prelude::*;
use serde_json::Value;
use transforms::hl7v2_to_fhir::maps::Maps;
use transforms::hl7v2_to_fhir::{Attachments, Hl7v2ToFhir, ObservationGroups, Options};

static EMBEDDED: LazyLock<Arc<Maps>> = LazyLock::new(|| Arc::new(Maps::embedded().expect("our tables compile")));

fn context() -> Context {
    let systems = BTreeMap::from([("STMARY".to_owned(), "https://st-mary.example.org/ids".to_owned())]);
    Context {
        now: "2024-02-29T12:00:00Z".parse().expect("a time"),
        provider: Arc::new(Provider { key: "st-mary".into(), name: "St Mary".into(), systems, ..Provider::default() }),
        engine: "tributary".into(),
        base_uri: "https://tributary.example.org".into(),
        time_zone: TimeZone::get("America/Chicago").expect("a zone"),
    }
}

fn read(text: &str) -> hl7v2::Message {
    let bytes = Bytes::from(text.replace('\n', "\r"));
    hl7v2::Message::index(bytes.clone(), bytes).expect("a message")
}

fn convert_with(maps: &Arc<Maps>, text: &str) -> (Value, Vec<Finding>) {
    let (bundle, findings) = Hl7v2ToFhir::new(Arc::clone(maps), Options::default()).convert(&read(text), &context());
    (bundle.into(), findings)
}

fn convert(text: &str) -> (Value, Vec<Finding>) {
    convert_with(&EMBEDDED, text)
}

/// All resources of type `kind`.
fn resources<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    let entries = bundle["entry"].as_array().expect("entries");
    entries.iter().map(|entry| &entry["resource"]).filter(|resource| resource["resourceType"] == kind).collect()
}

// ---- invariants that every Bundle keeps ------------------------------------------------------

/// Panics with what a strict server would refuse.
fn accept(bundle: &Value) {
    // A message that says nothing makes a Bundle of nothing.
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let urls: Vec<_> = entries.iter().map(|e| e["fullUrl"].as_str().expect("a fullUrl")).collect();
    let full: HashSet<_> = urls.iter().copied().collect();
    assert_eq!(full.len(), urls.len(), "a fullUrl twice");
    let requests: HashSet<_> = entries.iter().map(|e| e["request"]["url"].as_str().expect("a request")).collect();
    assert_eq!(requests.len(), urls.len(), "a request twice");
    for entry in entries {
        let resource = &entry["resource"];
        let kind = types().get(types().id(resource["resourceType"].as_str().expect("a type")).expect("of R4"));
        for name in kind.required() {
            let there = |key: &String| key.trim_start_matches('_').starts_with(name.as_str());
            assert!(resource.as_object().expect("an object").keys().any(there), "{} without {name}", kind.name);
        }
        assert!(entry["request"]["url"].as_str().expect("a url").bytes().all(|b| b.is_ascii_graphic() && b != b'|'));
        walk(resource, &full);
    }
}

fn walk(value: &Value, full: &HashSet<&str>) {
    match value {
        Value::Object(map) => {
            assert!(!map.is_empty(), "an empty object");
            if let Some(Value::String(reference)) = map.get("reference") {
                assert!(full.contains(reference.as_str()), "a reference to nothing");
            }
            map.values().for_each(|value| walk(value, full));
        }
        Value::Array(all) => {
            assert!(!all.is_empty(), "an empty array");
            all.iter().for_each(|value| walk(value, full));
        }
        Value::String(text) => assert!(!text.trim().is_empty(), "an empty string"),
        _ => {}
    }
}

// ---- golden cases ----------------------------------------------------------------------------

#[track_caller]
fn check_case(case: &Path) {
    let text = std::fs::read_to_string(case.join("in.hl7")).expect("in.hl7");
    let (bundle, findings) = convert(&text);
    accept(&bundle);
    let shown = serde_json::to_string_pretty(&bundle).expect("JSON") + "\n";
    let found: String = findings.iter().map(|f| format!("{:?} {}: {}\n", f.kind, f.location, f.text)).collect();
    for (name, now) in [("out.json", shown), ("findings.txt", found)] {
        let file = case.join(name);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &now).expect("written");
        }
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(before == now, "{} differs; look at it with UPDATE_EXPECT=1 and git diff", file.display());
    }
}

#[test]
fn golden_cases_stay_as_they_are() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/hl7v2-to-fhir");
    let cases = std::fs::read_dir(folder).expect("golden cases").map(|entry| entry.expect("a case").path());
    let count = cases.filter(|case| case.is_dir()).inspect(|case| check_case(case)).count();
    assert!(count >= 10);
}

/// Set `TRIBUTARY_CORPUS` to a folder of messages to try them all.
#[test]
fn a_folder_of_messages_converts_without_a_fault() {
    let Some(folder) = std::env::var_os("TRIBUTARY_CORPUS") else { return };
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "hl7") {
                let bytes = std::fs::read(&path).expect("a file");
                let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\r").replace('\n', "\r");
                for part in text.split("\rMSH").map(|part| format!("MSH{}", part.trim_start_matches("MSH"))) {
                    let bytes = Bytes::from(part);
                    let Ok(message) = hl7v2::Message::index(bytes.clone(), bytes) else { continue };
                    let transform = Hl7v2ToFhir::new(Arc::clone(&EMBEDDED), Options::default());
                    let (bundle, findings) = transform.convert(&message, &context());
                    accept(&Value::from(bundle.clone()));
                    assert_eq!((bundle, findings), transform.convert(&message, &context()), "{}", path.display());
                }
            }
        }
    }
}

// ---- decisions -------------------------------------------------------------------------------

#[track_caller]
fn check_status(event: &str, pv1: &str, expected: &str) {
    let text = format!("MSH|^~\\&|A|B|C|D|20240101||ADT^{event}|1|P|2.5\nPID|1||1^^^STMARY^MR\n{pv1}");
    let (bundle, _) = convert(&text);
    assert_eq!(resources(&bundle, "Encounter")[0]["status"], expected, "{event} {pv1}");
}

#[test]
fn the_event_decides_the_status_of_a_visit_then_its_end_then_its_class() {
    check_status("A01", "PV1|1|I", "in-progress");
    check_status("A01", "PV1|1|P", "planned");
    check_status("A01", "PV1|1|Q", "unknown");
    check_status("A03", "PV1|1|I", "finished");
    check_status("A08", "PV1|1|O|||||||||||||||||||||||||||||||||||||||||||20240102", "finished");
    check_status("A13", "PV1|1|I|||||||||||||||||||||||||||||||||||||||||||20240102", "in-progress");
    check_status("A05", "PV1|1|I", "planned");
    check_status("A11", "PV1|1|I", "cancelled");
    check_status("A23", "PV1|1|I", "entered-in-error");
}

#[track_caller]
fn check_value(obx: &str, element: &str, expected: &str) {
    let text = format!("MSH|^~\\&|A|B|C|D|20240101||ORU^R01|1|P|2.5\nPID|1||1\nOBR|1||2|3\nOBX|1|{obx}");
    let (bundle, _) = convert(&text);
    let found = resources(&bundle, "Observation")[0].pointer(element).map(ToString::to_string);
    assert_eq!(found.as_deref().unwrap_or("nothing"), expected, "{obx}");
}

#[test]
fn values_keep_their_digits_and_say_what_they_are() {
    check_value("NM|X||0.010|mg^^UCUM", "/valueQuantity/value", "0.010");
    check_value("NM|X||0.010|mg^^UCUM", "/valueQuantity/system", "\"http://unitsofmeasure.org\"");
    check_value("NM|X||<5|mg", "/valueString", "\"<5\"");
    check_value("SN|X||<=^7|mg", "/valueQuantity/comparator", "\"<=\"");
    check_value("SN|X||^1^:^128", "/valueRatio/denominator/value", "128");
    check_value("ST|X||A \\T\\ B", "/valueString", "\"A & B\"");
    check_value("ST|X||A & B", "/valueString", "\"A & B\"");
    check_value("TS|X||202407041530", "/valueDateTime", "\"2024-07-04T15:30:00-05:00\"");
    check_value("DT|X||202407", "/valueDateTime", "\"2024-07\"");
    check_value("CWE|X||1^One^LN", "/valueCodeableConcept/coding/0/system", "\"http://loinc.org\"");
    check_value(
        "CWE|X||1^One^99LOCAL",
        "/valueCodeableConcept/coding/0/system",
        "\"https://tributary.example.org/cs/st-mary/99LOCAL\"",
    );
    check_value("NM|X||||||||N", "/dataAbsentReason/coding/0/code", "\"not-asked\"");
    check_value("NM|X||1||||||W", "/status", "\"entered-in-error\"");
}

#[test]
fn the_same_person_is_one_entry_and_the_same_panel_number_two_reports() {
    let text = "MSH|^~\\&|A|B|C|D|20240101||ORU^R01|1|P|2.5\nPID|1||1^^^STMARY^MR\n\
        PV1|1|I|||||1001^Farrow^Idris^^^^^^STMARY\nORC|RE|P1^H|F1^L\n\
        OBR|1|P1^H|F1^L|A^Panel A^L||||||||||||1001^Farrow^Idris^^^^^^STMARY\nOBX|1|NM|X||1\n\
        OBR|2|P1^H|F1^L|B^Panel B^L\nOBX|1|NM|Y||2\nOBX|2|NM|Y||3";
    let (bundle, _) = convert(text);
    accept(&bundle);
    let count = ["Practitioner", "DiagnosticReport", "Observation"].map(|kind| resources(&bundle, kind).len());
    assert_eq!(count, [1, 2, 3]);
}

#[test]
fn two_specimens_without_a_number_stay_two() {
    let text =
        "MSH|^~\\&|A|B|C|D|20240101||ORU^R01|1|P|2.5.1\nPID|1||1\nOBR|1||2|3\nOBX|1|NM|X||1\nSPM|1|||BLD\nSPM|2|||UR";
    let (bundle, _) = convert(text);
    accept(&bundle);
    assert_eq!(resources(&bundle, "Specimen").len(), 2);
}

#[test]
fn a_merge_of_a_number_with_itself_links_nothing() {
    let text = "MSH|^~\\&|A|B|C|D|20240101||ADT^A40|1|P|2.5\nPID|1||1^^^STMARY^MR\nMRG|1^^^STMARY^MR";
    let (bundle, _) = convert(text);
    accept(&bundle);
    let patients = resources(&bundle, "Patient");
    assert_eq!(patients.len(), 1);
    assert_eq!(patients[0].get("link"), None);
}

#[test]
fn every_value_is_taken_or_on_the_list() {
    let pid_38 = "|".repeat(33);
    let text = format!("MSH|^~\\&|A|B|C|D|20240101||ADT^A01|1|P|2.5\nPID|1||1||Q^W{pid_38}X~Y^Z&W");
    let (_, findings) = convert(&text);
    let unmapped = findings.iter().filter(|f| f.kind == FindingKind::Unmapped).map(|f| f.location.as_str());
    assert_eq!(unmapped.collect::<Vec<_>>(), ["PID-38", "PID-38[2].1", "PID-38[2].2", "PID-38[2].2.2"]);
}

#[test]
fn ten_thousand_repetitions_and_unknown_codes_take_no_longer_for_each_than_one() {
    let repetitions = vec!["1^^^A^MR"; 20_000].join("~");
    let codes = vec!["??"; 20_000].join("~");
    let text = format!(
        "MSH|^~\\&|A|B|C|D|20240101||ORU^R01|1|P|2.5\nPID|1||{repetitions}\nOBR|1||2|3\nOBX|1|NM|X||1|||{codes}"
    );
    let (bundle, findings) = convert(&text);
    accept(&bundle);
    assert!(findings.len() <= 10_001);
    assert!(findings.last().is_some_and(|f| f.text.ends_with("more places are not listed")));
}

// ---- site overlays ---------------------------------------------------------------------------

fn site(name: &str, text: &str) -> Result<Maps, String> {
    let maps = Maps::with_site(vec![(name.to_owned(), text.to_owned())], &Options::default());
    maps.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_site_maps_its_own_fields_segments_and_codes() {
    let row = "[[row]]\nfrom = \"PID-10\"\nto = \"extension[10].url\"\nfixed = \"urn:x:race\"\n\
        [[row]]\nfrom = \"PID-10\"\nto = \"extension[10].valueCodeableConcept\"\nas = \"CWE[CodeableConcept]\"\n\
        [[row]]\nfrom = \"PID-8\"\nto = \"gender\"\nremove = true";
    let maps = Arc::new(site("segments/PID[Patient].toml", row).expect("compiles"));
    let (bundle, _) = convert_with(&maps, "MSH|^~\\&|A|B|C|D|20240101||ADT^A08|1|P|2.5\nPID|1||1|||||F||2106-3^White");
    let patient = resources(&bundle, "Patient")[0];
    assert_eq!(patient["extension"][0]["valueCodeableConcept"]["coding"][0]["code"], "2106-3");
    assert_eq!(patient.get("gender"), None);

    let maps = Maps::with_site(
        vec![
            (
                "segments/ZPI[Patient].toml".into(),
                "[[row]]\nfrom = \"ZPI-2\"\nto = \"active\"\nas = \"ID[boolean]\"\ncode = \"YesNoIndicator\"".into(),
            ),
            (
                "messages/ADT_A01.toml".into(),
                "[[row]]\nfrom = \"ZPI\"\nto = \"Patient[1]\"\nas = \"ZPI[Patient]\"".into(),
            ),
            ("codes/YesNoIndicator.toml".into(), "codes = [{ from = \"J\", to = \"true\" }]".into()),
        ],
        &Options::default(),
    );
    let maps = Arc::new(maps.unwrap_or_else(|errors| panic!("{}", errors[0])));
    let (bundle, findings) = convert_with(&maps, "MSH|^~\\&|A|B|C|D|20240101||ADT^A08|1|P|2.5\nPID|1||1\nZPI|1|J");
    assert_eq!(resources(&bundle, "Patient")[0]["active"], true);
    assert!(findings.iter().all(|f| f.kind != FindingKind::Unexpected || f.location != "ZPI"));
}

#[track_caller]
fn check_mistake(name: &str, text: &str, expected: &str) {
    assert_eq!(site(name, text).err().as_deref(), Some(expected));
}

#[test]
fn mistakes_of_a_site_are_told_with_their_place_and_a_way_out() {
    check_mistake(
        "segments/PID[Patient].toml",
        "[[row]]\nfrom = \"PID-8\"\nto = \"gendre\"",
        "segments/PID[Patient].toml:3:6: R4's Patient has no element `gendre`\n  help: did you mean `gender`?",
    );
    check_mistake(
        "segments/PID[Patient].toml",
        "[[row]]\nfrom = \"PID-8\"\nto = \"gender\"\nwhen = \"PID-8 is F\"",
        "segments/PID[Patient].toml:4:18: `null` is expected after `is`",
    );
    check_mistake(
        "segments/PID[Patient].toml",
        "[[row]]\nfrom = \"PID-5\"\nto = \"name\"",
        "segments/PID[Patient].toml:3:6: `to` holds a HumanName, so the row needs `as`",
    );
    check_mistake(
        "segments/PID[Patient].toml",
        "[[row]]\nfrom = \"PID-5\"\nto = \"name\"\nas = \"XPN[HumanNam]\"",
        "segments/PID[Patient].toml:4:6: there is no table `XPN[HumanNam]`\n  help: did you mean `xpn[humanname]`?",
    );
    check_mistake(
        "messages/ADT_A01.toml",
        "[[row]]\nfrom = \"INSURANCES.IN1\"\nto = \"Coverage[1]\"\nas = \"IN1[Coverage]\"",
        "messages/ADT_A01.toml:2:8: the grammar has no `INSURANCES.IN1`; a segment in groups reads GROUP.GROUP.SEG",
    );
    check_mistake(
        "maps.toml",
        "",
        "maps.toml:1:1: no folder of tables holds this file\n  help: put it into segments/, datatypes/, codes/, messages/ or blocks/",
    );
}

// ---- hostile input ---------------------------------------------------------------------------

/// Messages that are nearly right: segments of our cases in any order, cut and mutated.
fn mangled() -> impl Strategy<Value = String> {
    let segments = vec![
        "PID|1||1^^^A&1.2.3&ISO^MR~2||Q&v^W^^^^^L|||F|||1 A St^^T^S^1^US^H||^PRN^PH^^1^2^3",
        "PD1|||P^^9|1^D^E",
        "NK1|1|A^B|SPO",
        "PV1|1|I|W^1^A^F||||1^D~2^E||||||||||||V^^^A^VN",
        "PV2|||X^Y^L",
        "AL1|1|DA|P^Q^L|SV|H",
        "DG1|1||I^J^I10C|||A",
        "ORC|RE|1^A|2^B|3&C^4&D|CM",
        "OBR|1|1^A|2^B|P^Q^LN|||20240101||||||||1^D",
        "OBX|1|NM|A^B^LN||1.0~2.0|mg|1-2|H~L|||F",
        "OBX|2|SN|A||>^1^-^2|mg|||||P",
        "OBX|3|ED|A||^A^B^Base64^////||||||F",
        "NTE|1||Note",
        "SPM|1|1&A^2&B||BLD",
        "MRG|9^^^A^MR",
        "IN1|1|G|C|P^^5",
        "ZZZ|1|2~3^4&5",
        "EVN|A01|2024",
        "~",
        "|||",
    ];
    let events =
        vec!["ADT^A01", "ADT^A40", "ORU^R01", "ORM^O01", "SIU^S12", "VXU^V04", "MDM^T02", "XXX^Y00", "ADT^A17", ""];
    (
        prop::sample::select(events),
        prop::collection::vec(prop::sample::select(segments), 0..12),
        prop::collection::vec((any::<prop::sample::Index>(), "[|^~&\\\\\"a9Å\r]"), 0..6),
    )
        .prop_map(|(event, segments, edits)| {
            let mut text = format!("MSH|^~\\&|A|B|C|D|20240101||{event}|1|P|2.5\r{}", segments.join("\r"));
            for (at, with) in edits {
                let mut at = 9 + at.index(text.len() - 9);
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                text.insert_str(at, &with);
            }
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_message_becomes_a_bundle_that_a_strict_server_takes(text in mangled()) {
        let (bundle, findings) = convert(&text);
        accept(&bundle);
        let again = convert(&text);
        prop_assert!((bundle, findings) == again);
    }
}

// ---- what stands together --------------------------------------------------------------------

/// A result with this sub-id.
fn result(number: usize, sub_id: &str) -> String {
    format!("OBX|{number}|ST|C{number}^Test^L|{sub_id}|value||||||F\n")
}

/// For each Observation with members its code, or `group`, and how many there are.
fn groups(sub_ids: &[&str], chosen: ObservationGroups) -> Vec<(String, usize)> {
    let results: String = sub_ids.iter().enumerate().map(|(i, id)| result(i + 1, id)).collect();
    let head = "MSH|^~\\&|||||20240101||ORU^R01|1|P|2.8.2\nPID|1||9^^^STMARY^MR\nOBR|1|P1^A|F1^A|PANEL^All^L|||20240101||||||||||||||||||F\n";
    let options = Options { observation_groups: chosen, ..Options::default() };
    let transform = Hl7v2ToFhir::new(Arc::clone(&EMBEDDED), options);
    let (bundle, _) = transform.convert(&read(&format!("{head}{results}")), &context());
    let bundle: Value = bundle.into();
    accept(&bundle);
    let reported = resources(&bundle, "DiagnosticReport")[0]["result"].as_array().expect("results").len();
    assert_eq!(reported, resources(&bundle, "Observation").len(), "a report has all its results");
    let all = resources(&bundle, "Observation").into_iter();
    let code = |one: &Value| one["code"]["coding"][0]["code"].as_str().expect("a code").replace("PANEL", "group");
    all.filter_map(|one| Some((code(one), one["hasMember"].as_array()?.len()))).collect()
}

#[test]
fn results_stand_together_as_their_sub_ids_say() {
    use ObservationGroups::{Extension, Hierarchy, Panels};
    let found = |all: &[(&str, usize)]| all.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect::<Vec<_>>();
    let tree = ["1", "1.1", "1.1.1", "1.2", "2", "2.1"];
    assert_eq!(groups(&tree, Hierarchy), found(&[("C1", 2), ("C2", 1), ("C5", 1)]));
    assert_eq!(groups(&tree, Extension), found(&[]));
    assert_eq!(groups(&["1.1", "1.2", "2.1"], Hierarchy), found(&[("group", 2)]));
    assert_eq!(groups(&["a^1^1", "b^1^2", "c^2^1"], Hierarchy), found(&[("group", 2)]));
    let shared = ["1", "1", "2", "2", "3"];
    assert_eq!(groups(&shared, Hierarchy), found(&[]));
    assert_eq!(groups(&shared, Panels), found(&[("group", 2), ("group", 2)]));
    assert_eq!(groups(&["1", "1", "1"], Panels), found(&[]));
    assert_eq!(groups(&["", "1..2", ".", "..", "1."], Panels).len(), 2);
}

#[test]
fn an_order_with_one_specimen_has_one() {
    let order = "MSH|^~\\&|||||20240101||ORU^R01|1|P|2.5.1\nPID|1||9^^^STMARY^MR\nOBR|1|P1^A|F1^A|C^G^L|||20240101|||||||20240102|BLD^^^ARM|\nOBX|1|NM|C^G^L||5||||||F\n";
    let (one, findings) = convert(&format!("{order}SPM|1|S1&A||SER^Serum^HL70487"));
    accept(&one);
    let specimens = resources(&one, "Specimen");
    assert_eq!(specimens.len(), 1);
    assert_eq!(specimens[0]["receivedTime"].as_str().map(|time| &time[..10]), Some("2024-01-02"));
    assert_eq!(specimens[0]["type"]["coding"].as_array().map(Vec::len), Some(2));
    assert!(resources(&one, "Observation")[0]["specimen"].is_object());
    assert!(!findings.iter().any(|finding| finding.text.contains("SPM says")));
    let (_, findings) = convert(&format!("{order}SPM|1|S1&A||SER|||||||||||||20240109"));
    let said = findings.iter().find(|finding| finding.text.contains("SPM says")).expect("a finding");
    assert_eq!((said.location.as_str(), said.kind), ("OBR", FindingKind::Unmapped));
    let (two, _) = convert(&format!("{order}SPM|1|S1&A||SER\nSPM|2|S2&A||UR"));
    assert_eq!(resources(&two, "Specimen").len(), 3);
}

#[test]
fn documents_of_results_stand_in_the_report_where_a_channel_says_so() {
    let text = "MSH|^~\\&|||||20240101||ORU^R01|1|P|2.5.1\nPID|1||9^^^STMARY^MR\nOBR|1|P1^A|F1^A|C^G^L\nOBX|1|ED|PDF^Report^L||^application^pdf^Base64^JVBERi0=||||||F";
    assert!(resources(&convert(text).0, "DiagnosticReport")[0]["presentedForm"].is_null());
    let options = Options { attachments: Attachments::Both, ..Options::default() };
    let maps = transforms::hl7v2_to_fhir::load(None, &options).expect("our tables compile");
    let (bundle, _) = Hl7v2ToFhir::new(maps, options).convert(&read(text), &context());
    let bundle: Value = bundle.into();
    accept(&bundle);
    let form = &resources(&bundle, "DiagnosticReport")[0]["presentedForm"][0];
    assert_eq!((&form["data"], &form["title"]), (&Value::from("JVBERi0="), &Value::from("Report")));
}

#[test]
fn an_account_that_ends_is_inactive() {
    let status = |event: &str| {
        let pid = "PID|1||9^^^STMARY^MR|||||||||||||||A7^^^STMARY^AN";
        let (bundle, _) = convert(&format!("MSH|^~\\&|||||20240101||{event}|1|P|2.5\nEVN||20240101\n{pid}\nPV1|1|I"));
        accept(&bundle);
        resources(&bundle, "Account")[0]["status"].as_str().expect("a status").to_owned()
    };
    assert_eq!([status("BAR^P01"), status("BAR^P06"), status("BAR^P02")], ["active", "inactive", "inactive"]);
}
