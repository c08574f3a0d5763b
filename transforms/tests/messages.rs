//! What each message becomes by its tables, what a channel may choose, and where the rows come from.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests, too, fail loudly")]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use message::{Context, Finding, FindingKind, Provider, hl7v2};
use serde_json::Value;
use transforms::hl7v2_to_fhir::maps::{Maps, Origin, show};
use transforms::hl7v2_to_fhir::{Hl7v2ToFhir, Options, ZSegments};

static EMBEDDED: LazyLock<Arc<Maps>> = LazyLock::new(|| Arc::new(Maps::embedded().expect("the tables compile")));

const PID: &str = "PID|1||1^^^STMARY^MR||Quill^Wren||19800101|F";
const PV1: &str = "PV1|1|I|W^1^A^F||||1001^Farrow^Idris^^^^^^STMARY||||||||||||V9^^^STMARY^VN";

fn context() -> Context {
    let provider = Provider { key: "st-mary".into(), name: "St Mary".into(), ..Provider::default() };
    Context {
        now: "2024-07-04T12:00:00Z".parse().expect("a time"),
        provider: Arc::new(provider),
        engine: "test".into(),
        base_uri: "https://tributary.example.org".into(),
        time_zone: jiff::tz::TimeZone::UTC,
    }
}

fn convert_with(maps: &Arc<Maps>, options: &Options, event: &str, body: &str) -> (Value, Vec<Finding>) {
    let text = format!("MSH|^~\\&|A|B|C|D|20240101||{event}|1|P|2.5.1\n{body}").replace('\n', "\r");
    let bytes = Bytes::from(text);
    let message = hl7v2::Message::index(bytes.clone(), bytes).expect("a message");
    let (bundle, findings) = Hl7v2ToFhir::new(Arc::clone(maps), options.clone()).convert(&message, &context());
    (bundle.into(), findings)
}

fn convert(event: &str, body: &str) -> (Value, Vec<Finding>) {
    convert_with(&EMBEDDED, &Options::default(), event, body)
}

fn chosen(option: &str, event: &str, body: &str) -> Value {
    let (name, value) = option.split_once('=').expect("NAME=VALUE");
    let options: Options = serde_json::from_value(serde_json::json!({ name: value })).expect("an option");
    let maps = Arc::new(Maps::with_site(Vec::new(), &options).unwrap_or_else(|errors| panic!("{}", errors[0])));
    convert_with(&maps, &options, event, body).0
}

fn resources<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    let entries = bundle["entry"].as_array().expect("entries").iter().map(|entry| &entry["resource"]);
    entries.filter(|resource| resource["resourceType"] == kind).collect()
}

/// The entry that a reference leads to.
fn at<'a>(bundle: &'a Value, reference: &Value) -> &'a Value {
    let mut entries = bundle["entry"].as_array().expect("entries").iter();
    &entries.find(|entry| entry["fullUrl"] == reference["reference"]).expect("the entry")["resource"]
}

// ---- every message ---------------------------------------------------------------------------

/// How many resources of a kind there are: `Goal 1, Condition 1`.
#[track_caller]
fn check(event: &str, body: &str, expected: &str) {
    let (bundle, findings) = convert(event, body);
    for part in expected.split(", ") {
        let (kind, count) = part.split_once(' ').expect("a kind and a count");
        assert_eq!(resources(&bundle, kind).len().to_string(), count, "{event}: {kind}");
    }
    let structure = findings.iter().find(|finding| finding.location == "MSH-9");
    assert!(structure.is_none(), "{event}: {}", structure.expect("a finding").text);
    let lost = findings.iter().find(|finding| finding.kind == FindingKind::Unexpected);
    assert!(lost.is_none(), "{event}: {:?}", lost.map(|finding| (&finding.location, &finding.text)));
}

