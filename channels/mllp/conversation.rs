//! One connection in: reads messages, offers them in order, acknowledges them in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use futures_util::{FutureExt as _, poll};
use message::hl7v2::Header;
use message::{Answer, Fault, Format};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::acknowledger::{Ack, Acknowledger, Reply};
use super::budget::{Budget, Hold};
use super::config::InboundConfig;
use super::counts::{Counts, add};
use super::frame::{CR, FS, VT};
use super::reader::{Arrival, FrameReader, ReadError};
use crate::{Intake, Offered, Stop};

/// A peer that leaves this many bytes of acknowledgments unread is not read from.
const UNWRITTEN: usize = 64 << 10;
/// How much of a message MSH is looked for in: what is kept of it until its acknowledgment is built.
const HEADER: usize = 16 << 10;
/// How long we read on, at most, after the last acknowledgment, for the peer to have it before the end.
const LINGER: Duration = Duration::from_secs(2);
/// A peer that sends nothing for this long has had it.
const QUIET: Duration = Duration::from_millis(200);

/// What all connections of a channel share.
pub(super) struct Channel {
    pub(super) name: Arc<str>,
    pub(super) config: InboundConfig,
    pub(super) acknowledger: Acknowledger,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) budget: Budget,
    pub(super) counts: Arc<Counts>,
}

