//! Reads events from the chain: by time, kind and patient.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Split};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use message::audit::{Event, Kind};

use super::line::Line;
use super::{AuditError, files};

/// Which events. Every part that is given must match.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Of any of these kinds; none for all.
    pub kinds: Vec<Kind>,
    /// About any of these: keyed hashes of identifiers, in hexadecimal; none for all.
    pub subjects: Option<BTreeSet<String>>,
    /// To this destination.
    pub destination: Option<String>,
}

impl Selection {
    fn takes(&self, event: &Event) -> bool {
        self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.subjects.as_ref().is_none_or(|of| event.subjects.iter().any(|subject| of.contains(subject)))
            && self.destination.as_ref().is_none_or(|name| event.destination.as_ref() == Some(name))
    }
}

/// The events of a chain that a selection takes, with the numbers of their lines, in order. Lines that cannot be read
/// are counted and passed over: [`super::verify`] names them.
pub struct Lines {
    selection: Selection,
    files: std::vec::IntoIter<PathBuf>,
    open: Option<Split<BufReader<File>>>,
    /// Lines that could not be read.
    pub unread: u64,
}

impl Lines {
    /// Reads the chain in `dir`.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if it cannot be listed.
    pub fn open(dir: &Path, selection: Selection) -> Result<Self, AuditError> {
        Ok(Self { selection, files: files(dir)?.into_iter(), open: None, unread: 0 })
    }

    /// The next line of any file; `None` at the end. A file that cannot be read further is left.
    fn text(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.open.as_mut().and_then(Iterator::next) {
                Some(Ok(text)) => return Some(text),
                Some(Err(_)) => self.unread += 1,
                None => {}
            }
            self.open = match File::open(self.files.next()?) {
                Ok(file) => Some(BufReader::new(file).split(b'\n')),
                Err(_) => None,
            };
            self.unread += u64::from(self.open.is_none());
        }
    }
}

impl Iterator for Lines {
    type Item = (u64, Event);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = serde_json::from_slice::<Line>(&self.text()?).ok();
            match line {
                Some(Line { seq, event: Some(event), .. }) if self.selection.takes(&event) => {
                    return Some((seq, event));
                }
                Some(_) => {}
                None => self.unread += 1,
            }
        }
    }
}
