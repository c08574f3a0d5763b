//! The MSH segment, read so that every message can be answered: whatever the bytes, this cannot fail.

use std::borrow::Cow;
use std::fmt;

use super::charset::{self, Charset, Form};
use super::split::bytes_between;
use super::{Delimiters, Version};

/// Longest header read, in bytes: what is longer is no header, but may be a whole document.
const LONGEST: usize = 64 * 1024;

/// How many pieces between field separators are found at once: MSH has 25 fields in v2.9.
const PIECES: usize = 25;

/// The MSH segment of a message: enough to answer, route and tell duplicates.
///
/// Values are as they stand, escape sequences not undone. Where they are given as text, bytes that
/// are no UTF-8 are read as Latin-1.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// `MSH|^~\&|…` without its terminator, one byte for an ASCII character; empty without MSH.
    line: Vec<u8>,
    /// Where the pieces between its field separators end.
    ends: [u32; PIECES],
    delimiters: Delimiters,
    wire: Wire,
    preceded: Preceded,
}

/// How the bytes of a message relate to its header's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// One byte for an ASCII character, and an ASCII byte is that character: the header is those bytes.
    Bytes,
    /// One byte for an ASCII character, but a character set that hides such bytes in others: the header is in UTF-8.
    Charset(Charset),
    /// UTF-16 or UTF-32, with a byte order mark or without: the header is in UTF-8.
    Form(Form, bool),
}

/// What stands before the MSH segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preceded {
    /// Nothing but framing bytes, a byte order mark and blanks.
    Nothing,
    /// A batch header: FHS or BHS.
    Batch,
    /// Something else.
    Other,
}

/// When the sender wants an acknowledgment (table 0155).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCondition {
    /// `AL`: always.
    Al,
    /// `NE`: never.
    Ne,
    /// `ER`: only of errors and rejections.
    Er,
    /// `SU`: only of success.
    Su,
}

/// Prints places only: MSH may name people.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({} bytes)", self.line.len())
    }
}

