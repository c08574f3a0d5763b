//! A copy of the chain, for a backup: its log is kept for weeks, and the audit for years.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{AuditError, checkpoints, files, folder};
use crate::config::EngineConfig;

/// The chain as it was at one moment: its files only grow.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Each file with where it goes, and how long it was.
    files: Vec<(PathBuf, PathBuf, u64)>,
}

impl Copied {
    /// The chain as it is now, with its checkpoints, and its key where that is in the data directory.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if it cannot be listed.
    pub fn of(engine: &EngineConfig) -> Result<Self, AuditError> {
        let dir = folder(&engine.data_dir);
        let key = engine.audit.key(&engine.data_dir);
        // What is signed must be in the copy: the checkpoints are measured before the lines.
        let mut all = vec![checkpoints(&dir)];
        all.extend(Some(key).filter(|key| key.starts_with(&engine.data_dir)));
        all.extend(files(&dir)?);
        let mut measured = Vec::with_capacity(all.len());
        for from in all {
            let to = from.strip_prefix(&engine.data_dir).unwrap_or(&from).to_owned();
            match std::fs::metadata(&from) {
                Ok(known) => measured.push((from, to, known.len())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(AuditError::io(format!("cannot read {}", from.display()))(error)),
            }
        }
        Ok(Self { files: measured })
    }

    /// Writes it into the data directory `to`, and makes it durable.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if it cannot be written.
    pub fn write(&self, to: &Path) -> Result<u64, AuditError> {
        let mut copied = 0;
        for (from, name, length) in &self.files {
            let target = to.join(name);
            let written = copy(from, &target, *length);
            copied +=
                written.map_err(AuditError::io(format!("cannot copy {} to {}", from.display(), target.display())))?;
        }
        Ok(copied)
    }
}

fn copy(from: &Path, to: &Path, length: u64) -> std::io::Result<u64> {
    let dir = to.parent().unwrap_or(to);
    std::fs::create_dir_all(dir)?;
    let mut target = File::create_new(to)?;
    // A key stays as private as it was.
    target.set_permissions(std::fs::metadata(from)?.permissions())?;
    let copied = std::io::copy(&mut File::open(from)?.take(length), &mut target)?;
    target.flush()?;
    target.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(copied)
}
