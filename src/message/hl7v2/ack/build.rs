//! Builds the acknowledgment of any bytes.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::error::err_segment;
use super::{AcknowledgmentCode, Phase};
use crate::hl7v2::charset::Charset;
use crate::hl7v2::escape::escape;
use crate::hl7v2::header::{Header, Wire};
use crate::hl7v2::{Delimiters, Version, timestamp};
use crate::{Answer, Fault};

/// Longest MSA-3, in characters (HL7 v2.5.1 §2.15.8.3).
const MSA_3_LENGTH: usize = 80;
/// Longest MSH-10 before v2.7, in characters.
const MSH_10_LENGTH: usize = 20;

/// What an acknowledgment says of itself.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// MSH-7: when it is made.
    pub now: Timestamp,
    /// The zone that MSH-7 is written in.
    pub zone: TimeZone,
    /// MSH-10: its own control id, unique. Of more than 20 characters a version before 2.7 gets the last 20.
    pub control_id: String,
}

/// The acknowledgment of `frame`, whatever it holds, in its own delimiters and character set; `None` if its sender
/// wants none in this phase. Transport framing is not included.
#[must_use]
pub fn acknowledge(frame: &[u8], answer: &Answer, phase: Phase, stamp: &Stamp) -> Option<Bytes> {
    acknowledge_header(&Header::read(frame), answer, phase, stamp)
}

/// As [`acknowledge`], of a message whose header is read already.
#[must_use]
pub fn acknowledge_header(header: &Header, answer: &Answer, phase: Phase, stamp: &Stamp) -> Option<Bytes> {
    let code = AcknowledgmentCode::of(answer, phase);
    phase.is_due(header, code).then(|| Draft::new(header).build(code, answer, phase, stamp))
}

/// An acknowledgment being written.
pub(super) struct Draft<'a> {
    header: &'a Header,
    pub(super) delimiters: Delimiters,
    pub(super) version: Version,
    out: Vec<u8>,
}

impl<'a> Draft<'a> {
    fn new(header: &'a Header) -> Self {
        let version = header.version().unwrap_or(Version::V2_5_1);
        Self { header, delimiters: header.delimiters(), version, out: Vec::with_capacity(256) }
    }

    fn build(mut self, code: AcknowledgmentCode, answer: &Answer, phase: Phase, stamp: &Stamp) -> Bytes {
        self.msh(phase, stamp);
        self.msa(code, answer);
        if let Some(fault) = fault_of(answer) {
            err_segment(&mut self, &fault);
        }
        self.in_the_form_of_the_message()
    }

    /// MSH (HL7 v2.5.1 §2.15.9): sender and receiver swapped; processing id, version, character set and profile theirs.
    fn msh(&mut self, phase: Phase, stamp: &Stamp) {
        self.raw(b"MSH");
        self.field(|draft| draft.raw(draft.delimiters.encoding_characters().as_bytes()));
        for theirs in [5, 6, 3, 4] {
            self.echo(theirs);
        }
        self.field(|draft| draft.text(&timestamp::render(stamp.now, &stamp.zone)));
        self.field(|_| ()); // MSH-8
        self.field(Self::message_type);
        self.field(|draft| draft.own_control_id(&stamp.control_id));
        self.echo_or(11, b"P");
        self.field(Self::version_id);
        self.empty(2); // MSH-13, MSH-14
        let never: &[u8] = if phase == Phase::Original { b"" } else { b"NE" };
        self.field(|draft| draft.raw(never));
        self.field(|draft| draft.raw(never));
        self.empty(1); // MSH-17
        self.echo(18);
        self.empty(2); // MSH-19, MSH-20
        if self.version >= Version::V2_5 {
            self.echo(21);
        }
        self.end_of_segment();
    }

    /// MSH-9: `ACK^A01^ACK`, `ACK^A01` before v2.3.1, `ACK` up to v2.2.
    fn message_type(&mut self) {
        self.raw(b"ACK");
        let theirs = self.header.trigger_event();
        let event = if self.version <= Version::V2_2 { "" } else { &theirs };
        let structure = self.version >= Version::V2_3_1;
        if structure || !event.is_empty() {
            self.raw(&[self.delimiters.component]);
            self.raw(event.as_bytes());
        }
        if structure {
            self.raw(&[self.delimiters.component]);
            self.raw(b"ACK");
        }
    }

