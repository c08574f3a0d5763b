//! The door of one channel: reads as much as an answer needs, stores, and answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use channels::{Acknowledge, Clock, Intake, Offered, StatusReport, Ticket};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use message::hl7v2::{self, CharsetOptions, Header};
use message::json::Value;
use message::{Answer, Body, Fault, Format, MessageId, Original, Provider, Sha256, fhir};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::clock;
use super::logins::Logins;
use super::metrics::Metrics;
use super::patient;
use super::process::Read;
use super::quiet::Quiet;
use super::settle;
use super::waiters::{Until, Waiters};
use crate::store::{Accepted, Received, Store, StoreError};

/// Bytes that may wait in a pipeline's queue; more is read back from the store.
const WAITING_BYTES: usize = 64 << 20;
/// What a sender may be told to wait before it tries again when we cannot take a message.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// One message between the door and its transforms. `stored` tells whether it came to be on disk.
pub(super) struct Pending {
    pub(super) original: Arc<Original>,
    /// As it was read at the door, so that it is not read twice.
    pub(super) read: Read,
    pub(super) stored: oneshot::Receiver<bool>,
}

/// Where offers take their places, in the order in which they are made.
pub(super) struct Door {
    pipeline: mpsc::Sender<Pending>,
    /// Bytes that wait in the pipeline's queue.
    waiting_bytes: Arc<AtomicUsize>,
    /// The pipeline is behind: it reads from the store what no longer fits into its queue.
    spilled: bool,
    /// Offers that the pipeline was not told of, and that are not stored yet.
    untold: watch::Sender<usize>,
}

/// An offer that the pipeline was not told of; over when it is stored, refused or given up.
struct Untold(watch::Sender<usize>);

impl Untold {
    fn begin(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|n| *n += 1);
        Self(count.clone())
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

impl Door {
    /// A door to `pipeline`, which is behind at first: what an earlier run left comes first.
    pub(super) fn new(pipeline: mpsc::Sender<Pending>, waiting_bytes: Arc<AtomicUsize>) -> Self {
        Self { pipeline, waiting_bytes, spilled: true, untold: watch::Sender::new(0) }
    }

    /// True if the pipeline must read from the store.
    pub(super) fn is_spilled(&self) -> bool {
        self.spilled
    }

    /// The pipeline has caught up: offers go to its queue again.
    pub(super) fn caught_up(&mut self) {
        self.spilled = false;
    }

    /// Waits until every offer that the pipeline was not told of is stored, refused or given up. No
    /// further one begins meanwhile: the caller holds the door.
    pub(super) async fn settled(&self) {
        // The sender is ours: it cannot be gone.
        if self.untold.subscribe().wait_for(|untold| *untold == 0).await.is_err() {}
    }

    /// Takes a place for an offer: in the pipeline's queue, or among those it reads from the store.
    fn enter(&mut self, pending: Pending) -> Option<Untold> {
        let bytes = pending.original.bytes.len();
        let waiting = self.waiting_bytes.load(Ordering::Relaxed);
        // With nothing in the queue there is nothing to end the pipeline's wait: even the longest goes in.
        let fits = waiting == 0 || waiting.saturating_add(bytes) <= WAITING_BYTES;
        if !self.spilled && fits && self.pipeline.try_send(pending).is_ok() {
            self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
            return None;
        }
        self.spilled = true;
        Some(Untold::begin(&self.untold))
    }
}

/// The settings of a channel that its door needs.
#[derive(Clone)]
pub(super) struct DoorSettings {
    pub(super) channel: Arc<str>,
    pub(super) provider: Arc<Provider>,
    pub(super) charset: CharsetOptions,
    pub(super) acknowledge: Acknowledge,
}

/// The door of one channel.
pub(super) struct ChannelIntake {
    pub(super) settings: DoorSettings,
    pub(super) store: Store,
    pub(super) door: Arc<Mutex<Door>>,
    pub(super) waiters: Arc<Waiters>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) logins: Arc<Logins>,
    /// Keeps duplicates from flooding the log.
    pub(super) repeats: std::sync::Mutex<Quiet>,
    /// Keeps a full disk from flooding the log.
    pub(super) refusals: std::sync::Mutex<Quiet>,
}

/// A message as far as the door reads it.
struct Arrival {
    received: Received,
    read: Read,
}

