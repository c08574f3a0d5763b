//! Escape sequences (HL7 v2.9 §2.7): undone once on reading, made once on writing.

use std::borrow::Cow;

use super::Delimiters;

/// Undoes `\F\ \S\ \T\ \R\ \E\ \P\ \Xhh..\` and the line breaks `\.br\` and `\.sp\`. Other sequences
/// (highlighting, formatting, local ones) and escape characters that begin none stay as they stand.
#[must_use]
pub fn unescape(text: &str, delimiters: Delimiters) -> Cow<'_, str> {
    let Some(mark) = delimiters.escape.filter(|mark| has(text.as_bytes(), *mark)).map(char::from) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(mark) {
        out.push_str(before);
        let Some((name, tail)) = after.split_once(mark) else { break };
        if push_decoded(&mut out, name, delimiters) {
            rest = tail;
        } else if is_sequence(name) {
            out.extend([mark]);
            out.push_str(name);
            out.extend([mark]);
            rest = tail;
        } else {
            out.push(mark);
            rest = after;
        }
    }
    out.push_str(rest.get(rest.find(mark).unwrap_or(0)..).unwrap_or_default());
    Cow::Owned(out)
}

/// True if `b` is among `bytes`, which are most often so few that a look at each is the quickest.
fn has(bytes: &[u8], b: u8) -> bool {
    const FEW: usize = 32;
    if bytes.len() <= FEW { bytes.contains(&b) } else { memchr::memchr(b, bytes).is_some() }
}

/// Adds what the sequence `name` stands for, if it stands for text.
fn push_decoded(out: &mut String, name: &str, delimiters: Delimiters) -> bool {
    let delimiter = match name {
        "F" => Some(delimiters.field),
        "S" => Some(delimiters.component),
        "R" => Some(delimiters.repetition).filter(|b| *b != 0),
        "T" => Some(delimiters.subcomponent.unwrap_or(b'&')),
        "E" => delimiters.escape,
        "P" => Some(delimiters.truncation.unwrap_or(b'#')),
        ".br" | ".sp" => Some(b'\n'),
        _ => None,
    };
    let hexadecimal = || hexadecimal(name.strip_prefix('X')?);
    match (delimiter, delimiter.is_none().then(hexadecimal).flatten()) {
        (Some(b), _) => out.push(char::from(b)),
        (None, Some(text)) => out.push_str(&text),
        (None, None) => return false,
    }
    true
}

/// True for the name of a sequence that stands for no text: `H`, `N`, `.in+4`, `Z…`, `C…`, `M…`, an odd `X…`.
fn is_sequence(name: &str) -> bool {
    let known = name.starts_with(['.', 'Z', 'C', 'M', 'X']) || matches!(name, "H" | "N");
    known && name.bytes().all(|b| b.is_ascii_graphic())
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

/// `41C3A9` as UTF-8 text; anything else is not ours to undo.
fn hexadecimal(digits: &str) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    let bytes = digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}
