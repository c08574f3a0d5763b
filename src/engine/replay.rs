//! Replay: stored messages through today's transforms, consent and routes again.
//!
//! A replay works on the store and on recipes alone, so that it also works while no engine runs; the
//! deliveries that it makes leave when one does. A job's progress is written down with every message,
//! so that it goes on after a restart, and can be cancelled at any time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use channels::{Clock, Stop, Stopper};
use jiff::Timestamp;
use message::MessageId;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::late::Latest;
use super::process::{Hash, Processed, Recipe, process};
use super::{Engine, EngineError, settle, wire};
use crate::config::Site;
use crate::store::{DeliveryId, MessageQuery, NewOutput, Outcome, Record, State, Store, StoreError};

/// Under which name the store remembers a job.
const PREFIX: &str = "replay/";
/// Under which name the store remembers that a job is to stop.
const CANCELLED: &str = "replay-cancelled/";
/// Messages selected at once.
const PAGE: usize = 100;
/// Ids that one request may name: the request is remembered in the index, whose values are small.
const MOST_IDS: usize = 16;

/// What an operator asks to be replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayRequest {
    /// Which messages.
    pub select: MessageQuery,
    /// These messages, instead of a selection.
    pub ids: Vec<MessageId>,
    /// To this destination alone; to all that the routes name where `None`.
    pub destination: Option<String>,
    /// Who and why: kept with every message.
    pub reason: String,
    /// Messages a second, at most.
    pub rate: Option<f64>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayState {
    /// It works, or goes on when the engine starts.
    Running,
    /// All selected messages were replayed.
    Done,
    /// An operator stopped it; what was replayed stays so.
    Cancelled,
}

/// A job's progress, as the store remembers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplayProgress {
    /// Its id.
    pub job: Uuid,
    /// What was asked.
    pub request: ReplayRequest,
    /// How far it is.
    pub state: ReplayState,
    /// When it was asked for. Messages accepted later are not selected.
    pub began: Timestamp,
    /// Where the selection goes on.
    pub cursor: Option<u64>,
    /// The last message that was replayed: written in one group with what came of it.
    pub last: Option<MessageId>,
    /// Messages replayed.
    pub replayed: u64,
    /// Of these, messages whose transforms or routes failed again.
    pub failed: u64,
    /// Messages that could not be replayed at all: damaged, or of a channel that is gone.
    pub skipped: u64,
}

/// What a replay of one message would change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// The message.
    pub message: MessageId,
    /// Destinations that would get it now, and did not before.
    pub added: Vec<String>,
    /// Destinations that got it before, and would not now.
    pub removed: Vec<String>,
    /// Destinations that would be kept waiting, and why: `heart-registry: …`.
    #[serde(default)]
    pub held: Vec<String>,
    /// Why it would fail or be filtered, where it would.
    pub outcome: Option<String>,
    /// A unified diff of what went out before and what would go out now; empty where they are the same.
    pub diff: String,
}

/// Why a message could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration no longer has its channel.
    #[error("the configuration has no channel `{0}`: put its file back to replay its messages")]
    NoChannel(String),
    /// There is no job of that id.
    #[error("there is no replay job {0}")]
    NoJob(Uuid),
    /// The request names too many ids.
    #[error("at most {MOST_IDS} ids fit into one replay; select by channel, state or time instead")]
    TooManyIds,
}

/// Replays messages: the store and today's recipes.
pub struct Replayer {
    store: Store,
    recipes: HashMap<String, Arc<Recipe>>,
    clock: Clock,
    /// The order of events; the engine's own, where one runs.
    latest: Arc<Mutex<Latest>>,
}

/// What a replayed message became, and which open deliveries it took the place of.
struct Replayed {
    outcome: Outcome,
    replaced: BTreeMap<String, Vec<DeliveryId>>,
}

