//! The keys of the index: one tree, a letter for what it is, then what it is ordered by.
//!
//! ```text
//! M message                              -> MessageEntry
//! T channel 0 state sequence             -> message      messages by channel and state
//! D bucket hash8 hash8 sequence          -> message      by control id; and channel, sender, control id
//! S bucket hash16 sequence               -> message      by patient identifier, accession number, ...
//! E message sequence                     -> Position     every record of a message
//! F message file                         -> ()           its payloads in files
//! V delivery                             -> DeliveryEntry
//! Q destination 0 state delivery         -> ()           deliveries by destination and state
//! R bucket hash16                        -> i64          the latest event that was taken of a resource
//! C consent v order                      -> ConsentEntry  every version of a Consent
//! C consent s subject                    -> ()           whose it is
//! A subject c consent                    -> ()           and the other way round
//! A subject l subject                    -> LinkEntry    what was said of two identifiers
//! O bucket subject delivery              -> ()           queued and held deliveries by patient
//! K name                                 -> SettingEntry
//! N kind name 0 state                    -> u64          counts
//! G segment                              -> Span         what a segment's times and sequences are
//! P                                      -> Applied      how far the log is in the index
//! ```
//!
//! `D`, `S`, `R` and `O` are hashes, and hashes scatter: the bucket, which rises with the sequence, keeps what
//! is being written together, so that the cost of a message is the same with ten million stored.

use message::MessageId;
use ring::hmac;

use super::record::{DeliveryId, Lane, State};

pub(super) use super::key::Key;

/// How many sequences share a bucket, as a power of two.
const BUCKET_BITS: u32 = 13;

/// `P`.
pub(super) const APPLIED: &[u8] = b"P";

/// The bucket of `sequence`.
pub(super) fn bucket(sequence: u64) -> u32 {
    u32::try_from(sequence >> BUCKET_BITS).unwrap_or(u32::MAX)
}

pub(super) fn message(id: &MessageId) -> Key {
    join(b'M', &[id.as_bytes()])
}

pub(super) fn by_state(channel: &str, state: State, sequence: u64) -> Key {
    join(b'T', &[channel.as_bytes(), &[0, state_byte(state)], &sequence.to_be_bytes()])
}

pub(super) fn by_state_prefix(channel: &str, state: State) -> Key {
    join(b'T', &[channel.as_bytes(), &[0, state_byte(state)]])
}

pub(super) fn control(bucket: u32, hash: &[u8], sequence: u64) -> Key {
    join(b'D', &[&bucket.to_be_bytes(), hash, &sequence.to_be_bytes()])
}

pub(super) fn control_prefix(bucket: u32, hash: &[u8]) -> Key {
    join(b'D', &[&bucket.to_be_bytes(), hash])
}

pub(super) fn search(bucket: u32, hash: &[u8; 16], sequence: u64) -> Key {
    join(b'S', &[&bucket.to_be_bytes(), hash, &sequence.to_be_bytes()])
}

pub(super) fn search_prefix(bucket: u32, hash: &[u8; 16]) -> Key {
    join(b'S', &[&bucket.to_be_bytes(), hash])
}

/// How many sequences share a bucket of the latest events and of open deliveries, as a power of two: they are asked for
/// one by one, bucket by bucket.
const WIDE_BUCKET_BITS: u32 = 20;

/// The bucket of the latest events and of open deliveries at `sequence`.
pub(super) fn wide_bucket(sequence: u64) -> u32 {
    u32::try_from(sequence >> WIDE_BUCKET_BITS).unwrap_or(u32::MAX)
}

/// For how many buckets the latest events of resources are kept.
pub(super) const LATEST_BUCKETS: u32 = 16;

pub(super) fn latest(bucket: u32, resource: &[u8; 16]) -> Key {
    join(b'R', &[&bucket.to_be_bytes(), resource])
}

/// The bucket of a key of [`latest`] or [`open`].
pub(super) fn bucket_of(key: &[u8]) -> u32 {
    key.get(1..).and_then(<[u8]>::first_chunk).copied().map_or(u32::MAX, u32::from_be_bytes)
}

pub(super) fn consent(key: &Lane, order: u64) -> Key {
    join(b'C', &[key, b"v", &order.to_be_bytes()])
}

pub(super) fn consents(key: &Lane) -> Key {
    join(b'C', &[key, b"v"])
}

pub(super) fn subject(key: &Lane, subject: &Lane) -> Key {
    join(b'C', &[key, b"s", subject])
}

/// The versions of a Consent, and whose it is.
pub(super) fn all_of_consent(key: &Lane) -> Key {
    join(b'C', &[key])
}

pub(super) fn consent_of(subject: &Lane, key: &Lane) -> Key {
    join(b'A', &[subject, b"c", key])
}

pub(super) fn link(one: &Lane, other: &Lane) -> Key {
    join(b'A', &[one, b"l", other])
}

pub(super) fn links(subject: &Lane) -> Key {
    join(b'A', &[subject, b"l"])
}

