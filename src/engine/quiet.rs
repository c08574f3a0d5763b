//! Keeps what is said again and again from flooding the log. Pure: the time is passed in.

use std::time::Duration;

use jiff::Timestamp;

/// How long the same thing is not said again.
const INTERVAL: Duration = Duration::from_secs(60);

/// Says a thing when it is new, and once a minute while it stays.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    last: Option<(String, Timestamp)>,
    unsaid: u64,
}

impl Quiet {
    /// Whether `what` is to be said at `now`: then how often it was not, since the last time.
    pub(super) fn say(&mut self, what: &str, now: Timestamp) -> Option<u64> {
        let said = self.last.as_ref().is_some_and(|(last, at)| {
            // A clock that jumped back must not silence anything.
            let age = Duration::try_from(now.duration_since(*at)).unwrap_or(INTERVAL);
            last == what && age < INTERVAL
        });
        if said {
            self.unsaid += 1;
            return None;
        }
        self.last = Some((what.to_owned(), now));
        Some(std::mem::take(&mut self.unsaid))
    }

    /// It is over: what comes next is new.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(events: &[(&str, i64)], expected: &[Option<u64>]) {
        let mut quiet = Quiet::default();
        let said = events.iter().map(|(what, at)| quiet.say(what, Timestamp::from_second(*at).unwrap()));
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn says_a_thing_once_a_minute_and_how_often_it_was_not_said() {
        check(&[("503", 0), ("503", 1), ("503", 59), ("503", 60), ("503", 61)], &[Some(0), None, None, Some(2), None]);
    }

    #[test]
    fn says_another_thing_at_once() {
        check(&[("503", 0), ("503", 1), ("500", 2), ("503", 3)], &[Some(0), None, Some(1), Some(0)]);
    }

    #[test]
    fn says_it_again_when_the_clock_jumps_back() {
        check(&[("503", 1000), ("503", 10)], &[Some(0), Some(0)]);
    }

    #[test]
    fn begins_again_when_it_is_over() {
        let mut quiet = Quiet::default();
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!((quiet.say("503", now), quiet.say("503", now)), (Some(0), None));
        quiet.reset();
        assert_eq!(quiet.say("503", now), Some(0));
    }
}
