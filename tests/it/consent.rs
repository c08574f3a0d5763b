//! Consent in force: decided again before every attempt, on what is on file at that moment.

use serde_json::{Value, json};
use tributary::engine::clock;

use crate::kit::hl7::{adt, control_id, update};
use crate::kit::http::{self, Server};
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, QUICK, Reply, Running, Sink, Site, TO_FHIR, TO_OUT, wait_for, wait_until};

pub(crate) const SYSTEM: &str = "urn:oid:2.16.840.1.113883.19.5.1";
const LABEL: &str = "[[transform]]\nlabel = {}\n";

/// A site that takes HL7 v2 (`in`) and consents (`consents`), and decides by a shipped policy.
pub(crate) fn site(policy: &str, out: &str) -> Site {
    let site = Site::new()
        .channel("in", &format!("{MLLP_IN}{TO_FHIR}{LABEL}{TO_OUT}"))
        .channel("consents", HTTP_IN)
        .destination("out", &format!("policy = \"{policy}\"\nclearance = \"V\"\nproduction = true\n{out}{QUICK}"));
    for shipped in ["us-tpo", "park-unknown", "optin-strict"] {
        ship(&site, shipped);
    }
    site
}

pub(crate) fn ship(site: &Site, policy: &str) {
    let file = format!("{}/config/policies/{policy}.toml", env!("CARGO_MANIFEST_DIR"));
    site.write(&format!("policies/{policy}.toml"), std::fs::read_to_string(file).unwrap());
}

pub(crate) fn act_code(code: &str) -> Value {
    json!({ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code }] })
}

/// A privacy consent of `patient`, in the version of `day`.
pub(crate) fn consent(id: &str, patient: &str, day: u32, rule: &str, provision: Value) -> Value {
    let mut consent = json!({
        "resourceType": "Consent", "id": id, "status": "active",
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "category": [act_code("IDSCL")],
        "patient": { "identifier": { "system": SYSTEM, "value": patient } },
        "dateTime": format!("2026-01-{day:02}"),
        "policyRule": act_code(rule),
    });
    if !provision.is_null() {
        consent["provision"] = provision;
    }
    consent
}

/// Files a Consent, and waits until it is on file.
pub(crate) fn file(site: &Site, running: &Running<'_>, consent: &Value) {
    let id = consent["id"].as_str().unwrap();
    let patient = consent["patient"]["identifier"]["value"].as_str().unwrap();
    put(running, consent);
    wait_until("the consent is on file", || {
        on_file(site, patient).iter().any(|filed| filed["id"] == id && filed["body"] == *consent)
    });
}

pub(crate) fn put(running: &Running<'_>, consent: &Value) {
    let url = format!("Consent/{}", consent["id"].as_str().unwrap());
    let entry = json!({ "resource": consent, "request": { "method": "PUT", "url": url } });
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] });
    let answer = http::post(running.address("consents"), "", bundle.to_string().as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.body);
}

pub(crate) fn on_file(site: &Site, patient: &str) -> Vec<Value> {
    let listed = site.json(&["consent", "list", "--patient", &format!("{SYSTEM}|{patient}")]);
    listed.as_array().unwrap().clone()
}

/// An order for HIV and one for glucose.
pub(crate) fn results(patient: &str, control_id: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|MERIDIAN|ST-MARY|TRIBUTARY|REGION|20261102081512-0600||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r\
         PID|1||{patient}^^^ST-MARY^MR||Thornfield^Wilhelmina||19710423|F\r\
         PV1|1|O|4W^412^B|||||||||||||||||V{patient}^^^ST-MARY^VN\r\
         ORC|RE|P1^MERIDIAN|F1^ASSAY\r\
         OBR|1|P1^MERIDIAN|F1^ASSAY|24323-8^Panel^LN|||20261102091500-0600\r\
         OBX|1|NM|2345-7^Glucose^LN||73.4512|mg/dL|||||F\r\
         ORC|RE|P2^MERIDIAN|F2^ASSAY\r\
         OBR|2|P2^MERIDIAN|F2^ASSAY|75622-1^Secretpanel^LN|||20261102091500-0600\r\
         OBX|1|ST|56888-1^Secrettest^LN||Secretresult||||||F\r\
         NTE|1|L|Secretnote\r"
    )
    .into_bytes()
}

