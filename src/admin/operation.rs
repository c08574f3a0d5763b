//! The questions and orders of operators, as they cross the local socket.

use std::path::PathBuf;

use jiff::Timestamp;
use message::{Format, MessageId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Problem;
use crate::engine::{Change, ReplayRequest};
use crate::store::{DeliveryId, DeliveryQuery, DeliveryRecord, MessageQuery, MessageRecord, State};

/// One question or order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// How everything stands. Answers a [`Status`](crate::engine::Status).
    Status,
    /// A page of messages.
    Messages(MessageQuery),
    /// One message with its deliveries. Answers a [`MessageDetail`].
    Message(MessageId),
    /// The bytes of a message or of a delivery. Answers a [`PartBytes`].
    Bytes(Part),
    /// A page of deliveries.
    Deliveries(DeliveryQuery),
    /// Everything that happened to a message. Answers a [`Lineage`](super::Lineage).
    Lineage(LineageOf),
    /// What of messages reached no output. Answers a [`Coverage`](super::Coverage).
    Coverage {
        /// Which messages.
        query: MessageQuery,
        /// How many are looked at, the newest first.
        limit: usize,
    },
    /// Holds, releases or skips one delivery.
    ChangeDelivery {
        /// What is done to it.
        change: Change,
        /// Which.
        delivery: DeliveryId,
        /// Who and why.
        reason: String,
    },
    /// Stops a channel's feed.
    PauseChannel {
        /// Its name.
        name: String,
        /// Who and why.
        reason: String,
    },
    /// Opens a channel's feed again.
    ResumeChannel {
        /// Its name.
        name: String,
    },
    /// Stops sending to a destination.
    PauseDestination {
        /// Its name.
        name: String,
        /// Who and why.
        reason: String,
    },
    /// Goes on sending to a destination.
    ResumeDestination {
        /// Its name.
        name: String,
    },
    /// What a replay would change, for at most `limit` messages. Answers
    /// [`Differences`](crate::engine::Differences).
    ReplayDryRun {
        /// What is to be replayed.
        request: ReplayRequest,
        /// How many messages are compared.
        limit: usize,
    },
    /// Begins a replay. Answers its [`ReplayProgress`](crate::engine::ReplayProgress).
    Replay(ReplayRequest),
    /// All replay jobs.
    Replays,
    /// Stops a replay job.
    CancelReplay(Uuid),
    /// Takes up a replay job that was cancelled.
    ResumeReplay(Uuid),
    /// Has the audit brought up to date, to be read, and says whom it is about. Answers an
    /// [`AuditOf`](super::AuditOf).
    Audit {
        /// What for: the audit tells of it.
        what: String,
        /// `SYSTEM|VALUE` of an identifier of a patient; `None` for all.
        patient: Option<String>,
    },
    /// Why a message may, or may not, go to a destination. Answers an [`Explained`](crate::engine::Explained).
    ConsentExplain {
        /// The message.
        message: MessageId,
        /// The destination.
        destination: String,
    },
    /// What another policy would change. Answers a [`Simulated`](crate::engine::Simulated).
    ConsentSimulate {
        /// Its name.
        name: String,
        /// Its file's text.
        policy: String,
        /// Only this destination; all that have a policy of that name where `None`.
        destination: Option<String>,
        /// Messages accepted at this time or later.
        since: Timestamp,
        /// How many deliveries are decided about, the newest first.
        limit: usize,
    },
    /// Which of these deliveries should not have gone out, as is known by now. Answers a list of
    /// [`Hindsight`](crate::engine::Hindsight)s.
    Hindsight {
        /// What was delivered.
        sent: Vec<Sent>,
        /// A policy that is not in force, by name and text: decided by it in place of that of the same name; of all, for
        /// one that is new to the site.
        policy: Option<(String, String)>,
    },
    /// The Consents on file of a patient. Answers a list of [`FiledConsent`](crate::engine::FiledConsent)s.
    Consents {
        /// `SYSTEM|VALUE` of an identifier; those of nobody that can be told where `None`.
        patient: Option<String>,
        /// All versions of each, and not the latest alone.
        versions: bool,
    },
    /// Declares an emergency. Answers its [`Declaration`](crate::engine::Declaration).
    BreakGlass(BreakGlass),
    /// Ends a declared emergency.
    EndBreakGlass(Uuid),
    /// The emergencies that were declared.
    BreakGlasses,
    /// Reads the whole store and proves that its numbers add up.
    Verify,
    /// Drops what ended before this time.
    Prune {
        /// Messages that ended earlier are dropped.
        before: Timestamp,
    },
    /// Writes a copy of the store to a folder.
    Backup {
        /// A folder that does not exist yet.
        to: PathBuf,
    },
    /// What a reload would change. Answers a list of [`Change`](crate::config::Change)s.
    Plan,
    /// Puts the configuration on disk into force. Answers what became of each part.
    Reload,
}