/// Consents of an identifier, and what was said of it and others: one look finds both.
pub(super) fn all_of_subject(subject: &Lane) -> Key {
    join(b'A', &[subject])
}

/// Which of its kinds a key of `C` or `A` is: the letter behind the hash.
pub(super) fn letter(key: &[u8]) -> Option<u8> {
    key.get(17).copied()
}

pub(super) fn open(subject: &Lane, delivery: DeliveryId) -> Key {
    join(b'O', &[&wide_bucket(delivery).to_be_bytes(), subject, &delivery.to_be_bytes()])
}

pub(super) fn open_of(bucket: u32, subject: &Lane) -> Key {
    join(b'O', &[&bucket.to_be_bytes(), subject])
}

/// The hash at the end of a key.
pub(super) fn lane(key: &[u8]) -> Option<Lane> {
    key.last_chunk().copied()
}

pub(super) fn event(id: &MessageId, sequence: u64) -> Key {
    join(b'E', &[id.as_bytes(), &sequence.to_be_bytes()])
}

pub(super) fn events(id: &MessageId) -> Key {
    join(b'E', &[id.as_bytes()])
}

pub(super) fn file(id: &MessageId, number: u64) -> Key {
    join(b'F', &[id.as_bytes(), &number.to_be_bytes()])
}

pub(super) fn files(id: &MessageId) -> Key {
    join(b'F', &[id.as_bytes()])
}

pub(super) fn delivery(id: DeliveryId) -> Key {
    join(b'V', &[&id.to_be_bytes()])
}

pub(super) fn queue(destination: &str, state: State, id: DeliveryId) -> Key {
    join(b'Q', &[destination.as_bytes(), &[0, state_byte(state)], &id.to_be_bytes()])
}

pub(super) fn queue_prefix(destination: &str, state: State) -> Key {
    join(b'Q', &[destination.as_bytes(), &[0, state_byte(state)]])
}

pub(super) fn setting(name: &str) -> Key {
    join(b'K', &[name.as_bytes()])
}

pub(super) fn count(kind: u8, name: &str, state: State) -> Key {
    join(b'N', &[&[kind], name.as_bytes(), &[0, state_byte(state)]])
}

pub(super) fn span(segment: u32) -> Key {
    join(b'G', &[&segment.to_be_bytes()])
}

/// The number at the end of a key: a sequence, a delivery, a file.
pub(super) fn number(key: &[u8]) -> u64 {
    key.last_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// The key after all that begin with `prefix` and have a number behind it.
pub(super) fn after(prefix: &Key, number: u64) -> Key {
    Key::from([prefix.as_slice(), &number.to_be_bytes()].concat())
}

/// Every state, in the order of [`State`].
pub(super) const STATES: [State; 8] = [
    State::Received,
    State::Queued,
    State::Held,
    State::Delivered,
    State::Dead,
    State::Skipped,
    State::Filtered,
    State::Failed,
];

pub(super) fn state_byte(state: State) -> u8 {
    match state {
        State::Received => 0,
        State::Queued => 1,
        State::Held => 2,
        State::Delivered => 3,
        State::Dead => 4,
        State::Skipped => 5,
        State::Filtered => 6,
        State::Failed => 7,
    }
}

pub(super) fn state_of(byte: u8) -> Option<State> {
    STATES.get(usize::from(byte)).copied()
}

fn join(kind: u8, parts: &[&[u8]]) -> Key {
    Key::join(kind, parts)
}

/// What a message is found by, hashed: the clear values are in the log alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SearchKeys {
    /// The control id, and channel, sender and control id.
    pub(super) control: Option<[u8; 16]>,
    pub(super) search: Vec<[u8; 16]>,
}

/// Hashes what messages are found by with the store's own secret (HMAC-SHA256, cut to 16 or 8 bytes).
pub(super) struct Hasher(hmac::Key);

impl Hasher {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub(super) fn keys(&self, received: &super::Received) -> SearchKeys {
        let control = received.control_id.as_deref().map(|id| self.control(&received.channel, &received.sender, id));
        SearchKeys { control, search: received.search.iter().map(|value| self.search(value)).collect() }
    }

    pub(super) fn search(&self, value: &str) -> [u8; 16] {
        self.hash(&[b"search", value.as_bytes()])
    }

    pub(super) fn lane(&self, bytes: &[u8]) -> [u8; 16] {
        self.hash(&[b"lane", bytes])
    }

    /// The first half of [`Hasher::control`]: the control id, whoever sent it.
    pub(super) fn control_id(&self, id: &str) -> [u8; 8] {
        self.hash(&[b"control", id.as_bytes()])
    }

    fn control(&self, channel: &str, sender: &str, id: &str) -> [u8; 16] {
        let whole: [u8; 8] = self.hash(&[b"duplicate", channel.as_bytes(), sender.as_bytes(), id.as_bytes()]);
        let mut key = [0; 16];
        key.iter_mut().zip(self.control_id(id).into_iter().chain(whole)).for_each(|(to, from)| *to = from);
        key
    }

    fn hash<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().first_chunk().copied().unwrap_or([0; N])
    }
}
