//! The audit: what happened, in a chain of lines of which none can be changed, taken out or put in unseen.
//!
//! The log of the store is the truth; [`follow`] reads it in order and appends an event for all that an audit must
//! tell. Nothing waits for that, and nothing is lost by it: each line says how far in the log it is, and after a
//! crash the rest is told from there, in the same words. Retention keeps what has not been told yet.
//!
//! ```text
//! data/audit/00000000000000000001.jsonl   lines, the first of the file in its name
//! data/audit/checkpoints.jsonl            signed from time to time: line N had hash H
//! data/audit/sent-NAME.json               how far repositories and anchors have got
//! data/audit.key                          what they are signed with (Ed25519), unless the site names another
//! ```

mod chain;
mod copy;
mod derive;
mod follow;
mod key;
mod line;
mod read;
mod ship;
mod standing;
mod tail;
mod verify;

use std::path::{Path, PathBuf};

use message::audit::{Event, Kind};
use uuid::Uuid;

pub use self::chain::Chain;
pub use self::copy::Copied;
pub(crate) use self::derive::hex;
pub use self::follow::{Follower, observer};
pub use self::key::{Signer, Verifier};
pub use self::read::{Lines, Selection};
pub use self::ship::{Shipper, Target, shippers};
pub use self::standing::{AuditStatus, Standing, TargetStatus};
pub use self::verify::{Fault, Verified, VerifyFrom, verify};

/// Why the audit could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The system refused a file operation.
    #[error("{what}")]
    Io {
        /// What was tried and where.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Checkpoints cannot be written to the second place that the site names: nothing is signed meanwhile.
    #[error("cannot sign: {what}")]
    Anchor {
        /// What was tried and where.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The chain's file is not where and as long as it was left.
    #[error("{0}")]
    Moved(String),
    /// The key cannot be used.
    #[error("{0}")]
    Key(String),
    /// The store could not be asked.
    #[error("the log cannot be followed")]
    Store(#[from] crate::store::StoreError),
}

impl AuditError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// With what the system said, on one line.
    fn line(&self) -> String {
        use std::error::Error as _;
        self.source().map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }
}

/// Where the chain of a data directory is.
#[must_use]
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("audit")
}

/// The chain's files, the oldest first; none if there is no chain.
fn files(dir: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let io = || AuditError::io(format!("cannot list {}", dir.display()));
    let listed = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(io())?,
    };
    let mut files = Vec::new();
    for entry in listed {
        let path = entry.map_err(io())?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jsonl"));
        if name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Where checkpoints are.
fn checkpoints(dir: &Path) -> PathBuf {
    dir.join("checkpoints.jsonl")
}

/// The last line that a checkpoint in `dir` vouches for.
fn signed_up_to(dir: &Path) -> Result<u64, AuditError> {
    Ok(chain::last_checkpoint(dir)?.map_or(0, |checkpoint| checkpoint.seq))
}

/// A checkpoint as an event, for whoever keeps it elsewhere: `text`, as it is written, is all that proves it.
fn checkpoint_event(text: &str, checkpoint: &line::Checkpoint) -> Event {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("tributary/audit/checkpoint/{text}").as_bytes());
    let event = Event::new(id, checkpoint.at, Kind::Checkpoint);
    Event { sha256: Some(checkpoint.hash.0), text: text.to_owned(), ..event }
}

#[cfg(test)]
mod tests;