    fn own_control_id(&mut self, id: &str) {
        let surplus = if self.version < Version::V2_7 { id.chars().count().saturating_sub(MSH_10_LENGTH) } else { 0 };
        let cut = id.char_indices().nth(surplus).map_or(0, |(at, _)| at);
        self.text(id.get(cut..).unwrap_or(id));
    }

    /// MSH-12: theirs, or ours where theirs is none that we know.
    fn version_id(&mut self) {
        match self.header.version() {
            Some(_) => self.raw(self.header.valued(12)),
            None => self.text(&self.version.to_string()),
        }
    }

    /// MSA (HL7 v2.5.1 §2.15.8); MSA-3 went with v2.7, and an ERR segment of v2.5 says more.
    fn msa(&mut self, code: AcknowledgmentCode, answer: &Answer) {
        self.raw(b"MSA");
        self.field(|draft| draft.raw(code.code().as_bytes()));
        self.echo(10);
        let text = if self.version < Version::V2_5 { text_of(answer) } else { said(answer) };
        if let Some(text) = text.filter(|_| self.version < Version::V2_7) {
            self.field(|draft| draft.text(&shortened(&text, MSA_3_LENGTH)));
        }
        self.end_of_segment();
    }

    /// Begins a field and fills it.
    pub(super) fn field(&mut self, fill: impl FnOnce(&mut Self)) {
        self.out.push(self.delimiters.field);
        fill(self);
    }

    pub(super) fn empty(&mut self, fields: usize) {
        self.out.extend(std::iter::repeat_n(self.delimiters.field, fields));
    }

    /// A field as it stands in their MSH, byte for byte.
    fn echo(&mut self, number: usize) {
        self.echo_or(number, b"");
    }

    fn echo_or(&mut self, number: usize, otherwise: &[u8]) {
        let theirs = if self.header.valued(number).is_empty() { otherwise } else { self.header.raw(number) };
        self.field(|draft| draft.raw(theirs));
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Text of our own: escaped, and in the message's character set.
    pub(super) fn text(&mut self, text: &str) {
        let escaped = escape(text, self.delimiters);
        if escaped.is_ascii() || self.header.wire() != Wire::Bytes {
            return self.raw(escaped.as_bytes());
        }
        let declared = self.header.charsets().next().and_then(|name| name.parse().ok()).unwrap_or(Charset::Ascii);
        self.raw(&declared.encode(&escaped));
    }

    pub(super) fn end_of_segment(&mut self) {
        let used = self.out.iter().rposition(|b| *b != self.delimiters.field).map_or(0, |at| at + 1);
        self.out.truncate(used);
        self.out.push(b'\r');
    }

    fn in_the_form_of_the_message(self) -> Bytes {
        let text = || String::from_utf8_lossy(&self.out);
        match self.header.wire() {
            Wire::Bytes => Bytes::from(self.out),
            Wire::Charset(charset) => Bytes::from(charset.encode(&text())),
            Wire::Form(form, false) => Bytes::from(form.encode(&text())),
            Wire::Form(form, true) => Bytes::from(form.encode(&format!("\u{FEFF}{}", text()))),
        }
    }
}

/// What an ERR segment has to say.
fn fault_of(answer: &Answer) -> Option<Fault> {
    match answer {
        Answer::Stored(_) | Answer::Duplicate(_) | Answer::Done(..) => None,
        Answer::Unsupported(fault) | Answer::Invalid(fault) => Some(fault.clone()),
        Answer::Conflict { .. } => {
            let text = "this control id was used before for another message; give each message its own";
            Some(Fault::new(205, "MSH-10".to_owned(), text))
        }
        Answer::Unavailable { reason, .. } => {
            Some(Fault::new(207, None, format!("the message cannot be taken now, send it again later: {reason}")))
        }
    }
}

/// MSA-3 of versions before 2.5.
fn text_of(answer: &Answer) -> Option<String> {
    fault_of(answer).map(|fault| fault.text).or_else(|| said(answer))
}

/// What the destination said, if it is a line of text.
fn said(answer: &Answer) -> Option<String> {
    let Answer::Done(_, Some(bytes)) = answer else { return None };
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (text.len() <= MSA_3_LENGTH && !text.contains(char::is_control)).then(|| text.to_owned())
}

/// At most `length` characters.
pub(super) fn shortened(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}
