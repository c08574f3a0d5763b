//! One line of the chain, and a checkpoint: how they are written, and what their hashes cover.
//!
//! ```text
//! digest = SHA-256(canonical JSON of the event)                    RFC 8785
//! hash   = SHA-256("audit/1", seq, prev, digest, place in the log)
//! ```
//!
//! An event may be taken out by law, and its digest stays: the chain still holds.

use message::Sha256;
use message::audit::Event;
use serde::{Deserialize, Serialize};

use crate::store::Mark;

/// What stands before the first line.
pub(super) const NOTHING: Hash = Hash(Sha256([0; 32]));

/// A SHA-256 that reads and prints as hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(pub(super) Sha256);

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// What of the log a line tells: it goes on from there after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The record.
    pub(super) sequence: u64,
    /// Which of the events that the record stands for, from 0.
    pub(super) part: u32,
    /// Where its group starts.
    pub(super) from: Mark,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) seq: u64,
    /// The hash of the line before.
    pub(super) prev: Hash,
    /// Its own.
    pub(super) hash: Hash,
    /// That of the event.
    pub(super) digest: Hash,
    pub(super) log: Place,
    /// The event; `None` if it had to be taken out.
    pub(super) event: Option<Event>,
}

impl Line {
    /// The line after the one with number `seq` and hash `prev`.
    pub(super) fn after(seq: u64, prev: Hash, log: Place, event: Event) -> Self {
        let (seq, digest) = (seq + 1, digest(&event));
        Self { seq, prev, hash: hash(seq, prev, digest, log), digest, log, event: Some(event) }
    }

    /// As it is written, without its end.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a line; `None` if it is not exactly what was written.
    pub(super) fn read(text: &str) -> Option<Self> {
        let line: Self = serde_json::from_str(text).ok()?;
        let right = line.event.as_ref().is_none_or(|event| digest(event) == line.digest)
            && hash(line.seq, line.prev, line.digest, line.log) == line.hash
            && line.text() == text;
        right.then_some(line)
    }
}

/// Of the event's JSON, which is canonical as it is written.
fn digest(event: &Event) -> Hash {
    Hash(Sha256::of(&serde_json::to_vec(event).unwrap_or_default()))
}

fn hash(seq: u64, prev: Hash, digest: Hash, log: Place) -> Hash {
    let mut bytes = b"audit/1".to_vec();
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&prev.0.0);
    bytes.extend_from_slice(&digest.0.0);
    bytes.extend_from_slice(&log.sequence.to_be_bytes());
    bytes.extend_from_slice(&log.part.to_be_bytes());
    bytes.extend_from_slice(&log.from.segment.to_be_bytes());
    bytes.extend_from_slice(&log.from.offset.to_be_bytes());
    bytes.extend_from_slice(&log.from.group.to_be_bytes());
    Hash(Sha256::of(&bytes))
}

/// A signed statement that line `seq` had this hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    pub(super) at: jiff::Timestamp,
    /// The public key, in base64.
    pub(super) key: String,
    /// The signature, in base64.
    pub(super) signature: String,
}

impl Checkpoint {
    /// What is signed of it.
    pub(super) fn signed(seq: u64, hash: Hash, at: jiff::Timestamp) -> Vec<u8> {
        let mut bytes = b"audit-checkpoint/1".to_vec();
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&hash.0.0);
        bytes.extend_from_slice(&at.as_microsecond().to_be_bytes());
        bytes
    }
}
