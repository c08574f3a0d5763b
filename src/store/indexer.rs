//! The index's thread: takes groups from the log's thread and makes them visible, in order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use tokio::sync::oneshot;

use super::Committed;
use super::change::Change;
use super::counts::Tallies;
use super::entry::Applied;
use super::epochs::Epochs;
use super::error::StoreError;
use super::fact::Item;
use super::index::{Index, guard};
use super::lately::Lately;
use super::progress::Progress;
use super::read::Records;
use super::writer::{again, answer};

/// So many entries are written as one at most, several groups together.
const ENTRIES: usize = 8192;

/// What the index's thread is asked.
pub(super) enum IndexRequest {
    Group(Group),
    /// Records that stand in another place than was said.
    Relocated(Vec<Item>),
    /// Work that must not run while groups are applied.
    Job(Job),
}

/// Work on the index between two groups.
pub(super) type Job = Box<dyn FnOnce(&Indexer) + Send>;

/// One group of the log.
pub(super) struct Group {
    pub(super) items: Vec<Item>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) end: Applied,
}

/// One who waits until the group is visible.
pub(super) struct Waiting {
    pub(super) reply: oneshot::Sender<Result<Committed, StoreError>>,
    pub(super) committed: Committed,
}

/// The index's thread.
pub(super) struct Indexer {
    pub(super) index: Arc<Index>,
    pub(super) records: Arc<Records>,
    pub(super) tallies: Arc<Tallies>,
    pub(super) progress: Arc<Progress>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) lately: Arc<Lately>,
}

impl Indexer {
    /// Runs until all who could ask are gone, then makes the index durable.
    pub(super) fn run(self, requests: &Receiver<IndexRequest>) {
        let mut held = None;
        while let Some(request) = held.take().or_else(|| requests.recv().ok()) {
            match request {
                IndexRequest::Group(group) => held = self.groups(group, requests),
                IndexRequest::Relocated(items) => self.relocate(&items),
                IndexRequest::Job(job) => job(&self),
            }
        }
        if self.progress.check().is_ok()
            && let Err(error) = self.index.checkpoint()
        {
            tracing::error!(%error, "the index could not be synced when it was closed");
        }
    }

    /// Applies `first` and the groups that wait behind it, as one. Returns what else came meanwhile.
    fn groups(&self, first: Group, requests: &Receiver<IndexRequest>) -> Option<IndexRequest> {
        let mut change = Change::new(&self.index, &self.records);
        let (mut waiting, mut end, mut next) = (Vec::new(), first.end, Some(first));
        let mut told = Vec::new();
        let mut applied = self.progress.check();
        let mut other = None;
        while let Some(group) = next.take() {
            end = group.end;
            waiting.extend(group.waiting);
            applied = applied.and_then(|()| guard(|| group.items.iter().try_for_each(|item| change.apply(item))));
            told.push((group.items, group.end));
            if change.len() >= ENTRIES {
                break;
            }
            match requests.try_recv() {
                Ok(IndexRequest::Group(group)) => next = Some(group),
                Ok(request) => other = Some(request),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
        }
        let touched = std::mem::take(&mut change.touched);
        let applied = applied.and_then(|()| change.finish(end, &self.tallies));
        match &applied {
            Ok(()) => {
                if let Some((concerned, sequence)) = touched.concerned() {
                    self.epochs.raise(concerned, sequence);
                }
                self.progress.set_applied(end.next);
            }
            Err(error) => self.progress.set_broken(error),
        }
        for Waiting { reply, committed } in waiting {
            answer(reply, applied.as_ref().map(|()| committed).map_err(again));
        }
        if applied.is_ok() {
            told.into_iter().for_each(|(items, end)| self.lately.keep(items, &end));
        }
        other
    }

    fn relocate(&self, items: &[Item]) {
        self.lately.clear();
        let done = self.index.applied().and_then(|applied| {
            let mut change = Change::new(&self.index, &self.records);
            items.iter().try_for_each(|item| change.relocate(item))?;
            change.finish(applied.unwrap_or_default(), &self.tallies)
        });
        if let Err(error) = done {
            self.progress.set_broken(&error);
        }
    }
}
