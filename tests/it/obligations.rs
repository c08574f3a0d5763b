//! What a recipient must do with what it gets: met where the destination says how, and a denial everywhere else.

use serde_json::{Value, json};

use crate::consent::{consent, file, results, ship};
use crate::kit::hl7::control_id;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, QUICK, Sink, Site, TO_FHIR};

/// A site that sends to one recipient of a kind, for one purpose, by `us-tpo`.
fn site(kind: &str, purpose: &str, out: &str) -> Site {
    let route = format!("[[transform]]\nlabel = {{}}\n[[route]]\nto = \"out\"\npurpose = \"{purpose}\"\n");
    let site = Site::new()
        .channel("in", &format!("{MLLP_IN}{TO_FHIR}{route}"))
        .channel("consents", HTTP_IN)
        .destination("out", &format!("policy = \"us-tpo\"\nclearance = \"V\"\n{out}{QUICK}"));
    let providers = std::fs::read_to_string(site.path("providers.toml")).unwrap();
    site.write("providers.toml", providers.replace("[region]", &format!("[region]\ntype = \"{kind}\"")));
    ship(&site, "us-tpo");
    site
}

fn reason(site: &Site, control_id: &str) -> String {
    site.delivery(control_id)["reason"].as_str().unwrap_or_default().to_owned()
}

fn labels(resource: &Value) -> Vec<&str> {
    let all = resource["meta"]["security"].as_array().into_iter().flatten();
    all.filter_map(|label| label["code"].as_str()).collect()
}

#[test]
fn a_payer_gets_what_the_list_has_and_nothing_without_one() {
    let fhir = Fhir::start();
    let bare = site("payer", "HPAYMT", &fhir.outbound(""));
    let running = bare.start();
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("skipped", 1)]);
    assert!(reason(&bare, "C1").contains("obligation:MINEC"), "{}", reason(&bare, "C1"));
    assert!(fhir.repository.resources("Patient").is_empty());
    drop(running);
    let list =
        "minimum_necessary = { Patient = [\"identifier\"], Observation = [\"status\", \"code\", \"subject\"] }\n";
    let site = site("payer", "HPAYMT", &format!("{list}{}", fhir.outbound("")));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let patients = fhir.repository.resources("Patient");
    assert_eq!(patients.len(), 1);
    assert!(patients[0].get("name").is_none() && patients[0].get("birthDate").is_none(), "{patients:#?}");
    assert!(labels(&patients[0]).contains(&"SUBSETTED"));
    let observations = fhir.repository.resources("Observation");
    assert!(!observations.is_empty());
    assert!(observations.iter().all(|one| one.get("valueQuantity").is_none() && one.get("code").is_some()));
    for kind in ["DiagnosticReport", "ServiceRequest", "Encounter", "Provenance", "Organization"] {
        assert!(fhir.repository.resources(kind).is_empty(), "{kind}");
    }
    assert!(reason(&site, "C1").contains("with MINEC"), "{}", reason(&site, "C1"));
}

#[test]
fn research_data_leaves_under_an_agreement_and_says_so() {
    let fhir = Fhir::start();
    let purpose = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH" }]);
    let permits = consent("c1", "MRN-1", 5, "OPTIN", json!({ "type": "permit", "purpose": purpose }));
    let bare = site("research", "HRESCH", &fhir.outbound(""));
    let running = bare.start();
    file(&bare, &running, &permits);
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("skipped", 1)]);
    assert!(reason(&bare, "C1").contains("obligation:NOREUSE"), "{}", reason(&bare, "C1"));
    drop(running);
    let agreed = "agreements = { NOREUSE = \"DUA-2026-17\" }\n";
    let site = site("research", "HRESCH", &format!("{agreed}{}", fhir.outbound("")));
    let running = site.start();
    file(&site, &running, &permits);
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let observations = fhir.repository.resources("Observation");
    assert!(!observations.is_empty());
    assert!(observations.iter().all(|one| labels(one).contains(&"NOREUSE")), "{observations:#?}");
}

/// A site with a policy that adds an obligation for everything.
fn with_obligation(code: &str, kind: &str, purpose: &str, out: &str) -> Site {
    let site = site(kind, purpose, out);
    let policy = std::fs::read_to_string(site.path("policies/us-tpo.toml")).unwrap();
    let (rules, _) = policy.split_once("[[obligations]]").unwrap();
    site.write(
        "policies/us-tpo.toml",
        format!("{rules}[[obligations]]\npurpose = [\"{purpose}\"]\nadd = [\"{code}\"]\n"),
    );
    site
}

fn permit_for(purpose: &str) -> Value {
    let purpose = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": purpose }]);
    consent("c1", "MRN-1", 5, "OPTIN", json!({ "type": "permit", "purpose": purpose }))
}

