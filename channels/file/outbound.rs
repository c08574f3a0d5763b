//! The destination: each delivery a file, there as a whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::name::with_addition;
use super::{Existing, OutboundConfig};
use crate::{ChannelError, DeliveryError, Outgoing, Receipt};

/// Highest number put to a name that is taken. Names that differ by message never come near it.
const HIGHEST_NUMBER: u32 = 10_000;

/// A folder that deliveries are written to.
#[derive(Clone, Debug)]
pub struct Outbound {
    config: Arc<OutboundConfig>,
    /// Held while a file takes its name, so that two deliveries at once never take the same.
    naming: Arc<Mutex<()>>,
}

impl Outbound {
    /// A destination as `config` says. Nothing is written yet; see [`crate::Outbound::probe`].
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if the folder has no name.
    pub fn new(config: OutboundConfig) -> Result<Self, ChannelError> {
        if config.folder.as_os_str().is_empty() {
            return Err(ChannelError { what: "the folder to write to has no name".to_owned(), source: None });
        }
        Ok(Self { config: Arc::new(config), naming: Arc::default() })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, DeliveryError> + Send + 'static,
    ) -> Result<T, DeliveryError> {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || work(&this)).await {
            Ok(result) => result,
            Err(error) => Err(DeliveryError::Unknown { reason: format!("the writing did not finish: {error}") }),
        }
    }

    fn write(&self, outgoing: &Outgoing) -> Result<Receipt, DeliveryError> {
        let subfolder = self.config.subfolder.as_ref().map(|template| template.render(outgoing)).unwrap_or_default();
        let name = self.config.name.render(outgoing);
        let folder = self.config.folder.join(&subfolder);
        let temporary = folder.join(format!(".tmp-{}-{}", outgoing.message, outgoing.delivery));
        let place = || self.config.folder.join(&subfolder).join(&name);
        let written = std::fs::create_dir_all(&folder)
            .and_then(|()| self.write_temporary(&temporary, &outgoing.bytes))
            .and_then(|()| self.give_name(&temporary, &folder, name.as_ref(), &outgoing.bytes));
        if !matches!(written, Ok(Named::As(_))) {
            remove(&temporary);
        }
        match written.map_err(|error| unavailable(&place(), &error))? {
            Named::As(name) | Named::Already(name) => {
                self.sync_folder(&folder).map_err(|error| unavailable(&folder, &error))?;
                Ok(Receipt { summary: subfolder.join(name).display().to_string(), answer: Bytes::new() })
            }
            Named::Taken => Err(DeliveryError::Refused(Receipt {
                summary: format!("another file of the name {} is there already", subfolder.join(&name).display()),
                answer: Bytes::new(),
            })),
        }
    }

    /// Under a name that stays the same over all attempts: one that was broken off leaves no litter.
    fn write_temporary(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        if self.config.fsync { file.sync_all() } else { Ok(()) }
    }

    fn give_name(&self, temporary: &Path, folder: &Path, name: &OsStr, bytes: &[u8]) -> io::Result<Named> {
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        for candidate in candidates(name, self.config.existing) {
            let path = folder.join(&candidate);
            match look_at(&path, bytes)? {
                There::Same => return Ok(Named::Already(candidate)),
                There::Other if self.config.existing != Existing::Overwrite => {}
                There::Other => return std::fs::rename(temporary, &path).map(|()| Named::As(candidate)),
                There::Nothing => match rename_to_free(temporary, &path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    renamed => return renamed.map(|()| Named::As(candidate)),
                },
            }
        }
        Ok(Named::Taken)
    }

    /// Puts the folder's entry for the file on disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.config.fsync { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn write_probe(&self) -> Result<String, DeliveryError> {
        let folder = &self.config.folder;
        // Whoever asks may be another user than the engine's, who could not write to a folder made by this.
        let there = folder.ancestors().find(|path| path.as_os_str().is_empty() || path.exists()).unwrap_or(folder);
        let path = there.join(".tmp-probe");
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_temporary(&path, b"")
            .and_then(|()| std::fs::remove_file(&path))
            .map_err(|error| unavailable(folder, &error))?;
        let made = if there == folder { "" } else { ", which is made with the first" };
        Ok(format!("files can be written to {}{made}", folder.display()))
    }
}

#[async_trait]
impl crate::Outbound for Outbound {
    async fn deliver(&self, outgoing: &Outgoing) -> Result<Receipt, DeliveryError> {
        let outgoing = outgoing.clone();
        self.blocking(move |this| this.write(&outgoing)).await
    }

    async fn probe(&self) -> Result<String, DeliveryError> {
        self.blocking(Self::write_probe).await
    }
}

/// What came of giving a file its name.
enum Named {
    /// It has this one.
    As(OsString),
    /// A file of this name holds the same bytes: an earlier attempt has come this far.
    Already(OsString),
    /// Every name that it might have has other bytes.
    Taken,
}

/// What is at a path.
enum There {
    Nothing,
    Same,
    Other,
}

fn candidates(name: &OsStr, existing: Existing) -> impl Iterator<Item = OsString> + '_ {
    let highest = if existing == Existing::Number { HIGHEST_NUMBER } else { 0 };
    std::iter::once(name.to_owned()).chain((1..=highest).map(move |number| with_addition(name, &number.to_string())))
}

fn look_at(path: &Path, bytes: &[u8]) -> io::Result<There> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(There::Nothing),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_file() && metadata.len() == bytes.len() as u64 => compare(path, bytes),
        Ok(_) => Ok(There::Other),
    }
}

fn compare(path: &Path, mut bytes: &[u8]) -> io::Result<There> {
    let mut file = match File::open(path) {
        // Whoever picks files up may do so now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(There::Nothing),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(There::Other),
        file => file?,
    };
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        let chunk = buffer.get(..read).unwrap_or_default();
        match bytes.strip_prefix(chunk) {
            Some(rest) if read > 0 => bytes = rest,
            Some([]) => return Ok(There::Same),
            _ => return Ok(There::Other),
        }
    }
}

/// Renames, and fails if another program has taken the name meanwhile, where the file system can
/// tell (NFS and most of SMB cannot).
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            renamed => return Ok(renamed?),
        }
    }
    std::fs::rename(from, to)
}

/// A full disk, a missing right, a server that is away: other files would fare no better.
fn unavailable(path: &Path, error: &io::Error) -> DeliveryError {
    DeliveryError::Unavailable {
        reason: format!("cannot write {}: {error}", path.display()),
        retry_after: None,
        down: true,
    }
}

/// A file that is in the way no longer matters if it cannot be removed: the next attempt writes over it.
fn remove(path: &PathBuf) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "cannot remove a temporary file");
    }
}
