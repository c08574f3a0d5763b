//! The index: sled, with small values only, always behind the log and rebuilt from it at need; over
//! it, in memory, what changed since the last checkpoint.
//!
//! sled 0.34's `flush` is not durable (it never calls `fsync`), so a checkpoint adds our own
//! `fdatasync` of its file. Values over a few kilobytes would go to files that it never syncs and
//! often never deletes: none is longer than [`entry::LONGEST`]. It panics on damaged pages: it is
//! entered under `catch_unwind`. An insert costs it some ten microseconds, and a batch keeps its
//! readers out: so it is told of each entry once, in batches of a few messages.
//!
//! A message's entries and what they change in the counts are one batch, and its entry tells up to
//! which record that is. So a checkpoint may be cut off anywhere: the log is then applied again from
//! the last whole one, and passes over what is there already.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entries::Entries;
use super::entry::{self, Applied};
use super::error::StoreError;
use super::keys::{self, Key};
use super::table::Table;

/// So many entries go to sled as one batch, give or take a message.
const BATCH: usize = 128;

/// The tree, its file for `fdatasync`, and what is not in it yet.
pub(super) struct Index {
    memory: RwLock<Memory>,
    /// The counts as sled has them; held while a checkpoint is written.
    counts: Mutex<HashMap<Key, u64>>,
    db: sled::Db,
    recent: Arc<RwLock<Recent>>,
    /// Held while a fold is under way.
    folding: Mutex<()>,
    /// Tells the folding thread that there is enough for it.
    folder: OnceLock<SyncSender<()>>,
    file: File,
    dir: PathBuf,
    /// The data directory's lock: given back after sled has let go of its files.
    lock: Option<File>,
    /// Batches that are still written before the process is killed, so to say.
    #[cfg(test)]
    pub(super) killed_after: std::sync::atomic::AtomicUsize,
}