#[test]
fn what_waits_for_a_retry_is_not_sent_once_consent_is_revoked() {
    let server = Server::start(|_, _| (503, String::new(), json!({ "resourceType": "OperationOutcome" })));
    let site = site("us-tpo", &format!("[outbound.fhir]\nurl = \"http://{}\"\n", server.address));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    wait_until("it was tried", || server.requests().len() > 2);
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTOUT", Value::Null));
    let tried = server.requests().len();
    running.wait_deliveries("out", &[("skipped", 1)]);
    // One may have been on its way as the consent was filed; none has begun since.
    assert!(server.requests().len() <= tried + 1);
    let delivery = site.delivery("C1");
    let reason = delivery["reason"].as_str().unwrap();
    assert!(reason.starts_with("denied by consent: consent:c1"), "{reason}");
    let sent = server.requests().len();
    sender.accepted(&update("MRN-1", "C2", "Ada"));
    sender.accepted(&update("MRN-2", "C3", "Ben"));
    wait_until("another patient's is tried", || server.requests().len() > sent + 1);
    wait_until("it is denied at once", || site.delivery("C2")["state"] == "skipped");
    assert_eq!(site.delivery("C2")["attempts"], 0);
}

#[test]
fn what_waits_for_consent_goes_by_itself_when_it_comes() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("held", 2)]);
    let reason = site.delivery("C1")["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("waits for consent: consent-unknown for TREAT"), "{reason}");
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", Value::Null));
    running.wait_deliveries("out", &[("delivered", 1), ("held", 1)]);
    assert_eq!(fhir.given_name("MRN-1").as_deref(), Some("Ada"));
    assert_eq!(fhir.given_name("MRN-2"), None);
    let summary = site.delivery("C1")["reason"].as_str().unwrap().to_owned();
    assert!(summary.contains("consent:c1 for TREAT") && summary.contains("by Consent c1/1"), "{summary}");
    assert!(
        summary.contains("; rules ") && summary.contains("; epoch "),
        "by which rules, and how much was known: {summary}"
    );
}

/// A destination that is not being sent to shows what waits for consent all the same.
#[test]
fn what_waits_for_consent_is_held_at_routing_where_nothing_is_sent() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let running = site.start();
    site.cli(&["destinations", "pause", "out", "--reason", "test"]);
    running.wait_state("out", "stopped");
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("held", 1)]);
    assert!(site.delivery("C1")["reason"].as_str().unwrap().starts_with("waits for consent: consent-unknown"));
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", Value::Null));
    running.wait_deliveries("out", &[("queued", 1)]);
    site.cli(&["destinations", "resume", "out"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
}

/// A Consent in the same Bundle as the data counts first.
#[test]
fn a_consent_that_comes_with_its_data_is_applied_first() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    site.set_channel("consents", &format!("{HTTP_IN}{TO_OUT}"));
    let running = site.start();
    let mut bundle: Value = serde_json::from_slice(&http::bundle("B1", "MRN-9", "Cara")).unwrap();
    let mut own = consent("c9", "MRN-9", 5, "OPTIN", Value::Null);
    own["patient"] = json!({ "reference": bundle["entry"][0]["fullUrl"] });
    let entry = json!({ "fullUrl": "urn:uuid:7c1e2f0a-5d0b-4d6e-9a55-0c3f3b1a1009", "resource": own, "request": { "method": "PUT", "url": "Consent/c9" } });
    bundle["entry"].as_array_mut().unwrap().push(entry);
    assert_eq!(http::post(running.address("consents"), "", bundle.to_string().as_bytes()).status, 202);
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert_eq!(fhir.given_name("MRN-9").as_deref(), Some("Cara"));
}