impl Operation {
    /// What an order changes, for the log; `None` for a question. Reasons stay out of it: people write
    /// what they like into them.
    #[must_use]
    pub fn order(&self) -> Option<String> {
        match self {
            Self::ChangeDelivery { change: Change::Hold, delivery, .. } => Some(format!("hold delivery {delivery}")),
            Self::ChangeDelivery { change: Change::Release, delivery, .. } => {
                Some(format!("release delivery {delivery}"))
            }
            Self::ChangeDelivery { change: Change::Skip, delivery, .. } => Some(format!("skip delivery {delivery}")),
            Self::PauseChannel { name, .. } => Some(format!("pause channel {name}")),
            Self::ResumeChannel { name } => Some(format!("resume channel {name}")),
            Self::PauseDestination { name, .. } => Some(format!("pause destination {name}")),
            Self::ResumeDestination { name } => Some(format!("resume destination {name}")),
            Self::Replay(_) => Some("replay".to_owned()),
            Self::CancelReplay(job) => Some(format!("cancel replay {job}")),
            Self::ResumeReplay(job) => Some(format!("resume replay {job}")),
            Self::BreakGlass(BreakGlass { destination, .. }) => Some(format!("break the glass to {destination}")),
            Self::EndBreakGlass(id) => Some(format!("end break-glass {id}")),
            Self::Prune { before } => Some(format!("prune the store before {before}")),
            Self::Backup { to } => Some(format!("back the store up to {}", to.display())),
            Self::Reload => Some("reload".to_owned()),
            Self::Status
            | Self::Messages(_)
            | Self::Message(_)
            | Self::Bytes(_)
            | Self::Deliveries(_)
            | Self::Lineage(_)
            | Self::Coverage { .. }
            | Self::ReplayDryRun { .. }
            | Self::Replays
            | Self::Audit { .. }
            | Self::ConsentExplain { .. }
            | Self::ConsentSimulate { .. }
            | Self::Hindsight { .. }
            | Self::Consents { .. }
            | Self::BreakGlasses
            | Self::Verify
            | Self::Plan => None,
        }
    }
}

/// What was delivered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// The delivery.
    pub delivery: DeliveryId,
    /// When.
    pub at: Timestamp,
    /// What that rested on, as the audit tells it; empty where no policy decided.
    pub proof: String,
}

/// A named person opens one patient's record to one destination.
#[derive(Clone, Serialize, Deserialize)]
pub struct BreakGlass {
    /// `SYSTEM|VALUE` of an identifier of the patient.
    pub patient: String,
    /// The destination.
    pub destination: String,
    /// Who declares it.
    pub by: String,
    /// Why: an ActReason code of overrides.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// Prints neither the patient nor the person.
impl std::fmt::Debug for BreakGlass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BreakGlass(to {} until {})", self.destination, self.until)
    }
}

/// Whose lineage.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineageOf {
    /// A message's.
    Message(MessageId),
    /// That of the message of a delivery.
    Delivery(DeliveryId),
    /// That of the message whose bytes have this SHA-256: `ni:///sha-256;…`, as Provenance has it, or hexadecimal.
    Original(String),
    /// That of the message which last wrote a record.
    Resource {
        /// `Type/id`, as the destination calls it, or `Type/id/_history/version`.
        reference: String,
        /// At which destination; at any where `None`.
        destination: Option<String>,
    },
}

