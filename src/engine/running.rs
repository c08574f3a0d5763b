//! A channel and a destination, running: started, paused, exchanged and stopped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use channels::{Clock, Inbound};
use tokio::sync::{Mutex, mpsc, watch};

use super::dispatch::{Command, Dispatcher, Parts};
use super::gate::Gate;
use super::intake::{ChannelIntake, Door, DoorSettings};
use super::late::Latest;
use super::limits::Limits;
use super::logins::Logins;
use super::metrics::Metrics;
use super::pipeline::{self, Pipeline};
use super::process::{Hash, Recipe};
use super::settle::Wakers;
use super::status::Snapshot;
use super::task::Task;
use super::waiters::Waiters;
use super::{EngineError, Reloaded, Running, paused_channel_key, paused_key, trial, wire};
use crate::audit::Standing;
use crate::config::{ChannelConfig, DestinationConfig, Site};
use crate::store::Store;

/// How long a feed or a dispatcher may take to finish what it holds when it is exchanged.
const EXCHANGE_GRACE: Duration = Duration::from_secs(30);
/// Operator requests that may wait at a dispatcher.
const COMMANDS: usize = 64;

/// What everything in the engine shares.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Limits,
    pub(super) waiters: Arc<Waiters>,
    pub(super) wakers: Arc<Wakers>,
    pub(super) hash: Hash,
    /// The order of events, for all channels.
    pub(super) latest: Arc<Mutex<Latest>>,
    /// What consent is decided by.
    pub(super) gate: Arc<Gate>,
    /// Who did not show the right credentials.
    pub(super) logins: Arc<Logins>,
    /// How the audit stands: told by whoever writes and sends that.
    pub(super) audit: Arc<Standing>,
}

/// A channel: its pipeline always, its feed unless paused or disabled.
pub(super) struct RunningChannel {
    config: ChannelConfig,
    recipe: Arc<ArcSwap<Recipe>>,
    door: Arc<Mutex<Door>>,
    pipeline: Task,
    feed: Option<(Task, String)>,
    paused: Option<String>,
}

