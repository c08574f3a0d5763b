//! What can happen to a message: the records of the log.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use message::audit;
use message::consent::Flags;
use message::provenance::Step;
use message::{Finding, Format, MessageId, Sha256};
use serde::{Deserialize, Serialize};

/// A delivery's number: given by the store, rising over the whole log, never used twice.
pub type DeliveryId = u64;

/// A destination's name: its file's name.
pub type DestinationId = String;

/// A lane's key: a keyed hash of the patient's identifier (or of whatever orders the lane). Deliveries
/// of one lane to one destination leave one at a time, in order.
pub type Lane = [u8; 16];

/// The lanes that a delivery waits for and blocks: none (no order), one (a patient), or two and more
/// (a merge joins the lanes of both patients).
pub type LaneSet = Vec<Lane>;

/// A message as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Its id.
    pub id: MessageId,
    /// The inbound channel.
    pub channel: String,
    /// Who sent it, in the transport's words.
    pub peer: String,
    /// When it was taken.
    #[serde(with = "micros")]
    pub at: Timestamp,
    /// What its bytes are.
    pub format: Format,
    /// MSH-9 as `ADT^A01`, or the Bundle's type; empty if unreadable.
    pub kind: String,
    /// MSH-10, Bundle.identifier or X-Request-Id.
    pub control_id: Option<String>,
    /// What tells this sender from others of the channel (MSH-3 and MSH-4), for duplicate checks.
    pub sender: String,
    /// What operators search by besides the ids (patient identifiers, accession numbers), in clear:
    /// the store keeps only keyed hashes of them.
    pub search: BTreeSet<String>,
    /// The SHA-256 of `payload`.
    pub sha256: Sha256,
    /// What came beside the bytes and is none of them: the `X-Provenance` of an HTTP request. In the log record itself.
    #[serde(skip)]
    pub beside: Bytes,
    /// The bytes as they came. In the log record itself, or in a file of its own if big.
    #[serde(skip)]
    pub payload: Bytes,
}

