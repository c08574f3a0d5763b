//! One connection out: sends a message, reads what comes back.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use memchr::memchr2;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::budget::Budget;
use super::frame::{CR, FS, VT};
use super::inbound::keep_alive;
use super::reader::{Arrival, FrameReader, Limits, ReadError};

/// Most bytes before an answer that belong to none.
const MAX_NOISE: u64 = 64 << 10;
/// How long to wait for the CR after the FS of an answer.
const MISSING_CR_WAIT: Duration = Duration::from_millis(100);

/// How long a [`Client`] waits, and for how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Longest time to look up the address and connect.
    pub connect_timeout: Duration,
    /// Longest time to hand one message to the network.
    pub send_timeout: Duration,
    /// Longest time from a message's last byte to its answer.
    pub answer_timeout: Duration,
    /// Longest answer, in bytes.
    pub max_answer_bytes: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(30),
            max_answer_bytes: 1 << 20,
        }
    }
}

/// Why an exchange failed. After any of them but [`ClientError::Unframable`] the connection is of no
/// more use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection, and nothing was sent.
    #[error("cannot connect to {address}")]
    Unreachable {
        /// Where to.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The message holds VT or FS, which would end it early at the receiver. Nothing was sent.
    #[error("the message holds a byte that MLLP cannot carry (VT or FS) at offset {offset}")]
    Unframable {
        /// Where the first one is.
        offset: usize,
    },
    /// The message did not leave whole, so that the peer cannot have taken it.
    #[error("the message was not sent whole")]
    NotSent(#[source] io::Error),
    /// The message left whole, but no answer came: the peer may or may not have taken it.
    #[error("no acknowledgment: {reason}")]
    NoAnswer {
        /// What came instead, without patient data.
        reason: String,
    },
}

/// A connection to an MLLP receiver.
pub struct Client {
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    config: ClientConfig,
}

impl Client {
    /// Connects to `address`, `"host:port"`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`].
    pub async fn connect(address: &str, config: ClientConfig) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address: address.to_owned(), source };
        let stream = timeout(config.connect_timeout, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(no_progress("no connection", config.connect_timeout)))
            .map_err(unreachable)?;
        keep_alive(&stream).map_err(unreachable)?;
        let limits = Limits {
            max_message: config.max_answer_bytes,
            max_noise: MAX_NOISE,
            // The answer timeout covers it.
            frame_timeout: Duration::MAX,
            missing_cr_wait: MISSING_CR_WAIT,
        };
        let (reader, writer) = stream.into_split();
        let reader = FrameReader::new(reader, limits, Budget::new(config.max_answer_bytes));
        Ok(Self { reader, writer, config })
    }

    /// Sends `message`, without framing, and waits for one answer, framing taken off. Whose answer
    /// it is must be looked up in it.
    ///
    /// # Errors
    ///
    /// As [`Client::send`] and [`Client::receive`].
    pub async fn exchange(&mut self, message: &[u8]) -> Result<Bytes, ClientError> {
        self.send(message).await?;
        self.receive().await
    }

    /// Sends `message`, without framing.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unframable`] or [`ClientError::NotSent`].
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ClientError> {
        if let Some(offset) = memchr2(VT, FS, message) {
            return Err(ClientError::Unframable { offset });
        }
        let mut block = [VT].as_slice().chain(message).chain([FS, CR].as_slice());
        timeout(self.config.send_timeout, self.writer.write_all_buf(&mut block))
            .await
            .unwrap_or_else(|_| Err(no_progress("the peer did not read it", self.config.send_timeout)))
            .map_err(ClientError::NotSent)
    }

    /// Waits for one answer, framing taken off.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoAnswer`].
    pub async fn receive(&mut self) -> Result<Bytes, ClientError> {
        self.receive_within(self.config.answer_timeout).await
    }

    /// The same, with `left` of the answer timeout.
    pub(super) async fn receive_within(&mut self, left: Duration) -> Result<Bytes, ClientError> {
        let reason = match timeout(left, self.reader.next(None)).await {
            Ok(Ok(Arrival::Message(answer, _))) => return Ok(answer),
            Ok(Ok(Arrival::TooLong { length, .. })) => format!("an answer of {length} bytes is too long"),
            Ok(Ok(Arrival::End)) => format!("the peer closed the connection{}", self.after_what()),
            Ok(Err(ReadError::Broken(error))) => format!("the connection broke: {error}{}", self.after_what()),
            Ok(Err(ReadError::Cut { .. })) => format!("the peer closed the connection{}", self.after_what()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("none within {:?}{}", self.config.answer_timeout, self.after_what()),
        };
        Err(ClientError::NoAnswer { reason })
    }

    /// Says that nothing more will be sent; the peer can still answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoAnswer`] if the connection is broken.
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        let broken = |error: io::Error| ClientError::NoAnswer { reason: format!("the connection broke: {error}") };
        self.writer.shutdown().await.map_err(broken)
    }

    /// True if the peer ended its side in good order, and sent nothing that was not read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.reader.ended_by_peer() && !self.reader.holds_bytes()
    }

    /// True if another message can be sent: the peer is there, as far as can be told, and has sent
    /// nothing that would be taken for its answer. Asks the system, not the event loop, which may not
    /// know yet.
    #[must_use]
    pub fn is_fresh(&mut self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(self.reader.io().as_ref()).peek(&mut byte);
        let silent = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        silent && !self.reader.has_ended() && !self.reader.holds_bytes()
    }

    /// What came instead of an answer, if anything.
    fn after_what(&self) -> String {
        match (self.reader.within(), self.reader.noise().bytes) {
            (Some(bytes), _) => format!(", after {bytes} bytes of one without an end"),
            (None, 0) => String::new(),
            (None, bytes) => format!(", after {bytes} bytes that are no MLLP frame"),
        }
    }
}

fn no_progress(what: &str, after: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} within {after:?}"))
}
