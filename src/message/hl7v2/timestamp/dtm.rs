//! DTM, TS and DT: a date, to the year, month or day, with or without a time of day.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::scan::{digits, offset};
use super::{Clock, TimestampError, push_digits, push_offset};

/// How far a time is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// To the year: `2024`.
    Year,
    /// To the month: `202401`.
    Month,
    /// To the day: `20240131`.
    Day,
    /// To the hour: `2024013123`.
    Hour,
    /// To the minute: `202401312359`.
    Minute,
    /// To the second or better.
    Second,
}

impl Precision {
    /// TS.2, the degree of precision of versions before 2.6 (table 0529): `Y`, `L` (month), `D`, `H`, `M`, `S`.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        match code.trim() {
            "Y" => Some(Self::Year),
            "L" => Some(Self::Month),
            "D" => Some(Self::Day),
            "H" => Some(Self::Hour),
            "M" => Some(Self::Minute),
            "S" => Some(Self::Second),
            _ => None,
        }
    }
}

/// A date with its precision, and a time of day where one is given. It exists in the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dtm {
    /// 1 to 9999.
    pub year: i16,
    /// 1 to 12.
    pub month: Option<i8>,
    /// 1 to the month's last.
    pub day: Option<i8>,
    /// The time of day, with the offset.
    pub clock: Option<Clock>,
}

impl Dtm {
    /// Reads a DTM, a DT, or the first component of a TS.
    ///
    /// # Errors
    ///
    /// [`TimestampError`] if it is no time in HL7's form, or no day of the calendar.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let mut rest = text.trim();
        if rest.is_empty() || rest == "\"\"" {
            return Err(TimestampError::Empty);
        }
        let year = digits::<4>(&mut rest)?.ok_or(TimestampError::Form)?;
        let month = digits::<2>(&mut rest)?.map(small).transpose()?;
        let day = if month.is_some() { digits::<2>(&mut rest)?.map(small).transpose()? } else { None };
        let clock = if day.is_some() { Clock::take(&mut rest)? } else { None };
        let offset = offset(&mut rest)?;
        if !rest.is_empty() {
            return Err(TimestampError::Form);
        }
        check_date(year, month, day)?;
        // FHIR's dates have no offset, and a day with one is still that day.
        Ok(Self { year, month, day, clock: clock.map(|clock| Clock { offset, ..clock }) })
    }

    /// How far it is known.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match (&self.clock, self.day, self.month) {
            (Some(clock), ..) if clock.second.is_some() => Precision::Second,
            (Some(clock), ..) if clock.minute.is_some() => Precision::Minute,
            (Some(_), ..) => Precision::Hour,
            (None, Some(_), _) => Precision::Day,
            (None, None, Some(_)) => Precision::Month,
            (None, None, None) => Precision::Year,
        }
    }

    /// The same, known no further than `precision`.
    #[must_use]
    pub fn limited_to(self, precision: Precision) -> Self {
        let upto = |least: Precision| precision >= least;
        let clock = self.clock.filter(|_| upto(Precision::Hour)).map(|clock| Clock {
            minute: clock.minute.filter(|_| upto(Precision::Minute)),
            second: clock.second.filter(|_| upto(Precision::Second)),
            fraction: clock.fraction.filter(|_| upto(Precision::Second)),
            ..clock
        });
        let month = self.month.filter(|_| upto(Precision::Month));
        let day = self.day.filter(|_| upto(Precision::Day));
        Self { month, day, clock, ..self }
    }

    /// As FHIR's `date`, without any time of day: `2024`, `2024-01`, `2024-01-31`.
    #[must_use]
    pub fn to_fhir_date(&self) -> String {
        let mut out = String::with_capacity(35);
        push_digits(&mut out, self.year, 4);
        for part in [self.month, self.day].into_iter().map_while(|part| part) {
            out.push('-');
            push_digits(&mut out, i16::from(part), 2);
        }
        out
    }

    /// As FHIR's `dateTime`: a date, or a date and time with its offset, by `zone` where none is given.
    #[must_use]
    pub fn to_fhir_date_time(&self, zone: &TimeZone) -> String {
        let mut out = self.to_fhir_date();
        if let Some(clock) = &self.clock {
            out.push('T');
            clock.push_fhir(&mut out);
            push_offset(&mut out, self.offset(clock, zone), ":");
        }
        out
    }

    /// As FHIR's `instant`; `None` if no time of day is known.
    #[must_use]
    pub fn to_fhir_instant(&self, zone: &TimeZone) -> Option<String> {
        self.clock.as_ref().map(|_| self.to_fhir_date_time(zone))
    }

    /// The time of day as FHIR's `time`, if one is known.
    #[must_use]
    pub fn to_fhir_time(&self) -> Option<String> {
        self.clock.as_ref().map(Clock::to_fhir)
    }

    /// The point in time, for comparing; the first of what is not known exactly.
    #[must_use]
    pub fn to_timestamp(&self, zone: &TimeZone) -> Option<Timestamp> {
        let first = Clock { hour: 0, minute: None, second: None, fraction: None, offset: None };
        let clock = self.clock.as_ref().unwrap_or(&first);
        self.offset(clock, zone).to_timestamp(self.civil(clock)?).ok()
    }

    fn offset(&self, clock: &Clock, zone: &TimeZone) -> Offset {
        let by_zone = || match zone.to_ambiguous_timestamp(self.civil(clock)?).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some(offset),
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => Some(before),
        };
        let offset = clock.offset.or_else(by_zone).unwrap_or(Offset::UTC);
        Offset::from_seconds(offset.seconds() / 60 * 60).unwrap_or(offset)
    }

    fn civil(&self, clock: &Clock) -> Option<jiff::civil::DateTime> {
        let date = Date::new(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?;
        Some(date.to_datetime(clock.to_civil()))
    }
}

fn small(number: i16) -> Result<i8, TimestampError> {
    i8::try_from(number).map_err(|_| TimestampError::Form)
}

fn check_date(year: i16, month: Option<i8>, day: Option<i8>) -> Result<(), TimestampError> {
    if year < 1 {
        return Err(TimestampError::Year);
    }
    let month = month.unwrap_or(1);
    if !(1..=12).contains(&month) {
        return Err(TimestampError::Month);
    }
    Date::new(year, month, day.unwrap_or(1)).map(|_| ()).map_err(|_| TimestampError::Day)
}
