//! One channel's messages from the disk to the queue, in the order of acceptance.
//!
//! Transforms run on the blocking pool, several chunks at once; where there are none, nothing goes there.
//! What they yield is committed in order. What the pipeline has no room for stays in the store and is read
//! from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use channels::{Clock, Stop};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use message::{FindingKind, Format, MessageId, Original};
use tokio::sync::{Mutex, mpsc};

use super::gate::arrive::Arrived;
use super::gate::{Foreseen, Gate};
use super::intake::{Door, Pending};
use super::late::Latest;
use super::limits::Limits;
use super::metrics::Metrics;
use super::process::{Processed, Read, Recipe, process};
use super::settle::{self, Wakers};
use super::waiters::Waiters;
use crate::store::{Committed, Outcome, Record, State, Store, StoreError, Whole};

/// Messages of one run on the blocking pool.
const CHUNK: usize = 16;
/// Runs that are under way at once.
const RUNS: usize = 4;
/// How many messages may wait in memory between the door and the transforms.
pub(super) const WAITING: usize = 1024;
/// Bytes of messages that are read from the store at once.
const BYTES_AT_ONCE: usize = 16 << 20;
/// Up to so many bytes of HL7 v2 that nothing transforms are routed on the spot.
const ON_THE_SPOT: usize = 256 << 10;
/// The wait before a store that refused is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// One channel's pipeline.
pub(super) struct Pipeline {
    pub(super) channel: Arc<str>,
    pub(super) recipe: Arc<ArcSwap<Recipe>>,
    pub(super) store: Store,
    pub(super) door: Arc<Mutex<Door>>,
    pub(super) queue: mpsc::Receiver<Pending>,
    pub(super) waiting_bytes: Arc<AtomicUsize>,
    pub(super) wakers: Arc<Wakers>,
    pub(super) limits: Limits,
    pub(super) waiters: Arc<Waiters>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) latest: Arc<Mutex<Latest>>,
    pub(super) gate: Arc<Gate>,
}

/// What came of one run: its messages in order.
type Run = BoxFuture<'static, Vec<(MessageId, Processed)>>;

/// A message that waits in the store, with its number in the order of acceptance.
type Waiting = (u64, MessageId, Result<Whole, StoreError>);

