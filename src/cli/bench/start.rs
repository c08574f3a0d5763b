//! `start`: from the program's start to its first acknowledgment, with nothing and with much queued.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;

use super::Pace;
use super::bed::{Bed, Far, Setup};
use super::engine::Engine;
use super::load::Until;
use super::report::{Section, Target};

const SENDERS: u32 = 64;
const PATIENTS: u32 = 10_000;

pub(super) async fn measure(parent: &Path, pace: &Pace, mut section: Section<'_>) -> anyhow::Result<()> {
    let mut bed = Bed::lay(parent, Setup { delivering: false, ..Setup::to(Far::Mllp) }).await?;
    section.add("first start ever, to the first ACK", first_acknowledgment(&mut bed).await?, "ms");
    stop(&mut bed).await?;
    let empty = first_acknowledgment(&mut bed).await?;
    section.add_for("nothing queued, to the first ACK", empty, "ms", Target::AtMost(200.0));
    eprintln!("start: queueing {} messages", pace.queued);
    bed.load(SENDERS, PATIENTS, Until::Count(pace.queued)).run().await?;
    bed.engine.take().context("the engine is running")?.kill()?;
    let queued = pace.queued;
    let after_crash = first_acknowledgment(&mut bed).await?;
    section.add_for(format!("{queued} queued, killed, to the first ACK"), after_crash, "ms", Target::AtMost(5_000.0));
    section.add(format!("{queued} queued, memory then"), bed.engine()?.process().memory()?.0, "MiB");
    stop(&mut bed).await?;
    let again = first_acknowledgment(&mut bed).await?;
    section.add_for(
        format!("{queued} queued, stopped in order, to the first ACK"),
        again,
        "ms",
        Target::AtMost(5_000.0),
    );
    stop(&mut bed).await
}

async fn stop(bed: &mut Bed) -> anyhow::Result<()> {
    bed.engine.take().context("the engine is running")?.stop().await
}

/// Starts the engine; milliseconds until one message is acknowledged.
async fn first_acknowledgment(bed: &mut Bed) -> anyhow::Result<f64> {
    let began = Instant::now();
    bed.engine = Some(Engine::start(&bed.site).await?);
    let one = Until::Count(bed.ledger.begun() + 1);
    bed.load(1, 1, one).run().await?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}
