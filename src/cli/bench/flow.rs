//! `mllp-to-mllp` and `mllp-to-fhir`: messages through the whole engine, with the account of each; also
//! with a destination that fails, and an engine that is killed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::Rng as _;
use tokio::sync::oneshot;

use super::Pace;
use super::bed::{Bed, Far, Setup};
use super::engine::Engine;
use super::load::{Load, Sent, Until};
use super::report::{Section, Target};

/// Patients: as many lanes.
pub(super) const PATIENTS: u32 = 1_000;
/// Senders, unless others are asked for.
const SENDERS: u32 = 32;
/// The steady load at which latencies are taken, by as many senders, each so often.
pub(super) const STEADY: (u32, Duration) = (16, Duration::from_millis(20));

/// Messages of one lane that its sender has under way at a time.
const AHEAD: usize = 64;

/// What is to be reached.
pub(super) struct Targets {
    pub(super) far: Far,
    /// Deliveries a second.
    pub(super) rate: f64,
}

pub(super) async fn measure(
    parent: &Path,
    pace: &Pace,
    targets: &Targets,
    mut section: Section<'_>,
) -> anyhow::Result<()> {
    let mut bed = Bed::start(parent, Setup { faults: pace.faults, ..Setup::to(targets.far) }).await?;
    if pace.kill || pace.faults {
        ordeal(&mut bed, pace, &mut section).await?;
    } else {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let idle = bed.engine()?.process().memory()?.0;
        section.add_for("memory, idle", idle, "MiB", Target::AtMost(50.0));
        full_load(&bed, pace, targets, &mut section).await?;
        steady_load(&bed, pace, &mut section).await?;
        one_lane(&bed, pace, &mut section).await?;
    }
    section.account(&bed.ledger.account());
    eprintln!("verifying the store");
    bed.verify().await
}

/// As fast as senders are answered, until all has arrived.
async fn full_load(bed: &Bed, pace: &Pace, targets: &Targets, section: &mut Section<'_>) -> anyhow::Result<()> {
    eprintln!("full load");
    let process = bed.engine()?.process();
    process.forget_peak()?;
    let (cpu, began) = (process.cpu()?, Instant::now());
    let senders = pace.senders.unwrap_or(SENDERS);
    let sent = bed.load(senders, PATIENTS, Until::Time(began + pace.time)).run().await?;
    bed.settle().await?;
    let ended = bed.ledger.last_arrival().context("something arrived")?;
    let count = sent.acknowledgments.len() as f64;
    section.add_for("delivered", count / (ended - began).as_secs_f64(), "/s", Target::AtLeast(targets.rate));
    section.add("accepted meanwhile", sent.rate(), "/s");
    acknowledgments("full load", &sent, section);
    let cpu = process.cpu()?.saturating_sub(cpu);
    section.add("engine CPU a message", cpu.as_secs_f64() * 1e6 / count, "µs");
    section.add_for("memory, full load", process.memory()?.1, "MiB", Target::AtMost(300.0));
    Ok(())
}

/// A load that the engine keeps up with: how long a message takes from its sender to its destination.
async fn steady_load(bed: &Bed, pace: &Pace, section: &mut Section<'_>) -> anyhow::Result<()> {
    let (senders, each) = STEADY;
    eprintln!("steady load");
    let first = bed.ledger.begun();
    let load = bed.load(senders, PATIENTS, Until::Time(Instant::now() + pace.time));
    let sent = Load { pace: each, ..load }.run().await?;
    bed.settle().await?;
    let name = format!("{:.0}/s", f64::from(senders) / each.as_secs_f64());
    acknowledgments(&name, &sent, section);
    let through = bed.ledger.latencies(first);
    for (quantile, share) in [("p50", 0.5), ("p99", 0.99)] {
        section.add(format!("{name}: sent to delivered, {quantile}"), through.quantile_ms(share), "ms");
    }
    Ok(())
}

/// One patient's messages, which go one after another. Their sender does not wait for each acknowledgment,
/// so that what is measured is the lane and not how long the disk takes for one message at a time.
async fn one_lane(bed: &Bed, pace: &Pace, section: &mut Section<'_>) -> anyhow::Result<()> {
    eprintln!("one lane");
    let began = Instant::now();
    let load = bed.load(1, 1, Until::Time(began + pace.time));
    let sent = Load { ahead: AHEAD, ..load }.run().await?;
    bed.settle().await?;
    let took = bed.ledger.last_arrival().context("something arrived")? - began;
    let each = took.as_secs_f64() * 1e3 / sent.acknowledgments.len().max(1) as f64;
    section.add_for("one lane, time a message", each, "ms", Target::AtMost(1.0));
    Ok(())
}

fn acknowledgments(load: &str, sent: &Sent, section: &mut Section<'_>) {
    for (quantile, share) in [("p50", 0.5), ("p99", 0.99)] {
        section.add(format!("{load}: ACK {quantile}"), sent.acknowledgments.quantile_ms(share), "ms");
    }
}

/// With faults, kills, or both.
async fn ordeal(bed: &mut Bed, pace: &Pace, section: &mut Section<'_>) -> anyhow::Result<()> {
    eprintln!("with{}{}", if pace.faults { " faults" } else { "" }, if pace.kill { " kills" } else { "" });
    let until = Until::Time(Instant::now() + pace.time);
    let load = bed.load(pace.senders.unwrap_or(SENDERS), PATIENTS, until);
    let load = Load { patient_with_crashes: pace.kill, ..load };
    let (done, over) = oneshot::channel();
    let senders = async {
        let sent = load.run().await;
        drop(done);
        sent
    };
    if pace.kill {
        let engine = bed.engine.take().context("the engine is running")?;
        let (sent, killed) = tokio::join!(senders, kill_and_start(engine, &bed.site, over));
        let (engine, kills) = killed?;
        bed.engine = Some(engine);
        section.add("accepted", sent?.rate(), "/s");
        section.add("kills", f64::from(kills), "");
    } else {
        section.add("accepted", senders.await?.rate(), "/s");
    }
    bed.settle().await
}

/// Kills the engine at random instants and starts it again, until `over`.
async fn kill_and_start(
    mut engine: Engine,
    site: &super::site::SiteFolder,
    mut over: oneshot::Receiver<()>,
) -> anyhow::Result<(Engine, u32)> {
    let mut kills = 0;
    loop {
        let rest = Duration::from_millis(rand::rng().random_range(50..800));
        if tokio::time::timeout(rest, &mut over).await.is_ok() {
            return Ok((engine, kills));
        }
        engine.kill()?;
        kills += 1;
        engine = Engine::start(site).await?;
    }
}
