//! Reads the chain and its checkpoints on from a place, as they grow.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use message::Sha256;
use message::audit::{Event, Kind};
use uuid::Uuid;

use super::line::{Checkpoint, Hash, Line};
use super::{AuditError, checkpoints, files};

/// One line that was read.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// What it tells: nothing where that had to be taken out; that it cannot be read where it cannot.
    pub(super) event: Option<Event>,
}

/// The lines of the chain from one on.
pub(super) struct Tail {
    dir: PathBuf,
    /// The line that comes next.
    next: u64,
    /// The line that stands next in the open file.
    at: u64,
    open: Option<(PathBuf, BufReader<File>)>,
    /// When the last event that was read happened.
    last: Timestamp,
}

impl Tail {
    /// The lines after line `seq` of the chain in `dir`.
    pub(super) fn after(dir: &Path, seq: u64) -> Self {
        Self { dir: dir.to_owned(), next: seq + 1, at: 0, open: None, last: Timestamp::UNIX_EPOCH }
    }

    /// The next lines, at most `most`: those that are whole by now.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if a file cannot be read.
    pub(super) fn read(&mut self, most: usize) -> Result<Vec<Told>, AuditError> {
        let mut told = Vec::new();
        while told.len() < most {
            let Some(bytes) = self.bytes()? else { break };
            if number(&bytes).is_some_and(|seq| seq < self.next) {
                // It was read already: this is where the file begins.
                self.at += 1;
                continue;
            }
            let text = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
            let line = match Line::read(&text) {
                Some(Line { seq, hash, event, .. }) => Told { seq, hash, event },
                None => self.unreadable(&bytes),
            };
            self.at = line.seq + 1;
            if line.seq < self.next {
                continue;
            }
            self.next = line.seq + 1;
            self.last = line.event.as_ref().map_or(self.last, |event| event.at);
            told.push(line);
        }
        Ok(told)
    }

    /// A line that was altered, as an event: whoever reads on elsewhere must know.
    fn unreadable(&self, bytes: &[u8]) -> Told {
        let (seq, hash) = (self.at, Sha256::of(bytes));
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("tributary/audit/altered/{seq}/{hash}").as_bytes());
        let text = format!("line {seq} of the audit was changed, and cannot be read");
        Told { seq, hash: Hash(hash), event: Some(Event { text, ..Event::new(id, self.last, Kind::Gap) }) }
    }

    /// The next line's bytes, with its end; `None` where there is no whole one yet.
    fn bytes(&mut self) -> Result<Option<Vec<u8>>, AuditError> {
        loop {
            if self.open.is_none() && !self.enter()? {
                return Ok(None);
            }
            let Some((path, reader)) = &mut self.open else { return Ok(None) };
            let io = || AuditError::io(format!("cannot read {}", path.display()));
            let mut bytes = Vec::new();
            let length = reader.read_until(b'\n', &mut bytes).map_err(io())?;
            if bytes.ends_with(b"\n") {
                return Ok(Some(bytes));
            }
            if length > 0 {
                // It is being written.
                let back = i64::try_from(length).unwrap_or_default();
                reader.seek(SeekFrom::Current(-back)).map_err(io())?;
            }
            let left = path.clone();
            if !self.enter()? || self.open.as_ref().is_none_or(|(path, _)| *path == left) {
                return Ok(None);
            }
        }
    }

    /// Opens the file that the next line is in, unless it is open; false if there is none.
    fn enter(&mut self) -> Result<bool, AuditError> {
        let first = |path: &Path| path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
        let mut files = files(&self.dir)?;
        let holds = files.iter().rposition(|path| first(path).is_some_and(|first| first <= self.next));
        let Some(path) = holds.map(|at| files.swap_remove(at)) else { return Ok(false) };
        if self.open.as_ref().is_none_or(|(open, _)| *open != path) {
            let file = File::open(&path).map_err(AuditError::io(format!("cannot read {}", path.display())))?;
            self.at = first(&path).unwrap_or(self.next);
            self.open = Some((path, BufReader::new(file)));
        }
        Ok(true)
    }
}

/// The number of a line, by its first member alone.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(b"{\"seq\":")?;
    let end = rest.iter().position(|byte| *byte == b',')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

/// The checkpoints in `dir` behind the first `from` bytes of their file, at most `most`, each as it is written, with
/// where it ends.
///
/// # Errors
///
/// [`AuditError`] if the file cannot be read.
pub(super) fn signed(dir: &Path, from: u64, most: usize) -> Result<Vec<(String, Checkpoint, u64)>, AuditError> {
    let path = checkpoints(dir);
    let io = || AuditError::io(format!("cannot read {}", path.display()));
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(io())?,
    };
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(from)).map_err(io())?;
    let (mut found, mut end) = (Vec::new(), from);
    while found.len() < most {
        let mut text = Vec::new();
        let length = reader.read_until(b'\n', &mut text).map_err(io())?;
        let Some(text) = text.strip_suffix(b"\n") else { break };
        end += length as u64;
        let text = String::from_utf8_lossy(text).into_owned();
        // What cannot be read is for `verify` to name.
        if let Ok(checkpoint) = serde_json::from_str(&text) {
            found.push((text, checkpoint, end));
        }
    }
    Ok(found)
}