#[test]
fn what_a_patient_refuses_is_left_out_and_leaves_no_trace() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let hiv = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV" }]);
    let refusal = json!({ "provision": [{ "type": "deny", "securityLabel": hiv }] });
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", refusal));
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let observations = fhir.repository.resources("Observation");
    assert_eq!(observations.len(), 1, "{observations:#?}");
    assert_eq!(observations[0]["code"]["coding"][0]["code"], "2345-7");
    for kind in ["Patient", "Observation", "DiagnosticReport", "ServiceRequest", "Provenance", "Encounter", "Specimen"]
    {
        for resource in fhir.repository.resources(kind) {
            let text = resource.to_string();
            assert!(!text.contains("Secret") && !text.contains("56888-1") && !text.contains("\"HIV\""), "{text}");
        }
    }
    let summary = site.delivery("C1")["reason"].as_str().unwrap().to_owned();
    assert!(summary.contains("entries left out: consent:c1 for TREAT"), "{summary}");
    // What came is stored as it came.
    let id = site.message("C1")["message"]["id"].as_str().unwrap().to_owned();
    assert!(site.cli(&["messages", "show", &id, "--original"]).contains("Secretresult"));
    assert!(!site.logs().contains("Secret"));
    // Another patient's goes whole.
    sender.accepted(&results("MRN-2", "C2"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    assert_eq!(fhir.repository.resources("Observation").len(), 3);
}

#[test]
fn hl7_v2_is_redacted_by_whole_groups() {
    let sink = Sink::good();
    let site = site("us-tpo", &sink.outbound(""));
    site.set_channel("in", &format!("{MLLP_IN}{TO_OUT}"));
    let running = site.start();
    let hiv = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV" }]);
    let refusal = json!({ "provision": [{ "type": "deny", "securityLabel": hiv }] });
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", refusal));
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&results("MRN-1", "C1"));
    sender.accepted(&results("MRN-2", "C2"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    let taken: Vec<(String, String)> =
        sink.taken().iter().map(|m| (control_id(m), String::from_utf8(m.clone()).unwrap())).collect();
    let of = |id: &str| taken.iter().find(|(known, _)| known == id).unwrap().1.clone();
    assert!(of("C1").contains("Glucose") && !of("C1").contains("Secret") && !of("C1").contains("\"\""), "{}", of("C1"));
    assert_eq!(of("C1").matches("\rOBR|").count(), 1);
    assert_eq!(of("C2").as_bytes(), results("MRN-2", "C2"));
}

#[test]
fn consent_survives_being_killed() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for n in 0..20 {
        sender.accepted(&update(&format!("MRN-{n}"), &format!("C{n}"), "Ada"));
    }
    running.wait_deliveries("out", &[("held", 20)]);
    for n in 0..10 {
        put(&running, &consent(&format!("c{n}"), &format!("MRN-{n}"), 5, "OPTIN", Value::Null));
    }
    running.kill();
    let running = site.start();
    running.wait_deliveries("out", &[("delivered", 10), ("held", 10)]);
    for n in 0..10 {
        file(&site, &running, &consent(&format!("c{n}"), &format!("MRN-{n}"), 6, "OPTOUT", Value::Null));
    }
    running.kill();
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for n in 0..20 {
        sender.accepted(&update(&format!("MRN-{n}"), &format!("D{n}"), "Bea"));
    }
    running.wait_deliveries("out", &[("delivered", 10), ("held", 20), ("skipped", 10)]);
    assert_eq!((0..20).filter(|n| fhir.given_name(&format!("MRN-{n}")).as_deref() == Some("Bea")).count(), 0);
    running.terminate();
    site.verify();
}

/// A merge makes what either identifier consented to count for both.
#[test]
fn a_merge_joins_consents() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let running = site.start();
    file(&site, &running, &consent("c1", "MRN-OLD", 5, "OPTIN", Value::Null));
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-NEW", "C1", "Ada"));
    running.wait_deliveries("out", &[("held", 1)]);
    sender.accepted(&crate::kit::hl7::merge("MRN-NEW", "MRN-OLD", "C2"));
    running.wait_deliveries("out", &[("delivered", 2)]);
}

