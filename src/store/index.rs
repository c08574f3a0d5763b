//! The index: sled, with small values only, always behind the log and rebuilt from it at need.
//!
//! sled 0.34's `flush` is not durable (it never calls `fsync`), so a checkpoint adds our own
//! `fdatasync` of its file. Values over a few kilobytes would go to files that it never syncs and
//! often never deletes: none is longer than [`entry::LONGEST`]. It panics on damaged pages: it is
//! entered under `catch_unwind`. What was written last is in memory first ([`Recent`]) and goes to sled
//! in batches, each with how far the log is in it; what a crash takes is applied again from the log.
//! There it is kept in blocks of neighbouring keys ([`Pages`]).

use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{self, Applied};
use super::error::StoreError;
use super::keys;
use super::pages::{Pages, Walk};
use super::progress::Progress;
use super::recent::{Recent, Writes};

/// So many keys are folded into sled as one; reads of what is in sled wait meanwhile.
const FOLD: usize = 24 << 10;
/// With so many waiting, who writes folds: the folding thread is behind, or there is none.
const MOST: usize = 3 * FOLD;
/// How often the folding thread looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The tree, and its file for `fdatasync`.
pub(super) struct Index {
    pages: Arc<Pages>,
    recent: Arc<RwLock<Recent>>,
    /// Held while a fold is under way.
    folding: Mutex<()>,
    /// Tells the folding thread that there is enough for it.
    folder: OnceLock<SyncSender<()>>,
    /// Tells what of the log is durable, once it is written to.
    log: OnceLock<Arc<Progress>>,
    file: File,
    dir: PathBuf,
    /// The data directory's lock: given back after sled has let go of its files.
    lock: Option<File>,
}

