//! Changes to the index that become visible as one.

use message::MessageId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::counts::Tallies;
use super::entry::{Applied, Span};
use super::error::StoreError;
use super::fact::{Fact, Item};
use super::index::{Index, decode, encode};
use super::keys::{self, Key};
use super::read::Records;
use super::recent::Writes;
use super::record::{Record, State};
use super::table::{Slot, Table};

/// Changes that become visible as one.
pub(super) struct Change<'a> {
    pub(super) index: &'a Index,
    pub(super) records: &'a Records,
    pub(super) table: Table,
    /// The message whose entries are being changed.
    pub(super) owner: Option<MessageId>,
    /// The segment that records are in, and what it covers so far.
    span: Option<(u32, Span)>,
    /// Records of messages and deliveries that the index does not know: retention has dropped them.
    pub(super) unknown: u64,
}

impl<'a> Change<'a> {
    pub(super) fn new(index: &'a Index, records: &'a Records) -> Self {
        Self { index, records, table: Table::default(), owner: None, span: None, unknown: 0 }
    }

    /// How many entries it changes so far.
    pub(super) fn len(&self) -> usize {
        self.table.entries.len()
    }

    /// Makes it all visible, with how far the log is now in the index. Returns how many entries the
    /// index has in memory now.
    pub(super) fn finish(mut self, applied: Applied, tallies: &Tallies) -> Result<usize, StoreError> {
        self.end_span()?;
        self.table.applied = Some(applied);
        tallies.change(self.table.counts.values().flatten());
        Ok(self.index.absorb(self.table))
    }

    /// Widens the span of the item's segment to cover it.
    pub(super) fn cover(&mut self, item: &Item) -> Result<(), StoreError> {
        let segment = item.at.segment;
        if self.span.is_none_or(|(current, _)| current != segment) {
            self.end_span()?;
            let new = Span { first: item.sequence, last: item.sequence, from: i64::MAX, to: i64::MIN };
            self.span = Some((segment, self.get(&keys::span(segment))?.unwrap_or(new)));
        }
        if let Some((_, span)) = &mut self.span {
            (span.first, span.last) = (span.first.min(item.sequence), span.last.max(item.sequence));
            if let Fact::Record { record: Record::Received(received), .. } = &item.fact {
                let at = received.at.as_microsecond();
                (span.from, span.to) = (span.from.min(at), span.to.max(at));
            }
        }
        Ok(())
    }

    fn end_span(&mut self) -> Result<(), StoreError> {
        self.owner = None;
        match self.span.take() {
            Some((segment, span)) => self.put(keys::span(segment), &span),
            None => Ok(()),
        }
    }

    /// Adds to a count, for the message whose entries are being changed.
    pub(super) fn count(&mut self, kind: u8, name: &str, state: State, by: i64) {
        if let Some(owner) = self.owner {
            self.table.count(owner, keys::count(kind, name, state), by);
        }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        match self.table.entries.get(key) {
            Some(slot) => slot.value.as_deref().map(decode).transpose(),
            None => self.index.get(key),
        }
    }

    pub(super) fn put<T: Serialize>(&mut self, key: Key, value: &T) -> Result<(), StoreError> {
        let value = Some(encode(value)?);
        self.table.put(key, Slot { value, owner: self.owner, fresh: false });
        Ok(())
    }

    /// Sets an entry that the index does not have.
    pub(super) fn set_new(&mut self, key: Key, value: Vec<u8>) {
        self.table.put(key, Slot { value: Some(value), owner: self.owner, fresh: true });
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.table.put(key, Slot { value: None, owner: self.owner, fresh: false });
    }

    /// The keys with `prefix`, here and in the index.
    pub(super) fn keys(&self, prefix: &[u8]) -> Result<Vec<Key>, StoreError> {
        let mut found = std::collections::BTreeSet::new();
        for entry in self.index.prefix(prefix) {
            found.insert(entry?.0);
        }
        for (key, slot) in self.table.entries.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)) {
            if slot.value.is_some() {
                found.insert(key.clone())
            } else {
                found.remove(key)
            };
        }
        Ok(found.into_iter().collect())
    }
}
