//! What this engine made and sent comes back: it goes no further, and nothing else is taken for that.

use serde_json::{Value, json};

use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, HTTP_IN, MLLP_IN, QUICK, Sink, Site, TO_FHIR, TO_OUT, http};

/// What a repository gives back of its records with their history, as a Bundle.
fn given_back(fhir: &Fhir, kinds: &[&str], id: &str) -> Value {
    let resources = kinds.iter().flat_map(|kind| fhir.repository.resources(kind));
    let entries: Vec<Value> = resources
        .map(|resource| {
            let name = format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
            json!({ "fullUrl": format!("https://ehr.example/fhir/{name}"), "resource": resource })
        })
        .collect();
    assert!(!entries.is_empty());
    json!({
        "resourceType": "Bundle", "type": "collection",
        "identifier": { "system": "https://ehr.example/bundles", "value": id },
        "entry": entries,
    })
}

/// A provider's EMR sends HL7 v2 by `in`, and FHIR by `back`; the region's repository sends by `export`.
fn site(fhir: &Fhir, more: &str) -> Site {
    let to_file = "[[route]]\nto = \"file\"\npurpose = \"TREAT\"\n";
    let site = Site::new()
        .channel("in", &format!("{MLLP_IN}{TO_FHIR}{TO_OUT}"))
        .channel("back", &format!("{more}{HTTP_IN}{to_file}"))
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")))
        .destination("file", "[outbound.file]\nfolder = \"out\"\n");
    site.write("channels/export.toml", format!("provider = \"region\"\n{HTTP_IN}{to_file}"));
    site
}

const ALL: [&str; 4] = ["Patient", "Provenance", "Organization", "Device"];

#[test]
fn what_comes_back_to_the_provider_that_it_came_from_goes_no_further() {
    let fhir = Fhir::start();
    let site = site(&fhir, "");
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let post = |channel: &str, bundle: &Value| {
        let answer = http::post(running.address(channel), "", bundle.to_string().as_bytes());
        assert_eq!(answer.status, 202, "it is accepted: {}", answer.body);
    };
    let back = given_back(&fhir, &ALL, "back-1");
    post("back", &back);
    running.wait_messages(&[("delivered", 1), ("failed", 1)]);
    let reason = site.message("https://ehr.example/bundles|back-1")["message"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("loop: entry[") && reason.contains("ni:///sha-256;"), "{reason}");
    // Each Provenance of the chain of custody alone tells.
    let mut provenance = fhir.repository.resources("Provenance");
    provenance.retain(|one| one["agent"].to_string().contains("\"assembler\""));
    assert!(!provenance.is_empty());
    for (number, one) in provenance.iter().enumerate() {
        let mut bundle = given_back(&fhir, &["Patient"], &format!("one-{number}"));
        bundle["entry"].as_array_mut().unwrap().push(json!({ "resource": one }));
        post("back", &bundle);
    }
    running.wait_messages(&[("delivered", 1), ("failed", 1 + provenance.len() as u64)]);
    // Without them, or with one that names another message, it is news.
    post("back", &given_back(&fhir, &["Patient"], "news-1"));
    let mut other = given_back(&fhir, &["Patient"], "news-2");
    let mut altered = provenance[0].clone();
    altered["entity"][0]["what"]["identifier"]["value"] = json!(message::Sha256::of(b"another").to_ni_uri());
    other["entry"].as_array_mut().unwrap().push(json!({ "resource": altered }));
    post("back", &other);
    running.wait_messages(&[("delivered", 3), ("failed", 1 + provenance.len() as u64)]);
    // To the next provider it goes; what was made of it there does not come by that way again.
    post("export", &given_back(&fhir, &ALL, "export-1"));
    running.wait_messages(&[("delivered", 4), ("failed", 1 + provenance.len() as u64)]);
    let delivery = site.delivery("https://ehr.example/bundles|export-1")["id"].to_string();
    let exported = site.run(&["deliveries", "show", &delivery, "--content"]).stdout;
    let mut exported: Value = serde_json::from_slice(&exported).unwrap();
    exported["identifier"] = json!({ "system": "https://ehr.example/bundles", "value": "export-2" });
    post("export", &exported);
    running.wait_messages(&[("delivered", 4), ("failed", 2 + provenance.len() as u64)]);
    // It stays there when it is sent again.
    let id = site.message("https://ehr.example/bundles|back-1")["message"]["id"].as_str().unwrap().to_owned();
    site.cli(&["replay", &id, "--reason", "tried"]);
    running.wait_messages(&[("delivered", 4), ("failed", 2 + provenance.len() as u64)]);
    running.terminate();
    site.verify();
}

#[test]
fn a_channel_may_let_it_go_on() {
    let fhir = Fhir::start();
    let site = site(&fhir, "loops = \"pass\"\n");
    let running = site.start();
    Sender::connect(running.address("in")).accepted(&update("MRN-1", "C1", "Ada"));
    running.wait_deliveries("out", &[("delivered", 1)]);
    let back = given_back(&fhir, &ALL, "back-1");
    assert_eq!(http::post(running.address("back"), "", back.to_string().as_bytes()).status, 202);
    running.wait_messages(&[("delivered", 2)]);
}

/// HL7 v2 that is passed on as it came: what comes back is the same message.
#[test]
fn hl7v2_that_comes_back_as_it_left_is_a_duplicate() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = running.first_delivered();
    let left = sink.taken().remove(0);
    sender.accepted(&left);
    sender.accepted(&update("P1", "C2", "Ada"));
    running.wait_deliveries("out", &[("delivered", 2)]);
    assert_eq!(sink.control_ids(), ["C1", "C2"]);
}
