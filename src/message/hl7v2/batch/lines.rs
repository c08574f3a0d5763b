//! Lines of a file, and what they are in a batch.
use crate::hl7v2::header::past_noise;

/// One line, its terminator included, and where it lies.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    pub(super) number: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'a> Line<'a> {
    /// The segment's name, if it is one of those that shape a batch.
    pub(super) fn shape(&self) -> Option<&'a [u8]> {
        let (name, rest) = self.text.split_at_checked(3)?;
        let shapes = matches!(name, b"FHS" | b"BHS" | b"MSH" | b"BTS" | b"FTS" | b"SFT" | b"UAC");
        (shapes && rest.first().is_none_or(|b| b.is_ascii_punctuation())).then_some(name)
    }
}

/// Lines that are not blank, cut at CR, LF or CRLF; framing and byte order marks at their front left out.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    let mut number = 0;
    let all = std::iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let end = start + memchr::memchr2(b'\r', b'\n', rest).map_or(rest.len(), |at| after_break(rest, at));
        let content = past_noise(text.get(start..end).unwrap_or_default());
        number += 1;
        let line = Line { text: content.trim_ascii_end(), number, start: end - content.len(), end };
        start = end;
        Some(line)
    });
    all.filter(|line| !line.text.is_empty())
}

/// Where the line after the break at `at` begins: CRLF is one break.
fn after_break(text: &[u8], at: usize) -> usize {
    if text.get(at..at + 2) == Some(b"\r\n") { at + 2 } else { at + 1 }
}
