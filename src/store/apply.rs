//! What each record does to the index: the one place where states change.

use jiff::Timestamp;
use message::MessageId;

use super::change::Change;
use super::consents::is_open;
use super::entry::{Came, DeliveryEntry, MessageEntry, Routing, SettingEntry, Tally, kind, short};
use super::error::StoreError;
use super::fact::{Fact, Item};
use super::index::decode;
use super::keys::{self, Key, SearchKeys};
use super::lifecycle::{delivery_of, happen};
use super::record::{DeliveryId, Lane, NewDelivery, NewOutput, Outcome, Received, Record, State};
use super::segment::Position;

/// The reason that replaced deliveries are given.
pub(super) const REPLACED: &str = "replaced by replay";
/// Deliveries of older runs than this many leave the index; the log keeps them.
const RUNS: usize = 24;

impl Change<'_> {
    /// Applies one record.
    pub(super) fn apply(&mut self, item: &Item) -> Result<(), StoreError> {
        self.cover(item)?;
        self.fact(item)
    }

    fn fact(&mut self, item: &Item) -> Result<(), StoreError> {
        match &item.fact {
            Fact::Record { record, files, size, keys } => {
                let message = self.record(item, record, *size, keys)?;
                if let Some(id) = message {
                    files.iter().for_each(|number| self.set(keys::file(&id, *number), Vec::new()));
                }
                Ok(())
            }
            Fact::Carried { message, parts } => {
                let later = self.not_in(message, parts)?;
                if let Some(received) = parts.first().and_then(|part| search_keys(&part.fact)) {
                    self.remove(message, &received)?;
                }
                parts.iter().chain(&later).try_for_each(|part| self.fact(part))
            }
        }
    }

    /// Records that came while the message was being carried, and are not in the copy.
    fn not_in(&self, message: &MessageId, parts: &[Item]) -> Result<Vec<Item>, StoreError> {
        let mut later = Vec::new();
        for (key, value) in self.scan(&keys::events(message))? {
            let sequence = keys::number(&key);
            if parts.iter().any(|part| part.sequence == sequence) {
                continue;
            }
            let at: Position = decode(&value)?;
            let decoded = self.records.read(at)?;
            let files = decoded.files.iter().map(|file| file.number).collect();
            later.push(Item { sequence, at, fact: Fact::of(decoded.record, files, None, &self.records.hasher) });
        }
        Ok(later)
    }

    /// Notes that a record is somewhere else than it was said to be.
    pub(super) fn relocate(&mut self, item: &Item) -> Result<(), StoreError> {
        let Fact::Record { record, .. } = &item.fact else { return Ok(()) };
        let message = match record {
            Record::Setting { key, .. } => {
                if let Some(entry) = self.get::<SettingEntry>(&keys::setting(key))? {
                    self.put(keys::setting(key), &SettingEntry { at: item.at, ..entry })?;
                }
                None
            }
            Record::Received(received) => Some(received.id),
            Record::Consent { message, .. } | Record::Linked { message, .. } | Record::Parted { message, .. } => {
                self.file(item, record)?;
                return self.happened_to(item, *message).map(drop);
            }
            Record::Processed { message, .. } | Record::Replayed { message, .. } | Record::Latest { message, .. } => {
                Some(*message)
            }
            other => match delivery_of(other) {
                Some(id) => self.get::<DeliveryEntry>(&keys::delivery(id))?.map(|entry| entry.message),
                None => None,
            },
        };
        message.map_or(Ok(()), |id| self.put(keys::event(&id, item.sequence), &item.at))
    }

    /// Forgets a message and all its deliveries.
    pub(super) fn remove(&mut self, id: &MessageId, found_by: &SearchKeys) -> Result<(), StoreError> {
        let Some(entry) = self.get::<MessageEntry>(&keys::message(id))? else { return Ok(()) };
        for delivery in entry.deliveries().collect::<Vec<_>>() {
            self.remove_delivery(delivery)?;
        }
        for prefix in [keys::events(id), keys::files(id)] {
            self.scan(&prefix)?.into_keys().for_each(|key| self.delete(key));
        }
        for (key, _) in finding(found_by, entry.sequence, id) {
            self.delete(key);
        }
        let state = entry.state();
        self.delete(keys::by_state(&entry.channel, state, entry.sequence));
        self.delete(keys::message(id));
        self.count(b'm', &entry.channel, state, -1);
        Ok(())
    }

    /// Counts a message that retention dropped.
    pub(super) fn count_dropped(&mut self, channel: &str) {
        self.count(b'x', channel, State::Delivered, 1);
    }

    fn record(
        &mut self,
        item: &Item,
        record: &Record,
        size: u64,
        found_by: &SearchKeys,
    ) -> Result<Option<MessageId>, StoreError> {
        match record {
            Record::Received(received) => self.received(item, received, size, found_by).map(Some),
            Record::Processed { message, at, outcome, .. } => self.processed(item, message, *at, outcome),
            Record::Replayed { message, at, .. } => self.replayed(item, message, *at),
            Record::Setting { key, value } => self.setting(item, key, value.as_deref()).map(|()| None),
            Record::Latest { message, event, resources } => self.latest(item, message, *event, resources),
            Record::Consent { message, .. } | Record::Linked { message, .. } | Record::Parted { message, .. } => {
                self.file(item, record)?;
                self.happened_to(item, *message)
            }
            other => self.event(item, other),
        }
    }

    fn received(
        &mut self,
        item: &Item,
        received: &Received,
        size: u64,
        found_by: &SearchKeys,
    ) -> Result<MessageId, StoreError> {
        let entry = MessageEntry {
            sequence: item.sequence,
            at: item.at,
            channel: received.channel.clone(),
            received: received.at,
            changed: received.at,
            format: received.format,
            kind: kind(&received.kind),
            sha256: received.sha256,
            size,
            came: Came::Nothing,
            reason: String::new(),
            processed: Vec::new(),
            tally: Tally::default(),
        };
        let id = received.id;
        self.add(keys::by_state(&entry.channel, State::Received, entry.sequence), id.as_bytes().to_vec());
        for (key, value) in finding(found_by, entry.sequence, &id) {
            self.add(key, value);
        }
        self.count(b'm', &entry.channel, State::Received, 1);
        self.put(keys::message(&id), &entry)?;
        Ok(id)
    }

    fn processed(
        &mut self,
        item: &Item,
        id: &MessageId,
        at: Timestamp,
        outcome: &Outcome,
    ) -> Result<Option<MessageId>, StoreError> {
        let Some(mut entry) = self.known(id)? else { return Ok(None) };
        let before = entry.state();
        let count = match outcome {
            Outcome::Queued { outputs, deliveries } => {
                (entry.came, entry.reason) = (Came::Queued, String::new());
                for (delivery, number) in deliveries.iter().zip(item.sequence + 1..) {
                    let state = self.create(item.sequence, number, id, at, delivery, outputs)?;
                    entry.tally.add(state);
                }
                u32::try_from(deliveries.len()).unwrap_or(u32::MAX)
            }
            Outcome::Filtered { reason } => {
                (entry.came, entry.reason) = (Came::Filtered, short(reason));
                0
            }
            Outcome::Failed { step, location, reason } => {
                let text = if location.is_empty() {
                    format!("{step}: {reason}")
                } else {
                    format!("{step}: {location}: {reason}")
                };
                (entry.came, entry.reason) = (Came::Failed, short(&text));
                0
            }
        };
        entry.processed.push((item.sequence, count));
        if entry.processed.len() > RUNS {
            let (sequence, count) = entry.processed.remove(0);
            for delivery in sequence + 1..=sequence + u64::from(count) {
                self.remove_delivery(delivery)?;
            }
        }
        self.put(keys::event(id, item.sequence), &item.at)?;
        self.restate(id, before, entry, at)?;
        Ok(Some(*id))
    }

    fn create(
        &mut self,
        processed: u64,
        number: DeliveryId,
        message: &MessageId,
        at: Timestamp,
        new: &NewDelivery,
        outputs: &[NewOutput],
    ) -> Result<State, StoreError> {
        let state = if new.held.is_some() { State::Held } else { State::Queued };
        let flags = outputs.get(new.output as usize).map(|output| output.flags.clone()).unwrap_or_default();
        let routing = Routing::of(new, flags);
        let mut entry = DeliveryEntry {
            message: *message,
            destination: new.destination.clone(),
            routing: None,
            state,
            attempts: 0,
            due: (state == State::Queued).then_some(at),
            created: at,
            changed: at,
            reason: new.held.as_deref().map(short).unwrap_or_default(),
            processed,
            output: new.output,
            rest: None,
        };
        let fits = postcard::experimental::serialized_size(&routing).is_ok_and(|size| size <= 512);
        self.add(keys::queue(&entry.destination, state, number), Vec::new());
        self.count(b'd', &entry.destination, state, 1);
        self.wait_for(number, &new.subjects);
        entry.routing = fits.then_some(routing);
        self.put(keys::delivery(number), &entry)?;
        Ok(state)
    }

    fn replayed(&mut self, item: &Item, id: &MessageId, at: Timestamp) -> Result<Option<MessageId>, StoreError> {
        let Some(mut entry) = self.known(id)? else { return Ok(None) };
        let before = entry.state();
        (entry.came, entry.reason) = (Came::Nothing, String::new());
        self.put(keys::event(id, item.sequence), &item.at)?;
        self.restate(id, before, entry, at)?;
        Ok(Some(*id))
    }

    /// Something that happened to one delivery.
    fn event(&mut self, item: &Item, record: &Record) -> Result<Option<MessageId>, StoreError> {
        let Some(id) = delivery_of(record) else { return Ok(None) };
        let Some(before) = self.get::<DeliveryEntry>(&keys::delivery(id))? else {
            self.unknown += 1;
            return Ok(None);
        };
        let message = before.message;
        self.put(keys::event(&message, item.sequence), &item.at)?;
        let mut entry = before.clone();
        let at = happen(&mut entry, record, item.sequence);
        if entry == before {
            return Ok(Some(message));
        }
        if entry.state != before.state {
            self.leave(id, &before)?;
            self.enter(id, &entry)?;
            if let Some(mut whole) = self.known(&message)? {
                let state = whole.state();
                whole.tally.take(before.state);
                whole.tally.add(entry.state);
                self.restate(&message, state, whole, at)?;
            }
        }
        self.put(keys::delivery(id), &entry)?;
        Ok(Some(message))
    }

    /// Keeps the latest event of each resource. A message that is carried forward says it again.
    fn latest(
        &mut self,
        item: &Item,
        message: &MessageId,
        event: Timestamp,
        resources: &[Lane],
    ) -> Result<Option<MessageId>, StoreError> {
        if self.known(message)?.is_none() {
            return Ok(None);
        }
        let event = event.as_microsecond();
        for resource in resources {
            let key = keys::latest(keys::wide_bucket(item.sequence), resource);
            if self.get::<i64>(&key)?.is_none_or(|before| before < event) {
                self.put(key, &event)?;
            }
        }
        self.put(keys::event(message, item.sequence), &item.at)?;
        Ok(Some(*message))
    }

    /// Notes a record in the history of its message, while that is in the store.
    fn happened_to(&mut self, item: &Item, message: Option<MessageId>) -> Result<Option<MessageId>, StoreError> {
        let Some(id) = message else { return Ok(None) };
        if self.get::<MessageEntry>(&keys::message(&id))?.is_none() {
            return Ok(None);
        }
        self.put(keys::event(&id, item.sequence), &item.at)?;
        Ok(Some(id))
    }

    fn setting(&mut self, item: &Item, key: &str, value: Option<&str>) -> Result<(), StoreError> {
        let Some(value) = value else {
            self.delete(keys::setting(key));
            return Ok(());
        };
        let value = Some(value.to_owned()).filter(|value| value.len() <= 512);
        self.put(keys::setting(key), &SettingEntry { sequence: item.sequence, at: item.at, value })
    }

    /// Puts a delivery under its state, and under its patients if it is open.
    fn enter(&mut self, id: DeliveryId, entry: &DeliveryEntry) -> Result<(), StoreError> {
        self.set(keys::queue(&entry.destination, entry.state, id), Vec::new());
        self.count(b'd', &entry.destination, entry.state, 1);
        if is_open(entry.state) {
            self.wait_for(id, &self.subjects_of(id, entry)?);
        }
        Ok(())
    }

    /// Takes a delivery from under its state, and from under its patients.
    fn leave(&mut self, id: DeliveryId, entry: &DeliveryEntry) -> Result<(), StoreError> {
        self.delete(keys::queue(&entry.destination, entry.state, id));
        self.count(b'd', &entry.destination, entry.state, -1);
        if is_open(entry.state) {
            self.wait_no_more(id, &self.subjects_of(id, entry)?);
        }
        Ok(())
    }

    fn remove_delivery(&mut self, id: DeliveryId) -> Result<(), StoreError> {
        if let Some(entry) = self.get::<DeliveryEntry>(&keys::delivery(id))? {
            self.leave(id, &entry)?;
            self.delete(keys::delivery(id));
        }
        Ok(())
    }

    /// Stores a message's entry, and puts it under its new state if that changed.
    fn restate(
        &mut self,
        id: &MessageId,
        before: State,
        mut entry: MessageEntry,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let now = entry.state();
        entry.changed = at;
        if now != before {
            self.delete(keys::by_state(&entry.channel, before, entry.sequence));
            let key = keys::by_state(&entry.channel, now, entry.sequence);
            // A message that was just received and has never been processed had no other state yet.
            match before == State::Received && entry.processed.len() <= 1 {
                true => self.add(key, id.as_bytes().to_vec()),
                false => self.set(key, id.as_bytes().to_vec()),
            }
            self.count(b'm', &entry.channel, before, -1);
            self.count(b'm', &entry.channel, now, 1);
        }
        self.put(keys::message(id), &entry)
    }

    fn known(&mut self, id: &MessageId) -> Result<Option<MessageEntry>, StoreError> {
        let entry = self.get(&keys::message(id))?;
        self.unknown += u64::from(entry.is_none());
        Ok(entry)
    }
}

/// The keys that a message is found by.
fn finding(found_by: &SearchKeys, sequence: u64, id: &MessageId) -> Vec<(Key, Vec<u8>)> {
    let bucket = keys::bucket(sequence);
    let control = found_by.control.iter().map(|hash| keys::control(bucket, hash, sequence));
    let search = found_by.search.iter().map(|hash| keys::search(bucket, hash, sequence));
    control.chain(search).map(|key| (key, id.as_bytes().to_vec())).collect()
}

/// What a `Received` is found by.
pub(super) fn search_keys(fact: &Fact) -> Option<SearchKeys> {
    match fact {
        Fact::Record { record: Record::Received(_), keys, .. } => Some(keys.clone()),
        _ => None,
    }
}

/// Where a record's first byte is, and how long it is.
pub(super) fn position(segment: u32, offset: u64, length: usize) -> Position {
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Position { segment, offset: small(offset), length: small(length as u64) }
}
