//! TM: a time of day.

use jiff::tz::Offset;

use super::scan::{digits, offset};
use super::{TimestampError, push_digits};

/// A time of day with its precision, as in TM and in the end of DTM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// 0 to 23.
    pub hour: i8,
    /// 0 to 59.
    pub minute: Option<i8>,
    /// 0 to 60: a leap second stays one.
    pub second: Option<i8>,
    /// The digits after the point, as they stand; at most nine.
    pub fraction: Option<String>,
    /// The offset from UTC, where the sender gives one.
    pub offset: Option<Offset>,
}

impl Clock {
    /// Reads a TM: `HH[MM[SS[.S…]]][±ZZZZ]`.
    ///
    /// # Errors
    ///
    /// [`TimestampError`] if it is anything else.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let mut rest = text.trim();
        if rest.is_empty() || rest == "\"\"" {
            return Err(TimestampError::Empty);
        }
        let clock = Self::take(&mut rest)?.ok_or(TimestampError::Form)?;
        let clock = Self { offset: offset(&mut rest)?, ..clock };
        if rest.is_empty() { Ok(clock) } else { Err(TimestampError::Form) }
    }

    /// Takes a time of day off the front, without its offset; `None` if it does not begin with a digit.
    pub(super) fn take(rest: &mut &str) -> Result<Option<Self>, TimestampError> {
        let Some(hour) = below(digits::<2>(rest)?, 24)? else { return Ok(None) };
        let minute = below(digits::<2>(rest)?, 60)?;
        let second = if minute.is_some() { below(digits::<2>(rest)?, 61)? } else { None };
        let fraction = if second.is_some() { fraction(rest)? } else { None };
        Ok(Some(Self { hour, minute, second, fraction, offset: None }))
    }

    /// As FHIR's `time`, `hh:mm:ss[.s…]`: missing minutes and seconds are zeros, an offset is left out, for FHIR has
    /// none here.
    #[must_use]
    pub fn to_fhir(&self) -> String {
        let mut out = String::with_capacity(18);
        self.push_fhir(&mut out);
        out
    }

    pub(super) fn push_fhir(&self, out: &mut String) {
        push_digits(out, i16::from(self.hour), 2);
        for part in [self.minute, self.second] {
            out.push(':');
            push_digits(out, i16::from(part.unwrap_or_default()), 2);
        }
        if let Some(digits) = &self.fraction {
            out.push('.');
            out.push_str(digits);
        }
    }

    /// The same for the calendar: no leap second, nanoseconds.
    pub(super) fn to_civil(&self) -> jiff::civil::Time {
        let nanos = self.fraction.as_deref().map_or(0, |digits| format!("{digits:0<9}").parse().unwrap_or(0));
        let second = self.second.unwrap_or_default().min(59);
        jiff::civil::Time::new(self.hour, self.minute.unwrap_or_default(), second, nanos).unwrap_or_default()
    }
}

fn below(number: Option<i16>, limit: i16) -> Result<Option<i8>, TimestampError> {
    let Some(number) = number else { return Ok(None) };
    if number < limit {
        i8::try_from(number).map(Some).map_err(|_| TimestampError::Clock)
    } else {
        Err(TimestampError::Clock)
    }
}

/// Takes `.S…` off the front. A point with no digit after it says nothing.
fn fraction(rest: &mut &str) -> Result<Option<String>, TimestampError> {
    let Some(after) = rest.strip_prefix('.') else { return Ok(None) };
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let (digits, tail) = after.split_at(end);
    if digits.len() > 9 {
        return Err(TimestampError::Form);
    }
    *rest = tail;
    Ok(Some(digits.to_owned()).filter(|digits| !digits.is_empty()))
}
