//! How everything stands: what `tributary status` shows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Running;
use super::running::Shared;

/// What a dispatcher reports of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// `up`, `down` or `stopped`.
    pub(super) health: &'static str,
    /// Why it is stopped.
    pub(super) reason: Option<String>,
    /// Attempts under way.
    pub(super) in_flight: usize,
    /// Lanes with something waiting or under way, as far as loaded.
    pub(super) lanes: usize,
}

/// How the whole site stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// When.
    pub at: Timestamp,
    /// Messages by state.
    pub messages: BTreeMap<String, u64>,
    /// Every channel.
    pub channels: Vec<ChannelStatus>,
    /// Every destination.
    pub destinations: Vec<DestinationStatus>,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Bytes free on its disk.
    pub free_bytes: u64,
    /// False where only the store was asked: the engine is not running.
    pub running: bool,
}

/// How one channel stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// `open`, `paused`, `disabled`, `broken`, or `stopped` while the engine is not running.
    pub state: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// Where it listens.
    pub address: Option<String>,
    /// Messages accepted, ever.
    pub accepted: u64,
}

/// How one destination stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// Its name.
    pub name: String,
    /// `up`, `down`, `stopped`, or `removed` where the configuration no longer has it.
    pub state: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// Attempts under way.
    pub in_flight: usize,
    /// Lanes with something waiting.
    pub lanes: usize,
    /// Deliveries by state.
    pub deliveries: BTreeMap<String, u64>,
    /// When the oldest queued delivery was created.
    pub oldest_queued: Option<Timestamp>,
}

pub(super) fn collect(shared: &Shared, running: &Running) -> Status {
    let mut status = super::Replayer::status_of_store(&shared.store, (shared.clock)());
    status.running = true;
    let accepted = std::mem::take(&mut status.channels);
    status.channels = running
        .channels
        .iter()
        .map(|(name, channel)| {
            let (state, reason) = channel.state();
            ChannelStatus {
                name: name.clone(),
                state: state.to_owned(),
                reason: reason.map(str::to_owned),
                address: channel.bound(),
                accepted: accepted.iter().find(|counted| counted.name == *name).map_or(0, |counted| counted.accepted),
            }
        })
        .collect();
    for destination in running.destinations.values() {
        let snapshot = destination.snapshot();
        let name = &destination.config().name;
        let known = status.destinations.iter_mut().find(|known| known.name == *name);
        let entry = match known {
            Some(entry) => entry,
            None => {
                status.destinations.push(DestinationStatus::empty(name));
                let Some(entry) = status.destinations.last_mut() else { continue };
                entry
            }
        };
        entry.state = if destination.config().enabled { snapshot.health.to_owned() } else { "disabled".to_owned() };
        entry.reason = snapshot.reason;
        entry.in_flight = snapshot.in_flight;
        entry.lanes = snapshot.lanes;
    }
    status.destinations.sort_by(|a, b| a.name.cmp(&b.name));
    status
}

impl DestinationStatus {
    /// A destination that nothing was ever queued for.
    pub(super) fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: "removed".to_owned(),
            reason: None,
            in_flight: 0,
            lanes: 0,
            deliveries: BTreeMap::new(),
            oldest_queued: None,
        }
    }
}
