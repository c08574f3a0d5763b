//! A task with an owner that stops it and waits for it.

use std::future::Future;
use std::time::Duration;

use channels::{Stop, Stopper};
use tokio::task::{AbortHandle, JoinSet};

/// One task. Dropping it aborts it; [`Task::end`] ends it in order.
pub(super) struct Task {
    stopper: Stopper,
    set: JoinSet<()>,
    handle: AbortHandle,
}

impl Task {
    /// Runs what `make` makes of the signal that ends it.
    pub(super) fn run<F: Future<Output = ()> + Send + 'static>(make: impl FnOnce(Stop) -> F) -> Self {
        let (stopper, stop) = Stopper::new();
        let mut set = JoinSet::new();
        let handle = set.spawn(make(stop));
        Self { stopper, set, handle }
    }

    /// False once it has ended, for whatever reason.
    pub(super) fn is_running(&self) -> bool {
        !self.handle.is_finished()
    }

    /// Fires its signal and waits; past `grace` it is aborted. True if it ended in order.
    pub(super) async fn end(mut self, grace: Duration) -> bool {
        self.stopper.stop();
        let ended = tokio::time::timeout(grace, async { while self.set.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            self.set.shutdown().await;
        }
        ended.is_ok()
    }
}
