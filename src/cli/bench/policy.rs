//! `policy`: what a destination's policy adds to a message on its way to FHIR, labels, decision and audit together.

use std::path::Path;
use std::time::Instant;

use super::Pace;
use super::bed::{Bed, Far, Setup};
use super::flow::{PATIENTS, STEADY};
use super::latency::median;
use super::load::{Load, Until};
use super::report::{Section, Target};

/// A load that the engine keeps up with, of one and of the other in turns.
pub(super) async fn measure(parent: &Path, pace: &Pace, mut section: Section<'_>) -> anyhow::Result<()> {
    let without = Bed::start(parent, Setup::to(Far::Fhir)).await?;
    let with = Bed::start(parent, Setup { policy: true, ..Setup::to(Far::Fhir) }).await?;
    let (mut plain, mut asked, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // What is made once, and what recurs, is no part of it.
    for bed in [&without, &with] {
        a_message(bed, pace).await?;
    }
    for _ in 0..pace.rounds {
        let (one, other) = (a_message(&without, pace).await?, a_message(&with, pace).await?);
        plain.push(one);
        asked.push(other);
        ratios.push(other / one);
    }
    section.add("without: engine CPU a message", median(plain), "µs");
    section.add("with: engine CPU a message", median(asked), "µs");
    section.add_for("with / without", median(ratios), "", Target::AtMost(1.3));
    section.account(&with.ledger.account());
    Ok(())
}

/// The engine's processor time for a message, in microseconds.
async fn a_message(bed: &Bed, pace: &Pace) -> anyhow::Result<f64> {
    let (senders, each) = STEADY;
    let process = bed.engine()?.process();
    let before = process.cpu()?;
    let load = bed.load(senders, PATIENTS, Until::Time(Instant::now() + pace.slice()));
    let sent = Load { pace: each, ..load }.run().await?;
    bed.settle().await?;
    let cpu = process.cpu()?.saturating_sub(before);
    Ok(cpu.as_secs_f64() * 1e6 / sent.acknowledgments.len().max(1) as f64)
}
