//! One destination's deliveries: lanes side by side, each in order, until taken, held or dead.
//!
//! The dispatcher alone decides what leaves when. It loads what is queued from the store by rising
//! delivery id, keeps it in a [`Schedule`], runs attempts side by side, and commits what came of
//! them. After a crash it begins again from the store: an attempt whose end was not written is made
//! again.

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use channels::{Clock, Outbound, Stop};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::attempt::{Attempt, Doors, End, attempt};
use super::gate::{Gate, PARKED};
use super::health::{Health, Verdict};
use super::limits::Limits;
use super::metrics::Metrics;
use super::pace::Pace;
use super::quiet::Quiet;
use super::schedule::Schedule;
use super::settle;
use super::status::Snapshot;
use super::steady::Steady;
use super::waiters::Waiters;
use crate::audit::Standing;
use crate::config::DestinationConfig;
use crate::store::{DeliveryId, DeliveryQuery, DeliveryRecord, Record, State, Store, StoreError};

/// How many deliveries are loaded at most; more stay in the store until there is room.
const WINDOW: usize = 50_000;
/// How many are read from the store at once.
const PAGE: usize = 512;
/// How many times the destination's concurrency may be under way, those included that were made and are
/// not written down yet.
const UNWRITTEN: usize = 2;
/// The wait before a store that refused is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// How often it is asked whether the audit is written again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What an operator asks of a destination.
pub(super) enum Command {
    /// Stop sending until resumed.
    Pause(String),
    /// Go on, at once.
    Resume,
    /// Hold, release or skip one delivery.
    Change(Change, DeliveryId, String, oneshot::Sender<Result<(), Refusal>>),
    /// These were replaced by a replay: they no longer stand in anyone's way.
    Forget(Vec<DeliveryId>),
    /// What these wait for may have come: decide about them again.
    Reconsider(Vec<DeliveryId>),
    /// These have waited for consent for longer than they may.
    GiveUp(Vec<DeliveryId>),
    /// Work with these settings from now on.
    Configure(Arc<DestinationConfig>, Arc<dyn Outbound>),
}

/// What an operator does to one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It waits for the operator.
    Hold,
    /// It is queued again.
    Release,
    /// It is never sent.
    Skip,
}

impl Change {
    /// What is written of it, where the delivery's state allows it.
    ///
    /// # Errors
    ///
    /// [`Refusal::State`] where it does not.
    pub fn record(self, delivery: &DeliveryRecord, at: Timestamp, reason: String) -> Result<Record, Refusal> {
        let id = delivery.id;
        match (self, delivery.state) {
            (Self::Hold, State::Queued) => {
                // What an operator holds is not released by a consent, whatever the reason says.
                let reason = if reason.starts_with(PARKED) { format!("held: {reason}") } else { reason };
                Ok(Record::Held { delivery: id, at, reason })
            }
            (Self::Release, State::Held | State::Dead) => Ok(Record::Released { delivery: id, at, reason }),
            (Self::Skip, State::Queued | State::Held | State::Dead) => Ok(Record::Skipped { delivery: id, at, reason }),
            (change, state) => Err(Refusal::State(id, state, change)),
        }
    }

    /// Which deliveries it can be done to, and how that is said.
    fn possible(self) -> &'static str {
        match self {
            Self::Hold => "only a queued one can be held",
            Self::Release => "only a held or dead one can be released",
            Self::Skip => "only a queued, held or dead one can be skipped",
        }
    }
}

/// Why an operator's change of a delivery was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such delivery.
    #[error("there is no delivery {0}")]
    Unknown(DeliveryId),
    /// It is being sent right now.
    #[error("delivery {0} is being sent right now; try again in a moment")]
    InFlight(DeliveryId),
    /// Its state does not allow that.
    #[error("delivery {0} is {1}; {possible}", possible = .2.possible())]
    State(DeliveryId, State, Change),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One destination's dispatcher.
pub(super) struct Dispatcher {
    config: Arc<DestinationConfig>,
    outbound: Arc<dyn Outbound>,
    store: Store,
    gate: Arc<Gate>,
    /// What cannot be audited does not leave.
    audit: Arc<Standing>,
    limits: Limits,
    waiters: Arc<Waiters>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// What waiting is measured by: the wall clock may jump.
    steady: Steady,
    waker: Arc<Notify>,
    schedule: Schedule,
    health: Health,
    quiet: Quiet,
    pace: Pace,
    attempts: JoinSet<Attempt>,
    /// Attempts that have ended, on their way to the log: their lanes wait for that, others go on.
    written: FuturesUnordered<BoxFuture<'static, Vec<Attempt>>>,
    report: watch::Sender<Snapshot>,
    under_way: Gauge,
    /// The last delivery loaded from the store.
    cursor: Option<DeliveryId>,
    /// The store may hold more behind the cursor.
    more: bool,
}