#[derive(Default)]
struct Memory {
    active: Table,
    /// What is being written to sled.
    frozen: Option<Arc<Table>>,
    /// Rises whenever entries have gone to sled.
    epoch: u64,
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
            let mut counts = HashMap::new();
            for entry in db.scan_prefix(b"N") {
                let (key, value) = entry.map_err(broken)?;
                counts.insert(key.to_vec(), keys::number(&value));
            }
            let (memory, counts, dir) = (RwLock::default(), Mutex::new(counts), dir.to_owned());
            let index = Self {
                memory,
                counts,
                db,
                file,
                dir,
                lock: None,
                #[cfg(test)]
                killed_after: usize::MAX.into(),
            };
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
        self.raw(key)?.map(|bytes| decode(&bytes)).transpose()
    }

    /// The value of `key`, as it stands.
    pub(super) fn raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        {
            let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
            let frozen = memory.frozen.as_ref().and_then(|frozen| frozen.entries.get(key));
            if let Some(slot) = memory.active.entries.get(key).or(frozen) {
                return Ok(slot.value.clone());
            }
        }
        guard(|| Ok(self.db.get(key).map_err(broken)?.map(|value| value.to_vec())))
    }

    /// The entries from `from` on that begin with `prefix`.
    pub(super) fn range(&self, prefix: &[u8], from: &[u8]) -> Entries<'_> {
        Entries::new(self, prefix, from, None, false)
    }

    /// The entries before `to` that begin with `prefix`, the last first.
    pub(super) fn range_back(&self, prefix: &[u8], to: Option<&[u8]>) -> Entries<'_> {
        Entries::new(self, prefix, prefix, to, true)
    }

    /// All entries that begin with `prefix`.
    pub(super) fn prefix(&self, prefix: &[u8]) -> Entries<'_> {
        self.range(prefix, prefix)
    }

    fn entries(&self, prefix: &[u8], edge: Bound<Vec<u8>>, backwards: bool) -> Entries {
        let (db, recent, prefix) = (self.db.clone(), Arc::clone(&self.recent), prefix.to_vec());
        Entries { db, recent, prefix, edge, backwards, sled: None }
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

    /// Brings sled up to everything that was written.
    pub(super) fn fold(&self) -> Result<(), StoreError> {
        let _one = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = self.recent_mut().fold();
        if writes.is_empty() {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for (key, value) in &*writes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        drop(writes);
        guard(|| self.db.apply_batch(batch).map_err(broken))?;
        self.recent_mut().folded();
        Ok(())
    }

    /// What tells [`Index::run_folder`] that it is to work or to end; may be asked for once.
    pub(super) fn folder(&self) -> Receiver<()> {
        let (tell, told) = sync_channel(1);
        // A second receiver would be told nothing, which does no harm.
        if self.folder.set(tell).is_err() {}
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
        guard(|| self.db.flush().map_err(broken))?;
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
        let in_memory = {
            let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
            memory.active.applied.or_else(|| memory.frozen.as_ref()?.applied)
        };
        if in_memory.is_some() { Ok(in_memory) } else { self.get(keys::APPLIED) }
    }

    /// Makes `changes` visible, all at once. Returns how many entries are in memory now.
    pub(super) fn absorb(&self, changes: Table) -> usize {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.active.absorb(changes);
        memory.active.entries.len()
    }

    /// How many entries wait in memory for the next checkpoint.
    pub(super) fn waiting(&self) -> usize {
        self.memory.read().unwrap_or_else(PoisonError::into_inner).active.entries.len()
    }

    /// Writes what is in memory to sled, once `durable` says that the log is as far on the disk. False
    /// if there was nothing. What is absorbed meanwhile waits for the next time.
    pub(super) fn write_out(
        &self,
        durable: impl FnOnce(&Applied) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(table) = self.freeze() else { return Ok(false) };
        let applied = table.applied.unwrap_or_default();
        durable(&applied)?;
        let mut batch = Batch::new(self, &mut counts);
        let mut last = sled::Batch::default();
        let entries = table.by_owner();
        for of_one in entries.chunk_by(|(a, ..), (b, ..)| a == b) {
            let owner = of_one.first().and_then(|(owner, ..)| *owner);
            for (_, key, slot) in of_one {
                let into = if owner.is_some() { &mut batch.writes } else { &mut last };
                match &slot.value {
                    Some(value) => into.insert(key.as_slice(), value.as_slice()),
                    None => into.remove(key.as_slice()),
                }
                batch.len += 1;
            }
            if let Some(changes) = owner.and_then(|owner| table.counts.get(&owner)) {
                batch.count(changes);
            }
            if batch.len >= BATCH {
                batch.write()?;
            }
        }
        batch.write()?;
        last.insert(keys::APPLIED, encode(&applied)?);
        guard(|| self.db.apply_batch(last).map_err(broken))?;
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.frozen = None;
        memory.epoch += 1;
        Ok(true)
    }

    /// Sets what is in memory aside to be written; what failed to be written before comes first.
    fn freeze(&self) -> Option<Arc<Table>> {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if memory.frozen.is_none() && memory.active.applied.is_some() {
            memory.frozen = Some(Arc::new(std::mem::take(&mut memory.active)));
        }
        memory.frozen.clone()
    }

    /// Makes everything that was written out durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        guard(|| self.db.flush().map_err(broken))?;
        self.file.sync_data().map_err(StoreError::io("cannot sync the index"))
    }

    /// Bytes that it takes on the disk.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// An error once the process is to be dead.
    #[cfg(test)]
    fn live_on(&self) -> Result<(), StoreError> {
        use std::sync::atomic::Ordering::SeqCst;
        let left = self.killed_after.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| StoreError::Failed("killed".into()))
    }

    /// For [`Entries`]: the next in memory within `range`, and the epoch.
    pub(super) fn next_in_memory(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        backwards: bool,
    ) -> (Option<(Key, Option<Vec<u8>>)>, u64) {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let next = |table: &Table| {
            let mut entries = table.entries.range::<[u8], _>(range);
            let found = if backwards { entries.next_back() } else { entries.next() };
            found.map(|(key, slot)| (key.clone(), slot.value.clone()))
        };
        let (active, frozen) = (next(&memory.active), memory.frozen.as_deref().and_then(next));
        let nearer = match (active, frozen) {
            (Some(active), Some(frozen)) if (frozen.0 < active.0) != backwards && frozen.0 != active.0 => Some(frozen),
            (active, frozen) => active.or(frozen),
        };
        (nearer, memory.epoch)
    }

    /// For [`Entries`].
    pub(super) fn epoch(&self) -> u64 {
        self.memory.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// For [`Entries`]: what sled itself has.
    pub(super) fn sled(&self, range: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> sled::Iter {
        self.db.range(range)
    }
}

/// Whole messages on their way to sled, with what they change in the counts.
struct Batch<'a> {
    index: &'a Index,
    counts: &'a mut HashMap<Key, u64>,
    writes: sled::Batch,
    changes: HashMap<Key, i64>,
    len: usize,
}

impl<'a> Batch<'a> {
    fn new(index: &'a Index, counts: &'a mut HashMap<Key, u64>) -> Self {
        Self { index, counts, writes: sled::Batch::default(), changes: HashMap::new(), len: 0 }
    }

    fn count(&mut self, changes: &HashMap<Key, i64>) {
        for (key, by) in changes.iter().filter(|(_, by)| **by != 0) {
            *self.changes.entry(key.clone()).or_default() += by;
        }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        for (key, by) in self.changes.drain().filter(|(_, by)| *by != 0) {
            let count = self.counts.entry(key.clone()).or_default();
            *count = count.saturating_add_signed(by);
            self.writes.insert(key, &count.to_be_bytes());
        }
        self.len = 0;
        #[cfg(test)]
        self.index.live_on()?;
        let writes = std::mem::take(&mut self.writes);
        guard(|| self.index.db.apply_batch(writes).map_err(broken))
    }
}

/// A value as bytes.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
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
