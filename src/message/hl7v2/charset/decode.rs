//! Bytes to text: by what MSH-18 says, by the channel's default, and never with silent losses.

use bytes::Bytes;
use bytestring::ByteString;
use encoding_rs::{DecoderResult, Encoding};
use serde::{Deserialize, Serialize};

use super::{Charset, Form};
use crate::hl7v2::Header;
use crate::hl7v2::place::place_of;
use crate::{Fault, Finding, FindingKind};

/// How a channel reads bytes: `charset` in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CharsetOptions {
    /// The character set where MSH-18 names none, or ASCII and the bytes are not.
    pub default: Charset,
    /// What becomes of a message whose bytes are no text in its character set.
    pub undecodable: Undecodable,
}

/// What becomes of a message whose bytes are no text in its character set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undecodable {
    /// It is refused, with the place of the first such byte.
    #[default]
    Refuse,
    /// It is taken with a [`Finding`]: stray bytes are read as Latin-1 in UTF-8 and one-byte character sets, and as
    /// U+FFFD in others. The original bytes are kept as they came.
    Flag,
}

/// A message's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The text, without byte order mark; the very same buffer where the bytes were UTF-8 already.
    pub text: ByteString,
    /// What the bytes were read as.
    pub charset: Charset,
    /// What was wrong with them, if they were taken all the same.
    pub finding: Option<Finding>,
}

/// Prints sizes only: a text is patient data.
impl std::fmt::Debug for Decoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoded({} bytes of {})", self.text.len(), self.charset)
    }
}

/// Reads `bytes`, the message that `header` is of.
///
/// UTF-16 and UTF-32 are told by their bytes. Otherwise MSH-18 decides; where it says nothing, or ASCII
/// and the bytes are not, the default is tried and then UTF-8.
///
/// # Errors
///
/// A [`Fault`] at the first byte that is no text, or at MSH-18 if it names a character set that is
/// not read here and the message needs one; both only under [`Undecodable::Refuse`].
pub fn decode(bytes: &Bytes, header: &Header, options: &CharsetOptions) -> Result<Decoded, Fault> {
    let policy = options.undecodable;
    match Form::sniff(bytes) {
        (Form::Bytes, 0) => {}
        (Form::Bytes, _) => return Attempt::read(bytes, Charset::Utf8).settle(bytes, policy, None),
        (form, _) => return Attempt::read_wide(bytes, form).settle(bytes, policy, None),
    }
    match declared(header) {
        Declared::Nothing => undeclared(bytes, options, None),
        Declared::Known(Charset::Ascii) if !bytes.is_ascii() => {
            undeclared(bytes, options, Some("MSH-18 says ASCII, but there are other bytes"))
        }
        Declared::Known(charset) => Attempt::read(bytes, charset).settle(bytes, policy, None),
        Declared::Unknown if bytes.is_ascii() => undeclared(bytes, options, None),
        Declared::Unknown => {
            let text = "MSH-18 names a character set that is not read here";
            match policy {
                Undecodable::Refuse => Err(Fault::new(103, "MSH-18".to_owned(), text)),
                Undecodable::Flag => undeclared(bytes, options, Some(text)),
            }
        }
    }
}

impl Decoded {
    /// ASCII, in which all character sets agree.
    pub(in crate::hl7v2) fn plain(bytes: Bytes) -> Self {
        Self { text: ByteString::try_from(bytes).unwrap_or_default(), charset: Charset::Ascii, finding: None }
    }
}

impl Charset {
    /// `bytes` as text, whatever they are: what is no text is read as under [`Undecodable::Flag`].
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> String {
        Attempt::read(&Bytes::copy_from_slice(bytes), self).text.to_string()
    }
}

/// The header line in UTF-8 where its own character set, or else `default`, can hide delimiters in other
/// characters, so that it cannot be cut as bytes; with that character set.
pub(in crate::hl7v2) fn untangle(line: &[u8], field: u8, default: Charset) -> Option<(String, Charset)> {
    if line.is_ascii() && !line.contains(&0x1B) {
        return None;
    }
    let bytes = Bytes::copy_from_slice(line);
    let names = line.split(|b| *b == field || *b == b'~').filter_map(|name| std::str::from_utf8(name).ok());
    let named = names.filter_map(|name| name.trim().parse().ok()).map(|charset| (charset, true));
    let candidates = named.chain([(default, false)]).filter(|(charset, _)| charset.hides_delimiters());
    // Names by the thousand in one header would cost as many readings of it.
    candidates.take(4).find_map(|(charset, by_name)| {
        let text = Attempt::read(&bytes, charset).text;
        let agrees = match declared(&Header::of_line(text.as_bytes())) {
            Declared::Known(declared) => by_name && declared == charset,
            Declared::Nothing => !by_name,
            Declared::Unknown => false,
        };
        // What is echoed must come out byte for byte.
        (agrees && charset.encode(&text) == line).then(|| (text.to_string(), charset))
    })
}

/// What MSH-18 says.
enum Declared {
    Nothing,
    Known(Charset),
    Unknown,
}

/// The first repetition is the message's own character set; Japanese ones switch by escape sequences
/// and may stand anywhere (HL7 v2.5.1 §2.15.9.18).
fn declared(header: &Header) -> Declared {
    if header.valued(18).is_empty() {
        return Declared::Nothing;
    }
    let mut names = header.charsets();
    let first = names.next().unwrap_or_default();
    let parsed = first.parse();
    let mut japanese = || names.any(|name| name.parse() == Ok(Charset::Japanese));
    match parsed {
        Ok(Charset::Ascii) if japanese() => Declared::Known(Charset::Japanese),
        Ok(charset) => Declared::Known(charset),
        Err(_) if !first.is_empty() => Declared::Unknown,
        Err(_) if japanese() => Declared::Known(Charset::Japanese),
        Err(_) => Declared::Nothing,
    }
}

