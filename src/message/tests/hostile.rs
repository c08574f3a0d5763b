//! Messages, changed at random: what `fuzz/checks.rs` says of any bytes is true of them.
//!
//! The changes are the same in every run, so that a failure comes again. `cargo fuzz` goes further: see `fuzz/README.md`.

#![allow(clippy::unwrap_used, reason = "a check stops at what is wrong")]
#![allow(clippy::indexing_slicing, reason = "a check stops at what is wrong")]

#[path = "../../../fuzz/checks.rs"]
mod checks;

use std::path::Path;

/// Changed messages for each check.
const ROUNDS: usize = 4_000;

/// Pieces that mean something in some place.
const PIECES: [&[u8]; 44] = [
    b"|",
    b"^",
    b"~",
    b"\\",
    b"&",
    b"#",
    b"\"\"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\x0B",
    b"\x1C\r",
    b"\0",
    b" ",
    b"\xEF\xBB\xBF",
    b"\xFF\xFE",
    b"\xFE\xFF",
    b"\xE9",
    b"\xC3\xA9",
    b"\xF0\x9D\x84\x9E",
    b"\x1B$B;3ED\x1B(B",
    b"\xA8|",
    b"MSH|^~\\&|",
    b"MSH!",
    b"\rMSA|AA|1\r",
    b"\rPID|",
    b"FHS|^~\\&\r",
    b"BHS|^~\\&\r",
    b"BTS|2\r",
    b"FTS|1\r",
    b"\\X0D\\",
    b"\\.br\\",
    b"\\T\\",
    b"8859/1",
    b"UNICODE UTF-8",
    b"UNICODE UTF-16",
    b"BIG-5",
    b"~ISO IR87",
    b"2.9",
    b"|AL|ER|",
    b"ACK",
    b"20240230",
    b"0000",
    b"+1400",
];

/// A small generator of numbers (xorshift): the same seed gives the same ones.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// One change: a byte, a piece put in, a range left out, twice, or exchanged with one of another seed.
fn change(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    let at = numbers.below(bytes.len() + 1);
    let end = (at + numbers.below(40)).min(bytes.len());
    match numbers.below(7) {
        0 if at < bytes.len() => bytes[at] = numbers.below(256) as u8,
        1 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.extend_from_within(at..end),
        4 => bytes.truncate(at),
        5 => {
            let from = numbers.below(other.len() + 1);
            let to = (from + numbers.below(200)).min(other.len());
            drop(bytes.splice(at..end, other[from..to].iter().copied()));
        }
        _ => drop(bytes.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied())),
    }
}

/// Feeds `check` with the seeds, and with changes of them.
fn feed(seeds: &[Vec<u8>], check: fn(&[u8])) {
    let check = |bytes: &[u8]| {
        let done = std::panic::catch_unwind(|| check(bytes));
        assert!(done.is_ok(), "not so for: {}", bytes.escape_ascii());
    };
    let mut numbers = Numbers(0x5EED_0123_4567_89AB);
    seeds.iter().for_each(|seed| check(seed));
    for round in 0..ROUNDS {
        let mut bytes = seeds[round % seeds.len()].clone();
        let other = &seeds[numbers.below(seeds.len())];
        for _ in 0..=numbers.below(6) {
            change(&mut bytes, other, &mut numbers);
        }
        check(&bytes);
    }
}

fn messages() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files = paths.iter().filter(|path| path.extension().is_some_and(|e| e == "hl7"));
    let mut seeds: Vec<_> = files.map(|path| std::fs::read(path).unwrap()).collect();
    // Short ones as well: there a change hits something more often.
    for text in [
        "MSH|^~\\&|REG|ST MARY|HUB|EHR|20240301063000||ADT^A08|MSG1|P|2.5.1|||AL|NE||UNICODE UTF-8\rPID|1||4711^^^M||Müller^J\r",
        "MSH|^~\\&|A|B|||2024||ORU^R01|1|P|2.3\nOBX|1|TX|||a\\T\\b\\.br\\c\n",
        "FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|||||||ADT|1|P|2.1\rMSH|^~\\&|||||||ADT|2|P|2.1\rBTS|2\rFTS|1\r",
        "MSH|^~\\&|||||||ACK|1|P|2.4\rMSA|AE|7|text\rERR|PID^1^3^101&x&HL70357\r",
    ] {
        seeds.push(text.as_bytes().to_vec());
        seeds.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    }
    seeds
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn messages_read_or_a_fault_says_why_not() {
    feed(&messages(), checks::hl7v2);
}

#[test]
fn any_bytes_can_be_acknowledged() {
    feed(&messages(), checks::acknowledgment);
}

#[test]
fn batches_lose_nothing() {
    feed(&messages(), checks::batch);
}

#[test]
fn times_read_or_not() {
    feed(
        &texts(&["20240229235958.1234-0600", "2024", "202402", "20240310023000", "235958.5+0100", "00010101"]),
        checks::timestamp,
    );
}

#[test]
fn conditions_parse_or_an_error_says_where_not() {
    feed(
        &texts(&[
            "MSH-9.1 in ['ADT', 'ORU'] and not (PV1-2 = 'P' or PID-30 valued)",
            "count(PID-3) > 1 and length(PID-7) > 8 and PID-5[1].1 matches '^[Z-a]{2,3}$' or CX.4.2 is not null",
            "Patient.name.where(given = 'A' and use.empty()).given[0] = \"A\" and Patient.active and name.exists()",
            "PID-3[1].4.2",
        ]),
        checks::condition,
    );
}

#[test]
fn resources_read_or_a_fault_says_why_not() {
    feed(
        &texts(&[
            r#"{"resourceType":"Patient","identifier":[{"system":"urn:x","value":"1"}],"n":0.010,"e":-1.5E+3,"t":"\u00e9\n"}"#,
            r#"{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient"},"request":{"method":"PUT","url":"Patient/1"}}]}"#,
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","expression":["Patient.name[0]"]}]}"#,
        ]),
        checks::fhir,
    );
}
