//! What the index was told last, in memory until it is folded into sled as one batch.
//!
//! A message changes its state a few times within a moment. Here that costs a map entry each; only what
//! stands when it is folded costs a write to sled's tree, and what came and went costs none.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use super::keys::Key;

/// Keys with what is to become of them.
pub(super) type Writes = BTreeMap<Key, Slot>;

/// What is to become of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its value; `None` if it is gone.
    value: Option<Vec<u8>>,
    /// The key was never written before: once it is gone, sled need not hear of it at all.
    new: bool,
}

impl Slot {
    /// A value.
    pub(super) fn value(value: Vec<u8>) -> Self {
        Self { value: Some(value), new: false }
    }

    /// The value of a key that was never written before.
    pub(super) fn new(value: Vec<u8>) -> Self {
        Self { value: Some(value), new: true }
    }

    /// Nothing any more.
    pub(super) fn gone() -> Self {
        Self { value: None, new: false }
    }

    /// Its value; `None` if it is gone.
    pub(super) fn get(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}

/// Puts `slot` over what is there.
pub(super) fn put(writes: &mut Writes, key: Key, slot: Slot) {
    match writes.entry(key) {
        Entry::Occupied(there) if there.get().new && slot.value.is_none() => _ = there.remove(),
        Entry::Occupied(mut there) => there.get_mut().value = slot.value,
        Entry::Vacant(free) => _ = free.insert(slot),
    }
}

/// What sled has not been told yet.
#[derive(Default)]
pub(super) struct Recent {
    fresh: Writes,
    /// What is being folded into sled, older than `fresh`.
    folding: Arc<Writes>,
    folds: u64,
}

impl Recent {
    /// Takes writes in; all of them become visible together.
    pub(super) fn write(&mut self, writes: Writes) {
        writes.into_iter().for_each(|(key, slot)| put(&mut self.fresh, key, slot));
    }

    /// How many keys wait to be folded.
    pub(super) fn len(&self) -> usize {
        self.fresh.len()
    }

    /// How many folds have ended: what was read from sled before one is not to be held against what is
    /// here after it.
    pub(super) fn folds(&self) -> u64 {
        self.folds
    }

    /// What is known of a key here: `Some(None)` if it is gone, `None` if sled must be asked.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let found = self.fresh.get(key).or_else(|| self.folding.get(key))?;
        Some(found.get())
    }

    /// The first key from `edge` on that begins with `prefix` and counts: one with a value, or one that
    /// sled's own next key, `head`, must give way to. What is gone and unknown to sled is passed over.
    pub(super) fn next(&self, edge: Bound<&[u8]>, prefix: &[u8], head: Option<&[u8]>) -> Found<'_> {
        let from = (edge, Bound::Unbounded);
        let (fresh, folding) = (self.fresh.range::<[u8], _>(from), self.folding.range::<[u8], _>(from));
        first(fresh, folding, Ordering::Less, prefix, head)
    }

    /// The same backwards, before `edge`.
    pub(super) fn back(&self, edge: Bound<&[u8]>, prefix: &[u8], head: Option<&[u8]>) -> Found<'_> {
        let to = (Bound::Unbounded, edge);
        let (fresh, folding) = (self.fresh.range::<[u8], _>(to), self.folding.range::<[u8], _>(to));
        first(fresh.rev(), folding.rev(), Ordering::Greater, prefix, head)
    }

    /// Begins a fold: what is to be written to sled. It stays visible here until [`Recent::folded`].
    pub(super) fn fold(&mut self) -> Arc<Writes> {
        // What an earlier fold failed to write is still there.
        let mut all = Arc::unwrap_or_clone(std::mem::take(&mut self.folding));
        match all.is_empty() {
            true => all = std::mem::take(&mut self.fresh),
            false => std::mem::take(&mut self.fresh).into_iter().for_each(|(key, slot)| put(&mut all, key, slot)),
        }
        self.folding = Arc::new(all);
        Arc::clone(&self.folding)
    }

    /// Sled has it all.
    pub(super) fn folded(&mut self) {
        self.folding = Arc::default();
        self.folds += 1;
    }
}

/// A key and its value, `None` if it is gone.
pub(super) type Found<'a> = Option<(&'a [u8], Option<&'a [u8]>)>;

