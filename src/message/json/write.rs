//! Values as compact JSON, byte by byte what `serde_json` writes.

use std::fmt;

use super::shared::{PLACES, With, Written};
use super::{Text, Value};

/// A guess at the bytes of one entry of a Bundle, so that the text is seldom moved while it grows.
const ENTRY: usize = 1280;

impl Value {
    /// As compact JSON in UTF-8.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let items = |value: &Self| value.as_array().map_or(0, Vec::len);
        let entries = self.as_object().map_or(0, |members| members.values().map(items).sum());
        let mut out = Vec::with_capacity(ENTRY * (entries + 1));
        write(self, &mut out);
        out
    }
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.as_str().as_bytes()),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => match (members.shared(), members.with()) {
            (Some(shared), _) => out.extend_from_slice(&shared.written(once).text),
            (None, Some(with)) if (1..=PLACES).contains(&with.at) => write_with(with, out),
            (None, _) => {
                out.push(b'{');
                members.iter().enumerate().for_each(|(i, (name, value))| write_member(i == 0, name, value, out));
                out.push(b'}');
            }
        },
    }
}

fn write_member(first: bool, name: &str, value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(if first { b"\"" } else { b",\"" });
    write_plain(name.as_bytes(), out);
    out.extend_from_slice(b"\":");
    write(value, out);
}

/// What several objects share, as JSON.
fn once(members: &[(Text, Value)]) -> Written {
    let (mut text, mut ends) = (vec![b'{'], [0; PLACES]);
    for (i, (name, value)) in members.iter().enumerate() {
        write_member(i == 0, name, value, &mut text);
        ends.get_mut(i).into_iter().for_each(|end| *end = text.len());
    }
    text.push(b'}');
    Written { text: text.into_boxed_slice(), ends }
}

/// What is shared, with one member more behind its first or its second.
fn write_with(with: &With, out: &mut Vec<u8>) {
    let Written { text, ends } = with.shared.written(once);
    let text: &[u8] = text;
    let end = with.at.checked_sub(1).and_then(|at| ends.get(at)).copied().unwrap_or_default();
    let (before, behind) = text.split_at_checked(end).unwrap_or((text, &[]));
    let (name, value) = &with.more;
    out.extend_from_slice(before);
    write_member(false, name, value, out);
    out.extend_from_slice(behind);
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_plain(text.as_bytes(), out);
    out.push(b'"');
}

/// What stands between quotation marks.
fn write_plain(bytes: &[u8], out: &mut Vec<u8>) {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        write_escaped(bytes, out);
    }
}

fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    loop {
        let plain = rest.iter().position(|b| must_be_escaped(*b)).unwrap_or(rest.len());
        let (plain, special) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((b, after)) = special.split_first() else { return };
        escape(*b, out);
        rest = after;
    }
}

/// True if no byte has to be escaped. Sixteen, eight or four at a time are looked at, the last ones together
/// with some that were looked at before.
fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        let (words, _) = bytes.as_chunks::<16>();
        words.iter().all(are_plain) && are_plain(last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        is_plain_word(u64::from_le_bytes(*first)) && is_plain_word(u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        is_plain_word(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)))
    } else {
        is_plain_word(bytes.iter().fold(BLANKS, |word, b| word << 8 | u64::from(*b)))
    }
}

/// Without branches, so that the compiler looks at all bytes at once.
fn are_plain(bytes: &[u8; 16]) -> bool {
    !bytes.iter().fold(false, |special, b| special | must_be_escaped(*b))
}

const ONES: u64 = u64::MAX / 0xFF;
const BLANKS: u64 = ONES * 0x20;

/// As above, of eight bytes: each is looked at in its own byte of the word.
fn is_plain_word(word: u64) -> bool {
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGH == 0
}

fn must_be_escaped(b: u8) -> bool {
    (b < 0x20) | (b == b'"') | (b == b'\\')
}

fn escape(b: u8, out: &mut Vec<u8>) {
    let short = match b {
        b'"' | b'\\' => b,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0C => b'f',
        b'\r' => b'r',
        _ => {
            let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(b >> 4), digit(b & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Compact JSON; with `{:#}` on many lines, as people read it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.write_str(&serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?);
        }
        f.write_str(std::str::from_utf8(&self.to_vec()).map_err(|_| fmt::Error)?)
    }
}
