//! Conversion per message, with allocations: a 1 KB ADT, a 10 KB ORU with 40 OBX, 10,000 OBX, and
//! the loading of all tables.

use std::sync::Arc;

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use jiff::tz::TimeZone;
use message::{Context, Provider, hl7v2};
use transforms::hl7v2_to_fhir::maps::Maps;
use transforms::hl7v2_to_fhir::{Hl7v2ToFhir, Options};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn transform() -> Hl7v2ToFhir {
    Hl7v2ToFhir::new(Arc::new(Maps::embedded().unwrap_or_else(|_| panic!("tables"))), Options::default())
}

fn context() -> Context {
    Context {
        now: jiff::Timestamp::UNIX_EPOCH,
        provider: Arc::new(Provider { key: "st-mary".into(), ..Provider::default() }),
        engine: "tributary".into(),
        base_uri: "https://tributary.example.org".into(),
        time_zone: TimeZone::UTC,
    }
}

fn message(text: String) -> hl7v2::Message {
    let bytes = Bytes::from(text);
    hl7v2::Message::index(bytes.clone(), bytes).unwrap_or_else(|_| panic!("a message"))
}

/// About 1 KB.
fn adt() -> hl7v2::Message {
    message(include_str!("adt-a01.hl7").replace('\n', "\r"))
}

fn oru(observations: usize) -> hl7v2::Message {
    let mut text = include_str!("oru-r01.hl7").replace('\n', "\r");
    for i in 1..=observations {
        text.push_str(&format!(
            "OBX|{i}|NM|{:05}-7^Analyte number {i} in serum or plasma^LN^L{i}^Analyte {i}^99LAB||{}.{:02}|mmol/L^millimole per liter^UCUM|3.5-5.1|{}|||F|||20240131081500-0600||4711^Okonkwo^Ada^^^^MD^^HOSP|PHOT^Photometry^99LAB\r",
            10_000 + i, i % 90, i % 100, if i % 5 == 0 { "H" } else { "N" }
        ));
    }
    message(text)
}

fn convert(bencher: Bencher<'_, '_>, message: &hl7v2::Message) {
    let (transform, context) = (transform(), context());
    bencher
        .counter(divan::counter::BytesCount::new(message.bytes().len()))
        .bench_local(|| black_box(transform.convert(black_box(message), &context)));
}

#[divan::bench]
fn adt_of_1_kb(bencher: Bencher<'_, '_>) {
    convert(bencher, &adt());
}

#[divan::bench(args = [40, 400, 4_000, 10_000])]
fn oru_with_observations(bencher: Bencher<'_, '_>, observations: usize) {
    convert(bencher, &oru(observations));
}

#[divan::bench(sample_count = 20)]
fn all_tables() -> bool {
    Maps::embedded().is_ok()
}
