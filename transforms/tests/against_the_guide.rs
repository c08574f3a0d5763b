//! Each row of the guide's segment and data type tables, against what messages become that fill every field: the
//! guide's own CSV files are read here and applied by a reader that shares nothing with `maps/`.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops where its files cannot be read")]
#![allow(clippy::print_stderr, reason = "what was looked at is of interest")]

mod corpus;
mod guide;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use guide::decided::is_decided;
use guide::demand::{self, Demand};
use guide::found::Found;
use guide::invent::Inventor;
use guide::segment::Segment;
use guide::tables::Guide;
use message::hl7v2;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::Value;

/// A table, the message to try it in, and fields that are as they are; `{}` is the segment.
type Case = (&'static str, &'static str, &'static [(usize, &'static str)]);

const CASES: &[Case] = &[
    ("AIG[Appointment]", "SIU^S12;SCH|P1^A|F1^A;PID|1||9^^^A^MR;RGS|1;AIS|1||X^Y^L;{}", &[]),
    ("AIL[Appointment]", "SIU^S12;SCH|P1^A|F1^A;PID|1||9^^^A^MR;RGS|1;AIS|1||X^Y^L;{}", &[]),
    ("AIP[Appointment]", "SIU^S12;SCH|P1^A|F1^A;PID|1||9^^^A^MR;RGS|1;AIS|1||X^Y^L;{}", &[]),
    ("AIS[Appointment]", "SIU^S12;SCH|P1^A|F1^A;PID|1||9^^^A^MR;RGS|1;{}", &[]),
    ("AIS[ServiceRequest]", "SIU^S12;SCH|P1^A|F1^A||||||||||||||||||||||||P2^A|F2^A;PID|1||9^^^A^MR;RGS|1;{}", &[]),
    ("AL1[AllergyIntolerance]", "ADT^A01;PID|1||9^^^A^MR;PV1|1|I;{}", &[]),
    ("DG1[Condition]", "ADT^A01;PID|1||9^^^A^MR;PV1|1|I;{}", &[]),
    ("DG1[Encounter]", "ADT^A01;PID|1||9^^^A^MR;PV1|1|I;{}", &[]),
    (
        "DG1[EpisodeOfCare]",
        "ADT^A01;PID|1||9^^^A^MR;PV1|1|I||||||||||||||||||||||||||||||||||||||||||||||||||||E1^A;{}",
        &[],
    ),
    ("EVN[Provenance]", "ADT^A01;{};PID|1||9^^^A^MR;PV1|1|I", &[]),
    ("IAM[AllergyIntolerance]", "ADT^A60;EVN|A60;PID|1||9^^^A^MR;{}", &[]),
    ("IN1[Coverage]", "ADT^A01;PID|1||9^^^A^MR;PV1|1|I;{}", &[]),
    ("IN3[CareTeam]", "ADT^A01;PID|1||9^^^A^MR;PV1|1|I;IN1|1|P^Q|C1;{}", &[]),
    ("MRG[Account]", "ADT^A06;PID|1||9^^^A^MR;{};PV1|1|I", &[]),
    ("MSA[MessageHeader]", "ACK;{}", &[]),
    ("MSH[Encounter]", "{};PID|1||9^^^A^MR;PV1|1|I", &[(9, "ADT^A01^ADT_A01"), (10, "1"), (11, "P"), (12, "2.8")]),
    ("MSH[MessageHeader]", "{};PID|1||9^^^A^MR;PV1|1|I", &[(9, "ADT^A01^ADT_A01"), (10, "1"), (11, "P"), (12, "2.8")]),
    (
        "MSH[Provenance-Operator]",
        "{};EVN||2024;PID|1||9^^^A^MR;PV1|1|I",
        &[(9, "ADT^A01^ADT_A01"), (10, "1"), (11, "P"), (12, "2.8")],
    ),
    ("NK1[Patient]", "ADT^A01;PID|1||9^^^A^MR;{};PV1|1|I", &[]),
    ("NK1[RelatedPerson]", "ADT^A01;PID|1||9^^^A^MR;{};PV1|1|I", &[]),
    ("NTE[Appointment-Comment]", "SIU^S12;SCH|P1^A|F1^A;{};PID|1||9^^^A^MR", &[]),
    (
        "NTE[DocumentReference]",
        "MDM^T02;EVN|T02;PID|1||9^^^A^MR;PV1|1|I;TXA|1|DS|TX||||||||||||D1^A;OBX|1|TX|N||text||||||F;{}",
        &[],
    ),
    ("NTE[Observation]", "ORU^R01;PID|1||9^^^A^MR;OBR|1|P1^A|F1^A|X^Y^LN;OBX|1|NM|C^D^LN||1||||||F;{}", &[]),
    ("NTE[ServiceRequest]", "OML^O21;PID|1||9^^^A^MR;ORC|NW|P1^A;OBR|1|P1^A||X^Y^LN;{}", &[]),
    ("OBR[DiagnosticReport]", "ORU^R01;PID|1||9^^^A^MR;ORC|RE;{};OBX|1|NM|C^D^LN||1||||||F", &[]),
    ("OBR[ServiceRequest]", "ORU^R01;PID|1||9^^^A^MR;ORC|RE;{};OBX|1|NM|C^D^LN||1||||||F", &[]),
    ("OBR[Specimen]", "ORU^R01;PID|1||9^^^A^MR;ORC|RE;{};OBX|1|NM|C^D^LN||1||||||F", &[]),
    ("OBX[DocumentReference]", "MDM^T02;EVN|T02;PID|1||9^^^A^MR;PV1|1|I;TXA|1|DS|TX||||||||||||D1^A;{}", &[]),
    ("OBX[Observation]", "ORU^R01;PID|1||9^^^A^MR;OBR|1|P1^A|F1^A|X^Y^LN;{}", &[]),
    ("OBX[Observation-Component]", "ORU^R01;PID|1||9^^^A^MR;OBR|1|P1^A|F1^A|X^Y^LN;{}", &[]),
    ("ORC[DiagnosticReport]", "ORU^R01;PID|1||9^^^A^MR;{};OBR|1|||X^Y^LN;OBX|1|NM|C^D^LN||1||||||F", &[]),
    ("ORC[Immunization]", "VXU^V04;PID|1||9^^^A^MR;{};RXA|0|1|20240101||08^HepB^CVX|1", &[]),
    ("ORC[MedicationAdministration]", "RAS^O17;PID|1||9^^^A^MR;{};RXA|0|1|20240101||0002^Med^NDC|1", &[]),
    ("ORC[Provenance]", "OML^O21;PID|1||9^^^A^MR;{};OBR|1|||X^Y^LN", &[]),
    ("ORC[ServiceRequest]", "OML^O21;PID|1||9^^^A^MR;{};OBR|1|||X^Y^LN", &[]),
    ("PD1[Observation-LivingWill]", "ADT^A01;PID|1||9^^^A^MR;{};PV1|1|I", &[]),
    ("PD1[Patient]", "ADT^A01;PID|1||9^^^A^MR;{};PV1|1|I", &[]),
    ("PID[Account]", "ADT^A01;{};PV1|1|I", &[]),
    ("PID[Appointment]", "SIU^S12;SCH|P1^A|F1^A;{}", &[]),
    ("PID[Patient]", "ADT^A01;{};PV1|1|I", &[]),
    ("PID[Provenance-Patient]", "ADT^A01;{};PV1|1|I", &[]),
    ("PR1[Procedure]", "ADT^A01;PID|1||9^^^A^MR;PV1|1|I;{}", &[]),
    ("PRT[CareTeam]", "ADT^A01;PID|1||9^^^A^MR;{};PV1|1|I", &[(4, "RP^^HL70443")]),
    (
        "PRT[Device]",
        "ORU^R01;PID|1||9^^^A^MR;OBR|1|P1^A|F1^A|X^Y^LN;OBX|1|NM|C^D^LN||1||||||F;{}",
        &[(4, "EQUIP^^HL70443")],
    ),
    (
        "PRT[Observation-Location]",
        "ORU^R01;PID|1||9^^^A^MR;OBR|1|P1^A|F1^A|X^Y^LN;OBX|1|NM|C^D^LN||1||||||F;{}",
        &[(4, "PO^^HL70443")],
    ),
    ("PRT[Patient-GeneralPractitioner-PractitionerRole]", "ADT^A05;PID|1||9^^^A^MR;{};PV1|1|I", &[(4, "PP^^HL70443")]),
    ("PRT[Patient-GeneralPractitioner-Practitioner]", "ADT^A01;PID|1||9^^^A^MR;{};PV1|1|I", &[(4, "PP^^HL70443")]),
    (
        "PRT[PractitionerRole]",
        "ORU^R01;PID|1||9^^^A^MR;OBR|1|P1^A|F1^A|X^Y^LN;OBX|1|NM|C^D^LN||1||||||F;{}",
        &[(4, "PO^^HL70443")],
    ),
    ("PRT[RelatedPerson]", "ORU^R01;PID|1||9^^^A^MR;{};OBR|1|P1^A|F1^A|X^Y^LN", &[(4, "RP^^HL70443")]),
    ("PV1[Basic-EncounterHistory]", "ADT^A01;PID|1||9^^^A^MR;{}", &[]),
    ("PV1[Coverage]", "ADT^A01;PID|1||9^^^A^MR;{}", &[]),
    ("PV1[Encounter]", "ADT^A01;PID|1||9^^^A^MR;{}", &[]),
    ("PV1[Patient]", "ADT^A01;PID|1||9^^^A^MR;{}", &[]),
    ("PV2[Encounter]", "ADT^A01;PID|1||9^^^A^MR;PV1|1|I;{}", &[]),
    ("ROL[CareTeam]", "ADT^A01;PID|1||9^^^A^MR;{};PV1|1|I", &[(3, "RP^^HL70443")]),
    ("ROL[Encounter-PractitionerRole]", "ADT^A01;PID|1||9^^^A^MR;PV1|1|I;{}", &[]),
    ("ROL[Patient-GeneralPractitioner]", "ADT^A01;PID|1||9^^^A^MR;{};PV1|1|I", &[(3, "PP^^HL70443")]),
    ("RXA[Immunization]", "VXU^V04;PID|1||9^^^A^MR;ORC|RE;{}", &[]),
    ("RXO[MedicationRequest]", "ORM^O01;PID|1||9^^^A^MR;ORC|NW|P1^A;{}", &[]),
    ("RXR[Immunization]", "VXU^V04;PID|1||9^^^A^MR;ORC|RE;RXA|0|1|20240101||08^HepB^CVX|1;{}", &[]),
    ("RXR[MedicationRequest]", "OMP^O09;PID|1||9^^^A^MR;ORC|NW|P1^A;RXO|M^N^NDC;{}", &[]),
    ("SCH[Appointment]", "SIU^S12;{};PID|1||9^^^A^MR", &[]),
    ("SCH[Provenance]", "SIU^S12;{};PID|1||9^^^A^MR", &[]),
    ("SCH[ServiceRequest]", "SIU^S12;{};PID|1||9^^^A^MR", &[(26, "P2^A"), (27, "F2^A")]),
    ("SFT[Device]", "ADT^A01;{};PID|1||9^^^A^MR;PV1|1|I", &[]),
    ("SPM[Specimen]", "OML^O21;PID|1||9^^^A^MR;ORC|NW|P1^A;OBR|1|P1^A||X^Y^LN;{}", &[]),
    ("TQ1[MedicationRequest]", "OMP^O09;PID|1||9^^^A^MR;ORC|NW|P1^A;{};RXO|M^N^NDC", &[]),
    ("TQ1[ServiceRequest]", "OML^O21;PID|1||9^^^A^MR;ORC|NW|P1^A;{};OBR|1|P1^A||X^Y^LN", &[]),
    ("TXA[DocumentReference]", "MDM^T02;EVN|T02;PID|1||9^^^A^MR;PV1|1|I;{};OBX|1|TX|N||text||||||F", &[]),
    ("TXA[Provenance]", "MDM^T02;EVN|T02;PID|1||9^^^A^MR;PV1|1|I;{};OBX|1|TX|N||text||||||F", &[(8, "20240101")]),
];

