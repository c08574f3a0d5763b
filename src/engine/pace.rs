//! How fast a destination may be sent to: a rate, and a least time between two attempts. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// Spaces the starts of attempts.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Option<Timestamp>,
}

impl Pace {
    /// At most `rate` attempts a second, and at least `min_interval` between two.
    pub(super) fn new(rate: Option<f64>, min_interval: Duration) -> Self {
        let by_rate = rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok()).unwrap_or_default();
        Self { interval: by_rate.max(min_interval), next: None }
    }

    /// When the next attempt may start, if not now.
    pub(super) fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        // A clock that jumped back must not stop everything.
        self.next.filter(|next| *next > now && *next <= now + self.interval)
    }

    /// An attempt starts at `now`.
    pub(super) fn started(&mut self, now: Timestamp) {
        if self.interval.is_zero() {
            return;
        }
        // From when it might have started, so that the rate is kept on average.
        let from = self.next.filter(|next| *next <= now && now.duration_since(*next).unsigned_abs() < self.interval);
        self.next = Some(from.unwrap_or(now) + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn keeps_a_rate() {
        let mut pace = Pace::new(Some(10.0), Duration::ZERO);
        assert_eq!(pace.not_before(at(0)), None);
        pace.started(at(0));
        assert_eq!(pace.not_before(at(50)), Some(at(100)));
        assert_eq!(pace.not_before(at(100)), None);
    }

    #[test]
    fn catches_up_a_late_start() {
        let mut pace = Pace::new(Some(10.0), Duration::ZERO);
        pace.started(at(0));
        pace.started(at(130));
        assert_eq!(pace.not_before(at(140)), Some(at(200)));
    }

    #[test]
    fn no_rate_never_waits_and_a_clock_that_jumps_back_does_not_stop_it() {
        let mut free = Pace::new(None, Duration::ZERO);
        free.started(at(0));
        assert_eq!(free.not_before(at(0)), None);
        let mut pace = Pace::new(Some(1.0), Duration::ZERO);
        pace.started(at(1_000_000));
        assert_eq!(pace.not_before(at(0)), None);
    }
}
