//! The audit, as a privacy officer has it: what happened is told, and what was altered is found.

use serde_json::Value;

use crate::consent::{SYSTEM, break_glass, consent, file, site};
use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, Sink, Site, TO_OUT, http, wait_until};

/// The kinds of all events, in order.
fn kinds(site: &Site, more: &[&str]) -> Vec<String> {
    let listed = site.json(&[&["audit", "list"], more].concat());
    let kind = |line: &Value| line["event"]["kind"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(kind).collect()
}

fn count(site: &Site, kind: &str) -> usize {
    kinds(site, &["--kind", kind]).len()
}

fn patient(number: &str) -> String {
    format!("{SYSTEM}|{number}")
}

#[test]
fn who_got_a_patients_data_is_told_and_a_look_at_it_too() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    sender.accepted(&update("MRN-2", "C2", "Ben"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    let id = site.message("C1")["message"]["id"].as_str().unwrap().to_owned();
    site.cli(&["messages", "show", &id, "--original"]);
    wait_until("both are told", || count(&site, "disclosure") == 2);
    let treatment = site.json(&["disclosures", "--patient", &patient("MRN-1")]);
    assert_eq!(treatment, serde_json::json!([]), "treatment need not be accounted for");
    let all = site.json(&["disclosures", "--patient", &patient("MRN-1"), "--all"]);
    let [told] = &all.as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!((&told["event"]["message"], &told["event"]["destination"]), (&id.clone().into(), &"out".into()));
    let bundle = site.json(&["disclosures", "--patient", &patient("MRN-1"), "--all", "--fhir"]);
    assert_eq!(bundle["entry"][0]["resource"]["purposeOfEvent"][0]["coding"][0]["code"], "TREAT");
    let looked = |views: &Value| {
        views.as_array().unwrap().iter().position(|one| one["event"]["text"] == "the message as it came")
    };
    let views = || site.json(&["audit", "list", "--kind", "view"]);
    wait_until("the look is told", || looked(&views()).is_some());
    let views = views();
    let view = &views[looked(&views).unwrap()]["event"];
    assert_eq!(view["message"], id);
    assert!(view["by"].as_str().unwrap().starts_with("uid "), "{view}");
    let all = kinds(&site, &[]);
    assert!(all[0] == "start" && all.contains(&"decision".to_owned()), "{all:?}");
    wait_until("that the audit was read is told", || count(&site, "audit-read") > 0);
    let verified = site.json(&["audit", "verify"]);
    assert_eq!(verified["faults"], serde_json::json!([]));
    // Neither names nor identifiers are in its files.
    running.terminate();
    let lines = audit(&site);
    assert!(!["Ada", "MRN-1", "MRN-2"].iter().any(|word| lines.contains(word)), "{lines}");
}

/// The text of the chain.
fn audit(site: &Site) -> String {
    std::fs::read_to_string(site.path("data/audit/00000000000000000001.jsonl")).unwrap()
}

/// Killed at any time, the audit tells of each message and each delivery, each once.
#[test]
fn nothing_that_happened_is_missing_after_a_kill() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    for round in 0..4 {
        let running = site.start();
        let mut sender = Sender::connect(running.address("in"));
        for number in 0..25 {
            sender.accepted(&update(&format!("P{}", number % 5), &format!("C{round}-{number}"), "Ada"));
        }
        running.kill();
    }
    let running = site.start();
    running.wait_deliveries("out", &[("delivered", 100)]);
    wait_until("all is told", || count(&site, "disclosure") >= 100);
    running.terminate();
    assert_eq!(count(&site, "import"), 100);
    let told = site.json(&["audit", "list", "--kind", "disclosure"]);
    let mut deliveries: Vec<u64> =
        told.as_array().unwrap().iter().map(|line| line["event"]["delivery"].as_u64().unwrap()).collect();
    deliveries.sort_unstable();
    deliveries.dedup();
    assert_eq!((deliveries.len(), told.as_array().unwrap().len()), (100, 100));
    assert_eq!(site.json(&["audit", "verify"])["faults"], serde_json::json!([]));
}

#[test]
fn a_line_that_somebody_alters_is_named() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    running.terminate();
    let whole = site.run(&["audit", "verify"]);
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stdout));
    let (text, path) = (audit(&site), site.path("data/audit/00000000000000000001.jsonl"));
    let altered = text.replacen("\"destination\":\"out\"", "\"destination\":\"elsewhere\"", 1);
    assert_ne!(altered, text);
    std::fs::write(&path, altered).unwrap();
    let found = site.run(&["audit", "verify"]);
    let told = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{told}");
    assert!(told.contains("was changed") && told.contains("NOT whole"), "{told}");
    // Not even the last one can be altered, nor gone on from.
    let last = text.trim_end().rfind("\"kind\":\"").unwrap();
    std::fs::write(&path, format!("{}\"kind\":\"X{}", &text[..last], &text[last + 8..])).unwrap();
    let found = site.run(&["audit", "verify"]);
    let told = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1), "{told}");
    assert!(told.contains("was changed"), "{told}");
    let refused = site.command(&["run"]).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("is not as it was signed"), "{told}");
    std::fs::rename(site.path("data/audit"), site.path("data/audit.broken")).unwrap();
    let running = site.start();
    wait_until("what the log has is told again", || count(&site, "disclosure") == 1);
    drop(running);
}

