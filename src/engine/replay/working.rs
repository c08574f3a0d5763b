//! The replay jobs of a running engine: begun, taken up again, stopped with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use channels::{Stop, Stopper};
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{ReplayError, ReplayProgress, ReplayRequest, ReplayState, Replayer, jobs};
use crate::engine::Engine;
use crate::store::{DeliveryId, StoreError};

/// The jobs that an engine works on.
#[derive(Default)]
pub(in crate::engine) struct Jobs(Mutex<Working>);

#[derive(Default)]
struct Working {
    tasks: JoinSet<()>,
    stoppers: Vec<Stopper>,
    /// The engine stops: what is asked for now begins when it is up again.
    closed: bool,
}

impl Jobs {
    fn add(&self, make: impl FnOnce(Stop) -> BoxFuture<'static, ()>) {
        let (stopper, stop) = Stopper::new();
        let mut working = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if working.closed {
            return;
        }
        while working.tasks.try_join_next().is_some() {}
        if working.tasks.is_empty() {
            working.stoppers.clear();
        }
        working.stoppers.push(stopper);
        working.tasks.spawn(make(stop));
    }

    /// Ends all jobs after the message that each is at, or within `grace`; none begins any more.
    pub(in crate::engine) async fn stop(&self, grace: Duration) {
        let mut working = {
            let mut working = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *working, Working { closed: true, ..Working::default() })
        };
        working.stoppers.iter().for_each(Stopper::stop);
        let ended = async { while working.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::warn!("a replay did not end in time: it goes on where its last message was written");
            working.tasks.shutdown().await;
        }
    }
}

impl Engine {
    /// A replayer with the recipes in force, now and after each reload.
    pub async fn replayer(&self) -> Replayer {
        let running = self.running.lock().await;
        let recipes = running.channels.iter().map(|(name, channel)| (name.clone(), channel.recipe()));
        let (clock, latest) = (Arc::clone(&self.shared.clock), Arc::clone(&self.shared.latest));
        Replayer::of(self.shared.store.clone(), recipes.collect(), clock, latest)
    }

    /// Begins a replay job; it works beside everything else and goes on after a restart.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Store`] if it cannot be written down.
    pub async fn replay(self: &Arc<Self>, request: ReplayRequest) -> Result<ReplayProgress, ReplayError> {
        let progress = self.replayer().await.begin(request).await?;
        self.work_on(progress.clone()).await;
        Ok(progress)
    }

    /// Takes up a cancelled replay job again.
    ///
    /// # Errors
    ///
    /// As [`Replayer::take_up`].
    pub async fn take_up_replay(self: &Arc<Self>, job: Uuid) -> Result<ReplayProgress, ReplayError> {
        let progress = self.replayer().await.take_up(job).await?;
        self.work_on(progress.clone()).await;
        Ok(progress)
    }

    /// Goes on with the jobs that an earlier run left.
    pub(in crate::engine) async fn resume_replays(self: &Arc<Self>) -> Result<(), StoreError> {
        for progress in jobs(&self.shared.store).await? {
            if progress.state == ReplayState::Running {
                tracing::info!(job = %progress.job, replayed = progress.replayed, "going on with a replay");
                self.work_on(progress).await;
            }
        }
        Ok(())
    }

    async fn work_on(self: &Arc<Self>, progress: ReplayProgress) {
        let replayer = self.replayer().await;
        let engine = Arc::downgrade(self);
        let after_each = move |replaced: BTreeMap<String, Vec<DeliveryId>>, destinations: Vec<String>| {
            let engine = engine.upgrade();
            async move {
                if let Some(engine) = engine {
                    engine.replaced(replaced).await;
                    engine.wake_all(destinations.into_iter());
                }
            }
        };
        let job = progress.job;
        self.replays.add(|stop| {
            Box::pin(async move {
                match replayer.work(progress, stop, after_each).await {
                    Ok(ReplayProgress { replayed, failed, skipped, state, .. }) => {
                        tracing::info!(%job, replayed, failed, skipped, ?state, "replay");
                    }
                    Err(error) => {
                        tracing::error!(%job, %error, "the replay cannot go on; it is tried at the next start");
                    }
                }
            })
        });
    }
}
