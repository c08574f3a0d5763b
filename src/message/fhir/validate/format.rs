//! Whether a value is one of its primitive type: its JSON form, and its syntax by FHIR R4 §2.24.0.1.

use crate::fhir::Value;

use super::date::{Date, time};
use crate::fhir::definitions::Primitive;

/// Longest string, in bytes (FHIR R4 §2.24.0.1, string).
const LONGEST: usize = 1 << 20;

/// What is wrong with `value`, for a person.
pub(super) fn check(kind: Primitive, value: &Value) -> Result<(), &'static str> {
    match (kind, value) {
        (Primitive::Boolean, Value::Bool(_)) => Ok(()),
        (Primitive::Boolean, _) => Err("a boolean is true or false, without quotation marks"),
        (_, Value::Number(number)) if kind.is_number() => number_of(kind, number.as_str()),
        (_, _) if kind.is_number() => Err("a number is written without quotation marks"),
        (_, Value::String(text)) => of_text(kind, text),
        (_, _) => Err("the value is a text, in quotation marks"),
    }
}

fn holds(is: bool, wrong: &'static str) -> Result<(), &'static str> {
    if is { Ok(()) } else { Err(wrong) }
}

fn number_of(kind: Primitive, digits: &str) -> Result<(), &'static str> {
    let least = match kind {
        Primitive::PositiveInt => 1,
        Primitive::UnsignedInt => 0,
        Primitive::Integer => i32::MIN,
        // JSON's numbers are R4's decimals.
        _ => return Ok(()),
    };
    let is = digits.parse::<i32>().is_ok_and(|number| number >= least) && !digits.starts_with("-0");
    holds(
        is,
        match kind {
            Primitive::PositiveInt => "a positiveInt is a whole number from 1 to 2147483647",
            Primitive::UnsignedInt => "an unsignedInt is a whole number from 0 to 2147483647",
            _ => "an integer is a whole number of 32 bits",
        },
    )
}

fn of_text(kind: Primitive, text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("the value is empty; leave the element out");
    }
    match kind {
        Primitive::String => string(text),
        Primitive::Markdown => printable(text),
        Primitive::Code => holds(
            is_graphic(text) || text.split(' ').all(|word| !word.is_empty() && !word.contains(char::is_whitespace)),
            "a code has no blanks but single ones inside",
        ),
        Primitive::Id => holds(is_id(text), "an id has 1 to 64 letters, digits, `-` and `.`"),
        Primitive::Uri | Primitive::Url | Primitive::Canonical => uri(text),
        Primitive::Oid => holds(is_oid(text), "an oid is urn:oid: with numbers and dots"),
        Primitive::Uuid => holds(is_uuid(text), "a uuid is urn:uuid: with 32 hexadecimal digits in five groups"),
        Primitive::Date => {
            let is = Date::parse(text).is_some_and(|date| !date.has_time());
            holds(is, "a date is a year, a month or a day of the calendar: YYYY, YYYY-MM or YYYY-MM-DD")
        }
        Primitive::DateTime => holds(
            Date::parse(text).is_some(),
            "a dateTime is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset",
        ),
        Primitive::Instant => {
            let is = Date::parse(text).is_some_and(Date::has_time);
            holds(is, "an instant is YYYY-MM-DDThh:mm:ss with Z or an offset")
        }
        Primitive::Time => holds(time(text).is_some(), "a time is hh:mm:ss"),
        Primitive::Base64Binary => holds(is_base64(text), "the value is no base64"),
        // Told apart by `is_number` and by its own check.
        Primitive::Xhtml
        | Primitive::Boolean
        | Primitive::Decimal
        | Primitive::Integer
        | Primitive::PositiveInt
        | Primitive::UnsignedInt => Ok(()),
    }
}

fn string(text: &str) -> Result<(), &'static str> {
    holds(text.len() <= LONGEST, "a string has at most 1 MiB")?;
    printable(text)
}

/// True for what may be a string.
pub(super) fn is_string(text: &str) -> bool {
    !text.is_empty() && string(text).is_ok()
}

/// True for letters, digits and signs of ASCII alone, as most values are.
fn is_graphic(text: &str) -> bool {
    all_from(b'!', text)
}

