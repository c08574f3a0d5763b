//! Proves that the chain is whole: no line changed, missing, moved or cut off behind a checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::line::{Checkpoint, Hash, Line, NOTHING};
use super::tail::number as line_number;
use super::{AuditError, Verifier, checkpoints, files};

/// So deep are folders of checkpoints looked into.
const DEEPEST: u32 = 2;
/// So many faults are named; then it is known that something is wrong.
const NAMED: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// The line that it began with.
    pub from: u64,
    /// Lines read.
    pub lines: u64,
    /// Checkpoints whose signature was checked.
    pub checkpoints: u64,
    /// The number of the last line that a checkpoint vouches for.
    pub signed: u64,
    /// What is wrong, in the order of the lines.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The number that the line has or ought to have.
    pub seq: u64,
    /// The file and the line in it.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// Where it begins: at the last checkpoint that vouches for what is before. What is proven then is that all behind it is
/// as it was, and that it follows on the line that was signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VerifyFrom {
    /// At the first line.
    #[default]
    Beginning,
    /// At this line, or before.
    Line(u64),
    /// At what was signed at this time, or before.
    Time(Timestamp),
    /// At the last checkpoint.
    Last,
    /// At the last checkpoint of a file that was kept elsewhere.
    Anchor(PathBuf),
}

/// Reads the chain in `dir` from a place on, and its checkpoints: those beside it and those in `anchors`, which are files
/// of checkpoints, folders that they were dropped into, and AuditEvents that a repository gave back. Their signatures
/// must be of the key that `verifier` has.
///
/// # Errors
///
/// [`AuditError`] if the files cannot be read; what is wrong with them is in the answer.
pub fn verify(dir: &Path, anchors: &[PathBuf], verifier: &Verifier, from: &VerifyFrom) -> Result<Verified, AuditError> {
    let mut told = read_checkpoints(&checkpoints(dir))?;
    let mut kept = Vec::new();
    if let VerifyFrom::Anchor(path) = from {
        kept = read_checkpoints(path)?;
        told.extend(kept.iter().cloned());
    }
    for path in anchors.iter().map(|anchor| dropped(anchor)).collect::<Result<Vec<_>, _>>()?.concat() {
        told.extend(read_checkpoints(&path)?);
    }
    let begins = match from {
        VerifyFrom::Beginning => None,
        VerifyFrom::Line(line) => last_of(&told, verifier, |checkpoint| checkpoint.seq <= *line),
        VerifyFrom::Time(at) => last_of(&told, verifier, |checkpoint| checkpoint.at <= *at),
        VerifyFrom::Last => last_of(&told, verifier, |_| true),
        VerifyFrom::Anchor(_) => last_of(&kept, verifier, |_| true),
    };
    let start = begins.unwrap_or(1);
    let mut verified = Verified { from: start, ..Verified::default() };
    let said = weigh(told, start, verifier, &mut verified);
    let mut walk = Walk { start, begun: false, expected: start, prev: NOTHING, verified, said };
    let files = files(dir)?;
    let first = |path: &Path| path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok()).unwrap_or(0);
    // Those before the one that has the first line are not read.
    let skipped = files.iter().rposition(|path| first(path) <= start).unwrap_or(0);
    for path in files.iter().skip(skipped) {
        walk.file(path)?;
    }
    let last = walk.expected - 1;
    let cut = walk.said.keys().next_back().copied().filter(|seq| *seq > last);
    if let Some(seq) = cut {
        walk.fault(last + 1, dir, format!("the chain is cut off: line {seq} was there when it was signed"));
    }
    let mut verified = walk.verified;
    verified.signed = walk.said.range(..=last).next_back().map_or(0, |(seq, _)| *seq);
    verified.faults.sort_by_key(|fault| fault.seq);
    Ok(verified)
}

/// The line that the last of these checkpoints vouches for that `takes` takes, and that was signed with the key.
fn last_of(told: &[Read], verifier: &Verifier, takes: impl Fn(&Checkpoint) -> bool) -> Option<u64> {
    let mut fitting: Vec<&Checkpoint> =
        told.iter().filter_map(|read| read.checkpoint.as_ref()).filter(|checkpoint| takes(checkpoint)).collect();
    fitting.sort_by_key(|checkpoint| checkpoint.seq);
    fitting.into_iter().rev().find(|checkpoint| is_signed(checkpoint, verifier)).map(|checkpoint| checkpoint.seq)
}

fn is_signed(checkpoint: &Checkpoint, verifier: &Verifier) -> bool {
    let Checkpoint { seq, hash, at, key, signature } = checkpoint;
    verifier.check(key, &Checkpoint::signed(*seq, *hash, *at), signature)
}

struct Walk {
    /// The line that it begins with, and whether it has begun: what stands before is passed over.
    start: u64,
    begun: bool,
    /// The number that comes next, and the hash of the line before it.
    expected: u64,
    prev: Hash,
    verified: Verified,
    /// By line, what checkpoints say that its hash is.
    said: BTreeMap<u64, Hash>,
}

