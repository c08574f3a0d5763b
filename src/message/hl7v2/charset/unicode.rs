//! UTF-16 and UTF-32: told from bytes, read and written.

/// How a text's characters lie in bytes, as far as that can be seen without MSH-18.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One byte for an ASCII character: ASCII, ISO 8859, UTF-8, GB 18030, ISO 2022 and their like.
    Bytes,
    /// UTF-16, low byte first.
    Utf16Le,
    /// UTF-16, high byte first.
    Utf16Be,
    /// UTF-32, low byte first.
    Utf32Le,
    /// UTF-32, high byte first.
    Utf32Be,
}

impl Form {
    /// The form of `bytes` and the length of its byte order mark (0 without one): by the mark, or by
    /// how the first character, which is ASCII in HL7, lies in its bytes.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> (Self, usize) {
        match bytes {
            [0xEF, 0xBB, 0xBF, ..] => (Self::Bytes, 3),
            [0xFF, 0xFE, 0, 0, ..] => (Self::Utf32Le, 4),
            [0, 0, 0xFE, 0xFF, ..] => (Self::Utf32Be, 4),
            [0xFF, 0xFE, ..] => (Self::Utf16Le, 2),
            [0xFE, 0xFF, ..] => (Self::Utf16Be, 2),
            [first, 0, 0, 0, ..] if *first != 0 => (Self::Utf32Le, 0),
            [0, 0, 0, first, ..] if *first != 0 => (Self::Utf32Be, 0),
            [first, 0, second, 0, ..] if *first != 0 && *second != 0 => (Self::Utf16Le, 0),
            [0, first, 0, second, ..] if *first != 0 && *second != 0 => (Self::Utf16Be, 0),
            _ => (Self::Bytes, 0),
        }
    }

    /// Bytes of one code unit.
    #[must_use]
    pub fn unit(self) -> usize {
        match self {
            Self::Bytes => 1,
            Self::Utf16Le | Self::Utf16Be => 2,
            Self::Utf32Le | Self::Utf32Be => 4,
        }
    }

    /// The text in UTF-8, without its byte order mark, and the offset of the first byte that is no
    /// text, if any; from there on the text has U+FFFD.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> (String, Option<usize>) {
        let mut wrong = None;
        let mut out = String::with_capacity(bytes.len() / self.unit() + 1);
        match self {
            Self::Bytes => decode_utf8(bytes, &mut out, &mut wrong),
            Self::Utf16Le => decode_utf16(bytes, u16::from_le_bytes, &mut out, &mut wrong),
            Self::Utf16Be => decode_utf16(bytes, u16::from_be_bytes, &mut out, &mut wrong),
            Self::Utf32Le => decode_utf32(bytes, u32::from_le_bytes, &mut out, &mut wrong),
            Self::Utf32Be => decode_utf32(bytes, u32::from_be_bytes, &mut out, &mut wrong),
        }
        (out, wrong)
    }

    /// `text` in this form, without a byte order mark.
    #[must_use]
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Bytes => text.as_bytes().to_vec(),
            Self::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::Utf32Le => text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
            Self::Utf32Be => text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect(),
        }
    }
}

fn decode_utf8(bytes: &[u8], out: &mut String, wrong: &mut Option<usize>) {
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            wrong.get_or_insert(at);
            out.push(char::REPLACEMENT_CHARACTER);
            at += chunk.invalid().len();
        }
    }
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, out: &mut String, wrong: &mut Option<usize>) {
    let units = bytes.as_chunks::<2>();
    let mut at = 0;
    for decoded in char::decode_utf16(units.0.iter().map(|pair| unit(*pair))) {
        if decoded.is_err() {
            wrong.get_or_insert(at);
        }
        at += decoded.as_ref().map_or(1, |c| c.len_utf16()) * 2;
        out.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    half_unit(units.1, at, out, wrong);
}

fn decode_utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32, out: &mut String, wrong: &mut Option<usize>) {
    let units = bytes.as_chunks::<4>();
    for (i, quad) in units.0.iter().enumerate() {
        let decoded = char::from_u32(unit(*quad));
        if decoded.is_none() {
            wrong.get_or_insert(i * 4);
        }
        out.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    half_unit(units.1, units.0.len() * 4, out, wrong);
}

/// Bytes at the end that make no whole unit are no text.
fn half_unit(rest: &[u8], at: usize, out: &mut String, wrong: &mut Option<usize>) {
    if !rest.is_empty() {
        wrong.get_or_insert(at);
        out.push(char::REPLACEMENT_CHARACTER);
    }
}
