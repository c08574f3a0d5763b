//! A group of records as it stands in a segment: written once, checked as one.
//!
//! ```text
//! 0  magic            u32     24 group number               u64
//! 4  CRC32C of 8..    u32     32 last group known durable   u64
//! 8  length           u32     40 first sequence             u64
//! 12 records          u32     48 sequences taken            u64
//! 16 generation       u64     56 records, one after another
//! ```
//!
//! The generation is random and new each time a segment is used, so that neither stale bytes of a
//! recycled segment nor bytes that a sender made up are taken for a group.

use super::codec;
use super::little_endian::{put, u32_at, u64_at};

/// Bytes before the records.
pub(super) const HEADER: usize = 56;
const MAGIC: u32 = u32::from_le_bytes(*b"TRBG");

/// What a group's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Bytes in all, header included.
    pub(super) length: usize,
    pub(super) records: u32,
    pub(super) generation: u64,
    /// Rises by one from group to group over the whole log.
    pub(super) number: u64,
    /// The last group that was durable when this one was written.
    pub(super) synced: u64,
    /// The sequence of its first record.
    pub(super) first: u64,
    /// How many sequences its records take.
    pub(super) sequences: u64,
}

impl Group {
    /// The sequence after its last.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(self.sequences)
    }

    /// Fills in the header of `buffer`, whose records are in place behind [`HEADER`] bytes of room.
    pub(super) fn finish(&self, buffer: &mut [u8]) -> Option<()> {
        put(buffer, 0, &MAGIC.to_le_bytes());
        put(buffer, 8, &u32::try_from(self.length).ok()?.to_le_bytes());
        put(buffer, 12, &self.records.to_le_bytes());
        put(buffer, 16, &self.generation.to_le_bytes());
        put(buffer, 24, &self.number.to_le_bytes());
        put(buffer, 32, &self.synced.to_le_bytes());
        put(buffer, 40, &self.first.to_le_bytes());
        put(buffer, 48, &self.sequences.to_le_bytes());
        let crc = crc32c::crc32c(buffer.get(8..self.length)?);
        put(buffer, 4, &crc.to_le_bytes());
        Some(())
    }

    /// The header at the head of `bytes`, if there is one of this generation. Not yet checked.
    pub(super) fn peek(bytes: &[u8], generation: u64) -> Option<Self> {
        let group = Self {
            length: u32_at(bytes, 8)? as usize,
            records: u32_at(bytes, 12)?,
            generation: u64_at(bytes, 16)?,
            number: u64_at(bytes, 24)?,
            synced: u64_at(bytes, 32)?,
            first: u64_at(bytes, 40)?,
            sequences: u64_at(bytes, 48)?,
        };
        (u32_at(bytes, 0)? == MAGIC && group.generation == generation && group.length >= HEADER).then_some(group)
    }

    /// True if all of `bytes` is this group, unharmed.
    pub(super) fn checks(&self, bytes: &[u8]) -> bool {
        let sum = bytes.get(8..self.length).map(crc32c::crc32c);
        sum.is_some() && sum == u32_at(bytes, 4)
    }
}

/// Where the next group may start.
pub(super) fn align(offset: u64) -> u64 {
    offset.next_multiple_of(8)
}

/// The records of a whole group: where each starts in it, and its bytes.
pub(super) fn records(group: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let rest = group.get(at..).filter(|rest| !rest.is_empty())?;
        let raw = rest.get(..codec::length(rest)?)?;
        let found = (at, raw);
        at += raw.len();
        Some(found)
    })
}
