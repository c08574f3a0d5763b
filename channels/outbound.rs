//! What an outbound channel is, and what came of a delivery.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use message::{Format, MessageId};

/// One destination's protocol and address.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// Delivers `outgoing` once. Trying again is the queue's work, never the channel's.
    ///
    /// # Errors
    ///
    /// [`DeliveryError`]: each variant is something else that the queue does next.
    async fn deliver(&self, outgoing: &Outgoing) -> Result<Receipt, DeliveryError>;

    /// Reaches the destination without delivering anything, for `check --connect` and probes: opens
    /// a connection, reads a CapabilityStatement, writes and removes an empty file.
    ///
    /// # Errors
    ///
    /// As [`Outbound::deliver`].
    async fn probe(&self) -> Result<String, DeliveryError>;
}

/// One delivery's content, as it is to leave.
#[derive(Clone)]
pub struct Outgoing {
    /// The message it came from.
    pub message: MessageId,
    /// The delivery's own number: with the message a key that stays the same over all attempts.
    pub delivery: u64,
    /// How many attempts there were before this one.
    pub attempt: u32,
    /// What the bytes are.
    pub format: Format,
    /// The bytes to send.
    pub bytes: Bytes,
    /// How many entries the bytes have, where they are known to be a Bundle of type `transaction`: then they need not be
    /// read. Nothing, once they are other bytes.
    pub transaction: Option<usize>,
    /// The CRC-32C of what was there before it was signed: a signature is another at each attempt, and what is sent is
    /// still the same. Nothing, where the bytes themselves are the same at each attempt.
    pub unsigned: Option<u32>,
    /// Names for templates: `channel`, `message_type`, `trigger_event`, `control_id`, `received`.
    pub names: Vec<(&'static str, String)>,
}

/// Prints sizes only: what leaves is patient data.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outgoing({} of {}, {:?}, {} bytes)", self.delivery, self.message, self.format, self.bytes.len())
    }
}

/// What the destination said when it took a message.
#[derive(Clone, Default)]
pub struct Receipt {
    /// One line without patient data, for `status` and lineage: `201 Created`, `AA`, a file name.
    pub summary: String,
    /// The answer's bytes, as they came: an ACK, a response Bundle, an OperationOutcome.
    pub answer: Bytes,
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receipt({}, {} bytes)", self.summary, self.answer.len())
    }
}

/// Why a destination did not take a message. The delivery queue reads nothing else.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// It may take the same bytes later: try again with backoff.
    #[error("the destination is unavailable: {reason}")]
    Unavailable {
        /// What happened, without patient data: `connection refused`, `503 Service Unavailable`.
        reason: String,
        /// When it asks to be tried again.
        retry_after: Option<Duration>,
        /// True if the peer could not be reached at all or says that it is down, so that other
        /// messages would fare no better: it counts towards pausing the whole destination.
        down: bool,
    },
    /// It read the message and asks for another try later (AE, CE): try again, then dead.
    #[error("the destination could not process the message: {}", .0.summary)]
    Erred(Receipt),
    /// It read the message and said no (AR, CR, 400, 422): to the dead letters, with its answer.
    #[error("the destination refused the message: {}", .0.summary)]
    Refused(Receipt),
    /// Our credentials are not taken (401, 403): stop the destination and alarm, keep the queue.
    #[error("the destination does not take our credentials: {}", .0.summary)]
    Unauthorized(Receipt),
    /// It may or may not have taken the message: the connection was lost or silent after sending.
    #[error("it is unknown whether the destination took the message: {reason}")]
    Unknown {
        /// What happened after sending, without patient data.
        reason: String,
    },
    /// It took part of a batch: only `rest` is to be tried again, under the same delivery.
    #[error("the destination took part of the batch: {}", .receipt.summary)]
    Partly {
        /// What it answered, all entries.
        receipt: Receipt,
        /// The bytes that remain to be delivered.
        rest: Bytes,
        /// True if the rest was refused for good, and only is to be kept as a dead letter.
        refused: bool,
    },
}
