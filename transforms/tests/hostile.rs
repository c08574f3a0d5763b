//! Messages that are broken in every way that senders and strangers break them: what is read at all becomes a Bundle
//! that is valid R4, the same each time, and no larger than the message allows.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops where its files cannot be read")]
#![allow(clippy::print_stderr, reason = "how much was looked at is of interest")]

mod corpus;

use bytes::Bytes;
use message::fhir::validate::{self, validate};
use message::hl7v2::{self, CharsetOptions};
use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use transforms::hl7v2_to_fhir::Hl7v2ToFhir;

/// Bytes of a Bundle for each byte of its message, at most, and what every Bundle may have beside.
const GROWTH: usize = 400;
const BESIDE: usize = 65_536;
/// No message has a longer list of findings, but for what is said of the list itself.
const FINDINGS: usize = 10_100;

/// Ways to break a message, each by chance.
const WAYS: [fn(&mut Vec<u8>, &mut TestRng); 9] =
    [flip, drop_delimiters, repeat_segment, repeat_field, deepen, shuffle, cut, insert, empty_fields];

fn place(bytes: &[u8], random: &mut TestRng) -> usize {
    // The first eight bytes say how the rest is to be read.
    random.random_range(8.min(bytes.len())..bytes.len().max(9)).min(bytes.len())
}

fn segments(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split(|b| matches!(b, b'\r' | b'\n')).filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// A segment but the first, and a field of it.
fn some_field(lines: &[Vec<u8>], random: &mut TestRng) -> Option<(usize, std::ops::Range<usize>)> {
    let line = random.random_range(1..lines.len().max(2));
    let bars: Vec<usize> = lines.get(line)?.iter().enumerate().filter(|(_, b)| **b == b'|').map(|(at, _)| at).collect();
    let at = random.random_range(0..bars.len().max(1));
    let end = bars.get(at + 1).copied().unwrap_or(lines[line].len());
    Some((line, *bars.get(at)? + 1..end))
}

#[allow(clippy::ptr_arg, reason = "one of many ways, which are all called alike")]
fn flip(bytes: &mut Vec<u8>, random: &mut TestRng) {
    for _ in 0..random.random_range(1..9) {
        let at = place(bytes, random);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << random.random_range(0..8);
        }
    }
}

fn drop_delimiters(bytes: &mut Vec<u8>, random: &mut TestRng) {
    let mut at = 0;
    bytes.retain(|byte| {
        at += 1;
        at <= 8 || !b"|^~&\r".contains(byte) || random.random_range(0..10) > 0
    });
}

fn repeat_segment(bytes: &mut Vec<u8>, random: &mut TestRng) {
    let lines = segments(bytes);
    let line = lines[random.random_range(1..lines.len().max(2)).min(lines.len() - 1)].clone();
    for _ in 0..random.random_range(2..80) {
        bytes.push(b'\r');
        bytes.extend_from_slice(&line);
    }
}

fn repeat_field(bytes: &mut Vec<u8>, random: &mut TestRng) {
    let mut lines = segments(bytes);
    let Some((line, field)) = some_field(&lines, random) else { return };
    let mut many = lines[line][field.clone()].to_vec();
    many.push(b'~');
    let many = many.repeat(random.random_range(2..300));
    lines[line].splice(field, many);
    *bytes = lines.join(&b'\r');
}

fn deepen(bytes: &mut Vec<u8>, random: &mut TestRng) {
    let mut lines = segments(bytes);
    let Some((line, field)) = some_field(&lines, random) else { return };
    let deep: Vec<u8> =
        (0..random.random_range(2..3000)).map(|_| b"x1^&~^&\\\"T"[random.random_range(0..10)]).collect();
    lines[line].splice(field, deep);
    *bytes = lines.join(&b'\r');
}

fn shuffle(bytes: &mut Vec<u8>, random: &mut TestRng) {
    let mut lines = segments(bytes);
    for at in 2..lines.len() {
        lines.swap(at, random.random_range(1..at + 1));
    }
    *bytes = lines.join(&b'\r');
}

fn cut(bytes: &mut Vec<u8>, random: &mut TestRng) {
    let at = place(bytes, random);
    bytes.truncate(at);
}

fn insert(bytes: &mut Vec<u8>, random: &mut TestRng) {
    const ODD: [&[u8]; 10] = [
        b"\0",
        b"\x0b",
        b"\x1c\r",
        b"\xff\xfe",
        "\u{202e}".as_bytes(),
        "é".as_bytes(),
        b"\\X00\\",
        b"\"\"",
        b"MSH|",
        b"\\F\\\\S\\",
    ];
    for _ in 0..random.random_range(1..6) {
        let at = place(bytes, random);
        bytes.splice(at..at, ODD[random.random_range(0..ODD.len())].iter().copied());
    }
}

