//! One attempt at one delivery: consent once more, then the channel, then what follows from its answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use channels::{Clock, DeliveryError, Outbound, Outgoing, Receipt};
use jiff::Timestamp;
use message::MessageId;
use message::audit::Kind;
use message::consent::{Decision, Purpose};

use super::gate::{Answer, Asked, Gate, Guard, Leave};
use super::limits::{Limits, Share};
use super::process::decide;
use super::retry::{self, Next};
use crate::audit::Standing;
use crate::config::DestinationConfig;
use crate::store::{Act, Content, DeliveryId, DeliveryRecord, Due, Received, Record, Store, StoreError};

/// A message up to this many bytes is read before there is room for it in the limits.
const SMALL: u64 = 16 << 10;
/// How often one attempt asks for consent, where that changes all the while.
const DECISIONS: usize = 5;

/// What came of an attempt.
pub(super) struct Attempt {
    pub(super) delivery: DeliveryId,
    /// The message, where the delivery could be read at all.
    pub(super) message: Option<MessageId>,
    /// The channel that the message came by, where it could be read.
    pub(super) channel: Option<String>,
    /// What is to be written of it.
    pub(super) record: Option<Record>,
    /// What follows.
    pub(super) end: End,
    /// One line for the log, without patient data.
    pub(super) summary: String,
    /// How long the destination took.
    pub(super) took: Duration,
    /// From the delivery's creation to its end, once it is delivered.
    pub(super) age: Option<Duration>,
}

/// What follows an attempt.
#[derive(Debug)]
pub(super) enum End {
    /// The destination took it.
    Delivered,
    /// It is tried again.
    Again {
        /// After how long.
        wait: Duration,
        /// Because the whole destination is down.
        down: bool,
    },
    /// It is a dead letter.
    Dead {
        /// The destination was down, and the delivery's budget for that is used up.
        down: bool,
    },
    /// It waits for an operator, or for what its source and channel say of its use.
    Held,
    /// It waits for consent.
    Parked {
        /// When to look at it again, if nothing else happens.
        until: Option<Timestamp>,
        /// What that rests on.
        guard: Guard,
    },
    /// Consent denies it: it is not to be sent.
    Suppressed,
    /// The destination is stopped; it stays in the queue.
    Stopped {
        /// What the destination said of our credentials.
        reason: String,
    },
    /// It is no longer to be sent: skipped or replaced meanwhile.
    Gone,
    /// The store could not be read, or the audit not be written; the delivery was not touched.
    Unread,
}

/// All that an attempt needs of the store.
struct Loaded {
    delivery: DeliveryRecord,
    received: Arc<Received>,
    content: Content,
    _memory: Share,
}

/// What an attempt must pass before anything leaves.
#[derive(Clone, Copy)]
pub(super) struct Doors<'a> {
    /// Consent.
    pub(super) gate: &'a Gate,
    /// What cannot be audited does not leave.
    pub(super) audit: &'a Standing,
}

/// Makes one attempt.
pub(super) async fn attempt(
    id: DeliveryId,
    store: &Store,
    Doors { gate, audit }: Doors<'_>,
    limits: &Limits,
    config: &DestinationConfig,
    outbound: &dyn Outbound,
    clock: &Clock,
) -> Attempt {
    let loaded = match load(id, store, limits).await {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return ended(id, None, None, End::Gone, String::new()),
        Err(error) if error.is_damage() => return damaged(id, store, &error, clock()).await,
        Err(error) => return ended(id, None, None, End::Unread, error.to_string()),
    };
    let message = Some(loaded.received.id);
    // Decided again at every attempt: what was allowed when it was queued may be forbidden now.
    let purposes: BTreeSet<Purpose> =
        loaded.delivery.purposes.iter().filter_map(|code| Purpose::try_from(code.clone()).ok()).collect();
    if let Decision::Hold { reason } = decide(config, &purposes, &loaded.content.flags) {
        let record = Record::Held { delivery: id, at: clock(), reason: reason.clone() };
        let channel = Some(loaded.received.channel.clone());
        return Attempt { channel, ..ended(id, message, Some(record), End::Held, reason) };
    }
    let released = match release(gate, config, &loaded, clock).await {
        Ok(released) => released,
        Err(attempt) => return *attempt,
    };
    if let Some(why) = audit.hindrance() {
        let channel = Some(loaded.received.channel.clone());
        return Attempt { channel, ..ended(id, message, None, End::Unread, why) };
    }
    let began = Instant::now();
    let Released { bytes, proof, leave, nameless } = released;
    let outgoing = if nameless { anonymous(outgoing(&loaded, bytes)) } else { outgoing(&loaded, bytes) };
    let result = outbound.deliver(&outgoing).await;
    drop(leave);
    let took = began.elapsed();
    let at = clock();
    let attempt = match result {
        Ok(mut receipt) => {
            if let Some((proof, guard)) = proof {
                receipt.summary = format!("{} [consent: {proof}]", receipt.summary);
                tell_if_revoked(gate, store, config, &loaded, &guard, at).await;
            }
            delivered(&loaded, receipt, at)
        }
        Err(error) => failed(&loaded, &error, config, at),
    };
    Attempt { took, channel: Some(loaded.received.channel.clone()), ..attempt }
}

