//! Carrying operations out, on a running engine or on a store alone.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::operation::{MessageDetail, MessageSummary, Operation, OperationError, Part, PartBytes};
use super::{audit, consent, coverage, lineage};
use crate::config::{self, Overrides, Site};
use crate::engine::{self, Change, Engine, Replayer, clock};
use crate::store::{DeliveryId, DeliveryRecord, MessageRecord, Page, State, Store, StoreError};

/// Where operations are carried out.
pub enum Desk {
    /// A running engine, and where its configuration is read from again.
    Engine(Arc<Engine>, Source),
    /// A store that nobody else has open, and the site's configuration.
    Store(Store, Box<Site>),
}

/// Where a site's configuration is read from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The site's folder.
    pub dir: PathBuf,
    /// What the command line said instead.
    pub overrides: Overrides,
}

impl Desk {
    pub(super) fn store(&self) -> &Store {
        match self {
            Self::Engine(engine, _) => engine.store(),
            Self::Store(store, _) => store,
        }
    }

    pub(super) async fn replayer(&self) -> Result<Replayer, OperationError> {
        match self {
            Self::Engine(engine, _) => Ok(engine.replayer().await),
            Self::Store(store, site) => {
                Replayer::new(site, store.clone(), clock::clock()).map_err(OperationError::failed)
            }
        }
    }

    pub(super) fn engine(&self) -> Result<&Arc<Engine>, OperationError> {
        match self {
            Self::Engine(engine, _) => Ok(engine),
            Self::Store(..) => Err(not_running()),
        }
    }
}

/// Carries one operation out; the answer is what the operation's documentation says, as JSON.
///
/// # Errors
///
/// [`OperationError`] for a person.
pub async fn perform(desk: &Desk, operation: Operation) -> Result<Value, OperationError> {
    perform_as(desk, &audit::this_user(), operation).await
}

/// As [`perform`], for `by`: the audit tells who saw or changed what.
///
/// # Errors
///
/// [`OperationError`] for a person. What the audit cannot tell of is not done.
pub async fn perform_as(desk: &Desk, by: &str, operation: Operation) -> Result<Value, OperationError> {
    let (order, ordered) = (operation.order(), audit::ordered(&operation));
    audit::before(desk, by, &operation).await?;
    let result = carry_out(desk, by, operation).await;
    if let (Some(order), Some(ordered), Ok(_)) = (&order, ordered, &result) {
        audit::after(desk, by, order, ordered).await?;
    }
    match (order, &result) {
        (Some(order), Ok(_)) => tracing::info!(order, "an operator's order was carried out"),
        (Some(order), Err(error)) => {
            tracing::info!(order, error = error.line(), "an operator's order was not carried out")
        }
        (None, _) => {}
    }
    result
}

