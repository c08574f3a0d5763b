//! Escape sequences (HL7 v2.9 §2.7): undone once on reading, made once on writing.

use std::borrow::Cow;

use super::Delimiters;

/// Undoes `\F\ \S\ \T\ \R\ \E\ \P\ \Xhh..\ \.br\`; what is unknown or not closed stays as it stands.
#[must_use]
pub fn unescape(text: &str, delimiters: Delimiters) -> Cow<'_, str> {
    let Some(escape) = delimiters.escape.map(char::from) else { return Cow::Borrowed(text) };
    if !text.contains(escape) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(escape) {
        out.push_str(before);
        let closed = after.split_once(escape);
        match closed.and_then(|(name, tail)| Some((decoded(name, delimiters)?, tail))) {
            Some((value, tail)) => {
                out.push_str(&value);
                rest = tail;
            }
            None => {
                out.push(escape);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What the escape sequence `name` stands for, if it is one that stands for text.
fn decoded(name: &str, delimiters: Delimiters) -> Option<String> {
    let one = |b: u8| Some(char::from(b).to_string());
    match name {
        "F" => one(delimiters.field),
        "S" => one(delimiters.component),
        "R" => one(delimiters.repetition),
        "T" => one(delimiters.subcomponent.unwrap_or(b'&')),
        "E" => one(delimiters.escape?),
        "P" => one(delimiters.truncation.unwrap_or(b'#')),
        ".br" | ".sp" => Some("\n".to_owned()),
        _ => hexadecimal(name.strip_prefix('X')?),
    }
}

/// `41C3A9` as UTF-8 text; anything else is not ours to undo.
fn hexadecimal(digits: &str) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    let bytes = digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}