#[test]
fn a_consent_of_nobody_is_seen_and_counts_for_nobody() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let mut lost = consent("lost", "MRN-1", 5, "OPTOUT", Value::Null);
    lost["patient"] = json!({ "reference": "https://elsewhere.example/fhir/Patient/7" });
    put(&running, &lost);
    let listed = wait_for("it is seen", || {
        let listed = site.json(&["consent", "list"]);
        listed.as_array().filter(|listed| !listed.is_empty()).cloned()
    });
    assert_eq!(listed[0]["id"], "lost");
    // With the server's owner told, it is that provider's patient.
    let providers = std::fs::read_to_string(site.path("providers.toml")).unwrap();
    site.write(
        "providers.toml",
        providers
            .replace("[region]", "[lake]\nname = \"L\"\nfhir_url = \"https://elsewhere.example/fhir\"\n\n[region]"),
    );
    site.cli(&["reload"]);
    lost["id"] = json!("found");
    put(&running, &lost);
    wait_until("it is filed", || {
        !site.json(&["consent", "list", "--patient", "lake/Patient|7"]).as_array().unwrap().is_empty()
    });
}

/// HL7 v2 says it in CON and takes it back.
#[test]
fn hl7_v2_consents_count_and_are_rescinded() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let with =
        |control_id: &str, con: &str| [adt("A08", "MRN-1", control_id, "Ada", ""), con.as_bytes().to_vec()].concat();
    sender.accepted(&with("C1", "CON|1|001|F1|K7^ST-MARY|||||||A||20260105\r"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    sender.accepted(&with("C2", "CON|1|001|F1|K7^ST-MARY|||||||X||20260106\r"));
    running.wait_deliveries("out", &[("delivered", 1), ("held", 1)]);
    assert!(site.delivery("C2")["reason"].as_str().unwrap().contains("consent-unknown"));
    // One that nobody knows: nothing goes until a person has looked.
    sender.accepted(&with("C3", "CON|1|001|F1|K8^ST-MARY|||||||X||20260106\r"));
    running.wait_deliveries("out", &[("delivered", 1), ("held", 2)]);
    assert!(
        site.delivery("C3")["reason"].as_str().unwrap().contains("uncomputable-consent"),
        "{}",
        site.delivery("C3")
    );
}

#[test]
fn an_operators_hold_is_not_released_by_a_consent() {
    let site = site("park-unknown", &Fhir::start().outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("held", 1)]);
    let id = site.delivery("C1")["id"].to_string();
    site.cli(&["destinations", "pause", "out", "--reason", "test"]);
    site.cli(&["deliveries", "release", &id, "--reason", "test"]);
    site.cli(&["deliveries", "hold", &id, "--reason", "waits for consent: no, for me"]);
    site.cli(&["destinations", "resume", "out"]);
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", Value::Null));
    sender.accepted(&update("MRN-1", "C2", "Bea"));
    wait_until("the next one is tried", || {
        site.delivery("C2")["attempts"] != 0 || site.delivery("C2")["state"] != "queued"
    });
    assert_eq!(site.delivery("C1")["state"], "held");
}

#[test]
fn operators_can_ask_why_and_what_would_change() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let id = site.message("C1")["message"]["id"].as_str().unwrap().to_owned();
    let told = site.cli(&["consent", "explain", "--message", &id, "--to", "out"]);
    assert!(told.contains(": deliver\n") && told.contains("layer 10: default"), "{told}");
    site.write("new/us-tpo.toml", "[default]\n\"*\" = \"deny\"\n");
    let file = site.path("new/us-tpo.toml");
    let simulated = site.json(&["consent", "simulate", "--policy", file.to_str().unwrap(), "--since", "1h"]);
    assert_eq!(simulated["deliveries"], 1);
    assert_eq!(simulated["counts"], json!({ "deliver → suppress": 1 }));
    assert_eq!(simulated["changes"][0]["message"], id);
    // A policy that no destination has yet is tried on all that have one.
    let new = site.path("new-policy.toml");
    std::fs::rename(&file, &new).unwrap();
    let tried = site.json(&["consent", "simulate", "--policy", new.to_str().unwrap(), "--since", "1h"]);
    assert_eq!((&tried["counts"], &tried["changes"][0]["destination"]), (&simulated["counts"], &json!("out")));
    // What is simulated sends nothing.
    running.wait_deliveries("out", &[("delivered", 1)]);
    running.terminate();
    assert!(
        site.cli(&["consent", "explain", "--message", &id, "--to", "out"]).contains(": deliver\n"),
        "also without an engine"
    );
}