impl Header {
    /// Reads the first MSH segment in `bytes`, past VT, FS, byte order marks, blank lines and
    /// whatever else stands before it; at most 64 KiB of it. Without one, all fields are empty.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        Self::read_in(bytes, Charset::default())
    }

    /// As [`Header::read`], with the character set of messages whose MSH-18 names none.
    #[must_use]
    pub fn read_in(bytes: &[u8], default: Charset) -> Self {
        let bytes = bytes.strip_prefix(b"\x0B").unwrap_or(bytes);
        let (form, mark) = Form::sniff(bytes);
        if form != Form::Bytes {
            let text = form.decode(bytes.get(..LONGEST).unwrap_or(bytes)).0;
            let header = Self::read_text(text.trim_start_matches('\u{FEFF}').as_bytes());
            return Self { wire: Wire::Form(form, mark > 0), ..header };
        }
        let header = Self::read_text(bytes);
        match charset::untangle(&header.line, header.delimiters.field, default) {
            Some((text, charset)) => header.with_line(text.into_bytes(), Wire::Charset(charset)),
            None => header,
        }
    }

    /// A header of its own.
    pub(super) fn of_line(line: &[u8]) -> Self {
        Self::read_text(line)
    }

    fn with_line(self, line: Vec<u8>, wire: Wire) -> Self {
        Self { ends: ends(&line, self.delimiters.field), line, wire, ..self }
    }

    fn read_text(text: &[u8]) -> Self {
        let text = past_noise(text);
        let start = start_of_header(text).unwrap_or(text.len());
        let (before, from_header) = text.split_at_checked(start).unwrap_or((text, &[]));
        let (from_header, _) = from_header.split_at_checked(LONGEST).unwrap_or((from_header, &[]));
        let line = line_of(from_header);
        let delimiters = Delimiters::read_leniently(line);
        Self {
            ends: ends(line, delimiters.field),
            line: line.to_vec(),
            delimiters,
            wire: Wire::Bytes,
            preceded: preceded(before),
        }
    }

    /// True if there is an MSH segment.
    #[must_use]
    pub fn is_present(&self) -> bool {
        !self.line.is_empty()
    }

    /// The whole segment, without its terminator: its bytes, or UTF-8 (see [`Header::wire`]).
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// What stands before it.
    #[must_use]
    pub fn preceded(&self) -> Preceded {
        self.preceded
    }

    /// MSH-1 and MSH-2, as far as they can be used; the usual ones otherwise.
    #[must_use]
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// How the message's bytes relate to the header's text.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// MSH-`number`'s bytes, from MSH-2 on; empty where nothing stands.
    #[must_use]
    pub fn raw(&self, number: usize) -> &[u8] {
        // MSH-1 is the separator itself, so that the name is piece 0 and MSH-2 piece 1.
        let Some(piece) = number.checked_sub(1).filter(|piece| *piece > 0) else { return &[] };
        match (self.ends.get(piece - 1), self.ends.get(piece)) {
            (Some(before), Some(end)) => self.line.get(*before as usize + 1..*end as usize).unwrap_or_default(),
            _ => bytes_between(&self.line, self.delimiters.field, piece),
        }
    }

    /// MSH-`number`'s bytes; empty also for `""`, which is no value.
    #[must_use]
    pub fn valued(&self, number: usize) -> &[u8] {
        match self.raw(number).trim_ascii() {
            b"\"\"" => &[],
            value => value,
        }
    }

    /// Component `component` of the first repetition of MSH-`number`, blanks around it left out.
    #[must_use]
    pub fn component(&self, number: usize, component: usize) -> Cow<'_, str> {
        let first = bytes_between(self.valued(number), self.delimiters.repetition, 0);
        let nth = component.saturating_sub(1);
        text_of(bytes_between(first, self.delimiters.component, nth).trim_ascii())
    }

    fn text(&self, number: usize) -> Cow<'_, str> {
        text_of(self.valued(number))
    }

    /// MSH-3, all components.
    #[must_use]
    pub fn sending_application(&self) -> Cow<'_, str> {
        self.text(3)
    }

    /// MSH-4, all components.
    #[must_use]
    pub fn sending_facility(&self) -> Cow<'_, str> {
        self.text(4)
    }

    /// MSH-5, all components.
    #[must_use]
    pub fn receiving_application(&self) -> Cow<'_, str> {
        self.text(5)
    }

    /// MSH-6, all components.
    #[must_use]
    pub fn receiving_facility(&self) -> Cow<'_, str> {
        self.text(6)
    }

    /// MSH-7: when the message was made, in HL7's form.
    #[must_use]
    pub fn time(&self) -> Cow<'_, str> {
        self.component(7, 1)
    }

    /// MSH-9.1, such as `ADT`.
    #[must_use]
    pub fn message_type(&self) -> Cow<'_, str> {
        self.component(9, 1)
    }

    /// MSH-9.2, such as `A01`.
    #[must_use]
    pub fn trigger_event(&self) -> Cow<'_, str> {
        self.component(9, 2)
    }

    /// MSH-9.3, such as `ADT_A01`.
    #[must_use]
    pub fn structure(&self) -> Cow<'_, str> {
        self.component(9, 3)
    }

    /// MSH-9.1 and 9.2 as `ADT^A01`, whatever the delimiters; `ADT` without a trigger event.
    #[must_use]
    pub fn kind(&self) -> String {
        match (self.message_type(), self.trigger_event()) {
            (kind, event) if event.is_empty() => kind.into_owned(),
            (kind, event) => format!("{kind}^{event}"),
        }
    }

    /// MSH-10, as it stands.
    #[must_use]
    pub fn control_id(&self) -> Cow<'_, str> {
        if self.valued(10).is_empty() { Cow::Borrowed("") } else { text_of(self.raw(10)) }
    }

    /// MSH-3 and MSH-4 with a `|` between: what tells this sender from others.
    #[must_use]
    pub fn sender(&self) -> String {
        format!("{}|{}", self.sending_application(), self.sending_facility())
    }

    /// MSH-11.1: `P`, `T` or `D`.
    #[must_use]
    pub fn processing_id(&self) -> Cow<'_, str> {
        self.component(11, 1)
    }

    /// MSH-12.1, such as `2.5.1`.
    #[must_use]
    pub fn version_id(&self) -> Cow<'_, str> {
        self.component(12, 1)
    }

    /// MSH-12.1, if it is a version that we speak.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version_id().parse().ok()
    }

    /// MSH-15: when an accept acknowledgment is wanted; `None` where the sender does not say.
    #[must_use]
    pub fn accept_ack(&self) -> Option<AckCondition> {
        self.condition(15)
    }

    /// MSH-16: when an application acknowledgment is wanted; `None` where the sender does not say.
    #[must_use]
    pub fn application_ack(&self) -> Option<AckCondition> {
        self.condition(16)
    }

    /// A code outside table 0155 counts as `AL`: one answer too many does less harm than none.
    fn condition(&self, number: usize) -> Option<AckCondition> {
        match &*self.component(number, 1) {
            "" => None,
            "NE" => Some(AckCondition::Ne),
            "ER" => Some(AckCondition::Er),
            "SU" => Some(AckCondition::Su),
            _ => Some(AckCondition::Al),
        }
    }

    /// True for enhanced acknowledgment mode: MSH-15 or MSH-16 is valued (HL7 v2.5.1 §2.9.3).
    #[must_use]
    pub fn is_enhanced(&self) -> bool {
        self.accept_ack().is_some() || self.application_ack().is_some()
    }

    /// MSH-18's repetitions, each trimmed, in order; the first is the message's own character set.
    pub fn charsets(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.repetitions(18)
    }

    /// MSH-21's repetitions: the message profiles that the sender follows.
    pub fn profiles(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.repetitions(21).filter(|profile| !profile.is_empty())
    }

    fn repetitions(&self, number: usize) -> impl Iterator<Item = Cow<'_, str>> {
        let at = self.delimiters.repetition;
        self.valued(number).split(move |b| at != 0 && *b == at).map(|value| text_of(value.trim_ascii()))
    }

    /// True if MSH-9.1 is ACK or MCF: nothing but an acknowledgment, which is never acknowledged.
    #[must_use]
    pub fn is_general_acknowledgment(&self) -> bool {
        matches!(&*self.message_type(), "ACK" | "MCF")
    }
}

