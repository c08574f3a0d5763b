//! One message: its text and where its segments begin and end.

use std::fmt;

use bytes::Bytes;

use super::value::Field;
use super::{Delimiters, Path};
use crate::Fault;

/// A message in ER7, read lazily. Clones share the bytes.
#[derive(Clone)]
pub struct Message {
    /// As it came.
    bytes: Bytes,
    /// The same in UTF-8; the very same buffer where the bytes were UTF-8 already.
    text: Bytes,
    delimiters: Delimiters,
    /// Start and end of each segment within `text`, separators and blank lines not counted.
    segments: Vec<(u32, u32)>,
}

/// Prints sizes only: a message is patient data.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hl7v2::Message({} bytes, {} segments)", self.bytes.len(), self.segments.len())
    }
}

impl Message {
    /// Indexes `text`, the UTF-8 form of `bytes`. Segments end with CR, LF or CRLF; blank lines and
    /// trailing blanks between segments are passed over.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if `text` is no UTF-8, does not begin with MSH, or MSH-1 and MSH-2 are unusable.
    pub fn index(bytes: Bytes, text: Bytes) -> Result<Self, Fault> {
        if let Err(error) = std::str::from_utf8(&text) {
            let location = format!("byte {}", error.valid_up_to());
            return Err(Fault::new(102, location, "the text cannot be read in the declared character set"));
        }
        if text.len() > u32::MAX as usize {
            return Err(Fault::new(102, None, "a message of 4 GiB or more is not supported"));
        }
        let segments = lines(&text);
        let header = segments.first().and_then(|&(start, end)| text.get(start as usize..end as usize));
        let header = header.unwrap_or_default();
        if !header.starts_with(b"MSH") {
            return Err(Fault::new(100, "segment 1".to_owned(), "the message does not begin with an MSH segment"));
        }
        let delimiters = Delimiters::read(header)?;
        Ok(Self { bytes, text, delimiters, segments })
    }

    /// The message as it came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message in UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// What MSH-1 and MSH-2 declare.
    #[must_use]
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// All segments in order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'_>> + DoubleEndedIterator + '_ {
        let text = self.text();
        self.segments.iter().enumerate().map(move |(number, &(start, end))| Segment {
            text: text.get(start as usize..end as usize).unwrap_or_default(),
            delimiters: self.delimiters,
            number,
        })
    }

    /// The segments called `name`, such as `"OBX"`, in order.
    pub fn segments_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Segment<'a>> + 'a {
        self.segments().filter(move |segment| segment.name() == name)
    }

    /// The first segment called `name`.
    #[must_use]
    pub fn segment(&self, name: &str) -> Option<Segment<'_>> {
        self.segments().find(|segment| segment.name() == name)
    }

    /// The text at `path`, escape sequences not undone; `None` where nothing stands.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&str> {
        path.text_in(self)
    }
}

/// Start and end of each line that is not blank.
fn lines(text: &[u8]) -> Vec<(u32, u32)> {
    let mut out = Vec::new();
    let mut start = 0;
    let ends = memchr::memchr2_iter(b'\r', b'\n', text).chain(std::iter::once(text.len()));
    for end in ends {
        let line = text.get(start..end).unwrap_or_default();
        let blank = line.iter().all(u8::is_ascii_whitespace);
        if !blank {
            let lead = line.iter().take_while(|b| b.is_ascii_whitespace()).count();
            // Positions fit: `index` refuses 4 GiB.
            out.push(((start + lead) as u32, end as u32));
        }
        start = end + 1;
    }
    out
}

/// One segment: `PID|1||…`, without its terminator.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    text: &'a str,
    delimiters: Delimiters,
    number: usize,
}

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({} at {})", self.name(), self.number + 1)
    }
}

impl<'a> Segment<'a> {
    /// A segment of its own, for segments that do not stand in a message (tests, built ACKs).
    #[must_use]
    pub fn new(text: &'a str, delimiters: Delimiters) -> Self {
        Self { text, delimiters, number: 0 }
    }

    /// What stands before the first field separator: `"PID"`, whatever it is.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match memchr::memchr(self.delimiters.field, self.text.as_bytes()) {
            Some(end) => self.text.get(..end).unwrap_or_default(),
            None => self.text.trim_end(),
        }
    }

    /// Its place in the message, counted from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// The whole segment as it stands.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What the message declares.
    #[must_use]
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// Field `number`, counted from 1 as HL7 does; MSH-1 is the separator itself and MSH-2 is not
    /// cut into components. Empty where nothing stands.
    #[must_use]
    pub fn field(&self, number: usize) -> Field<'a> {
        let is_header = self.is_header();
        if is_header && number == 1 {
            return Field::literal(self.text.get(3..4).unwrap_or_default(), self.delimiters);
        }
        let nth = if is_header { number.saturating_sub(1) } else { number };
        let text = if number == 0 { "" } else { nth_between(self.text, self.delimiters.field, nth) };
        if is_header && number == 2 { Field::literal(text, self.delimiters) } else { Field::new(text, self.delimiters) }
    }

    /// All its fields from 1 on, each with its number.
    pub fn fields(&self) -> impl Iterator<Item = (usize, Field<'a>)> + 'a {
        let (delimiters, is_header) = (self.delimiters, self.is_header());
        let first = is_header.then(|| (1, self.field(1)));
        let rest = split(self.text, delimiters.field).skip(1).enumerate().map(move |(i, text)| {
            let number = if is_header { i + 2 } else { i + 1 };
            let literal = is_header && number == 2;
            (number, if literal { Field::literal(text, delimiters) } else { Field::new(text, delimiters) })
        });
        first.into_iter().chain(rest)
    }

    fn is_header(&self) -> bool {
        matches!(self.text.get(..3), Some("MSH" | "FHS" | "BHS"))
    }
}

/// Splits at an ASCII byte; zero splits nothing.
pub(super) fn split(text: &str, at: u8) -> impl Iterator<Item = &str> {
    text.split(move |c: char| at != 0 && c == char::from(at))
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