impl Pipeline {
    /// Works until `stop` fires; what is not through by then is on disk and comes first next time.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let mut runs: FuturesOrdered<Run> = FuturesOrdered::new();
        let mut waiting = Vec::with_capacity(CHUNK);
        loop {
            if runs.is_empty() && self.queue.is_empty() && self.is_behind().await {
                self.catch_up(&stop).await;
            }
            let room = runs.len() < RUNS;
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                Some(done) = runs.next(), if !runs.is_empty() => self.commit(done, &mut runs).await,
                taken = self.queue.recv_many(&mut waiting, CHUNK), if room => {
                    if taken == 0 {
                        break;
                    }
                    runs.push_back(self.run_of(std::mem::take(&mut waiting)));
                }
            }
        }
    }

    async fn is_behind(&self) -> bool {
        self.door.lock().await.is_spilled()
    }

    /// A run over messages that came through the door: those that are on disk.
    fn run_of(&self, pending: Vec<Pending>) -> Run {
        let (store, recipe, now) = (self.store.clone(), self.recipe.load_full(), (self.clock)());
        let (limits, gate) = (self.limits.clone(), Arc::clone(&self.gate));
        let bytes = pending.iter().map(|pending| pending.original.bytes.len()).sum();
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Box::pin(async move {
            let mut stored = Vec::with_capacity(pending.len());
            for Pending { original, read, stored: told } in pending {
                if is_stored(&store, original.id, told).await {
                    stored.push((original, Some(read)));
                }
            }
            transform(&limits, gate, recipe, stored, now).await
        })
    }

    /// Reads what the store still holds for this channel, until the door is no longer ahead of us.
    async fn catch_up(&mut self, stop: &Stop) {
        let mut after = None;
        while !stop.is_stopped() {
            let batch = match self.waiting(after).await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!(channel = &*self.channel, %error, "cannot read what waits: trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                    continue;
                }
            };
            let Some((last, ..)) = batch.last() else {
                if self.close_ranks().await {
                    return;
                }
                continue;
            };
            after = Some(*last);
            let mut originals = Vec::with_capacity(batch.len());
            for (_, id, whole) in batch {
                match whole {
                    Ok(whole) => originals.push((Arc::new(settle::original_of(whole)), None)),
                    Err(error) => self.park_unreadable(id, &error).await,
                }
            }
            self.run_now(originals).await;
        }
    }

    /// What waits in the store behind `after`, in order: as much as is read at once.
    async fn waiting(&self, after: Option<u64>) -> Result<Vec<Waiting>, StoreError> {
        let batch = self.unprocessed(after).await?;
        let whole = self.store.whole(batch.iter().map(|(_, id)| *id).collect(), BYTES_AT_ONCE).await?;
        Ok(batch.into_iter().zip(whole).map(|((sequence, id), whole)| (sequence, id, whole)).collect())
    }

    /// Transforms and commits messages that were read from the store.
    async fn run_now(&self, originals: Vec<(Arc<Original>, Option<Read>)>) {
        let (recipe, now) = (self.recipe.load_full(), (self.clock)());
        let mut runs = FuturesOrdered::new();
        let mut rest = originals.into_iter().peekable();
        while rest.peek().is_some() {
            let chunk = rest.by_ref().take(CHUNK).collect();
            runs.push_back(transform(&self.limits, Arc::clone(&self.gate), Arc::clone(&recipe), chunk, now));
        }
        let done: Vec<Vec<_>> = runs.collect().await;
        self.commit(done.into_iter().flatten().collect(), &mut FuturesOrdered::new()).await;
    }

    async fn unprocessed(&self, after: Option<u64>) -> Result<Vec<(u64, MessageId)>, StoreError> {
        self.store.unprocessed(&self.channel, after, CHUNK * RUNS).await
    }

    /// With the door shut: if nothing waits in the store either, the queue takes over again.
    async fn close_ranks(&self) -> bool {
        let mut door = self.door.lock().await;
        door.settled().await;
        // An offer that was given up may be on its way to the disk.
        let passed = pass_through(&self.store).await;
        let rest = self.unprocessed(None).await;
        let caught_up = passed.is_ok() && matches!(&rest, Ok(rest) if rest.is_empty());
        if let Err(error) = passed.and(rest) {
            tracing::error!(channel = &*self.channel, %error, "cannot see what waits: trying again");
            tokio::time::sleep(STORE_RETRY).await;
        }
        if caught_up {
            door.caught_up();
        }
        caught_up
    }

    /// A message whose bytes are damaged is parked, so that those behind it go on.
    async fn park_unreadable(&self, id: MessageId, error: &StoreError) {
        tracing::error!(channel = &*self.channel, message_id = %id, %error, "its stored bytes cannot be read: parked");
        let outcome = Outcome::Failed { step: "read".into(), location: "store".into(), reason: error.to_string() };
        let parked = Processed::parked((self.clock)(), outcome);
        self.commit(vec![(id, parked)], &mut FuturesOrdered::new()).await;
    }

    /// Commits a run and whatever else is ready behind it as one group, and wakes whom it concerns.
    async fn commit(&self, mut done: Vec<(MessageId, Processed)>, runs: &mut FuturesOrdered<Run>) {
        while let Some(Some(more)) = futures_util::FutureExt::now_or_never(runs.next()) {
            done.extend(more);
        }
        if done.is_empty() {
            return;
        }
        for (_, processed) in done.iter_mut().filter(|(_, processed)| !processed.arrived.is_empty()) {
            self.file(&mut processed.arrived).await;
        }
        // Held until all is written, too: what a refusal forbids does not leave behind its back.
        let change = self.gate.change(done.iter().flat_map(|(_, processed)| processed.arrived.patients()).collect());
        let change = change.await;
        // Held until all is written: what is late is decided in the order of the log.
        let mut latest = match done.iter().any(|(_, processed)| processed.event.is_some()) {
            true => Some(self.latest.lock().await),
            false => None,
        };
        let events = match &mut latest {
            Some(latest) => self.settle(latest, &mut done).await,
            None => Vec::new(),
        };
        let foreseen = self.foresee(&mut done).await;
        // Once it is committed it may be on its way at once.
        for (id, processed) in &mut done {
            processed.seen.take().into_iter().for_each(|seen| self.gate.keep(*id, seen));
        }
        let committed = loop {
            match self.store.commit(records(&done, &events)).await {
                Ok(committed) => break committed,
                Err(error) => {
                    tracing::error!(channel = &*self.channel, %error, "cannot write what came of messages: trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        };
        drop((latest, change));
        self.foreseen(foreseen, &done, &committed).await;
        for (id, processed) in &done {
            self.metrics.processed(&self.channel, &processed.outcome);
            self.metrics.noticed(&self.channel, &processed.findings);
            self.log(*id, processed);
        }
        self.wakers.wake(done.iter().map(|(_, processed)| &processed.outcome));
        for (id, processed) in &done {
            settle::tell_processed(&self.waiters, *id, &processed.outcome);
        }
    }

    /// Leaves what newer events wrote as it is.
    async fn settle(&self, latest: &mut Latest, done: &mut [(MessageId, Processed)]) -> Vec<Record> {
        loop {
            match latest.settle(&self.store, done).await {
                Ok(records) => return records,
                Err(error) => {
                    tracing::error!(channel = &*self.channel, %error, "cannot see which events are newer: trying again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }

    /// Holds what waits for consent, where nothing is sent for a while.
    async fn foresee(&self, done: &mut [(MessageId, Processed)]) -> Vec<Vec<Foreseen>> {
        let recipe = self.recipe.load_full();
        let mut foreseen = Vec::new();
        for (_, processed) in done {
            // What comes with its own consents is decided about when those are on file.
            foreseen.push(match processed.arrived.consents.is_empty() {
                true => self.gate.foresee(&self.channel, &recipe.destinations, &mut processed.outcome).await,
                false => Vec::new(),
            });
        }
        foreseen
    }

    async fn foreseen(&self, foreseen: Vec<Vec<Foreseen>>, done: &[(MessageId, Processed)], committed: &Committed) {
        let mut numbers = committed.deliveries.iter().copied();
        for (foreseen, (_, processed)) in foreseen.into_iter().zip(done) {
            let Outcome::Queued { deliveries, .. } = &processed.outcome else { continue };
            let numbered: Vec<_> = numbers.by_ref().take(deliveries.len()).zip(deliveries).collect();
            self.gate.foreseen(foreseen, &numbered, processed.at).await;
        }
    }

    /// Leaves what is to be filed of consents and identities.
    async fn file(&self, arrived: &mut Arrived) {
        while let Err(error) = self.gate.filing().settle(&self.store, arrived).await {
            tracing::error!(channel = &*self.channel, %error, "cannot see which consents are on file: trying again");
            tokio::time::sleep(STORE_RETRY).await;
        }
    }

    fn log(&self, id: MessageId, processed: &Processed) {
        let channel = &*self.channel;
        let late = processed.findings.iter().filter(|finding| finding.kind == FindingKind::Late).count();
        if late > 0 {
            tracing::info!(channel, message_id = %id, resources = late, "an older event came late");
        }
        match &processed.outcome {
            Outcome::Queued { deliveries, .. } => {
                tracing::debug!(channel, message_id = %id, deliveries = deliveries.len(), "queued");
                for held in deliveries.iter().filter(|d| d.held.is_some()) {
                    let reason = held.held.as_deref().unwrap_or_default();
                    tracing::warn!(channel, message_id = %id, destination = held.destination, reason, "held");
                }
            }
            Outcome::Filtered { reason } => tracing::debug!(channel, message_id = %id, reason, "filtered"),
            Outcome::Failed { step, location, reason } => {
                tracing::warn!(channel, message_id = %id, step, location, reason, "parked as failed");
            }
        }
    }
}

/// Whether an offer came to be on disk, and is to be transformed. A door that hung up leaves it to the
/// store to say, once that is through with what was offered until then.
async fn is_stored(store: &Store, id: MessageId, told: tokio::sync::oneshot::Receiver<bool>) -> bool {
    if let Ok(stored) = told.await {
        return stored;
    }
    if let Err(error) = pass_through(store).await {
        tracing::warn!(message_id = %id, %error, "cannot wait for the store: what it has not taken by now, it reads at the next start");
    }
    matches!(store.message(id).await, Ok(Some(message)) if message.state == State::Received)
}

/// Waits until the store is through with all requests that were made before. It keeps their order.
async fn pass_through(store: &Store) -> Result<(), StoreError> {
    store.commit(Vec::new()).await.map(|_| ())
}

/// Runs the recipe over messages, on the blocking pool where that takes long. A panic parks the message that
/// caused it.
async fn transform(
    limits: &Limits,
    gate: Arc<Gate>,
    recipe: Arc<Recipe>,
    messages: Vec<(Arc<Original>, Option<Read>)>,
    now: jiff::Timestamp,
) -> Vec<(MessageId, Processed)> {
    if is_short_work(&recipe, messages.iter().map(|(original, _)| &**original)) {
        return messages.into_iter().map(|(original, read)| one(&gate, &recipe, &original, read, now)).collect();
    }
    let ids: Vec<MessageId> = messages.iter().map(|(original, _)| original.id).collect();
    let run = move || messages.into_iter().map(|(original, read)| one(&gate, &recipe, &original, read, now)).collect();
    let turn = limits.transform().await;
    let done = tokio::task::spawn_blocking(run).await;
    drop(turn);
    done.unwrap_or_else(|_| ids.into_iter().map(|id| (id, Processed::broken(now))).collect())
}

/// True if the messages are to be routed and no more: that is not worth the way to another thread.
fn is_short_work<'a>(recipe: &Recipe, mut messages: impl Iterator<Item = &'a Original>) -> bool {
    let mut bytes = 0;
    recipe.transforms.is_empty()
        && messages.all(|original| {
            bytes += original.bytes.len();
            original.format == Format::Hl7v2 && bytes <= ON_THE_SPOT
        })
}

fn one(
    gate: &Gate,
    recipe: &Recipe,
    original: &Arc<Original>,
    read: Option<Read>,
    now: jiff::Timestamp,
) -> (MessageId, Processed) {
    let see = |written| gate.see(&recipe.config.name, written);
    let work = std::panic::AssertUnwindSafe(|| process(recipe, original, read, now, see));
    (original.id, std::panic::catch_unwind(work).unwrap_or_else(|_| Processed::broken(now)))
}

/// What is to be written as one group.
fn records(done: &[(MessageId, Processed)], events: &[Record]) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::with_capacity(done.len() + events.len());
    for (id, processed) in done {
        // A consent in the same message counts before what it is about can leave.
        records.extend(processed.arrived.records(*id, processed.at));
        records.push(record(*id, processed));
    }
    records.extend_from_slice(events);
    records
}

fn record(message: MessageId, processed: &Processed) -> Record {
    Record::Processed {
        message,
        at: processed.at,
        outcome: processed.outcome.clone(),
        steps: processed.steps.clone(),
        findings: processed.findings.clone(),
    }
}