#[test]
fn the_patient_and_the_visit_by_every_event() {
    check("ADT^A20", "EVN||20240101\nNPU|W^1^A^F|O", "Location 4");
    check("ADT^A24", &format!("EVN||20240101\n{PID}\nPID|1||2^^^STMARY^MR"), "Patient 2");
    check("ADT^A37", &format!("EVN||20240101\n{PID}\nPID|1||2^^^STMARY^MR"), "Patient 2");
    check(
        "ADT^A45",
        &format!("EVN||20240101\n{PID}\nMRG|9^^^STMARY^MR||ACC1\n{PV1}"),
        "Patient 1, Account 1, Encounter 1",
    );
    check("ADT^A52", &format!("EVN||20240101\n{PID}\n{PV1}"), "Patient 1, Encounter 1");
    check("ADT^A54", &format!("EVN||20240101\n{PID}\n{PV1}"), "Patient 1, Encounter 1");
    check("ADT^A61", &format!("EVN||20240101\n{PID}\n{PV1}"), "Patient 1, Encounter 1");
    check(
        "ADR^A19",
        &format!("MSA|AA|1\nQRD|20240101\n{PID}\n{PV1}\nAL1|1|DA|P^Q^L"),
        "Encounter 1, AllergyIntolerance 1",
    );
    check(
        "BAR^P01",
        &format!("EVN||20240101\n{PID}\n{PV1}\nDG1|1||I10^H^I10C\nGT1|1||G^H"),
        "Condition 1, RelatedPerson 1",
    );
    check(
        "BAR^P12",
        &format!("EVN||20240101\n{PID}\n{PV1}\nDG1|1||I10^H^I10C\nPR1|1||99^X^C4"),
        "Condition 1, Procedure 1",
    );
    check("DFT^P03", &format!("EVN||20240101\n{PID}\n{PV1}\nFT1|1|T1||20240102||CG|99213^V^C4"), "ChargeItem 1");
    check("DFT^P11", &format!("EVN||20240101\n{PID}\n{PV1}\nFT1|1|T1||20240102||CG|99213^V^C4"), "ChargeItem 1");
}

#[test]
fn orders_of_every_kind() {
    let two = "ORC|NW|P1^H\nOBR|1|P1^H||C^Glucose^L\nORC|NW|P2^H\nOBR|1|P2^H||D^Sodium^L";
    check("OMG^O19", &format!("{PID}\n{PV1}\n{two}\nOBX|1|ST|Q^Ask^L||yes||||||F"), "ServiceRequest 2, Observation 1");
    check("OML^O21", &format!("{PID}\n{two}"), "ServiceRequest 2");
    check("OML^O33", &format!("{PID}\nSPM|1|S1&A||BLD\n{two}"), "ServiceRequest 2, Specimen 1");
    check("OML^O35", &format!("{PID}\nSPM|1|S1&A||BLD\nSAC||ACC9\n{two}"), "ServiceRequest 2, Specimen 1");
    check("OMI^O23", &format!("{PID}\nORC|NW|P1^H\nOBR|1|P1^H||C^CT^L\nIPC|A1|R1|S1"), "ServiceRequest 1");
    check("OMD^O03", &format!("{PID}\nORC|NW|P1^H\nODS|D||LS^Low salt^L|No salt"), "NutritionOrder 1");
    check("ORR^O02", &format!("MSA|AA|1\n{PID}\nORC|OK|P1^H|F1^L\nOBR|1|P1^H|F1^L|C^G^L"), "ServiceRequest 1");
    check(
        "ORM^O01",
        &format!("{PID}\nORC|NW|P1^H\nRXO|R^Aspirin^RXNORM|1\n{two}"),
        "MedicationRequest 1, ServiceRequest 2",
    );
}

