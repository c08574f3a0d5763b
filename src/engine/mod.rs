//! The engine: what a site's configuration says, running.
//!
//! [`Engine::start`] opens every destination, then every channel's pipeline, then the feeds.
//! A message comes in by an [`intake`](self), is stored, goes through its channel's pipeline
//! (pure, see [`process`]) into the queue, and leaves by its destination's dispatcher. After a
//! crash each part begins again from the store.

mod attempt;
mod beside;
pub mod clock;
mod dispatch;
mod gate;
mod health;
mod intake;
mod late;
mod limits;
mod logins;
mod metrics;
mod pace;
mod patient;
mod pipeline;
mod process;
mod quiet;
mod replay;
mod retry;
mod running;
mod schedule;
mod settle;
mod signed;
mod status;
mod steady;
mod task;
mod trial;
mod valid;
mod waiters;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use channels::Clock;
use tokio::sync::{Mutex, oneshot};

pub use dispatch::{Change, Refusal};
pub use gate::{Declaration, Explained, FiledConsent, Hindsight, ServiceStatus, Simulated, SimulatedChange, policy_of};
pub(crate) use gate::{Gate, Made};
pub use metrics::Metrics;
pub(crate) use process::SEVERAL;
pub use replay::{
    Difference, Differences, ReplayError, ReplayProgress, ReplayRequest, ReplayState, Replayer, cancel, jobs,
};
pub use settle::{deliveries_of, last_answer};
pub use status::{ChannelStatus, DestinationStatus, Status, offline as offline_status};
pub use trial::{Difference as TestDifference, RowsRun, Verdict, rows_run, run_tests};
pub use wire::{ENGINE, WireError, outbound};

use self::dispatch::Command;
use self::running::{RunningChannel, RunningDestination, Shared};
use self::task::Task;
use crate::audit::Standing;
use crate::config::Site;
use crate::store::{DeliveryId, Record, Store, StoreError};

/// Under which name the store remembers that a destination is stopped.
fn paused_key(destination: &str) -> String {
    format!("paused/destination/{destination}")
}

/// Under which name the store remembers that a channel is paused.
fn paused_channel_key(channel: &str) -> String {
    format!("paused/channel/{channel}")
}

/// A running site.
pub struct Engine {
    shared: Shared,
    running: Mutex<Running>,
    replays: replay::Jobs,
    /// What wakes those that wait for consent.
    watch: Mutex<Option<Task>>,
    /// What tells of failed logins.
    logins: Mutex<Option<Task>>,
    /// How everything stood when that was last looked at.
    known: std::sync::Mutex<Status>,
}

/// How long a question waits for parts that are being exchanged.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);

struct Running {
    site: Arc<Site>,
    channels: BTreeMap<String, RunningChannel>,
    destinations: BTreeMap<String, RunningDestination>,
}

/// Why an operator's request could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No channel, destination or delivery of that name.
    #[error("there is no {kind} `{name}`{hint}")]
    NotFound {
        /// `channel` or `destination`.
        kind: &'static str,
        /// The name.
        name: String,
        /// `; did you mean …?`, or empty.
        hint: String,
    },
    /// A delivery could not be changed.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// Something of the site could not be built.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A channel's own tests fail with what is to be put into force.
    #[error("{0}")]
    Tests(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine is stopping.
    #[error("the engine is stopping")]
    Stopping,
}

/// What a reload did to one channel or destination.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Reloaded {
    /// `channel` or `destination`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `added`, `changed`, `removed` or `unchanged`.
    pub change: String,
    /// Why the new one did not start; the old one is then running again.
    pub error: Option<String>,
}

impl Engine {
    /// Starts a site on an open store.
    ///
    /// # Errors
    ///
    /// The first thing that could not be built or opened; nothing is left running then.
    pub async fn start(site: Site, store: Store, clock: Clock) -> Result<Arc<Self>, EngineError> {
        let hasher = store.clone();
        let hash: process::Hash = Arc::new(move |bytes| hasher.keyed_hash(bytes));
        let site = Arc::new(site);
        let gate = Arc::new(Gate::open(&store, &clock, &hash, Arc::clone(&site)).await?);
        let changes = store.consent_changes();
        let logins = Arc::new(logins::Logins::new(store.clone(), Arc::clone(&clock)));
        let shared = Shared {
            hash,
            logins,
            store,
            gate,
            clock,
            metrics: Arc::default(),
            limits: limits::Limits::new(&site.engine.limits),
            waiters: Arc::default(),
            wakers: Arc::default(),
            latest: Arc::default(),
            audit: Arc::default(),
        };
        let mut running = Running { site: Arc::clone(&site), channels: BTreeMap::new(), destinations: BTreeMap::new() };
        for config in site.destinations.values() {
            let destination = RunningDestination::start(&shared, config).await?;
            running.destinations.insert(config.name.clone(), destination);
        }
        for config in site.channels.values() {
            let channel = RunningChannel::start(&shared, &site, config).await?;
            running.channels.insert(config.name.clone(), channel);
        }
        for channel in running.channels.values_mut() {
            channel.open(&shared).await?;
        }
        let known = std::sync::Mutex::new(status::collect(&shared, &running));
        let gate = Arc::clone(&shared.gate);
        let watch = Mutex::new(Some(Task::run(|stop| gate.watch(changes, stop))));
        let logins = Arc::clone(&shared.logins);
        let logins = Mutex::new(Some(Task::run(|stop| async move { logins.run(stop).await })));
        let running = Mutex::new(running);
        let engine = Arc::new(Self { shared, running, replays: replay::Jobs::default(), watch, logins, known });
        engine.resume_replays().await?;
        Ok(engine)
    }

