//! The state machine of a delivery.

use jiff::Timestamp;

use super::entry::{DeliveryEntry, short};
use super::record::{DeliveryId, Record, State};

/// The delivery that a record is about.
pub(super) fn delivery_of(record: &Record) -> Option<DeliveryId> {
    match record {
        Record::Attempted { delivery, .. }
        | Record::Delivered { delivery, .. }
        | Record::Dead { delivery, .. }
        | Record::Held { delivery, .. }
        | Record::Released { delivery, .. }
        | Record::Skipped { delivery, .. } => Some(*delivery),
        _ => None,
    }
}

/// The state machine of a delivery. A record that does not fit the state changes nothing: it came
/// too late, and stays in the history. That it was delivered is true whenever it comes.
pub(super) fn happen(entry: &mut DeliveryEntry, record: &Record, sequence: u64) -> Timestamp {
    let open = matches!(entry.state, State::Queued | State::Held);
    let (at, state, text) = match record {
        Record::Attempted { at, reason, due, rest, .. } => {
            entry.attempts = entry.attempts.saturating_add(1);
            entry.rest = rest.as_ref().map(|_| sequence).or(entry.rest);
            if entry.state != State::Queued {
                return *at;
            }
            (entry.due, entry.changed, entry.reason) = (Some(*due), *at, short(reason));
            return *at;
        }
        Record::Delivered { at, summary, .. } if entry.state != State::Delivered => {
            entry.attempts = entry.attempts.saturating_add(1);
            (at, State::Delivered, summary)
        }
        Record::Dead { at, reason, rest, .. } if open => {
            entry.attempts = entry.attempts.saturating_add(1);
            entry.rest = rest.as_ref().map(|_| sequence).or(entry.rest);
            (at, State::Dead, reason)
        }
        Record::Held { at, reason, .. } if open => (at, State::Held, reason),
        Record::Released { at, reason, .. } if matches!(entry.state, State::Held | State::Dead) => {
            // An operator grants a new budget of attempts; the history keeps the old ones.
            entry.attempts = 0;
            (at, State::Queued, reason)
        }
        Record::Skipped { at, reason, .. } if open || entry.state == State::Dead => (at, State::Skipped, reason),
        _ => return entry.changed,
    };
    entry.due = (state == State::Queued).then_some(*at);
    (entry.state, entry.changed, entry.reason) = (state, *at, short(text));
    *at
}
