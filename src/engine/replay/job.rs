//! A replay job: the messages of one request, one after the other, and how far that is.

use std::collections::BTreeMap;
use std::time::Duration;

use channels::Stop;
use uuid::Uuid;

use super::replayer::{Chosen, Replayed};
use super::{MOST_IDS, ReplayError, ReplayProgress, ReplayRequest, ReplayState, Replayer};
use crate::engine::clock;
use crate::store::{DeliveryId, Outcome, Page, Record, Store, StoreError};

/// Under which name the store remembers a job.
const PREFIX: &str = "replay/";
/// Under which name the store remembers that a job is to stop.
const CANCELLED: &str = "replay-cancelled/";
/// Jobs that have ended and are still listed.
const ENDED: usize = 100;
/// The wait before a store that refused is tried again.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// How long a job that keeps a rate goes without looking whether it is cancelled.
const LOOK: Duration = Duration::from_secs(1);

impl Replayer {
    /// Writes down a new job.
    ///
    /// # Errors
    ///
    /// [`ReplayError::TooManyIds`]; [`ReplayError::Store`] if it cannot be written.
    pub async fn begin(&self, request: ReplayRequest) -> Result<ReplayProgress, ReplayError> {
        if request.ids.len() > MOST_IDS {
            return Err(ReplayError::TooManyIds);
        }
        let began = (self.clock)();
        let progress = ReplayProgress {
            job: clock::new_id(began).0,
            request,
            state: ReplayState::Running,
            began,
            cursor: None,
            replayed: 0,
            failed: 0,
            skipped: 0,
        };
        let ended = jobs(&self.store).await?.into_iter().filter(|job| job.state != ReplayState::Running).skip(ENDED);
        let forgotten = ended.flat_map(|job| [forget(PREFIX, job.job), forget(CANCELLED, job.job)]);
        self.store.commit_synced(forgotten.chain([remembered(&progress)]).collect()).await?;
        Ok(progress)
    }

    /// Takes up a cancelled job again where it stopped.
    ///
    /// # Errors
    ///
    /// [`ReplayError::NoJob`]; [`ReplayError::NotCancelled`]; [`ReplayError::Store`].
    pub async fn take_up(&self, job: Uuid) -> Result<ReplayProgress, ReplayError> {
        let mut progress = find(&self.store, job).await?;
        match progress.state {
            ReplayState::Cancelled => {}
            ReplayState::Running => return Err(ReplayError::NotCancelled(job, "running")),
            ReplayState::Done => return Err(ReplayError::NotCancelled(job, "done")),
        }
        progress.state = ReplayState::Running;
        self.store.commit_synced(vec![forget(CANCELLED, job), remembered(&progress)]).await?;
        Ok(progress)
    }

    /// Works on a job until it is done, cancelled or `stop` fires. `after_each` hears of what was
    /// replaced and of the destinations that have something new. While the store refuses (a full disk)
    /// it waits.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Store`] once the store is closed.
    pub async fn work<F: Future<Output = ()>>(
        &self,
        mut progress: ReplayProgress,
        mut stop: Stop,
        mut after_each: impl FnMut(BTreeMap<String, Vec<DeliveryId>>, Vec<String>) -> F,
    ) -> Result<ReplayProgress, ReplayError> {
        while progress.state == ReplayState::Running {
            let Some(page) = self.page(&progress, &mut stop).await? else { return Ok(progress) };
            for chosen in page.items {
                if self.is_to_end(&mut progress, &stop).await? {
                    return Ok(progress);
                }
                let Some(replayed) = self.one(chosen, &mut progress, &mut stop).await? else { return Ok(progress) };
                if let Some(Replayed { outcome, replaced }) = replayed {
                    after_each(replaced, destinations(&outcome)).await;
                }
                self.keep_rate(&progress, &mut stop).await?;
            }
            match page.next {
                Some(next) => progress.cursor = Some(next),
                None => progress.state = ReplayState::Done,
            }
            self.write(&progress).await?;
        }
        Ok(progress)
    }

