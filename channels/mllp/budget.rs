//! How much a channel holds in memory at once, shared by its connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for, in bytes.
const UNIT: usize = 1 << 10;

/// Bytes that may be in flight, from being read to being stored.
///
/// Whoever finds it used up waits, without reading. So that connections with half a message each
/// cannot wait for one another for ever, one message at a time may overdraw it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    overdraft: Arc<Semaphore>,
}

/// What a buffer or a message has of a [`Budget`]; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Hold {
    units: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of `bytes`, rounded up to whole KiB.
    pub(super) fn new(bytes: usize) -> Self {
        let units = units_of(bytes).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), overdraft: Arc::new(Semaphore::new(1)) }
    }

    /// Waits until `hold` covers `bytes`. Giving up waiting changes nothing.
    pub(super) async fn cover(&self, hold: &mut Hold, bytes: usize) {
        let missing = units_of(bytes).saturating_sub(hold.units());
        if missing == 0 || hold.overdraft.is_some() {
            return;
        }
        let more = u32::try_from(missing).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            Ok(units) = self.units.clone().acquire_many_owned(more) => hold.add(units),
            Ok(overdraft) = self.overdraft.clone().acquire_owned() => hold.overdraft = Some(overdraft),
            // Neither semaphore is ever closed.
            else => {}
        }
    }
}

impl Hold {
    fn units(&self) -> usize {
        self.units.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.units {
            Some(units) => units.merge(more),
            none => *none = Some(more),
        }
    }

    /// Parts with what covers `bytes`, and with the overdraft.
    pub(super) fn part(&mut self, bytes: usize) -> Self {
        let part = units_of(bytes).min(self.units());
        Self { units: self.units.as_mut().and_then(|units| units.split(part)), overdraft: self.overdraft.take() }
    }

    /// Gives back what `bytes` do not need.
    pub(super) fn trim(&mut self, bytes: usize) {
        let needed = units_of(bytes);
        if let Some(units) = &mut self.units {
            drop(units.split(units.num_permits().saturating_sub(needed)));
        }
        if bytes == 0 {
            self.overdraft = None;
        }
    }
}

fn units_of(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn covers(budget: &Budget, hold: &mut Hold, bytes: usize) -> bool {
        budget.cover(hold, bytes).now_or_never().is_some()
    }

    #[test]
    fn one_may_overdraw_while_the_others_wait() {
        let budget = Budget::new(10 * UNIT);
        let (mut first, mut second, mut third) = (Hold::default(), Hold::default(), Hold::default());
        assert!(covers(&budget, &mut first, 6 * UNIT));
        assert!(covers(&budget, &mut second, 4 * UNIT));
        assert!(covers(&budget, &mut first, 100 * UNIT), "the overdraft");
        assert!(!covers(&budget, &mut second, 5 * UNIT));
        assert!(!covers(&budget, &mut third, 1));
        let message = first.part(100 * UNIT);
        assert!(!covers(&budget, &mut second, 5 * UNIT), "the message still holds it");
        drop(message);
        assert!(covers(&budget, &mut second, 5 * UNIT));
        assert!(covers(&budget, &mut third, 5 * UNIT));
    }

    #[test]
    fn gives_back_what_is_no_longer_needed() {
        let budget = Budget::new(10 * UNIT);
        let mut hold = Hold::default();
        assert!(covers(&budget, &mut hold, 10 * UNIT));
        hold.trim(UNIT + 1);
        assert_eq!(budget.units.available_permits(), 8);
        let message = hold.part(UNIT);
        hold.trim(0);
        assert_eq!(budget.units.available_permits(), 9);
        drop((message, hold));
        assert_eq!(budget.units.available_permits(), 10);
        assert_eq!(budget.overdraft.available_permits(), 1);
    }
}
