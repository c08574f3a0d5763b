//! A clock to wait by: it goes on evenly, whatever the wall clock does.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// Begins at the wall clock's time, and goes by how much time has passed since.
///
/// Somebody may set the machine's clock while deliveries wait: a wait stays as long as it was meant to be.
#[derive(Debug)]
pub(super) struct Steady {
    began: Instant,
    at: Timestamp,
}

impl Steady {
    pub(super) fn new(wall: Timestamp) -> Self {
        Self { began: Instant::now(), at: wall }
    }

    /// The time now, for comparing with other times of this clock alone.
    #[must_use]
    pub(super) fn now(&self) -> Timestamp {
        self.after(Duration::ZERO)
    }

    /// The time once `wait` has passed.
    #[must_use]
    pub(super) fn after(&self, wait: Duration) -> Timestamp {
        self.at.checked_add(self.began.elapsed().saturating_add(wait)).unwrap_or(Timestamp::MAX)
    }

    /// When something is due that was put off at `since` until `due`, both by the wall clock, which now
    /// says `wall`.
    #[must_use]
    pub(super) fn due(&self, since: Timestamp, due: Timestamp, wall: Timestamp) -> Timestamp {
        self.now().checked_add(left(since, due, wall)).unwrap_or(Timestamp::MIN)
    }
}

/// What is left at `wall` of a wait from `since` until `due`; less than nothing where it is over. If the
/// wall clock was set back meanwhile, that is no more than the wait was meant to be.
fn left(since: Timestamp, due: Timestamp, wall: Timestamp) -> SignedDuration {
    due.duration_since(wall).min(due.duration_since(since).max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[track_caller]
    fn check(since: i64, due: i64, wall: i64, expected: i64) {
        assert_eq!(left(at(since), at(due), at(wall)), SignedDuration::from_secs(expected));
    }

    #[test]
    fn keeps_what_is_left_of_a_wait() {
        check(1000, 1060, 1020, 40);
        check(1000, 1060, 1100, -40);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_wait_longer() {
        check(90_000, 90_060, 1000, 60);
        // New: due at once.
        check(90_000, 90_000, 1000, 0);
        // Released after it was set back.
        check(90_000, 1000, 1000, 0);
    }

    #[test]
    fn begins_at_the_wall_clocks_time_and_never_goes_back() {
        let steady = Steady::new(at(1000));
        let (first, second) = (steady.now(), steady.now());
        assert!(first >= at(1000) && second >= first && steady.after(Duration::from_secs(60)) >= at(1060));
        assert_eq!(Steady::new(at(1000)).after(Duration::MAX), Timestamp::MAX);
    }
}