impl Replayer {
    /// A replayer for a site, without an engine.
    ///
    /// # Errors
    ///
    /// [`EngineError::Wire`] if a channel's recipe cannot be built.
    pub fn new(site: &Site, store: Store, clock: Clock) -> Result<Self, EngineError> {
        let hasher = store.clone();
        let hash: Hash = Arc::new(move |bytes| hasher.keyed_hash(bytes));
        let recipes = site.channels.values().map(|config| {
            let recipe = wire::recipe(site, config, &hash)?;
            Ok((config.name.clone(), Arc::new(recipe)))
        });
        Ok(Self { recipes: recipes.collect::<Result<_, EngineError>>()?, store, clock, latest: Arc::default() })
    }

    /// What a replay would change, for up to `limit` of the messages that `request` selects.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] of the first message that cannot be read.
    pub async fn differences(&self, request: &ReplayRequest, limit: usize) -> Result<Vec<Difference>, ReplayError> {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let (ids, next) = self.select(request, cursor, (self.clock)()).await?;
            for id in ids {
                if found.len() >= limit {
                    return Ok(found);
                }
                found.push(self.difference(id, request.destination.as_deref()).await?);
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(found),
            }
        }
    }

    async fn difference(&self, id: MessageId, only: Option<&str>) -> Result<Difference, ReplayError> {
        // As of then, so that the difference is that of the recipes.
        let outcome = match self.as_it_went_out(id).await? {
            Some((processed, _)) => processed.only_to(only).outcome,
            None => self.process_at(id, only, (self.clock)()).await?.outcome,
        };
        let before = self.store.outputs(id).await?;
        let to_before: Vec<String> =
            settle::deliveries_of(&self.store, id).await?.into_iter().map(|d| d.destination).collect();
        let mut held = Vec::new();
        let (outputs, to_now, outcome) = match outcome {
            Outcome::Queued { outputs, deliveries } => {
                let reasons =
                    deliveries.iter().filter_map(|d| Some(format!("{}: {}", d.destination, d.held.as_ref()?)));
                held.extend(reasons);
                (outputs, deliveries.into_iter().map(|d| d.destination).collect::<Vec<_>>(), None)
            }
            Outcome::Filtered { reason } => (Vec::new(), Vec::new(), Some(format!("filtered: {reason}"))),
            Outcome::Failed { step, location, reason } => {
                (Vec::new(), Vec::new(), Some(format!("failed in {step} at {location}: {reason}")))
            }
        };
        let relevant = |name: &&String| only.is_none_or(|only| only == name.as_str());
        let added = to_now.iter().filter(|name| !to_before.contains(name)).cloned().collect();
        let removed = to_before.iter().filter(relevant).filter(|name| !to_now.contains(name)).cloned().collect();
        Ok(Difference {
            message: id,
            added,
            removed,
            held,
            outcome,
            diff: diff(&rendered(&before), &rendered(&outputs)),
        })
    }

    /// Replays one message: what it becomes takes the place of its open deliveries. The job's progress
    /// is in the same group, so that a crash neither repeats nor skips it.
    async fn replay(&self, id: MessageId, progress: &mut ReplayProgress) -> Result<Replayed, ReplayError> {
        let only = progress.request.destination.as_deref();
        let (job, at) = (progress.job, (self.clock)());
        let Processed { outcome, steps, findings, event, .. } = self.process_now(id, only).await?;
        let mut replaced: BTreeMap<String, Vec<DeliveryId>> = BTreeMap::new();
        // The store skips the open deliveries that this takes the place of, in the same group.
        for open in settle::deliveries_of(&self.store, id).await? {
            let concerned = only.is_none_or(|only| only == open.destination);
            if concerned && matches!(open.state, State::Queued | State::Held | State::Dead) {
                replaced.entry(open.destination).or_default().push(open.id);
            }
        }
        let (reason, destination) = (progress.request.reason.clone(), progress.request.destination.clone());
        let mut records = vec![Record::Replayed { message: id, at, job, destination, reason }];
        records.push(Record::Processed { message: id, at, outcome: outcome.clone(), steps, findings });
        // Held until it is written, as the pipelines do.
        let mut latest = self.latest.lock().await;
        records.extend(event.and_then(|event| latest.keep(id, &event)));
        let mut after = progress.clone();
        after.last = Some(id);
        after.replayed += 1;
        after.failed += u64::from(matches!(outcome, Outcome::Failed { .. }));
        records.push(remembered(&after));
        self.store.commit_synced(records).await?;
        drop(latest);
        *progress = after;
        Ok(Replayed { outcome, replaced })
    }

    /// What the message becomes by today's recipe. Where nothing but the time would differ from what went
    /// out before, it goes out as it did: sending it again then changes nothing.
    async fn process_now(&self, id: MessageId, only: Option<&str>) -> Result<Processed, ReplayError> {
        match self.as_it_went_out(id).await? {
            Some((same, true)) => Ok(same.only_to(only)),
            _ => self.process_at(id, only, (self.clock)()).await,
        }
    }

    /// What the message becomes by today's recipe, as of the time when it went out before, and whether
    /// that is the same as then. `None` if it never did.
    async fn as_it_went_out(&self, id: MessageId) -> Result<Option<(Processed, bool)>, ReplayError> {
        let before = self.store.outputs(id).await?;
        let mut other = None;
        for at in self.went_out_at(id).await? {
            let again = self.process_at(id, None, at).await?;
            if matches!(&again.outcome, Outcome::Queued { outputs, .. } if *outputs == before) {
                return Ok(Some((again, true)));
            }
            other.get_or_insert((again, false));
        }
        Ok(other)
    }

    /// What the message becomes by today's recipe, as of `now`.
    async fn process_at(&self, id: MessageId, only: Option<&str>, now: Timestamp) -> Result<Processed, ReplayError> {
        let original = Arc::new(settle::original(&self.store, id).await?);
        let channel = original.channel.to_string();
        let recipe = self.recipes.get(&channel).cloned().ok_or(ReplayError::NoChannel(channel))?;
        let done = tokio::task::spawn_blocking(move || process(&recipe, &original, None, now)).await;
        let mut done = done.unwrap_or_else(|_| Processed::broken(now));
        // What newer events wrote stays, too, when an older message is sent again.
        self.latest.lock().await.apply(&self.store, &mut done).await?;
        Ok(done.only_to(only))
    }

    /// When the message last became something that was to go out, and when it first did: a replay that
    /// changed nothing carries the time of the first.
    async fn went_out_at(&self, id: MessageId) -> Result<BTreeSet<Timestamp>, StoreError> {
        let times = self.store.history(id).await?.into_iter().filter_map(|entry| match entry.record {
            Record::Processed { outcome: Outcome::Queued { .. }, at, .. } => Some(at),
            _ => None,
        });
        let times: Vec<Timestamp> = times.collect();
        Ok(times.first().into_iter().chain(times.last()).copied().collect())
    }

    /// One page of the selection, and where the next begins.
    async fn select(
        &self,
        request: &ReplayRequest,
        cursor: Option<u64>,
        before: Timestamp,
    ) -> Result<(Vec<MessageId>, Option<u64>), StoreError> {
        if !request.ids.is_empty() {
            return Ok((request.ids.clone(), None));
        }
        let to = Some(request.select.to.map_or(before, |to| to.min(before)));
        let select = request.select.clone();
        let query = MessageQuery { after: cursor, limit: PAGE, newest_first: false, to, ..select };
        let page = self.store.messages(&query).await?;
        Ok((page.items.into_iter().map(|message| message.received.id).collect(), page.next))
    }

    /// Writes down a new job.
    ///
    /// # Errors
    ///
    /// [`ReplayError::TooManyIds`]; [`ReplayError::Store`] if it cannot be written.
    pub async fn begin(&self, request: ReplayRequest) -> Result<ReplayProgress, ReplayError> {
        if request.ids.len() > MOST_IDS {
            return Err(ReplayError::TooManyIds);
        }
        let began = (self.clock)();
        let progress = ReplayProgress {
            job: super::clock::new_id(began).0,
            request,
            state: ReplayState::Running,
            began,
            cursor: None,
            last: None,
            replayed: 0,
            failed: 0,
            skipped: 0,
        };
        write(&self.store, &progress).await?;
        Ok(progress)
    }

    /// Works on a job until it is done, cancelled or `stop` fires. `after_each` hears of what was
    /// replaced and of the destinations that have something new.
    pub async fn work<F: Future<Output = ()>>(
        &self,
        mut progress: ReplayProgress,
        mut stop: Stop,
        mut after_each: impl FnMut(BTreeMap<String, Vec<DeliveryId>>, Vec<String>) -> F,
    ) -> Result<ReplayProgress, ReplayError> {
        let pause = progress.request.rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        while progress.state == ReplayState::Running {
            let (ids, next) = self.select(&progress.request, progress.cursor, progress.began).await?;
            for id in not_yet(ids, progress.last) {
                if stop.is_stopped() {
                    return Ok(progress);
                }
                if self.is_cancelled(progress.job).await? {
                    progress.state = ReplayState::Cancelled;
                    write(&self.store, &progress).await?;
                    return Ok(progress);
                }
                match self.replay(id, &mut progress).await {
                    Ok(Replayed { outcome, replaced }) => after_each(replaced, destinations(&outcome)).await,
                    Err(error) => {
                        tracing::warn!(job = %progress.job, message_id = %id, %error, "not replayed");
                        progress.skipped += 1;
                    }
                }
                if let Some(pause) = pause {
                    stop.or(tokio::time::sleep(pause)).await;
                }
            }
            if next.is_none() {
                progress.state = ReplayState::Done;
            }
            progress.cursor = next;
            progress.last = None;
            write(&self.store, &progress).await?;
        }
        Ok(progress)
    }

    async fn is_cancelled(&self, job: Uuid) -> Result<bool, StoreError> {
        Ok(self.store.setting(&format!("{CANCELLED}{job}")).await?.is_some())
    }
}