#[async_trait]
impl Intake for ChannelIntake {
    async fn offer(&self, offered: Offered) -> Ticket {
        let began = std::time::Instant::now();
        let ticket = match self.read(&offered) {
            Ok(arrival) => self.accept(arrival).await,
            Err(answer) => Ticket { answer, outcome: None },
        };
        self.metrics.acknowledged(&self.settings.channel, &ticket.answer, began.elapsed());
        self.log(&offered, &ticket.answer);
        ticket
    }

    async fn turned_away(&self, peer: &str) {
        self.logins.failed(&self.settings.channel, peer).await;
    }

    async fn status(&self, id: MessageId) -> Option<StatusReport> {
        let message = self.store.message(id).await.ok()??;
        Some(StatusReport { state: message.state.to_string(), changed: message.changed, text: message.reason })
    }
}

impl ChannelIntake {
    /// Reads what the answer, the duplicate check and the search need.
    fn read(&self, offered: &Offered) -> Result<Arrival, Answer> {
        let at = (self.clock)();
        let (read, kind, sender, control_id, search) = match offered.format {
            Format::Hl7v2 => {
                let header = Header::read(&offered.bytes);
                hl7v2::check(&header).map_err(refused)?;
                let read = hl7v2::Message::read(offered.bytes.clone(), &self.settings.charset);
                let (message, findings) = read.map_err(Answer::Invalid)?;
                let search = patient::search_keys(&message, &self.settings.provider);
                let control_id = Some(header.control_id().into_owned()).filter(|id| !id.is_empty());
                (Read { body: Body::Hl7v2(message), findings }, header.kind(), header.sender(), control_id, search)
            }
            Format::FhirJson => {
                let resource = fhir::read(&offered.bytes, &fhir::Limits::default()).map_err(Answer::Invalid)?;
                let keys = patient::of_fhir(&resource, &self.settings.provider);
                let search = keys.into_iter().flat_map(|id| [id.key(), id.value]).collect();
                let control_id = bundle_identifier(&resource);
                let kind = kind_of(&resource);
                (Read { body: Body::Fhir(resource), findings: Vec::new() }, kind, String::new(), control_id, search)
            }
        };
        let received = Received {
            id: clock::new_id(at),
            channel: self.settings.channel.to_string(),
            peer: offered.peer.to_string(),
            at,
            format: offered.format,
            kind,
            control_id: control_id.or_else(|| offered.transport_id.clone()),
            sender: sender_of(sender, &offered.beside),
            search,
            sha256: Sha256::of(&offered.bytes),
            beside: offered.beside.clone(),
            payload: offered.bytes.clone(),
        };
        Ok(Arrival { received, read })
    }

    /// Stores a message and hands it to the pipeline, in the order of acceptance.
    async fn accept(&self, Arrival { received, read }: Arrival) -> Ticket {
        let id = received.id;
        let until = match self.settings.acknowledge {
            Acknowledge::Delivered => Until::Settled,
            Acknowledge::Stored | Acknowledge::Processed => Until::Processed,
        };
        let original = Arc::new(original_of(&received));
        let (tell, stored) = oneshot::channel();
        let untold = self.door.lock().await.enter(Pending { original, read, stored });
        let accepted = self.store.accept(received).await;
        drop(untold);
        // The pipeline may be gone at the very end of a run; the message is on disk.
        tell.send(matches!(accepted, Ok(Accepted::New))).unwrap_or_default();
        match accepted {
            Ok(Accepted::New) => self.ticket(Answer::Stored(id), id, until),
            Ok(Accepted::Duplicate { id: earlier }) => self.ticket(Answer::Duplicate(earlier), earlier, until),
            Ok(Accepted::Conflict { id, earlier }) => {
                Ticket { answer: Answer::Conflict { id, earlier }, outcome: None }
            }
            Err(error) => Ticket { answer: unavailable(&error), outcome: None },
        }
    }

