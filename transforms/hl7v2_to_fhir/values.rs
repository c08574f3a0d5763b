//! Text of the message as FHIR primitives: the value in the type's own form, or none.

use base64::Engine as _;
use jiff::tz::TimeZone;
use message::hl7v2::timestamp::{Clock, Dtm};
use message::json::{Number, Text, Value};

use message::fhir::definitions::Primitive;

use crate::universal;

/// `text` as a value of type `primitive`; `None` if it is not one.
pub(super) fn primitive(primitive: Primitive, text: &str, zone: &TimeZone) -> Option<Value> {
    let trimmed = trimmed(text);
    if trimmed.is_empty() {
        return None;
    }
    let string = |value: Text| Some(Value::String(value));
    match primitive {
        // Senders pad fields with blanks; texts of results go by `whole-text` and keep theirs.
        Primitive::String => said(printable(trimmed)),
        Primitive::Markdown => said(printable(text)),
        Primitive::Code => string(single_spaced(trimmed)),
        Primitive::Uri | Primitive::Url | Primitive::Canonical | Primitive::Oid | Primitive::Uuid => {
            let is_one = !trimmed.contains(char::is_whitespace) && universal::is_well_formed(trimmed);
            is_one.then(|| Value::from(trimmed))
        }
        Primitive::Id => is_id(trimmed).then(|| Value::from(trimmed)),
        Primitive::Boolean => trimmed.parse().ok().map(Value::Bool),
        Primitive::Decimal => decimal(trimmed).map(Value::Number),
        Primitive::Integer => integer(trimmed, i64::from(i32::MIN)),
        Primitive::UnsignedInt => integer(trimmed, 0),
        Primitive::PositiveInt => integer(trimmed, 1),
        Primitive::Date => string(Dtm::parse(trimmed).ok()?.to_fhir_date().into()),
        Primitive::DateTime => string(Dtm::parse(trimmed).ok()?.to_fhir_date_time(zone).into()),
        Primitive::Instant => instant(trimmed, zone).map(Value::from),
        Primitive::Time => time(trimmed).map(Value::from),
        Primitive::Base64Binary => string(base64::engine::general_purpose::STANDARD.encode(text).into()),
        Primitive::Xhtml => string(xhtml(text).into()),
    }
}

/// `text`, if it says anything: of control characters alone nothing is left.
fn said(text: Text) -> Option<Value> {
    (!trimmed(&text).is_empty()).then_some(Value::String(text))
}

/// `text` without blanks around it: most often that is `text`, as its first and last bytes tell.
pub(super) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [b'!'..=b'~'] | [b'!'..=b'~', .., b'!'..=b'~'] => text,
        _ => text.trim(),
    }
}

/// An instant is known to the second: a mere day is its beginning.
pub(super) fn instant(text: &str, zone: &TimeZone) -> Option<String> {
    let dtm = Dtm::parse(text).ok()?;
    let midnight = Clock { hour: 0, minute: None, second: None, fraction: None, offset: None };
    let clock = dtm.clock.clone().or(dtm.day.map(|_| midnight));
    Dtm { clock, ..dtm }.to_fhir_instant(zone)
}

/// The time of day of a TM, or of a DTM.
fn time(text: &str) -> Option<String> {
    let clock = Clock::parse(text).ok().map(|clock| clock.to_fhir());
    clock.or_else(|| Dtm::parse(text).ok()?.to_fhir_time())
}

fn single_spaced(text: &str) -> Text {
    if text.contains(char::is_whitespace) {
        text.split_whitespace().collect::<Vec<_>>().join(" ").into()
    } else {
        Text::new(text)
    }
}

/// FHIR strings know no control characters but tab and line ends.
pub(super) fn printable(text: &str) -> Text {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Text::new(text);
    }
    let keep = |c: &char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
    text.chars().filter(keep).collect()
}

fn is_id(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

fn xhtml(text: &str) -> String {
    let escaped = printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{escaped}</div>")
}

/// NM with all its digits: `+0.010` is `0.010`, `.5` is `0.5`, `5.` is `5`.
pub(super) fn decimal(text: &str) -> Option<Number> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let is_number = |whole: &str| whole == "0" || !(whole.is_empty() || whole.starts_with('0'));
    if is_number(whole) && !text.starts_with('+') && !unsigned.ends_with('.') {
        return text.parse().ok();
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let (sign, point) = (if text.starts_with('-') { "-" } else { "" }, if fraction.is_empty() { "" } else { "." });
    format!("{sign}{whole}{point}{fraction}").parse().ok()
}

fn integer(text: &str, least: i64) -> Option<Value> {
    let value: i64 = text.strip_prefix('+').unwrap_or(text).parse().ok()?;
    (value >= least && value <= i64::from(i32::MAX)).then(|| Value::from(value))
}

/// ED.5 in the encoding of ED.4 (`Base64`, `Hex`, `A`) as FHIR's base64; `None` if it is not in it.
pub(super) fn base64_of(text: &str, encoding: &str) -> Option<String> {
    match encoding.to_ascii_lowercase().as_str() {
        "base64" => base64_kept(text),
        "hex" => Some(base64::engine::general_purpose::STANDARD.encode(bytes_of_hex(text)?)),
        _ => Some(base64::engine::general_purpose::STANDARD.encode(text)),
    }
}

/// Base64 without the line ends that senders put in, checked and not decoded.
fn base64_kept(text: &str) -> Option<String> {
    let blank = |b: u8| b.is_ascii_whitespace();
    let kept =
        if text.bytes().any(blank) { text.replace(|c: char| c.is_ascii_whitespace(), "") } else { text.to_owned() };
    let content = kept.trim_end_matches('=');
    let pad = kept.len() - content.len();
    let is_base64 = content.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    let whole = kept.len().is_multiple_of(4) && pad <= 2 && content.len() % 4 != 1;
    (is_base64 && whole && !content.is_empty()).then_some(kept)
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).ok()).collect()
}

