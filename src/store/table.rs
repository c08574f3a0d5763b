//! What the index has in memory: the changes since the last checkpoint.
//!
//! A message that is accepted, processed and delivered within seconds changes its entries many times;
//! sled is told of the last. What was put in and taken out again meanwhile never reaches it.

use std::collections::{BTreeMap, HashMap};

use message::MessageId;

use super::entry::Applied;
use super::keys::Key;

/// One entry that is not in sled as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// `None`: it is no more.
    pub(super) value: Option<Vec<u8>>,
    /// The message it belongs to: all of a message's entries are written to sled as one.
    pub(super) owner: Option<MessageId>,
    /// Nothing below has an entry with this key, so that taking it out leaves nothing to tell.
    pub(super) fresh: bool,
}

/// Entries by their keys, with how far the log is with them.
#[derive(Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<Key, Slot>,
    /// What changes in the counts, by the message that changes it.
    pub(super) counts: HashMap<MessageId, HashMap<Key, i64>>,
    pub(super) applied: Option<Applied>,
}

impl Table {
    /// Puts `slot` over what is there.
    pub(super) fn put(&mut self, key: Key, slot: Slot) {
        match self.entries.get_mut(&key) {
            Some(there) if there.fresh && slot.value.is_none() => _ = self.entries.remove(&key),
            Some(there) => *there = Slot { fresh: there.fresh, ..slot },
            None => {
                let fresh = slot.fresh && slot.value.is_some();
                self.entries.insert(key, Slot { fresh, ..slot });
            }
        }
    }

    /// Adds to a count on behalf of `owner`.
    pub(super) fn count(&mut self, owner: MessageId, key: Key, by: i64) {
        *self.counts.entry(owner).or_default().entry(key).or_default() += by;
    }

    /// Puts all of `newer` over what is here.
    pub(super) fn absorb(&mut self, newer: Self) {
        for (key, slot) in newer.entries {
            self.put(key, slot);
        }
        for (owner, counts) in newer.counts {
            counts.into_iter().for_each(|(key, by)| self.count(owner, key, by));
        }
        self.applied = newer.applied.or(self.applied);
    }

    /// The entries of each message together; those of no message first.
    pub(super) fn by_owner(&self) -> Vec<(Option<MessageId>, &Key, &Slot)> {
        let mut entries: Vec<_> = self.entries.iter().map(|(key, slot)| (slot.owner, key, slot)).collect();
        entries.sort_by_key(|(owner, ..)| *owner);
        entries
    }
}
