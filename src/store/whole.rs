//! Messages as they came, with their payloads: out of memory where they are there still, else from the log.

use std::sync::Arc;

use bytes::Bytes;
use message::MessageId;

use super::record::Received;
use super::{Store, StoreError};

/// A message with its payload.
#[derive(Clone)]
pub struct Whole {
    /// How it was accepted, without payload; it may lack its search keys.
    pub received: Arc<Received>,
    /// The bytes as they came.
    pub payload: Bytes,
}

/// Prints sizes only: a payload is patient data.
impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Whole({}, {} bytes)", self.received.id, self.payload.len())
    }
}

impl Store {
    /// Messages with their payloads, checked against their SHA-256 where they are read from the log: as many of `ids`,
    /// from the first on, as have about `most` bytes, and at least one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if nothing can be read. Of one message: [`StoreError::Unknown`] if it is not in the store,
    /// [`StoreError::Damaged`] if its bytes are.
    pub async fn whole(&self, ids: Vec<MessageId>, most: usize) -> Result<Vec<Result<Whole, StoreError>>, StoreError> {
        let warm: Vec<Option<Whole>> = ids.iter().map(|id| self.0.warm.message(id)).collect();
        if warm.iter().all(Option::is_some) {
            return Ok(up_to(most, warm.into_iter().flatten().map(Ok)));
        }
        let all = ids.into_iter().zip(warm);
        self.read_settled(move |finder| {
            Ok(up_to(most, all.map(|(id, warm)| warm.map_or_else(|| finder.whole(&id), Ok))))
        })
        .await
    }
}

/// Messages until there are `most` bytes of them.
fn up_to(most: usize, messages: impl Iterator<Item = Result<Whole, StoreError>>) -> Vec<Result<Whole, StoreError>> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for message in messages {
        bytes += message.as_ref().map_or(0, |whole| whole.payload.len());
        taken.push(message);
        if bytes >= most {
            break;
        }
    }
    taken
}
