//! Times as FHIR writes them: intervals as wide as they are precise.

use crate::json::Value;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A moment, in microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// From the first moment to the first moment after: open ends are [`Micros::MIN`] and [`Micros::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first moment within.
    pub from: Micros,
    /// The first moment after.
    pub until: Micros,
}

impl Span {
    /// All of time.
    pub const ALWAYS: Self = Self { from: Micros::MIN, until: Micros::MAX };

    /// A FHIR `date`, `dateTime` or `instant`, as wide as its precision; UTC where it has no offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            4 => Self::days(&format!("{text}-01-01"), |day| day.checked_add(jiff::Span::new().years(1)).ok()),
            7 => Self::days(&format!("{text}-01"), |day| day.checked_add(jiff::Span::new().months(1)).ok()),
            10 => Self::days(text, |day| day.checked_add(jiff::Span::new().days(1)).ok()),
            _ => Self::instant(text),
        }
    }

    fn days(text: &str, next: impl Fn(Date) -> Option<Date>) -> Option<Self> {
        let plain =
            text.bytes().enumerate().all(|(i, b)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
        let day: Date = text.parse().ok().filter(|_| plain)?;
        let start = |day: Date| day.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp().as_microsecond());
        Some(Self { from: start(day)?, until: next(day).and_then(start).unwrap_or(Micros::MAX) })
    }

    fn instant(text: &str) -> Option<Self> {
        if text.as_bytes().get(10) != Some(&b'T') {
            return None;
        }
        let clock = text.get(11..)?;
        let zone = clock.find(['Z', '+', '-']);
        let at = match zone {
            Some(_) => text.parse::<Timestamp>().ok()?,
            None => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
        };
        let digits = clock.get(..zone.unwrap_or(clock.len()))?;
        let width = match digits.split_once('.') {
            Some((_, fraction)) => 10_i64.pow(6_u32.saturating_sub(u32::try_from(fraction.len()).ok()?)),
            None if digits.len() >= 8 => 1_000_000,
            None => 60_000_000,
        };
        let from = at.as_microsecond();
        Some(Self { from, until: from.saturating_add(width) })
    }

    /// A FHIR `Period`: both ends as wide as their precision; open where it says nothing. `None` if
    /// it is none, or ends before it starts.
    #[must_use]
    pub fn of_period(value: &Value) -> Option<Self> {
        let period = value.as_object()?;
        let end = |key: &str| match period.get(key) {
            None => Some(None),
            Some(Value::String(text)) => Self::parse(text).map(Some),
            Some(_) => None,
        };
        let (start, end) = (end("start")?, end("end")?);
        let span = Self {
            from: start.map_or(Micros::MIN, |start| start.from),
            until: end.map_or(Micros::MAX, |end| end.until),
        };
        (span.from < span.until).then_some(span)
    }

    /// True if `at` lies within.
    #[must_use]
    pub fn holds(self, at: Micros) -> bool {
        self.from <= at && at < self.until
    }

    /// True if all of `other` lies within.
    #[must_use]
    pub fn encloses(self, other: Self) -> bool {
        self.from <= other.from && other.until <= self.until
    }

    /// True if they share a moment.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.from < other.until && other.from < self.until
    }

    /// Both and what lies between.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), until: self.until.max(other.until) }
    }
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, from: &str, until: &str) {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
        assert_eq!(Span::parse(text), Some(Span { from: at(from), until: at(until) }), "{text}");
    }

    #[test]
    fn is_as_wide_as_it_is_precise() {
        check("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
        check("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z");
        check("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z");
        check("2024-02-29T10:00:00+02:00", "2024-02-29T08:00:00Z", "2024-02-29T08:00:01Z");
        check("2024-02-29T10:00:00.25Z", "2024-02-29T10:00:00.25Z", "2024-02-29T10:00:00.26Z");
        check("2024-02-29T10:00:00", "2024-02-29T10:00:00Z", "2024-02-29T10:00:01Z");
        check("2024-02-29T10:00-05:00", "2024-02-29T15:00:00Z", "2024-02-29T15:01:00Z");
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "24",
            "2024-13",
            "2023-02-29",
            "20240229",
            "2024-02-29 10:00:00Z",
            "2024-02-29T",
            "yesterday!",
            "2024-2-29é",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn reads_periods_with_open_ends() {
        let end = Span::of_period(&json!({ "end": "2024-02-29" })).unwrap();
        assert_eq!(end.from, Micros::MIN);
        assert!(end.holds(Span::parse("2024-02-29T23:59:59.999999Z").unwrap().from));
        assert!(!end.holds(Span::parse("2024-03-01").unwrap().from));
        assert_eq!(Span::of_period(&json!({})), Some(Span::ALWAYS));
        assert_eq!(Span::of_period(&json!({ "start": "2025", "end": "2024" })), None);
        assert_eq!(Span::of_period(&json!({ "start": 2024 })), None);
    }
}
