//! Opens a store: takes the lock, brings the index up to the log, starts the threads.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::apply::position;
use super::big::BigFiles;
use super::change::Change;
use super::codec::Codec;
use super::counts::Tallies;
use super::directory;
use super::entry::{Applied, Span};
use super::error::{Damage, StoreError};
use super::fact::{Fact, Item};
use super::frame;
use super::index::Index;
use super::keys::{self, Hasher};
use super::options::StoreOptions;
use super::read::Records;
use super::record::State;
use super::scan::{End, Found, Scan, Whole};
use super::seal::Seal;
use super::segment::{Segments, damage_at, zero};
use super::spare::{Recycled, prepare};

/// The very first segment is no longer than this, so that a new store opens at once.
const FIRST: u64 = 1 << 20;
/// So many entries are written to the index as one while the log is replayed.
const REPLAY: usize = 20_000;
/// Sequences left out after each opening: numbers that were given and lost with the power are not
/// given again.
const SKIPPED: u64 = 1 << 16;

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Bytes at the end of the log that had been written and never acknowledged; cut.
    pub torn_bytes: u64,
    /// Ranges of the log that cannot be read; copied to `quarantine/` and skipped.
    pub damages: Vec<Damage>,
    /// Why the index was rebuilt from the log, if it was.
    pub rebuilt: Option<String>,
    /// Records that were in the log and not in the index.
    pub replayed: u64,
    /// Of those, records of messages that retention has dropped.
    pub unknown: u64,
    /// Messages whose transforms have not run.
    pub unprocessed: u64,
    /// Files of payloads that nothing refers to; removed, or kept aside where the log is damaged.
    pub orphans: u64,
}

/// A store with its index up to date and no threads yet.
pub(super) struct Opened {
    pub(super) records: Arc<Records>,
    pub(super) index: Arc<Index>,
    pub(super) tallies: Arc<Tallies>,
    pub(super) recycled: Arc<Recycled>,
    pub(super) end: Applied,
    /// The segment to prepare next.
    pub(super) next_segment: u32,
    /// The lowest bucket that the duplicate check must look at.
    pub(super) lowest_bucket: u32,
    pub(super) report: OpenReport,
}

/// Opens what is in `options.dir`, or begins a new store there.
pub(super) fn open(options: &StoreOptions, now: Timestamp, rebuild: Option<&str>) -> Result<Opened, StoreError> {
    let dir = &options.dir;
    if options.segment_bytes > u64::from(u32::MAX) / 2 {
        return Err(StoreError::Invalid("a segment of the log is 2 GiB long at most".into()));
    }
    let make = |path: &Path| {
        std::fs::create_dir_all(path).map_err(StoreError::io(format!("cannot create {}", path.display())))
    };
    make(dir)?;
    let lock = directory::lock(dir)?;
    let records = Arc::new(records(options)?);
    options.disk.create_dir(records.segments.dir()).map_err(StoreError::io("cannot create wal/"))?;
    if options.disk.free_bytes(dir).unwrap_or(u64::MAX) < options.segment_bytes
        && directory::give_ballast(&*options.disk, dir)
    {
        tracing::warn!("the disk is nearly full: gave up the ballast file");
    }
    let recycled = Arc::new(Recycled::default());
    begin(&records.segments, &recycled, options)?;
    settle(&records.segments)?;
    let mut report = OpenReport::default();
    let (mut index, tallies, end) = match rebuild {
        Some(why) => rebuilt(options, &records, why, &mut report)?,
        None => match caught_up(options, &records, &mut report)? {
            Ok(done) => done,
            Err(why) => rebuilt(options, &records, &why, &mut report)?,
        },
    };
    cut(&records.segments, &end)?;
    report.torn_bytes = end.torn;
    report.unprocessed = tallies.snapshot().in_state(State::Received);
    let opened = end.applied(&index)?;
    let next_segment = spare_segments(&records.segments, &recycled, opened.segment, options.segment_bytes)?;
    report.orphans = orphans(options, &records, &index, report.damages.is_empty())?;
    let lowest_bucket = lowest_bucket(&index, now, options)?.unwrap_or_else(|| keys::bucket(opened.next));
    index.keep_lock(lock);
    Ok(Opened {
        records,
        index: Arc::new(index),
        tallies: Arc::new(tallies),
        recycled,
        end: opened,
        next_segment,
        lowest_bucket,
        report,
    })
}

