//! Appends groups to the segment in use, and moves on to the next when it is full or has failed.

use std::sync::Arc;
use std::time::Instant;

use super::apply::position;
use super::entry::Applied;
use super::error::StoreError;
use super::fact::{Fact, Item};
use super::frame::{self, Group, align};
use super::metrics::{Metrics, add, add_time};
use super::read::Records;
use super::segment::{Open, Position, START, Segments, zero};
use super::spare::Spares;

/// So much may be written and not synced, whoever waits.
const UNSYNCED: u64 = 8 << 20;
/// Memory of so many groups is used again, if it is no longer than this.
const SPARES: usize = 4;
const SPARE: usize = 1 << 20;

/// The end of the log.
pub(super) struct Appender {
    segments: Arc<Segments>,
    spares: Spares,
    metrics: Arc<Metrics>,
    segment: Segment,
    /// The last group that was written, and the sequence after it.
    group: u64,
    next: u64,
    /// The last group that is durable, and where the next starts in this segment.
    synced: u64,
    synced_end: u64,
    /// The last group whose durability a later group states.
    proven: u64,
    /// True if the last group is empty: it was written only to say that.
    empty: bool,
    /// The group that is being made, or was written and is not handed over yet.
    buffer: Vec<u8>,
    making: Option<Group>,
    last: Option<Written>,
    last_offset: u64,
    /// Groups handed over that are not durable yet: they must be written again if a sync fails.
    unsynced: Vec<(Written, Vec<u8>)>,
    /// Memory of groups that are durable, for those to come.
    spare: Vec<Vec<u8>>,
    dirty_since: Option<Instant>,
    moved: Vec<Moved>,
    failed: Option<String>,
}

/// The segment in use.
struct Segment {
    number: u32,
    open: Open,
    /// Where the next group goes.
    end: u64,
}

/// A group that was written, and where.
#[derive(Clone, Copy)]
struct Written {
    group: Group,
    segment: u32,
    offset: u64,
}

/// A group that stands in another place than it did.
pub(super) struct Moved {
    written: Written,
    bytes: Vec<u8>,
}

impl Appender {
    /// Goes on at `end`, which is in segment `end.segment`.
    pub(super) fn new(
        segments: Arc<Segments>,
        spares: Spares,
        metrics: Arc<Metrics>,
        end: Applied,
    ) -> Result<Self, StoreError> {
        let open = segments.get(end.segment)?;
        // What was found there may have been in the system's cache alone.
        open.file.sync().map_err(StoreError::io("cannot sync the log"))?;
        Ok(Self {
            segments,
            spares,
            metrics,
            segment: Segment { number: end.segment, open, end: end.offset },
            group: end.group,
            next: end.next,
            synced: end.group,
            synced_end: end.offset,
            proven: end.group,
            empty: false,
            buffer: Vec::new(),
            making: None,
            last: None,
            last_offset: end.last,
            unsynced: Vec::new(),
            spare: Vec::new(),
            dirty_since: None,
            moved: Vec::new(),
            failed: None,
        })
    }

    /// The group that was written last has been handed over: from now on it is one of the others.
    pub(super) fn release(&mut self) {
        if let Some(last) = self.last.take().filter(|last| last.group.number > self.synced) {
            self.unsynced.push((last, std::mem::take(&mut self.buffer)));
        }
    }

    /// Starts a group.
    pub(super) fn begin(&mut self) {
        self.release();
        if self.buffer.capacity() == 0 {
            self.buffer = self.spare.pop().unwrap_or_default();
        }
        self.buffer.clear();
        self.buffer.resize(frame::HEADER, 0);
        self.making = Some(Group {
            length: 0,
            records: 0,
            generation: 0,
            number: self.group + 1,
            synced: self.synced,
            first: self.next,
            sequences: 0,
        });
    }

    /// The sequence that the next record gets.
    pub(super) fn next_sequence(&self) -> u64 {
        self.making.map_or(self.next, |group| group.next())
    }