/// What may leave, and what that rests on.
#[derive(Default)]
struct Released<'a> {
    /// What: the content as it is where `None`.
    bytes: Option<Bytes>,
    /// By which decision; `None` where the destination has no policy.
    proof: Option<(String, Guard)>,
    /// True where it is de-identified.
    nameless: bool,
    /// While it is on its way, nothing on file of its patients changes.
    leave: Option<Leave<'a>>,
}

/// Asks for consent on what is about to leave, until the answer rests on what is known at this moment.
async fn release<'a>(
    gate: &'a Gate,
    config: &DestinationConfig,
    loaded: &Loaded,
    clock: &Clock,
) -> Result<Released<'a>, Box<Attempt>> {
    if config.policy.is_none() {
        return Ok(Released::default());
    }
    let (delivery, message) = (loaded.delivery.id, Some(loaded.received.id));
    let ended = |record, end, summary| {
        let channel = Some(loaded.received.channel.clone());
        Box::new(Attempt { channel, ..ended(delivery, message, record, end, summary) })
    };
    for _ in 0..DECISIONS {
        let (answer, guard) = match gate.ask(asked(config, loaded)).await {
            Ok(answered) => answered,
            Err(error) => return Err(ended(None, End::Unread, error.to_string())),
        };
        match answer {
            Answer::Permit { bytes, proof, nameless } => {
                let leave = Some(gate.leave(&guard).await);
                if gate.holds(&guard) {
                    return Ok(Released { bytes, proof: Some((proof, guard)), leave, nameless });
                }
                // It was permitted by what no longer holds: asked again.
            }
            Answer::Park { reason, until } => {
                let record = Record::Held { delivery, at: clock(), reason: reason.clone() };
                return Err(ended(Some(record), End::Parked { until, guard }, reason));
            }
            Answer::Suppress { reason } if gate.holds(&guard) => {
                let record = Record::Skipped { delivery, at: clock(), reason: reason.clone() };
                return Err(ended(Some(record), End::Suppressed, reason));
            }
            Answer::Suppress { .. } => {}
        }
    }
    Err(ended(None, End::Unread, "consents change faster than they can be weighed".to_owned()))
}

fn asked<'a>(config: &'a DestinationConfig, loaded: &'a Loaded) -> Asked<'a> {
    Asked {
        message: Some(loaded.received.id),
        destination: config,
        channel: &loaded.received.channel,
        subjects: &loaded.delivery.subjects,
        purposes: &loaded.delivery.purposes,
        format: loaded.content.format,
        bytes: &loaded.content.bytes,
    }
}

/// What was revoked while it was on its way cannot be called back: somebody must know, and the audit tells of it.
async fn tell_if_revoked(
    gate: &Gate,
    store: &Store,
    config: &DestinationConfig,
    loaded: &Loaded,
    guard: &Guard,
    at: Timestamp,
) {
    if gate.holds(guard) {
        return;
    }
    if let Ok((Answer::Park { reason, .. } | Answer::Suppress { reason }, _)) = gate.ask(asked(config, loaded)).await {
        let (destination, delivery) = (&*config.name, loaded.delivery.id);
        let message_id = loaded.received.id;
        tracing::error!(destination, delivery, %message_id, reason, "late revocation: it was sent as consent for it ended");
        let act = Act {
            message: Some(message_id),
            delivery: Some(delivery),
            subjects: loaded.delivery.subjects.clone(),
            ..Act::new(Kind::LateRevocation, "", format!("sent to {destination} as consent for it ended: {reason}"))
        };
        if let Err(error) = store.commit(vec![Record::Act { at, act }]).await {
            tracing::error!(%error, delivery, "the audit does not tell of a late revocation");
        }
    }
}

/// The delivery and its content, if it is still to be sent. Small ones are read in one go.
async fn load(id: DeliveryId, store: &Store, limits: &Limits) -> Result<Option<Loaded>, StoreError> {
    let Some(Due { delivery, received, size, content }) = store.due(id, SMALL).await? else { return Ok(None) };
    let memory = limits.memory(size).await;
    let content = match content {
        Some(content) => content,
        None => store.content(id).await?,
    };
    Ok(Some(Loaded { delivery, received, content, _memory: memory }))
}

