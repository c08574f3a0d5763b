//! An external decision service: what it says decides, it never lifts the law, and while it says nothing all waits.

use serde_json::{Value, json};

use crate::consent::{SYSTEM, consent, file, results, ship, site as decided_by};
use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, MLLP_IN, QUICK, Service, Site, TO_FHIR, http, wait_until};

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// What a service answers, with more header lines.
fn card(decision: &str, headers: &str, obligations: Value) -> (u16, String, Value) {
    let extension = json!({ "decision": decision, "obligations": obligations, "basedOn": "Consent/of-theirs" });
    (
        200,
        headers.to_owned(),
        json!({ "cards": [{ "summary": decision, "indicator": "info", "extension": extension }] }),
    )
}

fn says(decision: &'static str) -> impl Fn(&str, &Value) -> (u16, String, Value) + Send + 'static {
    move |_, _| card(decision, "", json!([]))
}

/// A site whose destination `out` asks the service at `address`, and decides by `policy` besides.
fn asking(address: std::net::SocketAddr, policy: &str, out: &str) -> Site {
    let site = decided_by(policy, &format!("consent_service = \"exchange\"\n{out}"));
    serve(&site, address, "");
    site
}

fn serve(site: &Site, address: std::net::SocketAddr, more: &str) {
    let url = format!("http://{address}/cds-services/patient-consent-consult");
    let service = format!("[consent.exchange]\nurl = \"{url}\"\nanswer_timeout = \"500ms\"\n{more}");
    site.write("services.toml", service);
}

fn reason(site: &Site, control_id: &str) -> String {
    site.delivery(control_id)["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_service_decides_and_is_told_who_and_what_for_and_nothing_else() {
    let (fhir, service) = (Fhir::start(), Service::start(says("CONSENT_PERMIT")));
    let site = asking(service.address, "optin-strict", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert!(reason(&site, "C1").contains("external:Consent/of-theirs"), "{}", reason(&site, "C1"));
    let (target, asked) = service.asked().remove(0);
    assert_eq!(target, "/cds-services/patient-consent-consult");
    assert_eq!(asked["hook"], "patient-consent-consult");
    assert!(asked["hookInstance"].is_string());
    let context = json!({
        "patientId": [{ "system": SYSTEM, "value": "MRN-1" }],
        "scope": "patient-privacy",
        "purposeOfUse": ["TREAT"],
        "actor": [],
    });
    assert_eq!(asked["context"], context);
    service.says(says("CONSENT_DENY"));
    sender.accepted(&update("MRN-1", "C2", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1), ("skipped", 1)]);
    assert!(reason(&site, "C2").starts_with("denied by consent: external:"), "{}", reason(&site, "C2"));
    // It knows of no consent: the policy answers.
    service.says(says("NO_CONSENT"));
    sender.accepted(&update("MRN-1", "C3", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1), ("skipped", 2)]);
    assert!(reason(&site, "C3").contains("default for TREAT"), "{}", reason(&site, "C3"));
}

#[test]
fn what_a_service_takes_out_is_taken_out() {
    let redact = json!([{ "id": { "system": ACT_CODE, "code": "REDACT" }, "parameters": { "codes": [{ "system": ACT_CODE, "code": "HIV" }] } }]);
    let service = Service::start(move |_, _| card("CONSENT_PERMIT", "", redact.clone()));
    let fhir = Fhir::start();
    let site = asking(service.address, "optin-strict", &fhir.outbound(""));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let kept = json!(fhir.repository.resources("Observation")).to_string();
    assert!(kept.contains("73.4512") && !kept.contains("Secret"), "{kept}");
}

/// The law stands above a service, and a refusal on file above its permission.
#[test]
fn a_service_speaks_for_consent_and_never_for_the_law() {
    let (fhir, service) = (Fhir::start(), Service::start(says("CONSENT_PERMIT")));
    let site = asking(service.address, "us-tpo", &fhir.outbound(""));
    let providers = std::fs::read_to_string(site.path("providers.toml")).unwrap();
    let harbor = "\n[harbor]\nname = \"Harbor Recovery\"\nflags = [\"part2-program\"]\n\
                  systems = { ST-MARY = \"urn:oid:2.16.840.1.113883.19.5.1\" }\n";
    site.write("providers.toml", format!("{providers}{harbor}"));
    let route = "[[transform]]\nlabel = {}\n[[route]]\nto = \"out\"\npurpose = \"TREAT\"\n";
    site.write("channels/harbor.toml", format!("provider = \"harbor\"\n{MLLP_IN}{TO_FHIR}{route}"));
    let running = site.start();
    Sender::connect(running.address("harbor")).accepted(&results("MRN-1", "C1"));
    running.wait_deliveries("out", &[("skipped", 1)]);
    assert!(reason(&site, "C1").contains("mandatory-deny:part2"), "{}", reason(&site, "C1"));
    file(&site, &running, &consent("c1", "MRN-2", 5, "OPTOUT", Value::Null));
    Sender::connect(running.address("in")).accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("skipped", 2)]);
    assert!(reason(&site, "C2").contains("consent:c1"), "{}", reason(&site, "C2"));
}