#[test]
fn medication_is_asked_for_dispensed_and_given() {
    let rxe = "RXE||R^Aspirin 500^RXNORM|500||mg^^UCUM";
    check("OMP^O09", &format!("{PID}\nORC|NW|P1^H\nRXO|R^Aspirin^RXNORM|1"), "MedicationRequest 1");
    check("RDE^O11", &format!("{PID}\nORC|NW|P1^H\nRXO|R^Aspirin^RXNORM|1\n{rxe}"), "MedicationRequest 2");
    check("RDE^O01", &format!("{PID}\nORC|NW|P1^H\n{rxe}"), "MedicationRequest 1");
    check(
        "RDS^O13",
        &format!("{PID}\nORC|RE|P1^H\n{rxe}\nRXD|1|R^A^L|20240106|30"),
        "MedicationRequest 1, MedicationDispense 1",
    );
    check("RGV^O15", &format!("{PID}\nORC|RE|P1^H\n{rxe}\nRXG|1|1||R^A^L|500||mg"), "MedicationRequest 2");
    let rxa = "RXA|0|1|20240106||R^A^L|500|mg\nRXR|PO^Oral^HL70162\nRXA|0|2|20240107||R^A^L|500|mg";
    check("RAS^O17", &format!("{PID}\nORC|RE|P1^H\n{rxe}\n{rxa}"), "MedicationRequest 1, MedicationAdministration 2");
    let immunization = "ORC|RE|P1^H\nRXA|0|1|20240101||08^HepB^CVX|1|mL^^UCUM\nOBX|1|CE|F^Fund^L||V01^X^L||||||F";
    check("VXU^V04", &format!("{PID}\n{immunization}"), "Immunization 1, Observation 1");
    check("VXR^V03", &format!("MSA|AA|1\nQRD|1\n{PID}\n{immunization}"), "Immunization 1, Observation 1");
    check("RSP^K11", &format!("MSA|AA|1\nQAK|1\nQPD|Z34^X\n{PID}\n{immunization}"), "Immunization 1, Observation 1");
}

#[test]
fn the_rest_of_the_chapters() {
    let orders = "OBR|1|P1^H|F1^L|C^G^L\nOBX|1|NM|G^G^L||5||||||F\nOBR|2|P2^H|F2^L|D^S^L\nOBX|1|NM|N^N^L||140||||||F";
    check("OUL^R22", &format!("{PID}\nSPM|1|S1&A||BLD\n{orders}"), "Specimen 1, DiagnosticReport 2, Observation 2");
    check("OUL^R23", &format!("{PID}\nSPM|1|S1&A||BLD\nSAC||ACC9\n{orders}"), "Specimen 1, DiagnosticReport 2");
    check("OUL^R24", &format!("{PID}\n{orders}\nSPM|1|S1&A||BLD\nSPM|2|S2&A||BLD"), "Specimen 2, DiagnosticReport 2");
    check("RSP^K22", &format!("MSA|AA|1\nQAK|1\nQPD|Q22^X\n{PID}\nPID|2||2^^^STMARY^MR"), "Patient 2");
    check("ACK", "MSA|AA|99", "MessageHeader 1");
    let referral = format!("RF1|A|R|M|||R7^H\nPRD|RP|Farrow^Idris\nPRD|RT|Doe^Jo\n{PID}\nDG1|1||I10^H^I10C\n{PV1}");
    check("REF^I12", &referral, "ServiceRequest 1, Condition 1, Encounter 1");
    check("RPA^I08", &format!("MSA|AA|1\n{referral}"), "ServiceRequest 1");
    let problem = "PRB|AD|20240101|I10^H^I10C|PR1^H\nNTE|1||Watch";
    let goal = "GOL|AD|20240101|BP^Down^L|G1^H";
    check("PPR^PC1", &format!("{PID}\n{PV1}\n{problem}\n{goal}"), "Condition 1, Goal 1");
    check("PGL^PC6", &format!("{PID}\n{goal}\n{problem}"), "Condition 1, Goal 1");
    check(
        "PTR^PCF",
        &format!("MSA|AA|1\nQRD|1\n{PID}\nPTH|AD|CP^Pain^L|W1^H|20240101\n{problem}"),
        "CarePlan 1, Condition 1",
    );
    check(
        "MFN^M02",
        "MFI|STF\nMFE|MAD\nSTF|S7|7^^^STMARY|Farrow^Idris\nPRA|S7||MD^D^L\nMFE|MDC\nSTF|S8|8^^^STMARY|Doe^Jo",
        "Practitioner 2",
    );
    check("MFN^M05", "MFI|LOC\nMFE|MAD\nLOC|W^1^A^F|Ward west", "Location 4");
    check("MFN^M08", "MFI|OMA\nMFE|MAD\nOM1|1|G^G^L", "ObservationDefinition 1");
    check("SRM^S01", &format!("ARQ|P1^H\n{PID}\nRGS|1\nAIP|1||1001^Farrow"), "Appointment 1");
    check("SRR^S01", &format!("MSA|AA|1\nSCH|P1^H|F1^L\n{PID}\nRGS|1\nAIP|1||1001^Farrow"), "Appointment 1");
    check("CRM^C01", &format!("{PID}\nCSR|ST1^SP|||E7^^^STMARY"), "ResearchSubject 1, ResearchStudy 1");
}

