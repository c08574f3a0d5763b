//! The data directory: its lock, its secret, its ballast.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, flock};

use super::disk::Disk;
use super::error::StoreError;
use super::segment::zero;

/// Takes the directory for this process; given back when the file is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let io = || StoreError::io(format!("cannot lock {}", path.display()));
    let mut file = private().read(true).write(true).create(true).truncate(false).open(&path).map_err(io())?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io())?;
        return Err(StoreError::Locked { dir: dir.to_owned(), pid: text.trim().parse().unwrap_or(0) });
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io())?;
    Ok(file)
}

/// The secret that search keys are hashed with; made on first use, readable by this user alone.
pub(super) fn secret(dir: &Path) -> Result<[u8; 32], StoreError> {
    let path = dir.join("search.key");
    let io = || StoreError::io(format!("cannot read or write {}", path.display()));
    if path.exists() {
        let bytes = std::fs::read(&path).map_err(io())?;
        return bytes.try_into().map_err(|_| {
            StoreError::Invalid(format!(
                "{} must hold 32 bytes; restore it from a backup, or remove it and run `tributary store rebuild`",
                path.display()
            ))
        });
    }
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| StoreError::Invalid("no randomness from the system".into()))?;
    let fresh = dir.join("search.key.new");
    let mut file = private().write(true).create(true).truncate(true).open(&fresh).map_err(io())?;
    file.write_all(&secret).and_then(|()| file.sync_all()).map_err(io())?;
    std::fs::rename(&fresh, &path).and_then(|()| File::open(dir)?.sync_all()).map_err(io())?;
    Ok(secret)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Takes up `bytes` of the disk, unless that is done or would leave less than `min_free`.
pub(super) fn keep_ballast(disk: &dyn Disk, dir: &Path, bytes: u64, min_free: u64) {
    let path = dir.join("ballast");
    let full = disk.open(&path).and_then(|file| file.size()).unwrap_or(0) >= bytes;
    if bytes == 0 || full || disk.free_bytes(dir).unwrap_or(0) < bytes.saturating_add(min_free) {
        return;
    }
    let written = disk.create(&path).and_then(|file| zero(&*file, 0, bytes).and_then(|()| file.sync()));
    if let Err(error) = written {
        tracing::warn!(%error, "the ballast file could not be written");
        give_ballast(disk, dir);
    }
}

/// Gives the ballast's space back: the disk is full. True if there was any.
pub(super) fn give_ballast(disk: &dyn Disk, dir: &Path) -> bool {
    disk.remove(&dir.join("ballast")).is_ok()
}