/// One thing that happened. Every change of state is one of these, in the log, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A message was accepted (or kept as a conflict, then followed by `Processed` as `Failed`).
    Received(Box<Received>),
    /// Its transforms and routes ran: what came of it, with all its deliveries, as one.
    Processed {
        /// The message.
        message: MessageId,
        /// When.
        #[serde(with = "micros")]
        at: Timestamp,
        /// What came of it.
        outcome: Outcome,
        /// What each transform did.
        steps: Vec<Step>,
        /// What the transforms noticed.
        findings: Vec<Finding>,
    },
    /// An attempt did not end in delivery; another is due at `due`.
    Attempted {
        /// The delivery.
        delivery: DeliveryId,
        /// When the attempt ended.
        #[serde(with = "micros")]
        at: Timestamp,
        /// Why it failed, without patient data.
        reason: String,
        /// When the next one is due.
        #[serde(with = "micros")]
        due: Timestamp,
        /// What the destination answered.
        #[serde(with = "serde_bytes_opt")]
        answer: Option<Bytes>,
        /// What remains to be sent where a batch was taken in part; `None` leaves it as it was.
        #[serde(with = "serde_bytes_opt")]
        rest: Option<Bytes>,
    },
    /// The destination took it.
    Delivered {
        /// The delivery.
        delivery: DeliveryId,
        /// When.
        #[serde(with = "micros")]
        at: Timestamp,
        /// One line of what it said.
        summary: String,
        /// What it answered.
        #[serde(with = "serde_bytes_opt")]
        answer: Option<Bytes>,
    },
    /// It was refused, or we gave up: a dead letter, until replayed.
    Dead {
        /// The delivery.
        delivery: DeliveryId,
        /// When.
        #[serde(with = "micros")]
        at: Timestamp,
        /// Why, without patient data.
        reason: String,
        /// What the destination answered.
        #[serde(with = "serde_bytes_opt")]
        answer: Option<Bytes>,
        /// What was not taken, where part of a batch was; `None` leaves it as it was.
        #[serde(with = "serde_bytes_opt")]
        rest: Option<Bytes>,
    },
    /// It waits for consent, identity or an operator.
    Held {
        /// The delivery.
        delivery: DeliveryId,
        /// When.
        #[serde(with = "micros")]
        at: Timestamp,
        /// Why: what a privacy officer or an operator reads.
        reason: String,
    },
    /// It is waiting to be sent again: an operator released it, or what it waited for has come.
    Released {
        /// The delivery.
        delivery: DeliveryId,
        /// When.
        #[serde(with = "micros")]
        at: Timestamp,
        /// Who and why.
        reason: String,
    },
    /// An operator, or a patient's consent, decided that it is not to be sent.
    Skipped {
        /// The delivery.
        delivery: DeliveryId,
        /// When.
        #[serde(with = "micros")]
        at: Timestamp,
        /// Who and why.
        reason: String,
    },
    /// An operator sends the message through today's transforms and routes again; a `Processed`
    /// with the new deliveries follows.
    Replayed {
        /// The message.
        message: MessageId,
        /// When.
        #[serde(with = "micros")]
        at: Timestamp,
        /// The replay job, for all messages that it selected.
        job: uuid::Uuid,
        /// Only deliveries to this destination are replaced; all open ones where `None`.
        destination: Option<DestinationId>,
        /// Who and why.
        reason: String,
    },
    /// Anything the engine must remember over a restart under a name: pauses, replay jobs.
    Setting {
        /// Its name, such as `paused/destination/regional-repository`.
        key: String,
        /// Its value; `None` forgets it.
        value: Option<String>,
    },
    /// The message holds the latest event that was taken of these resources: an older one that comes later
    /// changes nothing there. In one group with its `Processed`.
    Latest {
        /// The message.
        message: MessageId,
        /// When its event happened.
        #[serde(with = "micros")]
        event: Timestamp,
        /// Keyed hashes of the resources.
        resources: Vec<Lane>,
    },
    /// A version of a Consent is on file. Always durable when its commit returns; in one group with the
    /// `Processed` of the message that brought it.
    Consent {
        /// The message that brought it.
        message: Option<MessageId>,
        /// When it was filed.
        #[serde(with = "micros")]
        at: Timestamp,
        /// Which version is the latest: see [`Order`].
        order: Order,
        /// The version.
        consent: NewConsent,
    },
    /// These identifiers are one person's: a merge, `Patient.link`, a crosswalk.
    Linked {
        /// The message that says so.
        message: Option<MessageId>,
        /// When it was filed.
        #[serde(with = "micros")]
        at: Timestamp,
        /// Which statement about two identifiers is the latest: see [`Order`].
        order: Order,
        /// Keyed hashes of the identifiers.
        subjects: Vec<Lane>,
    },
    /// What was taken for one person is two.
    Parted {
        /// The message that says so.
        message: Option<MessageId>,
        /// When it was filed.
        #[serde(with = "micros")]
        at: Timestamp,
        /// Which statement about two identifiers is the latest: see [`Order`].
        order: Order,
        /// Keyed hashes of the identifiers of the one.
        subjects: Vec<Lane>,
        /// Keyed hashes of the identifiers of the other.
        others: Vec<Lane>,
    },
    /// Somebody did what changes nothing here, and what the audit must tell of.
    Act {
        /// When.
        #[serde(with = "micros")]
        at: Timestamp,
        /// What.
        act: Act,
    },
    /// Somebody did not show the credentials that a channel asks for; for the audit.
    TurnedAway {
        /// When, the last time.
        #[serde(with = "micros")]
        at: Timestamp,
        /// The channel.
        channel: String,
        /// Where from, the last time: an address.
        peer: String,
        /// How often since that was told last.
        times: u64,
        /// From how many addresses.
        addresses: u64,
    },
}

/// What somebody did, for the audit. No patient data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// What.
    pub kind: audit::Kind,
    /// Who; empty for the engine itself.
    pub by: String,
    /// More of it, for a person.
    pub text: String,
    /// The message it was done with.
    pub message: Option<MessageId>,
    /// The delivery it was done with.
    pub delivery: Option<DeliveryId>,
    /// Whom it concerns: keyed hashes of patients' identifiers.
    pub subjects: Vec<Lane>,
    /// The SHA-256 of what came into force.
    pub sha256: Option<Sha256>,
}

impl Act {
    /// An act of which no more is said than this.
    #[must_use]
    pub fn new(kind: audit::Kind, by: impl Into<String>, text: impl Into<String>) -> Self {
        let (by, text) = (by.into(), text.into());
        Self { kind, by, text, message: None, delivery: None, subjects: Vec::new(), sha256: None }
    }
}

/// The place of a message in the order of acceptance, by which what it says of consents and identities comes before or
/// after what others say: a message that is replayed says it again where it first stood, not after all others. The
/// store fills it in; where no message is, the record's own place counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Order(pub(super) u64);

/// A version of a Consent, to be filed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewConsent {
    /// What its versions have in common: a keyed hash of who wrote it and of its identifier or id.
    pub key: Lane,
    /// Whose it is: keyed hashes of the patient's identifiers, made as those of lanes are.
    pub subjects: Vec<Lane>,
    /// The Consent, as FHIR JSON.
    pub body: Bytes,
}

