//! One key of the index: its bytes, in place where they are few.
//!
//! The index compares keys all the time: a key with its bytes elsewhere is a look into memory for each comparison.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Keys of up to so many bytes need no memory of their own: all but those with long names in them.
const SHORT: usize = 38;

/// A key of the index.
#[derive(Clone)]
pub(super) struct Key(Bytes);

#[derive(Clone)]
enum Bytes {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl Key {
    /// Of a kind, and of all `parts` behind each other.
    pub(super) fn join(kind: u8, parts: &[&[u8]]) -> Self {
        let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut bytes = [0; SHORT];
        let (Some(place), Ok(length)) = (bytes.get_mut(..length), u8::try_from(length)) else {
            let kind = [kind];
            let all = std::iter::once(kind.as_slice()).chain(parts.iter().copied());
            return Self(Bytes::Long(all.flatten().copied().collect()));
        };
        let [first, rest @ ..] = place else { return Self(Bytes::Short { length, bytes }) };
        *first = kind;
        let mut free = rest;
        for part in parts {
            let Some((place, behind)) = std::mem::take(&mut free).split_at_mut_checked(part.len()) else { break };
            place.copy_from_slice(part);
            free = behind;
        }
        Self(Bytes::Short { length, bytes })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        match key.split_first() {
            Some((kind, rest)) => Self::join(*kind, &[rest]),
            None => Self(Bytes::Short { length: 0, bytes: [0; SHORT] }),
        }
    }
}

impl From<Vec<u8>> for Key {
    fn from(key: Vec<u8>) -> Self {
        Self::from(key.as_slice())
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Found by their bytes: they are compared and hashed as these are.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Key {}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_slice().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_its_bytes(a in proptest::collection::vec(any::<u8>(), 0..80), b in proptest::collection::vec(any::<u8>(), 0..80)) {
            let (one, other) = (Key::from(a.clone()), Key::from(b.clone()));
            prop_assert_eq!(one.as_slice(), a.as_slice());
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
            let joined = Key::join(b'M', &[&a, &b]);
            prop_assert_eq!(joined.as_slice(), [b"M".as_slice(), &a, &b].concat());
        }
    }
}