/// One connection.
pub(super) struct Conversation<R, W> {
    channel: Arc<Channel>,
    peer: Arc<str>,
    reader: FrameReader<R>,
    writer: W,
    /// Replies to be written, in the order of their messages.
    waiting: FuturesOrdered<BoxFuture<'static, Reply>>,
    /// Application acknowledgments, in the order in which they are ready.
    later: FuturesUnordered<BoxFuture<'static, Option<Ack>>>,
    /// Acknowledgments that are being written, framed, and how many of them, about.
    out: BytesMut,
    unwritten: usize,
    /// Whether more is to be read.
    open: bool,
    messages: u64,
    /// Whether this peer has been complained of.
    complained: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Conversation<R, W> {
    pub(super) fn new(channel: Arc<Channel>, peer: Arc<str>, reader: R, writer: W) -> Self {
        let reader = FrameReader::new(reader, channel.config.limits(), channel.budget.clone());
        Self {
            channel,
            peer,
            reader,
            writer,
            waiting: FuturesOrdered::new(),
            later: FuturesUnordered::new(),
            out: BytesMut::new(),
            unwritten: 0,
            open: true,
            messages: 0,
            complained: false,
        }
    }

    /// Until the peer hangs up or `stop` fires, and everything read is answered.
    pub(super) async fn run(mut self, mut stop: Stop) {
        match self.converse(&mut stop).await {
            Ok(()) => self.close().await,
            Err(error) => {
                let unanswered = (self.waiting.len() + self.later.len() + self.unwritten) as u64;
                add(&self.channel.counts.unanswered, unanswered);
                tracing::warn!(
                    channel = %self.channel.name, peer = %self.peer, unanswered, error = %error,
                    "acknowledgments could not be written; the connection is closed, what was stored stays stored"
                );
            }
        }
        tracing::debug!(channel = %self.channel.name, peer = %self.peer, messages = self.messages, "connection closed");
    }

    async fn converse(&mut self, stop: &mut Stop) -> io::Result<()> {
        let write_timeout = self.channel.config.write_timeout.0;
        while self.open || !self.owes_nothing() {
            let room = self.has_room();
            let idle = self.owes_nothing().then_some(self.channel.config.idle_timeout.0);
            // Replies first, so that those that are ready leave together. Nothing here waits outside of
            // the `select!`: an offer that is not polled could keep its place in the engine's queue.
            tokio::select! {
                biased;
                Some(reply) = self.waiting.next() => self.answer(reply),
                Some(ack) = self.later.next() => self.append(ack),
                written = timeout(write_timeout, self.writer.write_buf(&mut self.out)), if !self.out.is_empty() => {
                    self.written(written)?;
                }
                () = stop.stopped(), if !self.reader.has_ended() => self.reader.stop(),
                arrival = self.reader.next(idle), if room => self.take(arrival).await,
            }
        }
        Ok(())
    }

    fn owes_nothing(&self) -> bool {
        self.waiting.is_empty() && self.later.is_empty() && self.out.is_empty()
    }

    /// Whether another message may be read.
    fn has_room(&self) -> bool {
        let config = &self.channel.config;
        self.open
            && self.waiting.len() + self.unwritten < config.window.get()
            && self.later.len() < config.application_window.get()
            && self.out.len() < UNWRITTEN
    }

    async fn take(&mut self, arrival: Result<Arrival, ReadError>) {
        self.tell_of_faults();
        match arrival {
            Ok(Arrival::Message(message, hold)) => self.offer(message, hold).await,
            Ok(Arrival::TooLong { head, length }) => self.refuse_too_long(&head, length),
            Ok(Arrival::End) => self.end(),
            Err(error) => {
                self.explain(&error);
                self.end();
            }
        }
    }

    /// Nothing more is read. A peer that has hung up still gets what it waits for, but does not keep
    /// its place for what comes later.
    fn end(&mut self) {
        self.open = false;
        if self.reader.ended_by_peer() {
            add(&self.channel.counts.unanswered, self.later.len() as u64);
            self.later.clear();
        }
    }

    /// Offers a message after those before it, without waiting for their answers.
    async fn offer(&mut self, message: Bytes, hold: Hold) {
        if message.trim_ascii().is_empty() {
            tracing::debug!(channel = %self.channel.name, peer = %self.peer, "an empty message is skipped");
            return;
        }
        let header = Header::read(message.get(..HEADER).unwrap_or(&message));
        if header.is_general_acknowledgment() {
            add(&self.channel.counts.acknowledgments_received, 1);
            self.complain("an acknowledgment came in where messages do; it is dropped and not answered");
            return;
        }
        self.messages += 1;
        add(&self.channel.counts.messages, 1);
        let (channel, peer) = (self.channel.clone(), self.peer.clone());
        let offered = Offered { format: Format::Hl7v2, bytes: message, beside: Bytes::new(), peer, transport_id: None };
        let mut reply: BoxFuture<'static, Reply> = Box::pin(async move {
            let ticket = channel.intake.offer(offered).await;
            drop(hold);
            channel.acknowledger.reply(header, ticket).await
        });
        // The first poll makes the offer: it must not fall behind that of the next message.
        match poll!(&mut reply) {
            std::task::Poll::Ready(reply) => self.reply_in_order(reply),
            std::task::Poll::Pending => self.waiting.push_back(reply),
        }
    }

    fn reply_in_order(&mut self, reply: Reply) {
        self.waiting.push_back(ready(reply).boxed());
    }

    fn refuse_too_long(&mut self, head: &[u8], length: u64) {
        let most = self.channel.config.max_message_bytes.0;
        add(&self.channel.counts.too_long, 1);
        tracing::warn!(
            channel = %self.channel.name, peer = %self.peer, bytes = length, max_message_bytes = most,
            "a message was too long and is refused"
        );
        self.refuse(head, format!("the message is longer than the {most} bytes that are taken here"));
    }

    fn refuse(&mut self, head: &[u8], text: String) {
        let answer = Answer::Invalid(Fault::new(207, None, text));
        let reply = self.channel.acknowledger.refuse(&Header::read(head), &answer);
        self.reply_in_order(reply);
    }

    /// Says why nothing more is read, to the log and, where there is a header to answer, to the peer.
    fn explain(&mut self, error: &ReadError) {
        let (channel, peer) = (&self.channel.name, &self.peer);
        match error {
            ReadError::Idle | ReadError::Broken(_) => {
                tracing::debug!(%channel, %peer, %error, "closing the connection");
            }
            _ => tracing::warn!(%channel, %peer, %error, "closing the connection"),
        }
        match error {
            ReadError::Slow { head, .. } => {
                add(&self.channel.counts.too_slow, 1);
                if Header::read(head).is_present() {
                    let most = self.channel.config.frame_timeout.0;
                    self.refuse(head, format!("the end of the message (FS CR) did not come within {most:?}"));
                }
            }
            ReadError::Cut { .. } => add(&self.channel.counts.cut_off, 1),
            ReadError::Idle | ReadError::Noise(_) | ReadError::Broken(_) => {}
        }
    }

    /// Counts what was skipped since the last message.
    fn tell_of_faults(&mut self) {
        let (noise, abandoned) = self.reader.take_faults();
        add(&self.channel.counts.noise_bytes, noise.bytes);
        add(&self.channel.counts.abandoned, abandoned);
        if noise.bytes > 0 {
            let what = format!("skipped {} bytes before or between messages ({})", noise.bytes, noise.looks_like());
            self.complain(&what);
        }
        if abandoned > 0 {
            self.complain("the peer gave up a message half way and began another; the half is dropped, unanswered");
        }
    }

    /// Logs what a peer does wrong that can be lived with: the first time as a warning, so that a peer
    /// that always does it does not fill the log.
    fn complain(&mut self, what: &str) {
        let (channel, peer) = (&self.channel.name, &self.peer);
        if std::mem::replace(&mut self.complained, true) {
            tracing::debug!(%channel, %peer, "{what}");
        } else {
            tracing::warn!(%channel, %peer, "{what}; more from this connection is logged as debug");
        }
    }

    fn answer(&mut self, reply: Reply) {
        self.append(reply.first);
        if !self.open && self.reader.ended_by_peer() {
            add(&self.channel.counts.unanswered, u64::from(reply.later.is_some()));
        } else {
            self.later.extend(reply.later);
        }
    }

    fn append(&mut self, ack: Option<Ack>) {
        let Some(Ack { code, bytes }) = ack else { return };
        self.out.reserve(bytes.len() + 3);
        self.out.extend_from_slice(&[VT]);
        self.out.extend_from_slice(&bytes);
        self.out.extend_from_slice(&[FS, CR]);
        self.unwritten += 1;
        self.channel.counts.count_sent(code);
    }

    fn written(&mut self, written: Result<io::Result<usize>, Elapsed>) -> io::Result<()> {
        match written {
            Ok(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Ok(Ok(_)) => {
                if self.out.is_empty() {
                    self.unwritten = 0;
                }
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")),
        }
    }

    /// Ends our side, then reads on for a moment: a socket closed with unread bytes would take back
    /// the acknowledgments that the peer has not read yet.
    async fn close(&mut self) {
        let (reader, writer) = (self.reader.io(), &mut self.writer);
        let last = async {
            writer.shutdown().await?;
            let mut rest = [0; 4096];
            while let Ok(read) = timeout(QUIET, reader.read(&mut rest)).await
                && read? > 0
            {}
            io::Result::Ok(())
        };
        if let Ok(Err(error)) = timeout(LINGER, last).await {
            tracing::debug!(channel = %self.channel.name, peer = %self.peer, %error, "the peer was gone before us");
        }
    }
}
