//! How far a place has got, on disk beside the chain.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::line::Hash;
use super::super::tail::Tail;
use super::super::{AuditError, signed_up_to};

/// How far a place has got.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    dir: PathBuf,
    name: &'static str,
    /// The last line that is there.
    pub(super) line: u64,
    /// Its hash.
    hash: Option<Hash>,
    /// The checkpoints that are there: so many bytes of their file.
    pub(super) checkpoints: u64,
    /// The line of the last of them.
    signed: u64,
    /// True once the chain was seen to have line `line` with that hash.
    is_sure: bool,
}

/// As it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hash>,
    checkpoints: u64,
    signed: u64,
}

/// Up to where something was sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reached {
    /// A line, with its hash.
    Line(u64, Hash),
    /// A checkpoint: where it ends, and its line.
    Checkpoint(u64, u64),
}

/// A line that a place refused for good.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) line: u64,
    /// What the place said, without what it said of the content.
    pub(super) reason: String,
}

impl Cursor {
    /// That of `name` for the chain in `dir`; the beginning where there is none.
    pub(super) fn open(dir: &Path, name: &'static str) -> Result<Self, AuditError> {
        let path = dir.join(format!("sent-{name}.json"));
        let written = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let help = "delete it, and all is sent again, under the same ids";
                AuditError::Key(format!("{} cannot be read ({error}): {help}", path.display()))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Written::default(),
            Err(error) => return Err(AuditError::io(format!("cannot read {}", path.display()))(error)),
        };
        let Written { line, hash, checkpoints, signed } = written;
        Ok(Self { dir: dir.to_owned(), name, line, hash, checkpoints, signed, is_sure: line == 0 })
    }

    /// The last line that is there, or that is vouched for there.
    pub(super) fn sent(&self) -> u64 {
        self.line.max(self.signed)
    }

    /// Looks once whether the chain still has the line that was sent last. Where it was lost with the power, it goes on from
    /// the last line that was made durable: the rest is told again, in the same words. Where another stands in its
    /// place, the chain is another, and all of it is sent. True if it was set back.
    pub(super) fn is_stale(&mut self, dir: &Path) -> Result<bool, AuditError> {
        if self.is_sure {
            return Ok(false);
        }
        let found = Tail::after(dir, self.line - 1).read(1)?.pop();
        let (line, checkpoints) = match found {
            Some(found) if Some(found.hash) == self.hash && found.seq == self.line => {
                self.is_sure = true;
                return Ok(false);
            }
            Some(_) => (0, 0),
            None => (signed_up_to(dir)?.min(self.line), self.checkpoints),
        };
        (self.line, self.hash, self.checkpoints, self.is_sure) = (line, None, checkpoints, true);
        self.signed = self.signed.min(line);
        Ok(true)
    }

    /// It, once this was sent.
    pub(super) fn at(&self, reached: Reached) -> Self {
        let at = self.clone();
        match reached {
            Reached::Line(line, hash) => Self { line, hash: Some(hash), is_sure: true, ..at },
            Reached::Checkpoint(checkpoints, signed) => Self { checkpoints, signed, ..at },
        }
    }

    /// Writes it down, so that it is known after a crash.
    pub(super) fn save(&self) -> Result<(), AuditError> {
        let Self { line, hash, checkpoints, signed, .. } = *self;
        let path = self.dir.join(format!("sent-{}.json", self.name));
        let text = serde_json::to_vec(&Written { line, hash, checkpoints, signed }).unwrap_or_default();
        replace(&path, &text).map_err(AuditError::io(format!("cannot write {}", path.display())))
    }

    /// Notes what was refused.
    pub(super) fn put_aside(&self, refused: &[Refused]) -> Result<(), AuditError> {
        if refused.is_empty() {
            return Ok(());
        }
        let lines = refused.iter().map(|one| serde_json::to_string(one).unwrap_or_default() + "\n");
        let (path, text) = (self.aside(), lines.collect::<String>());
        let written = std::fs::OpenOptions::new().create(true).append(true).open(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_data()
        });
        written.map_err(AuditError::io(format!("cannot write {}", path.display())))
    }

    /// How many were refused.
    pub(super) fn refused(&self) -> Result<u64, AuditError> {
        let path = self.aside();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().count() as u64),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(AuditError::io(format!("cannot read {}", path.display()))(error)),
        }
    }

    fn aside(&self) -> PathBuf {
        self.dir.join(format!("refused-{}.jsonl", self.name))
    }
}

/// Puts a file in another's place: after a crash there is the one or the other.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}