/// How many messages each table is tried with.
const MESSAGES: usize = 16;

/// What the guide's message maps say of the segments that go through a table.
const WHEN: &[(&str, &str)] = &[
    ("NK1[RelatedPerson]", "NK1-3.1 NOT IN (\"EMR\", \"E\", \"F\", \"I\", \"S\")"),
    ("PRT[PractitionerRole]", "PRT-5 VALUED"),
    ("PRT[Device]", "PRT-10 VALUED"),
    ("PRT[Observation-Location]", "PRT-9 VALUED OR PRT-14 VALUED"),
    ("PID[Provenance-Patient]", "PID-33 AND PID-34 VALUED"),
    ("PID[Account]", "PID-18 VALUED"),
    ("PV1[Basic-EncounterHistory]", "PV1-43 VALUED"),
    ("PV1[Coverage]", "PV1-20 VALUED"),
    ("PD1[Observation-LivingWill]", "PD1-7 VALUED"),
    ("MSH[Provenance-Operator]", "EVN-5 NOT VALUED AND (MSH-22 VALUED OR MSH-4 VALUED)"),
    ("OBX[Observation]", "OBX-5 LST.count LESS THAN OR EQUALS 1 OR OBX-2 IS \"NA\""),
    ("TXA[Provenance]", "TXA-8 VALUED"),
    ("OBX[Observation-Component]", "OBX-5 LST.count GREATER THAN 1 AND OBX-2 IS NOT \"NA\""),
];

