//! Answers questions about messages and deliveries, on the readers' threads.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use bytes::Bytes;
use message::MessageId;

use super::codec::{Decoded, slots};
use super::counts::Tallies;
use super::duplicate::id_of;
use super::entry::{DeliveryEntry, MessageEntry, Routing, SettingEntry};
use super::epochs::Epochs;
use super::error::StoreError;
use super::index::{Index, decode};
use super::keys;
use super::lately::Lately;
use super::progress::Progress;
use super::read::{Records, file_of};
use super::record::{DeliveryId, DeliveryRecord, Lane, NewOutput, Outcome, Received, Record, State};
use super::segment::{Position, damage_at};
use super::warm::Ready;
use super::{Content, Due, Entry, MessageRecord, Whole};

/// What the readers' threads share.
pub(super) struct Finder {
    pub(super) index: Arc<Index>,
    pub(super) records: Arc<Records>,
    pub(super) tallies: Arc<Tallies>,
    pub(super) progress: Arc<Progress>,
    pub(super) epochs: Arc<Epochs>,
    /// What one who follows the log has not been told yet.
    pub(super) lately: Arc<Lately>,
    /// Segments from this one on are needed by one who follows the log.
    pub(super) followed: AtomicU32,
}

impl Finder {
    pub(super) fn message(&self, id: &MessageId) -> Result<Option<MessageRecord>, StoreError> {
        let entry = self.index.get::<MessageEntry>(&keys::message(id))?;
        entry.map(|entry| self.message_record(id, entry)).transpose()
    }

    /// What the log and the index know of a message. Where the log is damaged, what the index knows.
    pub(super) fn message_record(&self, id: &MessageId, entry: MessageEntry) -> Result<MessageRecord, StoreError> {
        let read = self.records.received(entry.at, id, false);
        let (received, damaged) = match read {
            Ok(received) => (received, false),
            Err(StoreError::Damaged(_)) => (from_index(id, &entry), true),
            Err(other) => return Err(other),
        };
        Ok(MessageRecord {
            sequence: entry.sequence,
            received,
            size: entry.size,
            state: entry.state(),
            changed: entry.changed,
            deliveries: entry.deliveries().collect(),
            damaged,
            reason: entry.reason,
        })
    }

    pub(super) fn payload(&self, id: &MessageId) -> Result<Bytes, StoreError> {
        let entry = self.known(id)?;
        self.records.received(entry.at, id, true).map(|received| received.payload)
    }

    /// A message with its payload.
    pub(super) fn whole(&self, id: &MessageId) -> Result<Whole, StoreError> {
        let mut received = self.records.received(self.known(id)?.at, id, true)?;
        let payload = std::mem::take(&mut received.payload);
        Ok(Whole { received: Arc::new(received), payload })
    }

    pub(super) fn content(&self, id: DeliveryId) -> Result<Content, StoreError> {
        self.content_of(&self.entry(id)?)
    }

    fn content_of(&self, entry: &DeliveryEntry) -> Result<Content, StoreError> {
        let at = self.place(&entry.message, entry.processed)?;
        let output = entry.output as usize;
        let Decoded { record, files } = self.records.read(at)?;
        let outputs = match record {
            Record::Processed { outcome: Outcome::Queued { outputs, .. }, .. } => outputs,
            _ => return Err(damage_at(at, "another record was expected here").into()),
        };
        let NewOutput { format, flags, bytes, .. } =
            outputs.into_iter().nth(output).ok_or_else(|| damage_at(at, "the output is not there"))?;
        let rest = match entry.rest {
            Some(sequence) => self.records.slot(self.place(&entry.message, sequence)?, 1)?,
            None => None,
        };
        let bytes = match rest {
            Some(rest) => rest,
            None => match (file_of(&files, output), bytes) {
                (Some(file), _) => self.records.big.read(file)?,
                (None, Some(bytes)) => bytes,
                (None, None) => self.payload(&entry.message)?,
            },
        };
        Ok(Content { format, bytes, transaction: None, flags })
    }