impl Walk {
    fn file(&mut self, path: &Path) -> Result<(), AuditError> {
        let io = || AuditError::io(format!("cannot read {}", path.display()));
        let mut reader = BufReader::new(File::open(path).map_err(io())?);
        let (mut bytes, mut number) = (Vec::new(), 0);
        while reader.read_until(b'\n', &mut bytes).map_err(io())? > 0 {
            number += 1;
            self.begun |= self.start == 1 || line_number(&bytes).is_some_and(|seq| seq >= self.start);
            if !self.begun {
                bytes.clear();
                continue;
            }
            let whole = bytes.strip_suffix(b"\n").and_then(|text| std::str::from_utf8(text).ok());
            self.line(whole, path, number);
            bytes.clear();
        }
        Ok(())
    }

    fn line(&mut self, text: Option<&str>, path: &Path, number: u64) {
        self.verified.lines += 1;
        let place = || format!("line {number} of {}", path.display());
        let Some(line) = text.and_then(Line::read) else {
            self.fault(self.expected, path, format!("{} was changed, or is not finished", place()));
            // What it was is not known: the next one says what stood before it.
            self.expected += 1;
            self.prev = NOTHING;
            return;
        };
        let known = self.prev != NOTHING || self.expected == 1;
        match line.seq {
            seq if seq > self.expected => {
                let what = format!("lines {} to {} are missing before {}", self.expected, seq - 1, place());
                self.fault(self.expected, path, what);
            }
            seq if seq < self.expected => {
                self.fault(seq, path, format!("{} stands where line {} ought to", place(), self.expected));
            }
            _ if known && line.prev != self.prev => {
                self.fault(line.seq, path, format!("{} does not follow on the line before it", place()));
            }
            _ => {}
        }
        if self.said.get(&line.seq).is_some_and(|said| *said != line.hash) {
            self.fault(line.seq, path, format!("{} is another than was signed", place()));
        }
        (self.expected, self.prev) = (line.seq + 1, line.hash);
    }

    fn fault(&mut self, seq: u64, path: &Path, what: String) {
        if self.verified.faults.len() < NAMED {
            self.verified.faults.push(Fault { seq, place: path.display().to_string(), what });
        }
    }
}

/// The files of an anchor: itself, or what is in its folder and the folders in that.
fn dropped(anchor: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let mut found = Vec::new();
    let mut folders = vec![(anchor.to_owned(), 0)];
    while let Some((path, depth)) = folders.pop() {
        if !path.is_dir() {
            let is_one = depth == 0 || path.extension().is_some_and(|kind| kind == "json" || kind == "jsonl");
            found.extend(is_one.then_some(path));
            continue;
        }
        let io = || AuditError::io(format!("cannot list {}", path.display()));
        for entry in std::fs::read_dir(&path).map_err(io())? {
            let path = entry.map_err(io())?.path();
            if depth < DEEPEST || !path.is_dir() {
                folders.push((path, depth + 1));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The checkpoints of a text, each where it can be read: one a line; or an AuditEvent that has one, or a Bundle of such.
fn checkpoints_of(text: &str) -> Vec<Option<Checkpoint>> {
    let resource = serde_json::from_str::<Value>(text).ok().filter(|value| value.get("resourceType").is_some());
    let Some(resource) = resource else {
        let lines = text.lines().filter(|line| !line.is_empty());
        return lines.map(|line| serde_json::from_str(line).ok()).collect();
    };
    let entries = resource.get("entry").and_then(Value::as_array).into_iter().flatten();
    let resources = entries.filter_map(|entry| entry.get("resource")).chain([&resource]);
    let told = resources.filter_map(|one| one.get("outcomeDesc")?.as_str());
    told.filter_map(|text| serde_json::from_str(text).ok()).map(Some).collect()
}

/// A checkpoint as it was read; `None` where it cannot be.
#[derive(Clone)]
struct Read {
    place: String,
    number: u64,
    checkpoint: Option<Checkpoint>,
}

fn read_checkpoints(path: &Path) -> Result<Vec<Read>, AuditError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(AuditError::io(format!("cannot read {}", path.display())))?,
    };
    let mut found = checkpoints_of(&text);
    // A crash may leave the last one unfinished.
    if found.last().is_some_and(Option::is_none) && !text.ends_with('\n') {
        found.pop();
    }
    let place = path.display().to_string();
    Ok((1..).zip(found).map(|(number, checkpoint)| Read { place: place.clone(), number, checkpoint }).collect())
}

/// Which line has which hash, as checkpoints say from line `start` on.
fn weigh(told: Vec<Read>, start: u64, verifier: &Verifier, verified: &mut Verified) -> BTreeMap<u64, Hash> {
    let mut said = BTreeMap::new();
    for Read { place, number, checkpoint } in told {
        let mut fault = |seq, what: &str| {
            let what = format!("checkpoint {number} of {place}: {what}");
            verified.faults.push(Fault { seq, place: place.clone(), what });
        };
        let Some(checkpoint) = checkpoint else {
            fault(0, "it was changed");
            continue;
        };
        if checkpoint.seq < start {
            continue;
        }
        let Checkpoint { seq, hash, .. } = checkpoint;
        if !is_signed(&checkpoint, verifier) {
            fault(seq, "it was not signed with the key");
            continue;
        }
        verified.checkpoints += 1;
        if said.insert(seq, hash).is_some_and(|before| before != hash) {
            let what =
                format!("line {seq} was signed twice, with two hashes: an older copy of the chain was gone on with");
            verified.faults.push(Fault { seq, place, what });
        }
    }
    said
}
