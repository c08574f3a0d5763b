//! The sixteen invariants of provenance, over the corpora and over generated messages. Those that need a running
//! engine are proven once more in `tests/it/provenance.rs`.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail loudly")]
#![allow(clippy::print_stderr, reason = "how much was looked at is of interest")]

mod corpus;
mod provenance;

use std::collections::BTreeSet;

use message::consent::by_entry::Notice;
use message::consent::{Confidentiality, Decision, Purpose, Request, decide, redact};
use message::{Message, Sha256};
use provenance::*;
use serde_json::{Value, json};

/// What a message leaves as, and what it was.
type Stamped<'a> = (&'a Value, &'a Message);

/// Holds of every message of the corpora and of many generated ones, from a hospital and from a hub.
fn always(holds: impl Fn(Stamped<'_>)) {
    for (bundle, message) in STAMPED.iter() {
        holds((bundle, message));
    }
}

fn is_unknown(who: &Value) -> bool {
    list(who, "extension").any(|extension| extension["valueCode"] == "unknown")
}

#[test]
fn pi_1_every_record_names_its_source_its_author_and_its_assembler() {
    always(|(bundle, _)| {
        for place in places(bundle, "") {
            let resource = &bundle["entry"][place]["resource"];
            assert!(resource["meta"]["source"].as_str().is_some_and(|source| source.contains('#')));
            let provenances = of_entry(bundle, place);
            let kind = &resource["resourceType"];
            let authors: Vec<&Value> = provenances.iter().flat_map(|p| agents(p, "author")).collect();
            assert!(!authors.is_empty(), "{kind} has no author");
            for author in authors {
                let who = &author["who"];
                let is_said = ["reference", "identifier", "display"].iter().any(|key| who.get(key).is_some());
                assert!(is_said || is_unknown(who), "{kind}: an author is nobody");
            }
            let assembled: Vec<&Value> = provenances.iter().flat_map(|p| agents(p, "assembler")).collect();
            assert!(assembled.iter().any(|agent| agent["who"]["display"] == ENGINE), "{kind} has no assembler");
        }
    });
}

/// US Core's provenance-1, of everything that the engine or its conversion wrote.
#[test]
fn pi_1_who_acts_for_somebody_says_for_whom() {
    always(|(bundle, message)| {
        if message.as_received().is_none() {
            return;
        }
        let kind_of = |who: &Value| {
            let named = list(bundle, "entry").find(|entry| entry["fullUrl"] == who["reference"]);
            let own = named.filter(|_| who["reference"].is_string()).map(|entry| &entry["resource"]["resourceType"]);
            own.unwrap_or(&who["type"]).as_str().unwrap_or_default().to_owned()
        };
        for agent in resources(bundle, "Provenance").into_iter().flat_map(|provenance| list(provenance, "agent")) {
            assert!(!codes(agent, "type").is_empty(), "an agent has no role");
            if matches!(kind_of(&agent["who"]).as_str(), "Practitioner" | "PractitionerRole" | "Device") {
                assert!(agent["onBehalfOf"].is_object(), "nobody stands behind an agent");
            }
        }
    });
}

#[test]
fn pi_2_the_source_is_named_by_the_hash_of_the_bytes_as_they_came() {
    always(|(bundle, message)| {
        let name = Sha256::of(&message.original.bytes).to_ni_uri();
        for place in places(bundle, "") {
            let named = of_entry(bundle, place).into_iter().flat_map(|provenance| list(provenance, "entity"));
            let mut named = named.filter(|entity| entity["role"] == "source");
            assert!(named.any(|entity| entity["what"]["identifier"]["value"] == name.as_str()));
        }
    });
}

#[test]
fn pi_3_a_hub_is_no_author_unless_it_produced_the_result() {
    let hub = Pipeline::new(hub());
    for text in some_generated() {
        let (bundle, _) = hub.now(text.as_bytes()).expect("a message");
        for provenance in resources(&bundle, "Provenance") {
            // Of a change to the patient's record the facility says that it made it.
            let is_source = codes(provenance, "activity").is_empty();
            for author in agents(provenance, "author").into_iter().filter(|_| is_source) {
                assert_ne!(author["who"]["display"], "CENTRAL");
            }
        }
    }
    // Unless it is the performing organisation as well.
    let text = RESULTS.replace("North Lab", "CENTRAL");
    let (bundle, _) = hub.now(text.as_bytes()).expect("a message");
    let observation = places(&bundle, "Observation")[0];
    let authors: Vec<&Value> = of_entry(&bundle, observation).into_iter().flat_map(|p| agents(p, "author")).collect();
    assert!(authors.iter().any(|author| author["who"]["display"] == "CENTRAL"));
}

const RESULTS: &str = "MSH|^~\\&|LIS|CENTRAL|||20260301120000+0000||ORU^R01^ORU_R01|M1|P|2.5.1\r\
    PID|1||P-1001^^^RIVERSIDE^MR||Quill^Wren\r\
    ORC|NW|PL1|FL1||||||20260301080000+0000|T9^Entry^Tom|V9^Verify^Vic|D1^Who^Doctor\rOBR|1|PL1|FL1|2345-7^Glucose^LN\r\
    OBX|1|NM|2345-7^Glucose^LN||95|mg/dL|||||F|||20260301113000+0000||TECH1^Tech^Tess||DEV7^^2.999.5^ISO|||||North Lab^^^^^^^^^N1\r\
    OBX|2|NM|2951-2^Sodium^LN||140|mmol/L|||||F|||20260301113000+0000||TECH2^Tech^Tom|||||||South Lab^^^^^^^^^S2\r";

/// Each result of a hub's has its own laboratory for an author.
#[test]
fn pi_3_results_of_two_laboratories_have_an_author_each() {
    let (bundle, _) = Pipeline::new(hub()).now(RESULTS.as_bytes()).expect("a message");
    let by_result = places(&bundle, "Observation").into_iter().map(|place| {
        let sources = of_entry(&bundle, place).into_iter().filter(|p| !agents(p, "transmitter").is_empty());
        sources.flat_map(|p| agents(p, "author")).map(|a| a["who"]["display"].as_str().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(by_result.collect::<Vec<_>>(), [["North Lab"], ["South Lab"]]);
}

/// FHIR with Provenance, a nearer author, and a sender's `meta.source`.
fn bundle_with_provenance() -> Value {
    json!({
        "resourceType": "Bundle", "type": "collection", "entry": [
            { "fullUrl": "https://emr.example.org/Patient/1", "resource": { "resourceType": "Patient", "id": "1" } },
            { "fullUrl": "https://emr.example.org/Observation/2", "resource": {
                "resourceType": "Observation", "id": "2", "performer": [{ "reference": "Practitioner/9" }],
                "meta": { "source": "https://lab.example.org/x#1", "security": [
                    { "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "AIAST" },
                ] },
            } },
            { "fullUrl": "https://emr.example.org/Condition/3", "resource": {
                "resourceType": "Condition", "id": "3", "recorder": { "display": "Dr Near" },
            } },
            { "resource": {
                "resourceType": "Provenance", "id": "theirs", "target": [{ "reference": "Observation/2" }],
                "recorded": "2020-01-01T00:00:00Z", "signature": [{ "data": "eA==" }],
                "agent": [{
                    "type": { "coding": [{ "code": "author" }] },
                    "who": { "type": "Device", "identifier": { "system": "urn:ex", "value": "assistant" } },
                }],
                "entity": [{ "role": "derivation", "what": { "reference": "Patient/1" } }],
                "occurredPeriod": { "start": "2019-12-31", "end": "2020-01-01" }, "policy": ["https://lab.example.org/policy"],
                "location": { "display": "Ward 3" }, "reason": [{ "text": "asked for" }],
                "activity": { "text": "read out by a model" }, "extension": [{ "url": "urn:ex:score", "valueDecimal": 0.10 }],
            } },
        ],
    })
}

#[test]
fn pi_4_provenance_that_came_stays_and_is_added_to() {
    let sent = bundle_with_provenance();
    let (bundle, _) = Pipeline::new(hospital()).now(sent.to_string().as_bytes()).expect("a message");
    let theirs = &sent["entry"][3]["resource"];
    let kept = resources(&bundle, "Provenance")[0];
    // All of it but what it is called, what it is labelled and whom it refers to: no member more, and none less.
    let plain = |provenance: &Value| {
        let mut members = provenance.as_object().expect("a resource").clone();
        ["id", "meta", "target"].iter().for_each(|name| drop(members.remove(*name)));
        members["entity"][0]["what"]["reference"] = json!("");
        members
    };
    assert_eq!(plain(kept), plain(theirs));
    assert_eq!(kept["entity"][0]["what"]["reference"], bundle["entry"][0]["fullUrl"]);
    assert_eq!(list(kept, "target").count(), 1);
    assert_eq!(kept["target"][0]["reference"], bundle["entry"][1]["fullUrl"]);
    // What names its author is not given another; what says who recorded it has that for an author.
    let authors = |place: usize| {
        let all: Vec<&Value> = of_entry(&bundle, place).into_iter().flat_map(|p| agents(p, "author")).collect();
        all.into_iter().map(|author| author["who"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(authors(1), [theirs["agent"][0]["who"].clone()]);
    assert_eq!(authors(2), [json!({ "display": "Dr Near" })]);
    assert_eq!(authors(0).len(), 1);
    // The sender's own claim of origin is one of our sources.
    let sources = resources(&bundle, "Provenance").into_iter().flat_map(|p| list(p, "entity"));
    assert!(sources.into_iter().any(|e| e["what"]["identifier"]["value"] == "https://lab.example.org/x#1"));
    // And a second engine adds to what the first wrote.
    let all = |bundle: &Value| {
        let each = resources(bundle, "Provenance").into_iter().map(|p| (p["id"].to_string(), p["agent"].to_string()));
        each.collect::<BTreeSet<_>>()
    };
    let (again, _) = Pipeline::new(hub()).now(bundle.to_string().as_bytes()).expect("a message");
    let (first, second) = (all(&bundle), all(&again));
    assert!(first.is_subset(&second) && second.len() > first.len());
}

#[test]
fn pi_5_each_transform_that_changed_something_left_one_provenance() {
    always(|(bundle, message)| {
        let mut steps: Vec<&str> = resources(bundle, "Provenance")
            .into_iter()
            .filter(|p| agents(p, "assembler").iter().any(|agent| agent["who"]["display"] == ENGINE))
            .filter_map(|p| p["policy"][0].as_str().filter(|policy| policy.contains("/transform/")))
            .map(|policy| policy.split("/transform/").nth(1).and_then(|rest| rest.split(':').next()).expect("a name"))
            .collect();
        steps.sort_unstable();
        let mut expected: Vec<&str> = message.steps.iter().map(|step| step.transform.as_str()).collect();
        expected.sort_unstable();
        assert_eq!(steps, expected);
        let labelled = list(bundle, "entry").any(|entry| entry["resource"]["meta"].to_string().contains("classifier"));
        assert_eq!(labelled, expected.contains(&"label-sensitivity"));
    });
}

#[test]
fn pi_6_what_is_recorded_before_it_happened_is_told() {
    let recorded = |time: &Value| time.as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    always(|(bundle, message)| {
        let told = message.findings.iter().any(|finding| finding.location == "Provenance.occurred");
        let is_ahead = |provenance: &Value| {
            let times = recorded(&provenance["recorded"]).zip(recorded(&provenance["occurredDateTime"]));
            times.is_some_and(|(recorded, occurred)| {
                occurred.duration_since(recorded) > jiff::SignedDuration::from_mins(5)
            })
        };
        assert_eq!(told, resources(bundle, "Provenance").into_iter().any(is_ahead));
    });
    let ahead = RESULTS.replacen("20260301120000+0000", "20260301190000+0000", 1);
    let (bundle, message) = Pipeline::new(hospital()).now(ahead.as_bytes()).expect("a message");
    assert!(message.findings.iter().any(|finding| finding.location == "Provenance.occurred"));
    assert_eq!(resources(&bundle, "Provenance")[0]["recorded"], "2026-03-01T18:00:01.25Z", "it is never mended");
}

#[test]
fn pi_7_a_replay_gives_the_same_resources_and_the_same_provenance() {
    let pipeline = Pipeline::new(hospital());
    // Each seventh message.
    for (once, message) in STAMPED.iter().filter(|(_, message)| !message.original.channel.contains("hub")).step_by(7) {
        let bytes = &message.original.bytes;
        let later = message.original.received + jiff::SignedDuration::from_hours(24);
        let (again, _) = pipeline.run(bytes, later).expect("it was one before");
        let plain = |mut bundle: Value| {
            for entry in bundle["entry"].as_array_mut().into_iter().flatten() {
                entry["resource"].as_object_mut().map(|resource| resource.remove("recorded"));
            }
            bundle
        };
        assert_eq!(plain(once.clone()), plain(again));
    }
}

/// CV-108, of every record of every message in turn.
#[test]
fn pi_8_no_provenance_names_what_was_taken_out() {
    let notices = [Notice::None, Notice::Label];
    always(|(bundle, _)| {
        let content = message::json::Value::from(bundle.clone());
        let denied = places(bundle, "")
            .into_iter()
            .filter(|place| bundle["entry"][*place]["resource"]["resourceType"] != "Patient");
        for (place, notice) in denied.take(4).zip(notices.iter().cycle()) {
            let redacted = redact(&content, &BTreeSet::from([place]), *notice);
            let Some(rest) = redacted.rest else { continue };
            let rest = Value::from(rest);
            for gone in &redacted.removed {
                let name = bundle["entry"][*gone]["fullUrl"].as_str().expect("a name");
                for provenance in resources(&rest, "Provenance") {
                    assert!(!provenance.to_string().contains(name), "a Provenance names {name}");
                    assert!(list(provenance, "target").next().is_some(), "a Provenance is about nothing");
                }
            }
        }
    });
}

#[test]
fn pi_9_labels_after_a_step_dominate_those_before_it() {
    // The conversion gives no labels but the sender's; what a label step and the stamp do is only ever more.
    let label = |code: &str, system: &str| json!({ "system": format!("http://terminology.hl7.org/CodeSystem/{system}"), "code": code });
    let own = [label("V", "v3-Confidentiality"), label("PSY", "v3-ActCode"), label("AIAST", "v3-ObservationValue")];
    let sent = json!({ "resourceType": "Condition", "id": "c", "meta": { "security": own }, "code": { "coding": [
        { "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "B20" },
    ] } });
    let (bundle, _) = Pipeline::new(hospital()).now(sent.to_string().as_bytes()).expect("a message");
    let after = labels(&bundle["entry"][0]["resource"]);
    assert!(labels(&sent).is_subset(&after));
    assert!(after.contains("ActCode|HIV"));
    always(|(bundle, message)| {
        let highest = places(bundle, "").into_iter().map(|place| level(&bundle["entry"][place]["resource"])).max();
        assert!(highest.is_none_or(|highest| message.flags.confidentiality >= highest && level(bundle) >= highest));
    });
}

fn level(resource: &Value) -> Confidentiality {
    let labels = labels(resource);
    let codes: Vec<&str> = labels.iter().filter_map(|label| label.strip_prefix("Confidentiality|")).collect();
    assert_eq!(codes.len(), 1, "{}", resource["resourceType"]);
    Confidentiality::from_code(codes[0]).expect("a level")
}

#[test]
fn pi_10_there_is_exactly_one_confidentiality() {
    always(|(bundle, _)| {
        level(bundle);
        list(bundle, "entry").map(|entry| level(&entry["resource"])).for_each(drop);
    });
}

#[test]
fn pi_11_test_data_is_held_from_production() {
    let purposes: BTreeSet<Purpose> = [Purpose::try_from("TREAT".to_owned()).expect("a purpose")].into();
    let request = Request { recipient: "gp", purposes: &purposes, production: true, clearance: Confidentiality::V };
    let held = std::cell::Cell::new(0);
    always(|(bundle, message)| {
        let says = |resource: &Value| {
            list(&resource["meta"], "tag").any(|tag| {
                tag["system"].as_str().is_some_and(|system| system.ends_with("/v2-0103")) && tag["code"] != "P"
            }) || labels(resource).contains("ActReason|HTEST")
        };
        if list(bundle, "entry").any(|entry| says(&entry["resource"])) {
            assert!(message.flags.test_data);
            assert!(matches!(decide(&request, &message.flags), Decision::Hold { .. }));
            assert!(labels(bundle).contains("ActReason|HTEST"));
            held.set(held.get() + 1);
        } else {
            assert!(!message.flags.test_data, "what is not test data is not held for it");
        }
    });
    assert!(held.get() > 50, "only {} of them are test data", held.get());
}

#[test]
fn pi_12_what_is_consolidated_names_its_parents_and_has_the_labels_of_all() {
    let label = |code: &str, system: &str| json!({ "system": format!("http://terminology.hl7.org/CodeSystem/{system}"), "code": code });
    let condition = |id: &str, security: Value| {
        let resource = json!({ "resourceType": "Condition", "id": id, "meta": { "security": security } });
        json!({ "fullUrl": format!("https://emr.example.org/Condition/{id}"), "resource": resource })
    };
    let parents =
        ["a", "b"].map(|id| json!({ "role": "derivation", "what": { "reference": format!("Condition/{id}") } }));
    let consolidated = json!({
        "resourceType": "Provenance", "target": [{ "reference": "Condition/c" }], "recorded": "2026-01-01T00:00:00Z",
        "agent": [{ "type": { "coding": [{ "code": "author" }] }, "who": { "display": "Registry" } }], "entity": parents,
    });
    let grandchild = json!({
        "resourceType": "Provenance", "target": [{ "reference": "Condition/d" }], "recorded": "2026-01-01T00:00:00Z",
        "agent": [{ "type": { "coding": [{ "code": "author" }] }, "who": { "display": "Registry" } }],
        "entity": [{ "role": "derivation", "what": { "reference": "Condition/c" } }],
    });
    let sent = json!({ "resourceType": "Bundle", "type": "collection", "entry": [
        condition("d", json!([])), condition("c", json!([])),
        condition("a", json!([label("HIV", "v3-ActCode"), label("R", "v3-Confidentiality")])),
        condition("b", json!([label("V", "v3-Confidentiality")])),
        { "resource": grandchild }, { "resource": consolidated },
    ] });
    let (bundle, _) = Pipeline::new(hospital()).now(sent.to_string().as_bytes()).expect("a message");
    let of = |place: usize| labels(&bundle["entry"][place]["resource"]);
    let expected = BTreeSet::from(["Confidentiality|V".to_owned(), "ActCode|HIV".to_owned()]);
    assert_eq!(of(0), expected);
    assert_eq!(of(1), expected);
    let entities = &bundle["entry"][5]["resource"]["entity"];
    assert_eq!(entities[0]["what"]["reference"], bundle["entry"][2]["fullUrl"]);
    assert_eq!(entities[1]["what"]["reference"], bundle["entry"][3]["fullUrl"]);
}

#[test]
fn pi_13_what_an_ai_wrote_has_a_device_for_an_author_and_says_so() {
    let sent = bundle_with_provenance();
    let (bundle, _) = Pipeline::new(hospital()).now(sent.to_string().as_bytes()).expect("a message");
    let holds = |bundle: &Value| {
        let at = places(bundle, "Observation")[0];
        assert!(labels(&bundle["entry"][at]["resource"]).contains("ObservationValue|AIAST"));
        let authors: Vec<&Value> = of_entry(bundle, at).into_iter().flat_map(|p| agents(p, "author")).collect();
        assert!(!authors.is_empty() && authors.iter().all(|author| author["who"]["type"] == "Device"));
    };
    holds(&bundle);
    // Neither another engine nor redaction takes that away.
    let (again, _) = Pipeline::new(hub()).now(bundle.to_string().as_bytes()).expect("a message");
    holds(&again);
    let condition = BTreeSet::from([places(&again, "Condition")[0]]);
    let rest = redact(&message::json::Value::from(again), &condition, Notice::Label).rest.expect("something is left");
    holds(&Value::from(rest));
}

/// What HL7 v2 would say of the agents: field and id.
fn as_hl7v2(bundle: &Value) -> BTreeSet<(&'static str, String)> {
    let mut fields = BTreeSet::new();
    let id = |who: &Value| {
        let named = list(bundle, "entry").find(|e| who["reference"].is_string() && e["fullUrl"] == who["reference"]);
        let identifier = named.map_or(&who["identifier"], |entry| &entry["resource"]["identifier"][0]);
        identifier["value"].as_str().map(str::to_owned)
    };
    for provenance in resources(bundle, "Provenance") {
        let of_event = codes(provenance, "activity").iter().any(|code| matches!(*code, "UPDATE" | "CREATE" | "CANCEL"))
            && list(provenance, "target").count() > 0
            && provenance.to_string().contains("event - ");
        let of_result = codes(provenance, "activity").contains(&"originate");
        let order = [("enterer", "ORC-10"), ("verifier", "ORC-11"), ("author", "ORC-12")];
        let result = [("author", "OBX-16"), ("custodian", "OBX-23")];
        let of_order = codes(provenance, "activity").contains(&"CREATE") && !of_event;
        let wanted: &[(&str, &'static str)] = match (of_event, of_result, of_order) {
            (true, ..) => &[("enterer", "EVN-5")],
            (_, true, _) => &result,
            (_, _, true) => &order,
            _ => &[],
        };
        for (role, field) in wanted {
            fields.extend(agents(provenance, role).into_iter().filter_map(|a| Some((*field, id(&a["who"])?))));
        }
    }
    fields
}

/// The engine itself writes no HL7 v2 from FHIR: what is proven is that nothing is lacking to write it.
#[test]
fn pi_14_agents_say_all_that_hl7v2_said_of_them() {
    let (bundle, _) = Pipeline::new(hospital()).now(RESULTS.as_bytes()).expect("a message");
    let expected = [
        ("OBX-16", "TECH1"),
        ("OBX-16", "TECH2"),
        ("OBX-23", "N1"),
        ("OBX-23", "S2"),
        ("ORC-10", "T9"),
        ("ORC-11", "V9"),
        ("ORC-12", "D1"),
    ];
    assert_eq!(as_hl7v2(&bundle), expected.map(|(field, id)| (field, id.to_owned())).into());
    let event = "MSH|^~\\&|ADT|CENTRAL|||20260301120000+0000||ADT^A08|M2|P|2.5.1\rEVN|A08|20260301120000+0000|||T9^Entry^Tom\r\
        PID|1||P-1001^^^RIVERSIDE^MR||Quill^Wren\rPV1|1|I\r";
    let (bundle, _) = Pipeline::new(hospital()).now(event.as_bytes()).expect("a message");
    assert_eq!(as_hl7v2(&bundle), BTreeSet::from([("EVN-5", "T9".to_owned())]));
}

/// HL7 v2 that is passed on leaves byte for byte; so does a signed document that is kept whole.
#[test]
fn pi_15_what_is_only_passed_on_stays_as_it_was_signed() {
    use message::consent::Flags;
    use transforms::stamp::{Documents, StampOptions, Stamper};

    let context = corpus::context();
    let options = StampOptions { documents: Documents::Whole, ..StampOptions::default() };
    let stamper = Stamper::new(&context, Flags::default(), &options).expect("a stamper");
    let text = r#"{"resourceType":"Bundle","identifier":{"system":"urn:ex","value":"1"},"type":"document","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Observation","valueQuantity":{"value":0.0100}}}],"signature":{"data":"eA=="}}"#;
    for (bytes, body) in [
        (text.as_bytes().to_vec(), message::Body::Fhir(serde_json::from_str::<Value>(text).expect("JSON").into())),
        (RESULTS.as_bytes().to_vec(), message::Body::Hl7v2(hl7v2(RESULTS))),
    ] {
        let original = message::Original {
            id: message::MessageId(uuid::Uuid::nil()),
            channel: "in".into(),
            received: context.now,
            peer: "".into(),
            format: body.format(),
            sha256: Sha256::of(&bytes),
            bytes: bytes.clone().into(),
            beside: bytes::Bytes::new(),
            control_id: None,
        };
        let message = Message::new(original.into(), body, Flags::default());
        let left = stamper.stamp(message, context.now).expect("it is stamped").body.to_bytes();
        let left = String::from_utf8(left.to_vec()).expect("UTF-8");
        assert!(left.contains(std::str::from_utf8(&bytes).expect("UTF-8")));
    }
}

fn hl7v2(text: &str) -> message::hl7v2::Message {
    let bytes = bytes::Bytes::from(text.to_owned());
    message::hl7v2::Message::index(bytes.clone(), bytes).expect("a message")
}

#[track_caller]
fn check_removal(text: &str, kind: &str, activity: &str) {
    let (bundle, _) = Pipeline::new(hospital()).now(text.as_bytes()).expect("a message");
    let place = *places(&bundle, kind).first().unwrap_or_else(|| panic!("there is no {kind}"));
    let told = of_entry(&bundle, place).into_iter().flat_map(|p| codes(p, "activity")).collect::<Vec<_>>();
    assert!(told.contains(&activity), "{kind}: {told:?}");
    // History is kept: it is written as what it is now, and not deleted.
    assert_eq!(bundle["entry"][place]["request"]["method"], "PUT");
}

#[test]
fn pi_16_what_is_taken_back_is_told_and_its_history_kept() {
    check_removal(&RESULTS.replace("|F|||", "|W|||"), "Observation", "NULLIFY");
    check_removal(&RESULTS.replace("|F|||", "|D|||"), "Observation", "DELETE");
    let vaccine = format!(
        "MSH|^~\\&|IIS|CENTRAL|||20260301120000+0000||VXU^V04^VXU_V04|M1|P|2.5.1\rPID|1||P-1001^^^RIVERSIDE^MR||Quill^Wren\r\
         ORC|RE||V1\rRXA|0|1|20260301||08^HepB^CVX|1|mL||00^New^NIP001|{}D\r",
        "|".repeat(11)
    );
    check_removal(&vaccine, "Immunization", "DELETE");
    let patient = "MSH|^~\\&|ADT|CENTRAL|||20260301120000+0000||ADT^A23|M2|P|2.5.1\rEVN|A23|20260301120000+0000\r\
        PID|1||P-1001^^^RIVERSIDE^MR||Quill^Wren\rPV1|1|I\r";
    check_removal(patient, "Patient", "DELETE");
}