    /// A delivery with its message, if it is queued, and with its content, unless the message is longer
    /// than `most`.
    pub(super) fn due(&self, id: DeliveryId, most: u64) -> Result<Option<Due>, StoreError> {
        let Some(entry) = self.index.get::<DeliveryEntry>(&keys::delivery(id))? else { return Ok(None) };
        if entry.state != State::Queued {
            return Ok(None);
        }
        let message = self.message_record(&entry.message, self.known(&entry.message)?)?;
        let content = (message.size <= most).then(|| self.content_of(&entry)).transpose()?;
        let delivery = self.delivery_record(id, entry)?;
        Ok(Some(Due { delivery, received: Arc::new(message.received), size: message.size, content }))
    }

    /// The same of one whose message and content are in memory.
    pub(super) fn due_with(&self, id: DeliveryId, ready: Ready, most: u64) -> Result<Option<Due>, StoreError> {
        let Some(entry) = self.index.get::<DeliveryEntry>(&keys::delivery(id))? else { return Ok(None) };
        if entry.state != State::Queued {
            return Ok(None);
        }
        if entry.rest.is_some() {
            return self.due(id, most);
        }
        let Ready { received, size, content } = ready;
        let delivery = self.delivery_record(id, entry)?;
        Ok(Some(Due { delivery, received, size, content: Some(content) }))
    }

    /// The same without the disk, where all of it is in memory; never blocks for long.
    pub(super) fn due_at_once(&self, id: DeliveryId, ready: &Ready) -> Option<Result<Option<Due>, StoreError>> {
        self.progress.check().ok()?;
        let entry = match self.index.get_recent::<DeliveryEntry>(&keys::delivery(id))? {
            Ok(entry) => entry.filter(|entry| entry.state == State::Queued),
            Err(error) => return Some(Err(error)),
        };
        let Some(mut entry) = entry else { return Some(Ok(None)) };
        if entry.rest.is_some() {
            return None;
        }
        let routing = entry.routing.take()?;
        let Ready { received, size, content } = ready.clone();
        Some(Ok(Some(Due { delivery: entry.into_record(id, routing), received, size, content: Some(content) })))
    }

