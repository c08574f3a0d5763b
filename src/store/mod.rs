//! Where everything accepted lives: the log is the truth, the index finds things in it.
//!
//! The engine sees [`Store`] alone. A [`Record`] is something that happened; a group of records is
//! appended, written and made visible as one. [`Store::accept`] returns when the message is on
//! disk; [`Store::commit`] returns when its records are in the index as well, so that what was
//! committed is what the queries below it see.
//!
//! ```text
//! data/wal/00000042.seg   the log: segments filled with zeros ahead, recycled when all in them is done
//! data/big/…42.bin        payloads too big for the log, one file each
//! data/index/             sled: states, queues, search keys (hashed); rebuilt from the log
//! data/search.key         what search keys are hashed with
//! data/ballast            given up to get out of a full disk
//! data/lock               one process at a time
//! ```
//!
//! Threads: the log's ([`writer`]) groups and syncs; the index's ([`indexer`]) follows it; readers
//! answer queries; the keeper ([`keeper`]) makes checkpoints and drops old segments; one prepares the
//! next segment ([`spare`]). None of them is a runtime's worker: they block.
//!
//! The log is our own after a search for one: `wal-db`, `okaywal`, `open-wal`, `seglog` and
//! `commitlog` have a checksum for each record but no atomic group of them; none recycles zero-filled
//! segments under a generation, none tells a torn tail from damage by what was known durable, and
//! none moves on to a new segment after a failed `fdatasync`. `raft-engine` has atomic batches and
//! recycling, but keeps an index of all entries in memory and has no word for damage in its middle.

mod appender;
mod apply;
mod big;
mod block;
mod change;
mod codec;
mod consents;
mod counts;
mod directory;
mod disk;
mod duplicate;
mod entry;
mod epochs;
mod error;
mod fact;
mod find;
mod frame;
mod index;
mod indexer;
mod keeper;
mod key;
mod keys;
mod lately;
mod lifecycle;
mod links;
mod little_endian;
mod metrics;
mod open;
mod options;
mod pages;
mod progress;
mod queries;
mod query;
mod read;
mod recent;
mod record;
mod retain;
mod scan;
mod seal;
mod segment;
mod spare;
mod state;
mod submit;
mod tail;
mod threads;
mod types;
mod verify;
mod warm;
mod whole;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use jiff::Timestamp;
use message::MessageId;
use tokio::sync::{Semaphore, oneshot};

use self::find::Finder;
use self::keeper::{Keeper, KeeperJob};
use self::metrics::Metrics;
use self::queries::Queries;
use self::threads::Threads;
use self::warm::Warm;
use self::writer::{Accept, Request, Until};

pub use self::counts::Counts;
pub use self::disk::{Disk, DiskFile, RealDisk};
pub use self::epochs::ConsentChanges;
pub use self::error::{Damage, StoreError};
pub use self::metrics::{GROUP_BUCKETS, StoreMetrics};
pub use self::open::OpenReport;
pub use self::options::StoreOptions;
pub use self::query::{DeliveryQuery, MessageQuery};
pub use self::record::{
    Act, DeliveryId, DeliveryRecord, DestinationId, Lane, LaneSet, NewConsent, NewDelivery, NewOutput, Order, Outcome,
    Received, Record, State,
};
pub use self::retain::PruneReport;
pub use self::segment::Position;
pub use self::tail::{Followed, Mark, Origin, Tail};
pub use self::types::{
    Accepted, Committed, Concerned, ConsentOnFile, Content, Due, Entry, MessageRecord, OnFile, Page, RebuildReport,
};
pub use self::verify::VerifyReport;
pub use self::whole::Whole;

/// The store. Clones share it; the last one that is dropped closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    options: Arc<StoreOptions>,
    log: SyncSender<Request>,
    queries: Arc<Queries>,
    keeper: SyncSender<KeeperJob>,
    finder: Arc<Finder>,
    warm: Warm,
    metrics: Arc<Metrics>,
    /// Memory for requests that wait for the log, in units.
    memory: Arc<Semaphore>,
    low: Arc<AtomicBool>,
    threads: Threads,
}

