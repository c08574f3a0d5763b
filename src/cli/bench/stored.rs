//! `stored`: whether a message costs the same however many are stored.

use std::path::Path;

use super::Pace;
use super::bed::{Bed, Far, Setup};
use super::load::Until;
use super::report::{Section, Target};

const SENDERS: u32 = 16;
const PATIENTS: u32 = 10_000;
/// Messages that are measured each time.
const SAMPLE: u64 = 5_000;

pub(super) async fn measure(parent: &Path, pace: &Pace, mut section: Section<'_>) -> anyhow::Result<()> {
    let bed = Bed::start(parent, Setup::to(Far::Mllp)).await?;
    let mut first = None;
    let mut last = 0.0;
    for stored in std::iter::successors(Some(1_000), |n| Some(n * 10)).take_while(|n| *n <= pace.stored) {
        eprintln!("stored: {stored}");
        bed.load(SENDERS, PATIENTS, Until::Count(stored)).run().await?;
        bed.settle().await?;
        let process = bed.engine()?.process();
        let before = process.cpu()?;
        let sent = bed.load(SENDERS, PATIENTS, Until::Count(stored + SAMPLE)).run().await?;
        bed.settle().await?;
        last = process.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / sent.acknowledgments.len().max(1) as f64;
        first.get_or_insert(last);
        section.add(format!("{stored} stored: engine CPU a message"), last, "µs");
        section.add(format!("{stored} stored: ACK p99"), sent.acknowledgments.quantile_ms(0.99), "ms");
        section.add(format!("{stored} stored: memory"), process.memory()?.0, "MiB");
    }
    section.add_for("CPU a message, last / first", last / first.unwrap_or(1.0), "", Target::AtMost(1.25));
    section.account(&bed.ledger.account());
    Ok(())
}
