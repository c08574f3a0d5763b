//! The index's own thread: writes what is in memory to sled, and makes it durable.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::StoreError;
use super::index::Index;
use super::metrics::{Metrics, add, add_time};
use super::progress::Progress;

/// So many entries in memory make a checkpoint due.
const DUE: usize = 30_000;
/// With so many the index's thread waits until one is done.
const FULL: usize = 120_000;

/// Makes checkpoints.
pub(super) struct Checkpoints {
    pub(super) index: Arc<Index>,
    pub(super) progress: Arc<Progress>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) every: Duration,
    /// How much log may be written between two.
    pub(super) bytes: u64,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

/// What the threads tell each other.
#[derive(Default)]
pub(super) struct State {
    due: bool,
    stopped: bool,
    /// Bytes of log at the last one.
    at_bytes: u64,
}

impl Checkpoints {
    /// Makes a checkpoint whenever one is due, until it is stopped.
    pub(super) fn run(&self) {
        loop {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = self.changed.wait_timeout_while(state, self.every, |state| !state.due && !state.stopped);
            let (mut state, _) = wait.unwrap_or_else(PoisonError::into_inner);
            if state.stopped {
                return;
            }
            state.due = false;
            drop(state);
            if self.progress.check().is_ok()
                && let Err(error) = self.make()
            {
                tracing::error!(%error, "the index could not be made durable");
                if !matches!(error, StoreError::Failed(_)) {
                    self.progress.set_broken(&error);
                }
            }
        }
    }

    /// Makes one now. Blocks.
    pub(super) fn make(&self) -> Result<(), StoreError> {
        let started = Instant::now();
        let bytes = self.metrics.bytes.load(Ordering::Relaxed);
        let written = self.index.write_out(|applied| self.progress.wait_synced(applied.next))?;
        if written {
            self.index.sync()?;
            self.index.no_blobs()?;
            add(&self.metrics.checkpoints, 1);
            add_time(&self.metrics.checkpoint_nanos, started.elapsed());
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).at_bytes = bytes;
        self.changed.notify_all();
        Ok(())
    }

    /// Says that `entries` are in memory: asks for a checkpoint, and waits for it where they are too many.
    pub(super) fn grown_to(&self, entries: usize) {
        let bytes = self.metrics.bytes.load(Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if entries < DUE && bytes.saturating_sub(state.at_bytes) < self.bytes {
            return;
        }
        state.due = true;
        self.changed.notify_all();
        while self.index.waiting() >= FULL && self.progress.check().is_ok() && !state.stopped {
            state = self.changed.wait_timeout(state, self.every).unwrap_or_else(PoisonError::into_inner).0;
            state.due = true;
            self.changed.notify_all();
        }
    }

    /// Ends [`Checkpoints::run`].
    pub(super) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.changed.notify_all();
    }
}
