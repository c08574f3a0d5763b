//! `big`: 50 MB messages while small ones flow.

use std::path::Path;
use std::time::{Duration, Instant};

use super::bare::{self, BareLog};
use super::bed::{Bed, Far, Setup};
use super::load::{Load, Sent, Until};
use super::report::{Section, Target};
use super::{Pace, messages};

const SIZE: usize = 50 << 20;
/// From one big message to the next.
const EVERY: Duration = Duration::from_millis(500);
/// Senders of small messages, each so often.
const SMALL: (u32, Duration) = (16, Duration::from_millis(10));
const PATIENTS: u32 = 1_000;

pub(super) async fn measure(parent: &Path, pace: &Pace, mut section: Section<'_>) -> anyhow::Result<()> {
    let mut bed = Bed::start(parent, Setup::to(Far::Mllp)).await?;
    eprintln!("big: small messages alone");
    let alone = small(&bed, pace.time).run().await?;
    bed.settle().await?;
    eprintln!("big: with 50 MB messages");
    let process = bed.engine()?.process();
    process.forget_peak()?;
    let small = small(&bed, pace.time);
    let big = Load { senders: 1, first_patient: PATIENTS, pace: EVERY, message: big_message, ..small.clone() };
    let (beside, big) = tokio::try_join!(small.run(), big.run())?;
    bed.settle().await?;
    section.add("memory, most", process.memory()?.1, "MiB");
    let sync = disk_sync(bed.site.dir.as_path(), pace).await?;
    let p99 = |sent: &Sent| sent.acknowledgments.quantile_ms(0.99);
    section.add("disk sync p99", sync, "ms");
    section.add("small ones alone: ACK p99", p99(&alone), "ms");
    section.add_for("beside big ones: ACK p99", p99(&beside), "ms", Target::AtMost(2.0 * sync));
    section.add("beside big ones: ACK p50", beside.acknowledgments.quantile_ms(0.5), "ms");
    section.add("big ones: ACK p50", big.acknowledgments.quantile_ms(0.5), "ms");
    section.add("big ones", big.acknowledgments.len() as f64, "messages");
    section.account(&bed.ledger.account());
    bed.verify().await
}

fn big_message(number: u64, patient: u32) -> bytes::Bytes {
    messages::document(number, patient, SIZE)
}

fn small(bed: &Bed, time: Duration) -> Load {
    let (senders, each) = SMALL;
    Load { pace: each, ..bed.load(senders, PATIENTS, Until::Time(Instant::now() + time)) }
}

/// What an append and `fdatasync` takes by itself, at worst but for one in a hundred.
async fn disk_sync(folder: &Path, pace: &Pace) -> anyhow::Result<f64> {
    let log = BareLog::create(&folder.join("bare.log"))?;
    let until = Instant::now() + pace.slice();
    let sent = bare::write(log, &messages::adt(0, 0), 1, until).await?;
    Ok(sent.acknowledgments.quantile_ms(0.99))
}
