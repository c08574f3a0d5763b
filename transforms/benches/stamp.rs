//! What stamping costs: `cargo bench -p transforms --bench stamp`.

#![allow(clippy::indexing_slicing, reason = "the bundles are written here")]

use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use message::consent::Flags;
use message::provenance::Step;
use message::{Body, Context, Format, Message, MessageId, Original, Provider, Sha256, hl7v2};
use serde_json::{Value, json};
use transforms::stamp::{StampOptions, Stamper};

fn main() {
    divan::main();
}

/// A converted result with as many Observations.
#[divan::bench(args = [8, 40])]
fn converted(bencher: Bencher<'_, '_>, observations: usize) {
    run(bencher, &result(observations));
}

/// A collection of as many Observations, as an EMR posts it.
#[divan::bench(args = [8, 40])]
fn collection(bencher: Bencher<'_, '_>, observations: usize) {
    let mut bundle = bundle(observations);
    bundle["type"] = json!("collection");
    for (i, entry) in bundle["entry"].as_array_mut().into_iter().flatten().enumerate() {
        let kind = entry["resource"]["resourceType"].as_str().unwrap_or_default().to_owned();
        entry["resource"]["id"] = json!(i.to_string());
        entry["fullUrl"] = json!(format!("https://emr.example.org/fhir/{kind}/{i}"));
        entry.as_object_mut().map(|entry| entry.remove("request"));
    }
    let bytes = Bytes::from(bundle.to_string());
    run(bencher, &Message::new(original(bytes, Format::FhirJson), Body::Fhir(bundle.into()), Flags::default()));
}

fn run(bencher: Bencher<'_, '_>, message: &Message) {
    let context = context();
    let Ok(stamper) = Stamper::new(&context, Flags::default(), &StampOptions::default()) else { return };
    bencher.with_inputs(|| message.clone()).bench_local_values(|message| stamper.stamp(message, context.now));
}

fn result(observations: usize) -> Message {
    let obx = "OBX|1|NM|2345-7^Glucose^LN||95|mg/dL|70-99|N|||F\r".repeat(observations);
    let text = format!(
        "MSH|^~\\&|LIS|CENTRAL|||20260301120000+0000||ORU^R01^ORU_R01|M1|P|2.5.1\r\
         PID|1||P-1001^^^RIVERSIDE^MR||DOE^JANE\rORC|RE|PL1|FL1||||||20260301|||D1^Who^Doctor\r\
         OBR|1|PL1|FL1|2345-7^Glucose^LN\r{obx}"
    );
    let bytes = Bytes::from(text);
    let read = hl7v2::Message::read(bytes.clone(), &hl7v2::charset::CharsetOptions::default());
    let body = read.map_or(Body::Fhir(Value::Null.into()), |(message, _)| Body::Hl7v2(message));
    let mut message = Message::new(original(bytes, Format::Hl7v2), body, Flags::default());
    message.body = Body::Fhir(bundle(observations).into());
    message.steps.push(Step {
        transform: "hl7v2-to-fhir".to_owned(),
        version: "9c1d".to_owned(),
        config: "aa07".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    });
    message
}

/// A Patient, a DiagnosticReport and its Observations.
fn bundle(observations: usize) -> Value {
    let id = |i: usize| format!("00000000-0000-5000-8000-{i:012}");
    let entry = |i: usize, mut resource: Value| {
        let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
        resource["id"] = json!(id(i));
        let request = json!({ "method": "PUT", "url": format!("{kind}/{}", id(i)) });
        json!({ "fullUrl": format!("urn:uuid:{}", id(i)), "resource": resource, "request": request })
    };
    let reference = |i: usize| json!({ "reference": format!("urn:uuid:{}", id(i)) });
    let results: Vec<Value> = (2..2 + observations).map(reference).collect();
    let report = json!({
        "resourceType": "DiagnosticReport", "status": "final", "subject": reference(0), "result": results,
        "identifier": [{ "system": "urn:ex", "value": "FL1" }],
    });
    let observation = json!({
        "resourceType": "Observation", "status": "final", "subject": reference(0),
        "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7", "display": "Glucose" }] },
        "valueQuantity": { "value": 95, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL" },
        "referenceRange": [{ "text": "70-99" }],
    });
    let patient = json!({ "resourceType": "Patient", "name": [{ "family": "Doe", "given": ["Jane"] }] });
    let mut entries = vec![entry(0, patient), entry(1, report)];
    entries.extend((2..2 + observations).map(|i| entry(i, observation.clone())));
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

fn original(bytes: Bytes, format: Format) -> Arc<Original> {
    Arc::new(Original {
        id: MessageId::new(Timestamp::UNIX_EPOCH, [7; 10]),
        channel: Arc::from("in"),
        received: Timestamp::UNIX_EPOCH,
        peer: Arc::from("bench"),
        format,
        sha256: Sha256::of(&bytes),
        bytes,
        beside: bytes::Bytes::new(),
        control_id: Some(Arc::from("M1")),
    })
}

fn context() -> Context {
    let provider = Provider {
        key: Arc::from("st-mary"),
        name: "St Mary's Hospital".to_owned(),
        system: Some("urn:oid:2.999.7".to_owned()),
        value: Some("st-mary".to_owned()),
        ..Provider::default()
    };
    Context {
        now: Timestamp::UNIX_EPOCH,
        provider: Arc::new(provider),
        engine: Arc::from("tributary 0.1.0"),
        base_uri: Arc::from("https://tributary.example.org"),
        time_zone: TimeZone::UTC,
    }
}