impl RunningChannel {
    /// Starts the pipeline; [`RunningChannel::open`] opens the feed.
    pub(super) async fn start(shared: &Shared, site: &Site, config: &ChannelConfig) -> Result<Self, EngineError> {
        let recipe = Arc::new(ArcSwap::from_pointee(wire::recipe(site, config, &shared.hash)?));
        let (sender, queue) = mpsc::channel(pipeline::WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let door = Arc::new(Mutex::new(Door::new(sender, Arc::clone(&waiting_bytes))));
        let pipeline = Pipeline {
            channel: config.name.as_str().into(),
            recipe: Arc::clone(&recipe),
            store: shared.store.clone(),
            door: Arc::clone(&door),
            queue,
            waiting_bytes,
            wakers: Arc::clone(&shared.wakers),
            limits: shared.limits.clone(),
            waiters: Arc::clone(&shared.waiters),
            metrics: Arc::clone(&shared.metrics),
            clock: Arc::clone(&shared.clock),
            latest: Arc::clone(&shared.latest),
            gate: Arc::clone(&shared.gate),
        };
        let paused = shared.store.setting(&paused_channel_key(&config.name)).await?;
        shared.metrics.introduce_channel(&config.name);
        let pipeline = Task::run(|stop| pipeline.run(stop));
        Ok(Self { config: config.clone(), recipe, door, pipeline, feed: None, paused })
    }

    /// Opens the feed, unless it is open, paused or disabled.
    pub(super) async fn open(&mut self, shared: &Shared) -> Result<(), EngineError> {
        let open = self.feed.as_ref().is_some_and(|(task, _)| task.is_running());
        if open || self.paused.is_some() || !self.config.enabled {
            return Ok(());
        }
        let inbound = wire::inbound(&self.config, &shared.clock).await?;
        let bound = inbound.bound();
        tracing::info!(channel = self.config.name, address = bound, "open");
        shared.metrics.introduce_feed(&self.config.name, inbound.tally());
        let task = self.feed_task(shared, inbound);
        self.feed = Some((task, bound));
        Ok(())
    }

    fn feed_task(&self, shared: &Shared, inbound: Box<dyn Inbound>) -> Task {
        let name = self.config.name.clone();
        let intake = Arc::new(ChannelIntake {
            settings: DoorSettings {
                channel: name.as_str().into(),
                provider: Arc::clone(&self.recipe.load().context.provider),
                charset: self.config.charset,
                acknowledge: self.config.acknowledge,
            },
            store: shared.store.clone(),
            door: Arc::clone(&self.door),
            waiters: Arc::clone(&shared.waiters),
            metrics: Arc::clone(&shared.metrics),
            clock: Arc::clone(&shared.clock),
            logins: Arc::clone(&shared.logins),
            repeats: std::sync::Mutex::default(),
            refusals: std::sync::Mutex::default(),
        });
        Task::run(|stop| async move {
            if let Err(error) = inbound.run(intake, stop).await {
                tracing::error!(channel = name, error = %error, cause = ?error.source, "the feed broke off");
            }
        })
    }

    /// Where it listens, if its feed is open.
    pub(super) fn bound(&self) -> Option<String> {
        self.feed.as_ref().map(|(_, bound)| bound.clone())
    }

    /// For `status`: `open`, `paused` (and why), `disabled` or `broken`.
    pub(super) fn state(&self) -> (&'static str, Option<&str>) {
        match (&self.paused, &self.feed) {
            (Some(reason), _) => ("paused", Some(reason)),
            (None, Some((task, _))) if task.is_running() => ("open", None),
            (None, Some(_)) => ("broken", Some("its feed broke off: see the log; `tributary reload` opens it again")),
            (None, None) if self.config.enabled => {
                ("broken", Some("its feed is not open; `tributary reload` opens it"))
            }
            (None, None) => ("disabled", None),
        }
    }

    /// Its recipe in force, now and after each reload.
    pub(super) fn recipe(&self) -> Arc<ArcSwap<Recipe>> {
        Arc::clone(&self.recipe)
    }

    /// Closes the feed; what was accepted goes on.
    pub(super) async fn close(&mut self, grace: Duration) {
        if let Some((task, _)) = self.feed.take() {
            if !task.end(grace).await {
                tracing::warn!(channel = self.config.name, "the feed did not end in time: aborted");
            }
            tracing::info!(channel = self.config.name, "closed");
        }
    }

    pub(super) async fn pause(&mut self, reason: String) {
        self.paused = Some(reason);
        self.close(EXCHANGE_GRACE).await;
    }

    pub(super) fn resume(&mut self) {
        self.paused = None;
    }

    /// Ends the pipeline; what is not through is on disk.
    pub(super) async fn stop(mut self, grace: Duration) {
        self.close(grace).await;
        self.pipeline.end(grace).await;
    }

    /// Exchanges recipe and feed. If the new feed does not open, the old ones are put back.
    async fn exchange(&mut self, shared: &Shared, recipe: Recipe, config: &ChannelConfig) -> Result<(), EngineError> {
        let same_feed = is_same(&self.config, config);
        let old_recipe = self.recipe.swap(Arc::new(recipe));
        if same_feed {
            self.config = config.clone();
            // One that is open stays so; one that broke off gets another chance.
            return self.open(shared).await;
        }
        let old_config = std::mem::replace(&mut self.config, config.clone());
        self.close(EXCHANGE_GRACE).await;
        if let Err(error) = self.open(shared).await {
            self.recipe.store(old_recipe);
            self.config = old_config;
            self.open(shared).await?;
            return Err(error);
        }
        Ok(())
    }
}

/// A destination: its dispatcher and how it stands.
pub(super) struct RunningDestination {
    config: Arc<DestinationConfig>,
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Snapshot>,
    dispatcher: Task,
}

impl RunningDestination {
    /// Starts the dispatcher on what the store holds for it.
    pub(super) async fn start(shared: &Shared, config: &DestinationConfig) -> Result<Self, EngineError> {
        let outbound = wire::outbound(config, &shared.clock)?;
        let config = Arc::new(config.clone());
        let (report, snapshot) = watch::channel(Snapshot::default());
        let dispatcher = Dispatcher::new(Parts {
            config: Arc::clone(&config),
            outbound,
            store: shared.store.clone(),
            gate: Arc::clone(&shared.gate),
            audit: Arc::clone(&shared.audit),
            limits: shared.limits.clone(),
            waiters: Arc::clone(&shared.waiters),
            metrics: Arc::clone(&shared.metrics),
            clock: Arc::clone(&shared.clock),
            waker: shared.wakers.of(&config.name),
            paused: shared.store.setting(&paused_key(&config.name)).await?,
            report,
        });
        shared.metrics.introduce_destination(&config.name);
        let (commands, receiver) = mpsc::channel(COMMANDS);
        shared.gate.introduce(&config.name, commands.clone(), snapshot.clone());
        let dispatcher = Task::run(|stop| dispatcher.run(receiver, stop));
        Ok(Self { config, commands, snapshot, dispatcher })
    }

    /// Asks something of its dispatcher.
    pub(super) async fn command(&mut self, command: Command) -> Result<(), EngineError> {
        self.commands.send(command).await.map_err(|_| EngineError::Stopping)
    }

    /// How it stands.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Its settings.
    pub(super) fn config(&self) -> &DestinationConfig {
        &self.config
    }

