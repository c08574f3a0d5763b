//! HL7's times (DT, TM, DTM, TS): read with their precision and offset, and written.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `now` in `zone` to the second, as MSH-7 wants it: `20240131235959-0600`.
#[must_use]
pub fn render(now: Timestamp, zone: &TimeZone) -> String {
    let offset = zone.to_offset(now);
    let local = offset.to_datetime(now);
    let minutes = offset.seconds().abs() / 60;
    let sign = if offset.is_negative() { '-' } else { '+' };
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}{sign}{:02}{:02}",
        local.year().max(0),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second(),
        minutes / 60,
        minutes % 60
    )
}
