//! What is one entry, how it is found again, and what becomes of what R4 forbids.
#![allow(clippy::expect_used, reason = "a test stops at what is wrong")]
#![allow(clippy::indexing_slicing, reason = "a check stops at what is wrong")]

mod corpus;

use bytes::Bytes;
use message::fhir::validate::{self, validate};
use message::{Finding, hl7v2};
use serde_json::{Value, json};

/// The Bundle and findings of a message of `kind`, which is valid R4.
#[track_caller]
fn convert(kind: &str, body: &str) -> (Value, Vec<Finding>) {
    let text = format!("MSH|^~\\&|APP|CLINIC|C|D|20240101||{kind}|1|P|2.5.1\n{body}");
    let bytes = Bytes::from(text.replace('\n', "\r"));
    let message = hl7v2::Message::index(bytes.clone(), bytes).expect("a message");
    let (bundle, findings) = corpus::transform().convert(&message, &corpus::context());
    let issues = validate(&bundle, &validate::Options::default());
    let wrong: Vec<_> = issues.iter().filter(|issue| issue.is_error()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    (bundle.into(), findings)
}

fn entries<'b>(bundle: &'b Value, kind: &str) -> Vec<&'b Value> {
    let all = bundle["entry"].as_array().expect("entries");
    all.iter().filter(|entry| entry["resource"]["resourceType"] == kind).collect()
}

fn url(bundle: &Value, kind: &str) -> String {
    entries(bundle, kind)[0]["request"]["url"].as_str().expect("a URL").to_owned()
}

const PID: &str = "PID|1||7^^^CLINIC^MR||Farrow^Idris";

#[test]
fn one_number_under_two_spellings_is_one_organisation_and_its_other_name_an_alias() {
    let result = "OBR|1|P1^H|F1^L|A^Panel A^L";
    let by_both = "OBX|1|NM|X||1||||||F||||||||||||NORTH LAB^L^^^^LABS&2.16.840.1.113883.4.7&ISO^^^^12D4567890";
    let by_name = "OBX|2|NM|Y||1||||||F||||||||||||Laboratory North^L^^^^LABS&2.16.840.1.113883.4.7&ISO^^^^12D4567890";
    let (bundle, findings) = convert("ORU^R01", &format!("{PID}\n{result}\n{by_both}\n{by_name}"));
    let found = entries(&bundle, "Organization");
    let labs: Vec<_> = found.iter().filter(|entry| entry["resource"]["name"].is_string()).collect();
    assert_eq!(labs.len(), 1);
    assert_eq!(labs[0]["resource"]["name"], "NORTH LAB");
    assert_eq!(labs[0]["resource"]["alias"], json!(["Laboratory North"]));
    assert!(findings.iter().any(|finding| finding.location == "OBX[2]" && finding.text.contains("another name")));
}

#[test]
fn only_what_others_write_as_well_is_searched_for() {
    let body = format!(
        "{PID}\nPV1|1|I|W^1||||1001^Hale^Ada^^^^^^STMARY||||||||||||V1^^^CLINIC^VN\nORC|RE|P1^H|F1^L\nOBR|1|P1^H|F1^L|A^Panel^L"
    );
    let (bundle, _) = convert("ORU^R01", &body);
    for kind in ["Patient", "Encounter"] {
        assert!(url(&bundle, kind).contains("?identifier="), "{kind}");
    }
    for kind in ["Practitioner", "Organization", "ServiceRequest", "DiagnosticReport"] {
        assert!(!url(&bundle, kind).contains('?'), "{kind}");
    }
}

#[test]
fn an_order_without_a_number_is_the_same_by_patient_code_visit_and_time() {
    let order = |code: &str, time: &str| {
        let body = format!("{PID}\nPV1|1|I|||||||||||||||||V1^^^CLINIC^VN\nORC|NW\nOBR|1|||{code}^X^L||{time}");
        url(&convert("ORM^O01", &body).0, "ServiceRequest")
    };
    let first = order("A", "202401011200");
    assert_eq!(first, order("A", "202401011200"));
    assert_ne!(first, order("B", "202401011200"));
    assert_ne!(first, order("A", "202401011300"));
}