/// True if all bytes are from `least` to `~`. Eight at a time are looked at, the last ones perhaps twice.
fn all_from(least: u8, text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(last) = bytes.last_chunk::<8>() else {
        let word = bytes.iter().fold(ONES * u64::from(b'0'), |word, b| word << 8 | u64::from(*b));
        return are_from(least, word);
    };
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().chain([last]).all(|word| are_from(least, u64::from_le_bytes(*word)))
}

const ONES: u64 = u64::MAX / 0xFF;

/// As above, of eight bytes: each is looked at in its own byte of the word.
fn are_from(least: u8, word: u64) -> bool {
    const HIGH: u64 = ONES << 7;
    // With the high bit set no byte borrows from the next.
    let not_below = (word | HIGH) - (ONES * u64::from(least));
    let not_delete = ((word ^ (ONES * 0x7F)) | HIGH) - ONES;
    word & HIGH == 0 && not_below & not_delete & HIGH == HIGH
}

/// True if all bytes are so. Sixteen at a time are looked at, without branches between them.
fn every(text: &str, is: impl Fn(u8) -> bool) -> bool {
    let (blocks, rest) = text.as_bytes().as_chunks::<16>();
    blocks.iter().all(|block| block.iter().fold(true, |all, b| all & is(*b))) && rest.iter().all(|b| is(*b))
}

/// No control characters but those of lines and tabs, and something to see.
fn printable(text: &str) -> Result<(), &'static str> {
    if all_from(b' ', text) && text.bytes().any(|b| b != b' ') {
        return Ok(());
    }
    let control = |b: u8| b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r');
    holds(!text.bytes().any(control), "the text has a control character that R4 does not allow")?;
    holds(text.chars().any(|c| !c.is_whitespace()), "the text has nothing but blanks; leave the element out")
}

fn uri(text: &str) -> Result<(), &'static str> {
    holds(is_graphic(text) || !text.contains(char::is_whitespace), "a URI has no blanks")?;
    if !text.starts_with("urn:") {
        return Ok(());
    }
    // What follows names a part of it.
    let whole = text.split('#').next().unwrap_or(text);
    if whole.starts_with("urn:oid:") {
        return holds(is_oid(whole), "an OID is written urn:oid: with numbers and dots");
    }
    if whole.starts_with("urn:uuid:") {
        return holds(is_uuid(whole), "a UUID is written urn:uuid: with 32 hexadecimal digits in five groups");
    }
    Ok(())
}

/// 1 to 64 letters, digits, `-` and `.`.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && every(text, |b| b.is_ascii_alphanumeric() | (b == b'-') | (b == b'.'))
}

/// `urn:oid:2.16.840.1.113883`.
fn is_oid(text: &str) -> bool {
    let Some(arcs) = text.strip_prefix("urn:oid:") else { return false };
    let is_arc = |arc: &str| {
        !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()) && (arc.len() == 1 || !arc.starts_with('0'))
    };
    let mut all = arcs.split('.');
    matches!(all.next(), Some("0" | "1" | "2")) && arcs.contains('.') && all.all(is_arc)
}

/// `urn:uuid:` and a UUID; R4 writes it in small letters, and many do not.
fn is_uuid(text: &str) -> bool {
    let uuid = text.strip_prefix("urn:uuid:").and_then(|uuid| <&[u8; 36]>::try_from(uuid.as_bytes()).ok());
    let Some(uuid) = uuid else { return false };
    // Counted without branches: what is no digit then stands where the hyphens are.
    let digits = uuid.iter().fold(0_u8, |digits, b| digits + u8::from(b.is_ascii_hexdigit()));
    digits == 32 && [8, 13, 18, 23].iter().all(|at| uuid.get(*at) == Some(&b'-'))
}

/// Groups of four letters; blanks between them are allowed.
fn is_base64(text: &str) -> bool {
    let (mut letters, mut padding) = (0_usize, 0_usize);
    for b in text.bytes() {
        match b {
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => letters += 1,
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => return false,
        }
    }
    padding <= 2 && letters > 0 && (letters + padding) % 4 == 0
}
