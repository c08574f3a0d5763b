//! Telling those who wait: destinations that something is queued, senders that something is through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use message::{Answer, Fault, MessageId, Original};
use tokio::sync::Notify;

use super::waiters::{Until, Waiters};
use crate::store::{
    DeliveryId, DeliveryQuery, DeliveryRecord, MessageRecord, Outcome, Record, State, Store, StoreError, Whole,
};

/// Wakes destinations when something is queued for them.
#[derive(Default)]
pub(super) struct Wakers(Mutex<BTreeMap<String, Arc<Notify>>>);

impl Wakers {
    /// The waker of one destination.
    pub(super) fn of(&self, destination: &str) -> Arc<Notify> {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(wakers.entry(destination.to_owned()).or_default())
    }

    /// Wakes each destination that these outcomes have deliveries for.
    pub(super) fn wake<'a>(&self, outcomes: impl Iterator<Item = &'a Outcome>) {
        let destinations: BTreeSet<&str> = outcomes
            .filter_map(|outcome| match outcome {
                Outcome::Queued { deliveries, .. } => Some(deliveries),
                Outcome::Filtered { .. } | Outcome::Failed { .. } => None,
            })
            .flatten()
            .map(|delivery| delivery.destination.as_str())
            .collect();
        for destination in destinations {
            self.of(destination).notify_one();
        }
    }
}

/// A stored message as it was received.
pub(super) async fn original(store: &Store, id: MessageId) -> Result<Original, StoreError> {
    let whole = store.whole(vec![id], usize::MAX).await?.into_iter().next();
    whole.unwrap_or_else(|| Err(StoreError::Unknown(format!("message {id}")))).map(original_of)
}

/// A message as it was received.
pub(super) fn original_of(Whole { received, payload }: Whole) -> Original {
    Original {
        id: received.id,
        channel: received.channel.as_str().into(),
        received: received.at,
        peer: received.peer.as_str().into(),
        format: received.format,
        bytes: payload,
        sha256: received.sha256,
        beside: received.beside.clone(),
        control_id: received.control_id.as_deref().map(Into::into),
    }
}

/// All deliveries of a message, the earliest first.
///
/// # Errors
///
/// [`StoreError`] if they cannot be read.
pub async fn deliveries_of(store: &Store, id: MessageId) -> Result<Vec<DeliveryRecord>, StoreError> {
    let query = DeliveryQuery { message: Some(id), limit: usize::MAX, ..DeliveryQuery::default() };
    Ok(store.deliveries(&query).await?.items)
}

/// What a destination last answered, for one delivery of a message or for any of them.
///
/// # Errors
///
/// [`StoreError`] if the message's records cannot be read.
pub async fn last_answer(store: &Store, id: MessageId, only: Option<DeliveryId>) -> Result<Option<Bytes>, StoreError> {
    let answers = store.history(id).await?.into_iter().rev().filter_map(|entry| match entry.record {
        Record::Attempted { delivery, answer, .. }
        | Record::Delivered { delivery, answer, .. }
        | Record::Dead { delivery, answer, .. } => Some((delivery, answer?)),
        _ => None,
    });
    let mut wanted = answers.filter(|(delivery, _)| only.is_none_or(|only| only == *delivery));
    Ok(wanted.next().map(|(_, answer)| answer))
}

/// Tells who waits for a message's transforms; where it has no delivery to wait for, it is settled too.
pub(super) fn tell_processed(waiters: &Waiters, id: MessageId, outcome: &Outcome) {
    if !waiters.is_awaited(id) {
        return;
    }
    match outcome {
        Outcome::Queued { .. } => waiters.tell(id, Until::Processed, &Answer::Done(id, None)),
        Outcome::Filtered { .. } => waiters.tell(id, Until::Settled, &Answer::Done(id, None)),
        Outcome::Failed { location, reason, .. } => {
            let fault = Fault::new(207, location.clone(), reason.clone());
            waiters.tell(id, Until::Settled, &Answer::Invalid(fault));
        }
    }
}

/// Tells who waits for a message, as far as the store says that it has come.
pub(super) async fn tell_if_reached(store: &Store, waiters: &Waiters, id: MessageId) {
    if !waiters.is_awaited(id) {
        return;
    }
    let Ok(Some(message)) = store.message(id).await else { return };
    match message.state {
        State::Received => {}
        State::Queued => waiters.tell(id, Until::Processed, &Answer::Done(id, None)),
        State::Failed | State::Dead => waiters.tell(id, Until::Settled, &Answer::Invalid(fault(&message))),
        State::Delivered | State::Held | State::Skipped | State::Filtered => {
            let answer = last_answer(store, id, None).await.ok().flatten();
            waiters.tell(id, Until::Settled, &Answer::Done(id, answer));
        }
    }
}

fn fault(message: &MessageRecord) -> Fault {
    Fault::new(207, None, message.reason.clone())
}