fn records(options: &StoreOptions) -> Result<Records, StoreError> {
    let seal = || options.encryption_key.as_ref().and_then(Seal::new);
    Ok(Records {
        segments: Arc::new(Segments::new(options.disk.clone(), &options.dir)),
        codec: Codec { compress_from: options.compress_from, seal: seal() },
        big: BigFiles::open(options.disk.clone(), &options.dir, seal())?,
        hasher: Hasher::new(&directory::secret(&options.dir)?),
    })
}

/// Makes the first segment of a new store.
fn begin(segments: &Segments, recycled: &Recycled, options: &StoreOptions) -> Result<(), StoreError> {
    if segments.numbers()?.is_empty() {
        prepare(segments, recycled, 1, options.segment_bytes.min(FIRST))?;
    }
    Ok(())
}

/// Makes the end of the log durable: what is found there may be in the system's cache alone, and the
/// index is not to be ahead of what a power cut leaves.
fn settle(segments: &Segments) -> Result<(), StoreError> {
    for number in segments.numbers()?.into_iter().rev().take(4) {
        // A segment whose header is damaged is named when it is read.
        if let Ok(open) = segments.get(number) {
            open.file.sync().map_err(StoreError::io("cannot sync the log"))?;
        }
    }
    Ok(())
}

/// The end of the log, and the next sequence behind it.
#[derive(Clone, Copy)]
struct LogEnd {
    end: End,
    torn: u64,
    group: u64,
    last: u64,
    next: u64,
}

impl LogEnd {
    fn applied(&self, index: &Index) -> Result<Applied, StoreError> {
        let before = index.applied()?.unwrap_or_default();
        let next = self.next.max(before.next).max(1);
        let skipped = if self.group == 0 { 0 } else { SKIPPED };
        Ok(Applied {
            segment: self.end.segment,
            offset: self.end.offset,
            group: self.group,
            last: self.last,
            sure: self.group,
            sure_end: self.end.offset,
            next: next + skipped,
        })
    }
}

/// Opens the index and applies what it lacks of the log. The inner error says why that cannot be.
type CaughtUp = Result<(Index, Tallies, LogEnd), String>;

fn caught_up(options: &StoreOptions, records: &Records, report: &mut OpenReport) -> Result<CaughtUp, StoreError> {
    let dir = options.dir.join("index");
    if !dir.exists() {
        return Ok(Err("it is missing".into()));
    }
    if options.dir.join("index.broken").exists() {
        return Ok(Err("it failed while the store was open".into()));
    }
    let opened = Index::open(&dir, options.cache_bytes).and_then(|index| {
        let applied = index.applied()?;
        let tallies = Tallies::load(&index)?;
        Ok((index, tallies, applied))
    });
    let (index, tallies, applied) = match opened {
        Err(full @ StoreError::Full { .. }) => return Err(full),
        Err(why) => return Ok(Err(why.to_string())),
        Ok((_, _, None)) => return Ok(Err("it does not say how far it is".into())),
        Ok((index, tallies, Some(applied))) => (index, tallies, applied),
    };
    if !Scan::holds(&records.segments, &applied)? {
        return Ok(Err("the group that it saw last is not in the log".into()));
    }
    let scan = Scan::from(&records.segments, applied.segment, applied.offset, applied.group + 1)?;
    let Some(scan) = scan else { return Ok(Err("the log that it continues is not there".into())) };
    let replayed = replay(scan, &index, &tallies, records, applied, report, &options.dir);
    match replayed {
        Err(StoreError::Index(why)) => Ok(Err(why)),
        Err(other) => Err(other),
        Ok(end) => Ok(Ok((index, tallies, end))),
    }
}