    pub(super) fn outputs(&self, id: &MessageId) -> Result<Vec<NewOutput>, StoreError> {
        let entry = self.known(id)?;
        let Some((sequence, _)) = entry.processed.last() else { return Ok(Vec::new()) };
        match self.records.read_whole(self.place(id, *sequence)?)? {
            Record::Processed { outcome: Outcome::Queued { outputs, .. }, .. } => Ok(outputs),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn history(&self, id: &MessageId) -> Result<Vec<Entry>, StoreError> {
        let entry = self.known(id)?;
        let mut places = vec![(entry.sequence, entry.at)];
        for event in self.index.prefix(&keys::events(id)) {
            let (key, value) = event?;
            places.push((keys::number(&key), decode(&value)?));
        }
        places.into_iter().map(|(sequence, position)| self.event(sequence, position)).collect()
    }

    fn event(&self, sequence: u64, position: Position) -> Result<Entry, StoreError> {
        let mut record = self.records.read(position)?.record;
        if let Record::Received(received) = &mut record {
            received.payload = Bytes::new();
        }
        // What was moved to a file of its own is not in a history.
        slots(&mut record)
            .into_iter()
            .filter(|slot| slot.as_ref().is_some_and(Bytes::is_empty))
            .for_each(|slot| *slot = None);
        Ok(Entry { sequence, position, record })
    }

    pub(super) fn unprocessed(
        &self,
        channel: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, MessageId)>, StoreError> {
        let prefix = keys::by_state_prefix(channel, State::Received);
        let from = keys::after(&prefix, after.map_or(0, |after| after.saturating_add(1)));
        let found = self.index.range(&prefix, &from).take(limit);
        found.map(|entry| entry.map(|(key, value)| (keys::number(&key), id_of(&value)))).collect()
    }

    pub(super) fn queued(
        &self,
        destination: &str,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let prefix = keys::queue_prefix(destination, State::Queued);
        let from = keys::after(&prefix, after.map_or(0, |after| after.saturating_add(1)));
        let ids = self.index.range(&prefix, &from).take(limit);
        let found = ids.map(|entry| self.delivery(keys::number(&entry?.0)));
        found.filter_map(Result::transpose).collect()
    }

    pub(super) fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, StoreError> {
        let entry = self.index.get::<DeliveryEntry>(&keys::delivery(id))?;
        entry.map(|entry| self.delivery_record(id, entry)).transpose()
    }

    pub(super) fn delivery_record(&self, id: DeliveryId, entry: DeliveryEntry) -> Result<DeliveryRecord, StoreError> {
        let routing = match self.records.routing(id, &entry, |key| self.index.get(key)) {
            Err(StoreError::Damaged(_)) => Routing::default(),
            other => other?,
        };
        Ok(entry.into_record(id, routing))
    }

    pub(super) fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let entry = self.index.get::<SettingEntry>(&keys::setting(name))?;
        entry.map(|entry| self.value(entry)).transpose().map(Option::flatten)
    }

    /// When the latest event that was taken of each resource happened, in microseconds.
    pub(super) fn latest(&self, resources: &[Lane]) -> Result<Vec<Option<i64>>, StoreError> {
        let newest = keys::wide_bucket(self.index.applied()?.map_or(0, |applied| applied.next));
        let buckets = newest.saturating_sub(keys::LATEST_BUCKETS - 1)..=newest;
        let one = |resource: &Lane| -> Result<Option<i64>, StoreError> {
            for bucket in buckets.clone().rev() {
                if let Some(event) = self.index.get::<i64>(&keys::latest(bucket, resource))? {
                    return Ok(Some(event));
                }
            }
            Ok(None)
        };
        resources.iter().map(one).collect()
    }

    pub(super) fn settings(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let mut settings = Vec::new();
        for entry in self.index.prefix(&keys::setting(prefix)) {
            let (key, value) = entry?;
            let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            match self.value(decode(&value)?) {
                Ok(value) => settings.extend(value.map(|value| (name, value))),
                // One that is lost must not take the others with it.
                Err(StoreError::Damaged(damage)) => tracing::error!(setting = name, %damage, "a setting is damaged"),
                Err(other) => return Err(other),
            }
        }
        Ok(settings)
    }

    fn value(&self, entry: SettingEntry) -> Result<Option<String>, StoreError> {
        if entry.value.is_some() {
            return Ok(entry.value);
        }
        match self.records.read(entry.at)?.record {
            Record::Setting { value, .. } => Ok(value),
            _ => Err(damage_at(entry.at, "another record was expected here").into()),
        }
    }

    /// The open deliveries of a message's last run.
    pub(super) fn open_deliveries(&self, id: &MessageId) -> Result<Vec<DeliveryId>, StoreError> {
        let Some(entry) = self.index.get::<MessageEntry>(&keys::message(id))? else { return Ok(Vec::new()) };
        let mut open = Vec::new();
        for id in entry.deliveries() {
            let delivery = self.index.get::<DeliveryEntry>(&keys::delivery(id))?;
            if delivery.is_some_and(|it| matches!(it.state, State::Queued | State::Held | State::Dead)) {
                open.push(id);
            }
        }
        Ok(open)
    }

    fn known(&self, id: &MessageId) -> Result<MessageEntry, StoreError> {
        self.index.get(&keys::message(id))?.ok_or_else(|| StoreError::no_message(*id))
    }

    fn entry(&self, id: DeliveryId) -> Result<DeliveryEntry, StoreError> {
        self.index.get(&keys::delivery(id))?.ok_or_else(|| StoreError::no_delivery(id))
    }

    fn place(&self, id: &MessageId, sequence: u64) -> Result<Position, StoreError> {
        self.index.get(&keys::event(id, sequence))?.ok_or_else(|| StoreError::no_message(*id))
    }
}

/// What the index knows of a message whose record cannot be read.
fn from_index(id: &MessageId, entry: &MessageEntry) -> Received {
    Received {
        id: *id,
        channel: entry.channel.clone(),
        peer: String::new(),
        at: entry.received,
        format: entry.format,
        kind: entry.kind.clone(),
        control_id: None,
        sender: String::new(),
        search: std::collections::BTreeSet::new(),
        sha256: entry.sha256,
        beside: Bytes::new(),
        payload: Bytes::new(),
    }
}
