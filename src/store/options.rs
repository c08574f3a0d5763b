//! Where a store lives and how it behaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, RealDisk};

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a store lives and how it behaves. Sizes are in bytes.
#[derive(Clone)]
pub struct StoreOptions {
    /// The data directory.
    pub dir: PathBuf,
    /// How long a segment of the log is.
    pub segment_bytes: u64,
    /// Payloads longer than this get a file of their own.
    pub big_threshold: usize,
    /// Records longer than this are compressed where that helps.
    pub compress_from: usize,
    /// How often the index is made durable.
    pub checkpoint_every: Duration,
    /// How much log may be written between two checkpoints.
    pub checkpoint_bytes: u64,
    /// How long a commit that need not be durable may wait for one that must.
    pub sync_within: Duration,
    /// A file that takes up space, given up to get out of a full disk.
    pub ballast_bytes: u64,
    /// Intake stops when less than this is free; deliveries go on.
    pub min_free_bytes: u64,
    /// For how long the same control id from the same sender is the same message.
    pub duplicate_window: Duration,
    /// For how long messages that are done with are kept.
    pub keep: Duration,
    /// How much memory requests that wait for the log may take.
    pub in_flight_bytes: usize,
    /// How much memory the index's cache may take.
    pub cache_bytes: u64,
    /// How much memory messages that are about to be sent may take.
    pub warm_bytes: usize,
    /// How many threads answer queries.
    pub readers: usize,
    /// Thirty-two bytes: payloads and records are encrypted at rest with them.
    pub encryption_key: Option<[u8; 32]>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
}

impl StoreOptions {
    /// The usual behaviour, in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 * MIB,
            big_threshold: 512 * 1024,
            compress_from: 4096,
            checkpoint_every: Duration::from_secs(2),
            checkpoint_bytes: 256 * MIB,
            sync_within: Duration::from_millis(5),
            ballast_bytes: 64 * MIB,
            min_free_bytes: 512 * MIB,
            duplicate_window: 7 * DAY,
            keep: 30 * DAY,
            in_flight_bytes: 64 << 20,
            cache_bytes: 32 * MIB,
            warm_bytes: 64 << 20,
            readers: 2,
            encryption_key: None,
            disk: Arc::new(RealDisk),
        }
    }
}

/// Leaves the key out.
impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreOptions({}, encrypted: {})", self.dir.display(), self.encryption_key.is_some())
    }
}