/// A row, and how often it demanded something and was not heard.
#[derive(Default)]
struct Tally {
    demanded: usize,
    missed: usize,
    example: String,
}

fn text_of(skeleton: &str, segment: &str) -> String {
    let (event, rest) = skeleton.split_once(';').unwrap_or((skeleton, ""));
    let header = format!("MSH|^~\\&|APP|FAC|REC|RFAC|20240101||{event}|1|P|2.8");
    let text = if skeleton.starts_with("{}") { skeleton.to_owned() } else { format!("{header};{rest}") };
    text.replace(';', "\r").replace("{}", segment) + "\r"
}

fn convert(transform: &transforms::hl7v2_to_fhir::Hl7v2ToFhir, text: &str) -> Value {
    let bytes = Bytes::from(text.to_owned());
    let message = hl7v2::Message::index(bytes.clone(), bytes).expect("a message");
    transform.convert(&message, &corpus::context()).0.into()
}

#[test]
fn every_row_of_the_guide_is_heard() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guide/mappings");
    let whole = corpus::shared().map(|root| root.join("v2-to-fhir/mappings")).filter(|folder| folder.is_dir());
    let guide = Guide::read(whole.as_deref().unwrap_or(&own));
    let cases = CASES.iter().filter(|(table, ..)| guide.segments.contains_key(&table.to_lowercase()));
    let (transform, listed) = (corpus::transform(), listed());
    let mut tried: BTreeSet<(String, String, String)> = BTreeSet::new();
    let mut rows: BTreeMap<(String, String, String, String), Tally> = BTreeMap::new();
    let (mut demanded, mut decided) = (0, 0);
    for (number, (table, skeleton, given)) in cases.clone().enumerate() {
        let seed = [u8::try_from(number).expect("few cases"); 32];
        let mut inventor = Inventor::new(&guide, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
        for _ in 0..MESSAGES {
            let segment = inventor.segment(table, given);
            let text = text_of(skeleton, &segment);
            let bundle = convert(&transform, &text);
            let (found, message) = (Found::of(&bundle), Segment::all(&text));
            let at = message.iter().position(|other| other.fields.join("|") == segment).expect("the segment");
            let when = WHEN.iter().find(|(of, _)| of == table).map_or("", |(_, when)| when);
            if !demand::applies(when, &message, at) {
                continue;
            }
            let demands = demand::of_segment(&guide, table, &message, at);
            tried.extend(demands.iter().flat_map(|demand| demand.rows.iter().cloned()));
            let heard: BTreeSet<String> = demands.iter().filter(|one| found.has(one)).map(Demand::target).collect();
            for demand in demands {
                if is_listed(&demand, &listed) || is_decided(&demand.rows) {
                    decided += 1;
                    continue;
                }
                // Two rows for one element: the first stays.
                let has = heard.contains(&demand.target());
                demanded += 1;
                note(&mut rows, table, &demand, has);
            }
        }
    }
    let all = cases.flat_map(|(table, ..)| &guide.segments[&table.to_lowercase()]);
    let all = all.filter(|row| !row.to.is_empty() && !row.to.starts_with("?") && row.narrative.is_empty());
    let all = all.map(|row| (row.table.clone(), row.from.clone(), row.to.clone()));
    let never = all
        .filter(|row| !tried.contains(row) && !is_listed_row(row, &listed) && !is_decided(std::slice::from_ref(row)));
    let never: Vec<String> = never.map(|(table, from, to)| format!("{table} {from} {to}")).collect();
    eprintln!("{} rows demand nothing of any of the messages: {never:#?}", never.len());
    let told = |((table, from, to, inner), tally): (&(String, String, String, String), &Tally)| {
        format!("{}/{} {table} {from} {to} {inner}: {}", tally.missed, tally.demanded, tally.example)
    };
    let missed: Vec<String> = rows.iter().filter(|(_, tally)| tally.missed > 0).map(told).collect();
    eprintln!("{} rows demanded {demanded} values; {decided} more are decided otherwise or listed", rows.len());
    let least = if whole.is_some() { 4000 } else { 500 };
    assert!(rows.len() > least, "only {demanded} values were demanded by {} rows", rows.len());
    assert!(never.len() < 60, "{} rows demand nothing: {never:#?}", never.len());
    assert!(missed.is_empty(), "{} rows were not heard:\n{}", missed.len(), missed.join("\n"));
}

