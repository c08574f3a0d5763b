//! Many entries of the index in one value of sled, which costs as much for a large value as for a small
//! one: neighbours in the order of their keys, each key without what it shares with the one before it.
//!
//! ```text
//! entry: shared, rest, value   lengths, each a LEB128 number
//!        rest of the key, value
//! ```
//!
//! A block's key in sled is where it begins; it ends where the next begins, or the next kind of key.

use super::error::StoreError;
use super::keys::Key;
use super::recent::Slot;

/// A block is divided when it gets longer than this. Sixteen of them and one that is yet to be divided
/// stay far below the 128 KiB from which sled would put a page into a file of its own.
pub(super) const LONGEST: usize = 2048;

/// A key and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Reads a block's entries in order.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    key: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Self { rest: block, key: Vec::new() }
    }

    /// The next entry's value; its key is [`Reader::key`] then.
    fn step(&mut self) -> Result<Option<&'a [u8]>, StoreError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let read = |rest: &mut &'a [u8], key: &mut Vec<u8>| {
            let [shared, own, value] = [number(rest)?, number(rest)?, number(rest)?];
            (shared <= key.len()).then(|| key.truncate(shared))?;
            key.extend_from_slice(take(rest, own)?);
            take(rest, value)
        };
        let value = read(&mut self.rest, &mut self.key);
        value.map(Some).ok_or_else(|| StoreError::Index("a block of entries does not hold together".into()))
    }

    /// The value of `key`, if it is there.
    pub(super) fn find(mut self, key: &[u8]) -> Result<Option<&'a [u8]>, StoreError> {
        while let Some(value) = self.step()? {
            match self.key.as_slice().cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(value)),
                std::cmp::Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }

    /// All entries.
    pub(super) fn all(mut self) -> Result<Vec<Pair>, StoreError> {
        let mut all = Vec::new();
        while let Some(value) = self.step()? {
            all.push((self.key.clone(), value.to_vec()));
        }
        Ok(all)
    }
}

/// What a block of `old` entries becomes with `writes` over them: blocks that are not too long, each with
/// its first key. Both come in order.
pub(super) fn merge(old: Vec<Pair>, writes: &[(&Key, &Slot)]) -> Vec<Pair> {
    let appended = match (old.last(), writes.first()) {
        (Some((last, _)), Some((first, _))) => last.as_slice() < first.as_slice(),
        _ => true,
    };
    let merged = merged(old, writes);
    let total = length(&merged);
    // What only ever grows at its end is filled up; what grows in its midst is divided evenly.
    let most = if appended { LONGEST } else { total / (total / LONGEST + 1) + 1 };
    let mut blocks: Vec<Pair> = Vec::new();
    let mut last = Vec::new();
    for (key, value) in merged {
        let fits = |block: &Pair| block.1.len() + key.len() + value.len() + 3 <= most.max(LONGEST / 2);
        match blocks.last_mut().filter(|block| fits(block)) {
            Some(block) => push(&mut block.1, &last, &key, &value),
            None => {
                let mut block = Vec::with_capacity(LONGEST);
                push(&mut block, &[], &key, &value);
                blocks.push((key.clone(), block));
            }
        }
        last = key;
    }
    blocks
}

/// About how long a block of all of `entries` would be.
fn length(entries: &[Pair]) -> usize {
    let mut last: &[u8] = &[];
    let lengths = entries.iter().map(|(key, value)| {
        let shared = shared(last, key);
        last = key;
        key.len() - shared + value.len() + 4
    });
    lengths.sum()
}

/// How many bytes `key` begins with as `last` does.
fn shared(last: &[u8], key: &[u8]) -> usize {
    last.iter().zip(key).take_while(|(a, b)| a == b).count()
}

