//! HL7's times as FHIR's: precision and offset stay, a zone is added only where a time has none.

use std::fmt::Write as _;

use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};

/// A time as HL7 writes it, read apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts<'a> {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    clock: Option<Clock<'a>>,
    offset: Option<Offset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clock<'a> {
    hour: i8,
    minute: i8,
    second: i8,
    /// The digits after the point.
    fraction: &'a str,
}

/// `date`: what there is of year, month and day.
pub(super) fn date(text: &str) -> Option<String> {
    read(text).map(|parts| date_text(&parts))
}

/// `dateTime`: a time gets its seconds (as `00`, for FHIR wants them) and `zone` where it has none.
pub(super) fn date_time(text: &str, zone: &TimeZone) -> Option<String> {
    let parts = read(text)?;
    match parts.clock {
        Some(clock) => Some(with_clock(&parts, &clock, zone)?),
        None => Some(date_text(&parts)),
    }
}

/// `instant`: to the second; a mere date begins the day.
pub(super) fn instant(text: &str, zone: &TimeZone) -> Option<String> {
    let parts = read(text)?;
    let midnight = Clock { hour: 0, minute: 0, second: 0, fraction: "" };
    parts.day.and_then(|_| with_clock(&parts, &parts.clock.unwrap_or(midnight), zone))
}

/// `time` of TM, or of the time in a DTM.
pub(super) fn time(text: &str) -> Option<String> {
    let digits = split_offset(text).0;
    let clock = if digits.split('.').next()?.len() > 6 { read(text)?.clock? } else { clock(digits)?? };
    let mut out = String::with_capacity(16);
    add_clock(&mut out, &clock);
    Some(out)
}

fn date_text(parts: &Parts<'_>) -> String {
    let mut out = String::with_capacity(32);
    // Writing to a string cannot fail, here and below.
    let _ = match (parts.month, parts.day) {
        (Some(month), Some(day)) => write!(out, "{:04}-{month:02}-{day:02}", parts.year),
        (Some(month), None) => write!(out, "{:04}-{month:02}", parts.year),
        _ => write!(out, "{:04}", parts.year),
    };
    out
}

fn add_clock(out: &mut String, clock: &Clock<'_>) {
    let point = if clock.fraction.is_empty() { "" } else { "." };
    let _ = write!(out, "{:02}:{:02}:{:02}{point}{}", clock.hour, clock.minute, clock.second, clock.fraction);
}

fn with_clock(parts: &Parts<'_>, clock: &Clock<'_>, zone: &TimeZone) -> Option<String> {
    let date = Date::new(parts.year, parts.month?, parts.day?).ok()?;
    let time = Time::new(clock.hour, clock.minute, clock.second.min(59), 0).ok()?;
    let offset = match parts.offset {
        Some(offset) => offset,
        None => zone.to_ambiguous_timestamp(date.to_datetime(time)).compatible().map(|at| zone.to_offset(at)).ok()?,
    };
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    let mut out = date_text(parts);
    out.push('T');
    add_clock(&mut out, clock);
    let _ = write!(out, "{sign}{hours:02}:{minutes:02}");
    Some(out)
}

/// `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]` (HL7 v2.9 §2A.3.21).
fn read(text: &str) -> Option<Parts<'_>> {
    let (stamp, offset) = split_offset(text.trim());
    let offset = match offset {
        Some(offset) => Some(read_offset(offset)?),
        None => None,
    };
    let digits = stamp.split('.').next().unwrap_or_default();
    if !digits.bytes().all(|b| b.is_ascii_digit()) || digits.len() > 14 {
        return None;
    }
    let year: i16 = stamp.get(..4)?.parse().ok().filter(|year| *year > 0)?;
    let month = two(stamp, 4)?.filter(|m| (1..=12).contains(m));
    let day = two(stamp, 6)?;
    let wrong_month = digits.len() >= 6 && month.is_none();
    let wrong_day = day.is_some_and(|day| month.and_then(|month| Date::new(year, month, day).ok()).is_none());
    if wrong_month || wrong_day {
        return None;
    }
    let clock = match stamp.get(8..).filter(|rest| !rest.is_empty()) {
        Some(rest) => clock(rest)?,
        None => None,
    };
    Some(Parts { year, month, day, clock, offset })
}

/// `HH[MM[SS[.SSSS]]]`; the outer `None` is a mistake, the inner one no time.
fn clock(text: &str) -> Option<Option<Clock<'_>>> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    if digits.is_empty() || digits.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hour = two(digits, 0)??;
    let minute = two(digits, 2)?.unwrap_or(0);
    let second = two(digits, 4)?.unwrap_or(0);
    let fits = (0..=23).contains(&hour) && (0..=59).contains(&minute) && (0..=60).contains(&second);
    // A fraction belongs to seconds; of anything less it is not FHIR's to say.
    let fraction = if digits.len() == 6 { fraction } else { "" };
    fits.then_some(Some(Clock { hour, minute, second: second.min(59), fraction }))
}

/// Two digits at `at`: the outer `None` is a mistake, the inner one their absence.
fn two(text: &str, at: usize) -> Option<Option<i8>> {
    let rest = text.get(at.min(text.len())..).unwrap_or_default();
    if rest.is_empty() || rest.starts_with('.') {
        return Some(None);
    }
    rest.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_digit()))?.parse().ok().map(Some)
}

fn split_offset(text: &str) -> (&str, Option<&str>) {
    match text.find(['+', '-']).and_then(|at| text.split_at_checked(at)) {
        Some((stamp, offset)) => (stamp, Some(offset)),
        None => (text, None),
    }
}

fn read_offset(text: &str) -> Option<Offset> {
    let digits: String = text.get(1..)?.chars().filter(|c| *c != ':').collect();
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..4)?.parse().ok().filter(|m| *m < 60 && digits.len() == 4)?;
    let seconds = (hours * 60 + minutes) * 60;
    // FHIR knows offsets up to 14 hours.
    let signed = if text.starts_with('-') { -seconds } else { seconds };
    (seconds <= 14 * 3600).then(|| Offset::from_seconds(signed).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let zone = TimeZone::get("America/Chicago").expect("a zone");
        assert_eq!(date_time(text, &zone).as_deref(), expected, "{text}");
    }

    #[test]
    fn keeps_precision_and_offset_and_adds_a_zone_only_to_times() {
        check("1980", Some("1980"));
        check("198002", Some("1980-02"));
        check("19800229", Some("1980-02-29"));
        check("19810229", None);
        check("202407041530", Some("2024-07-04T15:30:00-05:00"));
        check("202401041530", Some("2024-01-04T15:30:00-06:00"));
        check("20240704153001.1200", Some("2024-07-04T15:30:01.1200-05:00"));
        check("20240704153001+0215", Some("2024-07-04T15:30:01+02:15"));
        check("202403100230", Some("2024-03-10T02:30:00-05:00"));
        check("2024070499", None);
        check("20240704153001999", None);
        check("today", None);
        check("", None);
    }

    #[test]
    fn reads_times_of_day_dates_and_instants() {
        assert_eq!(time("0815").as_deref(), Some("08:15:00"));
        assert_eq!(time("081530.5").as_deref(), Some("08:15:30.5"));
        assert_eq!(time("2561"), None);
        assert_eq!(date("20240704153001-0500").as_deref(), Some("2024-07-04"));
        assert_eq!(instant("20240704", &TimeZone::UTC).as_deref(), Some("2024-07-04T00:00:00+00:00"));
        assert_eq!(instant("2024", &TimeZone::UTC), None);
    }
}
