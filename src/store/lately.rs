//! What the index was told last, in memory for one who follows the log: what has just been written need not be read,
//! decompressed and taken apart again.
//!
//! It holds so many records and no more. What was taken is gone from it, and what is not here is read from the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::Applied;
use super::fact::Item;
use super::tail::Mark;

/// Records that are held at most, and how many bytes they may take in the log, payloads included that are not here.
const MOST: usize = 8192;
const MOST_BYTES: u64 = 16 << 20;

/// The memory.
#[derive(Default)]
pub(super) struct Lately {
    /// Nobody follows the log before the first question.
    wanted: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// The groups behind each other, without gaps but for empty ones.
    groups: VecDeque<Told>,
    records: usize,
    bytes: u64,
    /// The last group that the index was told of.
    last: u64,
}

/// One group that the index has.
pub(super) struct Told {
    /// The last group with records before it.
    after: u64,
    /// Where it starts.
    pub(super) from: Mark,
    /// Where it ends.
    pub(super) end: Mark,
    pub(super) items: Vec<Item>,
}

impl Lately {
    /// Keeps a group that the index has now, the last one of a log that ends at `end`.
    pub(super) fn keep(&self, items: Vec<Item>, end: &Applied) {
        if items.is_empty() {
            return;
        }
        let mut held = self.held();
        let after = std::mem::replace(&mut held.last, end.group);
        if !self.wanted.load(Ordering::Relaxed) || after == 0 {
            return;
        }
        held.records += items.len();
        held.bytes += end.offset.saturating_sub(end.last);
        held.groups.push_back(Told {
            after,
            from: Mark { segment: end.segment, offset: end.last, group: end.group - 1 },
            end: Mark { segment: end.segment, offset: end.offset, group: end.group },
            items,
        });
        while held.records > MOST || held.bytes > MOST_BYTES {
            held.pop();
        }
    }

    /// The first group behind `mark`, if it is here.
    pub(super) fn take(&self, mark: Mark) -> Option<Told> {
        self.wanted.store(true, Ordering::Relaxed);
        let mut held = self.held();
        while held.groups.front().is_some_and(|told| told.end.group <= mark.group) {
            held.pop();
        }
        // Before an earlier one stands something that is not here.
        held.groups.front().filter(|told| told.after <= mark.group)?;
        held.pop()
    }

    /// Forgets everything: groups stand in other places than they did.
    pub(super) fn clear(&self) {
        let mut held = self.held();
        *held = Held { last: 0, ..Held::default() };
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn pop(&mut self) -> Option<Told> {
        let told = self.groups.pop_front()?;
        self.records -= told.items.len();
        self.bytes -= told.end.offset.saturating_sub(told.from.offset);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fact::Fact;
    use super::super::record::Record;
    use super::super::segment::Position;
    use super::*;

    /// `count` records of group `group`, which starts where the one before ended.
    fn told(group: u64, count: usize) -> (Vec<Item>, Applied) {
        let item = |number: usize| {
            let record = Record::Setting { key: number.to_string(), value: None };
            let fact = Fact::Record { record, files: Vec::new(), size: 0, keys: Default::default() };
            Item { sequence: number as u64, at: Position { segment: 1, offset: 0, length: 0 }, fact }
        };
        let end = Applied { segment: 1, offset: group * 100 + 100, group, last: group * 100, ..Applied::default() };
        ((0..count).map(item).collect(), end)
    }

    fn keep(lately: &Lately, groups: impl IntoIterator<Item = u64>) {
        groups.into_iter().for_each(|group| {
            let (items, end) = told(group, 1);
            lately.keep(items, &end);
        });
    }

    fn mark(group: u64) -> Mark {
        Mark { segment: 1, offset: group * 100 + 100, group }
    }

    fn taken(lately: &Lately, after: u64) -> Option<u64> {
        lately.take(mark(after)).map(|told| told.end.group)
    }

    #[test]
    fn gives_what_comes_next_and_empty_groups_are_no_gap() {
        let lately = Lately::default();
        assert!(taken(&lately, 3).is_none());
        keep(&lately, [4, 5, 7]);
        // Nothing is known of what was before the first.
        assert_eq!([4, 5, 7].map(|after| taken(&lately, after)), [Some(5), Some(7), None]);
    }

    #[test]
    fn does_not_pass_over_what_is_not_here() {
        let lately = Lately::default();
        taken(&lately, 1);
        keep(&lately, [2, 3, 4]);
        assert_eq!((taken(&lately, 1), taken(&lately, 2)), (None, Some(3)));
        // Asked for again from before: it is in the log.
        assert_eq!((taken(&lately, 2), taken(&lately, 3)), (None, Some(4)));
        keep(&lately, [5]);
        lately.clear();
        keep(&lately, [6, 7]);
        assert_eq!((taken(&lately, 4), taken(&lately, 6)), (None, Some(7)));
    }

    #[test]
    fn holds_so_much_and_no_more() {
        let lately = Lately::default();
        taken(&lately, 1);
        keep(&lately, 2..=MOST as u64 + 100);
        let held = lately.held();
        assert_eq!((held.records, held.groups.len(), held.bytes), (MOST, MOST, 100 * MOST as u64));
    }

    #[test]
    fn keeps_nothing_where_nobody_asks() {
        let lately = Lately::default();
        keep(&lately, 1..10);
        assert_eq!(lately.held().groups.len(), 0);
    }
}
