//! The stamps on whole messages.

mod golden;
mod invariants;
mod labels;
mod properties;
mod references;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use message::consent::{Flags, Purpose};
use message::provenance::Step;
use message::{Body, Context, Format, Message, MessageId, Original, Provider, Sha256, hl7v2};
use serde_json::Value;

use super::{StampOptions, Stamper};

/// When everything in these tests is received and stamped.
fn now() -> Timestamp {
    "2026-03-01T18:00:01.25Z".parse().unwrap()
}

fn provider() -> Provider {
    Provider {
        key: Arc::from("st-mary"),
        name: "St Mary's Hospital".to_owned(),
        system: Some("urn:oid:2.999.7".to_owned()),
        value: Some("st-mary".to_owned()),
        hub: false,
        systems: BTreeMap::from([("RIVERSIDE".to_owned(), "urn:oid:2.999.1".to_owned())]),
        ..Provider::default()
    }
}

fn context(provider: Provider) -> Context {
    Context {
        now: now(),
        provider: Arc::new(provider),
        engine: Arc::from("tributary 0.1.0"),
        base_uri: Arc::from("https://tributary.example.org"),
        time_zone: TimeZone::get("America/Chicago").unwrap(),
    }
}

fn stamper() -> Stamper {
    Stamper::new(&context(provider()), Flags::default(), &StampOptions::default()).unwrap()
}

/// A stamper for a channel that allows `codes` only.
fn stamper_for(codes: &str) -> Stamper {
    let channel = Flags { purposes: Some(purposes(codes)), ..Flags::default() };
    Stamper::new(&context(provider()), channel, &StampOptions::default()).unwrap()
}

fn purposes(codes: &str) -> BTreeSet<Purpose> {
    codes.split_whitespace().map(|code| Purpose::try_from(code.to_owned()).unwrap()).collect()
}

fn original(bytes: Bytes, format: Format, control_id: Option<&str>) -> Arc<Original> {
    Arc::new(Original {
        id: MessageId::new(now(), [7; 10]),
        channel: Arc::from("in"),
        received: now(),
        peer: Arc::from("test"),
        format,
        sha256: Sha256::of(&bytes),
        bytes,
        beside: bytes::Bytes::new(),
        control_id: control_id.map(Arc::from),
    })
}

/// A FHIR resource as it was received.
fn received(resource: &Value) -> Message {
    let control_id = resource.pointer("/identifier/value").and_then(Value::as_str).map(str::to_owned);
    let original = original(Bytes::from(resource.to_string()), Format::FhirJson, control_id.as_deref());
    Message::new(original, Body::Fhir(resource.clone().into()), Flags::default())
}

/// An HL7 v2 message as it was received.
fn received_hl7v2(text: &str) -> Message {
    let bytes = Bytes::from(text.to_owned());
    let (message, _) = hl7v2::Message::read(bytes.clone(), &hl7v2::charset::CharsetOptions::default()).unwrap();
    let control_id = hl7v2::Header::read(&bytes).control_id().into_owned();
    let original = original(bytes, Format::Hl7v2, Some(&control_id));
    Message::new(original, Body::Hl7v2(message), Flags::default())
}

/// The same after its conversion to `bundle`.
fn converted(text: &str, bundle: Value) -> Message {
    let mut message = received_hl7v2(text);
    message.body = Body::Fhir(bundle.into());
    message.steps.push(Step {
        transform: "hl7v2-to-fhir".to_owned(),
        version: "9c1d".to_owned(),
        config: "aa07".to_owned(),
        at: now(),
    });
    message
}

fn stamped(stamper: &Stamper, message: Message) -> (Value, Message) {
    let message = stamper.stamp(message, now()).unwrap();
    let Body::Fhir(bundle) = &message.body else { panic!("it is no FHIR") };
    (bundle.clone().into(), message)
}

/// The resources of `bundle` with type `kind`.
fn resources<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    let entries = bundle["entry"].as_array().unwrap().iter();
    entries.map(|entry| &entry["resource"]).filter(|resource| resource["resourceType"] == kind).collect()
}

/// `system-tail|code` of every label of `resource`, in order.
fn labels(resource: &Value) -> Vec<String> {
    let security = resource.pointer("/meta/security").and_then(Value::as_array).cloned().unwrap_or_default();
    let short = |system: &str| system.rsplit('/').next().unwrap().trim_start_matches("v3-").to_owned();
    let label =
        |label: &Value| format!("{}|{}", short(label["system"].as_str().unwrap()), label["code"].as_str().unwrap());
    security.iter().map(label).collect()
}