/// Prints its size only: a Consent is patient data.
impl std::fmt::Debug for NewConsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewConsent({} subjects, {} bytes)", self.subjects.len(), self.body.len())
    }
}

/// What came of a message's transforms and routes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It goes on to destinations. Delivery ids are given by the store when committed.
    Queued {
        /// What it became; deliveries refer to these by index.
        outputs: Vec<NewOutput>,
        /// One for each route that took it.
        deliveries: Vec<NewDelivery>,
    },
    /// No route took it.
    Filtered {
        /// Why, for a person.
        reason: String,
    },
    /// A step could not be done: parked until replayed.
    Failed {
        /// Which transform, or `read`, `route`, `duplicate-check`.
        step: String,
        /// Where in the message.
        location: String,
        /// Why and what to do; no values of the message.
        reason: String,
    },
}

/// One rendering of a message, as some destinations are to get it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewOutput {
    /// What the bytes are.
    pub format: Format,
    /// Its consent flags.
    pub flags: Flags,
    /// The bytes; `None` for the original bytes, which are not stored twice.
    #[serde(with = "serde_bytes_opt")]
    pub bytes: Option<Bytes>,
    /// How many entries they have, where they are known to be a Bundle of type `transaction`. Not stored.
    #[serde(skip)]
    pub transaction: Option<usize>,
}

/// What is known of the bytes besides is no part of what they are: it is not read back from the log.
impl PartialEq for NewOutput {
    fn eq(&self, other: &Self) -> bool {
        (self.format, &self.flags, &self.bytes) == (other.format, &other.flags, &other.bytes)
    }
}

/// One delivery to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewDelivery {
    /// Where to.
    pub destination: DestinationId,
    /// Index into the outputs beside it.
    pub output: u32,
    /// What orders it.
    pub lanes: LaneSet,
    /// Whose data it carries: keyed hashes of the patients' identifiers, also where its lanes are others.
    #[serde(skip)]
    pub subjects: LaneSet,
    /// The route's purposes of use (ActReason codes).
    pub purposes: Vec<String>,
    /// Held from the start, with the reason.
    pub held: Option<String>,
}

/// The state of a message as a whole, or of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// On disk, its transforms not run yet.
    Received,
    /// Waiting in a destination's queue (a message: at least one of its deliveries).
    Queued,
    /// Waiting for consent, identity or an operator.
    Held,
    /// Taken by the destination (a message: all its deliveries, or skipped).
    Delivered,
    /// A dead letter.
    Dead,
    /// An operator, or a patient's consent, decided that it is not to be sent.
    Skipped,
    /// No route took it.
    Filtered,
    /// A transform could not be done; parked.
    Failed,
}

/// One delivery as the index knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// Its number.
    pub id: DeliveryId,
    /// The message.
    pub message: MessageId,
    /// Where to.
    pub destination: DestinationId,
    /// What orders it.
    pub lanes: LaneSet,
    /// Whose data it carries: keyed hashes of the patients' identifiers.
    pub subjects: LaneSet,
    /// The route's purposes of use.
    pub purposes: Vec<String>,
    /// Its consent flags, of its output.
    pub flags: Flags,
    /// Where it stands: `Queued`, `Held`, `Delivered`, `Dead` or `Skipped`.
    pub state: State,
    /// How many attempts have been made.
    pub attempts: u32,
    /// When the next attempt is due, while `Queued`.
    #[serde(with = "micros::optional")]
    pub due: Option<Timestamp>,
    /// When it was created.
    #[serde(with = "micros")]
    pub created: Timestamp,
    /// When its state last changed.
    #[serde(with = "micros")]
    pub changed: Timestamp,
    /// The last reason or summary.
    pub reason: String,
}

/// Serde for optional payload bytes.
mod serde_bytes_opt {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        Option::<Bytes>::deserialize(deserializer)
    }
}

/// Serde for times: microseconds since 1970 in the log and the index, RFC 3339 in what people read.
pub(super) mod micros {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    pub(in crate::store) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            at.serialize(serializer)
        } else {
            at.as_microsecond().serialize(serializer)
        }
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        if deserializer.is_human_readable() {
            return Timestamp::deserialize(deserializer);
        }
        Timestamp::from_microsecond(i64::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    /// The same, where there may be none.
    pub(in crate::store) mod optional {
        use jiff::Timestamp;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Micros(#[serde(with = "super")] Timestamp);

        pub(in crate::store) fn serialize<S: Serializer>(at: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
            at.map(Micros).serialize(s)
        }

        pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<Micros>::deserialize(d)?.map(|micros| micros.0))
        }
    }
}
