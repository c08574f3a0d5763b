//! Retention: whole segments go, the oldest first. What is still open in one is carried forward.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use jiff::Timestamp;
use message::MessageId;
use serde::{Deserialize, Serialize};

use super::apply::{position, search_keys};
use super::change::Change;
use super::codec::Codec;
use super::entry::{MessageEntry, SettingEntry, Span};
use super::error::{Damage, StoreError};
use super::fact::{Fact, Item};
use super::index::decode;
use super::keeper::Keeper;
use super::keys::{self, SearchKeys};
use super::open::{items, set_aside};
use super::record::{Record, State};
use super::scan::{Found, Scan};
use super::segment::Position;
use super::writer::Prepared;

/// A message whose history goes on growing while it is carried is tried so often.
const TRIES: usize = 8;
/// So many messages leave the index as one.
const AT_ONCE: usize = 200;
/// So many bytes of consents and links are carried as one.
const BUNDLE: usize = 1 << 20;
/// So many entries of resources leave the index as one.
const FORGOTTEN_AT_ONCE: usize = 4096;

/// What retention did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReport {
    /// Segments dropped.
    pub segments: u64,
    /// Messages dropped with them: all were done with.
    pub dropped: u64,
    /// Messages still open, carried forward.
    pub carried: u64,
}

/// What a segment is home to.
#[derive(Default)]
struct Home {
    open: Vec<MessageId>,
    done: Vec<(MessageId, SearchKeys)>,
    settings: Vec<String>,
    /// Consents and links between identifiers, which are kept for good.
    filed: Vec<Item>,
}

impl Keeper {
    /// Drops the segments whose messages were all received before `before`.
    pub(super) fn retain(&mut self, before: Timestamp) -> Result<PruneReport, StoreError> {
        let mut report = PruneReport::default();
        let current = self.finder.index.applied()?.map_or(0, |applied| applied.segment);
        let needed = self.finder.followed.load(Ordering::Acquire);
        self.forget_latest()?;
        for number in self.finder.records.segments.numbers()? {
            let span = self.finder.index.get::<Span>(&keys::span(number))?;
            let old = span.is_none_or(|span| span.to < before.as_microsecond());
            if number >= current.min(needed) || !old || !self.drop_segment(number, &mut report)? {
                break;
            }
        }
        Ok(report)
    }

    /// Takes the latest events of resources out of the index that are too long ago to matter, some at a time.
    fn forget_latest(&self) -> Result<(), StoreError> {
        let newest = keys::wide_bucket(self.finder.index.applied()?.map_or(0, |applied| applied.next));
        let Some(oldest) = newest.checked_sub(keys::LATEST_BUCKETS - 1) else { return Ok(()) };
        loop {
            let mut old = Vec::new();
            for entry in self.finder.index.prefix(b"R").take(FORGOTTEN_AT_ONCE) {
                let (key, _) = entry?;
                if keys::bucket_of(&key) >= oldest {
                    break;
                }
                old.push(keys::Key::from(key));
            }
            if old.is_empty() {
                return Ok(());
            }
            self.between_groups(move |indexer| -> Result<(), StoreError> {
                let mut change = Change::new(&indexer.index, &indexer.records);
                old.into_iter().for_each(|key| change.delete(key));
                let applied = indexer.index.applied()?.unwrap_or_default();
                change.finish(applied, &indexer.tallies)
            })??;
        }
    }

    /// False if the segment has to stay.
    fn drop_segment(&mut self, number: u32, report: &mut PruneReport) -> Result<bool, StoreError> {
        let home = match self.home(number)? {
            Ok(home) => home,
            Err(damage) => {
                tracing::warn!(%damage, "a damaged segment is kept, and all behind it");
                return Ok(false);
            }
        };
        for id in &home.open {
            if !self.carry(id, number)? {
                return Ok(false);
            }
        }
        self.carry_settings(&home.settings)?;
        self.carry_filed(&home.filed)?;
        let files = self.forget(number, &home.done)?;
        self.make_durable(self.finder.progress.applied())?;
        let path = set_aside(&self.finder.records.segments, number)?;
        let disk = &self.options.disk;
        let usual = disk.open(&path).and_then(|file| file.size()).unwrap_or(0) == self.options.segment_bytes;
        if !usual || !self.recycled.give(path.clone()) {
            disk.remove(&path).map_err(StoreError::io("cannot remove a segment"))?;
        }
        files.into_iter().for_each(|file| self.finder.records.big.remove(file));
        disk.sync_dir(self.finder.records.segments.dir()).map_err(StoreError::io("cannot sync wal/"))?;
        report.segments += 1;
        report.carried += home.open.len() as u64;
        report.dropped += home.done.len() as u64;
        Ok(true)
    }

