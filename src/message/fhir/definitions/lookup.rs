//! Finding an element by its name: asked for every element of every message, so it is one hash and one comparison.

/// Where the elements of one type are in its list, by name.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    /// Open addressing: an index, or [`FREE`]. Its length is a power of two, and at least half of it is free.
    slots: Box<[u16]>,
}

const FREE: u16 = u16::MAX;

impl Lookup {
    /// Of `names`, which are all different.
    pub(super) fn new<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let mut slots = vec![FREE; (names.len() * 2).next_power_of_two()].into_boxed_slice();
        for (name, index) in names.zip(0..FREE) {
            let free = probe(slots.len(), name).find(|at| slots.get(*at) == Some(&FREE));
            if let Some(slot) = free.and_then(|at| slots.get_mut(at)) {
                *slot = index;
            }
        }
        Self { slots }
    }

    /// What `take` makes of the index of `name`; it says `None` for other names that share its place.
    pub(super) fn find<T>(&self, name: &str, take: impl Fn(usize) -> Option<T>) -> Option<T> {
        for at in probe(self.slots.len(), name) {
            match self.slots.get(at) {
                Some(&index) if index != FREE => {
                    if let Some(found) = take(usize::from(index)) {
                        return Some(found);
                    }
                }
                _ => return None,
            }
        }
        None
    }
}

/// The places to look at, in order.
fn probe(length: usize, name: &str) -> impl Iterator<Item = usize> {
    let mask = length.wrapping_sub(1);
    let start = usize::try_from(hash(name) >> 32).unwrap_or(0);
    (0..length).map(move |step| start.wrapping_add(step) & mask)
}

/// Of the length, the first and the last eight bytes: names that share all three are rare.
fn hash(name: &str) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let bytes = name.as_bytes();
    let first = bytes.first_chunk::<8>().map_or_else(|| short(bytes), |chunk| u64::from_le_bytes(*chunk));
    let last = bytes.last_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let mixed = (first ^ last.rotate_left(23) ^ bytes.len() as u64).wrapping_mul(ODD);
    (mixed ^ (mixed >> 29)).wrapping_mul(ODD)
}

/// Fewer than eight bytes as a number.
fn short(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
}
