//! Changes to the index that become visible as one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::apply::search_keys;
use super::consents::Touched;
use super::counts::Tallies;
use super::duplicate::time_of;
use super::entry::{Applied, Span};
use super::error::StoreError;
use super::fact::{Fact, Item};
use super::index::{Index, decode, encode};
use super::keys::{self, Key};
use super::read::Records;
use super::recent::{self, Slot, Writes};
use super::record::{Record, State};

/// Changes that become visible as one.
pub(super) struct Change<'a> {
    pub(super) index: &'a Index,
    pub(super) records: &'a Records,
    pub(super) writes: Writes,
    pub(super) counts: HashMap<Key, i64>,
    pub(super) spans: BTreeMap<u32, Span>,
    /// Records of messages and deliveries that the index does not know: retention has dropped them.
    pub(super) unknown: u64,
    /// Whose consents or identity it changes.
    pub(super) touched: Touched,
}

impl<'a> Change<'a> {
    pub(super) fn new(index: &'a Index, records: &'a Records) -> Self {
        let (writes, counts, spans, touched) = Default::default();
        Self { index, records, writes, counts, spans, unknown: 0, touched }
    }

    /// How many entries it writes so far.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Writes it all, with how far the log is now in the index.
    pub(super) fn finish(mut self, applied: Applied, tallies: &Tallies) -> Result<(), StoreError> {
        self.put(keys::APPLIED.into(), &applied)?;
        for (segment, span) in std::mem::take(&mut self.spans) {
            self.put(keys::span(segment), &span)?;
        }
        let counts = tallies.changed(&self.counts);
        for (key, count) in &counts {
            self.set(key.clone(), count.to_be_bytes().to_vec());
        }
        self.index.write(self.writes)?;
        tallies.set(counts);
        Ok(())
    }

    /// Widens the span of the item's segment to cover it.
    pub(super) fn cover(&mut self, item: &Item) -> Result<(), StoreError> {
        let segment = item.at.segment;
        let mut span = match self.spans.get(&segment) {
            Some(span) => *span,
            None => self.index.get(&keys::span(segment))?.unwrap_or(Span {
                first: item.sequence,
                last: item.sequence,
                from: i64::MAX,
                to: i64::MIN,
            }),
        };
        (span.first, span.last) = (span.first.min(item.sequence), span.last.max(item.sequence));
        let at = match &item.fact {
            Fact::Record { record: Record::Received(received), .. } => Some(received.at),
            Fact::Record { record: Record::Consent { at, .. }, .. } => Some(*at),
            // Consents and links alone: when they were carried.
            Fact::Carried { message, parts } if parts.first().and_then(|part| search_keys(&part.fact)).is_none() => {
                Some(time_of(message))
            }
            _ => None,
        };
        if let Some(at) = at.map(Timestamp::as_microsecond) {
            (span.from, span.to) = (span.from.min(at), span.to.max(at));
        }
        self.spans.insert(segment, span);
        Ok(())
    }

    pub(super) fn count(&mut self, kind: u8, name: &str, state: State, by: i64) {
        *self.counts.entry(keys::count(kind, name, state)).or_default() += by;
    }

    pub(super) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        match self.writes.get(key) {
            Some(slot) => slot.get().map(decode).transpose(),
            None => self.index.get(key),
        }
    }

    /// All entries that begin with `prefix`, as this change leaves them.
    pub(super) fn scan(&self, prefix: &[u8]) -> Result<BTreeMap<Key, Vec<u8>>, StoreError> {
        let found = self.index.prefix(prefix).map(|entry| entry.map(|(key, value)| (Key::from(key), value)));
        let mut found = found.collect::<Result<BTreeMap<_, _>, _>>()?;
        let fresh = self
            .writes
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        for (key, slot) in fresh {
            match slot.get() {
                Some(value) => _ = found.insert(key.clone(), value.to_vec()),
                None => _ = found.remove(key),
            }
        }
        Ok(found)
    }

    pub(super) fn put<T: Serialize>(&mut self, key: Key, value: &T) -> Result<(), StoreError> {
        let bytes = encode(value)?;
        self.set(key, bytes);
        Ok(())
    }

    pub(super) fn set(&mut self, key: Key, value: Vec<u8>) {
        recent::put(&mut self.writes, key, Slot::value(value));
    }

    /// Sets a key that was never written before, unless it was deleted by this very change.
    pub(super) fn add(&mut self, key: Key, value: Vec<u8>) {
        recent::put(&mut self.writes, key, Slot::new(value));
    }

    pub(super) fn delete(&mut self, key: Key) {
        recent::put(&mut self.writes, key, Slot::gone());
    }
}
