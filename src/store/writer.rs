//! The log's thread: collects what waits, writes it as one group, syncs once, wakes all.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use message::MessageId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::appender::Appender;
use super::duplicate::{Duplicates, Earlier};
use super::error::StoreError;
use super::fact::{Fact, Item};
use super::indexer::{Group, IndexRequest, Waiting};
use super::keys::SearchKeys;
use super::metrics::{Metrics, add};
use super::progress::Progress;
use super::read::Records;
use super::record::{Outcome, Received, Record};
use super::{Accepted, Committed};

/// A group is closed when it has this many requests or bytes.
const GROUP_REQUESTS: usize = 1024;
const GROUP_BYTES: usize = 8 << 20;
/// After this long without work an empty group is written, which proves that the last was durable.
const IDLE: Duration = Duration::from_millis(50);
/// What failed while nothing was asked is tried again after this long.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Where there is always work, something written waits this many times as long for its sync as it would
/// without.
const BUSY: u32 = 4;

/// What the log's thread is asked.
pub(super) enum Request {
    Accept(Accept),
    Commit(Commit),
    Close,
}

/// A message to be accepted.
pub(super) struct Accept {
    /// Without its payload.
    pub(super) received: Box<Received>,
    pub(super) encoded: Vec<u8>,
    pub(super) files: Vec<u64>,
    pub(super) size: u64,
    pub(super) keys: SearchKeys,
    pub(super) reply: oneshot::Sender<Result<Accepted, StoreError>>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// Records to be written as one.
pub(super) struct Commit {
    pub(super) records: Vec<Prepared>,
    pub(super) until: Until,
    pub(super) reply: oneshot::Sender<Result<Committed, StoreError>>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// What one who commits waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The records are in the log.
    Written,
    /// Queries see them.
    Visible,
    /// Queries see them, and they are durable.
    Durable,
}

/// A record that is ready for the log.
pub(super) struct Prepared {
    pub(super) fact: Fact,
    pub(super) encoded: Vec<u8>,
    pub(super) sequences: u64,
}

/// The log's thread.
pub(super) struct Writer {
    pub(super) requests: Receiver<Request>,
    pub(super) index: SyncSender<IndexRequest>,
    pub(super) appender: Appender,
    pub(super) duplicates: Duplicates,
    pub(super) records: Arc<Records>,
    pub(super) progress: Arc<Progress>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sync_within: Duration,
}

/// A group while it is being made.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    accepted: Vec<(oneshot::Sender<Result<Accepted, StoreError>>, Accepted)>,
    /// Those who wait for the log alone.
    written: Vec<Waiting>,
    committed: Vec<Waiting>,
    /// Files of messages that turned out to be duplicates.
    unused: Vec<u64>,
    permits: Vec<OwnedSemaphorePermit>,
    synced: bool,
}

impl Writer {
    /// Runs until it is closed.
    pub(super) fn run(mut self) {
        while let Some(first) = self.wait() {
            let mut bytes = size_of(&first);
            let mut requests = vec![first];
            while requests.len() < GROUP_REQUESTS && bytes < GROUP_BYTES {
                let Ok(next) = self.requests.try_recv() else { break };
                bytes += size_of(&next);
                requests.push(next);
            }
            let last = requests.iter().any(|request| matches!(request, Request::Close));
            self.serve(requests);
            if last {
                break;
            }
        }
        if let Err(error) = self.appender.close() {
            tracing::error!(%error, "the log could not be synced when it was closed");
        }
        self.tell_progress();
    }

    /// The next request; meanwhile syncs what may wait only so long.
    fn wait(&mut self) -> Option<Request> {
        let mut at_least = Duration::ZERO;
        loop {
            let patience = match self.appender.dirty_since() {
                _ if self.appender.failure().is_some() => return self.requests.recv().ok(),
                Some(since) => (since + self.sync_within).saturating_duration_since(Instant::now()),
                None if self.appender.proven() => return self.requests.recv().ok(),
                None => IDLE,
            };
            match self.requests.recv_timeout(patience.max(at_least)) {
                Ok(request) => return Some(request),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => at_least = if self.idle() { Duration::ZERO } else { AFTER_FAILURE },
            }
        }
    }

    /// Does what is due when nothing is asked. False if that could not be done.
    fn idle(&mut self) -> bool {
        let done = if self.appender.dirty_since().is_some() { self.appender.sync() } else { self.appender.prove() };
        self.tell_progress();
        self.relocate();
        done.inspect_err(|error| tracing::error!(%error, "the log cannot be written")).is_ok()
    }

