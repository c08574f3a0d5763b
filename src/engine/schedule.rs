//! Which delivery may leave next: lanes in order, many at once. Pure: no store, no clock.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use crate::store::{DeliveryId, Lane, LaneSet};

/// One destination's waiting deliveries, as far as they are loaded.
///
/// A delivery may leave when it is due and stands first in all its lanes. Lanes are ordered by
/// delivery id, which is the order in which deliveries were committed, so that a delivery that is
/// released later takes its old place again. A merge stands in the lanes of both patients: it waits
/// for what came before in either, and what comes after waits for it.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: HashMap<DeliveryId, Entry>,
    lanes: HashMap<Lane, BTreeSet<DeliveryId>>,
    /// First in all their lanes and not in flight, by when they are due.
    heads: BTreeSet<(Timestamp, DeliveryId)>,
    /// Lanes with a delivery in flight.
    busy: HashSet<Lane>,
    in_flight: usize,
}

#[derive(Debug)]
struct Entry {
    lanes: LaneSet,
    due: Timestamp,
    /// It waits because the whole destination is down: due at once when that is back.
    down: bool,
    in_flight: bool,
    /// A dead letter that its lanes wait for.
    blocked: bool,
}

impl Schedule {
    /// How many deliveries are loaded, those in flight included.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many may leave at `now`, counted up to `most`.
    #[must_use]
    pub(super) fn ready(&self, now: Timestamp, most: usize) -> usize {
        self.heads.range(..=(now, DeliveryId::MAX)).take(most).count()
    }