/// True if `mime` says what `word`, a part of what it was made from, says.
pub(super) fn is_said_by(mime: &str, word: &str) -> bool {
    // Tables 0191 and 0291, as far as a MIME type says the same in other words.
    const OTHER: [&str; 12] = ["ap", "au", "ft", "im", "ns", "si", "tx", "jpg", "tif", "txt", "plain", "sgml"];
    let word = word.trim().to_ascii_lowercase();
    mime.contains(&word) || OTHER.contains(&word.as_str())
}

/// The MIME type of ED.2 and ED.3, RP.3 and RP.4: `application` and `PDF`, `TEXT` and `HTML`.
pub(super) fn mime(kind: &str, subtype: &str) -> Option<String> {
    let (kind, subtype) = (kind.trim().to_ascii_lowercase(), subtype.trim().to_ascii_lowercase());
    if subtype.contains('/') {
        return Some(subtype);
    }
    if kind.contains('/') {
        return Some(kind);
    }
    let known = match subtype.as_str() {
        "pdf" => "application/pdf",
        "rtf" => "application/rtf",
        "html" | "sgml" => "text/html",
        "xml" => "application/xml",
        "jpeg" | "jpg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "tiff" | "tif" => "image/tiff",
        "dicom" => "application/dicom",
        "basic" => "audio/basic",
        "text" | "plain" | "txt" => "text/plain",
        "octet-stream" => "application/octet-stream",
        "x-hl7-cda-level-one" => "application/x-hl7-cda-level-one+xml",
        _ => "",
    };
    if !known.is_empty() {
        return Some(known.to_owned());
    }
    match (kind.as_str(), subtype.as_str()) {
        ("", "") => None,
        ("text" | "ft" | "tx", "") => Some("text/plain".into()),
        ("pdf", "") => Some("application/pdf".into()),
        ("application" | "ap" | "au" | "im" | "audio" | "image" | "multipart", "") => {
            Some("application/octet-stream".into())
        }
        ("application" | "audio" | "image" | "text" | "video", sub) => Some(format!("{kind}/{sub}")),
        ("ap", sub) => Some(format!("application/{sub}")),
        ("im", sub) => Some(format!("image/{sub}")),
        _ => Some("application/octet-stream".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(decimal(text).map(|n| n.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn decimals_keep_their_digits() {
        check("0.010", Some("0.010"));
        check("+7", Some("7"));
        check("-.50", Some("-0.50"));
        check("007.10", Some("7.10"));
        check("5.", Some("5"));
        check("123456789012345678901234567890.1", Some("123456789012345678901234567890.1"));
        check("<5", None);
        check("1e5", None);
        check(".", None);
    }

    #[test]
    fn times_get_a_zone_and_instants_a_time() {
        let zone = TimeZone::get("America/Chicago").expect("a zone");
        let of = |kind, text| primitive(kind, text, &zone).map(|value| value.to_string());
        assert_eq!(of(Primitive::DateTime, "202407041530").as_deref(), Some("\"2024-07-04T15:30:00-05:00\""));
        assert_eq!(of(Primitive::DateTime, "2024").as_deref(), Some("\"2024\""));
        assert_eq!(of(Primitive::Instant, "20240104").as_deref(), Some("\"2024-01-04T00:00:00-06:00\""));
        assert_eq!(of(Primitive::Instant, "2024"), None);
        assert_eq!(of(Primitive::Time, "0815").as_deref(), Some("\"08:15:00\""));
        assert_eq!(of(Primitive::DateTime, "2024013199"), None);
    }

    #[test]
    fn attachments_are_checked_and_recoded() {
        assert_eq!(base64_of("SGVs\nbG8=", "Base64").as_deref(), Some("SGVsbG8="));
        assert_eq!(base64_of("not base64!", "Base64"), None);
        assert_eq!(base64_of("48656c6C6f", "Hex").as_deref(), Some("SGVsbG8="));
        assert_eq!(base64_of("Hello", "A").as_deref(), Some("SGVsbG8="));
        assert_eq!(mime("application", "PDF").as_deref(), Some("application/pdf"));
        assert_eq!(mime("TEXT", "").as_deref(), Some("text/plain"));
        assert_eq!(mime("", "image/png").as_deref(), Some("image/png"));
    }
}
