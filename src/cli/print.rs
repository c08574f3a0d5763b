//! Printing: to standard output, which may be a pipe that somebody closed, and to standard error.

use std::fmt::Arguments;
use std::io::{self, Write as _};

/// Standard output took no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub(super) struct OutputError(#[from] io::Error);

impl OutputError {
    /// True if whoever read it has read enough, as `head` does: no reason to complain.
    pub(super) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes a line to standard output, in one piece.
pub(super) fn line(text: Arguments<'_>) -> Result<(), OutputError> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes bytes to standard output as they are.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes a line to standard error, if there is one.
pub(super) fn aside(text: Arguments<'_>) {
    // There is nowhere left to say that nobody listens.
    drop(io::stderr().lock().write_all(format!("{text}\n").as_bytes()));
}

/// Text for a terminal: what could steer it (escape sequences of a peer's answer, say) is blotted out.
pub(super) fn plain(text: &str) -> String {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// HL7 v2 or JSON for a person: a segment on each line, and [`plain`].
pub(super) fn readable(bytes: &[u8]) -> String {
    plain(String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n").trim_end())
}

/// Prints a line; an error is that standard output takes no more.
macro_rules! say {
    () => { $crate::cli::print::line(format_args!("")) };
    ($($part:tt)+) => { $crate::cli::print::line(format_args!($($part)+)) };
}

/// Prints a line to standard error.
macro_rules! note {
    ($($part:tt)+) => { $crate::cli::print::aside(format_args!($($part)+)) };
}

pub(super) use {note, say};
