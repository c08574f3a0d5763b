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

/// Writes `text` so that [`unescape`] gives it back: delimiters as `\F\ \S\ \R\ \E\ \T\ \P\`, line ends and
/// other control characters as `\Xhh\`.
///
/// Where the message declares no escape character HL7 has no way to say them: they become blanks.
#[must_use]
pub fn escape(text: &str, delimiters: Delimiters) -> Cow<'_, str> {
    let special = |c: char| c.is_ascii_control() || u8::try_from(c).is_ok_and(|b| letter(b, delimiters).is_some());
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mark = delimiters.escape.map(char::from);
    for c in text.chars() {
        match (special(c), mark) {
            (false, _) => out.push(c),
            (true, None) => out.push(' '),
            (true, Some(mark)) => {
                out.push(mark);
                out.push_str(
                    &u8::try_from(c)
                        .ok()
                        .and_then(|b| letter(b, delimiters))
                        .map_or_else(|| format!("X{:02X}", u32::from(c)), |name| char::from(name).to_string()),
                );
                out.push(mark);
            }
        }
    }
    Cow::Owned(out)
}

/// The letter that stands for `b` between two escape characters, if it is a delimiter.
fn letter(b: u8, delimiters: Delimiters) -> Option<u8> {
    let Delimiters { field, component, repetition, escape, subcomponent, truncation } = delimiters;
    let names = [
        (Some(field), b'F'),
        (Some(component), b'S'),
        (Some(repetition), b'R'),
        (escape, b'E'),
        (subcomponent, b'T'),
        (truncation, b'P'),
    ];
    names.into_iter().find(|(delimiter, _)| *delimiter == Some(b) && b != 0).map(|(_, name)| name)
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
