//! How far the log is written and durable, and how far it is in the index.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::error::StoreError;

/// Shared by the log's thread, the index's thread and all readers.
#[derive(Default)]
pub(super) struct Progress {
    /// The sequence after the last that was handed to the index.
    written: AtomicU64,
    /// The sequence after the last that is in the index.
    applied: AtomicU64,
    /// The last group of the log that is durable.
    synced: AtomicU64,
    /// Why the store cannot be used any more.
    broken: Mutex<Option<Broken>>,
    is_broken: AtomicBool,
    moved: Condvar,
    /// A file that tells the next opening to rebuild the index.
    marker: PathBuf,
}

/// What cannot be used any more, and why.
enum Broken {
    /// The next opening rebuilds it.
    Index(String),
    /// The next opening goes on behind what is durable of it.
    Log(String),
}

impl Broken {
    fn error(&self) -> StoreError {
        match self {
            Self::Index(why) => StoreError::Index(why.clone()),
            Self::Log(why) => StoreError::Failed(why.clone()),
        }
    }
}

impl Progress {
    /// All before sequence `next` is written and applied, and all up to group `synced` is durable.
    pub(super) fn new(next: u64, synced: u64, marker: PathBuf) -> Self {
        Self { written: next.into(), applied: next.into(), synced: synced.into(), marker, ..Self::default() }
    }

    pub(super) fn set_written(&self, next: u64) {
        self.written.fetch_max(next, Ordering::Release);
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    pub(super) fn lag(&self) -> u64 {
        self.written.load(Ordering::Acquire).saturating_sub(self.applied())
    }

    pub(super) fn set_applied(&self, next: u64) {
        let _guard = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        self.applied.fetch_max(next, Ordering::Release);
        self.moved.notify_all();
    }

    pub(super) fn set_synced(&self, group: u64) {
        if self.synced.fetch_max(group, Ordering::AcqRel) < group {
            let _guard = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            self.moved.notify_all();
        }
    }

    /// Waits until `group` of the log is durable. Blocks. An error once it will never be.
    pub(super) fn wait_until_synced(&self, group: u64) -> Result<(), StoreError> {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        while broken.is_none() && self.synced.load(Ordering::Acquire) < group {
            broken = self.moved.wait(broken).unwrap_or_else(PoisonError::into_inner);
        }
        drop(broken);
        self.check()
    }

    pub(super) fn set_broken(&self, why: &StoreError) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_none() {
            tracing::error!(%why, "the index cannot be used; restart, and it is rebuilt from the log");
            if let Err(error) = std::fs::write(&self.marker, why.to_string()) {
                tracing::error!(%error, "the next opening could not be told to rebuild the index");
            }
        }
        broken.get_or_insert_with(|| Broken::Index(why.to_string()));
        self.is_broken.store(true, Ordering::Release);
        self.moved.notify_all();
    }

    /// The log takes nothing any more: what is not durable by now will not be. What waits for that, or
    /// for the index, is told so.
    pub(super) fn set_failed(&self, why: &str) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_none() {
            tracing::error!(
                why,
                "the log cannot be written any more: nothing is accepted until the store is opened again"
            );
        }
        broken.get_or_insert_with(|| Broken::Log(why.to_owned()));
        self.is_broken.store(true, Ordering::Release);
        self.moved.notify_all();
    }

    /// An error once the log or the index cannot be used any more.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if !self.is_broken.load(Ordering::Acquire) {
            return Ok(());
        }
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.as_ref().map_or(Ok(()), |broken| Err(broken.error()))
    }

    /// Waits until all that was written when this was called is in the index. Blocks.
    pub(super) fn catch_up(&self) -> Result<(), StoreError> {
        let target = self.written.load(Ordering::Acquire);
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        while broken.is_none() && self.applied() < target {
            broken = self.moved.wait(broken).unwrap_or_else(PoisonError::into_inner);
        }
        drop(broken);
        self.check()
    }
}