/// Throws the index away and builds it from the whole log.
fn rebuilt(
    options: &StoreOptions,
    records: &Records,
    why: &str,
    report: &mut OpenReport,
) -> Result<(Index, Tallies, LogEnd), StoreError> {
    let dir = options.dir.join("index");
    let io = || StoreError::io("cannot remove the old index");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(io())?;
    }
    let marker = options.dir.join("index.broken");
    if marker.exists() {
        std::fs::remove_file(marker).map_err(io())?;
    }
    *report = OpenReport::default();
    let index = Index::open(&dir, options.cache_bytes)?;
    let tallies = Tallies::default();
    let scan = Scan::all(&records.segments)?;
    let end = replay(scan, &index, &tallies, records, Applied::default(), report, &options.dir)?;
    index.checkpoint()?;
    if report.replayed > 0 || !report.damages.is_empty() {
        tracing::warn!(%why, records = report.replayed, "the index was rebuilt from the log");
        report.rebuilt = Some(why.into());
    }
    Ok((index, tallies, end))
}

/// Applies the log from `scan` on.
fn replay(
    mut scan: Scan<'_>,
    index: &Index,
    tallies: &Tallies,
    records: &Records,
    from: Applied,
    report: &mut OpenReport,
    dir: &Path,
) -> Result<LogEnd, StoreError> {
    let mut change = Change::new(index, records);
    let mut applied = from;
    loop {
        match scan.next()? {
            Found::Group(whole) => {
                applied = whole.end(applied.next);
                for item in items(&whole, records, &mut report.damages) {
                    report.replayed += 1;
                    super::index::guard(|| change.apply(&item))?;
                    let file = match &item.fact {
                        Fact::Record { files, .. } => files.iter().max(),
                        Fact::Carried { .. } => None,
                    };
                    records.big.reserve(file.map_or(0, |number| number + 1));
                }
                if change.len() > REPLAY {
                    report.unknown += change.unknown;
                    std::mem::replace(&mut change, Change::new(index, records)).finish(applied, tallies)?;
                }
            }
            Found::Damage(damage) => {
                tracing::error!(%damage, "the log is damaged; the rest is readable");
                quarantine(records, &damage, dir)?;
                report.damages.push(damage);
            }
            Found::End(end) => {
                report.unknown += change.unknown;
                if applied != from || from.group == 0 {
                    let at = if applied.segment == 0 {
                        Applied { segment: end.segment, offset: end.offset, ..applied }
                    } else {
                        applied
                    };
                    change.finish(at, tallies)?;
                }
                return Ok(LogEnd {
                    end,
                    torn: end.torn,
                    group: applied.group,
                    last: applied.last,
                    next: applied.next,
                });
            }
        }
    }
}

/// The records of a group. One that cannot be read although its group is whole is named and left out.
pub(super) fn items(whole: &Whole, records: &Records, damages: &mut Vec<Damage>) -> Vec<Item> {
    let mut sequence = whole.group.first;
    let mut items = Vec::new();
    for (at, raw) in frame::records(&whole.bytes) {
        let at = position(whole.segment, whole.offset + at as u64, raw.len());
        match Fact::read(&records.codec, &records.hasher, raw, at) {
            Ok(fact) => {
                let taken = fact.sequences();
                items.push(Item { sequence, at, fact });
                sequence += taken;
            }
            Err(what) => {
                damages.push(damage_at(at, what));
                break;
            }
        }
    }
    items
}

