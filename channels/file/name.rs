//! File names as text: shown exactly, or made safe for every file system.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use jiff::Timestamp;

/// Longest name made, in bytes: room is left below the usual 255 for a number or a suffix.
const LONGEST: usize = 200;

/// Longest ending kept when a name is cut.
const LONGEST_EXTENSION: usize = 16;

/// Names that Windows keeps for devices, with any ending.
const RESERVED: [&str; 22] = [
    "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9", "LPT1", "LPT2",
    "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
];

/// A name for logs and ids: control characters, bytes that are no UTF-8 and `%` become `%XX`, so
/// that no two names show alike.
pub(super) fn shown(name: &OsStr) -> String {
    let mut out = String::with_capacity(name.len());
    let escape = |out: &mut String, byte: u8| out.push_str(&format!("%{byte:02X}"));
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '%' => escape(&mut out, b'%'),
                c if c.is_control() => c.to_string().bytes().for_each(|byte| escape(&mut out, byte)),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|&byte| escape(&mut out, byte));
    }
    out
}

/// A name of `A-Z a-z 0-9 . _ -` alone: others become `_`, as does a dot that begins the name, ends
/// it or follows another. Never empty, never a name that Windows keeps, never over 200 bytes.
pub(super) fn safe(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let is_safe = c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || (c == '.' && !out.ends_with(['.']));
        out.push(if is_safe && !(c == '.' && out.is_empty()) { c } else { '_' });
    }
    let mut out = shorten(out);
    if out.ends_with('.') {
        out.pop();
        out.push('_');
    }
    let device = out.split('.').next().unwrap_or_default();
    if out.is_empty() || RESERVED.iter().any(|name| name.eq_ignore_ascii_case(device)) {
        out.insert(0, '_');
    }
    out
}

/// Cuts an ASCII name before its ending.
fn shorten(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let ending = name.rfind('.').filter(|dot| name.len() - dot <= LONGEST_EXTENSION).unwrap_or(name.len());
    let (stem, ending) = name.split_at(ending);
    let stem = stem.get(..LONGEST - ending.len()).unwrap_or_default();
    format!("{stem}{ending}")
}

/// `adt-1.hl7` for `adt.hl7`: `addition` before the ending.
pub(super) fn with_addition(name: &OsStr, addition: &str) -> OsString {
    let path = Path::new(name);
    let mut out = path.file_stem().unwrap_or(name).to_owned();
    out.push("-");
    out.push(addition);
    if let Some(extension) = path.extension() {
        out.push(".");
        out.push(extension);
    }
    out
}

/// Names for a file in a folder that may hold its name already: its own, then with the time, then
/// with the time and a number.
pub(super) fn alternatives(name: &OsStr, now: Timestamp) -> impl Iterator<Item = OsString> + '_ {
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let numbered = (2..1000).map({
        let time = time.clone();
        move |number| with_addition(name, &format!("{time}-{number}"))
    });
    [name.to_owned(), with_addition(name, &time)].into_iter().chain(numbered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_safe(name: &str, expected: &str) {
        assert_eq!(safe(name), expected);
    }

    #[test]
    fn keeps_safe_characters() {
        check_safe("20261124T101500Z-MSG_1.hl7", "20261124T101500Z-MSG_1.hl7");
    }

    #[test]
    fn replaces_what_a_path_is_made_of() {
        check_safe("../../etc/passwd", "_._.__etc_passwd");
        check_safe("a\\b:c\u{e4}\0", "a_b_c__");
    }

    #[test]
    fn hides_no_file_and_leaves_no_dot_at_the_end() {
        check_safe(".profile", "_profile");
        check_safe("..", "__");
        check_safe("a.", "a_");
        check_safe("", "_");
    }

    #[test]
    fn avoids_the_names_of_devices() {
        check_safe("nul.hl7", "_nul.hl7");
        check_safe("COM1", "_COM1");
        check_safe("console.hl7", "console.hl7");
    }

    #[test]
    fn cuts_long_names_before_their_ending() {
        let name = safe(&format!("{}.hl7", "x".repeat(5000)));
        assert_eq!(name.len(), LONGEST);
        assert!(name.ends_with("x.hl7"));
    }

    #[test]
    fn shows_odd_bytes_and_line_ends_as_they_are() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(shown(OsStr::from_bytes(b"p\xc3\xa4iv\xff\n50%.hl7")), "p\u{e4}iv%FF%0A50%25.hl7");
    }

    proptest! {
        #[test]
        fn is_safe_whatever_comes(name in any::<String>()) {
            let name = safe(&name);
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            prop_assert!(!name.is_empty() && name.len() <= LONGEST + 1);
            prop_assert!(!name.starts_with('.') && !name.ends_with('.') && !name.contains(".."));
            prop_assert_eq!(safe(&name), name);
        }
    }
}
