//! Reads the log group by group, and tells a torn tail from damage.
//!
//! A group that does not check is the torn tail if nothing behind it proves that it was ever durable:
//! no later group says so in its `synced` field. Then nobody was told that it was, and it is cut. If
//! one does, the group was there once and has been damaged since: it is named and skipped.

use std::ops::ControlFlow;

use super::disk::DiskFile;
use super::entry::Applied;
use super::error::{Damage, StoreError};
use super::frame::{Group, align};
use super::segment::{Open, START, Segments, damage};

const CHUNK: usize = 1 << 20;

/// What the log holds next.
pub(super) enum Found {
    /// A whole group.
    Group(Whole),
    /// A range that cannot be read, with readable groups behind it.
    Damage(Damage),
    /// The end: where the next group is to be written.
    End(End),
}

/// One group and where it is.
pub(super) struct Whole {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) group: Group,
    pub(super) bytes: Vec<u8>,
}

impl Whole {
    /// How far the log is with it. `next` is the least sequence that may follow.
    pub(super) fn end(&self, next: u64) -> Applied {
        let offset = align(self.offset + self.group.length as u64);
        Applied {
            segment: self.segment,
            offset,
            group: self.group.number,
            last: self.offset,
            sure: self.group.number,
            sure_end: offset,
            next: self.group.next().max(next),
        }
    }
}

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) segment: u32,
    pub(super) offset: u64,
    /// Bytes of groups that never became durable, to be overwritten with zeros.
    pub(super) torn: u64,
}

/// A walk over the log.
pub(super) struct Scan<'a> {
    segments: &'a Segments,
    numbers: Vec<u32>,
    /// Index into `numbers`.
    at: usize,
    offset: u64,
    /// The group expected next; `None` at the very first.
    expected: Option<u64>,
    window: Window,
}

impl<'a> Scan<'a> {
    /// From the first segment that is there.
    pub(super) fn all(segments: &'a Segments) -> Result<Self, StoreError> {
        let numbers = segments.numbers()?;
        Ok(Self { segments, numbers, at: 0, offset: START, expected: None, window: Window::default() })
    }

    /// From a known place on, where group `expected` is to be found. `None` if that segment is gone.
    pub(super) fn from(
        segments: &'a Segments,
        segment: u32,
        offset: u64,
        expected: u64,
    ) -> Result<Option<Self>, StoreError> {
        let numbers = segments.numbers()?;
        let at = numbers.iter().position(|number| *number == segment);
        let window = Window::default();
        Ok(at.map(|at| Self { segments, numbers, at, offset, expected: Some(expected), window }))
    }

    /// One segment alone.
    pub(super) fn one(segments: &'a Segments, number: u32) -> Self {
        let numbers = vec![number];
        Self { segments, numbers, at: 0, offset: START, expected: None, window: Window::default() }
    }

