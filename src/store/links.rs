//! Which identifiers are one person's, by what messages said of any two of them.
//!
//! The last statement about two identifiers counts. Whoever can be reached over such pairs is the same person,
//! unless it was said of two of those that they are not, after all that joins them was said: then it is not certain.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::record::{Lane, Order};
use super::segment::Position;

/// More identifiers than this are no person.
const MOST: usize = 256;
/// Of so many identifiers of each of two persons it is noted that they are not the other's.
const MOST_PARTED: usize = 32;

/// The last statement about two identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LinkEntry {
    /// What makes it the last.
    pub(super) order: Order,
    pub(super) sequence: u64,
    /// Where it says so.
    pub(super) at: Position,
    /// True if they are one person's.
    pub(super) linked: bool,
}

/// A statement about two identifiers.
pub(super) type Pair = (Lane, Lane, bool);

/// What `Linked` says: all are the first's.
pub(super) fn linked(subjects: &[Lane]) -> Vec<Pair> {
    let Some((first, rest)) = subjects.split_first() else { return Vec::new() };
    rest.iter().filter(|other| *other != first).map(|other| (*first, *other, true)).collect()
}

/// What `Parted` says: none of the one's is any of the other's.
pub(super) fn parted(subjects: &[Lane], others: &[Lane]) -> Vec<Pair> {
    let mut pairs = linked(subjects);
    pairs.extend(linked(others));
    for one in subjects.iter().take(MOST_PARTED) {
        let apart = others.iter().take(MOST_PARTED).filter(|other| *other != one);
        pairs.extend(apart.map(|other| (*one, *other, false)));
    }
    pairs
}

/// A person's identifiers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) subjects: BTreeSet<Lane>,
    /// False if it cannot be said that all of them are the same person's.
    pub(super) certain: bool,
}

/// What was said of an identifier and others.
pub(super) type Said = Vec<(Lane, LinkEntry)>;

/// All identifiers that are the same person's as `subjects`; `said` tells what was said of one of them.
pub(super) fn person(
    subjects: &[Lane],
    mut said: impl FnMut(&Lane) -> Result<Said, StoreError>,
) -> Result<Person, StoreError> {
    let mut known: BTreeMap<Lane, Said> = BTreeMap::new();
    let mut next: Vec<Lane> = subjects.to_vec();
    while let Some(subject) = next.pop() {
        if known.contains_key(&subject) {
            continue;
        }
        if known.len() >= MOST.max(subjects.len()) {
            return Ok(Person { subjects: known.into_keys().collect(), certain: false });
        }
        let about = said(&subject)?;
        next.extend(about.iter().filter(|(_, link)| link.linked).map(|(other, _)| *other));
        known.insert(subject, about);
    }
    let certain = !known.iter().any(|(subject, about)| {
        let mut apart = about.iter().filter(|(other, link)| !link.linked && known.contains_key(other));
        apart.any(|(other, link)| joined_before(&known, subject, other, link.order))
    });
    Ok(Person { subjects: known.into_keys().collect(), certain })
}

/// True if `from` and `to` are joined by statements alone that came before `order`.
fn joined_before(known: &BTreeMap<Lane, Said>, from: &Lane, to: &Lane, order: Order) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![*from]);
    while let Some(subject) = next.pop() {
        if subject == *to {
            return true;
        }
        if seen.insert(subject) {
            let about = known.get(&subject).into_iter().flatten();
            next.extend(about.filter(|(_, link)| link.linked && link.order < order).map(|(other, _)| *other));
        }
    }
    false
}