/// The command by which a named person opens a patient's record to a destination.
pub(crate) fn break_glass<'a>(patient: &'a str, to: &'a str, reason: &'a str) -> [&'a str; 10] {
    ["consent", "break-glass", "--patient", patient, "--to", to, "--by", "Dr E. Example", "--reason", reason]
}

#[test]
fn a_declared_emergency_opens_one_patients_record() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let policy = std::fs::read_to_string(site.path("policies/park-unknown.toml")).unwrap();
    assert!(policy.contains("break_glass"), "{policy}");
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("held", 2)]);
    let patient = format!("{SYSTEM}|MRN-1");
    let refused = site.run(&break_glass(&patient, "out", "FUN"));
    assert!(!refused.status.success());
    site.cli(&break_glass(&patient, "out", "OVRER"));
    running.wait_deliveries("out", &[("delivered", 1), ("held", 1)]);
    assert!(site.delivery("C1")["reason"].as_str().unwrap().contains("break-glass"));
    assert!(site.logs().contains("break-glass: a patient's record is opened") && !site.logs().contains("Example"));
    let declared = site.json(&["consent", "break-glass", "--list"]);
    assert_eq!(declared[0]["by"], "Dr E. Example");
    let id = declared[0]["id"].as_str().unwrap();
    site.cli(&["consent", "break-glass", "--end", id]);
    sender.accepted(&update("MRN-1", "C3", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1), ("held", 2)]);
}

/// A permit that ends is no permit; one that begins is one, without anything happening.
#[test]
fn time_alone_lets_go() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let running = site.start();
    let soon = clock::now() + jiff::SignedDuration::from_secs(4);
    file(
        &site,
        &running,
        &consent("c1", "MRN-1", 5, "OPTIN", json!({ "type": "permit", "period": { "start": soon.to_string() } })),
    );
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    wait_until("it was decided", || site.delivery("C1")["state"] != "queued");
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert!(clock::now() >= soon);
}

/// Another policy decides what waits.
#[test]
fn a_reload_of_the_policy_wakes_what_it_concerns() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("held", 1)]);
    site.write("policies/park-unknown.toml", "[default]\nTREAT = \"permit\"\n\"*\" = \"deny\"\n");
    site.cli(&["reload"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
}

/// Test data never reaches production, whatever a policy permits.
#[test]
fn test_data_never_reaches_production() {
    let sink = Sink::start(|_, _| Reply::Code("AA"));
    let site = site("us-tpo", &sink.outbound(""));
    site.set_channel("in", &format!("{MLLP_IN}{TO_OUT}"));
    let running = site.start();
    let message = String::from_utf8(update("MRN-1", "C1", "Ada")).unwrap().replace("|C1|P|", "|C1|T|");
    Sender::connect(running.address("in")).accepted(message.as_bytes());
    running.wait_deliveries("out", &[("held", 1)]);
    assert!(sink.taken().is_empty());
}

/// The mistakes of a policy are told with their places, and a destination's policy must be there.
#[test]
fn a_policy_with_a_mistake_is_refused_with_its_place() {
    let site = site("us-tpo", "[outbound.file]\nfolder = \"out\"\n");
    site.write(
        "policies/us-tpo.toml",
        "[default]\n\"*\" = \"deny\"\n\n[[mandatory_deny]]\nid = \"x\"\nweather = \"rain\"\n",
    );
    let output = site.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("us-tpo.toml:6:1") && text.contains("`weather` is not understood"), "{text}");
}

