//! Digits off the front of a text, and what is wrong with them.

use jiff::tz::Offset;

/// Why a text is no time. Says what, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Nothing stands there, or `""`.
    #[error("no time stands here")]
    Empty,
    /// A character that has no place in a time, or digits left over or missing.
    #[error("this is no time in HL7's form, YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]")]
    Form,
    /// A year 0000.
    #[error("the year is not 0001 to 9999")]
    Year,
    /// A month but 01 to 12.
    #[error("the month is not 01 to 12")]
    Month,
    /// A day that the month does not have.
    #[error("the month has no such day")]
    Day,
    /// An hour, minute or second that no clock shows.
    #[error("the time of day is not 000000 to 235960")]
    Clock,
    /// An offset beyond fourteen hours, or with sixty minutes or more.
    #[error("the offset is not -1400 to +1400")]
    Offset,
}

/// Takes `N` digits off the front; `None` if it does not begin with a digit.
pub(super) fn digits<const N: usize>(rest: &mut &str) -> Result<Option<i16>, TimestampError> {
    if !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(None);
    }
    let (number, after) = rest.split_at_checked(N).ok_or(TimestampError::Form)?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TimestampError::Form);
    }
    *rest = after;
    number.parse().map(Some).map_err(|_| TimestampError::Form)
}

/// Takes `±ZZZZ` off the front.
pub(super) fn offset(rest: &mut &str) -> Result<Option<Offset>, TimestampError> {
    let sign = match rest.bytes().next() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Ok(None),
    };
    let mut after = rest.get(1..).unwrap_or_default();
    let hours = digits::<2>(&mut after)?.ok_or(TimestampError::Form)?;
    let minutes = digits::<2>(&mut after)?.ok_or(TimestampError::Form)?;
    if hours > 14 || minutes > 59 || (hours == 14 && minutes > 0) {
        return Err(TimestampError::Offset);
    }
    *rest = after;
    let seconds = sign * (i32::from(hours) * 60 + i32::from(minutes)) * 60;
    Offset::from_seconds(seconds).map(Some).map_err(|_| TimestampError::Offset)
}