    /// The next messages. `None` if `stop` fires first.
    async fn page(&self, progress: &ReplayProgress, stop: &mut Stop) -> Result<Option<Page<Chosen>>, ReplayError> {
        loop {
            match self.select(&progress.request, progress.cursor, progress.began).await {
                Ok(page) => return Ok(Some(page)),
                Err(error) => {
                    if !self.may_wait(progress.job, error, stop).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Replays one message. `Some(None)` if it was left out, `None` if `stop` fires first.
    async fn one(
        &self,
        chosen: Chosen,
        progress: &mut ReplayProgress,
        stop: &mut Stop,
    ) -> Result<Option<Option<Replayed>>, ReplayError> {
        loop {
            match self.replay(chosen, progress).await {
                Ok(replayed) => return Ok(Some(Some(replayed))),
                Err(error) if error.is_of_the_message() => {
                    tracing::warn!(job = %progress.job, message_id = %chosen.id, %error, "not replayed");
                    progress.skipped += 1;
                    progress.cursor = Some(chosen.place);
                    return Ok(Some(None));
                }
                Err(ReplayError::Store(error)) => {
                    if !self.may_wait(progress.job, error, stop).await? {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a store that refuses. False if `stop` fires first.
    async fn may_wait(&self, job: Uuid, error: StoreError, stop: &mut Stop) -> Result<bool, ReplayError> {
        if matches!(error, StoreError::Closed) {
            return Err(error.into());
        }
        tracing::warn!(%job, %error, "the replay waits for the store");
        Ok(stop.or(tokio::time::sleep(STORE_RETRY)).await.is_some())
    }

    /// True if an operator cancelled it, which is then written down, or if `stop` has fired.
    async fn is_to_end(&self, progress: &mut ReplayProgress, stop: &Stop) -> Result<bool, ReplayError> {
        if stop.is_stopped() {
            return Ok(true);
        }
        if !self.is_cancelled(progress.job).await? {
            return Ok(false);
        }
        progress.state = ReplayState::Cancelled;
        self.write(progress).await?;
        Ok(true)
    }

    /// Waits until the next message may follow, or there is a reason not to.
    async fn keep_rate(&self, progress: &ReplayProgress, stop: &mut Stop) -> Result<(), ReplayError> {
        let pause = progress.request.rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        let mut left = pause.unwrap_or_default();
        while !left.is_zero() {
            let now = left.min(LOOK);
            left -= now;
            if stop.or(tokio::time::sleep(now)).await.is_none()
                || !left.is_zero() && self.is_cancelled(progress.job).await?
            {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn is_cancelled(&self, job: Uuid) -> Result<bool, StoreError> {
        Ok(self.store.setting(&format!("{CANCELLED}{job}")).await?.is_some())
    }

    async fn write(&self, progress: &ReplayProgress) -> Result<(), StoreError> {
        self.store.commit_synced(vec![remembered(progress)]).await.map(|_| ())
    }
}

fn destinations(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Queued { deliveries, .. } => deliveries.iter().map(|d| d.destination.clone()).collect(),
        Outcome::Filtered { .. } | Outcome::Failed { .. } => Vec::new(),
    }
}

pub(super) fn remembered(progress: &ReplayProgress) -> Record {
    Record::Setting { key: format!("{PREFIX}{}", progress.job), value: serde_json::to_string(progress).ok() }
}

fn forget(prefix: &str, job: Uuid) -> Record {
    Record::Setting { key: format!("{prefix}{job}"), value: None }
}

/// All jobs that a store remembers, the newest first.
///
/// # Errors
///
/// [`StoreError`] if it cannot be read.
pub async fn jobs(store: &Store) -> Result<Vec<ReplayProgress>, StoreError> {
    let settings = store.settings(PREFIX).await?;
    let mut jobs: Vec<ReplayProgress> =
        settings.iter().filter_map(|(_, text)| serde_json::from_str(text).ok()).collect();
    jobs.sort_by_key(|progress| std::cmp::Reverse((progress.began, progress.job)));
    Ok(jobs)
}

async fn find(store: &Store, job: Uuid) -> Result<ReplayProgress, ReplayError> {
    jobs(store).await?.into_iter().find(|progress| progress.job == job).ok_or(ReplayError::NoJob(job))
}

/// Stops a job before its next message: what was replayed stays so. `is_worked_on` says whether an engine
/// is up, which ends it; else it has ended with this.
///
/// # Errors
///
/// [`ReplayError::NoJob`]; [`ReplayError::Store`].
pub async fn cancel(store: &Store, job: Uuid, is_worked_on: bool) -> Result<ReplayProgress, ReplayError> {
    let mut progress = find(store, job).await?;
    if progress.state != ReplayState::Running {
        return Ok(progress);
    }
    let record = if is_worked_on {
        Record::Setting { key: format!("{CANCELLED}{job}"), value: Some("yes".to_owned()) }
    } else {
        progress.state = ReplayState::Cancelled;
        remembered(&progress)
    };
    store.commit_synced(vec![record]).await?;
    Ok(progress)
}