#[test]
fn observations_that_share_a_number_stay_as_many() {
    let obx = |n: usize| format!("OBX|{n}|NM|C{n}^X^L||{n}||||||F||||||||||ID1^LAB");
    let (bundle, _) = convert("ORU^R01", &format!("{PID}\nOBR|1|P1^H|F1^L|A^Panel^L\n{}\n{}", obx(1), obx(2)));
    assert_eq!(entries(&bundle, "Observation").len(), 2);
}

#[test]
fn a_universal_id_that_is_none_stays_a_text() {
    let body = "PID|1||7^^^&2.16.840.TBD&ISO^MR";
    let (bundle, _) = convert("ADT^A08", body);
    let system = &entries(&bundle, "Patient")[0]["resource"]["identifier"][0]["system"];
    assert_eq!(system, "https://tributary.example.org/ns/st-mary/2.16.840.TBD");
    let (bundle, _) = convert("ADT^A08^ADT_A01|1|P|2.5.1\rZZZ", PID);
    let source = &entries(&bundle, "MessageHeader")[0]["resource"]["source"];
    assert_eq!(source["endpoint"], "https://tributary.example.org/ns/st-mary/APP");
}

#[test]
fn what_r4_forbids_is_told_in_an_extension() {
    // A telephone at home of an organisation; the end of a period before its start.
    let body = format!(
        "{PID}\nORC|RE|P1^H|F1^L||||||||||||||||||LAB^L^^^^^^^^9|1 Road|^PRN^PH^^^555^1234\nOBR|1|P1^H|F1^L|A^P^L"
    );
    let (bundle, _) = convert("ORU^R01", &body);
    let home = entries(&bundle, "Organization").into_iter().find(|entry| entry["resource"]["telecom"].is_array());
    let telecom = &home.expect("an organisation with a telephone")["resource"]["telecom"][0];
    assert_eq!(telecom["use"], Value::Null);
    assert_eq!(telecom["_use"]["extension"][0]["valueString"], "home");
    let (bundle, _) = convert("ADT^A08", "PID|1||7^^^CLINIC^MR^^20240201^20240101");
    let period = &entries(&bundle, "Patient")[0]["resource"]["identifier"][0]["period"];
    assert_eq!((&period["start"], &period["end"]), (&json!("2024-02-01"), &Value::Null));
    assert_eq!(period["_end"]["extension"][0]["valueString"], "2024-01-01");
}

#[test]
fn software_is_a_source_of_the_message() {
    let (bundle, _) = convert("ADT^A08", &format!("SFT|Vendor|2.1|Gateway|B7\nEVN||20240101\n{PID}"));
    let software = entries(&bundle, "Device").into_iter().find(|entry| entry["resource"]["manufacturer"] == "Vendor");
    let software = &software.expect("a Device")["fullUrl"];
    let names = |entry: &&Value| &entry["resource"]["entity"][0]["what"]["reference"] == software;
    assert_eq!(entries(&bundle, "Provenance").into_iter().filter(names).count(), 1);
}

