use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Verdict, compare, failures, run_tests};
use crate::config::{self, Site};

const A01: &str = "MSH|^~\\&|ADT|STMARY|B|C|20260131080000||ADT^A01|1|P|2.5.1\nEVN||20260131080000\n\
                   PID|1||4711^^^STMARY^MR||Doe^Ann||19700101|F\nPV1|1|I|4N\n";

/// A site with one channel, whose file ends with `rest`, and further files.
fn site(dir: &Path, rest: &str, files: &[(&str, &str)]) -> Site {
    let channel = format!(
        "provider = \"st-mary\"\n[inbound.mllp]\nlisten = \"127.0.0.1:0\"\nacknowledge = \"processed\"\n\
         [[transform]]\nhl7v2-to-fhir = {{}}\n{rest}\n\
         [[route]]\nto = \"archive\"\npurpose = \"TREAT\"\nwhen = \"MSH-9.2 != 'A02'\"\n"
    );
    let base = [
        ("tributary.toml", ""),
        ("providers.toml", "[st-mary]\nname = \"St Mary\"\n"),
        ("channels/adt.toml", &channel),
        ("destinations/archive.toml", "recipient = \"st-mary\"\n[outbound.file]\nfolder = \"archive\"\n"),
        ("a01.hl7", A01),
    ];
    for (name, text) in base.iter().chain(files) {
        let file = dir.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    config::load(dir, &|_| None).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn run(dir: &Path, rest: &str, files: &[(&str, &str)]) -> Vec<Verdict> {
    let site = site(dir, rest, files);
    run_tests(&site, &site.channels["adt"], false).unwrap()
}

/// What the tests of a channel's file say: `at: expected / found`.
#[track_caller]
fn check(test: &str, expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let block = format!("[[test]]\nname = \"a test\"\nsend = \"../a01.hl7\"\nexpect = {test}\n");
    let said: Vec<String> = run(dir.path(), &block, &[])
        .into_iter()
        .flat_map(|verdict| verdict.problems)
        .map(|problem| format!("{}: {} / {}", problem.at, problem.expected, problem.found))
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn a_block_says_what_must_come_of_a_message() {
    check("{ ack = \"AA\", to = \"archive\", fhirpath = \"Patient.gender = 'female'\" }", &[]);
    check("{ fhirpath = [\"Patient.gender = 'female'\", \"PID-8 = 'F'\", \"Encounter.exists()\"] }", &[]);
    check(
        "{ ack = \"AE\", fhirpath = \"Patient.gender = 'male'\" }",
        &["ack: AE / AA", ": Patient.gender = 'male' / Patient.gender is female"],
    );
    check("{ state = \"filtered\" }", &["state: filtered / queued"]);
}

#[test]
fn a_filtered_and_a_refused_message_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let block = "[[test]]\nname = \"a transfer\"\nsend = \"../a02.hl7\"\nexpect = { to = \"archive\" }\n\
                 [[test]]\nname = \"no HL7\"\nsend = \"../no.hl7\"\nexpect = { ack = \"AA\" }\n\
                 [[test]]\nname = \"still none\"\nsend = \"../no.hl7\"\n";
    let files = [("a02.hl7", A01.replace("A01", "A02")), ("no.hl7", "HELLO".to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let verdicts = run(dir.path(), block, &files);
    let passed: Vec<bool> = verdicts.iter().map(Verdict::passed).collect();
    assert_eq!(passed, [false, false, false]);
    assert_eq!((verdicts[0].problems[0].at.as_str(), verdicts[0].problems[0].found.as_str()), ("to", ""));
    let told = failures(&verdicts).unwrap();
    assert_eq!(told, "3 of its 3 tests fail: `a transfer`, `no HL7`, `still none`; see `tributary test`");
}

#[test]
fn a_folder_is_a_test() {
    let dir = tempfile::tempdir().unwrap();
    let expect = json!([{ "resourceType": "Patient", "name": [{ "family": "Doe" }], "active": null }]).to_string();
    let files = [
        ("tests/adt/passes/in.hl7", A01),
        ("tests/adt/passes/expect.json", &expect),
        ("tests/adt/passes/expect.fhirpath", "# a comment\nPatient.gender = 'female'\n"),
        ("tests/adt/unreadable/in.hl7", A01),
        ("tests/adt/unreadable/expect.fhirpath", "Patient.gender == 'female'\n"),
        ("tests/adt/new/in.hl7", A01),
    ];
    let verdicts = run(dir.path(), "", &files);
    let said: Vec<_> = verdicts.iter().map(|verdict| (verdict.name.as_str(), verdict.passed())).collect();
    assert_eq!(said, [("new", false), ("passes", true), ("unreadable", false)]);
    assert!(verdicts[2].problems[0].at.ends_with("expect.fhirpath:1"), "{:?}", verdicts[2].problems);
}

#[test]
fn an_update_writes_what_is_made_in_the_form_it_was_expected_in() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = json!({ "resourceType": "Patient", "gender": "male", "name": [{ "family": "Roe" }], "photo": [] });
    let files = [
        ("tests/adt/new/in.hl7", A01),
        ("tests/adt/old/in.hl7", A01),
        ("tests/adt/old/expect.json", &wrong.to_string()),
    ];
    let site = site(dir.path(), "", &files);
    let updated = run_tests(&site, &site.channels["adt"], true).unwrap();
    assert!(updated.iter().all(|verdict| verdict.passed() && verdict.updated.is_some()), "{updated:#?}");
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(dir.path().join(name)).unwrap()).unwrap()
    };
    let expected = json!({ "resourceType": "Patient", "gender": "female", "name": [{ "family": "Doe" }] });
    assert_eq!(read("tests/adt/old/expect.json"), expected);
    let all = read("tests/adt/new/expect.json");
    assert!(all.as_array().unwrap().iter().any(|resource| resource["resourceType"] == "Encounter"));
    assert!(all.as_array().unwrap().iter().all(|resource| resource["resourceType"] != "Provenance"));
    // A second time there is nothing to write.
    let again = run_tests(&site, &site.channels["adt"], true).unwrap();
    assert!(again.iter().all(|verdict| verdict.passed() && verdict.updated.is_none()));
}

#[test]
fn a_script_is_tested_by_the_channels_tests() {
    let dir = tempfile::tempdir().unwrap();
    let script = "function transform(message, bundle) {\n  for (const patient of resources(bundle, 'Patient')) {\n    \
                  patient.managingOrganization = { display: lookup('wards', message.get('PV1-3.1')).display };\n  }\n}\n";
    let rest = "[[transform]]\nscript = { file = \"scripts/fix.js\" }\n\
                [[test]]\nname = \"a ward\"\nsend = \"../a01.hl7\"\n\
                expect = { fhirpath = \"Patient.managingOrganization.display = 'Four North'\" }\n\
                [[test]]\nname = \"no ward\"\nsend = \"../a04.hl7\"\n";
    let a04 = A01.replace("|4N", "|5S");
    let files = [("scripts/fix.js", script), ("codes/wards.csv", "code,display\n4N,Four North\n"), ("a04.hl7", &a04)];
    let verdicts = run(dir.path(), rest, &files);
    assert!(verdicts[0].passed(), "{:?}", verdicts[0].problems);
    let found = &verdicts[1].problems[0].found;
    assert_eq!(found, "failed in script at fix.js:3: cannot read property 'display' of undefined");
}

#[track_caller]
fn differ(expected: Value, found: Value, differences: &[&str]) {
    let said: Vec<String> = compare::differences(&expected, &found)
        .into_iter()
        .map(|difference| format!("{}: {} / {}", difference.at, difference.expected, difference.found))
        .collect();
    assert_eq!(said, differences);
}

#[test]
fn what_is_expected_must_be_there_and_the_rest_does_not_matter() {
    let bundle = json!({ "resourceType": "Bundle", "entry": [
        { "resource": { "resourceType": "Patient", "name": [{ "family": "Roe" }, { "family": "Doe", "given": ["Ann"] }] } },
        { "resource": { "resourceType": "Observation", "valueQuantity": { "value": 1 } } },
    ] });
    differ(json!({ "resourceType": "Patient", "name": [{ "given": ["Ann"] }] }), bundle.clone(), &[]);
    differ(json!([{ "resourceType": "Observation" }, { "resourceType": "Patient" }]), bundle.clone(), &[]);
    differ(
        json!([{ "resourceType": "Patient", "name": [{ "family": "Moe", "given": ["Ann"] }], "active": true }]),
        bundle.clone(),
        &["Patient.name[0].family: \"Moe\" / \"Doe\"", "Patient.active: true / "],
    );
    differ(
        json!([{ "resourceType": "Patient", "name": null }]),
        bundle.clone(),
        &["Patient.name:  / [{\"family\":\"Roe\"},{\"family\":\"Doe\",\"given\":[\"Ann\"]}]"],
    );
    differ(
        json!([{ "resourceType": "Observation" }, { "resourceType": "Observation" }]),
        bundle.clone(),
        &["entry Observation: {\"resource\":{\"resourceType\":\"Observation\"}} / "],
    );
    let digits: Value =
        serde_json::from_str(r#"{"resourceType":"Observation","valueQuantity":{"value":1.0}}"#).unwrap();
    differ(digits, bundle, &["Observation.valueQuantity.value: 1.0 / 1"]);
}

#[test]
fn the_tests_of_the_sample_sites_pass() {
    for folder in ["config", "examples/site-three-emrs"] {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
        let site = config::load(&dir, &|_| None).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let all = site.channels.values().flat_map(|channel| run_tests(&site, channel, false).unwrap());
        for verdict in all {
            assert!(verdict.passed(), "{folder}: {}: {:#?}", verdict.name, verdict.problems);
        }
    }
}
