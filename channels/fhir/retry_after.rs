//! `Retry-After`: when a server asks to be tried again.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The longest wait that a server is granted.
const MOST: Duration = Duration::from_secs(3600);

/// What `headers` ask for: seconds, or a date (RFC 9110 §10.2.3), which counts from the server's own
/// `Date`, so that its clock need not be right; `now` stands in for that. At most an hour.
pub(super) fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds).min(MOST));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let from = date.unwrap_or_else(|| SystemTime::from(now));
    Some(until.duration_since(from).unwrap_or_default().min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(retry_after: &str, date: Option<&str>, expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        date.map(|date| headers.insert(DATE, date.parse().unwrap()));
        let now = "2026-11-06T08:00:00Z".parse().unwrap();
        assert_eq!(read(&headers, now), expected.map(Duration::from_secs), "{retry_after}");
    }

    #[test]
    fn reads_seconds() {
        check("0", None, Some(0));
        check(" 120 ", None, Some(120));
        check("999999999", None, Some(3600));
    }

    #[test]
    fn reads_a_date_by_the_servers_clock_or_else_ours() {
        check("Fri, 06 Nov 2026 08:01:30 GMT", None, Some(90));
        check("Friday, 06-Nov-26 08:01:30 GMT", None, Some(90));
        check("Fri Nov  6 08:01:30 2026", None, Some(90));
        check("Fri, 06 Nov 2026 08:01:30 GMT", Some("Fri, 06 Nov 2026 08:01:00 GMT"), Some(30));
        check("Fri, 06 Nov 2026 07:00:00 GMT", None, Some(0));
        check("Fri, 06 Nov 2099 07:00:00 GMT", None, Some(3600));
    }

    #[test]
    fn passes_over_nonsense() {
        check("soon", None, None);
        check("-5", None, None);
        check("99999999999999999999999", None, None);
        check("1.5", None, None);
        check("", None, None);
    }
}