    /// True if all groups that the index saw are in the log: those that were not durable when it saw
    /// them may have gone with the power, one or the other.
    pub(super) fn holds(segments: &'a Segments, applied: &Applied) -> Result<bool, StoreError> {
        if applied.last == 0 {
            return Ok(true);
        }
        let Some(mut scan) = Self::from(segments, applied.segment, applied.sure_end, applied.sure + 1)? else {
            return Ok(false);
        };
        let Ok(open) = segments.get(applied.segment) else { return Ok(false) };
        let last = scan.group(applied.segment, &open, applied.last)?;
        if last.is_none_or(|(group, _)| group.number != applied.group) {
            return Ok(false);
        }
        while scan.offset < applied.offset {
            match scan.group(applied.segment, &open, scan.offset)? {
                Some((group, _)) => scan.offset = align(scan.offset + group.length as u64),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// What comes next. After [`Found::End`] there is nothing.
    pub(super) fn next(&mut self) -> Result<Found, StoreError> {
        loop {
            let Some(&number) = self.numbers.get(self.at) else {
                return Ok(Found::End(End { segment: 0, offset: START, torn: 0 }));
            };
            let segment = match self.segments.get(number) {
                Ok(segment) => segment,
                Err(StoreError::Damaged(damage)) => {
                    self.step();
                    return Ok(Found::Damage(damage));
                }
                Err(other) => return Err(other),
            };
            if let Some((group, bytes)) = self.group(number, &segment, self.offset)? {
                if let Some(expected) = self.expected.filter(|expected| group.number != *expected) {
                    if group.number < expected {
                        // Written again in a new segment after a failed fdatasync: the first copy was whole.
                        self.offset = align(self.offset + group.length as u64);
                        continue;
                    }
                    let (segment, from, to) = self.before(number);
                    self.expected = Some(group.number);
                    return Ok(Found::Damage(damage(segment, from, to, "groups of records are missing")));
                }
                let whole = Whole { segment: number, offset: self.offset, group, bytes };
                self.offset = align(self.offset + group.length as u64);
                self.expected = Some(group.number + 1);
                return Ok(Found::Group(whole));
            }
            if let ControlFlow::Break(found) = self.gap(number, &segment)? {
                return Ok(found);
            }
        }
    }

    /// No group at the offset: the end of this segment, damage, or the end of the log.
    fn gap(&mut self, number: u32, segment: &Open) -> Result<ControlFlow<Found>, StoreError> {
        let expected = self.expected.unwrap_or(1);
        // Lower numbers: groups that were written again in a new segment after a failed fdatasync.
        if self.expected.is_some() && self.first_of_next()?.is_some_and(|first| first <= expected) {
            self.step();
            return Ok(ControlFlow::Continue(()));
        }
        if let Some(found) = self.search(number, segment, self.offset + 8, expected)? {
            if self.proven(self.at, found, expected)? {
                let from = std::mem::replace(&mut self.offset, found);
                if let Some((group, _)) = self.group(number, segment, found)? {
                    self.expected = Some(group.number);
                }
                let what = "groups of records do not match their checksums";
                return Ok(ControlFlow::Break(Found::Damage(damage(number, from, found, what))));
            }
            return self.end(number, segment).map(ControlFlow::Break);
        }
        let mut later = self.at + 1;
        while let Some(&next) = self.numbers.get(later) {
            if self.segments.get(next).is_err() {
                self.at = later;
                self.offset = START;
                return Ok(ControlFlow::Continue(()));
            }
            if self.proven(later, START, expected)? {
                let from = self.offset;
                (self.at, self.offset) = (later, START);
                if self.expected.is_none() {
                    return Ok(ControlFlow::Continue(()));
                }
                let next = self.numbers.get(later).copied().unwrap_or(next);
                let open = self.segments.get(next)?;
                self.expected = self.group(next, &open, START)?.map(|(group, _)| group.number).or(self.expected);
                let what = "groups of records at the end of the segment do not match their checksums";
                return Ok(ControlFlow::Break(Found::Damage(damage(number, from, segment.size, what))));
            }
            later += 1;
        }
        self.end(number, segment).map(ControlFlow::Break)
    }

    /// The end of the log is here; whatever of this generation lies behind never became durable.
    fn end(&mut self, number: u32, segment: &Open) -> Result<Found, StoreError> {
        let mut end = self.offset;
        let head = self.window.bytes(number, segment, self.offset, super::frame::HEADER)?;
        if let Some(group) = Group::peek(head, segment.generation) {
            end = end.max((self.offset + group.length as u64).min(segment.size));
        }
        let mut from = self.offset;
        while let Some(at) = self.search(number, segment, from + 8, 0)? {
            let length = self.group(number, segment, at)?.map_or(0, |(group, _)| group.length as u64);
            end = end.max(at + length);
            from = at;
        }
        Ok(Found::End(End { segment: number, offset: self.offset, torn: end - self.offset }))
    }

    fn step(&mut self) {
        self.at += 1;
        self.offset = START;
    }

    /// What is missing before the first group of a segment: the end of the one before.
    fn before(&self, number: u32) -> (u32, u64, u64) {
        match self.at.checked_sub(1).and_then(|at| self.numbers.get(at)) {
            Some(&before) if self.offset == START => {
                let size = self.segments.get(before).map_or(START, |segment| segment.size);
                (before, size, size)
            }
            _ => (number, self.offset, self.offset),
        }
    }

    /// The number of the first group in the next segment, if there is one.
    fn first_of_next(&mut self) -> Result<Option<u64>, StoreError> {
        let Some(&next) = self.numbers.get(self.at + 1) else { return Ok(None) };
        let Ok(segment) = self.segments.get(next) else { return Ok(None) };
        Ok(self.group(next, &segment, START)?.map(|(group, _)| group.number))
    }

    /// True if some group from here on says that group `lost` was durable.
    fn proven(&mut self, at: usize, offset: u64, lost: u64) -> Result<bool, StoreError> {
        let mut from = offset;
        for number in self.numbers.get(at..).unwrap_or_default().to_vec() {
            let Ok(segment) = self.segments.get(number) else { continue };
            let mut next = match self.group(number, &segment, from)? {
                Some(_) => Some(from),
                None => self.search(number, &segment, from + 8, 0)?,
            };
            while let Some(offset) = next {
                let Some((group, _)) = self.group(number, &segment, offset)? else { break };
                if group.number > lost && group.synced >= lost {
                    return Ok(true);
                }
                let behind = align(offset + group.length as u64);
                next = match self.group(number, &segment, behind)? {
                    Some(_) => Some(behind),
                    None => self.search(number, &segment, behind, 0)?,
                };
            }
            from = START;
        }
        Ok(false)
    }

    /// The next whole group from `from` on whose number is not below `least`.
    fn search(&mut self, number: u32, segment: &Open, from: u64, least: u64) -> Result<Option<u64>, StoreError> {
        let mut at = align(from);
        while at < segment.size {
            let chunk = self.window.bytes(number, segment, at, CHUNK)?;
            let hits: Vec<u64> = memchr::memmem::find_iter(chunk, b"TRBG")
                .map(|hit| at + hit as u64)
                .filter(|hit| hit % 8 == 0)
                .collect();
            let read = chunk.len() as u64;
            for hit in hits {
                if self.group(number, segment, hit)?.is_some_and(|(group, _)| group.number >= least) {
                    return Ok(Some(hit));
                }
            }
            if read == 0 {
                break;
            }
            at = align(at + read);
        }
        Ok(None)
    }

    /// The whole and unharmed group at `offset`, if there is one.
    fn group(&mut self, number: u32, segment: &Open, offset: u64) -> Result<Option<(Group, Vec<u8>)>, StoreError> {
        let head = self.window.bytes(number, segment, offset, super::frame::HEADER)?;
        let Some(group) = Group::peek(head, segment.generation) else { return Ok(None) };
        if offset + group.length as u64 > segment.size {
            return Ok(None);
        }
        let bytes = self.window.bytes(number, segment, offset, group.length)?;
        Ok(group.checks(bytes).then(|| (group, bytes.to_vec())))
    }
}

/// The part of a segment that is in memory.
#[derive(Default)]
struct Window {
    segment: Option<(u32, u64)>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Up to `length` bytes at `offset`: fewer only where the segment ends.
    fn bytes(&mut self, number: u32, segment: &Open, offset: u64, length: usize) -> Result<&[u8], StoreError> {
        let here = Some((number, segment.generation));
        let wanted = (length as u64).min(segment.size.saturating_sub(offset));
        let inside =
            self.segment == here && offset >= self.start && offset + wanted <= self.start + self.bytes.len() as u64;
        if !inside {
            let size = length.max(CHUNK);
            self.fill(&*segment.file, offset, size)
                .map_err(StoreError::io(format!("cannot read {}", super::segment::name(number))))?;
            self.segment = here;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..length).unwrap_or(rest))
    }

    fn fill(&mut self, file: &dyn DiskFile, offset: u64, size: usize) -> std::io::Result<()> {
        self.bytes.resize(size, 0);
        let read = file.read_at(&mut self.bytes, offset)?;
        self.bytes.truncate(read);
        self.start = offset;
        Ok(())
    }
}
