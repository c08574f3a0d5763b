//! `convert`: what reading, converting and stamping one message costs, on one core.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use message::consent::Flags;
use message::hl7v2::{self, CharsetOptions};
use message::{Body, Context, Format, Message, Original, Provider, Sha256, Transform as _};
use rustix::time::{ClockId, clock_gettime};
use transforms::hl7v2_to_fhir::{self, Hl7v2ToFhir, Options};
use transforms::stamp::{StampOptions, Stamper};

use super::latency::median;
use super::report::{Section, Target};
use super::{Pace, messages};
use crate::engine::{ENGINE, clock};

/// Conversions between two looks at the clock.
const BATCH: u32 = 50;

pub(super) fn measure(pace: &Pace, mut section: Section<'_>) -> anyhow::Result<()> {
    eprintln!("convert");
    let converter = Converter::new()?;
    for (what, message, target) in
        [("1 KB ADT", messages::adt(1, 1), 100.0), ("10 KB ORU, 40 OBX", messages::oru(1, 1), 500.0)]
    {
        let converted = converter.cost(&message, pace.slice(), Converter::convert)?;
        section.add_for(format!("{what}: read and convert"), converted, "µs", Target::AtMost(target));
        let whole = converter.cost(&message, pace.slice(), Converter::whole)?;
        section.add(format!("{what}: read, convert, stamp, write as JSON"), whole, "µs");
    }
    Ok(())
}

struct Converter {
    transform: Hl7v2ToFhir,
    stamper: Stamper,
    context: Context,
}

impl Converter {
    fn new() -> anyhow::Result<Self> {
        let maps = hl7v2_to_fhir::load(None, &Options::default())
            .map_err(|_| anyhow::anyhow!("the embedded maps do not load"))?;
        let context = Context {
            now: clock::now(),
            provider: Arc::new(Provider {
                key: "st-mary".into(),
                name: "St Mary's Hospital".into(),
                ..Provider::default()
            }),
            engine: ENGINE.into(),
            base_uri: "https://ehr.willowmere.example/tributary".into(),
            time_zone: jiff::tz::TimeZone::UTC,
        };
        let stamper = Stamper::new(&context, Flags::default(), &StampOptions::default())?;
        Ok(Self { transform: Hl7v2ToFhir::new(maps, Options::default()), stamper, context })
    }

    /// Microseconds of processor time that `work` takes: the median of many batches.
    fn cost(
        &self,
        bytes: &Bytes,
        time: Duration,
        work: fn(&Self, &Bytes) -> anyhow::Result<usize>,
    ) -> anyhow::Result<f64> {
        let began = std::time::Instant::now();
        let mut costs = Vec::new();
        while began.elapsed() < time {
            let before = thread_time();
            for _ in 0..BATCH {
                std::hint::black_box(work(self, bytes)?);
            }
            costs.push((thread_time() - before).as_secs_f64() * 1e6 / f64::from(BATCH));
        }
        Ok(median(costs))
    }

    fn convert(&self, bytes: &Bytes) -> anyhow::Result<usize> {
        let message = self.transform.apply(read(bytes)?, &self.context).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(message.findings.len())
    }

    fn whole(&self, bytes: &Bytes) -> anyhow::Result<usize> {
        let message = self.transform.apply(read(bytes)?, &self.context).map_err(|error| anyhow::anyhow!("{error}"))?;
        let stamped = self.stamper.stamp(message, self.context.now).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(stamped.body.to_bytes().len())
    }
}

fn read(bytes: &Bytes) -> anyhow::Result<Message> {
    let read = hl7v2::Message::read(bytes.clone(), &CharsetOptions::default());
    let (body, _) = read.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let at = clock::now();
    let original = Original {
        id: clock::new_id(at),
        channel: "bench".into(),
        received: at,
        peer: "".into(),
        format: Format::Hl7v2,
        sha256: Sha256::of(bytes),
        bytes: bytes.clone(),
        beside: bytes::Bytes::new(),
        control_id: None,
    };
    Ok(Message::new(Arc::new(original), Body::Hl7v2(body), Flags::default()))
}

/// The processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
