//! What the validator takes for a Bundle as conversions make them, with allocations:
//! `cargo bench -p transforms --bench validate`.

use std::sync::Arc;

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use jiff::tz::TimeZone;
use message::fhir::validate::{Options as Told, validate};
use message::json::Value;
use message::{Context, Provider, hl7v2};
use transforms::hl7v2_to_fhir::maps::Maps;
use transforms::hl7v2_to_fhir::{Hl7v2ToFhir, Options};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A result with as many entries: its Observations, and what stands around them.
#[divan::bench(args = [10, 100, 1_000, 10_000])]
fn entries(bencher: Bencher<'_, '_>, entries: usize) {
    let bundle = bundle(entries);
    bencher.bench_local(|| black_box(validate(black_box(&bundle), &Told::default()).len()));
}

/// A transaction of `entries` entries.
fn bundle(entries: usize) -> Value {
    let around = converted(0).get("entry").and_then(Value::as_array).map_or(0, Vec::len);
    converted(entries.saturating_sub(around))
}

fn converted(observations: usize) -> Value {
    let mut text = include_str!("oru-r01.hl7").replace('\n', "\r");
    for i in 1..=observations {
        text.push_str(&format!("OBX|{i}|NM|{:05}-7^Analyte {i}^LN||{i}.10|mmol/L^^UCUM|3.5-5.1|N|||F\r", 10_000 + i));
    }
    let bytes = Bytes::from(text);
    let message = hl7v2::Message::index(bytes.clone(), bytes).unwrap_or_else(|_| panic!("a message"));
    let maps = Maps::embedded().unwrap_or_else(|_| panic!("tables"));
    let context = Context {
        now: jiff::Timestamp::UNIX_EPOCH,
        provider: Arc::new(Provider { key: "st-mary".into(), ..Provider::default() }),
        engine: "tributary".into(),
        base_uri: "https://tributary.example.org".into(),
        time_zone: TimeZone::UTC,
    };
    Hl7v2ToFhir::new(Arc::new(maps), Options::default()).convert(&message, &context).0
}
