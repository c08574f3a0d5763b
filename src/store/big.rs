//! Payloads too big for the log: one file each, on the disk before the record that refers to it.
//!
//! They are written off the log's thread, so that small messages never wait behind them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::codec::FileRef;
use super::disk::Disk;
use super::error::{Damage, StoreError};
use super::seal::{self, Seal};

const CHUNK: usize = 1 << 20;

/// `big/` in the data directory.
pub(super) struct BigFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next: AtomicU64,
    seal: Option<Seal>,
}

impl BigFiles {
    /// Opens the directory, making it if need be.
    pub(super) fn open(disk: Arc<dyn Disk>, data: &Path, seal: Option<Seal>) -> Result<Self, StoreError> {
        let dir = data.join("big");
        disk.create_dir(&dir).map_err(StoreError::io(format!("cannot create {}", dir.display())))?;
        let files = Self { disk, dir, next: AtomicU64::new(1), seal };
        let last = files.numbers()?.into_iter().max().unwrap_or(0);
        files.next.store(last + 1, Ordering::Relaxed);
        Ok(files)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(name(number))
    }

    /// The numbers of all files.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, StoreError> {
        let names = self.disk.list(&self.dir).map_err(StoreError::io(format!("cannot list {}", self.dir.display())))?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".bin")?.parse().ok()).collect())
    }

    /// Numbers below `next` were used, even if their files are gone.
    pub(super) fn reserve(&self, next: u64) {
        self.next.fetch_max(next, Ordering::Relaxed);
    }

    /// Writes `payload` into a new file and waits until that is durable. Blocks.
    pub(super) fn write(&self, slot: u32, payload: &[u8]) -> Result<FileRef, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let written = self.write_file(number, payload);
        if let Err(source) = written {
            self.remove(number);
            return Err(StoreError::io(format!("cannot write {}", self.path(number).display()))(source));
        }
        Ok(FileRef { slot, number, length: payload.len() as u64, crc: crc32c::crc32c(payload) })
    }

    fn write_file(&self, number: u64, payload: &[u8]) -> io::Result<()> {
        let file = self.disk.create(&self.path(number))?;
        let mut at = 0;
        for (index, chunk) in payload.chunks(CHUNK).enumerate() {
            let sealed = self.seal.as_ref().map(|seal| seal.seal(chunk.to_vec(), &context(number, index)));
            match sealed {
                None => file.write_at(chunk, at)?,
                Some(Some(bytes)) => file.write_at(&bytes, at)?,
                Some(None) => return Err(io::Error::other("the payload could not be encrypted")),
            }
            at += chunk.len() as u64 + self.overhead();
        }
        file.sync()?;
        self.disk.sync_dir(&self.dir)
    }

    fn overhead(&self) -> u64 {
        if self.seal.is_some() { seal::OVERHEAD as u64 } else { 0 }
    }

    /// The payload, checked. Blocks.
    pub(super) fn read(&self, file: &FileRef) -> Result<Bytes, StoreError> {
        let bad = |what: &str| Damage {
            file: format!("big/{}", name(file.number)),
            from: 0,
            to: file.length,
            what: what.into(),
        };
        let path = self.path(file.number);
        let handle = match self.disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(bad("the payload's file is missing").into());
            }
            other => other.map_err(StoreError::io(format!("cannot open {}", path.display())))?,
        };
        let mut payload = Vec::with_capacity(usize::try_from(file.length).unwrap_or(0));
        let mut at = 0;
        for index in 0..file.length.div_ceil(CHUNK as u64) {
            let plain = (file.length - index * CHUNK as u64).min(CHUNK as u64);
            let mut chunk = vec![0; usize::try_from(plain + self.overhead()).unwrap_or(0)];
            let read =
                handle.read_at(&mut chunk, at).map_err(StoreError::io(format!("cannot read {}", path.display())))?;
            if read < chunk.len() {
                return Err(bad("the payload's file is cut short").into());
            }
            at += read as u64;
            match &self.seal {
                None => payload.append(&mut chunk),
                Some(seal) => {
                    let opened = seal.open(&chunk, &context(file.number, usize::try_from(index).unwrap_or(0)));
                    payload
                        .append(&mut opened.ok_or_else(|| bad("the payload does not open with the configured key"))?);
                }
            }
        }
        if crc32c::crc32c(&payload) != file.crc {
            return Err(bad("the payload's checksum does not match").into());
        }
        Ok(payload.into())
    }

    /// Removes a file that nothing refers to; if that fails, the next opening does it.
    pub(super) fn remove(&self, number: u64) {
        if let Err(error) = self.disk.remove(&self.path(number)) {
            tracing::debug!(file = %self.path(number).display(), %error, "a payload's file could not be removed");
        }
    }
}

fn context(number: u64, chunk: usize) -> Vec<u8> {
    [number.to_le_bytes(), (chunk as u64).to_le_bytes()].concat()
}

fn name(number: u64) -> String {
    format!("{number:012}.bin")
}