#[test]
fn an_unknown_structure_is_read_in_order_and_says_so() {
    let (bundle, findings) = convert("XXX^Y00", &format!("{PID}\nORC|NW|P1^H\nRXE||R^A^RXNORM|500||mg"));
    assert_eq!(resources(&bundle, "MedicationRequest").len(), 1);
    assert!(findings.iter().any(|finding| finding.kind == FindingKind::Unexpected && finding.location == "MSH-9"));
}

/// HL7 v2.1 and v2.2 name the event of an ADT in EVN-1 alone.
#[test]
fn an_event_may_stand_in_evn_alone() {
    let (bundle, findings) = convert("ADT", &format!("EVN|A40|20240101\n{PID}\nMRG|9^^^STMARY^MR"));
    assert_eq!(resources(&bundle, "Patient").len(), 2);
    assert!(findings.iter().all(|finding| finding.location != "MSH-9"));
}

// ---- relations -------------------------------------------------------------------------------

#[test]
fn linked_records_refer_to_each_other_and_unlinked_ones_do_not() {
    let body = format!("EVN||20240101\n{PID}\nPID|1||2^^^STMARY^MR");
    let (bundle, _) = convert("ADT^A24", &body);
    let patients = resources(&bundle, "Patient");
    assert_eq!(patients[0]["link"][0]["type"], "seealso");
    assert_eq!(at(&bundle, &patients[0]["link"][0]["other"]), patients[1]);
    let (bundle, _) = convert("ADT^A37", &body);
    assert!(resources(&bundle, "Patient").iter().all(|patient| patient.get("link").is_none()));
}

#[test]
fn order_timing_and_route_are_one_dosage() {
    let rx = "RXE||R^Aspirin 500^RXNORM|500||mg^^UCUM\nTQ1|1||BID\nRXR|PO^Oral^HL70162";
    let (bundle, _) = convert("RDE^O11", &format!("{PID}\nORC|NW|P1^H\n{rx}"));
    let dosages = resources(&bundle, "MedicationRequest")[0]["dosageInstruction"].as_array().expect("dosages");
    assert_eq!(dosages.len(), 1);
    assert_eq!(dosages[0]["doseAndRate"][0]["doseQuantity"]["value"].to_string(), "500");
    assert!(dosages[0]["timing"].is_object() && dosages[0]["route"].is_object());
}

#[test]
fn susceptibilities_are_members_of_their_organism() {
    let culture = "OBR|1|P1^N|F1^L|CULT^Culture^L\nOBX|1|CWE|ORG^Organism^L|1|112283007^E coli^SCT||||||F";
    let blanks = "|".repeat(22);
    let parent = format!("OBR|2|P2^N|F2^L|SUSC^Susceptibility^L{blanks}ORG&Organism&L^1^E coli|||P1&N^F1&L");
    let results = "OBX|1|SN|AMP^Ampicillin^L||<=^2||||||F\nOBX|2|SN|GEN^Gentamicin^L||<=^1||||||F";
    let (bundle, findings) = convert("ORU^R01", &format!("{PID}\n{culture}\n{parent}\n{results}"));
    let observations = resources(&bundle, "Observation");
    let members = observations[0]["hasMember"].as_array().expect("members");
    assert_eq!(members.iter().map(|member| at(&bundle, member)).collect::<Vec<_>>(), observations[1..]);
    assert!(findings.iter().all(|finding| !finding.location.starts_with("OBR[2]-26")));
    let orders = &resources(&bundle, "DiagnosticReport")[1]["basedOn"];
    assert_eq!(orders[0]["identifier"]["value"], "P1");
}

