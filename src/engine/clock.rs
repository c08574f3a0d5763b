//! The wall clock: the one place that reads it.

use std::sync::Arc;

use jiff::Timestamp;
use message::MessageId;

/// The time now, in microseconds: as exact as the store keeps it, so that what is made of a message is
/// the same when it is made again.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// The clock for those who are handed one.
#[must_use]
pub fn clock() -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    Arc::new(now)
}

/// A new message id for a message received at `at`.
#[must_use]
pub fn new_id(at: Timestamp) -> MessageId {
    MessageId::new(at, rand::random())
}