/// A refusal of HIV, in a Consent that permits the rest.
fn no_hiv() -> Value {
    let hiv = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV" }]);
    consent("c1", "MRN-1", 5, "OPTIN", json!({ "provision": [{ "type": "deny", "securityLabel": hiv }] }))
}

#[test]
fn a_segment_that_no_table_takes_is_decided_about_before_it_leaves() {
    let sink = Sink::good();
    let site = site("us-tpo", &sink.outbound(""));
    site.set_channel("in", &format!("{MLLP_IN}{TO_OUT}"));
    let running = site.start();
    file(&site, &running, &no_hiv());
    let text = String::from_utf8(results("MRN-1", "C1")).unwrap();
    let (before, _) = text.split_once("ORC|RE|P2").unwrap();
    // ORU^R01 has no DG1: the conversion makes nothing of it.
    let text =
        before.replace("\rORC|", "\rDG1|1||B20^Secretdiagnosis^I10C|||A\rDG1|2||I10^Hypertension^I10C|||A\rORC|");
    Sender::connect(running.address("in")).accepted(text.as_bytes());
    running.wait_deliveries("out", &[("delivered", 1)]);
    let taken = String::from_utf8(sink.taken()[0].clone()).unwrap();
    assert!(!taken.contains("B20") && !taken.contains("Secret"), "{taken}");
    assert!(taken.contains("DG1|1||I10^Hypertension") && taken.contains("Glucose"), "{taken}");
}

#[test]
fn whose_data_it_is_may_be_said_by_an_identifier_alone() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    site.set_channel("rest", &format!("{HTTP_IN}{LABEL}{TO_OUT}"));
    let running = site.start();
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTOUT", Value::Null));
    let observed = |subject: Value, contained: Value| {
        let mut one = json!({ "resourceType": "Observation", "status": "final", "subject": subject,
            "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7" }] } });
        if !contained.is_null() {
            one["contained"] = contained;
        }
        let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": [{ "resource": one }] });
        assert_eq!(http::post(running.address("rest"), "", bundle.to_string().as_bytes()).status, 202);
    };
    let hers = json!({ "system": SYSTEM, "value": "MRN-1" });
    observed(json!({ "identifier": hers }), Value::Null);
    observed(json!({ "reference": format!("Patient?identifier={SYSTEM}%7CMRN-1") }), Value::Null);
    let contained = json!([{ "resourceType": "Patient", "id": "p", "identifier": [hers] }]);
    observed(json!({ "reference": "#p" }), contained);
    running.wait_deliveries("out", &[("skipped", 3)]);
    observed(json!({ "display": "somebody" }), Value::Null);
    running.wait_deliveries("out", &[("held", 1), ("skipped", 3)]);
    assert!(fhir.repository.resources("Observation").is_empty());
}

#[test]
fn what_is_denied_while_a_destination_is_paused_says_so() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTOUT", Value::Null));
    site.cli(&["destinations", "pause", "out", "--reason", "a test"]);
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("queued", 2)]);
    let reason = |id: &str| site.delivery(id)["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason("C1").starts_with("as it stands: denied by consent: consent:c1"), "{}", reason("C1"));
    assert_eq!(reason("C2"), "");
    let listed = site.json(&["deliveries", "list", "--state", "queued"]);
    assert!(listed.to_string().contains("as it stands: denied by consent"), "{listed:#}");
    site.cli(&["destinations", "resume", "out"]);
    running.wait_deliveries("out", &[("delivered", 1), ("skipped", 1)]);
}

#[test]
fn what_a_patient_will_not_have_collected_is_not_sent_there() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let collect =
        json!([{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "collect" }] }]);
    let refusal = json!({ "type": "permit", "provision": [{ "type": "deny", "action": collect }] });
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", refusal));
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("delivered", 1), ("skipped", 1)]);
    assert_eq!(site.delivery("C1")["state"], "skipped");
}
