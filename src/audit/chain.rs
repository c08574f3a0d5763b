//! Writes the chain: goes on where it ended, appends, rotates files, signs checkpoints.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use message::audit::Event;

use super::line::{Checkpoint, Hash, Line, NOTHING, Place};
use super::tail::number;
use super::{AuditError, Signer, checkpoints, files};
use crate::store::Mark;

/// A file of the chain gets about so long.
const FILE_BYTES: u64 = 64 << 20;
/// A checkpoint is signed after so many lines at the latest.
const LINES: u64 = 1000;

/// The chain's end.
pub struct Chain {
    dir: PathBuf,
    anchor: Option<PathBuf>,
    signer: Signer,
    path: PathBuf,
    file: File,
    bytes: u64,
    /// What failed to be written may stand behind those bytes.
    is_torn: bool,
    seq: u64,
    hash: Hash,
    log: Place,
    /// When the last event that it tells of happened.
    last: Timestamp,
    /// Up to where it is signed and durable, and how far in the log that is.
    signed: u64,
    durable: Mark,
    buffer: String,
}

impl Chain {
    /// Goes on with the chain in `dir`, or begins one. A line that a crash left unfinished at the end is cut off: it is
    /// told again. Checkpoints go to `anchor` as well, best on another disk.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if the files cannot be read or written.
    pub fn open(dir: &Path, anchor: Option<PathBuf>, signer: Signer) -> Result<Self, AuditError> {
        let io = |path: &Path| AuditError::io(format!("cannot open {}", path.display()));
        std::fs::create_dir_all(dir).map_err(io(dir))?;
        let signed = last_checkpoint(dir)?.map_or(0, |checkpoint| checkpoint.seq);
        let mut found = None;
        for path in files(dir)?.into_iter().rev() {
            if let Some((line, length)) = healed(&path, signed)? {
                found = Some((path, line, length));
                break;
            }
            // A file was begun, and a crash came before its first line.
            std::fs::remove_file(&path).map_err(io(&path))?;
        }
        let (path, line, bytes) = match found {
            None if signed > 0 => return Err(broken(&first_at(dir, 1))),
            Some((path, line, bytes)) => (path, Some(line), bytes),
            None => (first_at(dir, 1), None, 0),
        };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io(&path))?;
        let last = line.as_ref().and_then(|line| line.event.as_ref()).map_or(Timestamp::UNIX_EPOCH, |event| event.at);
        let (seq, hash, log) = line.map_or((0, NOTHING, Place::default()), |line| (line.seq, line.hash, line.log));
        let signed = signed.min(seq);
        let (dir, durable, buffer) = (dir.to_owned(), log.from, String::new());
        Ok(Self {
            dir,
            anchor,
            signer,
            path,
            file,
            bytes,
            is_torn: false,
            seq,
            hash,
            log,
            last,
            signed,
            durable,
            buffer,
        })
    }

    /// Where in the log it goes on: what is behind that and up to [`Chain::has`] is in it already.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.log.from
    }

    /// Up to where the log need not be kept for it.
    #[must_use]
    pub fn durable(&self) -> Mark {
        self.durable
    }

    /// True if part `part` of the record with `sequence` is in it.
    pub(super) fn has(&self, sequence: u64, part: u32) -> bool {
        (sequence, part) <= (self.log.sequence, self.log.part) && self.seq > 0
    }

    /// When the last event that it tells of happened.
    pub(super) fn last(&self) -> Timestamp {
        self.last
    }

    /// Appends an event; [`Chain::write`] hands it to the system.
    pub(super) fn append(&mut self, log: Place, event: Event) {
        self.last = event.at;
        let line = Line::after(self.seq, self.hash, log, event);
        (self.seq, self.hash, self.log) = (line.seq, line.hash, log);
        self.buffer.push_str(&line.text());
        self.buffer.push('\n');
    }

    /// Writes what was appended, and signs when there is enough. `now` is the time of the checkpoint.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if it cannot be written; what was appended is tried again with the next.
    pub fn write(&mut self, now: Timestamp) -> Result<(), AuditError> {
        self.flush()?;
        if self.wants_signature() { self.sign(now) } else { Ok(()) }
    }

    /// Hands what was appended to the system, also where that is nothing: an error tells then that it could not be.
    ///
    /// # Errors
    ///
    /// As [`Chain::write`].
    pub(super) fn flush(&mut self) -> Result<(), AuditError> {
        let io = || AuditError::io("cannot write the audit's chain");
        if self.is_torn {
            // What was written of the last attempt would stand there twice.
            self.file.set_len(self.bytes).map_err(io())?;
            self.is_torn = false;
        }
        self.check_place()?;
        if !self.buffer.is_empty() {
            self.is_torn = true;
            self.file.write_all(self.buffer.as_bytes()).map_err(io())?;
            self.is_torn = false;
            self.bytes += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// What is written to a file that was moved away or removed would be read by nobody.
    fn check_place(&self) -> Result<(), AuditError> {
        let path = self.path.display();
        let ours = self.file.metadata().map_err(AuditError::io(format!("cannot look at {path}")))?;
        let there = std::fs::metadata(&self.path).map_err(AuditError::io(format!("{path} is gone")))?;
        if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            return Err(AuditError::Moved(format!("{path} is another file than the one that was being written")));
        }
        if ours.len() != self.bytes {
            return Err(AuditError::Moved(format!("{path} is not as long as it was left: somebody else wrote to it")));
        }
        Ok(())
    }

    /// True once so many lines are not signed that they ought to be.
    pub(super) fn wants_signature(&self) -> bool {
        self.seq >= self.signed + LINES
    }

    /// Makes all that was written durable, and signs it, unless nothing was since it last was.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if that cannot be written.
    pub fn sign(&mut self, now: Timestamp) -> Result<(), AuditError> {
        let io = |path: &Path| AuditError::io(format!("cannot write {}", path.display()));
        if self.seq == self.signed || !self.buffer.is_empty() {
            return Ok(());
        }
        self.file.sync_data().map_err(io(&self.dir))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io(&self.dir))?;
        let signature = self.signer.sign(&Checkpoint::signed(self.seq, self.hash, now));
        let checkpoint = Checkpoint { seq: self.seq, hash: self.hash, at: now, key: self.signer.public(), signature };
        let text = serde_json::to_string(&checkpoint).unwrap_or_default() + "\n";
        // Elsewhere first: where that cannot be, nothing is signed.
        if let Some(path) = &self.anchor {
            let what = format!("cannot write {}", path.display());
            append(path, &text).map_err(|source| AuditError::Anchor { what, source })?;
        }
        let path = checkpoints(&self.dir);
        append(&path, &text).map_err(io(&path))?;
        (self.signed, self.durable) = (self.seq, self.log.from);
        if self.bytes >= FILE_BYTES {
            let path = first_at(&self.dir, self.seq + 1);
            self.file = OpenOptions::new().create(true).append(true).open(&path).map_err(io(&path))?;
            (self.path, self.bytes) = (path, 0);
        }
        Ok(())
    }

    /// Up to which line it is signed.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.signed
    }

    /// How many lines it has.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.seq
    }
}