/// What leaves: the content as it is, or `redacted`.
fn outgoing(loaded: &Loaded, redacted: Option<Bytes>) -> Outgoing {
    let message = &loaded.received;
    let (message_type, trigger_event) = message.kind.split_once('^').unwrap_or((&message.kind, ""));
    Outgoing {
        message: message.id,
        delivery: loaded.delivery.id,
        attempt: loaded.delivery.attempts,
        format: loaded.content.format,
        transaction: loaded.content.transaction.filter(|_| redacted.is_none()),
        bytes: redacted.unwrap_or_else(|| loaded.content.bytes.clone()),
        unsigned: None,
        names: vec![
            ("channel", message.channel.clone()),
            ("message_type", message_type.to_owned()),
            ("trigger_event", trigger_event.split('^').next().unwrap_or_default().to_owned()),
            ("control_id", message.control_id.clone().unwrap_or_default()),
            ("received", message.at.strftime("%Y%m%dT%H%M%SZ").to_string()),
        ],
    }
}

/// What leaves without anything beside it that may tell whose it is: a message's number tells when it came.
fn anonymous(outgoing: Outgoing) -> Outgoing {
    let message = MessageId(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, outgoing.message.0.as_bytes()));
    let names = outgoing.names.into_iter().filter(|(name, _)| !matches!(*name, "control_id" | "received")).collect();
    Outgoing { message, names, ..outgoing }
}

fn delivered(loaded: &Loaded, receipt: Receipt, at: Timestamp) -> Attempt {
    let id = loaded.delivery.id;
    let age = Duration::try_from(at.duration_since(loaded.delivery.created)).unwrap_or_default();
    let answer = some_bytes(receipt.answer);
    let record = Record::Delivered { delivery: id, at, summary: receipt.summary.clone(), answer };
    let attempt = ended(id, Some(loaded.received.id), Some(record), End::Delivered, receipt.summary);
    Attempt { age: Some(age), ..attempt }
}

fn failed(loaded: &Loaded, error: &DeliveryError, config: &DestinationConfig, at: Timestamp) -> Attempt {
    let delivery = loaded.delivery.id;
    let (reason, answer) = (error.to_string(), answer_of(error));
    let attempt = loaded.delivery.attempts.saturating_add(1);
    let (record, end) = match retry::next(error, attempt, &config.retry, rand::random()) {
        Next::Again { wait, down, rest } => {
            let end = End::Again { wait, down };
            // What waits for the destination to be back waits for no time: a restart tries at once.
            let due = if down && !says_when(error) { at } else { at + wait };
            (Record::Attempted { delivery, at, reason: reason.clone(), due, answer, rest }, end)
        }
        Next::Dead(rest) => {
            let down = matches!(error, DeliveryError::Unavailable { down: true, .. });
            (Record::Dead { delivery, at, reason: reason.clone(), answer, rest }, End::Dead { down })
        }
        Next::Hold => (Record::Held { delivery, at, reason: reason.clone() }, End::Held),
        // The message is not to blame: it keeps its place and its budget.
        Next::Stop => (
            Record::Attempted { delivery, at, reason: reason.clone(), due: at, answer, rest: None },
            End::Stopped { reason: reason.clone() },
        ),
    };
    ended(delivery, Some(loaded.received.id), Some(record), end, reason)
}

/// True if the destination itself said when to try again.
fn says_when(error: &DeliveryError) -> bool {
    matches!(error, DeliveryError::Unavailable { retry_after: Some(_), .. })
}

fn answer_of(error: &DeliveryError) -> Option<Bytes> {
    match error {
        DeliveryError::Erred(receipt)
        | DeliveryError::Refused(receipt)
        | DeliveryError::Unauthorized(receipt)
        | DeliveryError::Partly { receipt, .. } => some_bytes(receipt.answer.clone()),
        DeliveryError::Unavailable { .. } | DeliveryError::Unknown { .. } => None,
    }
}

/// A delivery whose content is damaged on disk is a dead letter: it will never be readable.
async fn damaged(id: DeliveryId, store: &Store, error: &StoreError, at: Timestamp) -> Attempt {
    let message = store.delivery(id).await.ok().flatten().map(|delivery| delivery.message);
    let reason = format!("its stored content cannot be read: {error}");
    let record = Record::Dead { delivery: id, at, reason: reason.clone(), answer: None, rest: None };
    ended(id, message, Some(record), End::Dead { down: false }, reason)
}

fn some_bytes(bytes: Bytes) -> Option<Bytes> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn ended(
    delivery: DeliveryId,
    message: Option<MessageId>,
    record: Option<Record>,
    end: End,
    summary: String,
) -> Attempt {
    Attempt { delivery, message, channel: None, record, end, summary, took: Duration::ZERO, age: None }
}
