//! What holds of everything that is stamped: provenance on every entry, one confidentiality, the same
//! ids again.

use expect_test::expect;
use message::consent::{Confidentiality, Decision, Flags, Request, decide};
use message::{Body, Sha256};
use serde_json::{Value, json};

use super::*;
use crate::stamp::{Documents, LabelRule};

const RESULT: &str = "MSH|^~\\&|LIS|CENTRAL|||20260301120000+0000||ORU^R01^ORU_R01|M1|P|2.5.1\r\
    PID|1||P-1001^^^RIVERSIDE^MR||DOE^JANE\r\
    ORC|RE|PL1|FL1\rOBR|1|PL1|FL1|2345-7^Glucose^LN\r\
    OBX|1|NM|2345-7^Glucose^LN||95|mg/dL|||||F||||||||||||NORTH LAB^^^^^^^^^N1\r";

fn entry(resource: Value) -> Value {
    let kind = resource["resourceType"].as_str().unwrap().to_owned();
    let id = resource["id"].as_str().unwrap().to_owned();
    json!({
        "fullUrl": format!("urn:uuid:00000000-0000-5000-8000-{:0>12}", format!("{kind}{id}").len()),
        "resource": resource,
        "request": { "method": "PUT", "url": format!("{kind}/{id}") },
    })
}

fn transaction(entries: Vec<Value>) -> Value {
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

fn result_bundle() -> Value {
    transaction(vec![
        entry(json!({ "resourceType": "Patient", "id": "p" })),
        entry(json!({ "resourceType": "Encounter", "id": "e" })),
        entry(json!({ "resourceType": "Observation", "id": "o", "encounter": { "reference": "Encounter/e" } })),
    ])
}

/// Provenances with an agent in `role`.
fn with_role<'a>(bundle: &'a Value, role: &str) -> Vec<&'a Value> {
    let has = |provenance: &&Value| {
        let agents = provenance["agent"].as_array().unwrap();
        agents.iter().any(|agent| agent["type"]["coding"][0]["code"] == role)
    };
    resources(bundle, "Provenance").into_iter().filter(has).collect()
}

fn targets(provenance: &Value) -> Vec<&str> {
    provenance["target"].as_array().unwrap().iter().map(|target| target["reference"].as_str().unwrap()).collect()
}

/// PI-1: every record names its source and has an author and an assembler with its version.
#[test]
fn gives_every_record_its_provenance() {
    let (bundle, _) = stamped(&stamper(), converted(RESULT, result_bundle()));
    let records: Vec<&str> =
        bundle["entry"].as_array().unwrap().iter().take(3).map(|e| e["fullUrl"].as_str().unwrap()).collect();
    assert_eq!(targets(with_role(&bundle, "author")[0]), records);
    let assembled = with_role(&bundle, "assembler");
    assert_eq!(targets(assembled[0]), records);
    assert_eq!(assembled[0]["agent"][0]["who"]["display"], "tributary 0.1.0");
    assert!(assembled[0]["agent"][0]["onBehalfOf"]["reference"].is_string());
    for kind in ["Patient", "Encounter", "Observation"] {
        let source = &resources(&bundle, kind)[0]["meta"]["source"];
        assert_eq!(source, "https://tributary.example.org/source/CENTRAL/LIS#M1");
    }
}

/// PI-2: the source is named by the hash of the bytes as they came.
#[test]
fn names_the_original_bytes_by_their_hash() {
    let (bundle, message) = stamped(&stamper(), converted(RESULT, result_bundle()));
    let name = Sha256::of(&message.original.bytes).to_ni_uri();
    for provenance in resources(&bundle, "Provenance") {
        assert_eq!(provenance["entity"][0]["what"]["identifier"]["value"], name.as_str());
    }
}

/// PI-3: a hub passes on; the author is who produced the results.
#[test]
fn never_takes_a_hub_for_an_author() {
    let hub = Provider { hub: true, ..provider() };
    let stamper = Stamper::new(&context(hub), Flags::default(), &StampOptions::default()).unwrap();
    let (bundle, _) = stamped(&stamper, converted(RESULT, result_bundle()));
    let author = &with_role(&bundle, "author")[0]["agent"][0];
    assert_eq!(author["who"]["identifier"]["value"], "N1");
    let transmitter = &with_role(&bundle, "transmitter")[0]["agent"][1];
    assert_eq!(transmitter["onBehalfOf"]["display"], "CENTRAL");
}

#[test]
fn says_unknown_where_a_hub_names_no_author() {
    let hub = Provider { hub: true, ..provider() };
    let stamper = Stamper::new(&context(hub), Flags::default(), &StampOptions::default()).unwrap();
    let (bundle, _) = stamped(&stamper, received(&json!({ "resourceType": "Patient", "id": "1" })));
    let who = &with_role(&bundle, "author")[0]["agent"][0]["who"];
    assert_eq!(who["extension"][0]["valueCode"], "unknown");
}