/// A second OBR without an ORC is an order of its own, not more of the one before.
#[test]
fn an_order_without_its_orc_is_not_lost() {
    let body = format!("{PID}\nORC|NW|P1^H\nOBR|1|P1^H||C^Glucose^L\nOBR|2|P1^H||D^Sodium^L\nNTE|1||Fasting");
    let (bundle, _) = convert("OML^O21", &body);
    let orders = resources(&bundle, "ServiceRequest");
    let codes: Vec<_> = orders.iter().map(|order| order["code"]["coding"][0]["code"].as_str()).collect();
    assert_eq!(codes, [Some("C"), Some("D")]);
    assert_eq!(orders[1]["note"][0]["text"], "Fasting");
}

// ---- choices ---------------------------------------------------------------------------------

// ---- what one segment says of another --------------------------------------------------------

/// Tables of another segment read that one: ORC's numbers are no fields of RXA, and MSH-4 is none of EVN.
#[test]
fn a_table_of_another_segment_reads_that_segment() {
    let given = "RXE|1^BID|A^Amoxicillin^L|500||mg\nRXA|0|1|20240105080000||A^Amoxicillin^L|500\nRXA|0|2|20240105200000||A^Amoxicillin^L|500";
    let (bundle, _) = convert("RAS^O17", &format!("{PID}\nORC|RE|P3^H|F3^L\n{given}"));
    let all = resources(&bundle, "MedicationAdministration");
    assert_eq!(all.len(), 2);
    for one in all {
        assert_eq!((&one["identifier"][0]["value"], &one["identifier"][1]["value"]), (&"P3".into(), &"F3".into()));
        assert_eq!(at(&bundle, &one["request"])["resourceType"], "MedicationRequest");
    }
    let (bundle, _) = convert("ADT^A01", &format!("EVN||20240101||O\n{PID}\n{PV1}"));
    let event = resources(&bundle, "Provenance");
    let sender = at(&bundle, &event[0]["agent"][0]["who"]);
    assert_eq!((event.len(), &sender["identifier"][0]["value"]), (1, &"B".into()));
}

#[test]
fn the_times_of_an_old_timing_stand_before_its_duration() {
    for order in ["ORC|NW|P1^H|||||1^BID^X3^202401050800^202401100800\nOBR|1|P1^H||C^Glucose^L", ""] {
        let other = "ORC|NW|P1^H\nOBR|1|P1^H||C^Glucose^L|||||||||||||||||||||||1^BID^X3^202401050800^202401100800";
        let (bundle, _) = convert("ORM^O01", &format!("{PID}\n{}", if order.is_empty() { other } else { order }));
        let repeat = &resources(&bundle, "ServiceRequest")[0]["occurrenceTiming"]["repeat"];
        assert_eq!(repeat["boundsPeriod"]["end"], "2024-01-10T08:00:00+00:00");
        assert_eq!(repeat["extension"][0]["valueString"], "X3");
    }
}

#[test]
fn the_lines_of_a_document_are_one_content_beside_its_files() {
    let parts = "TXA|1|DS|TX||||20240106|||||D2^H|D1^H|P9^H||||||\nOBX|1|TX|A^N^L||One.||||||F\nOBX|2|TX|A^N^L||Two.||||||F\nOBX|3|ED|A^N^L||^application^pdf^Base64^SGVsbG8=||||||F";
    for (event, code) in [("MDM^T02", "appends"), ("MDM^T10", "replaces")] {
        let (bundle, _) = convert(event, &format!("EVN||20240101\n{PID}\n{PV1}\n{parts}"));
        let document = resources(&bundle, "DocumentReference")[0];
        let contents = document["content"].as_array().expect("contents");
        let attachment = &contents[0]["attachment"];
        assert_eq!((contents.len(), &attachment["data"]), (2, &"T25lLgpUd28u".into()));
        assert_eq!((&attachment["contentType"], &attachment["creation"]), (&"text/plain".into(), &"2024-01-06".into()));
        assert_eq!(attachment["_contentType"]["extension"][0]["valueString"], "TX");
        assert_eq!(document["relatesTo"][0]["code"], code);
        assert_eq!(document["relatesTo"][0]["target"]["identifier"]["value"], "D1");
        assert_eq!(document["context"]["related"][0]["identifier"]["value"], "P9");
    }
}

