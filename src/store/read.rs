//! Reads single records and payloads from the log, each checked.

use std::sync::Arc;

use bytes::Bytes;
use message::{MessageId, Sha256};

use super::big::BigFiles;
use super::codec::{self, Codec, Decoded, FileRef, Stored};
use super::entry::{DeliveryEntry, Routing};
use super::error::{Damage, StoreError};
use super::keys::{self, Hasher};
use super::record::{DeliveryId, Outcome, Received, Record};
use super::segment::{Position, Segments, damage_at};

/// The log as its readers see it.
pub(super) struct Records {
    pub(super) segments: Arc<Segments>,
    pub(super) codec: Codec,
    pub(super) big: BigFiles,
    pub(super) hasher: Hasher,
}

impl Records {
    /// The record at `at`; what is in files is left out.
    pub(super) fn read(&self, at: Position) -> Result<Decoded, StoreError> {
        let raw = self.segments.read(at)?;
        match self.codec.decode(&raw).map_err(|what| damage_at(at, what))? {
            Stored::Record(decoded) => Ok(decoded),
            Stored::Carried { .. } => Err(damage_at(at, "another record was expected here").into()),
        }
    }

    /// The record at `at`, with what is in files.
    pub(super) fn read_whole(&self, at: Position) -> Result<Record, StoreError> {
        let Decoded { mut record, files } = self.read(at)?;
        for file in &files {
            codec::fill(&mut record, file.slot, self.big.read(file)?);
        }
        Ok(record)
    }

    /// The bytes in slot `slot` of the record at `at`.
    pub(super) fn slot(&self, at: Position, slot: usize) -> Result<Option<Bytes>, StoreError> {
        let Decoded { mut record, files } = self.read(at)?;
        if let Some(file) = file_of(&files, slot) {
            return self.big.read(file).map(Some);
        }
        Ok(codec::slots(&mut record).into_iter().nth(slot).and_then(Option::take))
    }

    /// The message at `at`, and its payload where that was asked for. `id` must be its id.
    pub(super) fn received(&self, at: Position, id: &MessageId, payload: bool) -> Result<Received, StoreError> {
        let Decoded { record, files } = self.read(at)?;
        let mut received = match record {
            Record::Received(received) if received.id == *id => *received,
            _ => return Err(damage_at(at, "another record was expected here").into()),
        };
        match (payload, file_of(&files, 0)) {
            (false, _) => received.payload = Bytes::new(),
            (true, Some(file)) => received.payload = self.big.read(file)?,
            (true, None) => {}
        }
        if payload && Sha256::of(&received.payload) != received.sha256 {
            return Err(damage_at(at, "the payload's SHA-256 does not match").into());
        }
        Ok(received)
    }

    /// What a delivery's route said: from its entry, or from the log where that is too long.
    pub(super) fn routing(
        &self,
        id: DeliveryId,
        entry: &DeliveryEntry,
        find: impl FnOnce(&[u8]) -> Result<Option<Position>, StoreError>,
    ) -> Result<Routing, StoreError> {
        if let Some(routing) = &entry.routing {
            return Ok(routing.clone());
        }
        let at = find(&keys::event(&entry.message, entry.processed))?.ok_or_else(|| StoreError::no_delivery(id))?;
        let index = usize::try_from(id - entry.processed - 1).unwrap_or(usize::MAX);
        match self.read(at)?.record {
            Record::Processed { outcome: Outcome::Queued { outputs, deliveries }, .. } => {
                let new = deliveries.into_iter().nth(index).ok_or_else(|| StoreError::no_delivery(id))?;
                let flags = outputs.into_iter().nth(new.output as usize).map(|output| output.flags);
                Ok(Routing::of(&new, flags.unwrap_or_default()))
            }
            _ => Err(damage_at(at, "another record was expected here").into()),
        }
    }
}

/// The damage that an error tells of, if it does.
pub(super) fn damage_in(error: StoreError) -> Result<Damage, StoreError> {
    match error {
        StoreError::Damaged(damage) => Ok(damage),
        other => Err(other),
    }
}

pub(super) fn file_of(files: &[FileRef], slot: usize) -> Option<&FileRef> {
    files.iter().find(|file| file.slot as usize == slot)
}
