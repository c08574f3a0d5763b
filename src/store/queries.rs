//! Queries on their way to the readers' threads, each of which is woken for one query and no other.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::error::StoreError;
use super::find::Finder;

/// Queries that may wait for a reader.
const MOST: usize = 256;

/// A query.
pub(super) type ReadJob = Box<dyn FnOnce(&Finder) + Send>;

/// What waits for a reader.
pub(super) struct Queries {
    waiting: Mutex<Waiting>,
    ready: Condvar,
    room: Semaphore,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<ReadJob>,
    closed: bool,
}

impl Queries {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), ready: Condvar::new(), room: Semaphore::new(MOST) }
    }

    /// Hands `job` to a reader, once there is room.
    pub(super) async fn send(&self, job: ReadJob) -> Result<(), StoreError> {
        self.room.acquire().await.map_err(|_| StoreError::Closed)?.forget();
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(StoreError::Closed);
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// The next query, as soon as there is one; `None` once it is closed.
    pub(super) fn next(&self) -> Option<ReadJob> {
        let is_idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let mut waiting = self.ready.wait_while(self.waiting(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let job = if waiting.closed { None } else { waiting.jobs.pop_front() };
        drop(waiting);
        self.room.add_permits(usize::from(job.is_some()));
        job
    }

    /// Ends all readers; whoever waits for an answer is told that there is none.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        let unanswered = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        drop(unanswered);
        self.room.close();
        self.ready.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
