//! Why the store could not do what it was asked.

use std::io;
use std::path::PathBuf;

use super::DeliveryId;

/// Why the store could not do what it was asked. None of these carries patient data.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full or nearly so. Nothing was accepted; it works again when there is space.
    #[error(
        "the disk is full or nearly so: {free} bytes are free and {needed} are kept back; make room or move the data directory"
    )]
    Full {
        /// Bytes free when it was last looked.
        free: u64,
        /// Bytes that must stay free for deliveries and for opening the store again.
        needed: u64,
    },
    /// Another process has the data directory open.
    #[error("{} is in use by process {pid}; stop it, or ask it through the admin socket", .dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The other process, `0` if unknown.
        pid: u32,
    },
    /// Bytes on the disk are not what was written. The rest of the store is readable.
    #[error("damaged: {0}")]
    Damaged(Damage),
    /// There is no such message or delivery, or retention has dropped it.
    #[error("{0} is not in the store; it never was, or retention has dropped it")]
    Unknown(String),
    /// The request itself cannot be carried out.
    #[error("{0}")]
    Invalid(String),
    /// The system refused a file operation.
    #[error("{what}")]
    Io {
        /// What was tried and where.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The index cannot be used. The log is unharmed: open the store again, which rebuilds the index.
    #[error("the index cannot be used ({0}); restart, and it is rebuilt from the log")]
    Index(String),
    /// The log cannot be written any more: nothing is accepted until the store is opened again.
    #[error("the log cannot be written ({0}); mend the disk, then restart")]
    Failed(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// An [`StoreError::Io`] that says what was tried, or [`StoreError::Full`] where that is the cause.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { free: 0, needed: 0 },
            _ => Self::Io { what, source },
        }
    }

    /// True if bytes on the disk are not what was written: trying again does not help.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }

    pub(super) fn no_delivery(id: DeliveryId) -> Self {
        Self::Unknown(format!("delivery {id}"))
    }

    pub(super) fn no_message(id: message::MessageId) -> Self {
        Self::Unknown(format!("message {id}"))
    }
}

/// One damaged place: where it is and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Damage {
    /// The file, relative to the data directory, such as `wal/00000042.seg`.
    pub file: String,
    /// The first bad byte.
    pub from: u64,
    /// The first good byte after it.
    pub to: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes {}..{}: {}", self.file, self.from, self.to, self.what)
    }
}

impl From<Damage> for StoreError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}