    /// The store that it runs on.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// How its audit stands.
    #[must_use]
    pub fn audit(&self) -> &Arc<Standing> {
        &self.shared.audit
    }

    /// The configuration in force.
    pub async fn site(&self) -> Arc<Site> {
        Arc::clone(&self.running.lock().await.site)
    }

    /// Where each channel listens.
    pub async fn bound(&self) -> BTreeMap<String, String> {
        let running = self.running.lock().await;
        let bound = running.channels.iter().filter_map(|(name, channel)| Some((name.clone(), channel.bound()?)));
        bound.collect()
    }

    /// How everything stands. While something is drained and exchanged, which may take a while, the parts
    /// are told of as they were before.
    pub async fn status(&self) -> Status {
        let running = tokio::time::timeout(STATUS_PATIENCE, self.running.lock()).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match running {
            Ok(running) => *known = status::collect(&self.shared, &running),
            Err(_) => *known = status::recount(&self.shared, &known),
        }
        known.audit = Some(self.shared.audit.status());
        known.clone()
    }

    /// Stops reading, finishes what is in hand within `grace`, and leaves the rest to the store.
    pub async fn stop(&self, grace: Duration) {
        // In the direction of the flow: what comes in last still goes as far as it can. All within one grace.
        let deadline = tokio::time::Instant::now() + grace;
        let left = || deadline.saturating_duration_since(tokio::time::Instant::now());
        // A replay asks for what is running: it must have ended before that is taken.
        self.replays.stop(left()).await;
        if let Some(watch) = self.watch.lock().await.take() {
            watch.end(left()).await;
        }
        let mut running = self.running.lock().await;
        let Running { channels, destinations, .. } = &mut *running;
        futures_util::future::join_all(channels.values_mut().map(|channel| channel.close(left()))).await;
        futures_util::future::join_all(std::mem::take(channels).into_values().map(|channel| channel.stop(left())))
            .await;
        if let Some(logins) = self.logins.lock().await.take() {
            logins.end(left()).await;
        }
        let dispatchers = std::mem::take(destinations).into_values();
        futures_util::future::join_all(dispatchers.map(|destination| destination.stop(left()))).await;
        if let Err(error) = self.shared.store.checkpoint().await {
            tracing::warn!(%error, "no checkpoint at the end: the next start replays a little more of the log");
        }
    }

    /// Puts a new configuration into force: everything is built first, then each channel and
    /// destination that changed is exchanged for itself; one that does not start is rolled back.
    ///
    /// # Errors
    ///
    /// [`EngineError::Wire`] if something cannot be built: then nothing has changed.
    pub async fn reload(&self, site: Site) -> Result<Vec<Reloaded>, EngineError> {
        let mut running = self.running.lock().await;
        running::reload(&self.shared, &mut running, Arc::new(site)).await
    }

    /// Stops a channel's feed until resumed, over restarts. What was accepted goes on.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotFound`]; [`EngineError::Store`] if it could not be remembered.
    pub async fn pause_channel(&self, name: &str, reason: String) -> Result<(), EngineError> {
        let mut running = self.running.lock().await;
        let channel = find(&mut running.channels, "channel", name)?;
        remember(&self.shared.store, paused_channel_key(name), Some(reason.clone())).await?;
        channel.pause(reason).await;
        Ok(())
    }

    /// Opens a channel's feed again.
    ///
    /// # Errors
    ///
    /// As [`Engine::pause_channel`], and [`EngineError::Wire`] if it cannot be opened.
    pub async fn resume_channel(&self, name: &str) -> Result<(), EngineError> {
        let mut running = self.running.lock().await;
        let channel = find(&mut running.channels, "channel", name)?;
        remember(&self.shared.store, paused_channel_key(name), None).await?;
        channel.resume();
        channel.open(&self.shared).await
    }

