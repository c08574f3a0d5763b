//! Three providers; a repository, a research registry and an AI assistant. Each gets exactly what it may.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::consent::{SYSTEM, break_glass, consent, file, put, results, ship};
use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, QUICK, Site, TO_FHIR};

const PROVIDERS: &str = r#"
[st-mary]
name    = "St Mary's Hospital"
system  = "urn:oid:2.16.840.1.113883.19.4"
value   = "1"
systems = { ST-MARY = "urn:oid:2.16.840.1.113883.19.5.1" }

[harbor]
name    = "Harbor Recovery, a Part 2 program"
system  = "urn:oid:2.16.840.1.113883.19.4"
value   = "2"
flags   = ["part2-program"]
systems = { ST-MARY = "urn:oid:2.16.840.1.113883.19.5.1" }

[lake]
name    = "Lakeside"
system  = "urn:oid:2.16.840.1.113883.19.4"
value   = "3"

[region]
name   = "The Region"
system = "urn:oid:2.16.840.1.113883.19.4"
value  = "7"

[registry]
name   = "The Registry"
system = "urn:oid:2.16.840.1.113883.19.4"
value  = "8"
type   = "research"

[assistant]
name   = "The Assistant"
system = "urn:oid:2.16.840.1.113883.19.4"
value  = "9"
"#;

/// The codes of the results in a repository, each with its patient.
fn results_in(fhir: &Fhir) -> Vec<String> {
    let mut found: Vec<String> = fhir
        .repository
        .resources("Observation")
        .iter()
        .map(|one| one["code"]["coding"][0]["code"].as_str().unwrap_or_default().to_owned())
        .collect();
    found.sort();
    found
}

/// The purposes of use that results are labelled with.
fn released_for(fhir: &Fhir) -> BTreeSet<String> {
    let all = fhir.repository.resources("Observation");
    let labels = all.iter().filter_map(|one| one["meta"]["security"].as_array()).flatten();
    let purposes = labels.filter(|label| label["system"] == "http://terminology.hl7.org/CodeSystem/v3-ActReason");
    purposes.filter_map(|label| Some(label["code"].as_str()?.to_owned())).collect()
}

fn has_patient(fhir: &Fhir, mrn: &str) -> bool {
    fhir.given_name(mrn).is_some()
}