/// Tries the default, then UTF-8; `complaint` is what is wrong even so.
fn undeclared(bytes: &Bytes, options: &CharsetOptions, complaint: Option<&str>) -> Result<Decoded, Fault> {
    let default = match options.default {
        Charset::Ascii if !bytes.is_ascii() => Charset::Utf8,
        charset => charset,
    };
    let attempt = Attempt::read(bytes, default);
    let second = || Attempt::read(bytes, Charset::Utf8);
    match attempt.wrong.and_then(|_| Some(second()).filter(|utf8| utf8.wrong.is_none())) {
        Some(utf8) => utf8.settle(bytes, options.undecodable, complaint),
        None => attempt.settle(bytes, options.undecodable, complaint),
    }
}

/// Bytes read as one character set.
struct Attempt {
    text: ByteString,
    charset: Charset,
    /// Offset of the first byte that is no text.
    wrong: Option<usize>,
}

impl Attempt {
    fn read(bytes: &Bytes, charset: Charset) -> Self {
        let (text, wrong) = match charset {
            Charset::Ascii | Charset::Utf8 | Charset::Unicode => utf8(bytes),
            Charset::Latin1 => (single_bytes(bytes, char::from), None),
            Charset::Latin5 => (single_bytes(bytes, latin5), None),
            Charset::Japanese if bytes.contains(&0x1B) => by(encoding_rs::ISO_2022_JP, bytes),
            // One-byte katakana as in ISO IR14; the Encoding Standard keeps `\` and `~` apart from yen and overline.
            Charset::Japanese => by(encoding_rs::SHIFT_JIS, bytes),
            Charset::Other(encoding) => by(encoding, bytes),
        };
        Self { text, charset, wrong }
    }

    fn read_wide(bytes: &[u8], form: Form) -> Self {
        let (text, wrong) = form.decode(bytes);
        Self { text: text.into(), charset: Charset::Unicode, wrong }
    }

    fn settle(self, bytes: &[u8], policy: Undecodable, complaint: Option<&str>) -> Result<Decoded, Fault> {
        let Self { text, charset, wrong } = self;
        let finding = |location: String, text: String| Finding {
            kind: FindingKind::Malformed,
            location: location.into(),
            text: text.into(),
        };
        let found = match (wrong, policy) {
            (None, _) => complaint.map(|text| finding("MSH-18".to_owned(), format!("{text}; read as {charset}"))),
            (Some(at), Undecodable::Flag) => Some(finding(place_of(bytes, at), no_text(charset, at))),
            (Some(at), Undecodable::Refuse) => return Err(Fault::new(102, place_of(bytes, at), no_text(charset, at))),
        };
        let text =
            if text.starts_with('\u{FEFF}') { text.slice_ref(text.trim_start_matches('\u{FEFF}')) } else { text };
        Ok(Decoded { text, charset, finding: found })
    }
}

fn no_text(charset: Charset, at: usize) -> String {
    format!("byte {at} is no text in {charset}; check MSH-18 and the channel's default character set")
}

/// UTF-8; a stray byte is read as Latin-1.
fn utf8(bytes: &Bytes) -> (ByteString, Option<usize>) {
    let error = match ByteString::try_from(bytes.clone()) {
        Ok(text) => return (text, None),
        Err(error) => error,
    };
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().copied().map(char::from));
    }
    (out.into(), Some(error.valid_up_to()))
}

fn single_bytes(bytes: &Bytes, character: impl Fn(u8) -> char) -> ByteString {
    if bytes.is_ascii() {
        return utf8(bytes).0;
    }
    bytes.iter().copied().map(character).collect::<String>().into()
}

/// ISO 8859-9: Latin-1 with six Turkish letters.
fn latin5(b: u8) -> char {
    LATIN5.iter().find(|(byte, _)| *byte == b).map_or(char::from(b), |(_, c)| *c)
}

/// The byte of ISO 8859-9 for `c`.
pub(super) fn latin5_byte(c: char) -> Option<u8> {
    match LATIN5.iter().find(|(_, letter)| *letter == c) {
        Some((byte, _)) => Some(*byte),
        None => u8::try_from(c).ok().filter(|b| LATIN5.iter().all(|(byte, _)| byte != b)),
    }
}

const LATIN5: [(u8, char); 6] = [(0xD0, 'Ğ'), (0xDD, 'İ'), (0xDE, 'Ş'), (0xF0, 'ğ'), (0xFD, 'ı'), (0xFE, 'ş')];

/// By the Encoding Standard; what is no text becomes U+FFFD, or Latin-1 in one-byte character sets.
fn by(encoding: &'static Encoding, bytes: &Bytes) -> (ByteString, Option<usize>) {
    if bytes.is_ascii() && !bytes.contains(&0x1B) {
        return utf8(bytes);
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut out = String::with_capacity(bytes.len() * 2);
    let (mut at, mut wrong) = (0, None);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let needed = decoder.max_utf8_buffer_length_without_replacement(rest.len()).unwrap_or(rest.len() * 3 + 16);
        out.reserve(needed);
        let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut out, true);
        at += read;
        match result {
            DecoderResult::InputEmpty => return (out.into(), wrong),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(length, after) => {
                let first = at.saturating_sub(usize::from(length) + usize::from(after));
                wrong.get_or_insert(first);
                let stray = bytes.get(first).copied().filter(|_| encoding.is_single_byte());
                out.push(stray.map_or(char::REPLACEMENT_CHARACTER, char::from));
            }
        }
    }
}