#[test]
fn what_a_service_that_is_not_there_should_say_waits_and_goes_by_itself_once_it_is() {
    let (fhir, address) = (Fhir::start(), Service::nobody());
    let site = asking(address, "us-tpo", &fhir.outbound(""));
    let (site, port) = site.admin();
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for n in 0..6 {
        sender.accepted(&update(&format!("MRN-{n}"), &format!("C{n}"), "Ada"));
    }
    running.wait_deliveries("out", &[("held", 6)]);
    assert!(fhir.repository.resources("Patient").is_empty(), "nothing left unasked");
    let waits = reason(&site, "C5");
    assert!(waits.starts_with("waits for consent: consent-service-unavailable"), "{waits}");
    wait_until("it counts as down", || {
        let status = running.status();
        status.services.len() == 1 && !status.services[0].up
    });
    assert!(site.cli(&["status"]).contains("exchange"));
    let metrics = http::get(port, "/metrics").body;
    assert!(metrics.contains("tributary_service_up{kind=\"consent\",service=\"exchange\"} 0"), "{metrics}");
    let service = Service::at(address, says("CONSENT_PERMIT"));
    running.wait_deliveries("out", &[("delivered", 6)]);
    assert!(running.status().services[0].up);
    assert!(!service.asked().is_empty());
}

/// It hangs, breaks off, answers nonsense, refuses, is overwhelmed: nothing goes; another patient's other destination
/// does not wait for it.
#[test]
fn whatever_a_service_does_but_permit_nothing_goes() {
    let (fhir, other) = (Fhir::start(), Fhir::start());
    let service = Service::start(says("CONSENT_PERMIT"));
    service.hangs();
    let site = asking(service.address, "us-tpo", &fhir.outbound(""));
    site.set_destination("plain", &format!("policy = \"us-tpo\"\nclearance = \"V\"\n{}{QUICK}", other.outbound("")));
    let routes = "[[route]]\nto = [\"out\", \"plain\"]\npurpose = \"TREAT\"\n";
    site.set_channel("in", &format!("{MLLP_IN}{TO_FHIR}{routes}"));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-0", "C0", "Ada"));
    running.wait_deliveries("plain", &[("delivered", 1)]);
    running.wait_deliveries("out", &[("held", 1)]);
    type Says = fn(&str, &Value) -> (u16, String, Value);
    let nonsense: [Says; 5] = [
        |_, _| (200, String::new(), json!("hello")),
        |_, _| (200, String::new(), json!({ "cards": [] })),
        |_, _| (404, String::new(), json!({})),
        |_, _| (302, "Location: http://127.0.0.1:1/\r\n".to_owned(), json!({})),
        |_, _| (503, String::new(), json!({})),
    ];
    let mut held = 1;
    for (n, says) in (1..).zip(nonsense) {
        service.says(says);
        sender.accepted(&update(&format!("MRN-{n}"), &format!("C{n}"), "Ada"));
        held += 1;
        running.wait_deliveries("out", &[("held", held)]);
    }
    service.breaks_off();
    sender.accepted(&update("MRN-9", "C9", "Ada"));
    running.wait_deliveries("out", &[("held", held + 1)]);
    assert!(fhir.repository.resources("Patient").is_empty());
    running.wait_deliveries("plain", &[("delivered", held + 1)]);
}

#[test]
fn an_answer_is_used_again_for_as_long_as_it_says_and_no_longer() {
    let service = Service::start(|_, _| card("CONSENT_PERMIT", "Cache-Control: max-age=600\r\n", json!([])));
    let fhir = Fhir::start();
    let site = asking(service.address, "optin-strict", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    for n in 0..3 {
        sender.accepted(&update("MRN-1", &format!("C{n}"), "Ada"));
    }
    running.wait_deliveries("out", &[("delivered", 3)]);
    assert_eq!(service.asked().len(), 1, "one question for three messages of one patient");
    // Of another patient it is asked, and what may not be kept is not.
    service.says(says("CONSENT_PERMIT"));
    sender.accepted(&update("MRN-2", "D1", "Ben"));
    running.wait_deliveries("out", &[("delivered", 4)]);
    service.hangs();
    sender.accepted(&update("MRN-1", "C9", "Ada"));
    running.wait_deliveries("out", &[("delivered", 5)]);
    sender.accepted(&update("MRN-2", "D2", "Ben"));
    running.wait_deliveries("out", &[("delivered", 5), ("held", 1)]);
}

/// `stale-if-error` (RFC 5861) lets an old answer stand in; without it, what is old parks as such.
#[test]
fn an_old_answer_stands_in_only_where_it_says_so() {
    let service = Service::start(|_, asked| {
        let stale = asked["context"]["patientId"][0]["value"] == "MRN-1";
        let more = if stale { ", stale-if-error=600" } else { "" };
        card("CONSENT_PERMIT", &format!("Cache-Control: max-age=1{more}\r\n"), json!([]))
    });
    let fhir = Fhir::start();
    let site = asking(service.address, "optin-strict", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-2", "D1", "Ben"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    service.breaks_off();
    // Its second of freshness must be over: no condition tells.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    sender.accepted(&update("MRN-1", "C2", "Ada"));
    sender.accepted(&update("MRN-2", "D2", "Ben"));
    running.wait_deliveries("out", &[("delivered", 3), ("held", 1)]);
    assert!(reason(&site, "D2").starts_with("waits for consent: consent-cache-stale"), "{}", reason(&site, "D2"));
    assert_eq!(running.status().services[0].stale, 1);
}

#[test]
fn a_site_that_names_no_such_service_does_not_start() {
    let site = decided_by("us-tpo", "consent_service = \"exchang\"\n[outbound.fhir]\nurl = \"http://127.0.0.1:1\"\n");
    serve(&site, "127.0.0.1:1".parse().unwrap(), "");
    let output = site.run(&["check"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("there is no consent service"), "{told}");
    assert!(told.contains("did you mean `exchange`?"), "{told}");
    ship(&site, "us-tpo");
}