    /// Tells who waits what is durable now, or that nothing more will be.
    fn tell_progress(&self) {
        self.progress.set_synced(self.appender.synced());
        if let Some(why) = self.appender.failure() {
            self.progress.set_failed(why);
        }
    }

    fn serve(&mut self, requests: Vec<Request>) {
        if let Err(error) = self.progress.check() {
            return requests.into_iter().for_each(|request| refuse(request, || again(&error)));
        }
        self.duplicates.settle(self.progress.applied());
        let mut batch = Batch::default();
        self.appender.begin();
        let first = self.appender.next_sequence();
        for request in requests {
            match request {
                Request::Accept(accept) => self.accept(accept, &mut batch),
                Request::Commit(commit) => self.commit(commit, &mut batch),
                Request::Close => {}
            }
        }
        let written = self.write(&mut batch);
        self.tell_progress();
        self.relocate();
        match written {
            Ok(()) => self.hand_over(batch),
            Err(error) => {
                self.duplicates.undo(first);
                self.appender.abandon();
                self.appender.release();
                batch.fail(&error);
            }
        }
    }

    fn accept(&mut self, accept: Accept, batch: &mut Batch) {
        let Accept { received, encoded, files, size, keys, reply, permit } = accept;
        let earlier = match keys.control.as_ref() {
            Some(key) => self.duplicates.earlier(key, received.at, self.appender.next_sequence()),
            None => Ok(Vec::new()),
        };
        let earlier = match earlier {
            Ok(earlier) => earlier,
            Err(error) => return answer(reply, Err(error)),
        };
        batch.permits.push(permit);
        batch.synced = true;
        let first = earlier.first().map(|earlier| earlier.id);
        if let Some(same) = earlier.iter().find(|earlier| earlier.sha256 == received.sha256) {
            add(&self.metrics.duplicates, 1);
            batch.unused.extend(files);
            // What was a conflict is one again: it was parked, and was never accepted.
            let accepted = match first.filter(|first| *first != same.id) {
                Some(earlier) => Accepted::Conflict { id: same.id, earlier },
                None => Accepted::Duplicate { id: same.id },
            };
            batch.accepted.push((reply, accepted));
            return;
        }
        let (id, sha256, at) = (received.id, received.sha256, received.at);
        let fact = Fact::Record { record: Record::Received(received), files, size, keys: keys.clone() };
        let sequence = self.append(Prepared { fact, encoded, sequences: 1 }, batch);
        if let Some(key) = keys.control {
            self.duplicates.note(key, sequence, Earlier { id, sha256, at });
        }
        add(&self.metrics.accepted, 1);
        let Some(earlier) = first else {
            return batch.accepted.push((reply, Accepted::New));
        };
        add(&self.metrics.conflicts, 1);
        match self.conflict(id, earlier, at) {
            Ok(failed) => _ = self.append(failed, batch),
            Err(error) => return answer(reply, Err(error)),
        }
        batch.accepted.push((reply, Accepted::Conflict { id, earlier }));
    }

    /// The record that parks a message whose control id was used before for other bytes.
    fn conflict(&self, message: MessageId, earlier: MessageId, at: jiff::Timestamp) -> Result<Prepared, StoreError> {
        let reason = format!("its control id was used before for other bytes, by message {earlier}");
        let outcome = Outcome::Failed { step: "duplicate-check".into(), location: String::new(), reason };
        let record = Record::Processed { message, at, outcome, steps: Vec::new(), findings: Vec::new() };
        let encoded = self.records.codec.encode(&record, &[]).map_err(StoreError::Invalid)?;
        Ok(Prepared { fact: Fact::of(record, Vec::new(), None, &self.records.hasher), encoded, sequences: 1 })
    }

    fn commit(&mut self, commit: Commit, batch: &mut Batch) {
        let mut deliveries = Vec::new();
        for prepared in commit.records {
            let count = prepared.sequences;
            let sequence = self.append(prepared, batch);
            deliveries.extend(sequence + 1..sequence + count);
        }
        add(&self.metrics.commits, 1);
        batch.synced |= commit.until == Until::Durable;
        batch.permits.extend(commit.permit);
        let waiting = Waiting { reply: commit.reply, committed: Committed { deliveries } };
        match commit.until {
            Until::Written => batch.written.push(waiting),
            Until::Visible | Until::Durable => batch.committed.push(waiting),
        }
    }

