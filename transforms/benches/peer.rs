//! One message through us and through another converter, in turns in one run: `cargo bench -p transforms --bench peer`.
//!
//! The other one is `hl7v2-fhir-bridge` of PyPI (`pip install hl7v2-fhir-bridge`), in the Python that `PYTHON` names,
//! else `python3`; where it is missing, that is said and we are measured alone. Both read the bytes, convert, add
//! Provenance and write JSON. Times are processor time, of one core.

#![allow(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use message::consent::Flags;
use message::{Body, Context, Format, Message, MessageId, Original, Provider, Sha256, Transform as _, hl7v2};
use transforms::hl7v2_to_fhir::{self, Hl7v2ToFhir, Options};
use transforms::stamp::{StampOptions, Stamper};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const SECONDS: f64 = 0.5;

/// What one converter makes of a message.
#[derive(Clone, Copy)]
struct Cost {
    micros: f64,
    resources: usize,
    bytes: usize,
}

fn main() {
    let Some(ours) = Ours::new() else { return println!("our own tables do not load: run the tests") };
    println!("medians of {ROUNDS} rounds in turns, µs of processor time a message: read, convert, Provenance, JSON");
    for (what, message) in [("1 KB ADT", adt()), ("10 KB ORU, 40 OBX", oru(40))] {
        let (mut own, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.extend(ours.cost(&message));
            theirs.extend(peer(&message));
        }
        show(what, "tributary", &mut own);
        if theirs.is_empty() {
            println!("{what}: hl7v2-fhir-bridge is MISSING, so nothing is compared; pip install hl7v2-fhir-bridge");
        }
        show(what, "hl7v2-fhir-bridge", &mut theirs);
    }
}

fn show(what: &str, who: &str, costs: &mut [Cost]) {
    costs.sort_by(|a, b| a.micros.total_cmp(&b.micros));
    if let Some(Cost { micros, resources, bytes }) = costs.get(costs.len() / 2) {
        println!("{what}: {who:18} {micros:8.0} µs, {resources:3} resources, {bytes:6} bytes");
    }
}

/// The other converter's; `None` where it is not installed, or says nothing that can be read.
fn peer(message: &Bytes) -> Option<Cost> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer.py");
    let mut command = Command::new(python);
    command.arg(script).arg(SECONDS.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    // One that is not installed has gone before it reads.
    child.stdin.take()?.write_all(message).ok();
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace();
    let micros = words.next()?.parse().ok()?;
    Some(Cost { micros, resources: words.next()?.parse().ok()?, bytes: words.next()?.parse().ok()? })
}

struct Ours {
    transform: Hl7v2ToFhir,
    stamper: Stamper,
    context: Context,
}

impl Ours {
    fn new() -> Option<Self> {
        let maps = hl7v2_to_fhir::load(None, &Options::default()).ok()?;
        let context = Context {
            now: Timestamp::UNIX_EPOCH,
            provider: Arc::new(Provider { key: "st-mary".into(), name: "St Mary's".into(), ..Provider::default() }),
            engine: "tributary 0.1.0".into(),
            base_uri: "https://tributary.example.org".into(),
            time_zone: TimeZone::UTC,
        };
        let stamper = Stamper::new(&context, Flags::default(), &StampOptions::default()).ok()?;
        Some(Self { transform: Hl7v2ToFhir::new(maps, Options::default()), stamper, context })
    }

    fn cost(&self, message: &Bytes) -> Option<Cost> {
        let (mut count, mut made) = (0_u32, (0, 0));
        let (before, start) = (processor_time(), Instant::now());
        while start.elapsed() < Duration::from_secs_f64(SECONDS) {
            for _ in 0..10 {
                made = self.once(message)?;
            }
            count += 10;
        }
        let took = before.zip(processor_time()).map_or_else(|| start.elapsed(), |(before, after)| after - before);
        let micros = took.as_secs_f64() * 1e6 / f64::from(count);
        Some(Cost { micros, resources: made.0, bytes: made.1 })
    }

    fn once(&self, bytes: &Bytes) -> Option<(usize, usize)> {
        let (read, _) = hl7v2::Message::read(bytes.clone(), &hl7v2::CharsetOptions::default()).ok()?;
        let message = Message::new(original(bytes.clone()), Body::Hl7v2(read), Flags::default());
        let message = self.stamper.stamp(self.transform.apply(message, &self.context).ok()?, self.context.now).ok()?;
        let resources = if let Body::Fhir(bundle) = &message.body { bundle.get("entry")?.as_array()?.len() } else { 0 };
        Some((resources, message.body.to_bytes().len()))
    }
}

fn original(bytes: Bytes) -> Arc<Original> {
    Arc::new(Original {
        id: MessageId::new(Timestamp::UNIX_EPOCH, [7; 10]),
        channel: Arc::from("in"),
        received: Timestamp::UNIX_EPOCH,
        peer: Arc::from("bench"),
        format: Format::Hl7v2,
        sha256: Sha256::of(&bytes),
        bytes,
        beside: bytes::Bytes::new(),
        control_id: None,
    })
}

/// The processor time of this thread, where Linux counts it.
fn processor_time() -> Option<Duration> {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    counted.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn adt() -> Bytes {
    Bytes::from(include_str!("adt-a01.hl7").replace('\n', "\r"))
}

fn oru(observations: usize) -> Bytes {
    let mut text = include_str!("oru-r01.hl7").replace('\n', "\r");
    for i in 1..=observations {
        text.push_str(&format!(
            "OBX|{i}|NM|{:05}-7^Analyte number {i} in serum or plasma^LN^L{i}^Analyte {i}^99LAB||{}.{:02}|\
             mmol/L^millimole per liter^UCUM|3.5-5.1|{}|||F|||20240131081500-0600||4711^Okonkwo^Ada^^^^MD^^HOSP|\
             PHOT^Photometry^99LAB\r",
            10_000 + i,
            i % 90,
            i % 100,
            if i % 5 == 0 { "H" } else { "N" }
        ));
    }
    Bytes::from(text)
}
