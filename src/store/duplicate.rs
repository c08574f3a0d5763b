//! Has this sender used this control id before? Answered without touching the index for nearly all
//! messages, whatever the store holds.
//!
//! What is newer than the index is in a map; a Bloom filter over the rest says "never" for new ids.
//! Only "perhaps" costs a look into the index. After opening, the filter fills from the index in the
//! background, the newest bucket first; what it does not cover yet is "perhaps".

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use message::{MessageId, Sha256};

use super::entry::MessageEntry;
use super::error::StoreError;
use super::index::Index;
use super::keys;

/// Entries of one filter; then a new one begins.
const ENTRIES: usize = 1 << 20;
/// Words of 64 bits of one filter: 24 bits for each entry, 3 MiB. Two in a hundred thousand new ids are
/// "perhaps", which costs a look into each of the buckets of a filter.
const WORDS: usize = ENTRIES * 24 / 64;
const PROBES: u64 = 10;

/// Who used a control id before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) id: MessageId,
    pub(super) sha256: Sha256,
    pub(super) at: Timestamp,
}

/// The duplicate check of the log's thread.
pub(super) struct Duplicates {
    window: Duration,
    index: Arc<Index>,
    filters: Arc<Filters>,
    recent: HashMap<[u8; 16], Vec<Earlier>>,
    order: VecDeque<(u64, [u8; 16], MessageId)>,
}

impl Duplicates {
    pub(super) fn new(window: Duration, index: Arc<Index>, filters: Arc<Filters>) -> Self {
        Self { window, index, filters, recent: HashMap::new(), order: VecDeque::new() }
    }

    /// The messages that used `key` within the window before `now`, the earliest first. `next` is the
    /// sequence to be given next.
    pub(super) fn earlier(&self, key: &[u8; 16], now: Timestamp, next: u64) -> Result<Vec<Earlier>, StoreError> {
        let oldest = now.checked_sub(self.window).unwrap_or(Timestamp::MIN);
        let mut found = Vec::new();
        for bucket in self.filters.buckets(key, keys::bucket(next)) {
            for entry in self.index.prefix(&keys::control_prefix(bucket, key)) {
                let id = id_of(&entry?.1);
                if let Some(entry) = self.index.get::<MessageEntry>(&keys::message(&id))? {
                    found.push(Earlier { id, sha256: entry.sha256, at: entry.received });
                }
            }
        }
        for recent in self.recent.get(key).into_iter().flatten() {
            if !found.iter().any(|earlier| earlier.id == recent.id) {
                found.push(*recent);
            }
        }
        found.retain(|earlier| earlier.at >= oldest);
        Ok(found)
    }

    /// Notes that the message with `sequence` used `key`.
    pub(super) fn note(&mut self, key: [u8; 16], sequence: u64, earlier: Earlier) {
        self.recent.entry(key).or_default().push(earlier);
        self.order.push_back((sequence, key, earlier.id));
        let oldest = earlier.at.checked_sub(self.window).unwrap_or(Timestamp::MIN);
        self.filters.add(&key, keys::bucket(sequence), earlier.at, oldest);
    }

    /// What has a sequence below `applied` is in the index now.
    pub(super) fn settle(&mut self, applied: u64) {
        while let Some((_, key, id)) = self.order.front().copied().filter(|(sequence, ..)| *sequence < applied) {
            self.order.pop_front();
            self.forget(&key, &id);
        }
    }

    /// What has `sequence` or a later one was not written after all.
    pub(super) fn undo(&mut self, sequence: u64) {
        while let Some((_, key, id)) = self.order.back().copied().filter(|(noted, ..)| *noted >= sequence) {
            self.order.pop_back();
            self.forget(&key, &id);
        }
    }

    fn forget(&mut self, key: &[u8; 16], id: &MessageId) {
        if let Some(users) = self.recent.get_mut(key) {
            users.retain(|user| user.id != *id);
            if users.is_empty() {
                self.recent.remove(key);
            }
        }
    }
}

/// The Bloom filters, shared with the thread that fills them.
pub(super) struct Filters(Mutex<Parts>);

struct Parts {
    filters: Vec<Filter>,
    /// Buckets below this are not in the filters (yet): "perhaps".
    uncovered: u32,
    /// The lowest bucket that is worth looking at.
    lowest: u32,
}

struct Filter {
    bits: Box<[u64]>,
    entries: usize,
    first: u32,
    last: u32,
    newest: Timestamp,
}