    /// A ticket whose outcome is worked out only if the channel asks for it.
    fn ticket(&self, answer: Answer, id: MessageId, until: Until) -> Ticket {
        let (store, waiters) = (self.store.clone(), Arc::clone(&self.waiters));
        let outcome: BoxFuture<'static, Answer> = async move {
            let told = waiters.wait(id, until);
            // It may be through already.
            settle::tell_if_reached(&store, &waiters, id).await;
            told.await.unwrap_or_else(|_| Answer::Unavailable {
                reason: format!("stored as {id}, but the engine stops before it is through"),
                retry_after: Some(TRY_AGAIN),
            })
        }
        .boxed();
        Ticket { answer, outcome: Some(outcome) }
    }

    /// One line for each message, without a value of it.
    fn log(&self, offered: &Offered, answer: &Answer) {
        let (channel, peer, bytes) = (&*self.settings.channel, &*offered.peer, offered.bytes.len());
        match answer {
            Answer::Stored(id) => tracing::debug!(channel, peer, bytes, message_id = %id, "stored"),
            Answer::Done(id, _) => tracing::debug!(channel, peer, bytes, message_id = %id, "done"),
            Answer::Duplicate(id) => {
                // A sender that sends everything again is told of once a minute.
                const AGAIN: &str = "came again: the earlier answer is given";
                match self.to_be_said(&self.repeats, AGAIN) {
                    Some(unsaid) => tracing::info!(channel, peer, message_id = %id, unsaid, "{AGAIN}"),
                    None => tracing::debug!(channel, peer, message_id = %id, "{AGAIN}"),
                }
            }
            Answer::Conflict { id, earlier } => {
                tracing::warn!(channel, peer, message_id = %id, earlier = %earlier, "a control id came again with other bytes: parked");
            }
            Answer::Unsupported(fault) => {
                let control_id = control_id(offered);
                tracing::warn!(channel, peer, bytes, control_id, %fault, "refused: not supported");
            }
            Answer::Invalid(fault) => {
                let control_id = control_id(offered);
                tracing::warn!(channel, peer, bytes, control_id, %fault, "refused: invalid");
            }
            Answer::Unavailable { reason, .. } => {
                // A full disk is told of once a minute, not to every sender that tries again.
                if let Some(unsaid) = self.to_be_said(&self.refusals, reason) {
                    tracing::error!(channel, peer, bytes, reason, unsaid, "not taken; the same is said once a minute");
                }
            }
        }
    }

    /// Whether `what` is to be said, and how often it was not since the last time.
    fn to_be_said(&self, quiet: &std::sync::Mutex<Quiet>, what: &str) -> Option<u64> {
        quiet.lock().unwrap_or_else(PoisonError::into_inner).say(what, (self.clock)())
    }
}

/// What the sender calls a message that got no id of ours.
fn control_id(offered: &Offered) -> Option<String> {
    let hl7v2 = || Header::read(&offered.bytes).control_id().into_owned();
    let control_id = (offered.format == Format::Hl7v2).then(hl7v2).filter(|id| !id.is_empty());
    control_id.or_else(|| offered.transport_id.clone())
}

fn original_of(received: &Received) -> Original {
    Original {
        id: received.id,
        channel: received.channel.as_str().into(),
        received: received.at,
        peer: received.peer.as_str().into(),
        format: received.format,
        bytes: received.payload.clone(),
        sha256: received.sha256,
        beside: received.beside.clone(),
        control_id: received.control_id.as_deref().map(Into::into),
    }
}

/// What tells messages apart that are called the same: the same bytes with another Provenance beside them are another
/// message.
fn sender_of(sender: String, beside: &[u8]) -> String {
    if beside.is_empty() { sender } else { format!("{sender}|x-provenance:{}", Sha256::of(beside)) }
}

/// What a FHIR message calls itself: `Bundle.identifier` with its system, if it has one.
fn bundle_identifier(resource: &Value) -> Option<String> {
    let value = fhir::get_str(resource, "identifier.value")?;
    let system = fhir::get_str(resource, "identifier.system").unwrap_or_default();
    let is_bundle = fhir::get_str(resource, "resourceType") == Some("Bundle");
    is_bundle.then(|| format!("{system}|{value}"))
}

/// `Bundle/transaction`, or another resource's type.
fn kind_of(resource: &Value) -> String {
    let resource_type = fhir::get_str(resource, "resourceType").unwrap_or_default();
    match fhir::get_str(resource, "type").filter(|_| resource_type == "Bundle") {
        Some(bundle_type) => format!("{resource_type}/{bundle_type}"),
        None => resource_type.to_owned(),
    }
}

/// A store that cannot take a message now, in the sender's words.
fn unavailable(error: &StoreError) -> Answer {
    Answer::Unavailable { reason: error.to_string(), retry_after: Some(TRY_AGAIN) }
}

/// A header that we do not take, as the answer says it.
fn refused(fault: Fault) -> Answer {
    if fault.is_unsupported() { Answer::Unsupported(fault) } else { Answer::Invalid(fault) }
}
