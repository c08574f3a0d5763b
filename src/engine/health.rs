//! Whether a destination may be sent to: up, down with one probe at a time, or stopped. Pure.

use jiff::Timestamp;

use crate::config::PauseConfig;

/// What a destination's health allows right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send.
    Go,
    /// Send one delivery, to see whether it is back.
    Probe,
    /// Nothing before this time.
    NotBefore(Timestamp),
    /// Nothing until an operator resumes it.
    Stopped,
}

/// A destination's health over its attempts.
#[derive(Debug)]
pub(super) struct Health {
    pause: PauseConfig,
    failures: u32,
    next_probe: Option<Timestamp>,
    /// What the last attempt said, if it is to be made again.
    why: Option<String>,
    stopped: Option<String>,
}

impl Health {
    pub(super) fn new(pause: PauseConfig, stopped: Option<String>) -> Self {
        Self { pause, failures: 0, next_probe: None, why: None, stopped }
    }

    /// What may be done at `now` with `in_flight` attempts under way.
    pub(super) fn verdict(&self, now: Timestamp, in_flight: usize) -> Verdict {
        match self.next_probe {
            _ if self.stopped.is_some() => Verdict::Stopped,
            None => Verdict::Go,
            Some(at) if at > now => Verdict::NotBefore(at),
            // What was under way when it went down, or the probe itself: wait for it to end.
            Some(_) if in_flight > 0 => Verdict::NotBefore(now + self.pause.probe_interval.0),
            Some(_) => Verdict::Probe,
        }
    }

    /// An attempt found the destination down, and why. True if it is paused by this.
    pub(super) fn failed(&mut self, now: Timestamp, why: &str) -> bool {
        self.why = Some(why.to_owned());
        self.failures = self.failures.saturating_add(1);
        let was_paused = self.next_probe.is_some();
        if self.failures >= self.pause.after.get() {
            self.next_probe = Some(now + self.pause.probe_interval.0);
        }
        self.next_probe.is_some() && !was_paused
    }

    /// The destination answered, whatever it said: it is not down. True if it was paused.
    pub(super) fn reached(&mut self) -> bool {
        self.failures = 0;
        self.why = None;
        self.next_probe.take().is_some()
    }

    /// It answered, but could not take the delivery now, and why.
    pub(super) fn erred(&mut self, why: &str) {
        self.why = Some(why.to_owned());
    }

    /// An operator, or refused credentials, stop it.
    pub(super) fn stop(&mut self, reason: String) {
        self.stopped = Some(reason);
    }

    /// An operator resumes it: all is forgiven.
    pub(super) fn resume(&mut self) {
        *self = Self::new(self.pause, None);
    }

    pub(super) fn configure(&mut self, pause: PauseConfig) {
        self.pause = pause;
    }

    pub(super) fn is_down(&self) -> bool {
        self.next_probe.is_some()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// For `status`: `up`, `down` or `stopped`, and why, or what its last answer was if it took nothing.
    pub(super) fn describe(&self) -> (&'static str, Option<&str>) {
        match (&self.stopped, self.next_probe) {
            (Some(reason), _) => ("stopped", Some(reason)),
            (None, Some(_)) => ("down", self.why.as_deref()),
            (None, None) => ("up", self.why.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use channels::setting::Span;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(seconds: u64) -> Timestamp {
        NOW + Duration::from_secs(seconds)
    }

    /// Down after two failures in a row, probed every ten seconds.
    fn health() -> Health {
        let pause = PauseConfig { after: NonZeroU32::new(2).unwrap(), probe_interval: Span(Duration::from_secs(10)) };
        Health::new(pause, None)
    }

    #[test]
    fn pauses_after_failures_in_a_row_and_says_why() {
        let mut health = health();
        assert!(!health.failed(NOW, "no answer"));
        assert_eq!(health.verdict(NOW, 0), Verdict::Go);
        assert!(health.failed(NOW, "connection refused"));
        assert!(!health.failed(NOW, "connection refused"), "it is paused already");
        assert_eq!(health.describe(), ("down", Some("connection refused")));
    }

    #[test]
    fn probes_one_at_a_time_once_the_interval_is_over() {
        let mut health = health();
        health.failed(NOW, "");
        health.failed(NOW, "");
        assert_eq!(health.verdict(later(9), 0), Verdict::NotBefore(later(10)));
        assert_eq!(health.verdict(later(10), 0), Verdict::Probe);
        assert!(matches!(health.verdict(later(10), 1), Verdict::NotBefore(_)));
    }

    #[test]
    fn any_answer_ends_the_pause() {
        let mut health = health();
        health.failed(NOW, "");
        assert!(!health.reached(), "it was not paused yet");
        health.failed(NOW, "");
        health.failed(NOW, "");
        assert!(health.reached());
        assert_eq!((health.describe(), health.verdict(NOW, 3)), (("up", None), Verdict::Go));
    }

    #[test]
    fn tells_what_an_answer_was_until_a_better_one() {
        let mut health = health();
        health.reached();
        health.erred("500");
        assert_eq!(health.describe(), ("up", Some("500")));
        health.reached();
        assert_eq!(health.describe(), ("up", None));
    }

    #[test]
    fn stays_stopped_until_it_is_resumed() {
        let mut health = health();
        health.stop("401".to_owned());
        health.reached();
        assert_eq!((health.describe(), health.verdict(NOW, 0)), (("stopped", Some("401")), Verdict::Stopped));
        health.resume();
        assert_eq!(health.verdict(NOW, 0), Verdict::Go);
    }
}
