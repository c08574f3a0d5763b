//! What a destination's dispatcher does with deliveries that wait for consent: decide again, or give up.

use super::{Dispatcher, STORE_RETRY, write};
use crate::engine::gate::is_parked;
use crate::engine::settle;
use crate::store::{DeliveryId, DeliveryRecord, Record, Store, StoreError};

impl Dispatcher {
    /// Puts deliveries that wait for consent back into the queue: their attempts decide.
    pub(super) async fn reconsider(&mut self, ids: &[DeliveryId]) {
        let (at, mut waiting) = ((self.clock)(), Vec::with_capacity(ids.len()));
        for id in ids.iter().filter(|id| !self.schedule.is_in_flight(**id)).copied().collect::<Vec<_>>() {
            waiting.extend(parked(&self.store, &self.config.name, id).await);
        }
        if waiting.is_empty() {
            return;
        }
        let reason = || "what it waited for may have come".to_owned();
        let released = waiting.iter().map(|it| Record::Released { delivery: it.id, at, reason: reason() });
        let released: Vec<Record> = released.collect();
        // Until it is to be seen: an attempt that did not see it would take it for one that is gone.
        while let Err(error) = self.store.commit(released.clone()).await {
            tracing::error!(destination = self.config.name, %error, "cannot release what waited: trying again");
            tokio::time::sleep(STORE_RETRY).await;
        }
        for delivery in waiting {
            if self.cursor.is_some_and(|cursor| delivery.id <= cursor) {
                self.add(DeliveryRecord { due: Some(at), ..delivery });
            }
        }
        self.more = true;
    }

    /// Makes a dead letter of a delivery that has waited for consent for too long.
    pub(super) async fn give_up(&mut self, id: DeliveryId) {
        let delivery = parked(&self.store, &self.config.name, id).await;
        let Some(delivery) = delivery.filter(|_| !self.schedule.is_in_flight(id)) else { return };
        self.gate.unpark(id);
        let (at, reason) = ((self.clock)(), format!("{}, for longer than `max_park`", delivery.reason));
        tracing::error!(destination = self.config.name, delivery = id, reason, "dead letter");
        let record = Record::Dead { delivery: id, at, reason, answer: None, rest: None };
        write(&self.store, &self.config.name, vec![record]).await;
        settle::tell_if_reached(&self.store, &self.waiters, delivery.message).await;
    }
}

/// A delivery, if it waits for consent.
async fn parked(store: &Store, destination: &str, id: DeliveryId) -> Option<DeliveryRecord> {
    loop {
        match store.delivery(id).await {
            Ok(delivery) => return delivery.filter(is_parked),
            Err(StoreError::Closed) => return None,
            Err(error) => {
                tracing::error!(destination, %error, "cannot read a delivery: trying again");
                tokio::time::sleep(STORE_RETRY).await;
            }
        }
    }
}
