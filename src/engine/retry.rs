//! What happens after an attempt that did not end in delivery. Pure: the error and the settings decide.

use std::time::Duration;

use bytes::Bytes;
use channels::DeliveryError;

use crate::config::{OnUnknown, RetryConfig};

/// What the queue does next with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again after `wait`.
    Again {
        /// How long to wait.
        wait: Duration,
        /// The whole destination is down: other deliveries would fare no better.
        down: bool,
        /// What remains to be sent, where part of a batch was taken.
        rest: Option<Bytes>,
    },
    /// To the dead letters. `rest` is what was not taken, where part of a batch was.
    Dead(Option<Bytes>),
    /// An operator decides.
    Hold,
    /// Our credentials are not taken: stop the destination, keep the queue.
    Stop,
}

/// The longest `Retry-After` that is honoured in full.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Decides what follows `error`, the `attempt`th attempt (counted from 1). `jitter` is random, 0 to 1.
#[must_use]
pub(super) fn next(error: &DeliveryError, attempt: u32, retry: &RetryConfig, jitter: f64) -> Next {
    let again = |wait: Option<Duration>, down: bool, rest: Option<Bytes>| Next::Again {
        wait: wait.unwrap_or_else(|| backoff(attempt, retry, jitter)),
        down,
        rest,
    };
    let allowed = retry.attempts;
    match error {
        DeliveryError::Unavailable { retry_after, down, .. } if allowed.unavailable.allows_after(attempt) => {
            again(retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER)), *down, None)
        }
        DeliveryError::Erred(_) if allowed.erred.allows_after(attempt) => again(None, false, None),
        DeliveryError::Unknown { .. } => match retry.on_unknown {
            OnUnknown::Retry if allowed.unknown.allows_after(attempt) => again(None, false, None),
            OnUnknown::Retry | OnUnknown::Dead => Next::Dead(None),
            OnUnknown::Hold => Next::Hold,
        },
        DeliveryError::Partly { rest, refused: false, .. } if allowed.erred.allows_after(attempt) => {
            again(None, false, Some(rest.clone()))
        }
        DeliveryError::Partly { rest, .. } => Next::Dead(Some(rest.clone())),
        DeliveryError::Unauthorized(_) => Next::Stop,
        DeliveryError::Unavailable { .. } | DeliveryError::Erred(_) | DeliveryError::Refused(_) => Next::Dead(None),
    }
}

/// `first * factor^(attempt-1)`, at most `max_delay`, spread by `jitter` (random, 0 to 1) to both sides.
#[must_use]
pub(super) fn backoff(attempt: u32, retry: &RetryConfig, jitter: f64) -> Duration {
    let longest = retry.max_delay.0.as_secs_f64();
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = (retry.first.0.as_secs_f64() * retry.factor.powi(exponent)).min(longest);
    let spread = retry.jitter.clamp(0.0, 1.0) * (2.0 * jitter - 1.0);
    Duration::try_from_secs_f64(seconds * (1.0 + spread)).unwrap_or(retry.max_delay.0)
}

#[cfg(test)]
mod tests {
    use channels::Receipt;

    use super::*;

    fn unavailable(retry_after: Option<u64>, down: bool) -> DeliveryError {
        DeliveryError::Unavailable { reason: "503".into(), retry_after: retry_after.map(Duration::from_secs), down }
    }

    #[track_caller]
    fn check(error: &DeliveryError, attempt: u32, expected: &Next) {
        assert_eq!(&next(error, attempt, &RetryConfig::default(), 0.5), expected);
    }

    fn again(seconds: u64, down: bool) -> Next {
        Next::Again { wait: Duration::from_secs(seconds), down, rest: None }
    }

    #[test]
    fn waits_grow_up_to_the_longest() {
        check(&unavailable(None, true), 1, &again(1, true));
        check(&unavailable(None, true), 4, &again(8, true));
        check(&unavailable(None, true), 100_000, &again(300, true));
    }

    #[test]
    fn honours_retry_after_within_reason() {
        check(&unavailable(Some(77), false), 1, &again(77, false));
        check(&unavailable(Some(1_000_000), false), 1, &again(3600, false));
    }

    #[test]
    fn an_application_error_is_retried_then_dead() {
        let erred = DeliveryError::Erred(Receipt::default());
        check(&erred, 9, &again(256, false));
        check(&erred, 10, &Next::Dead(None));
    }

    #[test]
    fn a_refusal_is_dead_at_once_and_bad_credentials_stop_the_destination() {
        check(&DeliveryError::Refused(Receipt::default()), 1, &Next::Dead(None));
        check(&DeliveryError::Unauthorized(Receipt::default()), 1, &Next::Stop);
    }

    #[test]
    fn only_what_failed_of_a_batch_is_tried_again() {
        let rest = Bytes::from_static(b"rest");
        let partly = |refused| DeliveryError::Partly { receipt: Receipt::default(), rest: rest.clone(), refused };
        check(&partly(false), 1, &Next::Again { wait: Duration::from_secs(1), down: false, rest: Some(rest.clone()) });
        check(&partly(true), 1, &Next::Dead(Some(rest.clone())));
    }

    #[test]
    fn jitter_spreads_to_both_sides() {
        let retry = RetryConfig::default();
        assert_eq!(backoff(1, &retry, 0.0), Duration::from_millis(800));
        assert_eq!(backoff(1, &retry, 1.0), Duration::from_millis(1200));
    }
}
