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
    stopped: Option<String>,
}

impl Health {
    pub(super) fn new(pause: PauseConfig, stopped: Option<String>) -> Self {
        Self { pause, failures: 0, next_probe: None, stopped }
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

    /// An attempt found the destination down. True if it is paused by this.
    pub(super) fn failed(&mut self, now: Timestamp) -> bool {
        self.failures = self.failures.saturating_add(1);
        let was_paused = self.next_probe.is_some();
        if self.failures >= self.pause.after.get() {
            self.next_probe = Some(now + self.pause.probe_interval.0);
        }
        self.next_probe.is_some() && !was_paused
    }

    /// The destination answered, whether or not it took the message: it is not down. True if it was
    /// paused.
    pub(super) fn reached(&mut self) -> bool {
        self.failures = 0;
        self.next_probe.take().is_some()
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

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// For `status`: `up`, `down`, or `stopped` with the reason.
    pub(super) fn describe(&self) -> (&'static str, Option<&str>) {
        match (&self.stopped, self.next_probe) {
            (Some(reason), _) => ("stopped", Some(reason)),
            (None, Some(_)) => ("down", None),
            (None, None) => ("up", None),
        }
    }
}