/// Copies a damaged range of the log aside.
fn quarantine(records: &Records, damage: &Damage, dir: &Path) -> Result<(), StoreError> {
    let to = dir.join("quarantine");
    let io = || StoreError::io(format!("cannot copy a damaged range to {}", to.display()));
    std::fs::create_dir_all(&to).map_err(io())?;
    let name = format!("{}-{}-{}", damage.file.replace('/', "-"), damage.from, damage.to);
    let file = records.segments.disk.open(&dir.join(&damage.file)).map_err(io())?;
    let mut bytes = vec![0; usize::try_from(damage.to - damage.from).unwrap_or(0)];
    let read = file.read_at(&mut bytes, damage.from).map_err(io())?;
    bytes.truncate(read);
    std::fs::write(to.join(name), bytes).map_err(io())
}

/// Overwrites what was never acknowledged, so that nothing takes it for damage later.
fn cut(segments: &Segments, end: &LogEnd) -> Result<(), StoreError> {
    if end.torn == 0 {
        return Ok(());
    }
    tracing::warn!(bytes = end.torn, "cut the end of the log, which was never acknowledged");
    let open = segments.get(end.end.segment)?;
    let io = || StoreError::io("cannot cut the torn end of the log");
    zero(&*open.file, end.end.offset, end.end.offset + end.torn).and_then(|()| open.file.sync()).map_err(io())
}

/// Segments prepared and not begun, and those that were dropped, are prepared anew when needed.
fn spare_segments(segments: &Segments, recycled: &Recycled, current: u32, size: u64) -> Result<u32, StoreError> {
    let numbers = segments.numbers()?;
    let last = numbers.last().copied().unwrap_or(current);
    let io = || StoreError::io("cannot set a spare segment aside");
    for number in numbers.into_iter().filter(|number| *number > current) {
        set_aside(segments, number)?;
    }
    let disk = &segments.disk;
    for name in disk.list(segments.dir()).map_err(io())? {
        let path = segments.dir().join(&name);
        let usual = || disk.open(&path).and_then(|file| file.size()).is_ok_and(|there| there == size);
        if name == "new.seg" || name.starts_with("free-") && !(usual() && recycled.give(path.clone())) {
            disk.remove(&path).map_err(io())?;
        }
    }
    disk.sync_dir(segments.dir()).map_err(io())?;
    Ok(last + 1)
}

/// Takes a segment out of the log, to be recycled.
pub(super) fn set_aside(segments: &Segments, number: u32) -> Result<std::path::PathBuf, StoreError> {
    let to = segments.dir().join(format!("free-{number:08}.old"));
    segments.forget(number);
    segments.disk.rename(&segments.path(number), &to).map_err(StoreError::io("cannot set a segment aside"))?;
    Ok(to)
}

/// Removes payload files that nothing refers to: their messages were never acknowledged. Where the
/// log is damaged, what refers to them may be in the damage, and they stay.
fn orphans(options: &StoreOptions, records: &Records, index: &Index, whole: bool) -> Result<u64, StoreError> {
    let mut there: std::collections::HashSet<u64> = records.big.numbers()?.into_iter().collect();
    if there.is_empty() {
        return Ok(0);
    }
    for entry in index.prefix(b"F") {
        there.remove(&keys::number(&entry?.0));
    }
    if whole && !options.dir.join("quarantine").exists() {
        there.iter().for_each(|number| records.big.remove(*number));
    }
    Ok(there.len() as u64)
}

/// The lowest bucket that has messages within the duplicate window.
fn lowest_bucket(index: &Index, now: Timestamp, options: &StoreOptions) -> Result<Option<u32>, StoreError> {
    let oldest = now.checked_sub(options.duplicate_window).unwrap_or(Timestamp::MIN).as_microsecond();
    let mut lowest = None;
    for entry in index.prefix(b"G") {
        let span: Span = super::index::decode(&entry?.1)?;
        if span.to >= oldest {
            let bucket = keys::bucket(span.first);
            lowest = Some(lowest.map_or(bucket, |lowest: u32| lowest.min(bucket)));
        }
    }
    Ok(lowest)
}
