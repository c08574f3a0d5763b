//! What an inbound channel is, and what it offers to the engine.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use message::{Answer, Format};
use serde::{Deserialize, Serialize};

use crate::Stop;

/// What time it is. Channels never read the wall clock themselves.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// When a channel tells its sender that a message is taken: `acknowledge = "stored"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// Once it is on disk.
    #[default]
    Stored,
    /// Once it is transformed, routed and queued as well: the sender hears of content that cannot be
    /// converted.
    Processed,
    /// Once every destination has taken it, with what the destination answered.
    Delivered,
}

/// One feed in.
#[async_trait]
pub trait Inbound: Send {
    /// Where it listens, once bound: an address with its real port, or a folder. For logs and tests.
    fn bound(&self) -> String;

    /// Runs until `stop` fires; every message already read is still answered.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if the feed as a whole cannot go on. What one peer or one file does wrong is
    /// answered and logged, and is no error here.
    async fn run(self: Box<Self>, intake: Arc<dyn Intake>, stop: Stop) -> Result<(), ChannelError>;
}

/// Why a feed as a whole could not start or go on.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ChannelError {
    /// What was tried, where, and what to do: `cannot listen on 0.0.0.0:2575`.
    pub what: String,
    /// What the system said.
    #[source]
    pub source: Option<std::io::Error>,
}

/// The engine's door. Waits where the engine is busy: that wait is the back-pressure.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Offers one message. When this returns [`Answer::Stored`], it is on disk.
    async fn offer(&self, offered: Offered) -> Ticket;
}

/// One message as a channel read it.
#[derive(Clone)]
pub struct Offered {
    /// What its bytes are.
    pub format: Format,
    /// The bytes as they came, transport framing not counted.
    pub bytes: Bytes,
    /// Who sent it, in the transport's words: an address, a path within the drop folder.
    pub peer: Arc<str>,
    /// The transport's own name for this message (`X-Request-Id`, file name and index), for
    /// duplicate detection where the message itself has none. `None` leaves it to MSH-10 or
    /// Bundle.identifier.
    pub transport_id: Option<String>,
}

/// Prints sizes only: what is offered is patient data.
impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Offered({:?}, {} bytes from {})", self.format, self.bytes.len(), self.peer)
    }
}

/// What became of an offer.
pub struct Ticket {
    /// Whether it is stored; never [`Answer::Done`].
    pub answer: Answer,
    /// What becomes of it further on, where the channel's `acknowledge` policy (`processed`,
    /// `delivered`) or an enhanced-mode sender waits for that: resolves to [`Answer::Done`], or to
    /// [`Answer::Invalid`] or [`Answer::Unavailable`] with the reason.
    pub outcome: Option<BoxFuture<'static, Answer>>,
}