#[test]
fn who_did_a_procedure_may_stand_behind_it() {
    let roles = "ROL|1^H|AD|PRO^Surgeon^L|1234^Smith^John\nPRT|1|AD||AN^Anaesthetist^L|1235^Gas^Gary";
    for (event, visit) in [("ADT^A01", PV1), ("BAR^P01", PV1)] {
        let (bundle, _) = convert(event, &format!("EVN||20240101\n{PID}\n{visit}\nPR1|1||801^Appendectomy^L\n{roles}"));
        let performers = resources(&bundle, "Procedure")[0]["performer"].as_array().expect("performers").clone();
        let code = |of: &Value| of["function"]["coding"][0]["code"].clone();
        assert_eq!(performers.iter().map(code).collect::<Vec<_>>(), ["PRO", "AN"]);
        let surgeon = at(&bundle, &at(&bundle, &performers[0]["actor"])["practitioner"]);
        assert_eq!(surgeon["name"][0]["family"], "Smith");
    }
}

#[test]
fn an_appointment_names_its_patient_once_and_its_notes_have_types() {
    let body = format!(
        "SCH|A1^H|B1^H\nTQ1|1||||||20240110080000|20240110083000\nNTE|1||Bring films|RE^Remark^L\n{PID}\nRGS|1\nAIS|1||X^Y^L"
    );
    let (bundle, _) = convert("SIU^S12", &body);
    let appointment = resources(&bundle, "Appointment")[0];
    let participants = appointment["participant"].as_array().expect("participants");
    let of_patient = participants.iter().filter(|one| !one["actor"]["reference"].is_null());
    assert_eq!((of_patient.count(), &appointment["end"]), (1, &"2024-01-10T08:30:00+00:00".into()));
    let note = &appointment["extension"][0]["valueAnnotation"];
    assert_eq!(
        (&note["text"], &note["extension"][0]["valueCodeableConcept"]["coding"][0]["code"]),
        (&"Bring films".into(), &"RE".into())
    );
}

#[test]
fn an_allergy_told_by_the_patient_names_no_second_patient() {
    let (bundle, _) = convert(
        "ADT^A60",
        &format!("EVN||20240101\n{PID}\nIAM|1|MA|PEN^Penicillin^L|||A||||||||Quill^Wren|SEL^Self^HL70063"),
    );
    let allergy = resources(&bundle, "AllergyIntolerance")[0];
    assert_eq!((resources(&bundle, "Patient").len(), resources(&bundle, "RelatedPerson").len()), (1, 0));
    assert_eq!(at(&bundle, &allergy["recorder"])["resourceType"], "Patient");
    let (bundle, _) = convert("ADT^A01", &format!("EVN||20240101\n{PID}\n{PV1}\nAL1|1|ZZ^Odd^L|PEN^Penicillin^L"));
    let allergy = resources(&bundle, "AllergyIntolerance")[0];
    assert!(allergy["category"].is_null() && allergy["_category"].is_null(), "{allergy}");
    assert_eq!(allergy["extension"][0]["valueCodeableConcept"]["coding"][0]["code"], "ZZ");
}

#[test]
fn a_medication_order_of_an_old_kind_has_its_timing_and_route() {
    let (bundle, _) = convert(
        "ORM^O01",
        &format!("{PID}\nORC|NW|P1^H\nTQ1|1|||||||20240110\nRXO|M^N^NDC|5||mg\nRXR|PO^Oral^HL70162"),
    );
    let dosage = resources(&bundle, "MedicationRequest")[0]["dosageInstruction"].as_array().expect("a Dosage").clone();
    assert_eq!((dosage.len(), &dosage[0]["route"]["coding"][0]["code"]), (1, &"PO".into()));
    assert_eq!(dosage[0]["timing"]["repeat"]["boundsPeriod"]["end"], "2024-01-10");
}