    /// How many deliveries are in flight.
    #[must_use]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// True if `id` is being sent right now.
    #[must_use]
    pub(super) fn is_in_flight(&self, id: DeliveryId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.in_flight)
    }

    /// Adds a waiting delivery; one that is there already stays as it is.
    pub(super) fn add(&mut self, id: DeliveryId, lanes: LaneSet, due: Timestamp) {
        if self.entries.contains_key(&id) {
            return;
        }
        let overtaken: Vec<_> =
            lanes.iter().filter_map(|lane| self.first_of(lane)).filter(|first| *first > id).collect();
        for lane in &lanes {
            self.lanes.entry(*lane).or_default().insert(id);
        }
        self.entries.insert(id, Entry { lanes, due, down: false, in_flight: false, blocked: false });
        for other in overtaken {
            self.unlist(other);
        }
        self.list_if_first(id);
    }

    /// The next delivery that may leave at `now`; it is then in flight.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<DeliveryId> {
        let &(due, id) = self.heads.first()?;
        if due > now {
            return None;
        }
        self.fly(id)
    }

    /// The delivery to try a destination with that is down: the head that is due first, be it later
    /// than now. One that failed comes after all others, so that a message which the destination cannot
    /// bear does not keep it down.
    pub(super) fn take_probe(&mut self) -> Option<DeliveryId> {
        let &(_, id) = self.heads.first()?;
        self.fly(id)
    }

    /// When the next delivery is due, if any is not in flight and not behind another.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.heads.first().map(|&(due, _)| due)
    }

    /// It is done with, one way or another: frees its lanes.
    pub(super) fn remove(&mut self, id: DeliveryId) {
        self.unlist(id);
        self.land(id);
        let Some(entry) = self.entries.remove(&id) else { return };
        for lane in &entry.lanes {
            if let Some(ids) = self.lanes.get_mut(lane) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.lanes.remove(lane);
                }
            }
        }
        self.list_first_of(&entry.lanes);
    }

    /// Its attempt failed: it waits until `due` at the head of its lanes.
    pub(super) fn put_back(&mut self, id: DeliveryId, due: Timestamp, down: bool) {
        self.land(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.due = due;
        entry.down = down;
        let lanes = entry.lanes.clone();
        self.list_if_first(id);
        self.list_first_of(&lanes);
    }

    /// It is a dead letter that its lanes wait for: it stays at their head until it is removed.
    pub(super) fn block(&mut self, id: DeliveryId) {
        self.land(id);
        self.unlist(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.blocked = true;
        }
    }

    /// Forgets all dead letters: no lane waits for one.
    pub(super) fn unblock(&mut self) {
        let blocked: Vec<_> = self.entries.iter().filter(|(_, e)| e.blocked).map(|(id, _)| *id).collect();
        blocked.into_iter().for_each(|id| self.remove(id));
    }

    /// The destination is back: whatever waited for that is due at `now`.
    pub(super) fn hasten(&mut self, now: Timestamp) {
        let waiting: Vec<_> = self.entries.iter().filter(|(_, e)| e.down && !e.in_flight).map(|(id, _)| *id).collect();
        for id in waiting {
            self.unlist(id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.due = now.min(entry.due);
                entry.down = false;
            }
            self.list_if_first(id);
        }
    }

    /// Forgets everything that is not in flight.
    pub(super) fn clear_waiting(&mut self) {
        let waiting: Vec<_> = self.entries.iter().filter(|(_, e)| !e.in_flight).map(|(id, _)| *id).collect();
        for id in waiting {
            self.remove(id);
        }
    }

    /// How many lanes have something waiting or in flight.
    #[must_use]
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    fn fly(&mut self, id: DeliveryId) -> Option<DeliveryId> {
        self.unlist(id);
        let entry = self.entries.get_mut(&id)?;
        entry.in_flight = true;
        self.in_flight += 1;
        self.busy.extend(entry.lanes.iter().copied());
        Some(id)
    }

    fn land(&mut self, id: DeliveryId) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.in_flight) else { return };
        entry.in_flight = false;
        self.in_flight -= 1;
        for lane in &entry.lanes {
            self.busy.remove(lane);
        }
    }

    fn list_first_of(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            if let Some(first) = self.first_of(lane) {
                self.list_if_first(first);
            }
        }
    }

    fn first_of(&self, lane: &Lane) -> Option<DeliveryId> {
        self.lanes.get(lane)?.first().copied()
    }

    fn unlist(&mut self, id: DeliveryId) {
        if let Some(entry) = self.entries.get(&id) {
            self.heads.remove(&(entry.due, id));
        }
    }

    fn list_if_first(&mut self, id: DeliveryId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let may_leave = |lane: &Lane| self.first_of(lane) == Some(id) && !self.busy.contains(lane);
        if !entry.in_flight && !entry.blocked && entry.lanes.iter().all(may_leave) {
            self.heads.insert((entry.due, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const ADA: Lane = [1; 16];
    const BEN: Lane = [2; 16];

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn schedule(entries: &[(DeliveryId, &[Lane])]) -> Schedule {
        let mut schedule = Schedule::default();
        for (id, lanes) in entries {
            schedule.add(*id, lanes.to_vec(), NOW);
        }
        schedule
    }

    fn take_all(schedule: &mut Schedule, now: Timestamp) -> Vec<DeliveryId> {
        std::iter::from_fn(|| schedule.take(now)).collect()
    }

    #[test]
    fn one_of_a_lane_leaves_at_a_time_in_order() {
        let mut schedule = schedule(&[(1, &[ADA]), (2, &[ADA]), (3, &[BEN])]);
        assert_eq!(take_all(&mut schedule, NOW), [1, 3]);
        schedule.remove(1);
        assert_eq!(take_all(&mut schedule, NOW), [2]);
    }

    #[test]
    fn deliveries_without_a_lane_wait_for_nobody() {
        assert_eq!(take_all(&mut schedule(&[(1, &[]), (2, &[]), (3, &[])]), NOW), [1, 2, 3]);
    }

    #[test]
    fn a_merge_waits_for_both_lanes_and_both_wait_for_it() {
        let mut schedule = schedule(&[(1, &[ADA]), (2, &[BEN]), (3, &[ADA, BEN]), (4, &[BEN]), (5, &[ADA])]);
        assert_eq!(take_all(&mut schedule, NOW), [1, 2]);
        schedule.remove(1);
        assert!(take_all(&mut schedule, NOW).is_empty());
        schedule.remove(2);
        assert_eq!(take_all(&mut schedule, NOW), [3]);
        schedule.remove(3);
        assert_eq!(take_all(&mut schedule, NOW), [4, 5]);
    }

    #[test]
    fn a_failed_attempt_keeps_its_place_and_its_lane_waits() {
        let mut schedule = schedule(&[(1, &[ADA]), (2, &[ADA])]);
        assert_eq!(schedule.take(NOW), Some(1));
        schedule.put_back(1, later(10), false);
        assert!(take_all(&mut schedule, later(9)).is_empty());
        assert_eq!(schedule.next_due(), Some(later(10)));
        assert_eq!(take_all(&mut schedule, later(10)), [1]);
    }

    #[test]
    fn a_released_delivery_takes_its_old_place() {
        let mut schedule = schedule(&[(2, &[ADA]), (3, &[ADA])]);
        schedule.add(1, vec![ADA], NOW);
        assert_eq!(take_all(&mut schedule, NOW), [1]);
        schedule.remove(1);
        assert_eq!(take_all(&mut schedule, NOW), [2]);
    }

    #[test]
    fn a_released_delivery_waits_for_the_one_in_flight() {
        let mut schedule = schedule(&[(2, &[ADA]), (3, &[ADA])]);
        assert_eq!(schedule.take(NOW), Some(2));
        schedule.add(1, vec![ADA], NOW);
        assert!(take_all(&mut schedule, NOW).is_empty());
        schedule.put_back(2, NOW, false);
        assert_eq!(take_all(&mut schedule, NOW), [1]);
    }

    #[test]
    fn what_waited_for_the_destination_is_due_when_it_is_back() {
        let mut schedule = schedule(&[(1, &[ADA]), (2, &[BEN])]);
        assert_eq!(take_all(&mut schedule, NOW), [1, 2]);
        schedule.put_back(1, later(100), true);
        schedule.put_back(2, later(100), false);
        schedule.hasten(later(1));
        assert_eq!(take_all(&mut schedule, later(1)), [1]);
    }

    #[test]
    fn a_dead_letter_blocks_its_lane_until_it_is_removed() {
        let mut schedule = schedule(&[(1, &[ADA]), (2, &[ADA]), (3, &[BEN])]);
        assert_eq!(schedule.take(NOW), Some(1));
        schedule.block(1);
        assert_eq!(take_all(&mut schedule, NOW), [3]);
        schedule.remove(1);
        assert_eq!(take_all(&mut schedule, NOW), [2]);
    }

    #[test]
    fn a_probe_is_another_head_each_time_due_or_not() {
        let mut schedule = Schedule::default();
        schedule.add(5, vec![BEN], later(20));
        schedule.add(1, vec![ADA], later(10));
        schedule.add(2, vec![ADA], NOW);
        assert_eq!(schedule.take_probe(), Some(1));
        schedule.put_back(1, later(30), true);
        assert_eq!(schedule.take_probe(), Some(5));
    }

    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// Whatever is added, taken, failed and removed: no two deliveries of a lane fly at once,
            /// they leave by rising id, and all leave in the end.
            #[test]
            fn lanes_keep_their_order(
                lanes in proptest::collection::vec(proptest::collection::btree_set(0u8..5, 0..3), 1..40),
                choices in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..400),
            ) {
                let mut schedule = Schedule::default();
                for (id, lanes) in lanes.iter().enumerate() {
                    schedule.add(id as DeliveryId, lanes.iter().map(|l| [*l; 16]).collect(), NOW);
                }
                let mut flying: Vec<DeliveryId> = Vec::new();
                let mut done: Vec<DeliveryId> = Vec::new();
                let mut choices = choices.into_iter();
                while done.len() < lanes.len() {
                    while let Some(id) = schedule.take(NOW) {
                        for other in &flying {
                            prop_assert!(lanes[*other as usize].is_disjoint(&lanes[id as usize]));
                        }
                        flying.push(id);
                    }
                    prop_assert!(!flying.is_empty());
                    let (fail, index) = choices.next().map_or((false, 0), |(fail, i)| (fail, i.index(flying.len())));
                    let id = flying.remove(index);
                    if fail {
                        schedule.put_back(id, NOW, false);
                        continue;
                    }
                    schedule.remove(id);
                    for earlier in done.iter().filter(|earlier| **earlier > id) {
                        prop_assert!(lanes[*earlier as usize].is_disjoint(&lanes[id as usize]));
                    }
                    done.push(id);
                }
                prop_assert!(schedule.len() == 0 && schedule.lanes() == 0 && schedule.in_flight() == 0);
            }
        }
    }
}
