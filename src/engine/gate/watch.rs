//! Wakes what waits for consent: by a change of what is on file, by time, by another policy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use channels::Stop;
use jiff::Timestamp;
use rand::seq::IndexedRandom as _;
use tokio::sync::{mpsc, watch};

use super::super::dispatch::Command;
use super::super::status::Snapshot;
use super::{Gate, Guard, is_parked};
use crate::store::{Concerned, ConsentChanges, DeliveryId, DeliveryQuery, Lane, State, StoreError};

/// What a dispatcher that makes attempts says of itself.
const UP: &str = "up";
/// How often what waits for long is looked for, and the clock is asked again.
const LOOK: Duration = Duration::from_secs(20);
/// How many held deliveries are read at once.
const PAGE: usize = 512;
/// The wait before a store that refused is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Each destination's dispatcher.
#[derive(Default)]
pub(super) struct Dispatchers(Mutex<BTreeMap<String, Dispatcher>>);

/// Where a dispatcher takes orders, and how it stands.
#[derive(Clone)]
struct Dispatcher {
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Snapshot>,
}

impl Dispatchers {
    fn of(&self, destination: &str) -> Option<Dispatcher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(destination).cloned()
    }

    async fn send(&self, destination: &str, command: Command) {
        if let Some(Dispatcher { commands, .. }) = self.of(destination) {
            // A dispatcher that is gone looks at all that waits when it starts again.
            drop(commands.send(command).await);
        }
    }
}

impl Gate {
    /// A destination's dispatcher, from now on.
    pub(in crate::engine) fn introduce(
        &self,
        destination: &str,
        commands: mpsc::Sender<Command>,
        snapshot: watch::Receiver<Snapshot>,
    ) {
        let mut known = self.dispatchers.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(destination.to_owned(), Dispatcher { commands, snapshot });
    }

    /// True while a destination's dispatcher makes attempts.
    pub(super) fn is_sent_to(&self, destination: &str) -> bool {
        self.dispatchers.of(destination).is_some_and(|one| one.snapshot.borrow().health == UP)
    }

    /// Has deliveries of a destination decided about again.
    pub(super) async fn reconsider(&self, destination: &str, ids: Vec<DeliveryId>) {
        self.dispatchers.send(destination, Command::Reconsider(ids)).await;
    }

    /// A delivery waits for consent. False if what it waits for has come meanwhile.
    pub(in crate::engine) fn park(
        &self,
        id: DeliveryId,
        destination: &str,
        since: Timestamp,
        until: Option<Timestamp>,
        guard: &Guard,
    ) -> bool {
        self.parked.add(id, destination, since, until);
        self.holds(guard)
    }

    /// A delivery waits for consent no longer.
    pub(in crate::engine) fn unpark(&self, id: DeliveryId) {
        self.parked.remove(id);
    }

    /// Works until `stop` fires. Begins with everything that waits: what it waits for may have come before a crash.
    pub(in crate::engine) async fn watch(self: Arc<Self>, mut changes: ConsentChanges, mut stop: Stop) {
        while let Err(error) = self.find_all().await {
            tracing::error!(%error, "cannot read what waits for consent: trying again");
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(STORE_RETRY) => {}
            }
        }
        self.wake(self.parked.of(None)).await;
        self.end_what_is_over().await;
        let mut next_look = Instant::now() + LOOK;
        while !stop.is_stopped() {
            let (now, instant) = ((self.clock)(), Instant::now());
            let due = self.parked.next_due().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
            let next_try = self.services.load().next_try();
            let next = due.map(|wait| instant + wait).into_iter().chain(next_try).fold(next_look, Instant::min);
            if next <= instant {
                self.wake(self.parked.due(now)).await;
                self.try_services().await;
                self.end_what_is_over().await;
                if next_look <= instant {
                    self.look().await;
                    next_look = Instant::now() + LOOK;
                }
                continue;
            }
            tokio::select! {
                () = stop.stopped() => return,
                change = changes.next() => match change {
                    Some(Concerned::Subjects(subjects)) => self.wake_those_of(&subjects).await,
                    Some(Concerned::Anyone) => self.wake(self.parked.of(None)).await,
                    None => return,
                },
                // A service answers again.
                () = self.back.told.notified() => self.wake(self.parked.of(None)).await,
                // It may be due before all others, or wait for a service that is to be tried.
                () = self.parked.more() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
    }

    /// Has one of what waits for a service that is down and due ask it.
    async fn try_services(&self) {
        let (site, services) = (self.site.load_full(), self.services.load_full());
        for destinations in services.to_try(&site, Instant::now()) {
            // What is not being sent to would ask nobody.
            let sent_to = destinations.into_iter().filter(|destination| self.is_sent_to(destination));
            let all = sent_to.flat_map(|destination| self.parked.of(Some(destination)));
            let waiting: Vec<(String, DeliveryId)> =
                all.flat_map(|(name, ids)| ids.into_iter().map(move |id| (name.clone(), id))).collect();
            // Any: one that waits for something else as well does not keep the others from asking.
            let chosen = waiting.choose(&mut rand::rng()).cloned();
            if let Some((destination, id)) = chosen {
                self.reconsider(&destination, vec![id]).await;
            }
        }
    }

    /// Looks again at all that waits at these destinations: they are decided about in another way now.
    pub(in crate::engine) async fn wake_destination(&self, destination: &str) {
        self.wake(self.parked.of(Some(destination))).await;
    }

    /// All deliveries of a store that wait for consent.
    async fn find_all(&self) -> Result<(), StoreError> {
        let mut query = DeliveryQuery { states: vec![State::Held], limit: PAGE, ..DeliveryQuery::default() };
        loop {
            let page = self.store.deliveries(&query).await?;
            for held in page.items.iter().filter(|held| is_parked(held)) {
                self.parked.add(held.id, &held.destination, held.changed, None);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    pub(super) async fn wake_those_of(&self, subjects: &[Lane]) {
        let subjects = self.services.load().identities().widen(subjects);
        let open = loop {
            match self.store.open_deliveries_of(&subjects).await {
                Ok(open) => break open,
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, "cannot read what waits for a consent that has changed: trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        };
        let mut concerned: BTreeMap<String, Vec<DeliveryId>> = BTreeMap::new();
        for id in open {
            if let Ok(Some(delivery)) = self.store.delivery(id).await {
                concerned.entry(delivery.destination).or_default().push(id);
            }
        }
        self.wake(concerned).await;
    }

    async fn wake(&self, concerned: BTreeMap<String, Vec<DeliveryId>>) {
        for (destination, ids) in concerned {
            self.reconsider(&destination, ids).await;
        }
    }

    /// Tells of what waits for too long, once, and gives up what has waited for longer than its destination allows.
    async fn look(&self) {
        let (site, now) = (self.site.load_full(), (self.clock)());
        for config in site.destinations.values() {
            let destination = config.name.as_str();
            let mut waiting = 0_usize;
            for id in self.parked.overdue(destination, config.park_alarm.0, now) {
                match self.store.delivery(id).await {
                    Ok(Some(delivery)) if is_parked(&delivery) => waiting += 1,
                    Ok(_) => self.parked.remove(id),
                    Err(_) => {}
                }
            }
            if waiting > 0 {
                let longer_than = config.park_alarm.0;
                tracing::error!(destination, deliveries = waiting, ?longer_than, "waiting for consent for too long");
            }
            if let Some(most) = config.max_park {
                let expired = self.parked.expired(destination, most.0, now);
                if !expired.is_empty() {
                    self.dispatchers.send(destination, Command::GiveUp(expired)).await;
                }
            }
        }
    }
}