#[test]
fn a_channel_chooses_where_the_guide_leaves_a_choice() {
    let kin = format!("EVN||20240101\n{PID}\nNK1|1|Quill^Sam|SPO\nNK1|2|Mill^Works|E");
    let count = |bundle: &Value| {
        let contacts = resources(bundle, "Patient")[0]["contact"].as_array().map_or(0, Vec::len);
        (resources(bundle, "RelatedPerson").len(), contacts)
    };
    assert_eq!(count(&convert("ADT^A08", &kin).0), (1, 2));
    assert_eq!(count(&chosen("next_of_kin=contact", "ADT^A08", &kin)), (0, 2));
    assert_eq!(count(&chosen("next_of_kin=related-person", "ADT^A08", &kin)), (1, 1));

    let visit = format!("EVN||20240101\n{PID}\n{PV1}");
    assert_eq!(resources(&convert("ADT^A03", &visit).0, "Encounter")[0]["status"], "finished");
    assert_eq!(
        resources(&chosen("encounter_status=visit", "ADT^A03", &visit), "Encounter")[0]["status"],
        "in-progress"
    );

    let report = format!("{PID}\nORC|RE|P1^H|F1^L\nOBR|1|P1^H|F1^L|C^G^L");
    let alone = format!("{PID}\nOBR|1|P1^H|F1^L|C^G^L");
    let orders = |bundle: &Value| resources(bundle, "ServiceRequest").len();
    assert_eq!((orders(&convert("ORU^R01", &report).0), orders(&convert("ORU^R01", &alone).0)), (1, 0));
    assert_eq!(orders(&chosen("service_requests=never", "ORU^R01", &report)), 0);
    assert_eq!(orders(&chosen("service_requests=always", "ORU^R01", &alone)), 1);

    let number = "PID|1||7^^^WARD^MR^CLINIC";
    let system = |bundle: &Value| resources(bundle, "Patient")[0]["identifier"][0]["system"].to_string();
    assert!(system(&convert("ADT^A08", number).0).ends_with("/WARD\""));
    assert!(system(&chosen("identifier_system=assigning-facility", "ADT^A08", number)).ends_with("/CLINIC\""));
    assert!(system(&convert("ADT^A08", "PID|1||7^^^^MR^CLINIC").0).ends_with("/CLINIC\""));
}

#[test]
fn race_and_ethnic_group_stand_in_one_extension_each() {
    let pid = "PID|1||1|||||||2106-3^White^HL70005~2029-7^Asian Indian^HL70005||||||||||||N^Not Hispanic^HL70189";
    let (bundle, _) = convert("ADT^A08", pid);
    let extensions = resources(&bundle, "Patient")[0]["extension"].as_array().expect("extensions");
    assert_eq!(extensions.len(), 2);
    let urls = |of: &Value| {
        let mut urls: Vec<_> =
            of["extension"].as_array().expect("parts").iter().map(|e| e["url"].to_string()).collect();
        urls.sort();
        urls.join(" ")
    };
    assert_eq!(urls(&extensions[0]), "\"detailed\" \"ombCategory\" \"text\"");
    assert_eq!(urls(&extensions[1]), "\"ombCategory\" \"text\"");
    let bundle = chosen("race_and_ethnicity=report", "ADT^A08", pid);
    assert_eq!(resources(&bundle, "Patient")[0].get("extension"), None);
}

#[test]
fn a_z_segment_is_kept_with_the_place_of_every_value() {
    let body = format!("EVN||20240101\n{PID}\nZPI|1|Cat~Dog^A&B");
    let (bundle, findings) = convert("ADT^A08", &body);
    let basic = resources(&bundle, "Basic")[0];
    assert_eq!(basic["code"]["coding"][0]["code"], "ZPI");
    assert_eq!(at(&bundle, &basic["subject"])["resourceType"], "Patient");
    assert_eq!(basic["extension"][0]["url"], "https://tributary.example.org/StructureDefinition/hl7v2-segment");
    let text = basic.to_string();
    for place in ["ZPI-1[1].1", "ZPI-2[1].1", "ZPI-2[2].1", "ZPI-2[2].2", "ZPI-2[2].2.2"] {
        assert!(text.contains(&format!("\"{place}\"")), "{place}");
    }
    assert!(findings.iter().all(|finding| !finding.location.starts_with("ZPI")));

    let bundle = chosen("z_segments=extension", "ADT^A08", &body);
    assert!(resources(&bundle, "Basic").is_empty());
    assert!(resources(&bundle, "MessageHeader")[0]["extension"].to_string().contains("ZPI-2[2].2.2"));

    let options = Options { z_segments: ZSegments::Report, ..Options::default() };
    let (bundle, findings) = convert_with(&EMBEDDED, &options, "ADT^A08", &body);
    assert!(resources(&bundle, "Basic").is_empty());
    assert!(findings.iter().any(|finding| finding.location == "ZPI-2[2].2.2"));
}

