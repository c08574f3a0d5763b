//! Answers that are used again for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use channels::lookup::Keep;

/// The most answers that are kept of one service.
const MOST: usize = 20_000;

/// Answers by question.
pub(super) struct Kept<K, V>(Mutex<HashMap<K, One<V>>>);

#[derive(Clone)]
struct One<V> {
    answer: V,
    at: Instant,
    keep: Keep,
}

/// What is on hand of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It is as good as a new one.
    Fresh,
    /// It may be used while no new one can be had.
    Stale,
    /// It is too old.
    Old,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<K, One<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was answered, and how good that is. `most` is how old an answer may get whatever it says itself.
    pub(super) fn get(&self, question: &K, now: Instant, most: Duration) -> Option<(V, Age)> {
        let all = self.all();
        let one = all.get(question)?;
        let age = now.saturating_duration_since(one.at);
        let age = match (age < one.keep.fresh, age < one.keep.fresh.saturating_add(one.keep.stale)) {
            _ if age >= most => Age::Old,
            (true, _) => Age::Fresh,
            (false, true) => Age::Stale,
            (false, false) => Age::Old,
        };
        Some((one.answer.clone(), age))
    }

    /// Keeps an answer that says it may be kept; one that may not takes the place of none.
    pub(super) fn put(&self, question: K, answer: V, keep: Keep, now: Instant) {
        let mut all = self.all();
        if keep == Keep::default() {
            all.remove(&question);
            return;
        }
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(question, One { answer, at: now, keep });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ages() {
        let (kept, at) = (Kept::default(), Instant::now());
        let second = Duration::from_secs;
        kept.put("q", 1, Keep { fresh: second(10), stale: second(5) }, at);
        let get = |after: u64, most: u64| kept.get(&"q", at + second(after), second(most));
        assert_eq!(get(9, 60), Some((1, Age::Fresh)));
        assert_eq!(get(10, 60), Some((1, Age::Stale)));
        assert_eq!(get(15, 60), Some((1, Age::Old)));
        assert_eq!(get(9, 9), Some((1, Age::Old)), "the policy's longest age is shorter");
        kept.put("q", 2, Keep::default(), at);
        assert_eq!(get(0, 60), None, "what may not be kept is not, nor what it takes the place of");
    }
}
