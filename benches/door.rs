//! What every message costs at the door, with allocations: its header, its index, a field, a route's
//! condition, its acknowledgment. `cargo bench --bench door`.

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use message::condition::Condition;
use message::hl7v2::ack::{Phase, Stamp, acknowledge, acknowledge_header};
use message::hl7v2::{CharsetOptions, Header, Message};
use message::{Answer, MessageId, Sha256};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// An admission of about 2 KB.
fn bytes() -> Bytes {
    Bytes::from(include_str!("../examples/messages/adt-a01.hl7").replace('\n', "\r"))
}

fn message() -> Message {
    let read = Message::read(bytes(), &CharsetOptions::default());
    read.unwrap_or_else(|fault| panic!("{fault}")).0
}

fn stamp() -> Stamp {
    Stamp { now: jiff::Timestamp::UNIX_EPOCH, zone: jiff::tz::TimeZone::UTC, control_id: "0001-000001".to_owned() }
}

fn answer() -> Answer {
    Answer::Stored(MessageId::new(jiff::Timestamp::UNIX_EPOCH, [7; 10]))
}

#[divan::bench]
fn header(bencher: Bencher<'_, '_>) {
    let bytes = bytes();
    bencher.bench_local(|| Header::read(black_box(&bytes)));
}

#[divan::bench]
fn read_and_index(bencher: Bencher<'_, '_>) {
    let (bytes, options) = (bytes(), CharsetOptions::default());
    bencher.bench_local(|| Message::read(black_box(bytes.clone()), &options));
}

#[divan::bench]
fn sha256(bencher: Bencher<'_, '_>) {
    let bytes = bytes();
    bencher.bench_local(|| Sha256::of(black_box(&bytes)));
}

#[divan::bench]
fn acknowledge_of_bytes(bencher: Bencher<'_, '_>) {
    let (bytes, answer, stamp) = (bytes(), answer(), stamp());
    bencher.bench_local(|| acknowledge(black_box(&bytes), &answer, Phase::Original, &stamp));
}

#[divan::bench]
fn acknowledge_of_header(bencher: Bencher<'_, '_>) {
    let (header, answer, stamp) = (Header::read(&bytes()), answer(), stamp());
    bencher.bench_local(|| acknowledge_header(black_box(&header), &answer, Phase::Original, &stamp));
}

#[divan::bench(args = [
    "MSH-9.1 = 'ADT'",
    "MSH-9.2 in ['A01', 'A03'] and PV1-10 = 'CAR'",
    "PID-3.1 matches '^4' and not (PV1-2 = 'P' or PID-30 valued)",
])]
fn condition(bencher: Bencher<'_, '_>, text: &str) {
    let condition = Condition::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let message = message();
    bencher.bench_local(|| black_box(&condition).eval(&message));
}