// ---- the tables ------------------------------------------------------------------------------

fn site(files: &[(&str, &str)]) -> Result<Maps, String> {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Maps::with_site(files, &Options::default())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_site_brings_codes_as_csv() {
    let csv = "from,to,display\nMARRIED,M,Married\nX,,\n";
    let maps = Arc::new(site(&[("codes/MaritalStatus.csv", csv)]).expect("compiles"));
    let pid = format!("PID|1||1{}MARRIED", "|".repeat(13));
    let (bundle, _) = convert_with(&maps, &Options::default(), "ADT^A08", &pid);
    assert_eq!(resources(&bundle, "Patient")[0]["maritalStatus"]["coding"][0]["code"], "M");
}

#[track_caller]
fn check_mistake(name: &str, text: &str, expected: &str) {
    assert_eq!(site(&[(name, text)]).err().as_deref(), Some(expected));
}

#[test]
fn mistakes_in_blocks_choices_and_codes_are_told_with_their_place() {
    check_mistake(
        "codes/MaritalStatus.csv",
        "code,to\nM,M\n",
        "codes/MaritalStatus.csv:1:1: the first line needs a column `from`; the others are `to`, `display`, `system`",
    );
    check_mistake(
        "codes/MaritalStatus.csv",
        "from,to\n,M\n",
        "codes/MaritalStatus.csv:2:1: a line without a code in `from`",
    );
    check_mistake(
        "messages/ADT_A01.toml",
        "[[use]]\nblock = \"insuranse\"",
        "messages/ADT_A01.toml:2:9: there is no block `insuranse`\n  help: did you mean `insurance`?",
    );
    check_mistake(
        "messages/ADT_A01.toml",
        "[[use]]\nblock = \"insurance\"\nin = \"INSURANSE\"",
        "messages/ADT_A01.toml:3:6: the grammar has no group `INSURANSE`\n  help: did you mean `INSURANCE`?",
    );
    check_mistake(
        "segments/PID[Patient].toml",
        "[[row]]\nfrom = \"PID-8\"\nto = \"gender\"\noption = { next_of_kim = \"contact\" }",
        "segments/PID[Patient].toml:4:10: there is no option `next_of_kim`\n  help: did you mean `next_of_kin`?",
    );
    check_mistake(
        "segments/PID[Patient].toml",
        "[[row]]\nfrom = \"PID-8\"\nto = \"gender\"\noption = { next_of_kin = \"contacts\" }",
        "segments/PID[Patient].toml:4:10: `next_of_kin`: unknown variant `contacts`, expected one of `both`, `related-person`, `contact`",
    );
}

#[test]
fn every_row_in_force_says_whose_it_is() {
    let folder = std::env::temp_dir().join(format!("tributary-maps-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("segments")).expect("a folder");
    let text = "[[row]]\nfrom = \"PID-8\"\nto = \"gender\"\nremove = true\n\n[[row]]\nfrom = \"PID-38\"\nto = \"active\"\nfixed = \"true\"\n";
    std::fs::write(folder.join("segments/PID[Patient].toml"), text).expect("a file");
    let shown = show(Some(&folder), &Options::default(), "PID");
    std::fs::remove_dir_all(&folder).expect("cleared");
    let shown = shown.expect("the tables are right");
    let patient = shown.iter().find(|table| table.table == "segments/PID[Patient]").expect("PID[Patient]");
    let of = |from: &'static str| patient.rows.iter().filter(move |row| row.from == from);
    assert_eq!(of("PID-8").count(), 0);
    let own = of("PID-38").next().expect("the site's row");
    assert_eq!(
        (own.origin, own.place.as_str(), own.how.as_str()),
        (Origin::Site, "segments/PID[Patient].toml:6", "= true")
    );
    assert!(of("PID-7").all(|row| row.origin == Origin::Guide) && of("PID-19").any(|row| row.origin == Origin::Ours));
    assert!(shown.iter().any(|table| table.table == "segments/PID[Account]"));
}
