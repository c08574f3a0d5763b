//! How requests reach the store's threads: checked, encoded, within the memory that there is.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::codec::{self, slots};
use super::fact::Fact;
use super::find::Finder;
use super::keeper::{Keeper, KeeperJob};
use super::lifecycle::delivery_of;
use super::metrics::add;
use super::queries::ReadJob;
use super::warm::Warm;
use super::writer::{Commit, Prepared, Request, Until, answer};
use super::{Committed, DeliveryId, Outcome, Record, Store, StoreError, apply};

/// Memory is counted in units of this many bytes.
pub(super) const UNIT: usize = 4096;

impl Store {
    pub(super) async fn commit_with(&self, records: Vec<Record>, until: Until) -> Result<Committed, StoreError> {
        records.iter().try_for_each(|record| self.check(record))?;
        // What a patient allows must not be taken back by a cut of the power.
        let until = if records.iter().any(is_filed) { Until::Durable } else { until };
        let coming = Warm::coming(&records);
        let done: Vec<DeliveryId> = records.iter().filter(|record| ends(record)).filter_map(delivery_of).collect();
        let mut prepared = Vec::with_capacity(records.len());
        for record in self.with_order(self.with_replaced(records).await?).await? {
            let sequences = codec::sequences(&record);
            let (record, encoded, files) = self.encode(record).await?;
            let fact = Fact::of(record, files, None, &self.0.finder.records.hasher);
            prepared.push(Prepared { fact, encoded, sequences });
        }
        let bytes = prepared.iter().map(|record| record.encoded.len()).sum();
        let permit = Some(self.admit(bytes).await?);
        let (reply, answer) = oneshot::channel();
        self.send(Request::Commit(Commit { records: prepared, until, reply, permit }))?;
        let answered = answer.await.map_err(|_| StoreError::Closed)?;
        if let Ok(committed) = &answered {
            self.0.warm.processed(coming, &committed.deliveries);
            self.0.warm.done(done.into_iter());
        }
        answered.map_err(|error| self.explain(error))
    }

    /// Puts a `Skipped` before each `Replayed` for every delivery that the replay takes the place of: all
    /// that are open, or those to the one destination that it is for.
    pub(super) async fn with_replaced(&self, records: Vec<Record>) -> Result<Vec<Record>, StoreError> {
        let mut all = Vec::with_capacity(records.len());
        for record in records {
            if let Record::Replayed { message, at, destination, .. } = &record {
                let (message, at) = (*message, *at);
                for delivery in self.read(move |finder| finder.open_deliveries(&message)).await? {
                    let to = self.delivery(delivery).await?.map(|delivery| delivery.destination);
                    if destination.is_none() || *destination == to {
                        all.push(Record::Skipped { delivery, at, reason: apply::REPLACED.into() });
                    }
                }
            }
            all.push(record);
        }
        Ok(all)
    }

    /// Gives what messages say of consents and identities its place in the order of acceptance.
    async fn with_order(&self, mut records: Vec<Record>) -> Result<Vec<Record>, StoreError> {
        for record in records.iter_mut().filter(|record| is_filed(record)) {
            let (Record::Consent { message, order, .. }
            | Record::Linked { message, order, .. }
            | Record::Parted { message, order, .. }) = record
            else {
                continue;
            };
            if let Some(message) = *message {
                *order = self.read_settled(move |finder| finder.order_of(&message)).await?;
            }
        }
        Ok(records)
    }