impl Filters {
    /// Nothing is known of the buckets from `lowest` up to that of `next`.
    pub(super) fn new(lowest: u32, next: u64) -> Self {
        let uncovered = keys::bucket(next) + 1;
        Self(Mutex::new(Parts { filters: Vec::new(), uncovered, lowest }))
    }

    /// The buckets that may hold `key`.
    fn buckets(&self, key: &[u8; 16], newest: u32) -> Vec<u32> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buckets: Vec<u32> = (parts.lowest..parts.uncovered.min(newest.saturating_add(1))).collect();
        for filter in parts.filters.iter().filter(|filter| filter.has(key)) {
            buckets.extend(filter.first..=filter.last);
        }
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    /// Adds a key of a message received `at`. Filters that know of nothing since `oldest` are dropped.
    fn add(&self, key: &[u8; 16], bucket: u32, at: Timestamp, oldest: Timestamp) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match parts.filters.last_mut().filter(|filter| filter.entries < ENTRIES) {
            Some(filter) => filter.add(key, bucket, at),
            None => {
                let mut filter = Filter::new(bucket);
                filter.add(key, bucket, at);
                parts.filters.retain(|filter| filter.newest >= oldest);
                parts.filters.push(filter);
            }
        }
    }

    /// Fills the filters from the index, the newest bucket first, until `stop` says so. Blocks.
    pub(super) fn load(&self, index: &Index, stop: impl Fn() -> bool) -> Result<(), StoreError> {
        let (lowest, uncovered) = {
            let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (parts.lowest, parts.uncovered)
        };
        let mut building: Option<Filter> = None;
        for bucket in (lowest..uncovered).rev() {
            let mut filter = match building.take() {
                Some(filter) if filter.entries < ENTRIES => filter,
                full => {
                    self.publish(full, bucket + 1);
                    Filter::new(bucket)
                }
            };
            filter.first = bucket;
            for entry in index.prefix(&keys::control_prefix(bucket, &[])) {
                if stop() {
                    return Ok(());
                }
                let (key, value) = entry?;
                if let Some(hash) = key.get(5..).and_then(<[u8]>::first_chunk) {
                    filter.add(hash, bucket, time_of(&id_of(&value)));
                }
            }
            building = Some(filter);
        }
        self.publish(building, lowest);
        Ok(())
    }

    /// From now on, `filter` answers for the buckets from `uncovered` on.
    fn publish(&self, filter: Option<Filter>, uncovered: u32) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filter {
            parts.filters.insert(0, filter);
            parts.uncovered = uncovered;
        }
    }
}

impl Filter {
    fn new(bucket: u32) -> Self {
        let bits = vec![0; WORDS].into_boxed_slice();
        Self { bits, entries: 0, first: bucket, last: bucket, newest: Timestamp::MIN }
    }

    fn add(&mut self, key: &[u8; 16], bucket: u32, at: Timestamp) {
        for (word, bit) in probes(key) {
            if let Some(word) = self.bits.get_mut(word) {
                *word |= bit;
            }
        }
        self.entries += 1;
        (self.first, self.last) = (self.first.min(bucket), self.last.max(bucket));
        self.newest = self.newest.max(at);
    }

    fn has(&self, key: &[u8; 16]) -> bool {
        probes(key).all(|(word, bit)| self.bits.get(word).is_some_and(|word| word & bit != 0))
    }
}

/// The bits of a key, which is a hash already: double hashing over its halves.
fn probes(key: &[u8; 16]) -> impl Iterator<Item = (usize, u64)> {
    let [low, high] = [key.first_chunk(), key.last_chunk()].map(|half| half.copied().map_or(0, u64::from_le_bytes));
    (0..PROBES).map(move |probe| {
        let bit = low.wrapping_add(probe.wrapping_mul(high | 1)) % (WORDS as u64 * 64);
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    })
}

/// The time in a UUIDv7.
pub(super) fn time_of(id: &MessageId) -> Timestamp {
    let bytes = id.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
    let millis = u64::from_be_bytes(bytes) >> 16;
    Timestamp::from_millisecond(i64::try_from(millis).unwrap_or(0)).unwrap_or(Timestamp::MIN)
}

/// The message id that a value is.
pub(super) fn id_of(value: &[u8]) -> MessageId {
    MessageId(uuid::Uuid::from_bytes(value.first_chunk().copied().unwrap_or_default()))
}
