//! One message through today's recipe again, in one group with how far its job is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use channels::Clock;
use jiff::Timestamp;
use message::MessageId;
use tokio::sync::Mutex;

use super::job::remembered;
use super::{ReplayError, ReplayProgress, ReplayRequest};
use crate::config::Site;
use crate::engine::gate::arrive::Arrived;
use crate::engine::late::Latest;
use crate::engine::process::{Hash, Processed, Recipe, process};
use crate::engine::{EngineError, settle, wire};
use crate::store::{DeliveryId, Entry, MessageQuery, NewOutput, Outcome, Page, Record, State, Store, StoreError};

/// Messages selected at once.
const PAGE: usize = 100;

/// The recipes by channel, each as it is in force.
type Recipes = HashMap<String, Arc<ArcSwap<Recipe>>>;

/// Replays messages: the store and today's recipes.
pub struct Replayer {
    pub(super) store: Store,
    recipes: Recipes,
    pub(super) clock: Clock,
    /// The order of events; the engine's own, where one runs.
    latest: Arc<Mutex<Latest>>,
}

/// A message of a selection.
#[derive(Clone, Copy)]
pub(super) struct Chosen {
    pub(super) id: MessageId,
    /// Where the selection goes on behind it; see [`ReplayProgress::cursor`].
    pub(super) place: u64,
}

/// What a replayed message became, and which open deliveries it took the place of.
pub(super) struct Replayed {
    pub(super) outcome: Outcome,
    pub(super) replaced: BTreeMap<String, Vec<DeliveryId>>,
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
            Ok((config.name.clone(), Arc::new(ArcSwap::from_pointee(recipe))))
        });
        Ok(Self { recipes: recipes.collect::<Result<_, EngineError>>()?, store, clock, latest: Arc::default() })
    }

    /// A replayer with the recipes of a running engine, and its order of events.
    pub(super) fn of(store: Store, recipes: Recipes, clock: Clock, latest: Arc<Mutex<Latest>>) -> Self {
        Self { store, recipes, clock, latest }
    }

    /// Replays one message: what it becomes takes the place of its open deliveries. The job's progress
    /// is in the same group, so that a crash neither repeats nor skips it.
    pub(super) async fn replay(
        &self,
        Chosen { id, place }: Chosen,
        progress: &mut ReplayProgress,
    ) -> Result<Replayed, ReplayError> {
        if self.store.message(id).await?.is_some_and(|message| message.state == State::Received) {
            return Err(ReplayError::NotYet);
        }
        let only = progress.request.destination.as_deref();
        let (job, at) = (progress.job, (self.clock)());
        let Processed { outcome, steps, findings, event, arrived, .. } = self.process_now(id, only).await?;
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
        // What it says of consents stands where it first stood, not after what others have said since.
        records.extend(self.not_on_file(arrived).await?.records(id, at));
        records.push(Record::Processed { message: id, at, outcome: outcome.clone(), steps, findings });
        // Held until it is written, as the pipelines do.
        let mut latest = self.latest.lock().await;
        records.extend(event.and_then(|event| latest.keep(id, &event)));
        let mut after = progress.clone();
        after.cursor = Some(place);
        after.replayed += 1;
        after.failed += u64::from(matches!(outcome, Outcome::Failed { .. }));
        records.push(remembered(&after));
        self.store.commit_synced(records).await?;
        drop(latest);
        *progress = after;
        Ok(Replayed { outcome, replaced })
    }

    /// What is not on file of what a message says of consents: what came of the rest was decided when it came.
    async fn not_on_file(&self, mut arrived: Arrived) -> Result<Arrived, StoreError> {
        let mut missing = Vec::new();
        for filed in std::mem::take(&mut arrived.consents) {
            if self.store.consent_versions(filed.consent.key).await?.is_empty() {
                missing.push(filed);
            }
        }
        arrived.consents = missing;
        Ok(arrived)
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
    pub(super) async fn as_it_went_out(&self, id: MessageId) -> Result<Option<(Processed, bool)>, ReplayError> {
        let Some(before) = self.outputs_before(id).await? else { return Ok(None) };
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

    /// What went out before. `None` where that is damaged on disk: it can be made again all the same.
    pub(super) async fn outputs_before(&self, id: MessageId) -> Result<Option<Vec<NewOutput>>, StoreError> {
        readable(self.store.outputs(id).await)
    }

    /// What the message would become for one destination by today's recipe, as of `now`.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] where it cannot be made again.
    pub async fn would_be(&self, id: MessageId, destination: &str, now: Timestamp) -> Result<Outcome, ReplayError> {
        Ok(self.process_at(id, Some(destination), now).await?.outcome)
    }

    /// What the message becomes by today's recipe, as of `now`.
    pub(super) async fn process_at(
        &self,
        id: MessageId,
        only: Option<&str>,
        now: Timestamp,
    ) -> Result<Processed, ReplayError> {
        let original = Arc::new(settle::original(&self.store, id).await?);
        let channel = original.channel.to_string();
        let recipe = self.recipes.get(&channel).ok_or(ReplayError::NoChannel(channel))?.load_full();
        let done = tokio::task::spawn_blocking(move || process(&recipe, &original, None, now, |_| None)).await;
        let mut done = done.unwrap_or_else(|_| Processed::broken(now));
        // What newer events wrote stays, too, when an older message is sent again.
        self.latest.lock().await.apply(&self.store, &mut done).await?;
        Ok(done.only_to(only))
    }

    /// When the message last became something that was to go out, and when it first did: a replay that
    /// changed nothing carries the time of the first.
    async fn went_out_at(&self, id: MessageId) -> Result<BTreeSet<Timestamp>, StoreError> {
        let history: Vec<Entry> = readable(self.store.history(id).await)?.unwrap_or_default();
        let times = history.into_iter().filter_map(|entry| match entry.record {
            Record::Processed { outcome: Outcome::Queued { .. }, at, .. } => Some(at),
            _ => None,
        });
        let times: Vec<Timestamp> = times.collect();
        Ok(times.first().into_iter().chain(times.last()).copied().collect())
    }

    /// One page of the selection, and where the next begins. What was accepted after `before` is not in
    /// it, nor what still waits for its transforms: it goes through today's anyway.
    pub(super) async fn select(
        &self,
        request: &ReplayRequest,
        cursor: Option<u64>,
        before: Timestamp,
    ) -> Result<Page<Chosen>, StoreError> {
        if !request.ids.is_empty() {
            let places = (1..).zip(&request.ids).map(|(place, id)| Chosen { id: *id, place });
            return Ok(Page { items: places.filter(|it| Some(it.place) > cursor).collect(), next: None });
        }
        let to = Some(request.select.to.map_or(before, |to| to.min(before)));
        let select = request.select.clone();
        let query = MessageQuery { after: cursor, limit: PAGE, newest_first: false, to, ..select };
        let page = self.store.messages(&query).await?;
        let ready = page.items.into_iter().filter(|message| message.state != State::Received);
        let items = ready.map(|message| Chosen { id: message.received.id, place: message.sequence });
        Ok(Page { items: items.collect(), next: page.next })
    }
}

/// What was read, or `None` where it is damaged.
fn readable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error) if error.is_damage() => Ok(None),
        read => read.map(Some),
    }
}