/// Rows that NOT-MAPPED.md lists with a reason: table, source, target.
fn listed() -> BTreeSet<(String, String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("maps/NOT-MAPPED.md");
    let text = std::fs::read_to_string(path).expect("NOT-MAPPED.md").replace("\\|", "/");
    let rows = text.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|cells| cells.len() == 6).map(|cells| (cells[1].into(), cells[2].into(), cells[3].into())).collect()
}

fn is_listed(demand: &Demand, listed: &BTreeSet<(String, String, String)>) -> bool {
    demand.rows.iter().any(|row| is_listed_row(row, listed))
}

fn is_listed_row((table, from, to): &(String, String, String), listed: &BTreeSet<(String, String, String)>) -> bool {
    let is = |to: String| listed.contains(&(table.clone(), from.clone(), to));
    is(to.trim_start_matches('?').split_whitespace().collect()) || is("all".to_owned())
}

fn note(rows: &mut BTreeMap<(String, String, String, String), Tally>, table: &str, demand: &Demand, has: bool) {
    let (_, from, to) = demand.rows.first().cloned().unwrap_or_default();
    let inner: Vec<String> =
        demand.rows.iter().skip(1).map(|(table, from, to)| format!("{table} {from} {to}")).collect();
    let tally = rows.entry((table.to_owned(), from, to, inner.join(" / "))).or_default();
    tally.demanded += 1;
    if !has {
        tally.missed += 1;
        tally.example = format!("{demand} = {:?}", demand.want);
    }
}
