//! What a receiver answered us.

use std::borrow::Cow;
use std::fmt;

use super::AcknowledgmentCode;
use crate::Fault;
use crate::hl7v2::charset::Charset;
use crate::hl7v2::escape::unescape;
use crate::hl7v2::header::{Header, Wire, past_noise, text_of};
use crate::hl7v2::split::bytes_between;

/// An acknowledgment that came in, read tolerantly: a usable MSA segment is all it needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Acknowledgment {
    /// MSA-1.
    pub code: AcknowledgmentCode,
    /// MSA-2 as it stands, escape sequences not undone: the control id of the message that is answered.
    pub control_id: String,
    /// What it says for a person: MSA-3, or ERR-8, ERR-7. It may hold patient data: never log it.
    pub text: Option<String>,
    /// The code of the error: ERR-3.1, MSA-6.1, or ERR-1's fourth part. At most twenty letters and digits.
    pub condition: Option<String>,
    /// The place of the error, from ERR-2 or ERR-1, as `PID[1]-3[2].4`.
    pub location: Option<String>,
    control_id_value: String,
}

/// Prints code and condition only.
impl fmt::Debug for Acknowledgment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acknowledgment({})", self.summary())
    }
}

impl Acknowledgment {
    /// Reads an acknowledgment, transport framing left out or not.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there is no MSA segment, or MSA-1 is no code of table 0008.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let header = Header::read(bytes);
        let text = in_single_bytes(&header, bytes);
        let segments = Segments { text: &text, header: &header };
        let msa = segments.first("MSA").ok_or_else(|| fault(100, "MSA", "the answer has no MSA segment"))?;
        let code = segments
            .value(msa, 1)
            .parse()
            .map_err(|()| fault(103, "MSA-1", "the answer's code is none of AA, AE, AR, CA, CE and CR (table 0008)"))?;
        let control_id = text_of(segments.raw(msa, 2)).into_owned();
        let err = segments.first("ERR").unwrap_or_default();
        Ok(Self {
            code,
            control_id_value: unescape(&control_id, header.delimiters()).into_owned(),
            control_id,
            text: segments.text(&[(msa, 3), (err, 8), (err, 7)]),
            condition: segments.condition(msa, err),
            location: segments.location(err),
        })
    }

    /// True if it answers the message with this header: MSA-2 is its MSH-10, each by its own delimiters.
    #[must_use]
    pub fn answers(&self, sent: &Header) -> bool {
        let id = sent.control_id();
        self.control_id == id || self.control_id_value == unescape(&id, sent.delimiters())
    }

    /// One line without patient data: `AE 101 at PID[1]-3`.
    #[must_use]
    pub fn summary(&self) -> String {
        let condition = self.condition.iter().map(|condition| format!(" {condition}"));
        let location = self.location.iter().map(|location| format!(" at {location}"));
        std::iter::once(self.code.to_string()).chain(condition).chain(location).collect()
    }
}

fn fault(code: u16, location: &str, text: &str) -> Fault {
    Fault::new(code, location.to_owned(), text)
}

/// The text with one byte for an ASCII character, and delimiters in no other.
fn in_single_bytes<'a>(header: &Header, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let declared = || header.charsets().next()?.parse::<Charset>().ok();
    match header.wire() {
        Wire::Form(form, _) => Cow::Owned(form.decode(bytes).0.into_bytes()),
        Wire::Charset(charset) => decoded(charset, bytes),
        Wire::Bytes => match declared() {
            Some(charset) if charset.hides_delimiters() => decoded(charset, bytes),
            _ => Cow::Borrowed(bytes),
        },
    }
}

/// `bytes` in UTF-8, if they are text in `charset`; as they are if not.
fn decoded(charset: Charset, bytes: &[u8]) -> Cow<'_, [u8]> {
    let text = charset.read(bytes);
    if charset.encode(&text) == bytes { Cow::Owned(text.into_bytes()) } else { Cow::Borrowed(bytes) }
}

/// The segments of an answer, by its header's delimiters.
struct Segments<'a> {
    text: &'a [u8],
    header: &'a Header,
}

impl<'a> Segments<'a> {
    fn first(&self, name: &str) -> Option<&'a [u8]> {
        let lines = self.text.split(|b| matches!(b, b'\r' | b'\n' | 0x1C)).map(past_noise);
        let field = self.header.delimiters().field;
        lines.into_iter().find(|line| line.starts_with(name.as_bytes()) && line.get(3).is_none_or(|b| *b == field))
    }

    fn raw(&self, segment: &'a [u8], field: usize) -> &'a [u8] {
        bytes_between(segment, self.header.delimiters().field, field)
    }

    fn value(&self, segment: &'a [u8], field: usize) -> Cow<'a, str> {
        text_of(self.raw(segment, field).trim_ascii())
    }

    fn component(&self, segment: &'a [u8], field: usize, nth: usize) -> Cow<'a, str> {
        let delimiters = self.header.delimiters();
        let first = bytes_between(self.raw(segment, field), delimiters.repetition, 0);
        text_of(bytes_between(first, delimiters.component, nth - 1).trim_ascii())
    }

    fn text(&self, places: &[(&'a [u8], usize)]) -> Option<String> {
        let values = places.iter().map(|(segment, field)| self.value(segment, *field));
        let mut valued = values.filter(|value| !value.is_empty());
        valued.next().map(|value| unescape(&value, self.header.delimiters()).into_owned())
    }

    fn condition(&self, msa: &'a [u8], err: &'a [u8]) -> Option<String> {
        let eld = self.component(err, 1, 4);
        let of_eld =
            eld.split(self.header.delimiters().subcomponent.map_or('&', char::from)).next().unwrap_or_default();
        let candidates = [self.component(err, 3, 1), self.component(msa, 6, 1), Cow::Borrowed(of_eld)];
        let is_code = |c: &str| (1..=20).contains(&c.len()) && c.bytes().all(|b| b.is_ascii_alphanumeric());
        candidates.into_iter().find(|c| is_code(c)).map(Cow::into_owned)
    }

    /// Built from a segment's name and numbers, so that it can hold no patient data.
    fn location(&self, err: &'a [u8]) -> Option<String> {
        let field = if self.raw(err, 2).is_empty() { 1 } else { 2 };
        let segment = self.component(err, field, 1);
        let named = segment.len() == 3 && segment.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !named {
            return None;
        }
        let number = |nth: usize| self.component(err, field, nth).parse::<usize>().ok().filter(|n| *n > 0);
        let bracket = |n: Option<usize>| n.map(|n| format!("[{n}]")).unwrap_or_default();
        let mut out = format!("{segment}{}", bracket(number(2)));
        let Some(of_segment) = number(3) else { return Some(out) };
        out.push_str(&format!("-{of_segment}"));
        if field == 2 {
            out.push_str(&bracket(number(4)));
            out.extend((5..=6).map_while(number).map(|n| format!(".{n}")));
        }
        Some(out)
    }
}