impl Index {
    /// Opens the index in `dir`, or says why it cannot be used.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        guard(|| {
            let db = sled::Config::new()
                .path(dir)
                .cache_capacity(cache_bytes)
                .flush_every_ms(Some(500))
                .open()
                .map_err(broken)?;
            let file = File::open(dir.join("db")).map_err(StoreError::io("cannot open the index"))?;
            let (recent, folding, folder, log) = Default::default();
            let pages = Arc::new(Pages::new(db)?);
            let index = Self { pages, recent, folding, folder, log, file, dir: dir.to_owned(), lock: None };
            index.no_blobs()?;
            Ok(index)
        })
    }

    /// Gives `lock` back only when the index is closed.
    pub(super) fn keep_lock(&mut self, lock: File) {
        self.lock = Some(lock);
    }

    /// A blob file means that a value was too long: sled would neither sync nor delete it.
    pub(super) fn no_blobs(&self) -> Result<(), StoreError> {
        let blobs = std::fs::read_dir(self.dir.join("blobs")).map_or(0, Iterator::count);
        if blobs == 0 { Ok(()) } else { Err(StoreError::Index(format!("it has {blobs} blob files"))) }
    }

    /// The value of `key`.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        if let Some(known) = self.recent().get(key) {
            return known.map(decode).transpose();
        }
        self.pages.get(key)?.as_deref().map(decode).transpose()
    }

    /// The value of `key`, if it was written so recently that it is in memory.
    pub(super) fn get_recent<T: DeserializeOwned>(&self, key: &[u8]) -> Option<Result<Option<T>, StoreError>> {
        self.recent().get(key).map(|known| known.map(decode).transpose())
    }

    /// The value of `key`, as it stands.
    pub(super) fn raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(known) = self.recent().get(key) {
            return Ok(known.map(<[u8]>::to_vec));
        }
        self.pages.get(key)
    }

    /// The entries from `from` on that begin with `prefix`.
    pub(super) fn range(&self, prefix: &[u8], from: &[u8]) -> Entries {
        let from = if from < prefix { prefix } else { from };
        self.entries(prefix, Bound::Included(from.to_vec()), false)
    }

    /// The entries before `to` that begin with `prefix`, the last first.
    pub(super) fn range_back(&self, prefix: &[u8], to: Option<&[u8]>) -> Entries {
        let to = to.map(<[u8]>::to_vec).or_else(|| successor(prefix));
        self.entries(prefix, to.map_or(Bound::Unbounded, Bound::Excluded), true)
    }

    /// All entries that begin with `prefix`.
    pub(super) fn prefix(&self, prefix: &[u8]) -> Entries {
        self.range(prefix, prefix)
    }

    fn entries(&self, prefix: &[u8], edge: Bound<Vec<u8>>, backwards: bool) -> Entries {
        let (pages, recent) = (Arc::clone(&self.pages), Arc::clone(&self.recent));
        Entries { pages, recent, prefix: prefix.to_vec(), edge, backwards, walk: None }
    }

    /// Writes all of it or nothing. It is in memory when this returns, and in sled some time later.
    pub(super) fn write(&self, writes: Writes) -> Result<(), StoreError> {
        let waiting = {
            let mut recent = self.recent_mut();
            recent.write(writes);
            recent.len()
        };
        match self.folder.get() {
            _ if waiting >= MOST => self.fold(),
            // It has been told already, or has ended: then the limit above holds.
            Some(folder) if waiting >= FOLD && folder.try_send(()).is_err() => Ok(()),
            _ => Ok(()),
        }
    }

    /// From now on nothing goes to sled before what it was made of is durable in the log: after a power
    /// cut the index would otherwise know of what never was, and be built anew.
    pub(super) fn follow(&self, log: Arc<Progress>) {
        // A second one would be the same.
        self.log.set(log).unwrap_or_default();
    }

    /// Brings sled up to everything that was written.
    pub(super) fn fold(&self) -> Result<(), StoreError> {
        let _one = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = self.recent_mut().fold();
        if writes.is_empty() {
            return Ok(());
        }
        if let (Some(log), Some(at)) = (self.log.get(), writes.get(keys::APPLIED).and_then(|slot| slot.get())) {
            log.wait_until_synced(decode::<Applied>(at)?.group)?;
        }
        self.pages.write(&writes, || self.recent_mut().folded())
    }

    /// What tells [`Index::run_folder`] that it is to work or to end; may be asked for once.
    pub(super) fn folder(&self) -> Receiver<()> {
        let (tell, told) = sync_channel(1);
        // A second receiver would be told nothing, which does no harm.
        self.folder.set(tell).unwrap_or_default();
        told
    }

    /// Folds whenever there is enough, until `stop`. Ends at the first failure, which it returns.
    pub(super) fn run_folder(&self, told: &Receiver<()>, stop: &AtomicBool) -> Result<(), StoreError> {
        while !stop.load(Ordering::Acquire) {
            match told.recv_timeout(LOOK_EVERY) {
                Ok(()) if self.recent().len() >= FOLD => self.fold()?,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Makes everything that was written durable.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        self.fold()?;
        self.pages.flush()?;
        self.file.sync_data().map_err(StoreError::io("cannot sync the index"))
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the log is in it.
    pub(super) fn applied(&self) -> Result<Option<Applied>, StoreError> {
        self.get(keys::APPLIED)
    }

    /// Bytes that it takes on the disk.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

/// Entries of the index, in the order of their keys or against it.
pub(super) struct Entries {
    pages: Arc<Pages>,
    recent: Arc<RwLock<Recent>>,
    prefix: Vec<u8>,
    /// Where the rest begins; where it ends, if backwards.
    edge: Bound<Vec<u8>>,
    backwards: bool,
    /// What sled has, as far as it is read.
    walk: Option<Walk>,
}

type Pair = (Vec<u8>, Vec<u8>);

/// A key, and its value where it is not gone.
type Step = (Vec<u8>, Option<Vec<u8>>);

impl Entries {
    /// The next key and its value, `None` if it is gone; no key at the end.
    fn step(&mut self) -> Result<Option<Step>, StoreError> {
        loop {
            let walk = match self.walk.take() {
                Some(walk) => walk,
                None => self.pages.walk(self.edge.as_ref().map(Vec::as_slice), &self.prefix, self.backwards)?,
            };
            let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
            // A fold that ended meanwhile has put in sled what is no longer in memory.
            if recent.folds() != walk.folds() {
                continue;
            }
            let edge = self.edge.as_ref().map(Vec::as_slice);
            let head = walk.head().map(|(key, _)| key.as_slice());
            let ours = match self.backwards {
                true => recent.back(edge, &self.prefix, head),
                false => recent.next(edge, &self.prefix, head),
            };
            let is_behind = |theirs: &[u8], ours: &[u8]| if self.backwards { theirs < ours } else { theirs > ours };
            let (next, consumed) = match (ours, walk.head()) {
                (Some((key, value)), _) if head.is_none_or(|theirs| is_behind(theirs, key) || theirs == key) => {
                    ((key.to_vec(), value.map(<[u8]>::to_vec)), head == Some(key))
                }
                (_, Some((key, value))) => ((key.clone(), Some(value.clone())), true),
                (_, None) => return Ok(None),
            };
            drop(recent);
            self.edge = Bound::Excluded(next.0.clone());
            self.walk = match consumed {
                true => self.pages.advance(walk)?,
                false => Some(walk),
            };
            return Ok(Some(next));
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Pair, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Some((key, _))) if !key.starts_with(&self.prefix) => return None,
                Ok(Some((_, None))) => {}
                Ok(Some((key, Some(value)))) => return Some(Ok((key, value))),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A value as bytes.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    // Most are short: written here first, they take no more memory than they need.
    let mut short = [0; 256];
    if let Ok(bytes) = postcard::to_slice(value, &mut short) {
        return Ok(bytes.to_vec());
    }
    let bytes = postcard::to_allocvec(value).map_err(|error| StoreError::Index(error.to_string()))?;
    if bytes.len() > entry::LONGEST {
        return Err(StoreError::Index(format!("a value of {} bytes is too long for it", bytes.len())));
    }
    Ok(bytes)
}

/// Bytes as a value.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|error| StoreError::Index(format!("a value cannot be read: {error}")))
}

/// Runs what may panic inside sled.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        Err(StoreError::Index(format!("it panicked: {}", text.unwrap_or("no reason given"))))
    })
}

pub(super) fn broken(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => StoreError::io("cannot read or write the index")(source),
        other => StoreError::Index(other.to_string()),
    }
}

/// The first key behind all that begin with `prefix`.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut key = prefix.to_vec();
    while let Some(last) = key.pop() {
        if let Some(next) = last.checked_add(1) {
            key.push(next);
            return Some(key);
        }
    }
    None
}
