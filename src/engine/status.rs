//! How everything stands: what `tributary status` shows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Running;
use super::gate::ServiceStatus;
use super::running::Shared;
use crate::audit::AuditStatus;
use crate::config::Site;
use crate::store::{State, Store, StoreError};

/// The configuration says that it does not start.
const DISABLED: &str = "disabled";
/// The audit cannot be written.
const WAITING: &str = "waiting";
/// The configuration no longer has it.
const REMOVED: &str = "removed";

/// What a dispatcher reports of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// `up`, `down` or `stopped`.
    pub(super) health: &'static str,
    /// Why it is down or stopped.
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
    /// Every service that is asked before something leaves.
    #[serde(default)]
    pub services: Vec<ServiceStatus>,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Bytes free on its disk.
    pub free_bytes: u64,
    /// False where only the store was asked: the engine is not running.
    pub running: bool,
    /// True while something is drained and exchanged (a reload, a pause): channels and destinations are
    /// told of as they were before that.
    #[serde(default)]
    pub exchanging: bool,
    /// How the audit stands; `None` where no engine runs.
    #[serde(default)]
    pub audit: Option<AuditStatus>,
}

/// How one channel stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// `open`, `paused`, `disabled`, `broken`; `offline` while no engine runs, or `removed` where the
    /// configuration no longer has it.
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
    /// `up`, `down`, `stopped`, `disabled`, or `waiting` while the audit cannot be written; `offline` while no engine runs, or `removed` where the
    /// configuration no longer has it.
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

/// How a running site stands.
pub(super) fn collect(shared: &Shared, running: &Running) -> Status {
    let mut status = of_store(&shared.store, (shared.clock)());
    status.running = true;
    status.services = shared.gate.services();
    for (name, channel) in &running.channels {
        let (state, reason) = channel.state();
        let Some(entry) = entry(&mut status.channels, name) else { continue };
        entry.state = state.to_owned();
        entry.reason = reason.map(str::to_owned);
        entry.address = channel.bound();
    }
    for destination in running.destinations.values() {
        let snapshot = destination.snapshot();
        let Some(entry) = entry(&mut status.destinations, &destination.config().name) else { continue };
        entry.state = if destination.config().enabled { snapshot.health.to_owned() } else { DISABLED.to_owned() };
        entry.reason = snapshot.reason;
        entry.in_flight = snapshot.in_flight;
        entry.lanes = snapshot.lanes;
    }
    wait_for_audit(&mut status, shared);
    status
}

/// How a running site stands whose parts cannot be asked now: the counts of now, the rest as `before`.
pub(super) fn recount(shared: &Shared, before: &Status) -> Status {
    let mut status = of_store(&shared.store, (shared.clock)());
    (status.running, status.exchanging) = (true, true);
    status.services = shared.gate.services();
    for known in &before.channels {
        let Some(entry) = entry(&mut status.channels, &known.name) else { continue };
        *entry = ChannelStatus { accepted: entry.accepted, ..known.clone() };
    }
    for known in &before.destinations {
        let Some(entry) = entry(&mut status.destinations, &known.name) else { continue };
        let (deliveries, oldest_queued) = (std::mem::take(&mut entry.deliveries), entry.oldest_queued);
        *entry = DestinationStatus { deliveries, oldest_queued, ..known.clone() };
    }
    wait_for_audit(&mut status, shared);
    status
}

/// Nothing leaves that cannot be audited: what would be sent to waits.
fn wait_for_audit(status: &mut Status, shared: &Shared) {
    let Some(why) = shared.audit.hindrance() else { return };
    let sent_to = |state: &str| ![DISABLED, REMOVED, "stopped"].contains(&state);
    for entry in status.destinations.iter_mut().filter(|entry| sent_to(&entry.state)) {
        (entry.state, entry.reason) = (WAITING.to_owned(), Some(why.clone()));
    }
}

/// How a site stands that no engine runs, by its store.
///
/// # Errors
///
/// [`StoreError`] if it cannot be read.
pub async fn offline(store: &Store, site: &Site, at: Timestamp) -> Result<Status, StoreError> {
    let mut status = of_store(store, at);
    for config in site.channels.values() {
        let paused = store.setting(&super::paused_channel_key(&config.name)).await?;
        let Some(entry) = entry(&mut status.channels, &config.name) else { continue };
        entry.state = offline_state(config.enabled, paused.as_ref().map(|_| "paused")).to_owned();
        entry.reason = paused;
    }
    for config in site.destinations.values() {
        let paused = store.setting(&super::paused_key(&config.name)).await?;
        let Some(entry) = entry(&mut status.destinations, &config.name) else { continue };
        entry.state = offline_state(config.enabled, paused.as_ref().map(|_| "stopped")).to_owned();
        entry.reason = paused;
    }
    Ok(status)
}

fn offline_state(enabled: bool, paused: Option<&'static str>) -> &'static str {
    match paused {
        Some(paused) => paused,
        None if enabled => "offline",
        None => DISABLED,
    }
}

/// What a store holds; as if the configuration had nothing of it.
fn of_store(store: &Store, at: Timestamp) -> Status {
    let counts = store.counts();
    let channels = counts
        .messages
        .keys()
        .map(|name| ChannelStatus { accepted: counts.accepted(name), ..ChannelStatus::empty(name) });
    let destinations = counts.deliveries.iter().map(|(name, states)| DestinationStatus {
        deliveries: states.iter().map(|(state, n)| (state.as_str().to_owned(), *n)).collect(),
        oldest_queued: counts.oldest.get(name).copied(),
        ..DestinationStatus::empty(name)
    });
    let in_state = |state: State| (state.as_str().to_owned(), counts.in_state(state));
    Status {
        at,
        messages: State::ALL.into_iter().map(in_state).filter(|(_, n)| *n > 0).collect(),
        channels: channels.collect(),
        destinations: destinations.collect(),
        services: Vec::new(),
        log_bytes: counts.log_bytes,
        free_bytes: counts.free_bytes,
        running: false,
        exchanging: false,
        audit: None,
    }
}

/// What has a name, and can be there with nothing in it.
trait Named {
    fn name(&self) -> &str;
    fn empty(name: &str) -> Self;
}

/// The entry of a name, made in its place where there is none.
fn entry<'a, T: Named>(all: &'a mut Vec<T>, name: &str) -> Option<&'a mut T> {
    let place = all.partition_point(|entry| entry.name() < name);
    if all.get(place).is_none_or(|entry| entry.name() != name) {
        all.insert(place, T::empty(name));
    }
    all.get_mut(place)
}

impl Named for ChannelStatus {
    fn name(&self) -> &str {
        &self.name
    }

    /// A channel that nothing ever came by.
    fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), state: REMOVED.to_owned(), reason: None, address: None, accepted: 0 }
    }
}

impl Named for DestinationStatus {
    fn name(&self) -> &str {
        &self.name
    }

    /// A destination that nothing was ever queued for.
    fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: REMOVED.to_owned(),
            reason: None,
            in_flight: 0,
            lanes: 0,
            deliveries: BTreeMap::new(),
            oldest_queued: None,
        }
    }
}
