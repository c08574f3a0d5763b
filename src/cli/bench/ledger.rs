//! The account: which message was sent, acknowledged and delivered, when, how often, and in which order.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::latency::Latencies;

/// Every message of a run, by its number.
pub(super) struct Ledger {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// The last message of each patient that arrived.
    last: HashMap<u32, u64>,
    out_of_order: u64,
    strangers: u64,
    delivered: u64,
    acknowledged: u64,
    last_arrival: Option<Instant>,
}

/// One message. Times are microseconds since the ledger began.
#[derive(Clone, Copy, Default)]
struct Entry {
    patient: u32,
    sent: u32,
    arrived: u32,
    acknowledged: bool,
    times: u16,
}

/// What became of the messages of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Account {
    /// Acknowledged with AA.
    pub(super) accepted: u64,
    /// Of those, arrived.
    pub(super) delivered: u64,
    /// Arrivals beyond a message's first.
    pub(super) duplicated: u64,
    /// Arrivals behind a later message of the same patient.
    pub(super) out_of_order: u64,
    /// Acknowledged and never arrived: must be 0.
    pub(super) lost: u64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), state: Mutex::default() }
    }

    /// A new message of `patient` is about to be sent: its number.
    pub(super) fn begin(&self, patient: u32) -> u64 {
        let sent = self.now();
        let mut state = self.locked();
        state.entries.push(Entry { patient, sent, ..Entry::default() });
        state.entries.len() as u64 - 1
    }

    /// Message `number` was acknowledged.
    pub(super) fn acknowledge(&self, number: u64) {
        let mut state = self.locked();
        if let Some(entry) = state.entry(number) {
            entry.acknowledged = true;
            state.acknowledged += 1;
        }
    }

    /// Message `number` arrived at the destination.
    pub(super) fn arrive(&self, number: Option<u64>) {
        let now = self.now();
        let mut state = self.locked();
        state.last_arrival = Some(Instant::now());
        let Some((number, entry)) = number.and_then(|number| Some((number, state.entry(number)?))) else {
            state.strangers += 1;
            return;
        };
        entry.times = entry.times.saturating_add(1);
        let patient = entry.patient;
        if entry.times == 1 {
            entry.arrived = now;
            state.delivered += 1;
        }
        let last = state.last.entry(patient).or_insert(number);
        let overtaken = *last > number;
        *last = number.max(*last);
        state.out_of_order += u64::from(overtaken);
    }

    /// How many were acknowledged, and how many arrived.
    pub(super) fn progress(&self) -> (u64, u64) {
        let state = self.locked();
        (state.acknowledged, state.delivered)
    }

    /// How many messages were begun.
    pub(super) fn begun(&self) -> u64 {
        self.locked().entries.len() as u64
    }

    /// When the last one arrived.
    pub(super) fn last_arrival(&self) -> Option<Instant> {
        self.locked().last_arrival
    }

    /// True once everything that was acknowledged has arrived.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.locked();
        state.delivered >= state.acknowledged
            && state.entries.iter().all(|entry| !entry.acknowledged || entry.times > 0)
    }

    /// What became of all messages.
    pub(super) fn account(&self) -> Account {
        let state = self.locked();
        let mut account = Account { out_of_order: state.out_of_order + state.strangers, ..Account::default() };
        for entry in &state.entries {
            account.accepted += u64::from(entry.acknowledged);
            account.delivered += u64::from(entry.acknowledged && entry.times > 0);
            account.duplicated += u64::from(entry.times.saturating_sub(1));
        }
        account.lost = account.accepted - account.delivered;
        account
    }

    /// From sending to arrival, of the messages from `first` on.
    pub(super) fn latencies(&self, first: u64) -> Latencies {
        let state = self.locked();
        let skipped = usize::try_from(first).unwrap_or(usize::MAX);
        let arrived = state.entries.iter().skip(skipped).filter(|entry| entry.times > 0);
        arrived.map(|entry| Duration::from_micros(u64::from(entry.arrived.saturating_sub(entry.sent)))).collect()
    }

    fn now(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_micros()).unwrap_or(u32::MAX)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as many messages of one patient, and lets these arrive, all of them acknowledged.
    #[track_caller]
    fn check(sent: u64, arrivals: &[u64], expected: Account) {
        let ledger = Ledger::new();
        for number in 0..sent {
            assert_eq!(ledger.begin(7), number);
            ledger.acknowledge(number);
        }
        arrivals.iter().for_each(|number| ledger.arrive(Some(*number)));
        assert_eq!(ledger.account(), expected);
        assert_eq!(ledger.is_settled(), expected.lost == 0);
    }

    #[test]
    fn a_good_run_balances() {
        check(3, &[0, 1, 2], Account { accepted: 3, delivered: 3, ..Account::default() });
    }

    #[test]
    fn what_never_arrives_is_lost() {
        check(2, &[1], Account { accepted: 2, delivered: 1, lost: 1, ..Account::default() });
    }

    #[test]
    fn what_comes_twice_is_a_duplicate_and_in_order_if_nothing_was_between() {
        check(2, &[0, 0, 1], Account { accepted: 2, delivered: 2, duplicated: 1, ..Account::default() });
    }

    #[test]
    fn what_comes_behind_a_later_one_is_out_of_order() {
        check(2, &[1, 0], Account { accepted: 2, delivered: 2, out_of_order: 1, ..Account::default() });
    }
}
