//! The index: sled, with small values only, always behind the log and rebuilt from it at need.
//!
//! sled 0.34's `flush` is not durable (it never calls `fsync`), so a checkpoint adds our own
//! `fdatasync` of its file. Values over a few kilobytes would go to files that it never syncs and
//! often never deletes: none is longer than [`entry::LONGEST`]. It panics on damaged pages: it is
//! entered under `catch_unwind`.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{self, Applied};
use super::error::StoreError;
use super::keys;

/// The tree, and its file for `fdatasync`.
pub(super) struct Index {
    db: sled::Db,
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
            let index = Self { db, file, dir: dir.to_owned(), lock: None };
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
        let Some(bytes) = guard(|| self.db.get(key).map_err(broken))? else { return Ok(None) };
        decode(&bytes).map(Some)
    }

    /// The value of `key`, as it stands.
    pub(super) fn raw(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        guard(|| self.db.get(key).map_err(broken))
    }

    /// The entries from `from` on that begin with `prefix`.
    pub(super) fn range(&self, prefix: &[u8], from: &[u8]) -> Entries {
        let from = if from < prefix { prefix } else { from };
        Entries { iter: self.db.range(from.to_vec()..), prefix: prefix.to_vec(), backwards: false }
    }

    /// The entries before `to` that begin with `prefix`, the last first.
    pub(super) fn range_back(&self, prefix: &[u8], to: Option<&[u8]>) -> Entries {
        let prefix = prefix.to_vec();
        let iter = match to.map(<[u8]>::to_vec).or_else(|| successor(&prefix)) {
            Some(to) => self.db.range(prefix.clone()..to.max(prefix.clone())),
            None => self.db.range(prefix.clone()..),
        };
        Entries { iter, prefix, backwards: true }
    }

    /// All entries that begin with `prefix`.
    pub(super) fn prefix(&self, prefix: &[u8]) -> Entries {
        self.range(prefix, prefix)
    }

    /// Writes all of `batch` or nothing.
    pub(super) fn write(&self, batch: sled::Batch) -> Result<(), StoreError> {
        guard(|| self.db.apply_batch(batch).map_err(broken))
    }

    /// Makes everything that was written durable.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        guard(|| self.db.flush().map_err(broken))?;
        self.file.sync_data().map_err(StoreError::io("cannot sync the index"))
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
    iter: sled::Iter,
    prefix: Vec<u8>,
    backwards: bool,
}

impl Iterator for Entries {
    type Item = Result<(sled::IVec, sled::IVec), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (iter, backwards) = (&mut self.iter, self.backwards);
        let next = guard(|| {
            let next = if backwards { iter.next_back() } else { iter.next() };
            next.transpose().map_err(broken)
        });
        match next {
            Ok(Some((key, _))) if !key.starts_with(&self.prefix) => None,
            other => other.transpose(),
        }
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

fn broken(error: sled::Error) -> StoreError {
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