async fn carry_out(desk: &Desk, by: &str, operation: Operation) -> Result<Value, OperationError> {
    let store = desk.store();
    match operation {
        Operation::Status => status(desk).await,
        Operation::Messages(query) => {
            let page = store.messages(&query).await.map_err(OperationError::failed)?;
            let mut items = Vec::with_capacity(page.items.len());
            for message in page.items {
                items.push(summary(store, message).await.map_err(OperationError::failed)?);
            }
            answer(Page { items, next: page.next })
        }
        Operation::Deliveries(query) => {
            let mut page = store.deliveries(&query).await.map_err(OperationError::failed)?;
            consent::foretell(desk, &mut page.items).await;
            answer(page)
        }
        Operation::Message(id) => {
            let message = store.message(id).await.map_err(OperationError::failed)?;
            let message = message.ok_or_else(|| OperationError::not_found(format!("there is no message {id}")))?;
            let mut deliveries = engine::deliveries_of(store, id).await.map_err(OperationError::failed)?;
            consent::foretell(desk, &mut deliveries).await;
            answer(MessageDetail { message: with_reason(message, &deliveries), deliveries })
        }
        Operation::Bytes(part) => {
            let bytes = bytes(store, part).await?;
            answer(PartBytes { base64: base64::engine::general_purpose::STANDARD.encode(bytes) })
        }
        Operation::Lineage(of) => answer(lineage::of(store, of).await?),
        Operation::Coverage { query, limit } => answer(coverage::of_messages(store, query, limit).await?),
        Operation::ChangeDelivery { change, delivery, reason } => change_delivery(desk, change, delivery, reason).await,
        Operation::PauseChannel { name, reason } => pause_channel(desk, &name, Some(reason)).await,
        Operation::ResumeChannel { name } => pause_channel(desk, &name, None).await,
        Operation::PauseDestination { name, reason } => pause_destination(desk, &name, Some(reason)).await,
        Operation::ResumeDestination { name } => pause_destination(desk, &name, None).await,
        Operation::ReplayDryRun { request, limit } => {
            let differences = desk.replayer().await?.differences(&request, limit).await;
            answer(differences.map_err(OperationError::failed)?)
        }
        Operation::Replay(request) => replay(desk, request).await,
        Operation::Replays => answer(engine::jobs(store).await.map_err(OperationError::failed)?),
        Operation::CancelReplay(job) => {
            let is_worked_on = matches!(desk, Desk::Engine(..));
            answer(engine::cancel(store, job, is_worked_on).await.map_err(OperationError::failed)?)
        }
        Operation::ResumeReplay(job) => resume_replay(desk, job).await,
        Operation::Audit { patient, .. } => audit::about(desk, patient.as_deref()).await,
        Operation::ConsentExplain { message, destination } => consent::explain(desk, message, &destination).await,
        Operation::ConsentSimulate { name, policy, destination, since, limit } => {
            consent::simulate(desk, &name, &policy, destination, since, limit).await
        }
        Operation::Hindsight { sent, policy } => consent::hindsight(desk, sent, policy).await,
        Operation::Consents { patient, versions } => consent::on_file(desk, patient.as_deref(), versions).await,
        Operation::BreakGlass(declared) => consent::break_glass(desk, declared).await,
        Operation::EndBreakGlass(id) => consent::end_break_glass(desk, by, id).await,
        Operation::BreakGlasses => consent::break_glasses(desk).await,
        Operation::Verify => answer(store.verify().await.map_err(OperationError::failed)?),
        Operation::Prune { before } => {
            audit::tell(desk).await?;
            answer(store.prune(before).await.map_err(OperationError::failed)?)
        }
        Operation::Backup { to } => {
            // First: what it does not tell yet is told again from the log that is copied after it.
            let chain = audit::chain(desk).await?;
            let bytes = store.backup(&to).await.map_err(OperationError::failed)?;
            let more = tokio::task::spawn_blocking(move || chain.write(&to)).await.map_err(OperationError::failed)?;
            answer(serde_json::json!({ "bytes": bytes + more.map_err(OperationError::failed)? }))
        }
        Operation::Plan => answer(config::plan(&*desk.engine()?.site().await, &load(desk)?)),
        Operation::Reload => answer(desk.engine()?.reload(load(desk)?).await.map_err(OperationError::failed)?),
    }
}

async fn status(desk: &Desk) -> Result<Value, OperationError> {
    match desk {
        Desk::Engine(engine, _) => answer(engine.status().await),
        Desk::Store(store, site) => {
            answer(engine::offline_status(store, site, clock::now()).await.map_err(OperationError::failed)?)
        }
    }
}

/// A message with the reason for its state, be it a delivery's.
async fn summary(store: &Store, message: MessageRecord) -> Result<MessageSummary, StoreError> {
    let deliveries = match message.state {
        State::Dead | State::Held if message.reason.is_empty() => {
            engine::deliveries_of(store, message.received.id).await?
        }
        _ => Vec::new(),
    };
    Ok(with_reason(message, &deliveries))
}

fn with_reason(message: MessageRecord, deliveries: &[DeliveryRecord]) -> MessageSummary {
    let state = message.state;
    let cause = deliveries.iter().find(|it| it.state == state && matches!(state, State::Dead | State::Held));
    let mut summary = MessageSummary::from(message);
    if let Some(cause) = cause.filter(|_| summary.reason.is_empty()) {
        summary.reason = format!("{}: {}", cause.destination, cause.reason);
    }
    summary
}

async fn bytes(store: &Store, part: Part) -> Result<Bytes, OperationError> {
    match part {
        Part::Original(id) => store.payload(id).await.map_err(OperationError::failed),
        Part::Content(id) => store.content(id).await.map(|content| content.bytes).map_err(OperationError::failed),
        Part::Answer(id) => {
            let message = delivery(store, id).await?.message;
            let answer = engine::last_answer(store, message, Some(id)).await.map_err(OperationError::failed)?;
            answer.ok_or_else(|| OperationError::not_found(format!("delivery {id} has no answer")))
        }
    }
}