    /// Adds a record to the group. Its place is counted from the group's start, in segment 0.
    pub(super) fn append(&mut self, record: &[u8], sequences: u64) -> (u64, Position) {
        let sequence = self.next_sequence();
        let at = position(0, self.buffer.len() as u64, record.len());
        self.buffer.extend_from_slice(record);
        if let Some(group) = &mut self.making {
            group.records += 1;
            group.sequences += sequences;
        }
        (sequence, at)
    }

    /// Writes the group. Not durable before [`Appender::sync`].
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        self.check()?;
        let Some(mut group) = self.making else { return Ok(()) };
        group.length = self.buffer.len();
        if self.segment.end + group.length as u64 > self.segment.open.size {
            self.next_segment(group.length as u64)?;
        }
        (group.generation, group.synced) = (self.segment.open.generation, self.synced);
        group
            .finish(&mut self.buffer)
            .ok_or_else(|| StoreError::Invalid("the group is too long for the log".into()))?;
        let written = Written { group, segment: self.segment.number, offset: self.segment.end };
        match self.segment.open.file.write_at(&self.buffer, self.segment.end) {
            Ok(()) => self.segment.end = align(self.segment.end + group.length as u64),
            Err(error) if is_full(&error) => return Err(StoreError::io("cannot write the log")(error)),
            Err(error) => {
                self.settle(written);
                return self.recover(&error);
            }
        }
        self.settle(written);
        Ok(())
    }

    fn settle(&mut self, written: Written) {
        self.making = None;
        (self.last, self.last_offset) = (Some(written), written.offset);
        self.proven = self.proven.max(written.group.synced);
        self.empty = written.group.records == 0;
        (self.group, self.next) = (written.group.number, written.group.next());
        self.dirty_since.get_or_insert_with(Instant::now);
        self.metrics.group(u64::from(written.group.records), written.group.length as u64);
    }

    /// Gives up the group that is being made: nothing of it counts.
    pub(super) fn abandon(&mut self) {
        self.making = None;
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if self.group == self.synced {
            return Ok(());
        }
        let started = Instant::now();
        let synced = self.segment.open.file.sync();
        add(&self.metrics.syncs, 1);
        add_time(&self.metrics.sync_nanos, started.elapsed());
        match synced {
            Ok(()) => self.clean(),
            Err(error) => return self.recover(&error),
        }
        Ok(())
    }

    fn clean(&mut self) {
        (self.synced, self.synced_end) = (self.group, self.segment.end);
        let free = self.unsynced.drain(..).map(|(_, buffer)| buffer).filter(|buffer| buffer.capacity() <= SPARE);
        self.spare.extend(free);
        self.spare.truncate(SPARES);
        self.dirty_since = None;
    }

    /// A write or a sync failed: the segment is not to be trusted any more, nor is another sync of it.
    /// All that is not known durable is written again, into a new one.
    fn recover(&mut self, error: &std::io::Error) -> Result<(), StoreError> {
        add(&self.metrics.sync_failures, 1);
        let old = self.segments.path(self.segment.number);
        tracing::error!(%error, segment = %old.display(), "the log could not be written; going on in a new segment");
        self.rewrite().inspect_err(|why| self.failed = Some(format!("{error}; in a new segment: {why}")))
    }

    fn rewrite(&mut self) -> Result<(), StoreError> {
        let mut groups = std::mem::take(&mut self.unsynced);
        let current = self.last.map(|last| last.group.number);
        if let Some(last) = self.last.take() {
            groups.push((last, std::mem::take(&mut self.buffer)));
        }
        let needed: u64 = groups.iter().map(|(_, bytes)| align(bytes.len() as u64)).sum();
        self.open_next(needed)?;
        let io = || StoreError::io("cannot write the log");
        for (mut written, mut bytes) in groups {
            (written.segment, written.offset) = (self.segment.number, self.segment.end);
            (written.group.generation, written.group.synced) = (self.segment.open.generation, self.synced);
            written.group.finish(&mut bytes).ok_or_else(|| StoreError::Invalid("the group is too long".into()))?;
            self.segment.open.file.write_at(&bytes, self.segment.end).map_err(io())?;
            self.segment.end = align(self.segment.end + bytes.len() as u64);
            if Some(written.group.number) == current {
                (self.last, self.last_offset, self.buffer) = (Some(written), written.offset, bytes);
            } else {
                self.last_offset = written.offset;
                self.moved.push(Moved { written, bytes });
            }
        }
        self.segment.open.file.sync().map_err(io())?;
        add(&self.metrics.syncs, 1);
        self.clean();
        Ok(())
    }

    /// Moves on to the next segment, once all of this one is durable.
    fn next_segment(&mut self, needed: u64) -> Result<(), StoreError> {
        self.sync()?;
        if self.segment.end + needed > self.segment.open.size { self.open_next(needed) } else { Ok(()) }
    }

    fn open_next(&mut self, needed: u64) -> Result<(), StoreError> {
        let number = self.spares.take()?;
        let mut open = self.segments.get(number)?;
        let size = START + needed;
        if size > open.size {
            let io = || StoreError::io("cannot prepare a long segment");
            zero(&*open.file, open.size, size).and_then(|()| open.file.sync()).map_err(io())?;
            self.segments.forget(number);
            open = self.segments.get(number)?;
        }
        self.segment = Segment { number, open, end: START };
        self.synced_end = START;
        Ok(())
    }

    /// Groups that stand in another place than was said, since this was last called.
    pub(super) fn moved(&mut self) -> Vec<Moved> {
        std::mem::take(&mut self.moved)
    }

    /// Where the last group stands.
    pub(super) fn last(&self) -> Option<(u32, u64)> {
        self.last.map(|last| (last.segment, last.offset))
    }

    /// The end of the log.
    pub(super) fn end(&self) -> Applied {
        Applied {
            segment: self.segment.number,
            offset: self.segment.end,
            group: self.group,
            last: self.last_offset,
            sure: self.synced,
            sure_end: self.synced_end,
            next: self.next,
        }
    }

    /// The last group that is durable.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Why nothing can be written any more, if that is so. What is not durable by then never will be.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Since when something is written and not durable.
    pub(super) fn dirty_since(&self) -> Option<Instant> {
        self.dirty_since
    }

    /// True if too much is written and not durable.
    pub(super) fn must_sync(&self) -> bool {
        let kept: usize = self.unsynced.iter().map(|(_, bytes)| bytes.len()).sum();
        kept as u64 > UNSYNCED
    }

    /// True if damage to the last group could be told from a torn tail.
    pub(super) fn proven(&self) -> bool {
        self.empty || self.proven >= self.synced
    }

    /// Writes an empty group, which states that all before it are durable. It is to be synced as any other:
    /// the index may have been told that the log reaches that far.
    pub(super) fn prove(&mut self) -> Result<(), StoreError> {
        if self.proven() || self.failed.is_some() {
            return Ok(());
        }
        self.begin();
        self.write()?;
        self.release();
        Ok(())
    }

    /// Makes everything durable, and says so in the log.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        self.prove()?;
        self.sync()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.failed.as_ref().map_or(Ok(()), |why| Err(StoreError::Failed(why.clone())))
    }
}

impl Moved {
    /// Its records, where they are now.
    pub(super) fn items(&self, records: &Records) -> Vec<Item> {
        let mut sequence = self.written.group.first;
        let mut items = Vec::new();
        for (at, raw) in frame::records(&self.bytes) {
            let at = position(self.written.segment, self.written.offset + at as u64, raw.len());
            let Ok(fact) = Fact::read(&records.codec, &records.hasher, raw, at) else { continue };
            let taken = fact.sequences();
            items.push(Item { sequence, at, fact });
            sequence += taken;
        }
        items
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
