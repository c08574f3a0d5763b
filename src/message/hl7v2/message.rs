//! One message: its text and where its segments begin and end.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use super::charset::{self, Charset, CharsetOptions};
use super::{Delimiters, Header, Path, Segment};
use crate::json::Text;
use crate::{Fault, Finding, FindingKind};

/// A message in ER7, read lazily. Clones share the bytes.
#[derive(Clone)]
pub struct Message {
    /// As it came.
    bytes: Bytes,
    /// The same in UTF-8; the very same buffer where the bytes were UTF-8 already.
    text: ByteString,
    charset: Charset,
    delimiters: Delimiters,
    /// Start and end of each segment within `text`, separators and blank lines not counted.
    segments: Arc<[(u32, u32)]>,
}

/// Prints sizes only: a message is patient data.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hl7v2::Message({} bytes, {} segments)", self.bytes.len(), self.segments.len())
    }
}

impl Message {
    /// Reads `bytes` in the character set that they declare, with what was found wrong on the way.
    ///
    /// Framing bytes, byte order marks and blank lines around the message are passed over; segments end with CR, LF
    /// or CRLF. A line that does not begin like a segment belongs to the value that it breaks.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if the bytes are no text in their character set (see [`charset::decode`]), the first
    /// segment is not MSH, or MSH-1 and MSH-2 cannot be used.
    pub fn read(bytes: Bytes, options: &CharsetOptions) -> Result<(Self, Vec<Finding>), Fault> {
        let unframed = bytes.strip_prefix(b"\x0B").map_or_else(|| bytes.clone(), |rest| bytes.slice_ref(rest));
        let decoded = if is_plain(&unframed) {
            charset::Decoded::plain(unframed)
        } else {
            charset::decode(&unframed, &Header::read_in(&unframed, options.default), options)?
        };
        let (message, broken) = Self::of_text(bytes, decoded.text, decoded.charset)?;
        let broken = broken.into_iter().map(|nth| message.broken_value(nth));
        let findings = decoded.finding.into_iter().chain(broken).collect();
        Ok((message, findings))
    }

    /// Indexes `text`, the UTF-8 form of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`Message::read`]; also if `text` is no UTF-8.
    pub fn index(bytes: Bytes, text: Bytes) -> Result<Self, Fault> {
        let text = ByteString::try_from(text)
            .map_err(|error| Fault::new(102, format!("byte {}", error.valid_up_to()), "the text is no UTF-8"))?;
        Self::of_text(bytes, text, Charset::Utf8).map(|(message, _)| message)
    }

    /// Indexes `text`; with the numbers of the segments that hold line breaks.
    fn of_text(bytes: Bytes, text: ByteString, charset: Charset) -> Result<(Self, Vec<usize>), Fault> {
        if text.len() > u32::MAX as usize {
            return Err(Fault::new(104, None, "a message of 4 GiB or more is not supported"));
        }
        let start = text.len() - super::header::past_noise(text.as_bytes()).len();
        let end = text.trim_end_matches(['\r', '\n', '\u{1C}', '\0']).len().max(start);
        let content = text.as_bytes().get(start..end).unwrap_or_default();
        if !content.starts_with(b"MSH") {
            return Err(Fault::new(100, "MSH".to_owned(), "the message does not begin with an MSH segment"));
        }
        let delimiters = Delimiters::read(content)?;
        let mut lines = Lines::new(content.len());
        lines.cut(content, start, delimiters.field);
        Ok((Self { bytes, text, charset, delimiters, segments: lines.spans.into() }, lines.broken))
    }

    fn broken_value(&self, number: usize) -> Finding {
        let name = self.nth(number).map(|segment| segment.name()).unwrap_or_default();
        let before = self.segments().take(number + 1).filter(|segment| segment.name() == name).count();
        let text = Text::new_static("a line break stands in a value; it was kept");
        Finding { kind: FindingKind::Malformed, location: format!("{name}[{before}]").into(), text }
    }

    /// The message as it came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message in UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the bytes were read as.
    #[must_use]
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// What MSH-1 and MSH-2 declare.
    #[must_use]
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// All segments in order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'_>> + DoubleEndedIterator + '_ {
        self.segments.iter().enumerate().map(move |(number, span)| self.segment_at(number, *span))
    }

    /// Segment `number`, counted from 0.
    #[must_use]
    pub fn nth(&self, number: usize) -> Option<Segment<'_>> {
        self.segments.get(number).map(|span| self.segment_at(number, *span))
    }

    fn segment_at(&self, number: usize, (start, end): (u32, u32)) -> Segment<'_> {
        let text = self.text.get(start as usize..end as usize).unwrap_or_default();
        Segment::at(text, self.delimiters, number)
    }

    /// The segments called `name`, such as `"OBX"`, in order.
    pub fn segments_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Segment<'a>> + 'a {
        self.segments().filter(move |segment| segment.is_named(name))
    }

    /// The first segment called `name`.
    #[must_use]
    pub fn segment(&self, name: &str) -> Option<Segment<'_>> {
        self.segments().find(|segment| segment.is_named(name))
    }

    /// The text at `path`, escape sequences not undone; `None` where nothing stands.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&str> {
        path.text_in(self)
    }
}

/// True for bytes that are the same text in all character sets: ASCII without escape sequences to others.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.is_ascii() && memchr::memchr2(0, 0x1B, bytes).is_none()
}

/// Where the segments of a text lie.
struct Lines {
    spans: Vec<(u32, u32)>,
    /// The numbers of those that hold line breaks.
    broken: Vec<usize>,
}

impl Lines {
    fn new(bytes: usize) -> Self {
        // A segment has some sixty bytes; one that is all data has far more.
        Self { spans: Vec::with_capacity((bytes / 64 + 4).min(256)), broken: Vec::new() }
    }

    /// Cuts `content`, which begins at `offset` of the whole text.
    fn cut(&mut self, content: &[u8], offset: usize, field: u8) {
        let mut start = 0;
        for end in memchr::memchr2_iter(b'\r', b'\n', content).chain(std::iter::once(content.len())) {
            let line = content.get(start..end).unwrap_or_default();
            let lead = line.iter().take_while(|b| is_blank(**b)).count();
            let line = line.get(lead..).unwrap_or_default();
            if !line.is_empty() {
                // Positions fit: `of_text` refuses 4 GiB.
                self.push((offset + start + lead) as u32, (offset + end) as u32, begins_segment(line, field));
            }
            start = end + 1;
        }
    }

    fn push(&mut self, start: u32, end: u32, begins_segment: bool) {
        match self.spans.last_mut() {
            Some(last) if !begins_segment => {
                last.1 = end;
                let number = self.spans.len() - 1;
                if self.broken.last() != Some(&number) {
                    self.broken.push(number);
                }
            }
            _ => self.spans.push((start, end)),
        }
    }
}

fn is_blank(b: u8) -> bool {
    b.is_ascii_whitespace() || matches!(b, 0 | 0x0B | 0x1C)
}

/// True for letters or digits before a field separator (`PID|`, `ZX|`), and for three alone (`PV1`).
fn begins_segment(line: &[u8], field: u8) -> bool {
    let name = line.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    let bare = || {
        let name = line.trim_ascii_end();
        name.len() == 3 && name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    name > 0 && line.get(name) == Some(&field) || bare()
}