async fn delivery(store: &Store, id: DeliveryId) -> Result<DeliveryRecord, OperationError> {
    let found = store.delivery(id).await.map_err(OperationError::failed)?;
    found.ok_or_else(|| OperationError::not_found(format!("there is no delivery {id}")))
}

async fn change_delivery(desk: &Desk, change: Change, id: DeliveryId, reason: String) -> Result<Value, OperationError> {
    let Desk::Store(store, _) = desk else {
        return done(desk.engine()?.change_delivery(change, id, reason).await);
    };
    let delivery = delivery(store, id).await?;
    let record = change.record(&delivery, clock::now(), reason).map_err(OperationError::failed)?;
    done(store.commit_synced(vec![record]).await.map(|_| ()))
}

/// Pauses a channel with a reason, or resumes it; without an engine, for when one starts.
async fn pause_channel(desk: &Desk, name: &str, reason: Option<String>) -> Result<Value, OperationError> {
    match (desk, reason) {
        (Desk::Engine(engine, _), Some(reason)) => done(engine.pause_channel(name, reason).await),
        (Desk::Engine(engine, _), None) => done(engine.resume_channel(name).await),
        (Desk::Store(store, site), reason) if site.channels.contains_key(name) => {
            done(engine::remember_channel(store, name, reason).await)
        }
        (Desk::Store(_, site), _) => done(Err(engine::unknown("channel", name, site.channels.keys()))),
    }
}

/// As [`pause_channel`], for a destination.
async fn pause_destination(desk: &Desk, name: &str, reason: Option<String>) -> Result<Value, OperationError> {
    match (desk, reason) {
        (Desk::Engine(engine, _), Some(reason)) => done(engine.pause_destination(name, reason).await),
        (Desk::Engine(engine, _), None) => done(engine.resume_destination(name).await),
        (Desk::Store(store, site), reason) if site.destinations.contains_key(name) => {
            done(engine::remember_destination(store, name, reason).await)
        }
        (Desk::Store(_, site), _) => done(Err(engine::unknown("destination", name, site.destinations.keys()))),
    }
}

async fn replay(desk: &Desk, request: engine::ReplayRequest) -> Result<Value, OperationError> {
    if let Desk::Engine(engine, _) = desk {
        return answer(engine.replay(request).await.map_err(OperationError::failed)?);
    }
    let replayer = desk.replayer().await?;
    let job = replayer.begin(request).await.map_err(OperationError::failed)?;
    work(&replayer, job).await
}

async fn resume_replay(desk: &Desk, job: Uuid) -> Result<Value, OperationError> {
    if let Desk::Engine(engine, _) = desk {
        return answer(engine.take_up_replay(job).await.map_err(OperationError::failed)?);
    }
    let replayer = desk.replayer().await?;
    let job = replayer.take_up(job).await.map_err(OperationError::failed)?;
    work(&replayer, job).await
}

/// Works on a job to its end, where no engine does.
async fn work(replayer: &Replayer, job: engine::ReplayProgress) -> Result<Value, OperationError> {
    // Held for as long as the job takes: it never fires.
    let (_stopper, stop) = channels::Stopper::new();
    let done = replayer.work(job, stop, |_, _| std::future::ready(())).await;
    answer(done.map_err(OperationError::failed)?)
}

/// The configuration as it is on disk now.
fn load(desk: &Desk) -> Result<Site, OperationError> {
    let Desk::Engine(_, source) = desk else { return Err(not_running()) };
    let variable = |name: &str| std::env::var(name).ok();
    config::load_with(&source.dir, &source.overrides, &variable).map_err(|problems| OperationError::config(&problems))
}

fn not_running() -> OperationError {
    OperationError::failed("the engine is not running: start it with `tributary run`")
}

pub(super) fn answer(value: impl Serialize) -> Result<Value, OperationError> {
    serde_json::to_value(value).map_err(OperationError::failed)
}

pub(super) fn done<E: std::fmt::Display>(result: Result<(), E>) -> Result<Value, OperationError> {
    result.map(|()| Value::Null).map_err(OperationError::failed)
}