/// PI-4: Provenance that came is still there, unchanged but for what it points to.
#[test]
fn keeps_provenance_that_came() {
    let theirs = json!({
        "resourceType": "Provenance",
        "id": "theirs",
        "target": [{ "reference": "Patient/1" }],
        "recorded": "2020-01-01T00:00:00Z",
        "agent": [{ "who": { "display": "Somebody" } }],
        "signature": [{ "data": "eA==" }],
    });
    let bundle = json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{ "resource": { "resourceType": "Patient", "id": "1" } }, { "resource": theirs }],
    });
    let (bundle, _) = stamped(&stamper(), received(&bundle));
    let kept = resources(&bundle, "Provenance")[0];
    assert_eq!(kept["target"][0]["reference"], bundle["entry"][0]["fullUrl"]);
    for member in ["recorded", "agent", "signature"] {
        assert_eq!(kept[member], theirs[member]);
    }
    assert_eq!(resources(&bundle, "Provenance").len(), 3);
}

/// What the conversion tells of an entry is not told again, and gets its source.
#[test]
fn completes_provenance_that_the_conversion_made() {
    let text = RESULT.replace("ORC|RE|PL1|FL1\r", "ORC|NW|PL1|FL1||||||20260301|T9^Entry^Tom\r");
    let mut bundle = result_bundle();
    let orders = |bundle: &Value| {
        let activity = |provenance: &&Value| provenance["activity"]["coding"][0]["code"] == "CREATE";
        resources(bundle, "Provenance").into_iter().filter(activity).cloned().collect::<Vec<_>>()
    };
    let (alone, _) = stamped(&stamper(), converted(&text, bundle.clone()));
    assert_eq!(orders(&alone)[0]["agent"][0]["who"]["identifier"]["value"], "T9");
    let target = bundle["entry"][2]["fullUrl"].clone();
    let theirs = entry(json!({ "resourceType": "Provenance", "id": "theirs", "target": [{ "reference": target }] }));
    bundle["entry"].as_array_mut().unwrap().push(theirs);
    let (beside, message) = stamped(&stamper(), converted(&text, bundle));
    assert!(orders(&beside).is_empty());
    let again = stamper().stamp(message.clone(), now()).unwrap();
    assert_eq!(again.body.to_bytes(), message.body.to_bytes());
    let name = message.original.sha256.to_ni_uri();
    assert_eq!(resources(&beside, "Provenance")[0]["entity"][0]["what"]["identifier"]["value"], name.as_str());
}

/// The organisation that the conversion made of MSH-4 is the author, not another of the same name.
#[test]
fn names_the_organisation_that_the_conversion_wrote() {
    let mut bundle = result_bundle();
    let header = json!({ "resourceType": "MessageHeader", "id": "h", "sender": { "reference": "urn:uuid:org" } });
    bundle["entry"].as_array_mut().unwrap().push(entry(header));
    let (bundle, _) = stamped(&stamper(), converted(RESULT, bundle));
    assert_eq!(with_role(&bundle, "author")[0]["agent"][0]["who"]["reference"], "urn:uuid:org");
}

/// A sender's meta.source is its own claim of origin: it becomes one of ours' sources.
#[test]
fn keeps_the_senders_meta_source_as_an_entity() {
    let patient = json!({ "resourceType": "Patient", "id": "1", "meta": { "source": "https://emr.example.org/x#1" } });
    let (bundle, _) = stamped(&stamper(), received(&patient));
    let sources = &with_role(&bundle, "author")[0]["entity"];
    assert_eq!(sources[1]["what"]["identifier"]["value"], "https://emr.example.org/x#1");
    assert_eq!(sources.as_array().unwrap().len(), 2);
}

/// PI-5: one Provenance for each transform; one of receipt where none ran.
#[test]
fn leaves_one_provenance_a_transform() {
    let mut message = converted(RESULT, result_bundle());
    message.steps.push(Step { transform: "script".to_owned(), ..message.steps[0].clone() });
    let (bundle, _) = stamped(&stamper(), message);
    let activities: Vec<&Value> =
        with_role(&bundle, "assembler").iter().map(|p| &p["activity"]["coding"][0]["code"]).collect();
    assert_eq!(activities, ["v2-fhir-transformation", "transform"]);
    let (bundle, _) = stamped(&stamper(), received(&json!({ "resourceType": "Patient", "id": "1" })));
    assert_eq!(with_role(&bundle, "assembler")[0]["activity"]["coding"][0]["code"], "receive");
}

