//! The index as sled has it: blocks of neighbouring entries, each under the key where it begins.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::block::{self, Pair, Reader};
use super::error::StoreError;
use super::index::{broken, guard};
use super::keys::Key;
use super::recent::{Slot, Writes};

/// Says that the tree is made of blocks, and what is in them. No other key begins with a zero.
const FORMAT: (&[u8], &[u8]) = (b"\0format", b"blocks 3");

/// Sled's tree, read and written in blocks.
pub(super) struct Pages {
    db: sled::Db,
    /// Held while blocks are exchanged, so that no reader sees one of them twice or not at all.
    exchange: RwLock<()>,
    /// How often blocks have been exchanged.
    folds: AtomicU64,
}

/// A way through the entries, in one direction.
pub(super) struct Walk {
    blocks: sled::Iter,
    /// What is left of the block that was read last, the next entry at the end.
    rest: Vec<Pair>,
    prefix: Vec<u8>,
    folds: u64,
    backwards: bool,
}

impl Walk {
    /// The next entry.
    pub(super) fn head(&self) -> Option<&Pair> {
        self.rest.last()
    }

    /// How often blocks had been exchanged when it began.
    pub(super) fn folds(&self) -> u64 {
        self.folds
    }
}

impl Pages {
    /// The tree, if it is made of blocks.
    pub(super) fn new(db: sled::Db) -> Result<Self, StoreError> {
        let (key, value) = FORMAT;
        match db.get(key).map_err(broken)? {
            Some(format) if *format == *value => {}
            None if db.is_empty() => _ = db.insert(key, value).map_err(broken)?,
            _ => return Err(StoreError::Index("it was written by another version of the program".into())),
        }
        Ok(Self { db, exchange: RwLock::default(), folds: AtomicU64::new(0) })
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let _still = self.still();
        let Some((_, block)) = self.block_of(key)? else { return Ok(None) };
        Ok(Reader::new(&block).find(key)?.map(<[u8]>::to_vec))
    }

    /// Begins a way from `edge` on, or backwards before it, that ends with the entries of `prefix`.
    pub(super) fn walk(&self, edge: Bound<&[u8]>, prefix: &[u8], backwards: bool) -> Result<Walk, StoreError> {
        let _still = self.still();
        let folds = self.folds.load(Ordering::Acquire);
        let within = |key: &Vec<u8>| match (edge, backwards) {
            (Bound::Included(edge), false) => key.as_slice() >= edge,
            (Bound::Excluded(edge), false) => key.as_slice() > edge,
            (Bound::Included(edge), true) => key.as_slice() <= edge,
            (Bound::Excluded(edge), true) => key.as_slice() < edge,
            (Bound::Unbounded, _) => true,
        };
        let blocks = guard(|| match (edge, backwards) {
            (_, true) => Ok(self.db.range::<&[u8], _>((Bound::Unbounded, edge))),
            (Bound::Included(from) | Bound::Excluded(from), false) => {
                let first = self.block_of(from)?.map(|(first, _)| first);
                let first = first.as_deref().unwrap_or(from);
                Ok(self.db.range::<&[u8], _>((Bound::Included(first), Bound::Unbounded)))
            }
            (Bound::Unbounded, false) => Ok(self.db.range::<&[u8], _>(..)),
        })?;
        let mut walk = Walk { blocks, rest: Vec::new(), prefix: prefix.to_vec(), folds, backwards };
        while Self::refill(&mut walk)? {
            walk.rest.retain(|(key, _)| within(key));
            if !walk.rest.is_empty() {
                break;
            }
        }
        Ok(walk)
    }

    /// Goes on by one entry. `None` if blocks were exchanged meanwhile: begin again.
    pub(super) fn advance(&self, mut walk: Walk) -> Result<Option<Walk>, StoreError> {
        walk.rest.pop();
        if walk.rest.is_empty() {
            let _still = self.still();
            if self.folds.load(Ordering::Acquire) != walk.folds {
                return Ok(None);
            }
            Self::refill(&mut walk)?;
        }
        Ok(Some(walk))
    }

    /// Reads the next block; false if there is none that may have entries of the prefix.
    fn refill(walk: &mut Walk) -> Result<bool, StoreError> {
        let next = guard(|| {
            let next = if walk.backwards { walk.blocks.next_back() } else { walk.blocks.next() };
            next.transpose().map_err(broken)
        })?;
        let Some((first, block)) = next else { return Ok(false) };
        if first.first() == Some(&0) {
            return if walk.backwards { Ok(false) } else { Self::refill(walk) };
        }
        if !walk.backwards && *first > *walk.prefix && !first.starts_with(&walk.prefix) {
            return Ok(false);
        }
        walk.rest = Reader::new(&block).all()?;
        if !walk.backwards {
            walk.rest.reverse();
        }
        Ok(true)
    }

    /// Writes it all or nothing; `done` is called before anybody sees it.
    pub(super) fn write(&self, writes: &Writes, done: impl FnOnce()) -> Result<(), StoreError> {
        let batch = guard(|| self.batch(writes))?;
        let _alone = self.exchange.write().unwrap_or_else(PoisonError::into_inner);
        guard(|| self.db.apply_batch(batch).map_err(broken))?;
        self.folds.fetch_add(1, Ordering::AcqRel);
        done();
        Ok(())
    }

    /// The blocks that change with `writes`. Only one at a time may ask for that.
    fn batch(&self, writes: &Writes) -> Result<sled::Batch, StoreError> {
        let mut batch = sled::Batch::default();
        let mut rest: Vec<(&Key, &Slot)> = writes.iter().collect();
        rest.reverse();
        while let Some((key, _)) = rest.last() {
            let block = self.block_of(key)?;
            let next = self.db.range::<&[u8], _>((Bound::Excluded(key.as_slice()), Bound::Unbounded)).next();
            let next = next.transpose().map_err(broken)?.map(|(next, _)| next);
            let kind = key.first();
            let is_here =
                |other: &Key| other.first() == kind && next.as_ref().is_none_or(|next| other.as_slice() < &**next);
            let from = rest.partition_point(|(key, _)| !is_here(key));
            let mut here = rest.split_off(from);
            here.reverse();
            let (place, old) = match block {
                Some((place, block)) => (Some(place), Reader::new(&block).all()?),
                None => (None, Vec::new()),
            };
            let mut blocks = block::merge(old, &here).into_iter();
            match (place, blocks.next()) {
                (Some(place), Some((_, first))) => batch.insert(place, first),
                (Some(place), None) => batch.remove(place),
                (None, Some((key, first))) => batch.insert(key, first),
                (None, None) => {}
            }
            blocks.for_each(|(key, block)| batch.insert(key, block));
        }
        Ok(batch)
    }

    /// The block that holds `key` if any does, and where it begins.
    fn block_of(&self, key: &[u8]) -> Result<Option<(sled::IVec, sled::IVec)>, StoreError> {
        guard(|| {
            let found = self.db.range::<&[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
            Ok(found.transpose().map_err(broken)?.filter(|(first, _)| first.first() == key.first()))
        })
    }

    /// Hands everything to the system.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        guard(|| self.db.flush().map(drop).map_err(broken))
    }

    fn still(&self) -> RwLockReadGuard<'_, ()> {
        self.exchange.read().unwrap_or_else(PoisonError::into_inner)
    }
}