#[test]
fn each_recipient_gets_exactly_what_it_may() {
    let (repository, registry, assistant) = (Fhir::start(), Fhir::start(), Fhir::start());
    let routes = "[[route]]\nto = \"repository\"\npurpose = \"TREAT\"\n\
                  [[route]]\nto = \"registry\"\npurpose = \"HRESCH\"\n\
                  [[route]]\nto = \"assistant\"\npurpose = \"TREATDS\"\n";
    let site = Site::new();
    site.write("providers.toml", PROVIDERS);
    ship(&site, "us-tpo");
    // The shipped policy asks for NOREUSE of research, which no route here can see to.
    let policy = std::fs::read_to_string(site.path("policies/us-tpo.toml")).unwrap();
    let (before, _) = policy.split_once("[[obligations]]\npurpose = [\"HRESCH\"]").unwrap_or((&policy, ""));
    site.write("policies/research.toml", before);
    let channel = |name: &str, provider: &str| {
        let text = format!("provider = \"{provider}\"\n{MLLP_IN}{TO_FHIR}[[transform]]\nlabel = {{}}\n{routes}");
        site.write(&format!("channels/{name}.toml"), text);
    };
    channel("mary", "st-mary");
    channel("harbor", "harbor");
    site.write("channels/consents.toml", format!("provider = \"lake\"\n{HTTP_IN}"));
    for (name, fhir, policy) in [
        ("repository", &repository, "us-tpo"),
        ("registry", &registry, "research"),
        ("assistant", &assistant, "us-tpo"),
    ] {
        let recipient = if name == "repository" { "region" } else { name };
        let text = format!(
            "recipient = \"{recipient}\"\npolicy = \"{policy}\"\nclearance = \"V\"\nproduction = true\n{}{QUICK}",
            fhir.outbound("")
        );
        site.write(&format!("destinations/{name}.toml"), text);
    }
    let running = site.start();
    let ircp = |value: &str| {
        json!([{
            "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP" }] },
            "reference": { "identifier": { "system": "urn:oid:2.16.840.1.113883.19.4", "value": value } },
        }])
    };
    let purpose =
        |code: &str| json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": code }]);
    let hiv = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV" }]);
    // Ada lets the registry have what is not about HIV, and keeps that from the assistant too.
    let provisions = json!({ "provision": [
        { "type": "deny", "securityLabel": hiv, "purpose": purpose("TREATDS") },
        { "type": "deny", "securityLabel": hiv, "purpose": purpose("HRESCH") },
    ] });
    file(&site, &running, &consent("ada", "ADA", 5, "OPTIN", provisions));
    // Ben has opted out of everything but care by people.
    let refusal = json!({ "provision": [{ "type": "permit", "purpose": purpose("TREAT"), "provision": [{ "type": "deny", "purpose": purpose("TREATDS") }] }] });
    file(&site, &running, &consent("ben", "BEN", 5, "OPTOUT", refusal));
    let mut mary = Sender::connect(running.address("mary"));
    mary.accepted(&results("ADA", "A1"));
    mary.accepted(&results("BEN", "B1"));
    mary.accepted(&results("CARA", "C1"));
    running.wait_deliveries("repository", &[("delivered", 3)]);
    running.wait_deliveries("assistant", &[("delivered", 2), ("skipped", 1)]);
    running.wait_deliveries("registry", &[("delivered", 1), ("skipped", 2)]);
    assert_eq!(results_in(&repository), ["2345-7", "2345-7", "2345-7", "56888-1", "56888-1", "56888-1"]);
    // Ada's without HIV, Cara's whole: she has said nothing, and the policy permits care.
    assert_eq!(results_in(&assistant), ["2345-7", "2345-7", "56888-1"]);
    assert_eq!(results_in(&registry), ["2345-7"]);
    assert!(has_patient(&registry, "ADA") && !has_patient(&registry, "BEN") && !has_patient(&registry, "CARA"));
    // What was released for another use than treatment says so.
    assert_eq!(released_for(&repository), BTreeSet::new());
    assert_eq!(released_for(&registry), BTreeSet::from(["HRESCH".to_owned()]));
    assert_eq!(released_for(&assistant), BTreeSet::from(["TREATDS".to_owned()]));

    // A Part 2 program: all it sends waits for no one and goes to nobody without a consent to it.
    let mut harbor = Sender::connect(running.address("harbor"));
    harbor.accepted(&update("DORA", "D1", "Dora"));
    running.wait_deliveries("repository", &[("delivered", 3), ("skipped", 1)]);
    assert!(!has_patient(&repository, "DORA"));
    let reason = deliveries(&site, "D1", "repository")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("mandatory-deny:part2"), "{reason}");
    // With one that names the repository it goes there, with the statement of the law and the label, and nowhere else.
    let to_region = json!({ "type": "permit", "purpose": purpose("TREAT"), "actor": ircp("7") });
    let dora = consent("dora", "DORA", 5, "OPTOUT", to_region);
    file(&site, &running, &dora);
    harbor.accepted(&update("DORA", "D2", "Dora"));
    running.wait_deliveries("repository", &[("delivered", 4), ("skipped", 1)]);
    assert!(has_patient(&repository, "DORA"));
    let statements = repository.repository.resources("DocumentReference");
    assert!(
        statements.iter().any(|one| one["description"].as_str().is_some_and(|text| text.contains("42 CFR part 2")))
    );
    assert!(!has_patient(&registry, "DORA") && !has_patient(&assistant, "DORA"));

    // The emergency: Ben's record for the assistant stays closed, for it is not asked for care by a person in need of it.
    let patient = format!("{SYSTEM}|BEN");
    site.cli(&break_glass(&patient, "repository", "OVRER"));
    file(&site, &running, &consent("ben", "BEN", 6, "OPTOUT", Value::Null));
    mary.accepted(&update("BEN", "B2", "Ben"));
    running.wait_deliveries("repository", &[("delivered", 5), ("skipped", 1)]);
    assert!(deliveries(&site, "B2", "repository")["reason"].as_str().unwrap().contains("break-glass"));
    assert_eq!(deliveries(&site, "B2", "assistant")["state"], "skipped");

    // What the accounting of disclosures says is what arrived, entry by entry.
    running.wait_idle();
    let mut told: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for patient in ["ADA", "BEN", "CARA", "DORA"] {
        for (destination, control_id, kept) in disclosed(&site, patient) {
            let known = told.entry(destination).or_default().insert(control_id, kept);
            assert_eq!(known, None, "{patient}'s is told once");
        }
    }
    for (name, fhir) in [("repository", &repository), ("registry", &registry), ("assistant", &assistant)] {
        assert_eq!(arrived(fhir), told[name], "{name}");
    }
    assert_eq!(told.len(), 3);
    put(&running, &consent("ada", "ADA", 7, "OPTOUT", Value::Null));
    running.terminate();
    site.verify();
}

/// Where a patient's data went, by the accounting of disclosures: of which message, and how many of its results.
fn disclosed(site: &Site, patient: &str) -> Vec<(String, String, usize)> {
    let all = site.json(&["disclosures", "--patient", &format!("{SYSTEM}|{patient}"), "--all"]);
    let events = all.as_array().unwrap().iter().map(|line| &line["event"]);
    let sent = events.filter(|event| event["kind"] == "disclosure" && event["outcome"].is_null());
    let told = sent.map(|event| {
        let message = event["message"].as_str().unwrap();
        let control_id =
            site.json(&["messages", "show", message])["message"]["control_id"].as_str().unwrap().to_owned();
        let decisions = site.json(&["audit", "list", "--kind", "decision"]);
        let of_it =
            |line: &&Value| line["event"]["delivery"] == event["delivery"] && line["event"]["outcome"].is_null();
        let decided = decisions.as_array().unwrap().iter().find(of_it).unwrap()["event"]["text"].as_str().unwrap();
        let original = site.cli(&["messages", "show", message, "--original"]);
        let results = original.matches("OBX|").count();
        // The secret one is what is left out, if anything is.
        let kept = if decided.contains("left out") { results - 1 } else { results };
        (event["destination"].as_str().unwrap().to_owned(), control_id, kept)
    });
    told.collect()
}

/// What is there, by the messages that it came from: how many results of each.
fn arrived(fhir: &Fhir) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let kinds = ["Observation", "Provenance", "Patient", "DiagnosticReport"];
    for resource in kinds.iter().flat_map(|kind| fhir.repository.resources(kind)) {
        let Some((_, control_id)) = resource["meta"]["source"].as_str().and_then(|source| source.split_once('#'))
        else {
            continue;
        };
        *found.entry(control_id.to_owned()).or_default() += usize::from(resource["resourceType"] == "Observation");
    }
    found
}

/// The one delivery of a message to a destination.
fn deliveries(site: &Site, control_id: &str, destination: &str) -> Value {
    let message = site.message(control_id);
    let found = message["deliveries"].as_array().unwrap().iter().find(|one| one["destination"] == destination);
    found.unwrap().clone()
}