/// PI-7: a replay gives the same resources and ids; only the time of record is another.
#[test]
fn gives_the_same_ids_on_replay() {
    let once = stamper().stamp(converted(RESULT, result_bundle()), now()).unwrap();
    let later = now() + jiff::SignedDuration::from_hours(24);
    let mut again = converted(RESULT, result_bundle());
    again.steps[0].at = later;
    let again = stamper().stamp(again, later).unwrap();
    let (Body::Fhir(once), Body::Fhir(again)) = (once.body, again.body) else { panic!("it is no FHIR") };
    let (mut once, mut again) = (Value::from(once), Value::from(again));
    for bundle in [&mut once, &mut again] {
        for entry in bundle["entry"].as_array_mut().unwrap() {
            entry["resource"].as_object_mut().unwrap().remove("recorded");
        }
    }
    assert_eq!(once, again);
}

/// Another version of the tables is another transformation, with its own Provenance.
#[test]
fn tells_versions_of_a_transform_apart() {
    let url = |version: &str| {
        let mut message = converted(RESULT, result_bundle());
        message.steps[0].version = version.to_owned();
        let (bundle, _) = stamped(&stamper(), message);
        with_role(&bundle, "assembler")[0]["id"].clone()
    };
    assert_ne!(url("aa"), url("bb"));
}

/// PI-11, CV-115.
#[test]
fn holds_test_data_from_production() {
    let text = RESULT.replace("|M1|P|", "|M1|T|");
    let (bundle, message) = stamped(&stamper(), converted(&text, result_bundle()));
    assert_eq!(
        labels(resources(&bundle, "Patient")[0]),
        ["Confidentiality|N", "ActReason|HTEST", "ObservationValue|MAPPED"]
    );
    let purposes = purposes("TREAT");
    let request = Request { recipient: "gp", purposes: &purposes, production: true, clearance: Confidentiality::V };
    assert!(matches!(decide(&request, &message.flags), Decision::Hold { .. }));
}

/// CV-129: the label of the whole tells how confidential it is and nothing else.
#[test]
fn marks_the_bundle_with_the_highest_confidentiality_alone() {
    let label = |system: &str, code: &str| json!({ "system": format!("http://terminology.hl7.org/CodeSystem/{system}"), "code": code });
    let restricted = json!({
        "resourceType": "Condition",
        "id": "c1",
        "meta": { "security": [label("v3-ActCode", "HIV"), label("v3-Confidentiality", "R"), label("v3-ActCode", "NODSCLCD")] },
    });
    let bundle = transaction(vec![
        entry(restricted),
        entry(json!({ "resourceType": "MessageHeader", "id": "header" })),
        entry(json!({ "resourceType": "Condition", "id": "second" })),
    ]);
    let (bundle, message) = stamped(&stamper(), received(&bundle));
    assert_eq!(labels(&bundle), ["Confidentiality|R"]);
    assert_eq!(labels(resources(&bundle, "MessageHeader")[0]), ["Confidentiality|R"]);
    assert_eq!(labels(resources(&bundle, "Condition")[1]), ["Confidentiality|N"]);
    assert_eq!(message.flags.confidentiality, Confidentiality::R);
    assert!(message.flags.refrain.contains("NODSCLCD"));
}

#[test]
fn stamps_the_purposes_that_the_channel_allows() {
    let (bundle, message) = stamped(&stamper_for("TREAT HPAYMT"), converted(RESULT, result_bundle()));
    let expected = ["Confidentiality|N", "ActReason|HPAYMT", "ActReason|TREAT", "ObservationValue|MAPPED"];
    assert_eq!(labels(resources(&bundle, "Patient")[0]), expected);
    assert_eq!(message.flags.purposes, Some(purposes("HPAYMT TREAT")));
}

/// A sender's own restriction is narrowed, never widened; the message may be used as its narrowest part may.
#[test]
fn narrows_the_senders_purposes() {
    let tag = |code: &str| json!({ "system": message::consent::ACT_REASON, "code": code });
    let own = json!({ "resourceType": "Patient", "id": "1", "meta": { "security": [tag("ETREAT"), tag("HRESCH")] } });
    let bundle = transaction(vec![entry(own), entry(json!({ "resourceType": "Observation", "id": "2" }))]);
    let (bundle, message) = stamped(&stamper_for("TREAT"), received(&bundle));
    assert_eq!(labels(resources(&bundle, "Patient")[0]), ["Confidentiality|N", "ActReason|ETREAT"]);
    assert_eq!(labels(resources(&bundle, "Observation")[0]), ["Confidentiality|N", "ActReason|TREAT"]);
    assert_eq!(message.flags.purposes, Some(purposes("ETREAT")));
}

#[test]
fn leaves_no_purpose_where_sender_and_channel_agree_on_none() {
    let tag = json!({ "system": message::consent::ACT_REASON, "code": "HRESCH" });
    let own = json!({ "resourceType": "Patient", "id": "1", "meta": { "security": [tag] } });
    let (_, message) = stamped(&stamper_for("TREAT"), received(&own));
    assert_eq!(message.flags.purposes, Some(purposes("")));
}

