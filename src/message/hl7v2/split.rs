//! Cutting text at delimiters: ASCII bytes, so that UTF-8 is never cut within a character.

/// The pieces between two `at`s; zero cuts nothing. One empty piece where nothing stands.
pub(super) fn split(text: &str, at: u8) -> Pieces<'_> {
    Pieces { rest: Some(text), at }
}

/// See [`split`].
#[derive(Clone)]
pub(super) struct Pieces<'a> {
    rest: Option<&'a str>,
    at: u8,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let end = if self.at == 0 { None } else { memchr::memchr(self.at, text.as_bytes()) };
        let Some(end) = end else { return self.rest.take() };
        self.rest = text.get(end + 1..);
        text.get(..end)
    }
}

/// Piece `nth` (from 0) between two `at`s; empty past the end.
pub(super) fn nth_between(text: &str, at: u8, nth: usize) -> &str {
    let (start, end) = span_between(text.as_bytes(), at, nth);
    text.get(start..end).unwrap_or_default()
}

/// As [`nth_between`], in bytes.
pub(super) fn bytes_between(bytes: &[u8], at: u8, nth: usize) -> &[u8] {
    let (start, end) = span_between(bytes, at, nth);
    bytes.get(start..end).unwrap_or_default()
}

fn span_between(bytes: &[u8], at: u8, nth: usize) -> (usize, usize) {
    if at == 0 {
        return if nth == 0 { (0, bytes.len()) } else { (0, 0) };
    }
    let mut start = 0;
    for _ in 0..nth {
        match bytes.get(start..).and_then(|rest| memchr::memchr(at, rest)) {
            Some(i) => start += i + 1,
            None => return (0, 0),
        }
    }
    let rest = bytes.get(start..).unwrap_or_default();
    (start, memchr::memchr(at, rest).map_or(bytes.len(), |i| start + i))
}