/// Where the pieces of `line` end; those that it does not have, at its end.
fn ends(line: &[u8], field: u8) -> [u32; PIECES] {
    let mut ends = [u32::try_from(line.len()).unwrap_or(u32::MAX); PIECES];
    for (end, at) in ends.iter_mut().zip(memchr::memchr_iter(field, line)) {
        *end = u32::try_from(at).unwrap_or(u32::MAX);
    }
    ends
}

/// Bytes as text: UTF-8, or Latin-1 where they are not.
pub(super) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    }
}

/// Leaves out framing bytes, byte order marks, NULs and blanks at the front.
pub(super) fn past_noise(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [0x0B | 0x1C | 0 | b' ' | b'\t' | b'\r' | b'\n', rest @ ..] | [0xEF, 0xBB, 0xBF, rest @ ..] => rest,
            _ => return text,
        }
    }
}

/// Where the first line that begins with MSH and a separator starts.
fn start_of_header(text: &[u8]) -> Option<usize> {
    let begins_line = |at: usize| at == 0 || matches!(text.get(at - 1), Some(b'\r' | b'\n' | 0x0B));
    let is_header = |at: usize| begins_line(at) && text.get(at + 3).is_none_or(|next| !next.is_ascii_alphanumeric());
    if text.starts_with(b"MSH") && is_header(0) {
        return Some(0);
    }
    memchr::memmem::find_iter(text, b"MSH").find(|&at| is_header(at))
}

/// Up to the end of the segment, or of the frame.
fn line_of(text: &[u8]) -> &[u8] {
    let end = memchr::memchr3(b'\r', b'\n', 0x1C, text).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

fn preceded(before: &[u8]) -> Preceded {
    match before {
        [] => Preceded::Nothing,
        [b'F' | b'B', b'H', b'S', ..] => Preceded::Batch,
        _ => Preceded::Other,
    }
}