fn empty_fields(bytes: &mut Vec<u8>, random: &mut TestRng) {
    let mut lines = segments(bytes);
    for _ in 0..4 {
        if let Some((line, field)) = some_field(&lines, random) {
            lines[line].splice(field, *b"\"\"");
        }
    }
    *bytes = lines.join(&b'\r');
}

/// True if it could be read.
#[track_caller]
fn check(transform: &Hl7v2ToFhir, bytes: &[u8], how: &str) -> bool {
    let all = Bytes::copy_from_slice(bytes);
    let Ok((message, _)) = hl7v2::Message::read(all, &CharsetOptions::default()) else { return false };
    let context = corpus::context();
    let (bundle, findings) = transform.convert(&message, &context);
    let issues = validate(&bundle, &validate::Options::default());
    let wrong = issues.iter().find(|issue| issue.is_error());
    assert!(wrong.is_none(), "{how}: {}", wrong.expect("an issue"));
    let text = bundle.to_string();
    assert!(text.len() <= GROWTH * bytes.len() + BESIDE, "{how}: {} bytes of {}", text.len(), bytes.len());
    assert!(findings.len() <= FINDINGS, "{how}: {} findings", findings.len());
    let again = transform.convert(&message, &context);
    assert!(again.0 == bundle && again.1 == findings, "{how}: not the same again");
    true
}

#[test]
fn what_is_broken_becomes_a_valid_bundle_or_is_refused() {
    let transform = corpus::transform();
    let shared = corpus::shared().into_iter().flat_map(|root| corpus::files(&root.join("hl7v2"), ".hl7"));
    let own = corpus::own().into_iter().flat_map(|folder| corpus::files(&folder, ".hl7"));
    let (mut read, mut tried) = (0, 0);
    for (number, path) in own.chain(shared).enumerate() {
        let text = std::fs::read(&path).expect("a message");
        if text.len() > 20_000 {
            continue;
        }
        let seed = [u8::try_from(number % 251).expect("a byte"); 32];
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        for (way, break_it) in WAYS.iter().enumerate() {
            let mut bytes = text.clone();
            break_it(&mut bytes, &mut random);
            if random.random_range(0..3) == 0 {
                WAYS[random.random_range(0..WAYS.len())](&mut bytes, &mut random);
            }
            tried += 1;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            read += usize::from(check(&transform, &bytes, &format!("{name}, way {way}")));
        }
    }
    eprintln!("{tried} broken messages, {read} of them could be read");
    assert!(read > 100, "only {read} could be read");
}

/// Four times the message is four times the Bundle: nothing of it grows with the square of anything.
#[test]
fn a_bundle_grows_as_its_message_does() {
    let transform = corpus::transform();
    let lines = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let size = |event: &str, body: &str| {
        let bytes = Bytes::from(format!("MSH|^~\\&|A|B|C|D|20240105||{event}|1|P|2.5.1\rPID|1||9^^^A^MR\r{body}"));
        let message = hl7v2::Message::index(bytes.clone(), bytes).expect("a message");
        let (bundle, findings) = transform.convert(&message, &corpus::context());
        bundle.to_string().len() + findings.len()
    };
    type Shape = (&'static str, &'static str, fn(usize) -> String);
    let shapes: [Shape; 8] = [
        ("ORU^R01", "OBR|1|P^A\r", |i| format!("OBX|{i}|NM|C{i}^D^LN||{i}||||||F\r")),
        ("ORU^R01", "", |i| format!("OBR|{i}|P{i}^A|F{i}^B|X^Y^LN\rOBX|1|NM|C^D^LN||1||||||F\r")),
        ("ADT^A01", "", |i| format!("ROL|{i}^A|AD|PP^^HL70443|||||||||W{i}^1^A^F\r")),
        ("ADT^A01", "PV1|1|I\r", |i| format!("IN1|{i}|P^Q|C{i}|Name {i}^L^{i}\r")),
        ("ADT^A01", "", |i| format!("ZZZ|{i}|2~3^4&5\r")),
        ("SIU^S12", "RGS|1\r", |i| format!("AIP|{i}||{i}^N{i}^G\r")),
        ("MDM^T02", "TXA|1|DS\r", |i| format!("OBX|{i}|TX|N||line {i}||||||F\r")),
        ("ZOR^Z01", "", |i| format!("ORC|NW|{i}\rOBR|1|{i}\rNTE|1||x\r")),
    ];
    for (event, before, line) in shapes {
        let [one, four] = [100, 400].map(|count| size(event, &format!("{before}{}", lines(count, &line))));
        assert!(four < 5 * one, "{event}: {one} and {four} bytes");
    }
}
