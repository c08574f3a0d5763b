//! What each record does to the index: the one place where states change.

use jiff::Timestamp;
use message::MessageId;

use super::change::Change;
use super::entry::{Came, DeliveryEntry, MessageEntry, PLACES, Routing, SettingEntry, Tally, kind, numbers, short};
use super::error::StoreError;
use super::fact::{Fact, Item};
use super::keys::{self, Key, SearchKeys};
use super::lifecycle::{delivery_of, happen};
use super::record::{
    DeliveryId, DestinationId, Lane, LaneSet, NewDelivery, NewOutput, Outcome, Received, Record, State,
};
use super::segment::Position;

/// The reason that replaced deliveries are given.
pub(super) const REPLACED: &str = "replaced by replay";
/// Deliveries of older runs than this many leave the index; the log keeps them.
const RUNS: usize = 16;

impl Change<'_> {
    /// Applies one record, unless it is in the index already.
    pub(super) fn apply(&mut self, item: &Item) -> Result<(), StoreError> {
        self.cover(item)?;
        match &item.fact {
            Fact::Record { record, files, size, keys } => self.record(item, record, files, *size, keys),
            Fact::Carried { message, parts } => self.carried(item, message, parts),
        }
    }

    /// A message was moved to the head of the log, with all its records but those that came meanwhile.
    fn carried(&mut self, item: &Item, message: &MessageId, parts: &[Item]) -> Result<(), StoreError> {
        self.owner = Some(*message);
        let before = self.get::<MessageEntry>(&keys::message(message))?;
        if before.as_ref().is_some_and(|entry| entry.last >= item.sequence) {
            return Ok(());
        }
        let mut later = Vec::new();
        for (sequence, at) in self.places(message)? {
            if !parts.iter().any(|part| part.sequence == sequence) {
                let decoded = self.records.read(at)?;
                let files = decoded.files.iter().map(|file| file.number).collect();
                later.push(Item { sequence, at, fact: Fact::of(decoded.record, files, None, &self.records.hasher) });
            }
        }
        if let Some(found_by) = parts.first().and_then(|part| search_keys(&part.fact)) {
            self.remove(message, &found_by)?;
        }
        for part in parts.iter().chain(&later) {
            if let Fact::Record { record, files, size, keys } = &part.fact {
                self.record(part, record, files, *size, keys)?;
            }
        }
        self.owner = Some(*message);
        match self.get::<MessageEntry>(&keys::message(message))? {
            Some(entry) => self.put(keys::message(message), &MessageEntry { last: item.sequence, ..entry }),
            None => Ok(()),
        }
    }

    /// Where all records of a message are, by their sequences.
    fn places(&self, id: &MessageId) -> Result<Vec<(u64, Position)>, StoreError> {
        let Some(entry) = self.get::<MessageEntry>(&keys::message(id))? else { return Ok(Vec::new()) };
        let mut places = vec![(entry.sequence, entry.at)];
        places.extend(entry.places);
        for key in self.keys(&keys::events(id))? {
            places.extend(self.get(&key)?.map(|at| (keys::number(&key), at)));
        }
        Ok(places)
    }

    /// Notes that a record is somewhere else than it was said to be.
    pub(super) fn relocate(&mut self, item: &Item) -> Result<(), StoreError> {
        let Fact::Record { record, .. } = &item.fact else { return Ok(()) };
        let message = match record {
            Record::Setting { key, .. } => {
                self.owner = None;
                let entry = self.get::<SettingEntry>(&keys::setting(key))?;
                return match entry.filter(|entry| entry.sequence == item.sequence) {
                    Some(entry) => self.put(keys::setting(key), &SettingEntry { at: item.at, ..entry }),
                    None => Ok(()),
                };
            }
            Record::Received(received) => Some(received.id),
            Record::Processed { message, .. } | Record::Replayed { message, .. } => Some(*message),
            other => match delivery_of(other) {
                Some(id) => self.get::<DeliveryEntry>(&keys::delivery(id))?.map(|entry| entry.message),
                None => None,
            },
        };
        let Some(id) = message else { return Ok(()) };
        let Some(mut entry) = self.get::<MessageEntry>(&keys::message(&id))? else { return Ok(()) };
        self.owner = Some(id);
        let inside = entry.places.iter_mut().find(|(sequence, _)| *sequence == item.sequence);
        match inside {
            Some((_, at)) => *at = item.at,
            None if entry.sequence == item.sequence => entry.at = item.at,
            None => return self.put(keys::event(&id, item.sequence), &item.at),
        }
        self.put(keys::message(&id), &entry)
    }

    /// Forgets a message and all its deliveries.
    pub(super) fn remove(&mut self, id: &MessageId, found_by: &SearchKeys) -> Result<(), StoreError> {
        let Some(entry) = self.get::<MessageEntry>(&keys::message(id))? else { return Ok(()) };
        self.owner = Some(*id);
        for delivery in entry.deliveries().collect::<Vec<_>>() {
            self.remove_delivery(delivery)?;
        }
        for prefix in [keys::events(id), keys::files(id)] {
            self.keys(&prefix)?.into_iter().for_each(|key| self.delete(key));
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
        files: &[u64],
        size: u64,
        found_by: &SearchKeys,
    ) -> Result<(), StoreError> {
        let message = match record {
            Record::Received(received) => self.received(item, received, size, found_by)?,
            Record::Processed { message, at, outcome, .. } => self.processed(item, message, *at, outcome)?,
            Record::Replayed { message, at, destination, .. } => {
                self.replayed(item, message, *at, destination.as_ref())?
            }
            Record::Setting { key, value } => {
                self.setting(item, key, value.as_deref())?;
                None
            }
            other => self.event(item, other)?,
        };
        if let Some(id) = message {
            files.iter().for_each(|number| self.set_new(keys::file(&id, *number), Vec::new()));
        }
        Ok(())
    }

    fn received(
        &mut self,
        item: &Item,
        received: &Received,
        size: u64,
        found_by: &SearchKeys,
    ) -> Result<Option<MessageId>, StoreError> {
        let id = received.id;
        self.owner = Some(id);
        if self.get::<MessageEntry>(&keys::message(&id))?.is_some() {
            return Ok(None);
        }
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
            last: item.sequence,
            places: Vec::new(),
            replay_to: None,
        };
        self.set_new(keys::by_state(&entry.channel, State::Received, entry.sequence), id.as_bytes().to_vec());
        for (key, value) in finding(found_by, entry.sequence, &id) {
            self.set_new(key, value);
        }
        self.count(b'm', &entry.channel, State::Received, 1);
        self.put(keys::message(&id), &entry)?;
        Ok(Some(id))
    }

    fn processed(
        &mut self,
        item: &Item,
        id: &MessageId,
        at: Timestamp,
        outcome: &Outcome,
    ) -> Result<Option<MessageId>, StoreError> {
        let Some(mut entry) = self.known(id, item)? else { return Ok(None) };
        let before = entry.state();
        self.replace(&mut entry, at)?;
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
                let place = if location.is_empty() { String::new() } else { format!("{location}: ") };
                (entry.came, entry.reason) = (Came::Failed, short(&format!("{step}: {place}{reason}")));
                0
            }
        };
        entry.processed.push((item.sequence, count));
        self.forget_runs(&mut entry)?;
        self.happened(item, id, before, entry, at)?;
        Ok(Some(*id))
    }

    /// Deliveries of the oldest runs leave the index, but for those that are still open.
    fn forget_runs(&mut self, entry: &mut MessageEntry) -> Result<(), StoreError> {
        let mut oldest = 0;
        while entry.processed.len() > RUNS
            && let Some((sequence, count)) = entry.processed.get(oldest).copied()
        {
            let mut open = false;
            for id in numbers(sequence, count) {
                open |= self.get::<DeliveryEntry>(&keys::delivery(id))?.is_some_and(|it| is_open(it.state));
            }
            if open {
                oldest += 1;
                continue;
            }
            entry.processed.remove(oldest);
            for id in numbers(sequence, count) {
                self.remove_delivery(id)?;
            }
        }
        Ok(())
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
        let routing = Routing { lanes: new.lanes.clone(), purposes: new.purposes.clone(), flags };
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
        self.enter(number, &entry, &routing.lanes);
        entry.routing = fits.then_some(routing);
        self.put(keys::delivery(number), &entry)?;
        Ok(state)
    }

    /// Open deliveries of earlier runs give way to those of a replay.
    fn replace(&mut self, message: &mut MessageEntry, at: Timestamp) -> Result<(), StoreError> {
        let only = message.replay_to.take();
        for id in message.deliveries().collect::<Vec<_>>() {
            let Some(mut entry) = self.get::<DeliveryEntry>(&keys::delivery(id))? else { continue };
            if !is_open(entry.state) || only.as_ref().is_some_and(|only| *only != entry.destination) {
                continue;
            }
            message.tally.take(entry.state);
            message.tally.add(State::Skipped);
            self.leave(id, &entry)?;
            (entry.state, entry.due, entry.changed, entry.reason) = (State::Skipped, None, at, REPLACED.into());
            self.enter(id, &entry, &[]);
            self.put(keys::delivery(id), &entry)?;
        }
        Ok(())
    }

    fn replayed(
        &mut self,
        item: &Item,
        id: &MessageId,
        at: Timestamp,
        destination: Option<&DestinationId>,
    ) -> Result<Option<MessageId>, StoreError> {
        let Some(mut entry) = self.known(id, item)? else { return Ok(None) };
        let before = entry.state();
        (entry.came, entry.reason, entry.replay_to) = (Came::Nothing, String::new(), destination.cloned());
        self.happened(item, id, before, entry, at)?;
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
        let Some(mut whole) = self.known(&message, item)? else { return Ok(None) };
        let state = whole.state();
        let mut entry = before.clone();
        let at = happen(&mut entry, record, item.sequence);
        if entry.state != before.state {
            let lanes = self.leave(id, &before)?;
            self.enter(id, &entry, &lanes);
            whole.tally.take(before.state);
            whole.tally.add(entry.state);
        }
        if entry != before {
            self.put(keys::delivery(id), &entry)?;
        }
        self.happened(item, &message, state, whole, at)?;
        Ok(Some(message))
    }

    fn setting(&mut self, item: &Item, key: &str, value: Option<&str>) -> Result<(), StoreError> {
        self.owner = None;
        let Some(value) = value else {
            self.delete(keys::setting(key));
            return Ok(());
        };
        let value = Some(value.to_owned()).filter(|value| value.len() <= 512);
        self.put(keys::setting(key), &SettingEntry { sequence: item.sequence, at: item.at, value })
    }

    /// Puts an open delivery under its state; into its lanes if it is queued.
    fn enter(&mut self, id: DeliveryId, entry: &DeliveryEntry, lanes: &[Lane]) {
        self.count(b'd', &entry.destination, entry.state, 1);
        if is_open(entry.state) {
            self.set_new(keys::queue(&entry.destination, entry.state, id), Vec::new());
        }
        if entry.state == State::Queued {
            lanes.iter().for_each(|lane| self.set_new(keys::lane(&entry.destination, lane, id), Vec::new()));
        }
    }

    /// Takes a delivery from under its state; returns its lanes.
    fn leave(&mut self, id: DeliveryId, entry: &DeliveryEntry) -> Result<LaneSet, StoreError> {
        self.count(b'd', &entry.destination, entry.state, -1);
        if is_open(entry.state) {
            self.delete(keys::queue(&entry.destination, entry.state, id));
        }
        let find = |message: &MessageId, sequence| {
            let whole = self.get::<MessageEntry>(&keys::message(message))?;
            match whole.and_then(|whole| whole.place(sequence)) {
                Some(at) => Ok(Some(at)),
                None => self.get(&keys::event(message, sequence)),
            }
        };
        let lanes = self.records.routing(id, entry, find)?.lanes;
        if entry.state == State::Queued {
            lanes.iter().for_each(|lane| self.delete(keys::lane(&entry.destination, lane, id)));
        }
        Ok(lanes)
    }

    fn remove_delivery(&mut self, id: DeliveryId) -> Result<(), StoreError> {
        if let Some(entry) = self.get::<DeliveryEntry>(&keys::delivery(id))? {
            self.leave(id, &entry)?;
            self.delete(keys::delivery(id));
        }
        Ok(())
    }

    /// Notes that a record happened to a message: stores its entry, under its new state if that changed.
    fn happened(
        &mut self,
        item: &Item,
        id: &MessageId,
        before: State,
        mut entry: MessageEntry,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let now = entry.state();
        (entry.changed, entry.last) = (at, item.sequence);
        if entry.places.len() < PLACES {
            entry.places.push((item.sequence, item.at));
        } else {
            self.put(keys::event(id, item.sequence), &item.at)?;
        }
        if now != before {
            self.delete(keys::by_state(&entry.channel, before, entry.sequence));
            self.set_new(keys::by_state(&entry.channel, now, entry.sequence), id.as_bytes().to_vec());
            self.count(b'm', &entry.channel, before, -1);
            self.count(b'm', &entry.channel, now, 1);
        }
        self.put(keys::message(id), &entry)
    }

    /// The message's entry, unless `item` is in it already; it is the one that is changed from here on.
    fn known(&mut self, id: &MessageId, item: &Item) -> Result<Option<MessageEntry>, StoreError> {
        self.owner = Some(*id);
        let entry = self.get::<MessageEntry>(&keys::message(id))?;
        self.unknown += u64::from(entry.is_none());
        Ok(entry.filter(|entry| entry.last < item.sequence))
    }
}

/// True if a delivery has still to go, or waits for a person.
pub(super) fn is_open(state: State) -> bool {
    matches!(state, State::Queued | State::Held | State::Dead)
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
