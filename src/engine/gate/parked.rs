//! What waits for consent: known by its reason, kept with when to look at it again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::store::{DeliveryId, DeliveryRecord, State};

/// How the reason of what waits for consent begins.
pub(in crate::engine) const PARKED: &str = "waits for consent: ";

/// True if a delivery waits for consent, and not for an operator.
pub(in crate::engine) fn is_parked(delivery: &DeliveryRecord) -> bool {
    delivery.state == State::Held && delivery.reason.starts_with(PARKED)
}

/// The deliveries that wait for consent, as far as is known: the store decides.
#[derive(Default)]
pub(super) struct Parked {
    book: Mutex<Book>,
    /// Told of each one that is added.
    added: Notify,
}

#[derive(Default)]
struct Book {
    waiting: HashMap<DeliveryId, Waiting>,
    due: BTreeSet<(Timestamp, DeliveryId)>,
}

struct Waiting {
    destination: String,
    /// Since when it waits for whatever it waits for.
    since: Timestamp,
    until: Option<Timestamp>,
    told: bool,
}

impl Parked {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delivery waits, to be looked at again at `until` if nothing else happens.
    pub(super) fn add(&self, id: DeliveryId, destination: &str, since: Timestamp, until: Option<Timestamp>) {
        let mut book = self.book();
        let (since, told) = book.remove(id).map_or((since, false), |before| (before.since, before.told));
        book.due.extend(until.map(|at| (at, id)));
        book.waiting.insert(id, Waiting { destination: destination.to_owned(), since, until, told });
        drop(book);
        self.added.notify_one();
    }

    /// Waits until one more waits than the last time.
    pub(super) async fn more(&self) {
        self.added.notified().await;
    }

    /// A delivery waits no longer.
    pub(super) fn remove(&self, id: DeliveryId) {
        self.book().remove(id);
    }

    /// Those that are due at `now`, by destination. They stay until they leave.
    pub(super) fn due(&self, now: Timestamp) -> BTreeMap<String, Vec<DeliveryId>> {
        let mut book = self.book();
        let mut due: BTreeMap<String, Vec<DeliveryId>> = BTreeMap::new();
        while let Some((at, id)) = book.due.first().copied().filter(|(at, _)| *at <= now) {
            book.due.remove(&(at, id));
            if let Some(waiting) = book.waiting.get(&id) {
                due.entry(waiting.destination.clone()).or_default().push(id);
            }
        }
        due
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.book().due.first().map(|(at, _)| *at)
    }

    /// All of a destination, or of all where `None`.
    pub(super) fn of(&self, destination: Option<&str>) -> BTreeMap<String, Vec<DeliveryId>> {
        let mut all: BTreeMap<String, Vec<DeliveryId>> = BTreeMap::new();
        for (id, waiting) in &self.book().waiting {
            if destination.is_none_or(|wanted| wanted == waiting.destination) {
                all.entry(waiting.destination.clone()).or_default().push(*id);
            }
        }
        all.values_mut().for_each(|ids| ids.sort_unstable());
        all
    }

    /// Those of `destination` that have waited for longer than `alarm` and were not told of yet.
    pub(super) fn overdue(&self, destination: &str, alarm: Duration, now: Timestamp) -> Vec<DeliveryId> {
        let mut overdue = Vec::new();
        for (id, waiting) in &mut self.book().waiting {
            if waiting.destination == destination && !waiting.told && age(waiting.since, now) >= alarm {
                waiting.told = true;
                overdue.push(*id);
            }
        }
        overdue
    }

    /// Those of `destination` that have waited for longer than `most`.
    pub(super) fn expired(&self, destination: &str, most: Duration, now: Timestamp) -> Vec<DeliveryId> {
        let book = self.book();
        let theirs = book.waiting.iter().filter(|(_, waiting)| waiting.destination == destination);
        theirs.filter(|(_, waiting)| age(waiting.since, now) >= most).map(|(id, _)| *id).collect()
    }
}

impl Book {
    fn remove(&mut self, id: DeliveryId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        waiting.until.into_iter().for_each(|at| _ = self.due.remove(&(at, id)));
        Some(waiting)
    }
}

fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn is_due_when_its_time_comes_and_keeps_its_age() {
        let parked = Parked::default();
        parked.add(7, "a", at(0), Some(at(10)));
        parked.add(8, "a", at(5), None);
        assert_eq!(parked.next_due(), Some(at(10)));
        assert!(parked.due(at(9)).is_empty());
        assert_eq!(parked.due(at(10)), BTreeMap::from([("a".to_owned(), vec![7])]));
        parked.add(7, "a", at(11), Some(at(20)));
        assert_eq!(parked.overdue("a", Duration::from_secs(12), at(12)), [7]);
        assert!(parked.overdue("a", Duration::from_secs(12), at(13)).is_empty(), "told once");
        parked.remove(7);
        assert_eq!(parked.next_due(), None);
        assert_eq!(parked.of(Some("a")), BTreeMap::from([("a".to_owned(), vec![8])]));
    }
    /// Whoever waits for the next hears of one that may be due before it, also if it came a moment ago.
    #[tokio::test]
    async fn tells_that_one_more_waits() {
        let parked = Parked::default();
        parked.add(7, "a", at(0), Some(at(10)));
        parked.more().await;
        let (more, ()) = tokio::join!(async { parked.more().await }, async { parked.add(8, "a", at(0), None) });
        assert_eq!((more, parked.next_due()), ((), Some(at(10))));
    }
}