impl Store {
    /// Opens the store in `options.dir`, or begins a new one there. Blocks, for as long as it takes to
    /// bring the index up to the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if another process has it open; [`StoreError::Full`] if there is no room
    /// to open it; [`StoreError::Io`] for what else the system refuses. Damage is no error: it is in
    /// the report.
    pub fn open(options: StoreOptions, now: Timestamp) -> Result<(Self, OpenReport), StoreError> {
        let opened = open::open(&options, now, None)?;
        Self::start(options, opened, now)
    }

    /// Deletes the index and builds it again from the log. The store must not be open. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn rebuild(options: &StoreOptions) -> Result<RebuildReport, StoreError> {
        let opened = open::open(options, Timestamp::UNIX_EPOCH, Some("it was asked for"))?;
        opened.index.checkpoint()?;
        Ok(RebuildReport { found: opened.report, counts: opened.tallies.snapshot() })
    }

    fn start(options: StoreOptions, opened: open::Opened, now: Timestamp) -> Result<(Self, OpenReport), StoreError> {
        let options = Arc::new(options);
        let metrics = Arc::new(Metrics::default());
        let units = (options.in_flight_bytes / submit::UNIT).max(1);
        let report = opened.report.clone();
        let started = threads::start(&options, opened, &metrics, units, now)?;
        let inner = Inner {
            log: started.log,
            queries: started.queries,
            keeper: started.keeper,
            finder: started.finder,
            warm: Warm::new(options.warm_bytes),
            metrics,
            memory: Arc::new(Semaphore::new(units)),
            low: started.low,
            threads: started.threads,
            options,
        };
        Ok((Self(Arc::new(inner)), report))
    }

    /// Stores a message. When this returns `New` or `Conflict` it is on the disk, and may be answered
    /// for; when it returns `Duplicate` the earlier one is. Cancelling leaves open whether it is stored.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] if the disk is full or nearly so: nothing was stored. Any other error: it
    /// must not be answered for either.
    pub async fn accept(&self, received: Received) -> Result<Accepted, StoreError> {
        let size = received.payload.len() as u64;
        if self.0.low.load(Ordering::Acquire) {
            return Err(self.full());
        }
        self.check_name(&received.channel)?;
        let permit = self.admit(received.payload.len()).await?;
        let keys = self.0.finder.records.hasher.keys(&received);
        let warm = Warm::of(&received);
        let (record, encoded, files) = self.encode(Record::Received(Box::new(received))).await?;
        let Record::Received(mut received) = record else { return Err(StoreError::Invalid("not a message".into())) };
        received.payload = Bytes::new();
        let (reply, answer) = oneshot::channel();
        let accept = Accept { received, encoded, files, size, keys, reply, permit };
        self.send(Request::Accept(accept))?;
        let answered = answer.await.map_err(|_| StoreError::Closed)?;
        if matches!(answered, Ok(Accepted::New)) {
            warm.into_iter().for_each(|warm| self.0.warm.accepted(warm));
        }
        answered.map_err(|error| self.explain(error))
    }

    /// Writes `records` as one: all of them or none will ever be seen. Returns when the queries see
    /// them. They are durable at the latest a few milliseconds later, with whatever is accepted next.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] if there is no room even for that; [`StoreError::Invalid`] for records that
    /// cannot be (a delivery of an output that is not there, a `Received`); others as they are.
    pub async fn commit(&self, records: Vec<Record>) -> Result<Committed, StoreError> {
        self.commit_with(records, Until::Visible).await
    }

    /// [`Store::commit`] that returns when the records are in the log, a moment before queries see them:
    /// for what nobody asks about in between.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub async fn record(&self, records: Vec<Record>) -> Result<Committed, StoreError> {
        self.commit_with(records, Until::Written).await
    }

    /// [`Store::commit`] that also waits until the records are durable: for an operator's actions.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub async fn commit_synced(&self, records: Vec<Record>) -> Result<Committed, StoreError> {
        self.commit_with(records, Until::Durable).await
    }

    /// One message, as it stands. `None` if it is not in the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; a damaged record is none here, see [`MessageRecord::damaged`].
    pub async fn message(&self, id: MessageId) -> Result<Option<MessageRecord>, StoreError> {
        self.read_settled(move |finder| finder.message(&id)).await
    }

    /// The bytes of a message as they came, checked against their SHA-256.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unknown`] if it is not in the store, [`StoreError::Damaged`] if its bytes are.
    pub async fn payload(&self, id: MessageId) -> Result<Bytes, StoreError> {
        self.read_settled(move |finder| finder.payload(&id)).await
    }

    /// What is to be sent now for a delivery: what remained after the last attempt, else its output,
    /// else the original bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unknown`] if it is not in the store, [`StoreError::Damaged`] if its bytes are.
    pub async fn content(&self, delivery: DeliveryId) -> Result<Content, StoreError> {
        self.read(move |finder| finder.content(delivery)).await
    }

    /// A queued delivery with its message and, unless that is longer than `most` bytes, its content: what
    /// an attempt needs, in one query. `None` if it is not there or no longer queued.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if its bytes are; others as they are.
    pub async fn due(&self, delivery: DeliveryId, most: u64) -> Result<Option<Due>, StoreError> {
        let Some(ready) = self.0.warm.get(delivery) else {
            return self.read(move |finder| finder.due(delivery, most)).await;
        };
        match self.0.finder.due_at_once(delivery, &ready) {
            Some(due) => due,
            None => self.read(move |finder| finder.due_with(delivery, ready, most)).await,
        }
    }

    /// What a message was last made into; the bytes are `None` where they are the original ones.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unknown`] if it is not in the store, [`StoreError::Damaged`] if its bytes are.
    pub async fn outputs(&self, id: MessageId) -> Result<Vec<NewOutput>, StoreError> {
        self.read_settled(move |finder| finder.outputs(&id)).await
    }

    /// All that happened to a message and its deliveries, in order, without payloads.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unknown`] if it is not in the store, [`StoreError::Damaged`] if a record is.
    pub async fn history(&self, id: MessageId) -> Result<Vec<Entry>, StoreError> {
        self.read_settled(move |finder| finder.history(&id)).await
    }

    /// Messages of `channel` whose transforms have not run, in order of acceptance, behind sequence
    /// `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn unprocessed(
        &self,
        channel: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, MessageId)>, StoreError> {
        let channel = channel.to_owned();
        self.read_settled(move |finder| finder.unprocessed(&channel, after, limit)).await
    }

    /// Queued deliveries of `destination` in order, behind `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn queued(
        &self,
        destination: &str,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        let destination = destination.to_owned();
        self.read_settled(move |finder| finder.queued(&destination, after, limit)).await
    }

    /// One delivery, as it stands. `None` if it is not in the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, StoreError> {
        self.read(move |finder| finder.delivery(id)).await
    }

    /// One page of the deliveries that `query` asks for, in order of their numbers.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<DeliveryRecord>, StoreError> {
        let query = query.clone();
        self.read(move |finder| finder.deliveries(&query)).await
    }

    /// One page of the messages that `query` asks for, in order of acceptance; by delivery where it
    /// asks for a destination alone.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn messages(&self, query: &MessageQuery) -> Result<Page<MessageRecord>, StoreError> {
        let query = query.clone();
        self.read_settled(move |finder| finder.messages(&query)).await
    }

    /// A keyed hash of `bytes`: what lanes are made of, so that the index holds no identifier.
    #[must_use]
    pub fn keyed_hash(&self, bytes: &[u8]) -> Lane {
        self.0.finder.records.hasher.lane(bytes)
    }

    /// False while the disk is too full to accept anything.
    #[must_use]
    pub fn takes_messages(&self) -> bool {
        !self.0.low.load(Ordering::Acquire)
    }

    /// True once the log cannot be written or the index cannot be used any more, and there is room to open
    /// the store again: then it goes on behind what is durable, and an index that broke is built anew.
    #[must_use]
    pub fn wants_reopening(&self) -> bool {
        self.takes_messages() && self.0.finder.progress.check().is_err()
    }

    /// How many messages and deliveries are in which state. Costs no disk access.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.finder.tallies.snapshot()
    }

    /// The value of a setting.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        self.read(move |finder| finder.setting(&key)).await
    }

    /// All settings whose names begin with `prefix`, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn settings(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |finder| finder.settings(&prefix)).await
    }

    /// When the latest event that was taken of each resource happened: what [`Record::Latest`] said of it, as far
    /// as that is not too long ago (some sixteen million records).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn latest(&self, resources: Vec<Lane>) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let found = self.read(move |finder| finder.latest(&resources)).await?;
        Ok(found.into_iter().map(|event| event.and_then(|event| Timestamp::from_microsecond(event).ok())).collect())
    }

    /// What is on file of the consents of the patients with these identifiers, and of those that are linked with
    /// them. Anything committed before is in it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if one of them cannot be read: then it is not known what the patient wants.
    pub async fn consents_of(&self, subjects: &[Lane]) -> Result<OnFile, StoreError> {
        let subjects = subjects.to_vec();
        self.read(move |finder| finder.consents_of(&subjects)).await
    }

    /// A number that rises with every change of the consents or the identity of any of these patients, at the latest
    /// when its commit returns; over a restart too. It may rise without one. Costs no disk access: it is to be
    /// compared with [`OnFile::epoch`] immediately before something is sent.
    #[must_use]
    pub fn epoch_of(&self, subjects: &[Lane]) -> u64 {
        self.0.finder.epochs.of(subjects)
    }

    /// All versions of a Consent, the first first. None if there is no such Consent.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if one cannot be read.
    pub async fn consent_versions(&self, key: Lane) -> Result<Vec<ConsentOnFile>, StoreError> {
        self.read(move |finder| finder.consent_versions(&key)).await
    }

    /// The queued and held deliveries that carry data of these patients, or of those that are linked with them, in
    /// order. Its cost does not rise with what else is in the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn open_deliveries_of(&self, subjects: &[Lane]) -> Result<Vec<DeliveryId>, StoreError> {
        let subjects = subjects.to_vec();
        self.read(move |finder| finder.open_deliveries_of(&subjects)).await
    }

    /// Tells of every change of consents and identities from now on, once it is to be seen.
    #[must_use]
    pub fn consent_changes(&self) -> ConsentChanges {
        self.0.finder.epochs.changes()
    }

    /// What happened from `mark` on, in order: about `most` records. It is told once it is to be seen, which may be
    /// before it is durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn tail(&self, mark: Mark, most: usize) -> Result<Tail, StoreError> {
        self.read(move |finder| finder.tail(mark, most)).await
    }

    /// The number that the log's next record gets, as far as the index is to hear of it.
    #[must_use]
    pub fn next_record(&self) -> u64 {
        self.0.finder.progress.written()
    }

    /// From now on retention keeps the log from `mark` on: one who follows it has come so far.
    pub fn keep_from(&self, mark: Mark) {
        self.0.finder.keep_from(mark);
    }

    /// What the store has done since it was opened.
    #[must_use]
    pub fn metrics(&self) -> StoreMetrics {
        self.0.metrics.snapshot(self.0.finder.progress.lag())
    }

    /// Reads the whole log and checks everything in it, and the index against it. Takes long.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it could not be done; what is wrong with the store is in the report.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        self.keep(|keeper| keeper.verify()).await
    }

    /// Makes the index durable now.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        self.keep(Keeper::checkpoint).await
    }

    /// Drops the segments whose messages were all received before `before`, carrying forward what is
    /// still open.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn prune(&self, before: Timestamp) -> Result<PruneReport, StoreError> {
        self.keep(move |keeper| keeper.retain(before)).await
    }

    /// Copies the log and the payloads to an empty directory `to`, which can be opened as a store.
    /// Returns how many bytes were copied.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn backup(&self, to: &Path) -> Result<u64, StoreError> {
        let to = to.to_owned();
        self.keep(move |keeper| keeper.backup(&to)).await
    }

    /// Closes the store: everything is durable when this returns, and the directory free if this was
    /// the last clone. Others get [`StoreError::Closed`] from now on.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn close(self) -> Result<(), StoreError> {
        let inner = self.0;
        let closed = tokio::task::spawn_blocking(move || inner.threads.close(&inner.log));
        closed.await.map_err(|_| StoreError::Failed("closing it panicked".into()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.threads.close(&self.log);
    }
}

#[cfg(test)]
mod tests;
