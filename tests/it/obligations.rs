//! What a recipient must do with what it gets: met where the destination says how, and a denial everywhere else.

use serde_json::{Value, json};

use crate::consent::{consent, file, results, ship};
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, QUICK, Site, TO_FHIR};

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
