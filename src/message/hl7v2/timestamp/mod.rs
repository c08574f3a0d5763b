//! HL7's times: read with their precision and offset as they stand, written as FHIR writes them.
//!
//! DTM and TS are `YYYY[MM[DD[HH[MM[SS[.S…]]]]]][±ZZZZ]`, DT their first eight characters, TM what follows
//! those (HL7 v2.9 §2.A.21, §2.A.22, §2.A.75). Nothing is made more precise than it was, but that FHIR wants
//! minutes and seconds where there are hours: these are filled with zeros.
//!
//! **Where no offset is given**, the zone that is passed in says it. A time that the clocks skip or go
//! through twice gets the offset in force before the change, so that its digits stay and it is always read the
//! same way. An offset with seconds, as before 1900, is cut to minutes: FHIR has no more.

mod clock;
mod dtm;
mod scan;

pub use clock::Clock;
pub use dtm::{Dtm, Precision};
pub use scan::TimestampError;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// `now` in `zone` to the second, as MSH-7 wants it: `20240131235959-0600`.
#[must_use]
pub fn render(now: Timestamp, zone: &TimeZone) -> String {
    let offset = zone.to_offset(now);
    let local = offset.to_datetime(now);
    let mut out = String::with_capacity(19);
    push_digits(&mut out, local.year(), 4);
    for part in [local.month(), local.day(), local.hour(), local.minute(), local.second()] {
        push_digits(&mut out, i16::from(part), 2);
    }
    push_offset(&mut out, offset, "");
    out
}

/// Adds a number that is not negative, with zeros in front of it.
fn push_digits(out: &mut String, number: i16, width: u32) {
    for place in (0..width).rev() {
        let digit = number.unsigned_abs() / 10u16.pow(place) % 10;
        out.push(char::from(b'0' + digit as u8));
    }
}

/// Adds `-06:00`, with `mark` between hours and minutes.
fn push_offset(out: &mut String, offset: Offset, mark: &str) {
    out.push(if offset.is_negative() { '-' } else { '+' });
    let minutes = (offset.seconds().unsigned_abs() / 60) as i16;
    push_digits(out, minutes / 60, 2);
    out.push_str(mark);
    push_digits(out, minutes % 60, 2);
}

#[cfg(test)]
mod tests;