/// What a dispatcher is made of.
pub(super) struct Parts {
    pub(super) config: Arc<DestinationConfig>,
    pub(super) outbound: Arc<dyn Outbound>,
    pub(super) store: Store,
    pub(super) gate: Arc<Gate>,
    pub(super) audit: Arc<Standing>,
    pub(super) limits: Limits,
    pub(super) waiters: Arc<Waiters>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) waker: Arc<Notify>,
    /// An operator paused it before the restart, and why.
    pub(super) paused: Option<String>,
    /// Where it reports how it stands.
    pub(super) report: watch::Sender<Snapshot>,
}

impl Dispatcher {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { config, outbound, store, gate, audit, limits, waiters, metrics, clock, waker, paused, report } =
            parts;
        Self {
            under_way: metrics.in_flight(&config.name),
            health: Health::new(config.pause, paused),
            quiet: Quiet::default(),
            pace: Pace::new(config.rate, config.min_interval.0),
            config,
            outbound,
            store,
            gate,
            audit,
            limits,
            waiters,
            metrics,
            steady: Steady::new(clock()),
            clock,
            waker,
            schedule: Schedule::default(),
            attempts: JoinSet::new(),
            written: FuturesUnordered::new(),
            report,
            cursor: None,
            more: true,
        }
    }

    /// Works until `stop` fires and what is in flight has ended.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut stop: Stop) {
        self.load_blocks().await;
        while !stop.is_stopped() {
            let loaded = self.load().await;
            let next = self.launch();
            // What could not be loaded is asked for again, whatever else happens.
            let wake_at = if loaded { next } else { Some(self.steady.now()) };
            self.report();
            tokio::select! {
                biased;
                () = stop.stopped() => {}
                Some(command) = commands.recv() => self.obey(command).await,
                Some(done) = self.written.next() => self.place_all(done).await,
                Some(ended) = self.attempts.join_next(), if !self.attempts.is_empty() => self.settle(ended),
                () = self.waker.notified() => self.more = true,
                () = sleep_until(wake_at, &self.steady) => {}
            }
        }
        while let Some(ended) = self.attempts.join_next().await {
            self.settle(ended);
        }
        while let Some(done) = self.written.next().await {
            self.place_all(done).await;
        }
    }

    /// Where dead letters block their lane, those of an earlier run do so again.
    async fn load_blocks(&mut self) {
        let destination = Some(self.config.name.clone());
        let mut query =
            DeliveryQuery { destination, states: vec![State::Dead], limit: PAGE, ..DeliveryQuery::default() };
        while self.config.block_lane {
            let page = match self.store.deliveries(&query).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(destination = self.config.name, %error, "cannot read the dead letters: trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                    continue;
                }
            };
            for dead in page.items {
                self.schedule.add(dead.id, dead.lanes, self.steady.now());
                self.schedule.block(dead.id);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return,
            }
        }
    }

    /// Loads what is queued behind the cursor, until there is enough that may leave, or no room. False if
    /// the store could not be read.
    async fn load(&mut self) -> bool {
        let enough = self.config.concurrency.get().saturating_mul(4);
        while self.more && self.schedule.len() < WINDOW && self.schedule.ready(self.steady.now(), enough) < enough {
            let page = match self.store.queued(&self.config.name, self.cursor, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::error!(destination = self.config.name, %error, "cannot read the queue: trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                    return false;
                }
            };
            self.more = page.len() == PAGE;
            for delivery in page {
                self.cursor = Some(delivery.id);
                self.add(delivery);
            }
        }
        true
    }

    fn add(&mut self, delivery: DeliveryRecord) {
        let due = delivery.due.unwrap_or(delivery.created);
        let due = self.steady.due(delivery.changed, due, (self.clock)());
        self.schedule.add(delivery.id, delivery.lanes, due);
    }

    /// Starts every attempt that may start now. Returns when to look again, if nothing else happens.
    fn launch(&mut self) -> Option<Timestamp> {
        let now = self.steady.now();
        if !self.config.enabled {
            return None;
        }
        if self.audit.hindrance().is_some() {
            return Some(now + LOOK_AGAIN);
        }
        loop {
            match self.health.verdict(now, self.schedule.in_flight()) {
                Verdict::Stopped => return None,
                Verdict::NotBefore(at) => return Some(at),
                Verdict::Probe => {
                    let id = self.schedule.take_probe()?;
                    self.start(id, now);
                    return None;
                }
                Verdict::Go => {}
            }
            let most = self.config.concurrency.get();
            if self.attempts.len() >= most || self.schedule.in_flight() >= most.saturating_mul(UNWRITTEN) {
                return None;
            }
            if let Some(at) = self.pace.not_before(now) {
                return Some(at);
            }
            match self.schedule.take(now) {
                Some(id) => self.start(id, now),
                None => return self.schedule.next_due(),
            }
        }
    }

    fn start(&mut self, id: DeliveryId, now: Timestamp) {
        self.pace.started(now);
        let (store, config, outbound) = (self.store.clone(), Arc::clone(&self.config), Arc::clone(&self.outbound));
        let (limits, clock) = (self.limits.clone(), Arc::clone(&self.clock));
        let (gate, audit) = (Arc::clone(&self.gate), Arc::clone(&self.audit));
        self.attempts.spawn(async move {
            let doors = Doors { gate: &gate, audit: &audit };
            attempt(id, &store, doors, &limits, &config, outbound.as_ref(), &clock).await
        });
    }

    /// Writes down what came of the attempts that have ended. Meanwhile others are made.
    fn settle(&mut self, first: Result<Attempt, tokio::task::JoinError>) {
        let mut ended = vec![first];
        while let Some(more) = self.attempts.try_join_next() {
            ended.push(more);
        }
        let mut done = Vec::with_capacity(ended.len());
        for attempt in ended {
            match attempt {
                Ok(attempt) => done.push(attempt),
                // An attempt that panicked took its delivery's number with it: begin again from the store.
                Err(error) => self.reload(&error.to_string()),
            }
        }
        let records: Vec<Record> = done.iter_mut().filter_map(|attempt| attempt.record.take()).collect();
        let (store, destination) = (self.store.clone(), self.config.name.clone());
        self.written.push(Box::pin(async move {
            if !records.is_empty() {
                write(&store, &destination, records).await;
            }
            done
        }));
    }

    /// Puts each attempt where it belongs, now that what came of it is written.
    async fn place_all(&mut self, done: Vec<Attempt>) {
        for attempt in done {
            self.place(attempt).await;
        }
    }

    async fn place(&mut self, attempt: Attempt) {
        let now = self.steady.now();
        self.metrics.attempted(&self.config.name, &attempt);
        match attempt.end {
            End::Delivered => {
                self.note_reached(now);
                self.schedule.remove(attempt.delivery);
            }
            End::Again { wait, down } => {
                self.schedule.put_back(attempt.delivery, self.steady.after(wait), down);
                self.note_answer(down, &attempt.summary, now);
                self.health.erred(&attempt.summary);
            }
            End::Stopped { ref reason } => {
                self.schedule.put_back(attempt.delivery, now, true);
                self.stop_sending(reason.clone()).await;
            }
            End::Dead { down } => {
                self.note_answer(down, &attempt.summary, now);
                match self.config.block_lane {
                    true => self.schedule.block(attempt.delivery),
                    false => self.schedule.remove(attempt.delivery),
                }
            }
            End::Parked { until, ref guard } => {
                self.schedule.remove(attempt.delivery);
                let at = (self.clock)();
                if !self.gate.park(attempt.delivery, &self.config.name, at, until, guard) {
                    // What it waits for came while that was written down.
                    self.reconsider(&[attempt.delivery]).await;
                }
            }
            End::Held | End::Suppressed | End::Gone => self.schedule.remove(attempt.delivery),
            End::Unread => self.schedule.put_back(attempt.delivery, self.steady.after(STORE_RETRY), false),
        }
        self.log(&attempt);
        if let Some(message) = attempt.message {
            settle::tell_if_reached(&self.store, &self.waiters, message).await;
        }
    }

    fn note_answer(&mut self, down: bool, summary: &str, now: Timestamp) {
        if !down {
            self.note_reached(now);
        } else if self.health.failed(now, summary) {
            tracing::error!(destination = self.config.name, summary, "is down: paused, one probe at a time");
        }
    }

    /// It answered: what waited because it was down may leave at once.
    fn note_reached(&mut self, now: Timestamp) {
        if self.health.reached() {
            tracing::info!(destination = self.config.name, "is back");
            self.quiet.reset();
            self.schedule.hasten(now);
        }
    }

    /// Bad credentials: stop, remember it over a restart, and alarm.
    async fn stop_sending(&mut self, reason: String) {
        if self.health.is_stopped() {
            return;
        }
        tracing::error!(destination = self.config.name, reason, "is stopped until an operator resumes it");
        self.health.stop(reason.clone());
        let record = Record::Setting { key: super::paused_key(&self.config.name), value: Some(reason) };
        write(&self.store, &self.config.name, vec![record]).await;
    }

    fn reload(&mut self, why: &str) {
        tracing::error!(destination = self.config.name, why, "an attempt broke off: reading the queue again");
        self.schedule.clear_waiting();
        self.cursor = None;
        self.more = true;
    }

    fn log(&mut self, attempt: &Attempt) {
        let Attempt { delivery, summary, .. } = attempt;
        let (destination, channel) = (&*self.config.name, attempt.channel.as_deref());
        let message_id = attempt.message.map(tracing::field::display);
        match attempt.end {
            End::Delivered => tracing::debug!(destination, channel, delivery, message_id, summary, "delivered"),
            End::Again { .. } | End::Unread => {
                // While it is down that has been said, and every probe would say it again.
                let now = self.steady.now();
                match self.quiet.say(summary, now).filter(|_| !self.health.is_down()) {
                    Some(unsaid) => tracing::warn!(
                        destination,
                        channel,
                        delivery,
                        message_id,
                        summary,
                        unsaid,
                        "will be tried again; the same is said once a minute"
                    ),
                    None => {
                        tracing::debug!(destination, channel, delivery, message_id, summary, "will be tried again");
                    }
                }
            }
            End::Dead { .. } => {
                tracing::error!(destination, channel, delivery, message_id, summary, "dead letter");
            }
            End::Held | End::Parked { .. } => {
                tracing::warn!(destination, channel, delivery, message_id, summary, "held");
            }
            End::Suppressed => tracing::info!(destination, channel, delivery, message_id, summary, "not to be sent"),
            End::Stopped { .. } => {
                tracing::error!(destination, channel, delivery, message_id, summary, "credentials refused");
            }
            End::Gone => tracing::debug!(destination, channel, delivery, message_id, "no longer to be sent"),
        }
    }

    /// Says how it stands, as far as that has changed. Nobody waits for a change: it is looked up.
    fn report(&self) {
        let (in_flight, lanes) = (self.schedule.in_flight(), self.schedule.lanes());
        self.under_way.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.report.send_if_modified(|last| {
            (last.in_flight, last.lanes) = (in_flight, lanes);
            let (health, reason) = self.health.describe();
            if last.health != health || last.reason.as_deref() != reason {
                (last.health, last.reason) = (health, reason.map(str::to_owned));
                self.metrics.health(&self.config.name, &self.health);
            }
            false
        });
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Pause(reason) => self.health.stop(reason),
            Command::Resume => {
                self.health.resume();
                self.schedule.hasten(self.steady.now());
            }
            Command::Forget(replaced) => {
                for id in replaced.into_iter().filter(|id| !self.schedule.is_in_flight(*id)).collect::<Vec<_>>() {
                    self.schedule.remove(id);
                }
            }
            Command::Reconsider(ids) => {
                for some in ids.chunks(PAGE) {
                    self.reconsider(some).await;
                }
            }
            Command::GiveUp(ids) => {
                for id in ids {
                    self.give_up(id).await;
                }
            }
            Command::Configure(config, outbound) => {
                self.health.configure(config.pause);
                self.pace = Pace::new(config.rate, config.min_interval.0);
                self.config = config;
                self.outbound = outbound;
                self.schedule.unblock();
                self.load_blocks().await;
            }
            Command::Change(change, id, reason, reply) => {
                // An operator who hung up does not undo what was done.
                drop(reply.send(self.change(change, id, reason).await));
            }
        }
    }

    async fn change(&mut self, change: Change, id: DeliveryId, reason: String) -> Result<(), Refusal> {
        let delivery = self.store.delivery(id).await?.ok_or(Refusal::Unknown(id))?;
        if self.schedule.is_in_flight(id) {
            return Err(Refusal::InFlight(id));
        }
        let at = (self.clock)();
        let record = change.record(&delivery, at, reason)?;
        self.store.commit_synced(vec![record]).await?;
        self.schedule.remove(id);
        if change == Change::Release && self.cursor.is_some_and(|cursor| id <= cursor) {
            self.add(DeliveryRecord { due: Some(at), ..delivery });
        }
        self.more = true;
        settle::tell_if_reached(&self.store, &self.waiters, delivery.message).await;
        Ok(())
    }
}

/// Writes records, however long it takes: what was delivered must not be forgotten.
async fn write(store: &Store, destination: &str, records: Vec<Record>) {
    while let Err(error) = store.record(records.clone()).await {
        tracing::error!(destination, %error, "cannot write what came of deliveries: trying again");
        tokio::time::sleep(STORE_RETRY).await;
    }
}

/// Sleeps until `at`; for ever where there is nothing to wait for.
async fn sleep_until(at: Option<Timestamp>, clock: &Steady) {
    let Some(at) = at else { return std::future::pending().await };
    let wait = Duration::try_from(at.duration_since(clock.now())).unwrap_or_default();
    tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
}