/// Appends a line to a file, durably.
fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data())
}

/// The file whose first line is `seq`.
fn first_at(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:020}.jsonl"))
}

/// The last line of a file and where it ends. What is not whole behind line `signed`, the last that was made durable,
/// was lost with the power or is unfinished: it is cut off, and told again. What is wrong before is left to be found.
fn healed(path: &Path, signed: u64) -> Result<Option<(Line, u64)>, AuditError> {
    let io = || AuditError::io(format!("cannot read {}", path.display()));
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(io())?;
    let bytes = std::fs::read(path).map_err(io())?;
    let first = path.file_stem().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0);
    let (mut end, mut last) = (0, None::<Line>);
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        let whole = text.strip_suffix(b"\n").and_then(|text| std::str::from_utf8(text).ok());
        let is_signed = whole.and_then(|text| number(text.as_bytes())).is_some_and(|seq| seq < signed);
        if !is_signed {
            let line = whole.and_then(Line::read).filter(|line| follows(line, last.as_ref(), signed));
            match line {
                Some(line) => last = Some(line),
                None if last.is_some() || first > signed => break,
                // Not whole, and it was once: that is no crash.
                None => return Err(broken(path)),
            }
        }
        end += text.len() as u64;
    }
    let length = bytes.len() as u64;
    if end < length {
        tracing::warn!(bytes = length - end, "cut the audit's unfinished end: it is told again");
        file.set_len(end).and_then(|()| file.sync_all()).map_err(io())?;
    }
    match last {
        // It ends before the line that was signed last.
        None if end > 0 => Err(broken(path)),
        last => Ok(last.map(|line| (line, end))),
    }
}

/// What cannot be gone on with: somebody changed what was signed.
fn broken(path: &Path) -> AuditError {
    AuditError::Key(format!(
        "{} is not as it was signed: `tributary audit verify` says where; keep the folder aside, and a new chain begins \
         with what the log still has",
        path.display()
    ))
}

/// True if `line` may stand behind `last`, or first of what is looked at.
fn follows(line: &Line, last: Option<&Line>, signed: u64) -> bool {
    match last {
        Some(last) => line.seq == last.seq + 1 && line.prev == last.hash,
        None => line.seq == signed.max(1) || line.seq == signed + 1,
    }
}

/// The last checkpoint in `dir`.
pub(super) fn last_checkpoint(dir: &Path) -> Result<Option<Checkpoint>, AuditError> {
    let path = checkpoints(dir);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().rev().find_map(|line| serde_json::from_str(line).ok())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::io(format!("cannot read {}", path.display()))(error)),
    }
}