fn destinations(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Queued { deliveries, .. } => deliveries.iter().map(|d| d.destination.clone()).collect(),
        Outcome::Filtered { .. } | Outcome::Failed { .. } => Vec::new(),
    }
}

/// Renderings as text that a person can compare: JSON on many lines, a segment on each.
fn rendered(outputs: &[NewOutput]) -> String {
    let one = |output: &NewOutput| match &output.bytes {
        None => "(the original bytes)\n".to_owned(),
        Some(bytes) => match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(resource) => format!("{resource:#}\n"),
            Err(_) => String::from_utf8_lossy(bytes).replace('\r', "\n"),
        },
    };
    outputs.iter().map(one).collect()
}

fn diff(before: &str, now: &str) -> String {
    if before == now {
        return String::new();
    }
    similar::TextDiff::from_lines(before, now)
        .unified_diff()
        .context_radius(2)
        .header("sent before", "would be sent now")
        .to_string()
}

/// What of a page was not replayed before a restart.
fn not_yet(ids: Vec<MessageId>, last: Option<MessageId>) -> Vec<MessageId> {
    let done = last.and_then(|last| ids.iter().position(|id| *id == last)).map_or(0, |at| at + 1);
    // A message that left the selection by being replayed is not in the page: ids rise with time.
    let after = |id: &MessageId| done > 0 || last.is_none_or(|last| *id > last);
    ids.into_iter().skip(done).filter(after).collect()
}