/// Which bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A message as it came.
    Original(MessageId),
    /// A delivery as it is to leave, or left.
    Content(DeliveryId),
    /// What the destination answered last.
    Answer(DeliveryId),
}

/// Bytes on their way to an operator's terminal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartBytes {
    /// The bytes, in base64.
    pub base64: String,
}

/// A message as operators see it: without a value of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageSummary {
    /// Its id.
    pub id: MessageId,
    /// Its place in the order of acceptance.
    pub sequence: u64,
    /// The inbound channel.
    pub channel: String,
    /// Who sent it, in the transport's words.
    pub peer: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// What its bytes are.
    pub format: Format,
    /// MSH-9 as `ADT^A01`, or the Bundle's type.
    pub kind: String,
    /// MSH-10, Bundle.identifier or X-Request-Id.
    pub control_id: Option<String>,
    /// The SHA-256 of its bytes.
    pub sha256: String,
    /// How many bytes it has.
    pub size: u64,
    /// Where it stands as a whole.
    pub state: State,
    /// When that last changed.
    pub changed: Timestamp,
    /// Why it failed or was filtered; why a delivery of it is dead or held: `regional-repository: …`.
    pub reason: String,
    /// True if its record on disk is damaged.
    pub damaged: bool,
}

impl From<MessageRecord> for MessageSummary {
    fn from(record: MessageRecord) -> Self {
        let MessageRecord { sequence, received, size, state, changed, reason, damaged, .. } = record;
        Self {
            id: received.id,
            sequence,
            channel: received.channel,
            peer: received.peer,
            at: received.at,
            format: received.format,
            kind: received.kind,
            control_id: received.control_id,
            sha256: received.sha256.to_string(),
            size,
            state,
            changed,
            reason,
            damaged,
        }
    }
}

/// One message with its deliveries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageDetail {
    /// The message.
    pub message: MessageSummary,
    /// Its deliveries, the earliest first.
    pub deliveries: Vec<DeliveryRecord>,
}

/// Why an operation was not carried out.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct OperationError {
    /// True if what was asked for does not exist.
    pub not_found: bool,
    /// True if the configuration on disk cannot be used.
    #[serde(default)]
    pub config: bool,
    /// What is wrong and what to do.
    pub text: String,
}

impl OperationError {
    /// What was asked for does not exist.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self { not_found: true, config: false, text: text.into() }
    }

    /// Anything else.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self { not_found: false, config: false, text: error.to_string() }
    }

    /// The configuration on disk cannot be used: every problem, with what to do.
    pub fn config(problems: &[Problem]) -> Self {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Self { not_found: false, config: true, text: lines.join("\n") }
    }

    /// For a log: on one line.
    #[must_use]
    pub fn line(&self) -> String {
        self.text.replace("\n  help:", "; help:").replace('\n', "; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_told_without_its_reason() {
        let name = "st-mary-adt".to_owned();
        let pause = Operation::PauseChannel { name, reason: "asked by Eve Everyperson".to_owned() };
        assert_eq!(pause.order().as_deref(), Some("pause channel st-mary-adt"));
        let skip = Operation::ChangeDelivery { change: Change::Skip, delivery: 7, reason: "hers".to_owned() };
        assert_eq!(skip.order().as_deref(), Some("skip delivery 7"));
        assert_eq!(Operation::Status.order(), None);
    }

    #[test]
    fn operations_cross_the_socket_unchanged() {
        for text in [
            r#""status""#,
            r#"{"change-delivery":{"change":"release","delivery":7,"reason":"mended"}}"#,
            r#"{"lineage":{"delivery":7}}"#,
            r#"{"prune":{"before":"2026-01-31T00:00:00Z"}}"#,
        ] {
            let operation: Operation = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&operation).unwrap(), text);
        }
    }
}