    /// Ends the dispatcher once what is in flight has ended, or after `grace`.
    pub(super) async fn stop(self, grace: Duration) {
        if !self.dispatcher.end(grace).await {
            tracing::warn!(destination = self.config.name, "attempts did not end in time: they are made again");
        }
    }
}

/// True if a channel's file, what it refers to and what was filled into it are as before.
fn is_same(old: &ChannelConfig, new: &ChannelConfig) -> bool {
    old.hash == new.hash && old.filled == new.filled
}

/// Puts `site` into force; see [`Engine::reload`](super::Engine::reload).
pub(super) async fn reload(
    shared: &Shared,
    running: &mut Running,
    site: Arc<Site>,
) -> Result<Vec<Reloaded>, EngineError> {
    // Everything is built before anything is touched.
    let mut recipes = Vec::new();
    for config in site.channels.values() {
        recipes.push((config, wire::recipe(&site, config, &shared.hash)?, failing_tests(&site, config).await));
    }
    for config in site.destinations.values() {
        wire::outbound(config, &shared.clock)?;
    }
    let mut report = Vec::new();
    // What is decided from now on is decided by what is new.
    shared.gate.reload(Arc::clone(&site));
    reload_destinations(shared, running, &site, &mut report).await;
    for changed in report.iter().filter(|one| one.change == "changed" && one.error.is_none()) {
        shared.gate.wake_destination(&changed.name).await;
    }
    for (config, recipe, failing) in recipes {
        let (change, result) = match failing {
            Some(why) => (change_of(running, config), Err(EngineError::Tests(why))),
            None => reload_channel(shared, running, &site, config, recipe).await,
        };
        report.push(reloaded("channel", &config.name, change, result));
    }
    let gone: BTreeSet<String> =
        running.channels.keys().filter(|name| !site.channels.contains_key(*name)).cloned().collect();
    for name in gone {
        if let Some(channel) = running.channels.remove(&name) {
            channel.stop(EXCHANGE_GRACE).await;
        }
        report.push(reloaded("channel", &name, "removed", Ok(())));
    }
    running.site = site;
    Ok(report)
}

/// Why a channel is not put into force: its own tests.
async fn failing_tests(site: &Arc<Site>, config: &ChannelConfig) -> Option<String> {
    let (site, config) = (Arc::clone(site), config.clone());
    let run = tokio::task::spawn_blocking(move || trial::run_tests(&site, &config, false));
    match run.await {
        Ok(Ok(verdicts)) => trial::failures(&verdicts),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("a test broke off (a defect in Tributary: please report it)".to_owned()),
    }
}

fn change_of(running: &Running, config: &ChannelConfig) -> &'static str {
    match running.channels.get(&config.name) {
        Some(channel) if is_same(&channel.config, config) => "unchanged",
        Some(_) => "changed",
        None => "added",
    }
}

async fn reload_channel(
    shared: &Shared,
    running: &mut Running,
    site: &Site,
    config: &ChannelConfig,
    recipe: Recipe,
) -> (&'static str, Result<(), EngineError>) {
    if let Some(channel) = running.channels.get_mut(&config.name) {
        let change = if is_same(&channel.config, config) { "unchanged" } else { "changed" };
        return (change, channel.exchange(shared, recipe, config).await);
    }
    let started = async {
        let mut channel = RunningChannel::start(shared, site, config).await?;
        let opened = channel.open(shared).await;
        if opened.is_ok() {
            running.channels.insert(config.name.clone(), channel);
        }
        opened
    };
    ("added", started.await)
}

async fn reload_destinations(shared: &Shared, running: &mut Running, site: &Site, report: &mut Vec<Reloaded>) {
    for config in site.destinations.values() {
        let (change, result) = match running.destinations.get_mut(&config.name) {
            Some(old) if old.config.hash == config.hash && old.config.filled == config.filled => ("unchanged", Ok(())),
            Some(old) => ("changed", reconfigure(shared, old, config).await),
            None => ("added", start_destination(shared, running, config).await),
        };
        report.push(reloaded("destination", &config.name, change, result));
    }
    let names = running.destinations.keys().filter(|name| !site.destinations.contains_key(*name));
    for name in names.cloned().collect::<Vec<_>>() {
        if let Some(destination) = running.destinations.remove(&name) {
            destination.stop(EXCHANGE_GRACE).await;
            shared.metrics.forget_destination(&name);
        }
        report.push(reloaded("destination", &name, "removed", Ok(())));
    }
}

async fn reconfigure(
    shared: &Shared,
    old: &mut RunningDestination,
    config: &DestinationConfig,
) -> Result<(), EngineError> {
    let outbound = wire::outbound(config, &shared.clock)?;
    old.config = Arc::new(config.clone());
    let config = Arc::clone(&old.config);
    old.command(Command::Configure(config, outbound)).await
}

async fn start_destination(
    shared: &Shared,
    running: &mut Running,
    config: &DestinationConfig,
) -> Result<(), EngineError> {
    let destination = RunningDestination::start(shared, config).await?;
    running.destinations.insert(config.name.clone(), destination);
    Ok(())
}

fn reloaded(kind: &str, name: &str, change: &str, result: Result<(), EngineError>) -> Reloaded {
    let error = result.err().map(|error| error.to_string());
    match &error {
        Some(error) => tracing::error!(kind, name, change, error, "could not be reloaded: the old one goes on"),
        None if change == "unchanged" => tracing::debug!(kind, name, change, "reloaded"),
        None => tracing::info!(kind, name, change, "reloaded"),
    }
    Reloaded { kind: kind.to_owned(), name: name.to_owned(), change: change.to_owned(), error }
}