    /// Encodes a record, its big payloads first into files of their own.
    pub(super) async fn encode(&self, mut record: Record) -> Result<(Record, Vec<u8>, Vec<u64>), StoreError> {
        let threshold = self.0.options.big_threshold;
        let mut big = Vec::new();
        if let Record::Received(received) = &mut record {
            big.extend((received.payload.len() > threshold).then(|| (0, std::mem::take(&mut received.payload))));
        }
        for (field, slot) in slots(&mut record).into_iter().zip(0..) {
            if field.as_ref().is_some_and(|bytes| bytes.len() > threshold) {
                big.extend(field.replace(Bytes::new()).map(|bytes| (slot, bytes)));
            }
        }
        let mut files = Vec::with_capacity(big.len());
        for (slot, bytes) in big {
            let records = self.0.finder.records.clone();
            let written = tokio::task::spawn_blocking(move || records.big.write(slot, &bytes));
            let file = written.await.map_err(|_| StoreError::Failed("writing a payload panicked".into()))?;
            files.push(file.map_err(|error| self.explain(error))?);
        }
        let encoded = self.0.finder.records.codec.encode(&record, &files).map_err(StoreError::Invalid)?;
        Ok((record, encoded, files.into_iter().map(|file| file.number).collect()))
    }

    /// Refuses records that cannot be.
    pub(super) fn check(&self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Received(_) => Err(StoreError::Invalid("a message is accepted, not committed".into())),
            Record::Processed { outcome: Outcome::Queued { outputs, deliveries }, .. } => {
                if deliveries.iter().any(|delivery| delivery.output as usize >= outputs.len()) {
                    return Err(StoreError::Invalid("a delivery of an output that is not there".into()));
                }
                deliveries.iter().try_for_each(|delivery| self.check_name(&delivery.destination))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_name(&self, name: &str) -> Result<(), StoreError> {
        let good = !name.is_empty() && name.len() <= 200 && !name.contains('\0');
        if good { Ok(()) } else { Err(StoreError::Invalid("a channel or destination has an unusable name".into())) }
    }

    /// Waits until there is memory for a request of `bytes`.
    pub(super) async fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let all = (self.0.options.in_flight_bytes / UNIT).max(1);
        let units = u32::try_from((1 + bytes / UNIT).min(all)).unwrap_or(u32::MAX);
        self.0.memory.clone().acquire_many_owned(units).await.map_err(|_| StoreError::Closed)
    }

    /// Never blocks: the channel has room for all requests that there is memory for.
    pub(super) fn send(&self, request: Request) -> Result<(), StoreError> {
        if self.0.threads.closed() {
            return Err(StoreError::Closed);
        }
        self.0.log.try_send(request).map_err(|_| StoreError::Closed)
    }

    /// Runs `work` on a reader's thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Finder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        let job: ReadJob =
            Box::new(move |finder: &Finder| answer(reply, finder.progress.check().and_then(|()| work(finder))));
        self.0.queries.send(job).await?;
        done.await.map_err(|_| StoreError::Closed)?
    }

    /// [`Store::read`] once all that was accepted before is in the index.
    pub(super) async fn read_settled<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Finder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read(move |finder| finder.progress.catch_up().and_then(|()| work(finder))).await
    }

    /// Runs `work` on the housekeeping thread.
    pub(super) async fn keep<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Keeper) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, done) = oneshot::channel();
        let job: KeeperJob = Box::new(move |keeper: &mut Keeper| answer(reply, work(keeper)));
        self.0
            .keeper
            .try_send(job)
            .map_err(|_| StoreError::Invalid("the store is closed, or busy with other upkeep".into()))?;
        done.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) fn full(&self) -> StoreError {
        add(&self.0.metrics.refused_full, 1);
        StoreError::Full { free: self.0.finder.tallies.free_bytes(), needed: self.0.options.min_free_bytes }
    }

    pub(super) fn explain(&self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::Full { .. }) { self.full() } else { error }
    }
}

/// True for what is filed for good: consents and identities.
pub(super) fn is_filed(record: &Record) -> bool {
    matches!(record, Record::Consent { .. } | Record::Linked { .. } | Record::Parted { .. })
}

/// True if nothing is sent of the delivery after it, as things stand.
fn ends(record: &Record) -> bool {
    matches!(record, Record::Delivered { .. } | Record::Dead { .. } | Record::Held { .. } | Record::Skipped { .. })
}
