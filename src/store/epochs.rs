//! When the consents or the identity of a patient last changed: in memory, and told to those who wait for it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast::{self, error::RecvError};

use super::Concerned;
use super::record::Lane;

/// Patients share a place by sixteen bits of their hash. That two of them do costs a decision that changes nothing.
const PLACES: usize = 1 << 16;
/// So many changes are kept for one who is slow to hear of them.
const UNHEARD: usize = 1024;

/// The epochs of all patients, and who is told when they rise.
pub(super) struct Epochs {
    places: Box<[AtomicU64]>,
    changes: broadcast::Sender<Concerned>,
}

impl Epochs {
    /// All stand at `next`, the sequence to be given next: none is lower than before the store was opened.
    pub(super) fn new(next: u64) -> Self {
        Self { places: (0..PLACES).map(|_| next.into()).collect(), changes: broadcast::Sender::new(UNHEARD) }
    }

    pub(super) fn of(&self, subjects: &[Lane]) -> u64 {
        let places = subjects.iter().filter_map(|subject| self.places.get(place(subject)));
        places.map(|place| place.load(Ordering::Acquire)).max().unwrap_or(0)
    }

    /// The record with `sequence` concerns them. To be called when it is visible.
    pub(super) fn raise(&self, concerned: Concerned, sequence: u64) {
        let raise = |place: &AtomicU64| _ = place.fetch_max(sequence + 1, Ordering::AcqRel);
        match &concerned {
            Concerned::Subjects(subjects) => {
                subjects.iter().filter_map(|subject| self.places.get(place(subject))).for_each(raise);
            }
            Concerned::Anyone => self.places.iter().for_each(raise),
        }
        if self.changes.send(concerned).is_err() {
            tracing::trace!("nobody waits for changes of consents");
        }
    }

    pub(super) fn changes(&self) -> ConsentChanges {
        ConsentChanges(self.changes.subscribe())
    }
}

/// A subject is a hash already.
fn place(subject: &Lane) -> usize {
    subject.first_chunk().copied().map_or(0, |bytes| usize::from(u16::from_le_bytes(bytes)))
}

/// Changes of consents and identities, as they come.
pub struct ConsentChanges(broadcast::Receiver<Concerned>);

impl ConsentChanges {
    /// Waits for the next change. One who is too slow to hear of each is told that it may concern anyone. `None`
    /// once the store is closed. May be cancelled: nothing is missed.
    pub async fn next(&mut self) -> Option<Concerned> {
        match self.0.recv().await {
            Ok(concerned) => Some(concerned),
            Err(RecvError::Lagged(_)) => Some(Concerned::Anyone),
            Err(RecvError::Closed) => None,
        }
    }
}

impl std::fmt::Debug for ConsentChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConsentChanges")
    }
}
