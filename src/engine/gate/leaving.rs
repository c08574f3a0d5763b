//! What is on its way out, by patient: a change of consents is filed once nothing of the patient's is under way, and
//! nothing new sets out meanwhile. So nothing is sent after a refusal is on file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::store::Lane;

/// A change waits at most so long for what is under way: its bytes have left by then, and only their answer is not
/// there, or the destination cannot be reached. What leaves later all the same is told as an error.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who is on the way, and whose consents are being changed.
pub(super) struct Leaving {
    patience: Duration,
    counts: Mutex<Counts>,
    /// Something became less.
    less: Notify,
}

impl Default for Leaving {
    fn default() -> Self {
        Self { patience: PATIENCE, counts: Mutex::default(), less: Notify::new() }
    }
}

#[derive(Default)]
struct Counts {
    sending: HashMap<Lane, usize>,
    changing: HashMap<Lane, usize>,
}

/// Something of these patients is on its way, until dropped.
pub(in crate::engine) struct Leave<'a> {
    leaving: &'a Leaving,
    patients: Vec<Lane>,
}

/// What is on file of these patients is being changed, until dropped.
pub(in crate::engine) struct Change<'a> {
    leaving: &'a Leaving,
    patients: Vec<Lane>,
}

impl Leaving {
    /// Sets out with something of `patients`, once nothing on file of them is being changed.
    pub(super) async fn leave(&self, patients: Vec<Lane>) -> Leave<'_> {
        self.wait(|counts| {
            let free = !patients.iter().any(|patient| counts.changing.contains_key(patient));
            if free {
                add(&mut counts.sending, &patients);
            }
            free
        })
        .await;
        Leave { leaving: self, patients }
    }

    /// Lets nothing of `patients` set out, and waits for what is under way.
    pub(super) async fn change(&self, patients: Vec<Lane>) -> Change<'_> {
        add(&mut self.counts().changing, &patients);
        let change = Change { leaving: self, patients };
        let quiet = self.wait(|counts| !change.patients.iter().any(|patient| counts.sending.contains_key(patient)));
        if timeout(self.patience, quiet).await.is_err() {
            tracing::warn!("consents change while a destination takes long to answer: they are filed now");
        }
        change
    }

    /// Waits until `done`, looking again whenever something became less.
    async fn wait(&self, mut done: impl FnMut(&mut Counts) -> bool) {
        loop {
            let less = self.less.notified();
            tokio::pin!(less);
            // From here on nothing is missed.
            less.as_mut().enable();
            if done(&mut self.counts()) {
                return;
            }
            less.await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        take(&mut self.leaving.counts().sending, &self.patients);
        self.leaving.less.notify_waiters();
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        take(&mut self.leaving.counts().changing, &self.patients);
        self.leaving.less.notify_waiters();
    }
}

fn add(counts: &mut HashMap<Lane, usize>, patients: &[Lane]) {
    for patient in patients {
        *counts.entry(*patient).or_default() += 1;
    }
}

fn take(counts: &mut HashMap<Lane, usize>, patients: &[Lane]) {
    for patient in patients {
        let left = counts.get_mut(patient).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            counts.remove(patient);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const ADA: Lane = [1; 16];
    const BEN: Lane = [2; 16];

    #[tokio::test]
    async fn a_change_waits_for_what_is_under_way_and_nothing_sets_out_meanwhile() {
        let leaving = Leaving::default();
        let sent = leaving.leave(vec![ADA, BEN]).await;
        let mut change = Box::pin(leaving.change(vec![ADA]));
        assert!(change.as_mut().now_or_never().is_none(), "something of hers is under way");
        let mut next = Box::pin(leaving.leave(vec![ADA]));
        assert!(next.as_mut().now_or_never().is_none(), "hers is being changed");
        assert!(leaving.leave(vec![BEN]).now_or_never().is_some(), "his is not");
        drop(sent);
        let change = change.await;
        assert!(next.as_mut().now_or_never().is_none());
        drop(change);
        drop(next.await);
        let counts = leaving.counts();
        assert!(counts.sending.is_empty() && counts.changing.is_empty(), "nothing is remembered of what is over");
    }

    #[tokio::test]
    async fn a_change_does_not_wait_for_ever() {
        let leaving = Leaving { patience: Duration::from_millis(1), ..Leaving::default() };
        let _sent = leaving.leave(vec![ADA]).await;
        drop(leaving.change(vec![ADA]).await);
        assert!(leaving.leave(vec![ADA]).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_change_that_is_given_up_bars_nobody() {
        let leaving = Leaving::default();
        let _sent = leaving.leave(vec![ADA]).await;
        assert!(leaving.change(vec![ADA]).now_or_never().is_none());
        assert!(leaving.leave(vec![ADA]).now_or_never().is_some());
    }
}
