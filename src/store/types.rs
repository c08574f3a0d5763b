//! What the store answers.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use message::consent::Flags;
use message::{Format, MessageId};
use serde::{Deserialize, Serialize};

use super::open::OpenReport;
use super::record::{DeliveryId, DeliveryRecord, Lane, LaneSet, Received, Record, State};
use super::segment::Position;
use super::{Counts, record::micros};

/// What became of a message that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is on the disk.
    New,
    /// The same bytes came before under the same control id: nothing was stored.
    Duplicate {
        /// The earlier message, which is on the disk.
        id: MessageId,
    },
    /// The control id was used before for other bytes. It is on the disk, parked as failed.
    Conflict {
        /// The message that is parked: this one, or the same bytes when they came before.
        id: MessageId,
        /// The message that used it first.
        earlier: MessageId,
    },
}

/// What a commit made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The numbers given to all new deliveries, in the order of the records and within them.
    pub deliveries: Vec<DeliveryId>,
}

/// What is to be sent.
#[derive(Clone, PartialEq)]
pub struct Content {
    /// What the bytes are.
    pub format: Format,
    /// The bytes.
    pub bytes: Bytes,
    /// How many entries they have, where they are known to be a Bundle of type `transaction`.
    pub transaction: Option<usize>,
    /// Their consent flags.
    pub flags: Flags,
}

/// Prints sizes only: content is patient data.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({:?}, {} bytes)", self.format, self.bytes.len())
    }
}

/// A queued delivery with all that an attempt at it needs.
#[derive(Clone, Debug)]
pub struct Due {
    /// The delivery.
    pub delivery: DeliveryRecord,
    /// Its message, without payload and search keys. Where the log is damaged, what the index knows of it.
    pub received: Arc<Received>,
    /// How long the message is, in bytes.
    pub size: u64,
    /// What is to be sent; `None` if the message is longer than was asked for at once.
    pub content: Option<Content>,
}

/// What is on file of some patients' consents, at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnFile {
    /// [`super::Store::epoch_of`] of those that were asked for, then: while it stays, so does the rest.
    pub epoch: u64,
    /// All identifiers of these patients, those that were linked with them among them.
    pub subjects: LaneSet,
    /// False if it cannot be said who these patients are: identifiers were said to be one person's and not to be,
    /// or there are too many of them. Then nothing that is on file may permit anything.
    pub certain: bool,
    /// The latest version of each Consent, in the order of their keys.
    pub consents: Vec<ConsentOnFile>,
}

/// One version of a Consent.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsentOnFile {
    /// What its versions have in common.
    pub key: Lane,
    /// Which one it is, from 1.
    pub version: u32,
    /// When it was filed.
    pub at: Timestamp,
    /// The message that brought it.
    pub message: Option<MessageId>,
    /// The Consent, as FHIR JSON.
    pub body: Bytes,
}

/// Prints sizes only: a Consent is patient data.
impl std::fmt::Debug for ConsentOnFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConsentOnFile(version {}, {} bytes)", self.version, self.body.len())
    }
}

/// Whom a change of consents or identities concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// The patients with these identifiers.
    Subjects(Arc<[Lane]>),
    /// Perhaps anyone: more has changed than could be told.
    Anyone,
}

/// A message as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// Its place in the order of acceptance.
    pub sequence: u64,
    /// How it was accepted, without its payload.
    pub received: Received,
    /// How long its payload is, in bytes.
    pub size: u64,
    /// Where it stands as a whole.
    pub state: State,
    /// When that last changed.
    #[serde(with = "micros")]
    pub changed: Timestamp,
    /// Why it failed (`step: location: reason`) or was filtered; shortened.
    pub reason: String,
    /// All its deliveries, those of earlier runs first.
    pub deliveries: Vec<DeliveryId>,
    /// True if its record in the log is damaged: then `received` is what the index knows of it,
    /// without peer, sender, control id and search keys.
    pub damaged: bool,
}

/// One thing that happened to a message or to a delivery of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number: orders all that ever happened.
    pub sequence: u64,
    /// Where in the log it is.
    pub position: Position,
    /// What happened. The payload is left out, and what is in files of its own.
    pub record: Record,
}

/// Part of a longer answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// What was asked for.
    pub items: Vec<T>,
    /// Asks for the next page; `None` if there is none. A page may have fewer items than its limit,
    /// even none, and still have a next one: so much was looked at in vain.
    pub next: Option<u64>,
}

/// What building the index again found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// What the log holds and lacks.
    pub found: OpenReport,
    /// The counts, as they are now.
    pub counts: Counts,
}