    fn append(&mut self, prepared: Prepared, batch: &mut Batch) -> u64 {
        let (sequence, at) = self.appender.append(&prepared.encoded, prepared.sequences);
        batch.items.push(Item { sequence, at, fact: prepared.fact });
        sequence
    }

    /// Writes the group, tells those who wait for no more, and syncs it if somebody waits for that.
    fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if !batch.items.is_empty() {
            self.appender.write()?;
        }
        if !batch.written.is_empty() {
            // First this, so that a question asked after the answer waits for the index.
            self.progress.set_written(self.appender.next_sequence());
        }
        for Waiting { reply, committed } in batch.written.drain(..) {
            answer(reply, Ok(committed));
        }
        if batch.synced || self.appender.must_sync() || self.is_overdue() {
            self.appender.sync()?;
        }
        Ok(())
    }

    /// True if something that was written waits for its sync for too long, busy as it is.
    fn is_overdue(&self) -> bool {
        self.appender.dirty_since().is_some_and(|since| since.elapsed() > BUSY * self.sync_within)
    }

    /// After a failed `fdatasync` the groups since the last good one stand in a new segment.
    fn relocate(&mut self) {
        let mut moved = self.appender.moved();
        while !moved.is_empty() {
            for group in moved {
                self.hand(IndexRequest::Relocated(group.items(&self.records)));
            }
            moved = self.appender.moved();
        }
    }

    /// Hands it to the index's thread, and waits until there is room. That thread may be waiting for
    /// what it has to be durable, and nobody else makes it so.
    fn hand(&mut self, request: IndexRequest) {
        let request = match self.index.try_send(request) {
            Ok(()) => return,
            Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) => request,
        };
        if let Err(error) = self.appender.sync() {
            tracing::error!(%error, "the log cannot be written");
        }
        self.tell_progress();
        if self.index.send(request).is_err() {
            tracing::error!("the index's thread is gone");
        }
    }

    /// Wakes the senders, then gives the group to the index.
    fn hand_over(&mut self, mut batch: Batch) {
        // Where the group stands is known only now: it may have gone to a new segment.
        if let Some((segment, offset)) = self.appender.last() {
            batch.items.iter_mut().for_each(|item| item.place(segment, offset));
        }
        let end = self.appender.end();
        self.appender.release();
        self.progress.set_written(end.next);
        for (reply, accepted) in batch.accepted {
            answer(reply, Ok(accepted));
        }
        batch.unused.into_iter().for_each(|number| self.records.big.remove(number));
        if batch.items.is_empty() && batch.committed.is_empty() {
            return;
        }
        self.hand(IndexRequest::Group(Group { items: batch.items, waiting: batch.committed, end }));
        self.relocate();
    }
}

impl Drop for Writer {
    /// If it panicked, nothing becomes durable any more: what waits for that is told so.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.progress.set_failed("its thread panicked");
        }
    }
}

impl Batch {
    fn fail(self, error: &StoreError) {
        for (reply, _) in self.accepted {
            answer(reply, Err(again(error)));
        }
        for waiting in self.written.into_iter().chain(self.committed) {
            answer(waiting.reply, Err(again(error)));
        }
    }
}

/// The same error for each of many.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full { free, needed } => StoreError::Full { free: *free, needed: *needed },
        StoreError::Index(why) => StoreError::Index(why.clone()),
        StoreError::Closed => StoreError::Closed,
        StoreError::Failed(why) => StoreError::Failed(why.clone()),
        other => StoreError::Failed(other.to_string()),
    }
}

fn refuse(request: Request, error: impl Fn() -> StoreError) {
    match request {
        Request::Accept(accept) => answer(accept.reply, Err(error())),
        Request::Commit(commit) => answer(commit.reply, Err(error())),
        Request::Close => {}
    }
}

/// Answers one that may have stopped waiting.
pub(super) fn answer<T>(reply: oneshot::Sender<T>, with: T) {
    if reply.send(with).is_err() {
        tracing::trace!("nobody waits for the answer any more");
    }
}

fn size_of(request: &Request) -> usize {
    match request {
        Request::Accept(accept) => accept.encoded.len(),
        Request::Commit(commit) => commit.records.iter().map(|record| record.encoded.len()).sum(),
        Request::Close => 0,
    }
}