    /// The messages that live in a segment, and the settings.
    fn home(&self, number: u32) -> Result<Result<Home, Damage>, StoreError> {
        let (mut scan, mut home) = (Scan::one(&self.finder.records.segments, number), Home::default());
        loop {
            match scan.next()? {
                Found::Damage(damage) => return Ok(Err(damage)),
                Found::End(_) => return Ok(Ok(home)),
                Found::Group(whole) => {
                    let mut damages = Vec::new();
                    for item in items(&whole, &self.finder.records, &mut damages) {
                        self.sort(number, item, &mut home)?;
                    }
                    if let Some(damage) = damages.pop() {
                        return Ok(Err(damage));
                    }
                }
            }
        }
    }

    fn sort(&self, number: u32, item: Item, home: &mut Home) -> Result<(), StoreError> {
        match item.fact {
            Fact::Record { record: Record::Received(received), keys, .. } => {
                self.sort_message(number, received.id, keys, home)
            }
            Fact::Carried { message, parts } => {
                let keys = parts.first().and_then(|part| search_keys(&part.fact)).unwrap_or_default();
                home.filed.extend(parts.into_iter().filter(|part| is_filed(&part.fact)));
                self.sort_message(number, message, keys, home)
            }
            Fact::Record { record: Record::Setting { key, .. }, .. } => {
                let entry = self.finder.index.get::<SettingEntry>(&keys::setting(&key))?;
                home.settings.extend(entry.filter(|entry| entry.sequence == item.sequence).map(|_| key));
                Ok(())
            }
            Fact::Record { .. } => {
                home.filed.extend(Some(item).filter(|item| is_filed(&item.fact)));
                Ok(())
            }
        }
    }

    fn sort_message(
        &self,
        number: u32,
        id: MessageId,
        found_by: SearchKeys,
        home: &mut Home,
    ) -> Result<(), StoreError> {
        let entry = self.finder.index.get::<MessageEntry>(&keys::message(&id))?;
        if let Some(entry) = entry.filter(|entry| entry.at.segment == number) {
            if is_open(&entry) {
                home.open.push(id);
            } else {
                home.done.push((id, found_by));
            }
        }
        Ok(())
    }

    /// Writes a message with all its history to the head of the log. Records that come meanwhile
    /// make it start again, so that the copy has them all. False if they never stop.
    fn carry(&self, id: &MessageId, number: u32) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let before = self.places(id)?;
            let records = &self.finder.records;
            let raw = before.iter().map(|(sequence, at)| Ok((*sequence, Bytes::from(records.segments.read(*at)?))));
            let raw = raw.collect::<Result<Vec<_>, StoreError>>()?;
            let encoded = Codec::encode_carried(*id, &raw).map_err(StoreError::Invalid)?;
            let at = position(0, 0, encoded.len());
            let fact = Fact::read(&records.codec, &records.hasher, &encoded, at)
                .map_err(|what| StoreError::Invalid(format!("message {id} cannot be carried forward: {what}")))?;
            self.commit(vec![Prepared { fact, encoded, sequences: 1 }])?;
            let last = before.last_key_value().map_or(0, |(sequence, _)| *sequence);
            let after = self.places(id)?;
            let home = self.finder.index.get::<MessageEntry>(&keys::message(id))?.map(|entry| entry.at);
            let missed = after.iter().any(|(sequence, at)| *sequence > last && is_before(*at, home));
            if !missed && after.values().all(|at| at.segment != number) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where all records of a message are.
    fn places(&self, id: &MessageId) -> Result<BTreeMap<u64, Position>, StoreError> {
        let mut places = BTreeMap::new();
        if let Some(entry) = self.finder.index.get::<MessageEntry>(&keys::message(id))? {
            places.insert(entry.sequence, entry.at);
        }
        for event in self.finder.index.prefix(&keys::events(id)) {
            let (key, value) = event?;
            places.insert(keys::number(&key), decode(&value)?);
        }
        Ok(places)
    }

