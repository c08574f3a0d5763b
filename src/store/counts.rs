//! How many messages and deliveries are in which state: kept with the index, read without touching it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::index::Index;
use super::keys::{self, Key};
use super::record::{DestinationId, State};

/// How many messages and deliveries are in which state, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages by channel and state. All states of a channel together are what it accepted and the
    /// store still has.
    pub messages: BTreeMap<String, BTreeMap<State, u64>>,
    /// Messages that retention has dropped, by channel, since the index was last rebuilt.
    pub dropped: BTreeMap<String, u64>,
    /// Deliveries by destination and state.
    pub deliveries: BTreeMap<DestinationId, BTreeMap<State, u64>>,
    /// When the oldest queued delivery of each destination was created; up to a second late.
    pub oldest: BTreeMap<DestinationId, Timestamp>,
    /// Bytes of the log's segments, in use and spare.
    pub log_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Bytes free on the disk.
    pub free_bytes: u64,
}

impl Counts {
    /// All messages that were accepted and are still in the store, by channel.
    #[must_use]
    pub fn accepted(&self, channel: &str) -> u64 {
        self.messages.get(channel).map_or(0, |states| states.values().sum())
    }

    /// Messages in `state`, of all channels.
    #[must_use]
    pub fn in_state(&self, state: State) -> u64 {
        self.messages.values().filter_map(|states| states.get(&state)).sum()
    }

    /// Deliveries to `destination` in `state`.
    #[must_use]
    pub fn at(&self, destination: &str, state: State) -> u64 {
        self.deliveries.get(destination).and_then(|states| states.get(&state)).copied().unwrap_or(0)
    }
}

/// The counts as the index has them.
#[derive(Default)]
pub(super) struct Tallies {
    counts: Mutex<HashMap<Key, u64>>,
    rest: Mutex<Rest>,
}

/// What is looked up now and then.
#[derive(Clone, Default)]
pub(super) struct Rest {
    pub(super) oldest: BTreeMap<DestinationId, Timestamp>,
    pub(super) log_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) free_bytes: u64,
}

impl Tallies {
    /// Reads them from the index.
    pub(super) fn load(index: &Index) -> Result<Self, StoreError> {
        let tallies = Self::default();
        let mut counts = HashMap::new();
        for entry in index.prefix(b"N") {
            let (key, value) = entry?;
            counts.insert(Key::from(key), keys::number(&value));
        }
        tallies.set(counts.into_iter().collect());
        Ok(tallies)
    }

    /// The counts that `deltas` change, as they will be.
    pub(super) fn changed(&self, deltas: &HashMap<Key, i64>) -> Vec<(Key, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = deltas.iter().filter(|(_, by)| **by != 0).map(|(key, by)| {
            let before = counts.get(key).copied().unwrap_or(0);
            (key.clone(), before.saturating_add_signed(*by))
        });
        new.collect()
    }

    /// Takes over what was written.
    pub(super) fn set(&self, new: Vec<(Key, u64)>) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
    }

    pub(super) fn set_rest(&self, change: impl FnOnce(&mut Rest)) {
        change(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).free_bytes
    }

    /// Channels that messages were counted for, or destinations that deliveries were.
    pub(super) fn names(&self, kind: u8) -> Vec<String> {
        let snapshot = self.snapshot();
        match kind {
            b'm' => snapshot.messages.into_keys().collect(),
            _ => snapshot.deliveries.into_keys().collect(),
        }
    }

    pub(super) fn snapshot(&self) -> Counts {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut counts = Counts {
            oldest: rest.oldest,
            log_bytes: rest.log_bytes,
            index_bytes: rest.index_bytes,
            free_bytes: rest.free_bytes,
            ..Counts::default()
        };
        for (key, count) in &*self.counts.lock().unwrap_or_else(PoisonError::into_inner) {
            let Some((kind, name, state)) = read_key(key) else { continue };
            match kind {
                b'm' => _ = counts.messages.entry(name).or_default().insert(state, *count),
                b'd' => _ = counts.deliveries.entry(name).or_default().insert(state, *count),
                _ => _ = counts.dropped.insert(name, *count),
            }
        }
        counts
    }
}

fn read_key(key: &[u8]) -> Option<(u8, String, State)> {
    let (kind, rest) = key.get(1..)?.split_first()?;
    let (state, name) = rest.split_last()?;
    let name = name.strip_suffix(&[0])?;
    Some((*kind, String::from_utf8_lossy(name).into_owned(), keys::state_of(*state)?))
}