/// Merges two runs of writes, `fresh` before `folding` for the same key; `order` is that of a key to a
/// later one.
fn first<'a>(
    fresh: impl Iterator<Item = (&'a Key, &'a Slot)>,
    folding: impl Iterator<Item = (&'a Key, &'a Slot)>,
    order: Ordering,
    prefix: &[u8],
    head: Option<&[u8]>,
) -> Found<'a> {
    let (mut fresh, mut folding) = (fresh.peekable(), folding.peekable());
    loop {
        let (key, slot) = match (fresh.peek(), folding.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => folding.next().and(fresh.next()),
            (Some(a), Some(b)) if a.0.cmp(b.0) == order => fresh.next(),
            (Some(_), None) => fresh.next(),
            _ => folding.next(),
        }?;
        if !key.starts_with(prefix) {
            return None;
        }
        if slot.value.is_some() || head.is_some_and(|head| key.as_slice().cmp(head) != order) {
            return Some((key, slot.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn writes(raw: &[(u8, Option<u8>)]) -> Writes {
        let slot = |value: &Option<u8>| value.map_or_else(Slot::gone, |value| Slot::value(vec![value]));
        raw.iter().map(|(key, value)| (vec![b'x', *key].into(), slot(value))).collect()
    }

    /// Both directions find what one map with the same writes would.
    #[track_caller]
    fn check(older: &[(u8, Option<u8>)], newer: &[(u8, Option<u8>)], edge: u8) {
        let mut recent = Recent::default();
        recent.write(writes(older));
        recent.fold();
        recent.write(writes(newer));
        let mut all = writes(older);
        all.extend(writes(newer));
        all.retain(|_, slot| slot.value.is_some());
        let edge = [b'x', edge];
        let found = |found: Found<'_>| found.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
        let next = all.range::<[u8], _>((Bound::Included(edge.as_slice()), Bound::Unbounded)).next();
        let expected = next.map(|(key, slot)| (key.to_vec(), slot.value.clone()));
        assert_eq!(found(recent.next(Bound::Included(edge.as_slice()), b"x", None)), expected);
        let back = all.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(edge.as_slice()))).next_back();
        let expected = back.map(|(key, slot)| (key.to_vec(), slot.value.clone()));
        assert_eq!(found(recent.back(Bound::Excluded(edge.as_slice()), b"x", None)), expected);
    }

    #[test]
    fn a_key_that_is_gone_hides_the_older_one() {
        check(&[(1, Some(1)), (2, Some(2))], &[(1, None)], 0);
    }

    #[test]
    fn a_key_that_is_gone_stops_at_the_one_that_sled_has() {
        let mut recent = Recent::default();
        recent.write(writes(&[(1, None), (2, None)]));
        assert_eq!(recent.next(Bound::Unbounded, b"x", Some(b"x\x02")), Some((b"x\x02".as_slice(), None)));
    }

    #[test]
    fn what_came_and_went_before_a_fold_is_not_folded() {
        let mut recent = Recent::default();
        recent.write(
            [(b"x".as_slice().into(), Slot::new(vec![1])), (b"y".as_slice().into(), Slot::value(vec![1]))].into(),
        );
        recent.write([(b"x".as_slice().into(), Slot::gone()), (b"y".as_slice().into(), Slot::gone())].into());
        assert_eq!(*recent.fold(), [(b"y".as_slice().into(), Slot::gone())].into());
    }

    #[test]
    fn what_was_folded_meanwhile_is_taken_back_from_sled() {
        let mut recent = Recent::default();
        recent.write([(b"x".as_slice().into(), Slot::new(vec![1]))].into());
        recent.fold();
        recent.folded();
        recent.write([(b"x".as_slice().into(), Slot::gone())].into());
        assert_eq!(*recent.fold(), [(b"x".as_slice().into(), Slot::gone())].into());
    }

    proptest! {
        #[test]
        fn two_runs_read_as_one(
            older in proptest::collection::vec((0u8..8, proptest::option::of(any::<u8>())), 0..10),
            newer in proptest::collection::vec((0u8..8, proptest::option::of(any::<u8>())), 0..10),
            edge in 0u8..9,
        ) {
            check(&older, &newer, edge);
        }
    }
}
