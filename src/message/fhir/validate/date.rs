//! Dates and times as FHIR R4 §2.24.0.1 writes them.

use std::cmp::Ordering;

/// A `date`, `dateTime` or `instant`, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date {
    year: i64,
    /// 0 where it is not said.
    month: i64,
    /// 0 where it is not said.
    day: i64,
    /// Seconds from the beginning of the day in UTC, where a time is said, and nanoseconds.
    time: Option<(i64, u32)>,
}

impl Date {
    /// `2024`, `2024-02`, `2024-02-29`, and with `T10:30:00.000+01:00` behind a day; days must exist.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
        let mut parts = date.split('-');
        let year = digits(parts.next()?, 4).filter(|year| *year > 0)?;
        let month = parts.next().map(|part| digits(part, 2).filter(|month| (1..=12).contains(month)));
        let day = parts.next().map(|part| digits(part, 2));
        let (month, day) = (flat(month)?, flat(day)?);
        if parts.next().is_some() || day.is_some_and(|day| day < 1 || day > days_in(year, month.unwrap_or(0))) {
            return None;
        }
        let time = match time {
            Some(_) if day.is_none() => return None,
            Some(time) => Some(zoned(time)?),
            None => None,
        };
        Some(Self { year, month: month.unwrap_or(0), day: day.unwrap_or(0), time })
    }

    /// True if it has a time.
    pub(super) fn has_time(self) -> bool {
        self.time.is_some()
    }

    /// Which is earlier, as far as both say; `None` if that is not far enough.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self.time, other.time) {
            (Some((own, own_nanos)), Some((others, other_nanos))) => {
                let own = (self.day_number() * 86_400 + own, own_nanos);
                Some(own.cmp(&(other.day_number() * 86_400 + others, other_nanos)))
            }
            // With a zone on one side only, a day more or less says nothing.
            (Some(_), None) | (None, Some(_)) if self.day > 0 && other.day > 0 => {
                let apart = self.day_number() - other.day_number();
                (apart.abs() > 1).then(|| apart.cmp(&0))
            }
            _ => self.compare_days(other),
        }
    }

    fn compare_days(self, other: Self) -> Option<Ordering> {
        for (own, others) in [(self.year, other.year), (self.month, other.month), (self.day, other.day)] {
            match own.cmp(&others) {
                _ if own == 0 || others == 0 => return (own == others).then_some(Ordering::Equal),
                Ordering::Equal => {}
                order => return Some(order),
            }
        }
        Some(Ordering::Equal)
    }

    /// Days from 0000-03-01 in the Gregorian calendar.
    fn day_number(self) -> i64 {
        let (year, month) = if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + self.day
    }
}

fn flat(value: Option<Option<i64>>) -> Option<Option<i64>> {
    match value {
        Some(None) => None,
        Some(some) => Some(some),
        None => Some(None),
    }
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let all = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.bytes().fold(0, |number, b| number * 10 + i64::from(b - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `10:30:00.000+01:00`, as seconds in UTC.
fn zoned(text: &str) -> Option<(i64, u32)> {
    let (clock, offset) = match text.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => {
            let at = text.len().checked_sub(6)?;
            let (clock, zone) = (text.get(..at)?, text.get(at..)?);
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            if hours > 14 || minutes > 59 || (hours == 14 && minutes > 0) {
                return None;
            }
            (clock, sign * (hours * 60 + minutes) * 60)
        }
    };
    let (seconds, nanos) = time(clock)?;
    Some((seconds - offset, nanos))
}

/// `10:30:00.000`, as seconds; a leap second is one.
pub(super) fn time(text: &str) -> Option<(i64, u32)> {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, rest)| (clock, Some(rest)));
    let nanos = match fraction {
        None => 0,
        Some(fraction) => {
            if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let nine = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
            nine.fold(0, |number, b| number * 10 + u32::from(b - b'0'))
        }
    };
    let mut parts = clock.split(':');
    let (hours, minutes, seconds) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let is_one = parts.next().is_none() && hours < 24 && minutes < 60 && seconds <= 60;
    is_one.then_some((hours * 3600 + minutes * 60 + seconds, nanos))
}