#[test]
fn the_items_of_a_price_list_are_found_again() {
    let list = |price: &str| {
        let body =
            format!("MFI|CDM||UPD|||AL\nMFE|MAD|||P22|CWE\nCDM|P22^X^L||Scan|Long scan||||A\nPRC|P22||||{price}&USD");
        convert("MFN^M04", &body).0
    };
    let (before, after) = (list("10.00"), list("12.50"));
    assert_eq!(url(&before, "ChargeItemDefinition"), url(&after, "ChargeItemDefinition"));
    let amount =
        &entries(&after, "ChargeItemDefinition")[0]["resource"]["propertyGroup"][0]["priceComponent"][0]["amount"];
    assert_eq!(amount.to_string(), r#"{"value":12.50,"currency":"USD"}"#);
}

/// Groups that repeat hold what they make apart, also where the same rows stand in several groups.
#[test]
fn what_repeats_makes_as_many_as_there_are() {
    #[track_caller]
    fn check(kind: &str, body: &str, of: &str, count: usize) {
        let (bundle, _) = convert(kind, &format!("{PID}\n{body}"));
        assert_eq!(entries(&bundle, of).len(), count, "{kind}");
    }
    let two = "OBX|1|NM|A^Age^L||1||||||F\nOBX|2|NM|B^Weight^L||2||||||F";
    let order = |number: &str| format!("ORC|NW|{number}^H\nOBR|1|{number}^H||X^Y^L\n{two}");
    let charge = "FT1|1|T1||20240102||CG|99213^V^C4";
    check("VXU^V04", &format!("{two}\nORC|RE|1\nRXA|0|1|20240101||08^HepB^CVX|1\n{two}"), "Observation", 4);
    let charges = format!("PV1|1|I\n{}\n{}\n{charge}\n{}", order("P1"), order("P2"), order("P3"));
    check("DFT^P03", &charges, "ServiceRequest", 3);
    check("DFT^P03", &charges, "Observation", 6);
    check("ADT^A17", &format!("PV1|1|I\n{two}\nPID|2||8^^^CLINIC^MR\nPV1|2|I\n{two}"), "Observation", 4);
    let orders = "ORC|RE|P1^H\nOBR|1|P1^H||X^Y^L\nORC|RE|P2^H\nOBR|2|P2^H||Z^W^L\nTXA|1|DS|TX|||||||||D1^H\nOBX|1|TX|N||text||||||F";
    check("MDM^T02", &format!("PV1|1|I\n{orders}"), "ServiceRequest", 2);
    check("OML^O21", &format!("{}\nSPM|1|S1^H||BLD\n{two}", order("P1")), "Observation", 4);
    // Before their time: still one for each.
    check("VXU^V04", &format!("ORC|RE|1\n{two}\nRXA|0|1|20240101||08^HepB^CVX|1"), "Observation", 2);
}

#[test]
fn a_role_of_nobody_is_no_other_role() {
    let roles = "ROL|1^H|AD|PP^^HL70443|||||||||W^1^A\nROL|2^H|AD|PP^^HL70443|||||||||X^1^A";
    let (first, _) = convert("ADT^A01", &format!("EVN||2024\n{PID}\n{roles}\nPV1|1|I"));
    assert_eq!(entries(&first, "PractitionerRole").len(), 2);
    let (other, _) = convert("ADT^A01", &format!("EVN||2024\nPID|1||8^^^CLINIC^MR\n{roles}\nPV1|1|I"));
    assert_ne!(url(&first, "PractitionerRole"), url(&other, "PractitionerRole"));
}

#[test]
fn a_document_without_content_says_so() {
    let (bundle, _) = convert("MDM^T01", &format!("{PID}\nPV1|1|I\nTXA|1|DS||||||||||D1^H"));
    let content = &entries(&bundle, "DocumentReference")[0]["resource"]["content"][0];
    assert_eq!(content["attachment"]["extension"][0]["valueCode"], "unknown");
}

/// Patients who change places stay two, each with a visit and results of his own.
#[test]
fn a_swap_of_patients_keeps_them_apart() {
    let second = "PID|2||8^^^CLINIC^MR||Heron^Sol\nPV1|2|I|W^2^B\nOBX|1|NM|B^Weight^L||2||||||F";
    let (bundle, _) =
        convert("ADT^A17", &format!("EVN||2024\n{PID}\nPV1|1|I|W^1^A\nOBX|1|NM|A^Age^L||1||||||F\n{second}"));
    let patients = entries(&bundle, "Patient");
    assert_eq!(patients.len(), 2);
    for patient in patients {
        let own = &patient["resource"];
        assert_eq!(
            (own["identifier"].as_array().map(Vec::len), own["name"].as_array().map(Vec::len)),
            (Some(1), Some(1))
        );
        for kind in ["Encounter", "Observation"] {
            let of = |entry: &&Value| entry["resource"]["subject"]["reference"] == patient["fullUrl"];
            assert_eq!(entries(&bundle, kind).iter().copied().filter(of).count(), 1, "{kind}");
        }
    }
}