fn remembered(progress: &ReplayProgress) -> Record {
    Record::Setting { key: format!("{PREFIX}{}", progress.job), value: serde_json::to_string(progress).ok() }
}

async fn write(store: &Store, progress: &ReplayProgress) -> Result<(), StoreError> {
    store.commit_synced(vec![remembered(progress)]).await.map(|_| ())
}

/// All jobs that a store remembers, the newest first.
///
/// # Errors
///
/// [`StoreError`] if it cannot be read.
pub async fn jobs(store: &Store) -> Result<Vec<ReplayProgress>, StoreError> {
    let settings = store.settings(PREFIX).await?;
    let mut jobs: Vec<ReplayProgress> =
        settings.iter().filter_map(|(_, text)| serde_json::from_str(text).ok()).collect();
    jobs.sort_by_key(|progress| std::cmp::Reverse(progress.job));
    Ok(jobs)
}

/// Stops a job before its next message: what was replayed stays so.
///
/// # Errors
///
/// [`ReplayError::NoJob`]; [`ReplayError::Store`].
pub async fn cancel(store: &Store, job: Uuid) -> Result<ReplayProgress, ReplayError> {
    let found = jobs(store).await?.into_iter().find(|progress| progress.job == job);
    let progress = found.ok_or(ReplayError::NoJob(job))?;
    if progress.state == ReplayState::Running {
        let key = format!("{CANCELLED}{job}");
        store.commit_synced(vec![Record::Setting { key, value: Some("yes".to_owned()) }]).await?;
    }
    Ok(progress)
}

