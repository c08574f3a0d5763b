//! What the index keeps of a message, a delivery, a setting: small values without patient data.

use jiff::Timestamp;
use message::consent::Flags;
use message::{Format, MessageId, Sha256};
use serde::{Deserialize, Serialize};

use super::record::{DeliveryId, DeliveryRecord, DestinationId, Lane, LaneSet, NewDelivery, State, micros};
use super::segment::Position;

/// No value in the index is longer, so that it never makes a blob file (16 of them fit in a page).
pub(super) const LONGEST: usize = 1024;
/// Reasons are cut to this in the index; the log has them whole.
const REASON: usize = 240;
/// A message type longer than this is none.
const KIND: usize = 48;

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MessageEntry {
    pub(super) sequence: u64,
    /// Its `Received`.
    pub(super) at: Position,
    pub(super) channel: String,
    #[serde(with = "micros")]
    pub(super) received: Timestamp,
    #[serde(with = "micros")]
    pub(super) changed: Timestamp,
    pub(super) format: Format,
    pub(super) kind: String,
    pub(super) sha256: Sha256,
    pub(super) size: u64,
    pub(super) came: Came,
    pub(super) reason: String,
    /// Each `Processed`: its sequence, and how many deliveries have the numbers behind it.
    pub(super) processed: Vec<(u64, u32)>,
    pub(super) tally: Tally,
}

/// What the last `Processed` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Came {
    /// Not processed, or about to be again.
    Nothing,
    Queued,
    Filtered,
    Failed,
}

/// How many of a message's deliveries are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    queued: u32,
    held: u32,
    delivered: u32,
    dead: u32,
    skipped: u32,
}

impl Tally {
    pub(super) fn add(&mut self, state: State) {
        if let Some(count) = self.of(state) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn take(&mut self, state: State) {
        if let Some(count) = self.of(state) {
            *count = count.saturating_sub(1);
        }
    }

    fn of(&mut self, state: State) -> Option<&mut u32> {
        match state {
            State::Queued => Some(&mut self.queued),
            State::Held => Some(&mut self.held),
            State::Delivered => Some(&mut self.delivered),
            State::Dead => Some(&mut self.dead),
            State::Skipped => Some(&mut self.skipped),
            State::Received | State::Filtered | State::Failed => None,
        }
    }
}

impl MessageEntry {
    /// The message's state as a whole: dead if any delivery is, else held, else queued, else what came
    /// of it last. A replay to one destination leaves deliveries to others as they are.
    pub(super) fn state(&self) -> State {
        match self.came {
            Came::Nothing => State::Received,
            _ if self.tally.dead > 0 => State::Dead,
            _ if self.tally.held > 0 => State::Held,
            _ if self.tally.queued > 0 => State::Queued,
            Came::Filtered => State::Filtered,
            Came::Failed => State::Failed,
            Came::Queued if self.tally.delivered > 0 => State::Delivered,
            Came::Queued => State::Skipped,
        }
    }

    /// All its deliveries, the oldest first.
    pub(super) fn deliveries(&self) -> impl DoubleEndedIterator<Item = DeliveryId> + '_ {
        self.processed.iter().flat_map(|(sequence, count)| numbers(*sequence, *count))
    }
}

fn numbers(processed: u64, count: u32) -> std::ops::RangeInclusive<DeliveryId> {
    processed + 1..=processed + u64::from(count)
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DeliveryEntry {
    pub(super) message: MessageId,
    pub(super) destination: DestinationId,
    pub(super) routing: Option<Routing>,
    pub(super) state: State,
    pub(super) attempts: u32,
    #[serde(with = "micros::optional")]
    pub(super) due: Option<Timestamp>,
    #[serde(with = "micros")]
    pub(super) created: Timestamp,
    #[serde(with = "micros")]
    pub(super) changed: Timestamp,
    pub(super) reason: String,
    /// The `Processed` that made it, and which of its outputs it sends.
    pub(super) processed: u64,
    pub(super) output: u32,
    /// The `Attempted` that says what remains to be sent.
    pub(super) rest: Option<u64>,
}

/// What a delivery's route said. Where it is too long for the index it stays in the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Routing {
    pub(super) lanes: LaneSet,
    /// The patients' identifiers, where they are not the lanes.
    pub(super) others: Option<LaneSet>,
    pub(super) purposes: Vec<String>,
    pub(super) flags: Flags,
}

impl Routing {
    pub(super) fn of(new: &NewDelivery, flags: Flags) -> Self {
        let others = (new.subjects != new.lanes).then(|| new.subjects.clone());
        Self { lanes: new.lanes.clone(), others, purposes: new.purposes.clone(), flags }
    }

    /// The identifiers of the patients whose data it carries.
    pub(super) fn subjects(&self) -> &[Lane] {
        self.others.as_ref().unwrap_or(&self.lanes)
    }
}

impl DeliveryEntry {
    pub(super) fn into_record(self, id: DeliveryId, routing: Routing) -> DeliveryRecord {
        DeliveryRecord {
            id,
            message: self.message,
            destination: self.destination,
            subjects: routing.subjects().to_vec(),
            lanes: routing.lanes,
            purposes: routing.purposes,
            flags: routing.flags,
            state: self.state,
            attempts: self.attempts,
            due: self.due,
            created: self.created,
            changed: self.changed,
            reason: self.reason,
        }
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SettingEntry {
    pub(super) sequence: u64,
    pub(super) at: Position,
    /// The value, unless it is too long for the index.
    pub(super) value: Option<String>,
}

/// What one segment covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Times of receipt, in microseconds; `from > to` where the segment received nothing.
    pub(super) from: i64,
    pub(super) to: i64,
}

/// How far the log is in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    /// Where the next group starts.
    pub(super) segment: u32,
    pub(super) offset: u64,
    /// The last group, and where it starts; `0` if there is none.
    pub(super) group: u64,
    pub(super) last: u64,
    /// The last group that was durable then, and where the one after it starts in this segment.
    pub(super) sure: u64,
    pub(super) sure_end: u64,
    /// The sequence after its last.
    pub(super) next: u64,
}

/// `reason` as the index keeps it.
pub(super) fn short(reason: &str) -> String {
    cut(reason, REASON).into()
}

/// A message type as the index keeps it.
pub(super) fn kind(kind: &str) -> String {
    cut(kind, KIND).into()
}

fn cut(text: &str, longest: usize) -> &str {
    (0..=longest.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}