#[test]
fn research_data_that_must_be_de_identified_names_nobody() {
    let fhir = Fhir::start();
    let bare = with_obligation("DEID", "research", "HRESCH", &fhir.outbound(""));
    let running = bare.start();
    file(&bare, &running, &permit_for("HRESCH"));
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("skipped", 1)]);
    assert!(reason(&bare, "C1").contains("obligation:DEID"), "{}", reason(&bare, "C1"));
    drop(running);
    let out = format!("deidentify = \"safe-harbor\"\n{}", fhir.outbound(""));
    let site = with_obligation("DEID", "research", "HRESCH", &out);
    let running = site.start();
    file(&site, &running, &permit_for("HRESCH"));
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert!(reason(&site, "C1").contains("with DEID"), "{}", reason(&site, "C1"));
    let all =
        ["Patient", "Observation", "DiagnosticReport", "ServiceRequest", "Encounter", "Provenance", "Organization"];
    let left: Vec<Value> = all.iter().flat_map(|kind| fhir.repository.resources(kind)).collect();
    let text = serde_json::to_string(&left).unwrap();
    for told in [
        "MRN-1",
        "Thornfield",
        "1971-04",
        "2026-11-02",
        "P1",
        "F1",
        "C1\"",
        "Secretnote",
        "Secretpanel",
        "4W",
        "MERIDIAN",
    ] {
        assert!(!text.contains(told), "{told}: {text}");
    }
    let patients = fhir.repository.resources("Patient");
    assert_eq!(
        (patients.len(), &patients[0]["birthDate"], &patients[0]["gender"]),
        (1, &json!("1971"), &json!("female"))
    );
    assert!(labels(&patients[0]).contains(&"ANONYED"));
    let observations = fhir.repository.resources("Observation");
    assert!(observations.iter().any(|one| one["valueQuantity"]["value"] == json!(73.4512)), "{observations:#?}");
    assert!(fhir.repository.resources("Provenance").is_empty());
}

#[test]
fn a_pseudonym_lasts() {
    let fhir = Fhir::start();
    let out = format!("deidentify = \"pseudonyms\"\n{}", fhir.outbound(""));
    let site = with_obligation("PSEUD", "research", "HRESCH", &out);
    let running = site.start();
    file(&site, &running, &permit_for("HRESCH"));
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&results("MRN-1", "C1"));
    sender.accepted(&results("MRN-1", "C2"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    let patients = fhir.repository.resources("Patient");
    assert_eq!(patients.len(), 2, "each content has names of its own");
    assert_eq!(patients[0]["identifier"], patients[1]["identifier"]);
    assert_eq!(patients[0]["identifier"][0]["system"], "urn:tributary:pseudonym:out");
    assert!(!serde_json::to_string(&patients).unwrap().contains("MRN-1"));
}

#[test]
fn elements_are_masked_where_the_destination_lists_them() {
    let fhir = Fhir::start();
    let bare = with_obligation("MASK", "provider", "TREAT", &fhir.outbound(""));
    let running = bare.start();
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("skipped", 1)]);
    assert!(reason(&bare, "C1").contains("obligation:MASK"), "{}", reason(&bare, "C1"));
    drop(running);
    let list = "mask = { Patient = [\"name\", \"birthDate\"], Observation = [\"note\"] }\n";
    let site = with_obligation("MASK", "provider", "TREAT", &format!("{list}{}", fhir.outbound("")));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let patients = fhir.repository.resources("Patient");
    assert!(patients[0].get("name").is_some() && !patients[0].to_string().contains("Thornfield"), "{patients:#?}");
    assert_eq!(patients[0]["_birthDate"]["extension"][0]["valueCode"], "masked");
    assert!(labels(&patients[0]).contains(&"MASKED") && labels(&patients[0]).contains(&"REDACTED"));
    assert!(!serde_json::to_string(&fhir.repository.resources("Observation")).unwrap().contains("Secretnote"));
    assert!(fhir.repository.resources("DiagnosticReport").is_empty(), "what is not listed does not go");
}

#[test]
fn a_privacy_mark_is_seen() {
    let fhir = Fhir::start();
    let site = with_obligation("PRIVMARK", "provider", "TREAT", &fhir.outbound(""));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let observations = fhir.repository.resources("Observation");
    let marked =
        |one: &Value| one["text"]["div"].as_str().unwrap_or_default().contains("Privacy mark: confidentiality");
    assert!(!observations.is_empty() && observations.iter().all(marked), "{observations:#?}");
    assert!(observations.iter().all(|one| labels(one).contains(&"PRIVMARK")));
}

#[test]
fn a_consent_travels_to_where_a_refused_person_works() {
    let fhir = Fhir::start();
    let site = site("provider", "TREAT", &fhir.outbound(""));
    let providers = std::fs::read_to_string(site.path("providers.toml")).unwrap();
    let staff = "staff = [\"http://hl7.org/fhir/sid/us-npi|1234567893\"]";
    site.write("providers.toml", providers.replace("[region]", &format!("[region]\n{staff}")));
    let running = site.start();
    let refused = json!({ "type": "deny", "actor": [{
        "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP" }] },
        "reference": { "identifier": { "system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893" } } }] });
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", json!({ "provision": [refused] })));
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert!(reason(&site, "C1").contains("with CPLYCD"), "{}", reason(&site, "C1"));
    let consents = fhir.repository.resources("Consent");
    assert_eq!(consents.len(), 1);
    let text = consents[0].to_string();
    assert!(text.contains("1234567893") && text.contains("MRN-1") && consents[0]["status"] == "active", "{text}");
    assert!(fhir.repository.resources("Observation").iter().all(|one| labels(one).contains(&"CPLYCD")));
}

