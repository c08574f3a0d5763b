//! Spares a service that does not answer: after some questions in vain it is asked again only now and then, by one
//! question at a time, until it answers.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Questions in vain, in a row, after which a service is down.
const MOST_IN_VAIN: u32 = 3;
/// The first wait of a service that is down, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// Whether a service may be asked.
#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    in_vain: u32,
    /// While it is down: the next question, and how long that was waited for.
    next: Option<(Instant, Duration)>,
    /// One asks whether it is back.
    trying: bool,
    /// Somebody was told to try: nobody else is until then.
    told_until: Option<Instant>,
}

/// Leave to ask once. Dropped without a word, nothing is known.
pub(super) struct Turn<'a> {
    breaker: &'a Breaker,
    /// It asks whether a service that is down is back.
    tries: bool,
    told: bool,
}

impl Breaker {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to ask; `None` while it is down.
    pub(super) fn turn(&self, now: Instant) -> Option<Turn<'_>> {
        let mut state = self.state();
        if let Some((at, _)) = state.next {
            if now < at || state.trying {
                return None;
            }
            state.trying = true;
        }
        Some(Turn { breaker: self, tries: state.trying, told: false })
    }

    /// True while it is down.
    pub(super) fn is_open(&self) -> bool {
        self.state().next.is_some()
    }

    /// When it is to be tried again; `None` while it answers, or while somebody tries.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let state = self.state();
        state.next.filter(|_| !state.trying).map(|(at, _)| state.told_until.map_or(at, |told| told.max(at)))
    }

    /// Somebody was told to try: nobody else for a while, should that come to nothing.
    pub(super) fn postpone(&self, now: Instant) {
        let mut state = self.state();
        state.told_until = state.next.map(|(_, wait)| now + wait);
    }
}

impl Turn<'_> {
    /// It answered. True if it was down.
    pub(super) fn answered(mut self) -> bool {
        self.told = true;
        let mut state = self.breaker.state();
        let was_down = state.next.is_some();
        *state = State::default();
        was_down
    }

    /// It did not answer. True if that makes it down.
    pub(super) fn in_vain(mut self, now: Instant) -> bool {
        self.told = true;
        let mut state = self.breaker.state();
        let was_down = state.next.is_some();
        if was_down && !self.tries {
            // It was asked before the service went down: that is known.
            return false;
        }
        state.in_vain = state.in_vain.saturating_add(1);
        state.trying = false;
        if state.in_vain >= MOST_IN_VAIN {
            let wait = state.next.map_or(WAITS.0, |(_, wait)| wait.saturating_mul(2).min(WAITS.1));
            (state.next, state.told_until) = (Some((now + wait, wait)), None);
        }
        !was_down && state.next.is_some()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.tries && !self.told {
            self.breaker.state().trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_one_at_a_time_once_it_is_down() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        assert!(!breaker.turn(now).unwrap().in_vain(now));
        assert!(!breaker.turn(now).unwrap().in_vain(now));
        assert!(breaker.turn(now).unwrap().in_vain(now), "down with the third");
        assert!(breaker.is_open() && breaker.turn(now).is_none());
        let later = now + Duration::from_secs(2);
        assert_eq!(breaker.next_try(), Some(later));
        breaker.postpone(later);
        assert_eq!(breaker.next_try(), Some(later + Duration::from_secs(2)), "somebody was told to");
        let turn = breaker.turn(later).unwrap();
        assert!(breaker.turn(later).is_none(), "one tries");
        assert!(!turn.in_vain(later));
        assert_eq!(breaker.next_try(), Some(later + Duration::from_secs(4)), "longer each time");
        let back = breaker.turn(later + Duration::from_secs(4)).unwrap();
        assert!(back.answered(), "it was down");
        assert!(!breaker.is_open() && breaker.turn(now).is_some());
    }

    /// What was asked at once and is answered by nothing makes it wait no longer.
    #[test]
    fn many_at_once_are_one_failure() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let turns: Vec<Turn<'_>> = (0..20).map(|_| breaker.turn(now).unwrap()).collect();
        turns.into_iter().for_each(|turn| _ = turn.in_vain(now));
        assert_eq!(breaker.next_try(), Some(now + Duration::from_secs(2)));
    }

    #[test]
    fn a_turn_that_is_given_up_keeps_nobody_out() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        (0..3).for_each(|_| _ = breaker.turn(now).unwrap().in_vain(now));
        let later = now + Duration::from_secs(2);
        drop(breaker.turn(later));
        assert!(breaker.turn(later).is_some());
    }

    #[test]
    fn one_answer_in_between_starts_the_count_anew() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..4 {
            assert!(!breaker.turn(now).unwrap().in_vain(now));
            assert!(!breaker.turn(now).unwrap().answered());
        }
        assert!(!breaker.is_open());
    }
}
