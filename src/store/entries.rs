//! Entries of the index in order: what is in memory over what is in sled.

use std::ops::Bound;

use super::error::StoreError;
use super::index::{Index, broken, guard};
use super::keys::Key;

/// Entries that begin with one prefix, in the order of their keys or against it.
pub(super) struct Entries<'a> {
    index: &'a Index,
    prefix: Vec<u8>,
    backwards: bool,
    /// What is left: from the first key on, up to but not with the second.
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    sled: sled::Iter,
    ahead: Option<(sled::IVec, sled::IVec)>,
    /// Of what was in memory when `sled` was made.
    epoch: u64,
}

/// The next entry in memory; no value: it is no more.
type Above = Option<(Key, Option<Vec<u8>>)>;

impl<'a> Entries<'a> {
    pub(super) fn new(index: &'a Index, prefix: &[u8], from: &[u8], to: Option<&[u8]>, backwards: bool) -> Self {
        let from = from.max(prefix).to_vec();
        let to = to.map(<[u8]>::to_vec).or_else(|| successor(prefix));
        let epoch = index.epoch();
        let sled = sled_range(index, &from, to.as_deref());
        Self { index, prefix: prefix.to_vec(), backwards, from, to, sled, ahead: None, epoch }
    }

    fn step(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        loop {
            if self.to.as_ref().is_some_and(|to| *to <= self.from) {
                return Ok(None);
            }
            let range = (Bound::Included(&self.from[..]), self.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
            let (above, epoch) = self.index.next_in_memory(range, self.backwards);
            if epoch != self.epoch {
                // Entries went from memory to sled: what it had read ahead may lack them.
                (self.epoch, self.ahead) = (epoch, None);
                self.sled = sled_range(self.index, &self.from, self.to.as_deref());
            }
            let Some((key, value)) = self.nearer(above)?.filter(|(key, _)| key.starts_with(&self.prefix)) else {
                return Ok(None);
            };
            if self.backwards {
                self.to = Some(key.clone());
            } else {
                self.from.clone_from(&key);
                self.from.push(0);
            }
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
    }

    /// The nearer of the next in memory and the next in sled; the one in memory if they are the same.
    fn nearer(&mut self, above: Above) -> Result<Above, StoreError> {
        if self.ahead.is_none() {
            let (iter, backwards) = (&mut self.sled, self.backwards);
            self.ahead = guard(|| if backwards { iter.next_back() } else { iter.next() }.transpose().map_err(broken))?;
        }
        let Some((key, value)) = self.ahead.take() else { return Ok(above) };
        let order = above.as_ref().map_or(std::cmp::Ordering::Greater, |(memory, _)| memory[..].cmp(&key));
        let order = if self.backwards && above.is_some() { order.reverse() } else { order };
        if order.is_gt() {
            return Ok(Some((key.to_vec(), Some(value.to_vec()))));
        }
        if order.is_lt() {
            self.ahead = Some((key, value));
        }
        Ok(above)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

fn sled_range(index: &Index, from: &[u8], to: Option<&[u8]>) -> sled::Iter {
    index.sled(match to {
        Some(to) => (Bound::Included(from.to_vec()), Bound::Excluded(to.max(from).to_vec())),
        None => (Bound::Included(from.to_vec()), Bound::Unbounded),
    })
}

/// The first key behind all that begin with `prefix`.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut key = prefix.to_vec();
    while let Some(last) = key.pop() {
        if let Some(next) = last.checked_add(1) {
            key.push(next);
            return Some(key);
        }
    }
    None
}