/// A document that is kept whole is one resource, labelled with the highest of what is in it.
#[test]
fn keeps_a_document_whole_where_the_channel_says_so() {
    let options = StampOptions { documents: Documents::Whole, ..StampOptions::default() };
    let stamper = Stamper::new(&context(provider()), Flags::default(), &options).unwrap();
    let composition = json!({ "resourceType": "Composition", "confidentiality": "V", "title": "T" });
    let document = json!({
        "resourceType": "Bundle",
        "type": "document",
        "identifier": { "system": "urn:ex", "value": "1" },
        "entry": [{ "fullUrl": "urn:uuid:1", "resource": composition }],
    });
    let (bundle, message) = stamped(&stamper, received(&document));
    assert_eq!(bundle["entry"][0]["request"]["url"], "Bundle?identifier=urn:ex%7C1");
    assert_eq!(bundle["entry"][0]["resource"]["entry"], document["entry"]);
    assert_eq!(labels(&bundle["entry"][0]["resource"]), ["Confidentiality|V"]);
    assert_eq!(message.flags.confidentiality, Confidentiality::V);
}

/// PI-15: what is signed stays as it was signed.
#[test]
fn leaves_a_signed_document_untouched() {
    let options = StampOptions { documents: Documents::Whole, ..StampOptions::default() };
    let stamper = Stamper::new(&context(provider()), Flags::default(), &options).unwrap();
    let document = json!({
        "resourceType": "Bundle",
        "identifier": { "system": "urn:ex", "value": "1" },
        "type": "document",
        "entry": [],
        "signature": { "data": "eA==" },
    });
    let (bundle, _) = stamped(&stamper, received(&document));
    assert_eq!(bundle["entry"][0]["resource"], document);
}

#[test]
fn leaves_hl7v2_as_it_stands_and_reads_its_flags() {
    let text = RESULT.replace("PL1|FL1\rOBR", &format!("PL1|FL1{}V\rOBR", "|".repeat(25)));
    let message = stamper().stamp(received_hl7v2(&text), now()).unwrap();
    assert_eq!(message.flags.confidentiality, Confidentiality::V);
    assert_eq!(message.flags, stamper().flags_of(&received_hl7v2(&text)));
    assert_eq!(message.body.to_bytes(), text);
}

/// A site's rule comes before ours.
#[test]
fn asks_the_sites_rules_first() {
    let rule: LabelRule = toml_rule("from = \"PV1-10\"\nvalue = [\"PSI\"]\non = \"visit\"\nlabel = [\"PSY\", \"R\"]");
    let options = StampOptions { label: vec![rule], ..StampOptions::default() };
    let stamper = Stamper::new(&context(provider()), Flags::default(), &options).unwrap();
    let text = format!("{RESULT}PV1|1|I||||||||PSI\r");
    let (bundle, _) = stamped(&stamper, converted(&text, result_bundle()));
    assert_eq!(
        labels(resources(&bundle, "Encounter")[0]),
        ["Confidentiality|R", "ActCode|PSY", "ObservationValue|MAPPED"]
    );
    assert_eq!(
        labels(resources(&bundle, "Observation")[0]),
        ["Confidentiality|R", "ActCode|PSY", "ObservationValue|MAPPED"]
    );
    assert_eq!(labels(resources(&bundle, "Patient")[0]), ["Confidentiality|N", "ObservationValue|MAPPED"]);
}

fn toml_rule(text: &str) -> LabelRule {
    toml::from_str(text).unwrap()
}

#[test]
fn refuses_a_rule_that_cannot_be_used() {
    let check = |text: &str, expected: expect_test::Expect| {
        let options = StampOptions { label: vec![toml_rule(text)], ..StampOptions::default() };
        let error = Stamper::new(&context(provider()), Flags::default(), &options).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    check(
        "from = \"PV1\"\non = \"visit\"",
        expect!["label rule for `PV1`: `PV1` must name a field or a component, such as PV1-3.1"],
    );
    check(
        "from = \"pv1\"\non = \"visit\"",
        expect!["label rule for `pv1`: `pv1` is no HL7 path; write it like PID-3[1].4.2"],
    );
    check(
        "from = \"PV1-10\"\non = \"visit\"\nlabel = [\"very secret\"]",
        expect![
            "label rule for `PV1-10`: `very secret` is no label: write a Confidentiality or ActCode code, such as R or HIV"
        ],
    );
    check(
        "from = \"PV1-10\"\non = \"visit\"\ngiven = { field = \"PV2-1\" }",
        expect!["label rule for `PV1-10`: `PV2-1` is not in the same segment"],
    );
}
