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
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}{}",
        local.year().max(0),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second(),
        offset_text(offset, "")
    )
}

/// `-06:00`, or with another mark between hours and minutes.
fn offset_text(offset: Offset, mark: &str) -> String {
    let sign = if offset.is_negative() { '-' } else { '+' };
    let minutes = offset.seconds().unsigned_abs() / 60;
    format!("{sign}{:02}{mark}{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests;
