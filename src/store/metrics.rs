//! What the store has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets of [`StoreMetrics::group_records`]; the last has none.
pub const GROUP_BUCKETS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// What the store has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreMetrics {
    /// Groups written.
    pub groups: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// `fdatasync` calls on the log.
    pub syncs: u64,
    /// Time in them.
    pub sync_time: Duration,
    /// `fdatasync` calls that failed; each cost a segment.
    pub sync_failures: u64,
    /// Messages accepted.
    pub accepted: u64,
    /// Messages answered as duplicates.
    pub duplicates: u64,
    /// Control ids used again for other bytes.
    pub conflicts: u64,
    /// Messages refused because the disk is full or nearly so.
    pub refused_full: u64,
    /// Commits.
    pub commits: u64,
    /// Checkpoints of the index, and the time in them.
    pub checkpoints: u64,
    /// Time in checkpoints.
    pub checkpoint_time: Duration,
    /// Records that are in the log and not yet in the index.
    pub index_lag: u64,
    /// Groups by how many records they have: up to each of [`GROUP_BUCKETS`], then more.
    pub group_records: [u64; 10],
}

/// The counters behind [`StoreMetrics`].
#[derive(Default)]
pub(super) struct Metrics {
    pub(super) groups: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_nanos: AtomicU64,
    pub(super) sync_failures: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) refused_full: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) checkpoint_nanos: AtomicU64,
    buckets: [AtomicU64; 10],
}

impl Metrics {
    /// Counts a group.
    pub(super) fn group(&self, records: u64, bytes: u64) {
        add(&self.groups, 1);
        add(&self.records, records);
        add(&self.bytes, bytes);
        let bucket = GROUP_BUCKETS.iter().position(|bound| records <= *bound).unwrap_or(GROUP_BUCKETS.len());
        self.buckets.get(bucket).into_iter().for_each(|count| add(count, 1));
    }

    pub(super) fn snapshot(&self, index_lag: u64) -> StoreMetrics {
        let mut group_records = [0; 10];
        group_records.iter_mut().zip(&self.buckets).for_each(|(to, from)| *to = from.load(Relaxed));
        StoreMetrics {
            groups: self.groups.load(Relaxed),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            sync_time: Duration::from_nanos(self.sync_nanos.load(Relaxed)),
            sync_failures: self.sync_failures.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            refused_full: self.refused_full.load(Relaxed),
            commits: self.commits.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            checkpoint_time: Duration::from_nanos(self.checkpoint_nanos.load(Relaxed)),
            index_lag,
            group_records,
        }
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Relaxed);
}

/// Adds a time to a counter of nanoseconds.
pub(super) fn add_time(counter: &AtomicU64, by: Duration) {
    add(counter, u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
}
