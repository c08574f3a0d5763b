//! `X-Provenance`: a Provenance in a header is about all that the request writes, and travels with it.

use serde_json::{Value, json};

use crate::kit::{Fhir, HTTP_IN, QUICK, Running, Site, TO_OUT, http};

fn site(fhir: &Fhir) -> Site {
    Site::new()
        .channel("in", &format!("{HTTP_IN}{TO_OUT}"))
        .destination("out", &format!("{}{QUICK}", fhir.outbound("")))
}

/// By somebody with this name; without a target, as FHIR R4 has it.
fn provenance(author: &str) -> Value {
    let role = json!({ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author" }] });
    json!({
        "resourceType": "Provenance",
        "recorded": "2026-03-01T12:00:00Z",
        "agent": [{ "type": role, "who": { "display": author }, "onBehalfOf": { "display": "Lake Clinic" } }],
    })
}

fn post(running: &Running<'_>, provenance: &str, body: &[u8]) -> http::Answer {
    http::post(running.address("in"), &format!("X-Provenance: {provenance}\r\n"), body)
}

/// What arrived by this author: one Provenance, and the names of what it is about.
fn arrived(fhir: &Fhir, author: &str) -> Value {
    let all = fhir.repository.resources("Provenance");
    let mut theirs = all.iter().filter(|one| one["agent"][0]["who"]["display"] == author);
    let found = theirs.next().unwrap_or_else(|| panic!("{all:#?}")).clone();
    assert!(theirs.next().is_none());
    found
}

fn kinds(provenance: &Value) -> Vec<String> {
    let targets = provenance["target"].as_array().unwrap().iter();
    targets.map(|target| target["reference"].as_str().unwrap().split('/').next().unwrap().to_owned()).collect()
}

#[test]
fn a_provenance_in_a_header_is_about_all_that_the_request_writes() {
    let fhir = Fhir::start();
    let site = site(&fhir);
    let running = site.start();
    // A transaction.
    let first = provenance("Dr Ash");
    let bundle = http::bundle("B1", "P1", "Ada");
    let answer = post(&running, &first.to_string(), &bundle);
    assert_eq!(answer.status, 202, "{}", answer.body);
    running.wait_deliveries("out", &[("delivered", 1)]);
    let told = arrived(&fhir, "Dr Ash");
    assert_eq!(kinds(&told), ["Patient"]);
    for key in ["recorded", "agent"] {
        assert_eq!(told[key], first[key], "it is kept as it came");
    }
    // Its author stands, and ours adds none; what the engine did is told beside it.
    let ours = fhir.repository.resources("Provenance");
    let authors = ours.iter().flat_map(|one| one["agent"].as_array().unwrap()).filter(|agent| {
        agent["type"]["coding"].as_array().into_iter().flatten().any(|coding| coding["code"] == "author")
    });
    assert_eq!(authors.filter(|agent| agent["who"]["display"] != "Dr Ash").count(), 0, "{ours:#?}");
    assert!(ours.iter().any(|one| one["agent"].to_string().contains("assembler")));
    // The bytes are those of the body alone, and so is their hash.
    let id = site.messages()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.run(&["messages", "show", &id, "--original"]).stdout, bundle);
    // The same again is a duplicate; with another Provenance it is another message.
    assert_eq!(post(&running, &first.to_string(), &bundle).status, 202);
    assert_eq!(post(&running, &provenance("Dr Birch").to_string(), &bundle).status, 202);
    running.wait_deliveries("out", &[("delivered", 2)]);
    assert_eq!(
        (kinds(&arrived(&fhir, "Dr Ash")), kinds(&arrived(&fhir, "Dr Birch"))),
        (vec!["Patient".to_owned()], vec!["Patient".to_owned()])
    );
    // A resource of its own, and a collection; each replay gives the same.
    let patient = |number: &str| json!({ "resourceType": "Patient", "identifier": [{ "system": "https://lake.example/mrn", "value": number }] });
    assert_eq!(post(&running, &provenance("Dr Cedar").to_string(), patient("P2").to_string().as_bytes()).status, 202);
    let collection = json!({ "resourceType": "Bundle", "type": "collection", "entry": [
        { "fullUrl": "urn:uuid:7c1e2f0a-5d0b-4d6e-9a55-0c3f3b1a1003", "resource": patient("P3") },
        { "resource": { "resourceType": "Flag", "status": "active", "code": { "text": "falls" },
          "subject": { "reference": "urn:uuid:7c1e2f0a-5d0b-4d6e-9a55-0c3f3b1a1003" } } },
    ] });
    assert_eq!(post(&running, &provenance("Dr Dale").to_string(), collection.to_string().as_bytes()).status, 202);
    running.wait_deliveries("out", &[("delivered", 4)]);
    assert_eq!(kinds(&arrived(&fhir, "Dr Cedar")), ["Patient"]);
    let mut of_both = kinds(&arrived(&fhir, "Dr Dale"));
    of_both.sort();
    assert_eq!(of_both, ["Flag", "Patient"]);
    let before = fhir.repository.resources("Provenance").len();
    let id = site.messages()[0]["id"].as_str().unwrap().to_owned();
    site.cli(&["replay", &id, "--reason", "tried"]);
    running.wait_deliveries("out", &[("delivered", 5)]);
    assert_eq!(fhir.repository.resources("Provenance").len(), before);
    arrived(&fhir, "Dr Dale");
    running.terminate();
    site.verify();
}

/// What was taken survives a crash before it was transformed: the header is on disk with the body.
#[test]
fn it_is_on_disk_before_it_is_answered_for() {
    let fhir = Fhir::start();
    let site = site(&fhir);
    let mut expected = Vec::new();
    for round in 0..4 {
        let running = site.start();
        for number in 0..10 {
            let author = format!("Dr {round}-{number}");
            let bundle = http::bundle(&format!("B{round}-{number}"), &format!("P{number}"), "Ada");
            assert_eq!(post(&running, &provenance(&author).to_string(), &bundle).status, 202);
            expected.push(author);
        }
        running.kill();
    }
    let running = site.start();
    running.wait_deliveries("out", &[("delivered", 40)]);
    for author in expected {
        assert_eq!(kinds(&arrived(&fhir, &author)), ["Patient"]);
    }
}

#[test]
fn one_that_is_not_r4_is_refused_with_what_is_wrong() {
    let fhir = Fhir::start();
    let site = site(&fhir);
    let running = site.start();
    let bundle = http::bundle("B1", "P1", "Ada");
    let with_target = json!({ "target": [{ "reference": "Patient/1" }] });
    let mut aimed = provenance("Dr Ash");
    aimed.as_object_mut().unwrap().extend(with_target.as_object().unwrap().clone());
    let mut unsaid = provenance("Dr Ash");
    unsaid.as_object_mut().unwrap().remove("recorded");
    let mut long = provenance("Dr Ash");
    long["agent"][0]["who"]["display"] = json!("A".repeat(17 << 10));
    for (given, says) in [
        ("{".to_owned(), "cannot be read"),
        (json!({ "resourceType": "Patient" }).to_string(), "is no Provenance"),
        (aimed.to_string(), "has no target"),
        (unsaid.to_string(), "is not valid: Provenance"),
        (long.to_string(), "is longer than 16384 bytes"),
        (format!("{}\r\nX-Provenance: {}", provenance("Dr A"), provenance("Dr B")), "is one Provenance"),
    ] {
        let answer = post(&running, &given, &bundle);
        assert!(answer.status == 400 && answer.body.contains(says), "{says}: {} {}", answer.status, answer.body);
        assert!(!answer.body.contains("Dr A"), "{}", answer.body);
    }
    assert!(site.messages().is_empty(), "nothing of it is kept");
}
