//! Stamping any Bundle: twice is as once, only `meta`, ids and references change, and labels rise.

use std::collections::BTreeSet;

use message::consent::{Confidentiality, Purpose};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const CONFIDENTIALITY: &str = message::consent::CONFIDENTIALITY;
const ACT_REASON: &str = message::consent::ACT_REASON;

fn label() -> impl Strategy<Value = Value> {
    let codes = prop_oneof![
        prop::sample::select(vec!["U", "L", "M", "N", "R", "V", "PSY", "D"]).prop_map(|code| (CONFIDENTIALITY, code)),
        prop::sample::select(vec!["HIV", "PRS", "NORDSCLCD"]).prop_map(|code| (ACT_CODE, code)),
        prop::sample::select(vec!["TREAT", "ETREAT", "HRESCH", "HTEST"]).prop_map(|code| (ACT_REASON, code)),
        Just(("urn:ex", "x")),
    ];
    (codes, any::<bool>()).prop_map(|((system, code), display)| {
        let mut label = json!({ "system": system, "code": code });
        if display {
            label["display"] = json!("text");
        }
        label
    })
}

fn meta() -> impl Strategy<Value = Option<Value>> {
    let source = prop::option::of(prop::sample::select(vec!["https://emr.example.org", "urn:ex:a#b"]));
    let meta = (prop::collection::vec(label(), 0..4), source).prop_map(|(security, source)| {
        let mut meta = Map::new();
        if !security.is_empty() {
            meta.insert("security".to_owned(), Value::Array(security));
        }
        if let Some(source) = source {
            meta.insert("source".to_owned(), json!(source));
        }
        Value::Object(meta)
    });
    prop::option::of(meta)
}

/// A resource that may refer to others of the Bundle, by index.
fn resource() -> impl Strategy<Value = Value> {
    let kind =
        prop::sample::select(vec!["Patient", "Observation", "Condition", "MessageHeader", "Composition", "Provenance"]);
    let identifier = prop::option::of(0..3_u8);
    (kind, meta(), identifier, 0..8_usize, any::<bool>()).prop_map(|(kind, meta, identifier, target, decimal)| {
        let mut resource = json!({ "resourceType": kind });
        if let Some(meta) = meta {
            resource["meta"] = meta;
        }
        if let Some(identifier) = identifier {
            resource["identifier"] = json!([{ "system": "urn:ex", "value": format!("v {identifier}") }]);
        }
        resource["subject"] = json!({ "reference": format!("Patient/{target}") });
        resource["other"] =
            json!([{ "reference": format!("https://emr.example.org/fhir/Observation/{target}/_history/2") }]);
        if decimal {
            resource["valueQuantity"] = serde_json::from_str(r#"{"value":0.0100,"unknown":[null,"\u00e9"]}"#).unwrap();
        }
        resource
    })
}

#[derive(Clone, Copy, Debug)]
enum Naming {
    Url,
    Urn,
    None,
}

fn bundle() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["collection", "document", "message", "transaction", "batch"]);
    let naming = prop::sample::select(vec![Naming::Url, Naming::Urn, Naming::None]);
    let entries = prop::collection::vec((resource(), naming, any::<bool>()), 1..8);
    (kind, entries, meta()).prop_map(|(kind, entries, meta)| {
        let requests = matches!(kind, "transaction" | "batch");
        let entry = |(i, (mut resource, naming, put)): (usize, (Value, Naming, bool))| {
            let kind = resource["resourceType"].as_str().unwrap().to_owned();
            let mut entry = json!({});
            match naming {
                Naming::Url => entry["fullUrl"] = json!(format!("https://emr.example.org/fhir/{kind}/{i}")),
                Naming::Urn => entry["fullUrl"] = json!(format!("urn:uuid:00000000-0000-4000-8000-00000000000{i}")),
                Naming::None => {}
            }
            if put || matches!(naming, Naming::Url) {
                resource["id"] = json!(i.to_string());
            }
            if requests {
                entry["request"] = match put {
                    true => json!({ "method": "PUT", "url": format!("{kind}/{i}") }),
                    false => json!({ "method": "POST", "url": kind }),
                };
            }
            entry["resource"] = resource;
            entry
        };
        let entries: Vec<Value> = entries.into_iter().enumerate().map(entry).collect();
        let mut bundle = json!({ "resourceType": "Bundle", "type": kind, "entry": entries });
        if let Some(meta) = meta {
            bundle["meta"] = meta;
        }
        bundle
    })
}