/// A message with an access restriction behind the patient.
fn restricted(patient: &str, control_id: &str, restriction: &str) -> Vec<u8> {
    let text = String::from_utf8(results(patient, control_id)).unwrap();
    text.replace("\rPV1|", &format!("\rARV|1|A|{restriction}\rPV1|")).into_bytes()
}

#[test]
fn what_a_patient_restricts_of_themselves_is_masked_in_fhir() {
    let fhir = Fhir::start();
    let site = site("provider", "TREAT", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&restricted("MRN-1", "C1", "PID-7"));
    sender.accepted(&restricted("MRN-2", "C2", "LOC"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    assert!(reason(&site, "C1").contains("masked DOB"), "{}", reason(&site, "C1"));
    let patients = fhir.repository.resources("Patient");
    let of = |mrn: &str| patients.iter().find(|one| one.to_string().contains(mrn)).unwrap();
    assert!(of("MRN-1").get("birthDate").is_none() && of("MRN-1").get("name").is_some(), "{:#?}", of("MRN-1"));
    assert!(labels(of("MRN-1")).contains(&"MASKED"));
    assert_eq!(of("MRN-2")["birthDate"], "1971-04-23");
    let all = ["Encounter", "Location", "Observation", "ServiceRequest", "Provenance"];
    let placed: Vec<Value> = all.iter().flat_map(|kind| fhir.repository.resources(kind)).collect();
    let text = serde_json::to_string(&placed).unwrap();
    assert!(text.contains("412"), "the other's place is told");
    assert_eq!(
        fhir.repository.resources("Location").iter().filter(|one| one.to_string().contains("412")).count(),
        1,
        "{text}"
    );
    let explained = site.json(&["consent", "explain", "--message", &message(&site, "C1"), "--to", "out"]);
    assert!(explained["entries"].to_string().contains("DOB by consent:"), "{explained:#}");
}

#[test]
fn what_a_patient_restricts_of_themselves_is_left_empty_in_hl7_v2() {
    let sink = Sink::good();
    let site = site("provider", "TREAT", &sink.outbound(""));
    site.set_channel("in", &format!("{MLLP_IN}[[route]]\nto = \"out\"\npurpose = \"TREAT\"\n"));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for (patient, control_id, restriction) in
        [("MRN-1", "C1", "PID-7"), ("MRN-2", "C2", "LOC"), ("MRN-3", "C3", "DEM"), ("MRN-4", "C4", "NO")]
    {
        sender.accepted(&restricted(patient, control_id, restriction));
    }
    running.wait_deliveries("out", &[("delivered", 4)]);
    let taken: Vec<(String, String)> =
        sink.taken().iter().map(|m| (control_id(m), String::from_utf8(m.clone()).unwrap())).collect();
    let of = |id: &str| taken.iter().find(|(known, _)| known == id).unwrap().1.clone();
    assert!(!of("C1").contains("19710423") && of("C1").contains("Thornfield") && of("C1").contains("Glucose"));
    assert!(!of("C2").contains("412") && of("C2").contains("19710423"), "{}", of("C2"));
    assert!(
        !of("C3").contains("Thornfield") && !of("C3").contains("19710423") && of("C3").contains("MRN-3"),
        "{}",
        of("C3")
    );
    assert!(of("C4").contains("19710423"));
    assert!(taken.iter().all(|(_, text)| !text.contains("\"\"")));
}

#[test]
fn a_part_2_record_says_so_in_hl7_v2_where_that_has_room() {
    let sink = Sink::good();
    let site = site("provider", "TREAT", &sink.outbound(""));
    site.set_channel("in", &format!("{MLLP_IN}[[route]]\nto = \"out\"\npurpose = \"TREAT\"\n"));
    let providers = std::fs::read_to_string(site.path("providers.toml")).unwrap();
    site.write("providers.toml", providers.replace("[st-mary]", "[st-mary]\nflags = [\"part2-program\"]"));
    let running = site.start();
    file(&site, &running, &permit_for("TREAT"));
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&results("MRN-1", "C1"));
    sender.accepted(&crate::kit::hl7::update("MRN-1", "C2", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1), ("skipped", 1)]);
    assert!(reason(&site, "C2").contains("obligation:NORDSCLCD"), "{}", reason(&site, "C2"));
    let text = String::from_utf8(sink.taken()[0].clone()).unwrap();
    assert!(text.contains("\rNTE|1|O|42 CFR part 2 prohibits unauthorized use or disclosure of these records. Released by Consent c1/1.\rPV1"), "{text}");
}

fn message(site: &Site, control_id: &str) -> String {
    site.delivery(control_id)["message"].as_str().unwrap().to_owned()
}
