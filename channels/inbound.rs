//! What an inbound channel is, and what it offers to the engine.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use message::{Answer, Format, MessageId};
use serde::{Deserialize, Serialize};

use crate::Stop;

/// One feed in.
#[async_trait]
pub trait Inbound: Send {
    /// Where it listens, once bound: an address with its real port, or a folder. For logs and tests.
    fn bound(&self) -> String;

    /// What it counts, for metrics; nothing by default.
    fn tally(&self) -> Option<Arc<dyn Tally>> {
        None
    }

    /// Runs until `stop` fires; every message already read is still answered.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if the feed as a whole cannot go on. What one peer or one file does wrong is
    /// answered and logged, and is no error here.
    async fn run(self: Box<Self>, intake: Arc<dyn Intake>, stop: Stop) -> Result<(), ChannelError>;
}

/// What a feed counts of its own, besides what the engine is offered: counters since it was opened, that only go up.
pub trait Tally: Send + Sync {
    /// The answers that were written, by code: `AA`, `202`.
    fn answers(&self) -> Vec<(String, u64)>;

    /// What happened to connections and on the wire, by name: `connections`, `too_long`.
    fn events(&self) -> Vec<(&'static str, u64)>;
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
    ///
    /// A channel may drop the future before that, because its peer hung up or its time is over: the
    /// message is then stored wholly or not at all, and a peer that sends it again gets a duplicate's answer.
    async fn offer(&self, offered: Offered) -> Ticket;

    /// Somebody at `peer` did not show the credentials that the channel asks for: the audit tells of it. What was shown
    /// is not told.
    async fn turned_away(&self, peer: &str) {
        let _ = peer;
    }

    /// What has become of a message that this channel took; `None` if it took none with this id.
    async fn status(&self, id: MessageId) -> Option<StatusReport> {
        let _ = id;
        None
    }
}

/// What has become of a message, as its sender may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// The message's state in one word: `stored`, `delivered`, `held`, `dead`.
    pub state: String,
    /// When it came into that state.
    pub changed: Timestamp,
    /// One line for a person, without patient data.
    pub text: String,
}

/// When the sender hears that its message was taken: `acknowledge` in a channel's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acknowledge {
    /// Once it is on disk.
    #[default]
    Stored,
    /// Once it is transformed and routed.
    Processed,
    /// Once its destinations have taken it.
    Delivered,
}

/// Tells the time. Channels are handed one, so that tests can set it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// One message as a channel read it.
#[derive(Clone)]
pub struct Offered {
    /// What its bytes are.
    pub format: Format,
    /// The bytes as they came, transport framing not counted.
    pub bytes: Bytes,
    /// A FHIR Provenance in JSON, without a target, that came beside the bytes and is about all of them: `X-Provenance` of
    /// HTTP (FHIR R4 Provenance §6.3.4.6). Empty if none did.
    pub beside: Bytes,
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
