//! The housekeeping thread: checkpoints, free space, retention.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::directory::{give_ballast, keep_ballast};
use super::entry::DeliveryEntry;
use super::error::StoreError;
use super::find::Finder;
use super::indexer::{IndexRequest, Indexer};
use super::keys;
use super::metrics::{Metrics, add, add_time};
use super::options::StoreOptions;
use super::record::State;
use super::spare::Recycled;
use super::writer::{Commit, Prepared, Request, Until};

/// How often free space and ages are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often old segments are looked for.
const RETAIN_EVERY: Duration = Duration::from_secs(60);

/// What the housekeeping thread is asked.
pub(super) type KeeperJob = Box<dyn FnOnce(&mut Keeper) + Send>;

/// The housekeeping thread.
pub(super) struct Keeper {
    pub(super) finder: Arc<Finder>,
    pub(super) options: Arc<StoreOptions>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) recycled: Arc<Recycled>,
    pub(super) log: SyncSender<Request>,
    pub(super) index: SyncSender<IndexRequest>,
    /// True while so little space is free that nothing more is accepted.
    pub(super) low: Arc<AtomicBool>,
    /// The time at opening.
    pub(super) opened: (Timestamp, Instant),
    pub(super) checkpointed: (u64, u64, Instant),
    pub(super) retained: Instant,
}

impl Keeper {
    /// Runs until the store is closed.
    pub(super) fn run(mut self, jobs: &Receiver<KeeperJob>, stop: &AtomicBool) {
        let tick = TICK.min(self.options.checkpoint_every);
        while !stop.load(Ordering::Acquire) {
            match jobs.recv_timeout(tick) {
                Ok(job) => job(&mut self),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.look();
        if self.finder.progress.check().is_err() {
            return;
        }
        let bytes = self.metrics.bytes.load(Ordering::Relaxed) - self.checkpointed.1;
        let due =
            self.checkpointed.2.elapsed() >= self.options.checkpoint_every || bytes >= self.options.checkpoint_bytes;
        if due && let Err(error) = self.checkpoint() {
            tracing::error!(%error, "the index could not be made durable");
        }
        if self.retained.elapsed() >= RETAIN_EVERY {
            self.retained = Instant::now();
            let before = self.now().checked_sub(self.options.keep).unwrap_or(Timestamp::MIN);
            if let Err(error) = self.retain(before) {
                tracing::error!(%error, "old segments could not be dropped");
            }
        }
    }

    /// The time, by the clock at opening and what has passed since.
    pub(super) fn now(&self) -> Timestamp {
        self.opened.0.checked_add(self.opened.1.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// Makes the index durable, and the log before it, so that the index is never ahead.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        let applied = self.finder.progress.applied();
        if applied == self.checkpointed.0 {
            self.checkpointed.2 = Instant::now();
            return Ok(());
        }
        self.make_durable(applied)
    }

    /// Makes the index durable as it is, whether or not something was applied since it last was.
    pub(super) fn make_durable(&mut self, applied: u64) -> Result<(), StoreError> {
        self.commit(Vec::new())?;
        let (started, bytes) = (Instant::now(), self.metrics.bytes.load(Ordering::Relaxed));
        self.finder.index.checkpoint()?;
        self.finder.index.no_blobs().inspect_err(|error| self.finder.progress.set_broken(error))?;
        add(&self.metrics.checkpoints, 1);
        add_time(&self.metrics.checkpoint_nanos, started.elapsed());
        self.checkpointed = (applied, bytes, Instant::now());
        Ok(())
    }

    /// Writes records, and waits until they are durable and in the index.
    pub(super) fn commit(&self, records: Vec<Prepared>) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        let commit = Commit { records, until: Until::Durable, reply, permit: None };
        self.log.send(Request::Commit(commit)).map_err(|_| StoreError::Closed)?;
        done.blocking_recv().map_err(|_| StoreError::Closed)?.map(drop)
    }

    /// Runs `work` on the index's thread, between two groups.
    pub(super) fn between_groups<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Indexer) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        let job = Box::new(move |indexer: &Indexer| super::writer::answer(reply, work(indexer)));
        self.index.send(IndexRequest::Job(job)).map_err(|_| StoreError::Closed)?;
        done.blocking_recv().map_err(|_| StoreError::Closed)
    }

    /// Looks at the disk and at the heads of the queues.
    pub(super) fn look(&self) {
        let (disk, dir) = (&self.options.disk, &self.options.dir);
        let free = disk.free_bytes(dir).unwrap_or(0);
        self.low.store(free < self.options.min_free_bytes, Ordering::Release);
        if free < self.options.segment_bytes.saturating_mul(2) && give_ballast(&**disk, dir) {
            tracing::warn!(free, "the disk is nearly full: gave up the ballast file");
        } else {
            keep_ballast(&**disk, dir, self.options.ballast_bytes, self.options.min_free_bytes);
        }
        let segments = &self.finder.records.segments;
        let log_bytes = segments.numbers().map_or(0, |numbers| numbers.len() as u64) * self.options.segment_bytes
            + self.recycled.len() as u64 * self.options.segment_bytes;
        let index_bytes = self.finder.index.size();
        let oldest = self.finder.tallies.names(b'd').into_iter().filter_map(|name| {
            let prefix = keys::queue_prefix(&name, State::Queued);
            let (key, _) = self.finder.index.prefix(&prefix).next()?.ok()?;
            let entry = self.finder.index.get::<DeliveryEntry>(&keys::delivery(keys::number(&key))).ok()??;
            Some((name, entry.created))
        });
        let oldest = oldest.collect();
        self.finder.tallies.set_rest(|rest| {
            (rest.oldest, rest.log_bytes, rest.index_bytes, rest.free_bytes) = (oldest, log_bytes, index_bytes, free);
        });
    }

    /// Copies the log and the payloads to `to`; the index is rebuilt from them when that is opened.
    pub(super) fn backup(&self, to: &PathBuf) -> Result<u64, StoreError> {
        let io = |what: &str| StoreError::io(format!("cannot {what} in {}", to.display()));
        if std::fs::read_dir(to).is_ok_and(|mut there| there.next().is_some()) {
            return Err(StoreError::Invalid(format!(
                "{} is not empty; a backup goes to a new directory",
                to.display()
            )));
        }
        self.commit(Vec::new())?;
        let mut copied = 0;
        for (from, into) in [(self.finder.records.segments.dir(), "wal"), (self.finder.records.big.dir(), "big")] {
            let into = to.join(into);
            std::fs::create_dir_all(&into).map_err(io("create a directory"))?;
            for name in self.options.disk.list(from).map_err(io("list"))? {
                if name.ends_with(".seg") && name != "new.seg" || name.ends_with(".bin") {
                    copied += self.copy(&from.join(&name), &into.join(&name)).map_err(io("copy a file"))?;
                }
            }
            std::fs::File::open(&into).and_then(|dir| dir.sync_all()).map_err(io("sync a directory"))?;
        }
        let key = "search.key";
        std::fs::copy(self.options.dir.join(key), to.join(key)).map_err(io("copy the search key"))?;
        std::fs::File::open(to).and_then(|dir| dir.sync_all()).map_err(io("sync a directory"))?;
        Ok(copied)
    }

    fn copy(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<u64> {
        let (source, mut target) = (self.options.disk.open(from)?, std::fs::File::create(to)?);
        let (mut buffer, mut at) = (vec![0; 1 << 20], 0);
        loop {
            let read = source.read_at(&mut buffer, at)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            std::io::Write::write_all(&mut target, bytes)?;
            at += read as u64;
        }
        target.sync_all()?;
        Ok(at)
    }
}