/// The jobs that an engine works on.
#[derive(Default)]
pub(super) struct Jobs(std::sync::Mutex<Working>);

#[derive(Default)]
struct Working {
    tasks: JoinSet<()>,
    stoppers: Vec<Stopper>,
}

impl Jobs {
    fn add(&self, make: impl FnOnce(Stop) -> futures_util::future::BoxFuture<'static, ()>) {
        let (stopper, stop) = Stopper::new();
        let mut working = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while working.tasks.try_join_next().is_some() {}
        working.stoppers.push(stopper);
        working.tasks.spawn(make(stop));
    }

    pub(super) async fn stop(&self) {
        let mut working = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        working.stoppers.iter().for_each(Stopper::stop);
        while working.tasks.join_next().await.is_some() {}
    }
}

impl Engine {
    /// A replayer with the recipes in force.
    pub async fn replayer(&self) -> Replayer {
        let running = self.running.lock().await;
        let recipes = running.channels.iter().map(|(name, channel)| (name.clone(), channel.recipe()));
        Replayer {
            store: self.shared.store.clone(),
            recipes: recipes.collect(),
            clock: Arc::clone(&self.shared.clock),
            latest: Arc::clone(&self.shared.latest),
        }
    }

    /// Begins a replay job; it works beside everything else and goes on after a restart.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Store`] if it cannot be written down.
    pub async fn replay(self: &Arc<Self>, request: ReplayRequest) -> Result<ReplayProgress, ReplayError> {
        let progress = self.replayer().await.begin(request).await?;
        self.work_on(progress.clone()).await;
        Ok(progress)
    }

    /// Goes on with the jobs that an earlier run left.
    pub(super) async fn resume_replays(self: &Arc<Self>) -> Result<(), StoreError> {
        for progress in jobs(&self.shared.store).await? {
            if progress.state == ReplayState::Running {
                tracing::info!(job = %progress.job, replayed = progress.replayed, "going on with a replay");
                self.work_on(progress).await;
            }
        }
        Ok(())
    }

    async fn work_on(self: &Arc<Self>, progress: ReplayProgress) {
        let replayer = self.replayer().await;
        let engine = Arc::downgrade(self);
        let job = progress.job;
        self.replays.add(|stop| {
            Box::pin(async move {
                let result = replayer
                    .work(progress, stop, |replaced, destinations| {
                        let engine = engine.upgrade();
                        async move {
                            if let Some(engine) = engine {
                                engine.replaced(replaced).await;
                                engine.wake_all(destinations.into_iter());
                            }
                        }
                    })
                    .await;
                match result {
                    Ok(progress) => {
                        tracing::info!(%job, replayed = progress.replayed, state = ?progress.state, "replay")
                    }
                    Err(error) => {
                        tracing::error!(%job, %error, "the replay cannot go on; it is tried at the next start")
                    }
                }
            })
        });
    }
}