    fn carry_settings(&self, names: &[String]) -> Result<(), StoreError> {
        let mut prepared = Vec::new();
        for key in names {
            let value = self.finder.setting(key)?;
            let record = Record::Setting { key: key.clone(), value };
            let encoded = self.finder.records.codec.encode(&record, &[]).map_err(StoreError::Invalid)?;
            let fact = Fact::of(record, Vec::new(), None, &self.finder.records.hasher);
            prepared.push(Prepared { fact, encoded, sequences: 1 });
        }
        if prepared.is_empty() { Ok(()) } else { self.commit(prepared) }
    }

    /// Writes the consents and links that count to the head of the log, many as one, under an id of its own: its time
    /// is that of the carrying, so that they are not carried again before it is as old as messages get.
    fn carry_filed(&self, filed: &[Item]) -> Result<(), StoreError> {
        let mut bundle = Vec::new();
        let mut bytes = 0;
        for item in filed {
            if self.finder.counts(item)? {
                let raw = Bytes::from(self.finder.records.segments.read(item.at)?);
                bytes += raw.len();
                bundle.push((item.sequence, raw));
            }
            if bytes >= BUNDLE {
                self.carry_bundle(&std::mem::take(&mut bundle))?;
                bytes = 0;
            }
        }
        if bundle.is_empty() { Ok(()) } else { self.carry_bundle(&bundle) }
    }

    fn carry_bundle(&self, bundle: &[(u64, Bytes)]) -> Result<(), StoreError> {
        let records = &self.finder.records;
        let id = MessageId::new(self.now(), rand::random());
        let encoded = Codec::encode_carried(id, bundle).map_err(StoreError::Invalid)?;
        let fact = Fact::read(&records.codec, &records.hasher, &encoded, position(0, 0, encoded.len()))
            .map_err(|what| StoreError::Invalid(format!("consents cannot be carried forward: {what}")))?;
        self.commit(vec![Prepared { fact, encoded, sequences: 1 }])
    }

    /// Takes messages that are done with out of the index. Returns their payloads' files.
    fn forget(&self, number: u32, done: &[(MessageId, SearchKeys)]) -> Result<Vec<u64>, StoreError> {
        let mut files = Vec::new();
        for some in done.chunks(AT_ONCE) {
            let some = some.to_vec();
            files.extend(self.between_groups(move |indexer| -> Result<Vec<u64>, StoreError> {
                let mut change = Change::new(&indexer.index, &indexer.records);
                let mut files = Vec::new();
                for (id, found_by) in &some {
                    let entry = indexer.index.get::<MessageEntry>(&keys::message(id))?;
                    // A replay may have opened it again meanwhile.
                    let Some(entry) = entry.filter(|entry| entry.at.segment == number) else { continue };
                    if is_open(&entry) {
                        return Err(StoreError::Invalid(format!("message {id} was opened again meanwhile")));
                    }
                    for file in indexer.index.prefix(&keys::files(id)) {
                        files.push(keys::number(&file?.0));
                    }
                    change.remove(id, found_by)?;
                    change.count_dropped(&entry.channel);
                }
                let applied = indexer.index.applied()?.unwrap_or_default();
                change.finish(applied, &indexer.tallies)?;
                Ok(files)
            })??);
        }
        Ok(files)
    }
}

/// True for consents and links between identifiers.
fn is_filed(fact: &Fact) -> bool {
    matches!(fact, Fact::Record { record, .. } if super::submit::is_filed(record))
}

/// True if a message has still to go somewhere, or waits for a person.
fn is_open(entry: &MessageEntry) -> bool {
    match entry.state() {
        State::Received | State::Queued | State::Held | State::Dead | State::Failed => true,
        State::Delivered | State::Skipped | State::Filtered => false,
    }
}

/// True if a record stands before the copy of its message.
fn is_before(at: Position, home: Option<Position>) -> bool {
    home.is_some_and(|home| (at.segment, at.offset) < (home.segment, home.offset))
}