fn merged(old: Vec<Pair>, writes: &[(&Key, &Slot)]) -> Vec<Pair> {
    let mut merged = Vec::with_capacity(old.len() + writes.len());
    let mut old = old.into_iter().peekable();
    for (key, slot) in writes {
        while let Some(earlier) = old.next_if(|(there, _)| there.as_slice() < key.as_slice()) {
            merged.push(earlier);
        }
        old.next_if(|(there, _)| there.as_slice() == key.as_slice());
        merged.extend(slot.get().map(|value| (key.to_vec(), value.to_vec())));
    }
    merged.extend(old);
    merged
}

fn push(block: &mut Vec<u8>, last: &[u8], key: &[u8], value: &[u8]) {
    let shared = shared(last, key);
    let rest = key.get(shared..).unwrap_or_default();
    [shared, rest.len(), value.len()].into_iter().for_each(|length| put_number(block, length));
    block.extend_from_slice(rest);
    block.extend_from_slice(value);
}

fn put_number(block: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        block.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    block.push((number & 0x7f) as u8);
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in [0, 7, 14] {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn read(blocks: &[Pair]) -> Vec<Pair> {
        blocks.iter().flat_map(|(_, block)| Reader::new(block).all().unwrap()).collect()
    }

    fn many(keys: impl Iterator<Item = u32>) -> BTreeMap<Key, Slot> {
        keys.map(|key| (key.to_be_bytes().as_slice().into(), Slot::value(vec![7; 90]))).collect()
    }

    #[test]
    fn what_is_appended_fills_its_blocks() {
        let writes = many(0..100);
        let blocks = merge(Vec::new(), &writes.iter().collect::<Vec<_>>());
        let short = blocks.iter().rev().skip(1).filter(|(_, block)| block.len() < LONGEST - 100).count();
        assert_eq!((short, read(&blocks).len()), (0, 100));
    }

    #[test]
    fn a_full_block_is_divided_in_two_by_what_comes_in_its_midst() {
        let old = read(&merge(Vec::new(), &many((0..20).map(|n| n * 10)).iter().collect::<Vec<_>>()));
        let blocks = merge(old, &many([55, 77].into_iter()).iter().collect::<Vec<_>>());
        assert_eq!(blocks.len(), 2);
        assert!(blocks.iter().all(|(_, block)| block.len() > LONGEST / 3));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        for bytes in [&[0x80, 0x80, 0x80, 0x80][..], &[5, 0, 0], &[0, 9, 0, 1], &[0, 0, 9]] {
            assert!(Reader::new(bytes).all().is_err());
        }
    }

    proptest! {
        #[test]
        fn blocks_read_as_the_map_that_they_were_made_of(
            old in proptest::collection::btree_map(proptest::collection::vec(0u8..3, 1..6), 0usize..300, 0..60),
            new in proptest::collection::btree_map(
                proptest::collection::vec(0u8..3, 1..6), proptest::option::of(0usize..300), 1..60),
        ) {
            let old: BTreeMap<Key, Slot> =
                old.into_iter().map(|(key, length)| (key.into(), Slot::value(vec![1; length]))).collect();
            let new: BTreeMap<Key, Slot> = new.into_iter()
                .map(|(key, length)| (key.into(), length.map_or_else(Slot::gone, |length| Slot::value(vec![2; length])))).collect();
            let before = read(&merge(Vec::new(), &old.iter().collect::<Vec<_>>()));
            let blocks = merge(before, &new.iter().collect::<Vec<_>>());
            let mut model = old;
            model.extend(new);
            let expected: Vec<Pair> =
                model.into_iter().filter_map(|(key, slot)| Some((key.to_vec(), slot.get()?.to_vec()))).collect();
            prop_assert_eq!(read(&blocks), expected.clone());
            for (first, block) in &blocks {
                prop_assert!(block.len() <= LONGEST);
                prop_assert_eq!(first, &Reader::new(block).all().unwrap()[0].0);
            }
            for (key, value) in &expected {
                let (_, block) = blocks.iter().rev().find(|(first, _)| first <= key).unwrap();
                prop_assert_eq!(Reader::new(block).find(key).unwrap(), Some(value.as_slice()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(all) = Reader::new(&bytes).all() {
                prop_assert!(all.len() <= bytes.len());
            }
        }
    }
}