/// The subtypes of DICOM of all events of a kind, with who they are by.
fn told(site: &Site, kind: &str) -> Vec<(String, String)> {
    let bundle = site.json(&["audit", "list", "--kind", kind, "--fhir"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
    events.map(|event| (text(&event["subtype"][0]["code"]), text(&event["agent"][1]["name"]))).collect()
}

/// DICOM 110127 and 110138: begun and over, by a person and by time alone.
#[test]
fn an_emergency_is_told_when_it_begins_and_when_it_is_over() {
    let fhir = Fhir::start();
    let site = site("park-unknown", &fhir.outbound(""));
    let running = site.start();
    let patient = patient("MRN-1");
    site.cli(&break_glass(&patient, "out", "OVRER"));
    let id = site.json(&["consent", "break-glass", "--list"])[0]["id"].as_str().unwrap().to_owned();
    site.cli(&["consent", "break-glass", "--end", &id]);
    let again = site.run(&["consent", "break-glass", "--end", &id]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is over since"));
    site.cli(&[&break_glass(&patient, "out", "OVRPS")[..], &["--for", "1s"]].concat());
    wait_until("both are told", || count(&site, "break-glass") == 2 && count(&site, "break-glass-end") >= 1);
    running.kill();
    // It ended while nobody looked.
    let over = || jiff::SignedDuration::from_secs(1) < tributary::engine::clock::now().duration_since(begun(&site));
    wait_until("its time is over", over);
    let running = site.start();
    wait_until("that it is over is told", || count(&site, "break-glass-end") == 2);
    running.terminate();
    let begun = told(&site, "break-glass");
    assert_eq!(begun, vec![("110127".to_owned(), "Dr E. Example".to_owned()); 2]);
    let over = told(&site, "break-glass-end");
    assert!(over[0].0 == "110138" && over[0].1.starts_with("uid "), "{over:?}");
    assert_eq!(over[1], ("110138".to_owned(), String::new()), "time alone has no name");
    let about = site.json(&["disclosures", "--patient", &patient, "--all"]);
    let kinds: Vec<&Value> = about.as_array().unwrap().iter().map(|line| &line["event"]["kind"]).collect();
    assert_eq!(kinds, ["break-glass", "break-glass-end", "break-glass", "break-glass-end"]);
}

/// When the last emergency began.
fn begun(site: &Site) -> jiff::Timestamp {
    let all = site.json(&["audit", "list", "--kind", "break-glass"]);
    all.as_array().unwrap().last().unwrap()["event"]["at"].as_str().unwrap().parse().unwrap()
}

/// HIPAA 164.312(b): each look at what is stored, each question about a patient and each order, with who it was.
#[test]
fn every_look_and_every_order_is_told_with_who_it_was() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let found = site.message("C1");
    let message = found["message"]["id"].as_str().unwrap().to_owned();
    let delivery = found["deliveries"][0]["id"].to_string();
    let patient = patient("MRN-1");
    let policy = site.path("policies/us-tpo.toml");
    let policy = policy.to_str().unwrap();
    site.cli(&["destinations", "pause", "out", "--reason", "asked"]);
    sender.accepted(&update("MRN-1", "C2", "Ada"));
    let waiting = site.delivery("C2")["id"].to_string();
    for (command, kind, text) in [
        (&["messages", "show", &message][..], "view", "what is known of the message"),
        (&["messages", "show", &message, "--original"], "view", "the message as it came"),
        (&["lineage", &message], "view", "the lineage of the message"),
        (&["lineage", &delivery], "view", "the lineage of its message"),
        (&["deliveries", "show", &delivery, "--content"], "view", "what a destination gets"),
        (&["messages", "search", "--patient", &patient], "query", "messages of a patient"),
        (&["consent", "list", "--patient", &patient], "view", "the Consents on file"),
        (&["consent", "explain", "--message", &message, "--to", "out"], "view", "why it may, or may not, go to out"),
        (&["consent", "simulate", "--policy", policy, "--since", "1h"], "query", "what the policy us-tpo would change"),
        (&["replay", &message, "--dry-run"], "view", "what a replay would change"),
        (&["replay", &message, "--reason", "asked"], "replay", "replay"),
        (&["deliveries", "hold", &waiting, "--reason", "asked"], "hold", "hold delivery"),
        (&["deliveries", "release", &waiting, "--reason", "asked"], "release", "release delivery"),
        (&["deliveries", "skip", &waiting, "--reason", "asked"], "skip", "skip delivery"),
        (&["destinations", "resume", "out"], "configuration", "resume destination out"),
        (&["channels", "pause", "in", "--reason", "asked"], "configuration", "pause channel in"),
        (&["reload"], "configuration", "reload"),
        (&["breach", "list"], "query", "what should not have been sent"),
        (&["disclosures", "--patient", &patient], "audit-read", "disclosures of a patient"),
        (&["audit", "list"], "audit-read", "listed"),
    ] {
        let ran = site.run(command);
        assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
        let is_told = |line: &Value| {
            let event = &line["event"];
            let by = event["by"].as_str().unwrap_or_default();
            event["text"].as_str().unwrap_or_default().starts_with(text) && by.starts_with("uid ")
        };
        wait_until(&format!("{command:?} is told"), || {
            site.json(&["audit", "list", "--kind", kind]).as_array().unwrap().iter().any(is_told)
        });
    }
    running.terminate();
}

/// BALP `AuthZconsent`: what was decided by a Consent names it, in the version that was weighed.
#[test]
fn a_decision_names_the_consent_in_its_version() {
    let fhir = Fhir::start();
    let site = site("us-tpo", &fhir.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    file(&site, &running, &consent("c1", "MRN-1", 5, "OPTIN", Value::Null));
    sender.accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    file(&site, &running, &consent("c1", "MRN-1", 6, "OPTOUT", Value::Null));
    sender.accepted(&update("MRN-1", "C2", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1), ("skipped", 1)]);
    sender.accepted(&update("MRN-2", "C3", "Ben"));
    running.wait_deliveries("out", &[("delivered", 2), ("skipped", 1)]);
    running.terminate();
    let bundle = site.json(&["audit", "list", "--kind", "decision", "--fhir"]);
    let of = |event: &Value| {
        let consent = event["entity"].as_array().unwrap().iter().find(|entity| entity["type"]["code"] == "Consent");
        let claims = event["meta"]["profile"][0].as_str().is_some_and(|profile| profile.ends_with("AuthZconsent"));
        (event["outcome"].as_str().unwrap().to_owned(), consent.map(|it| it["what"]["reference"].clone()), claims)
    };
    let decided: Vec<_> = bundle["entry"].as_array().unwrap().iter().map(|entry| of(&entry["resource"])).collect();
    let named = |version: &str| Some(Value::from(format!("Consent/c1/_history/{version}")));
    assert_eq!(
        decided,
        [("0".into(), named("1"), true), ("8".into(), named("2"), true), ("0".into(), None, false)],
        "{bundle:#}"
    );
    site.write("bundle.json", bundle.to_string());
    site.cli(&["validate", site.path("bundle.json").to_str().unwrap()]);
}

/// The log is kept for weeks and the audit for years: a backup has both, and goes on as one.
#[test]
fn a_backup_has_the_audit_and_goes_on_with_it() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = running.first_delivered();
    assert_eq!(count(&site, "disclosure"), 1);
    let lines = || kinds(&site, &[]).len();
    let (backup, before) = (site.path("backup"), lines());
    site.cli(&["store", "backup", backup.to_str().unwrap()]);
    sender.accepted(&update("P1", "C2", "Ada"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    running.terminate();
    std::fs::rename(site.path("data"), site.path("lost")).unwrap();
    std::fs::rename(&backup, site.path("data")).unwrap();
    assert!(
        std::fs::read_to_string(site.path("data/audit/00000000000000000001.jsonl")).unwrap().lines().count() >= before
    );
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C3", "Ada"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    assert_eq!(count(&site, "disclosure"), 2);
    running.terminate();
    let verified = site.json(&["audit", "verify"]);
    assert_eq!(verified["faults"], serde_json::json!([]), "{verified}");
    assert!(verified["signed"].as_u64() == verified["lines"].as_u64(), "{verified}");
}

/// A delivery to the organisation's own system is no disclosure, and is told all the same.
#[test]
fn what_stays_within_one_organisation_is_a_transfer() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    site.write("destinations/own.toml", format!("recipient = \"st-mary\"\n{}", sink.outbound("")));
    site.set_channel("in", &format!("{MLLP_IN}[[route]]\nto = [\"out\", \"own\"]\npurpose = \"HRESCH\"\n"));
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("P1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    running.wait_deliveries("own", &[("delivered", 1)]);
    let patient = patient("P1");
    let of = |more: &[&str]| {
        let told = site.json(&[&["disclosures", "--patient", &patient], more].concat());
        let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        let told: std::collections::BTreeSet<_> = told
            .as_array()
            .unwrap()
            .iter()
            .map(|line| (text(&line["event"], "kind"), text(&line["event"], "destination")))
            .collect();
        told
    };
    let (disclosure, transfer) = (("disclosure".into(), "out".into()), ("transfer".into(), "own".into()));
    assert_eq!(of(&[]), [disclosure.clone()].into());
    assert_eq!(of(&["--all"]), [disclosure, transfer].into());
    // What is repeated is told once, with how often.
    Sender::connect(running.address("in")).accepted(&update("P1", "C2", "Ada"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    let summary = site.json(&["disclosures", "--patient", &patient, "--summary"]);
    let [once] = &summary.as_array().unwrap()[..] else { panic!("{summary}") };
    assert_eq!((&once["count"], &once["purposes"]), (&2.into(), &serde_json::json!(["HRESCH"])));
    assert!(once["first"].as_str() < once["last"].as_str(), "{once}");
}

/// HIPAA 164.308(a)(5)(ii)(C): who tries credentials is told, without what was tried; and cannot fill the disk by it.
#[test]
fn failed_logins_are_told_without_the_credentials_and_many_by_their_number() {
    let web = format!("{HTTP_IN}auth = {{ bearer = {{ token = \"open-sesame\" }} }}\n{TO_OUT}");
    let site = Site::new().channel("web", &web).destination("out", "[outbound.file]\nfolder = \"out\"\n");
    let running = site.start();
    let address = running.address("web");
    let bundle = http::bundle("B1", "P1", "Ada");
    assert_eq!(http::post(address, "", &bundle).status, 401);
    assert_eq!(http::post(address, "Authorization: Bearer open-simsim\r\n", &bundle).status, 401);
    assert_eq!(http::get(address, "/status/0190").status, 401);
    for _ in 0..40 {
        assert_eq!(http::post(address, "Authorization: Bearer open-simsim\r\n", &bundle).status, 401);
    }
    assert_eq!(http::post(address, "Authorization: Bearer open-sesame\r\n", &bundle).status, 202);
    running.terminate();
    let told = site.json(&["audit", "list", "--kind", "failed-login", "--fhir"]);
    let events: Vec<&Value> = told["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]).collect();
    let outcomes: Vec<&Value> = events.iter().map(|event| &event["outcome"]).collect();
    assert_eq!(outcomes, ["4", "4", "4", "8"], "{told:#}");
    assert!(events[3]["outcomeDesc"].as_str().unwrap().starts_with("credentials refused 40 times, from 1 addresses"));
    let event = events[0];
    assert_eq!(
        (&event["type"]["code"], &event["subtype"][0]["code"], &event["agent"][1]["network"]["address"]),
        (&"110114".into(), &"110122".into(), &"127.0.0.1".into())
    );
    assert_eq!(event["agent"][1]["requestor"], true);
    let channel = |event: &Value| event["entity"].as_array().unwrap()[0]["what"]["identifier"]["value"].clone();
    assert_eq!(channel(event), "web");
    assert!(!audit(&site).contains("simsim") && !site.logs().contains("simsim"), "what was tried is told");
    assert!(site.logs().lines().filter(|line| line.contains("credentials refused")).count() <= 4);
    site.verify();
}