    /// Stops sending to a destination until resumed, over restarts.
    ///
    /// # Errors
    ///
    /// As [`Engine::pause_channel`].
    pub async fn pause_destination(&self, name: &str, reason: String) -> Result<(), EngineError> {
        let mut running = self.running.lock().await;
        let destination = find(&mut running.destinations, "destination", name)?;
        remember(&self.shared.store, paused_key(name), Some(reason.clone())).await?;
        destination.command(Command::Pause(reason)).await
    }

    /// Goes on sending to a destination, at once and from the beginning of every backoff.
    ///
    /// # Errors
    ///
    /// As [`Engine::pause_channel`].
    pub async fn resume_destination(&self, name: &str) -> Result<(), EngineError> {
        let mut running = self.running.lock().await;
        let destination = find(&mut running.destinations, "destination", name)?;
        remember(&self.shared.store, paused_key(name), None).await?;
        destination.command(Command::Resume).await
    }

    /// Holds, releases or skips one delivery.
    ///
    /// # Errors
    ///
    /// [`EngineError::Refusal`] where its state does not allow that.
    pub async fn change_delivery(&self, change: Change, id: DeliveryId, reason: String) -> Result<(), EngineError> {
        let delivery = self.shared.store.delivery(id).await?.ok_or(Refusal::Unknown(id))?;
        let (reply, answer) = oneshot::channel();
        {
            let mut running = self.running.lock().await;
            let destination = find(&mut running.destinations, "destination", &delivery.destination)?;
            destination.command(Command::Change(change, id, reason, reply)).await?;
        }
        Ok(answer.await.map_err(|_| EngineError::Stopping)??)
    }

    /// Tells destinations that a replay has put deliveries of a message in place of others.
    async fn replaced(&self, replaced: BTreeMap<String, Vec<DeliveryId>>) {
        let mut running = self.running.lock().await;
        for (destination, ids) in replaced {
            if let Some(destination) = running.destinations.get_mut(&destination) {
                // A destination that is stopping reads the store afresh when it starts.
                drop(destination.command(Command::Forget(ids)).await);
            }
        }
    }

    /// What consent is decided by.
    pub(crate) fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// Declares an emergency: a named person opens one patient's record to one destination.
    ///
    /// # Errors
    ///
    /// [`EngineError::Store`] if it cannot be written down: then it does not hold.
    pub async fn declare(&self, declaration: Declaration) -> Result<(), EngineError> {
        Ok(self.shared.gate.declare(declaration).await?)
    }

    /// Tells destinations that there may be something new for them.
    fn wake_all(&self, destinations: impl Iterator<Item = String>) {
        destinations.for_each(|destination| self.shared.wakers.of(&destination).notify_one());
    }
}

fn find<'a, T>(all: &'a mut BTreeMap<String, T>, kind: &'static str, name: &str) -> Result<&'a mut T, EngineError> {
    let unknown = unknown(kind, name, all.keys());
    all.get_mut(name).ok_or(unknown)
}

/// There is no such channel or destination; the nearest name may be meant.
pub(crate) fn unknown<'a>(kind: &'static str, name: &str, all: impl Iterator<Item = &'a String>) -> EngineError {
    let nearest = all.max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    let hint = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
    EngineError::NotFound { kind, name: name.to_owned(), hint }
}

/// Pauses (with a reason) or resumes a channel on a store that no engine has open.
///
/// # Errors
///
/// [`StoreError`] if it cannot be written.
pub async fn remember_channel(store: &Store, name: &str, paused: Option<String>) -> Result<(), StoreError> {
    remember(store, paused_channel_key(name), paused).await
}

/// Pauses (with a reason) or resumes a destination on a store that no engine has open.
///
/// # Errors
///
/// [`StoreError`] if it cannot be written.
pub async fn remember_destination(store: &Store, name: &str, paused: Option<String>) -> Result<(), StoreError> {
    remember(store, paused_key(name), paused).await
}

/// A gate on a store that no engine has open.
///
/// # Errors
///
/// [`StoreError`] if it cannot be read.
pub(crate) async fn offline_gate(store: &Store, site: &Site) -> Result<Gate, StoreError> {
    let hasher = store.clone();
    let hash: process::Hash = Arc::new(move |bytes| hasher.keyed_hash(bytes));
    Gate::open(store, &clock::clock(), &hash, Arc::new(site.clone())).await
}

async fn remember(store: &Store, key: String, value: Option<String>) -> Result<(), StoreError> {
    store.commit_synced(vec![Record::Setting { key, value }]).await.map(|_| ())
}