/// What a resource is besides `meta`, its id and where it points to.
fn content(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(content).collect(),
        Value::Object(members) => {
            let kept =
                members.iter().filter(|(key, _)| !matches!(key.as_str(), "meta" | "id" | "reference" | "target"));
            kept.map(|(key, member)| (key.clone(), content(member))).collect()
        }
        other => other.clone(),
    }
}

fn codes(resource: &Value, system: &str) -> Vec<String> {
    let security = resource.pointer("/meta/security").and_then(Value::as_array).cloned().unwrap_or_default();
    let ours = security.into_iter().filter(|label| label["system"] == system);
    ours.map(|label| label["code"].as_str().unwrap().to_owned()).collect()
}

fn level(resource: &Value) -> Option<Confidentiality> {
    codes(resource, CONFIDENTIALITY).iter().filter_map(|code| Confidentiality::from_code(code)).max()
}

fn reasons(resource: &Value) -> BTreeSet<Purpose> {
    let codes = codes(resource, ACT_REASON).into_iter().filter(|code| code != "HTEST");
    codes.map(|code| Purpose::try_from(code).unwrap()).collect()
}

/// PI-9, PI-10: labels after dominate labels before, and there is one confidentiality.
fn dominates(before: &Value, after: &Value) {
    let levels = codes(after, CONFIDENTIALITY).iter().filter(|code| Confidentiality::from_code(code).is_some()).count();
    assert_eq!(levels, 1);
    assert!(level(after) >= level(before));
    assert!(codes(before, ACT_CODE).iter().all(|code| codes(after, ACT_CODE).contains(code)));
    let (before, after) = (reasons(before), reasons(after));
    let narrower = |purpose: &Purpose| before.iter().any(|wider| wider.covers(purpose));
    assert!(before.is_empty() || after.iter().all(narrower));
    assert!(before.is_empty() || !after.is_empty());
}

proptest! {
    #[test]
    fn stamping_twice_is_stamping_once(bundle in bundle(), channel in prop::sample::select(vec!["", "TREAT", "HPAYMT"])) {
        let stamper = if channel.is_empty() { stamper() } else { stamper_for(channel) };
        let once = stamper.stamp(received(&bundle), now()).unwrap();
        let later = now() + jiff::SignedDuration::from_hours(1);
        let twice = stamper.stamp(once.clone(), later).unwrap();
        prop_assert_eq!(twice.body.to_bytes(), once.body.to_bytes());
        prop_assert_eq!(&twice.flags, &once.flags);
        prop_assert_eq!(&stamper.flags_of(&twice), &once.flags);
    }

    #[test]
    fn only_meta_ids_and_references_change(bundle in bundle()) {
        let (after, _) = stamped(&stamper(), received(&bundle));
        for (before, after) in bundle["entry"].as_array().unwrap().iter().zip(after["entry"].as_array().unwrap()) {
            prop_assert_eq!(content(&before["resource"]), content(&after["resource"]));
            dominates(&before["resource"], &after["resource"]);
        }
    }

    #[test]
    fn every_reference_within_the_bundle_resolves(bundle in bundle()) {
        let (after, _) = stamped(&stamper(), received(&bundle));
        let entries = after["entry"].as_array().unwrap();
        let known: BTreeSet<&str> = entries.iter().filter_map(|entry| entry["fullUrl"].as_str()).collect();
        let text = after.to_string();
        for part in text.split("\"reference\":\"").skip(1) {
            let reference = part.split('"').next().unwrap();
            prop_assert!(!reference.starts_with("urn:") || known.contains(reference), "{} points nowhere", reference);
        }
        prop_assert_eq!(known.len(), entries.iter().filter(|entry| entry["fullUrl"].is_string()).count());
    }
}
