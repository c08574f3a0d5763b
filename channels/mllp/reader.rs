//! Reads messages from a stream, under limits of size, time and memory.

use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::{Budget, Hold};
use super::frame::{Block, Deframer, Noise};

/// Least and most that is read at once, in bytes; what a connection may hold outside the budget.
const WINDOW: std::ops::RangeInclusive<usize> = 4 << 10..=64 << 10;

/// What a peer is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest message, in bytes.
    pub(super) max_message: usize,
    /// Most bytes outside of messages, between two of them.
    pub(super) max_noise: u64,
    /// Longest time from a message's first byte to its last, while we read.
    pub(super) frame_timeout: Duration,
    /// How long to wait for the CR after FS.
    pub(super) missing_cr_wait: Duration,
}

/// What came next.
pub(super) enum Arrival {
    /// A message, and its part of the budget.
    Message(Bytes, Hold),
    /// A message that was too long and was not kept: its beginning and its length.
    TooLong { head: Bytes, length: u64 },
    /// Nothing more will come.
    End,
}

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("no message began within the idle time")]
    Idle,
    #[error("a message did not end in time, {received} bytes after its start")]
    Slow { head: Bytes, received: usize },
    #[error("the peer closed the connection within a message, {received} bytes after its start")]
    Cut { received: usize },
    #[error("{} bytes that belong to no message ({})", .0.bytes, .0.looks_like())]
    Noise(Noise),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
}

/// Reads messages from `R`.
pub(super) struct FrameReader<R> {
    io: R,
    deframer: Deframer,
    limits: Limits,
    budget: Budget,
    /// Covers what the deframer holds.
    hold: Hold,
    /// What remains of the frame timeout.
    frame_left: Duration,
    window: usize,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    ByPeer,
    ByUs,
}

/// How a wait for bytes ended.
enum Filled {
    More,
    Eof,
    NoCr,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(io: R, limits: Limits, budget: Budget) -> Self {
        Self {
            io,
            deframer: Deframer::new(limits.max_message),
            limits,
            budget,
            hold: Hold::default(),
            frame_left: limits.frame_timeout,
            window: *WINDOW.start(),
            ended: None,
        }
    }

    /// The next message; waits at most `idle` for it to begin. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self, idle: Option<Duration>) -> Result<Arrival, ReadError> {
        let idle_until = idle.and_then(|idle| Instant::now().checked_add(idle));
        loop {
            self.budget.cover(&mut self.hold, self.deframer.held()).await;
            if let Some(block) = self.deframer.next_block() {
                return Ok(self.arrive(block));
            }
            self.hold.trim(self.deframer.held());
            if self.deframer.noise().bytes > self.limits.max_noise {
                return Err(ReadError::Noise(self.deframer.noise()));
            }
            match self.ended {
                None => {}
                Some(Ended::ByPeer) if self.deframer.is_within() => {
                    return Err(ReadError::Cut { received: self.deframer.held() });
                }
                Some(_) => return Ok(Arrival::End),
            }
            match self.fill(idle_until).await? {
                Filled::More => {}
                Filled::Eof => {
                    self.ended = Some(Ended::ByPeer);
                    self.deframer.give_up_cr();
                }
                Filled::NoCr => self.deframer.give_up_cr(),
            }
        }
    }

    /// From now on nothing is read; whole messages that were read are still handed out.
    pub(super) fn stop(&mut self) {
        self.ended.get_or_insert(Ended::ByUs);
    }

    /// True after [`FrameReader::stop`], or once the peer has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// True if the end is the peer's doing.
    pub(super) fn ended_by_peer(&self) -> bool {
        self.ended == Some(Ended::ByPeer)
    }

    /// True if something has been read that was not handed out.
    pub(super) fn holds_bytes(&self) -> bool {
        self.deframer.held() > 0 || self.deframer.is_within() || self.deframer.noise().bytes > 0
    }

    /// What was skipped, and how many messages were begun and given up, since this was last asked.
    pub(super) fn take_faults(&mut self) -> (Noise, u64) {
        (self.deframer.take_noise(), self.deframer.take_abandoned())
    }

    /// What was skipped since the last message.
    pub(super) fn noise(&self) -> Noise {
        self.deframer.noise()
    }

    /// How much has come of a message that has begun and not ended.
    pub(super) fn within(&self) -> Option<usize> {
        self.deframer.is_within().then(|| self.deframer.held())
    }

    /// The stream.
    pub(super) fn io(&mut self) -> &mut R {
        &mut self.io
    }

    fn arrive(&mut self, block: Block) -> Arrival {
        self.frame_left = self.limits.frame_timeout;
        let arrival = match block {
            Block::Whole(message) => {
                let hold = self.hold.part(message.len());
                Arrival::Message(message, hold)
            }
            Block::TooLong { head, length } => Arrival::TooLong { head, length },
        };
        self.hold.trim(self.deframer.held());
        arrival
    }

    /// Waits for bytes, as long as what has come so far allows.
    async fn fill(&mut self, idle_until: Option<Instant>) -> Result<Filled, ReadError> {
        let (within, lacks_only_cr) = (self.deframer.is_within(), self.deframer.lacks_only_cr());
        let buffer = self.deframer.buffer();
        buffer.reserve(self.window);
        let mut room = buffer.limit(self.window);
        let read = self.io.read_buf(&mut room);
        let read = if lacks_only_cr {
            let Ok(read) = timeout(self.limits.missing_cr_wait, read).await else { return Ok(Filled::NoCr) };
            read
        } else if within {
            let running = Running { left: &mut self.frame_left, since: Instant::now() };
            let Ok(read) = timeout(*running.left, read).await else {
                let received = self.deframer.held();
                return Err(ReadError::Slow { head: self.deframer.head(), received });
            };
            read
        } else if let Some(until) = idle_until {
            timeout_at(until, read).await.map_err(|_| ReadError::Idle)?
        } else {
            read.await
        };
        match read {
            Ok(0) => Ok(Filled::Eof),
            Ok(count) => {
                self.adapt(count);
                Ok(Filled::More)
            }
            Err(error) => {
                self.ended = Some(Ended::ByPeer);
                Err(ReadError::Broken(error))
            }
        }
    }

    /// Reads more at once from a peer that sends much, and less from one that does not.
    fn adapt(&mut self, count: usize) {
        let window = match count {
            _ if count >= self.window => self.window * 2,
            _ if count < self.window / 4 => self.window / 2,
            _ => self.window,
        };
        self.window = window.clamp(*WINDOW.start(), *WINDOW.end());
    }
}

/// Takes from `left` the time it lives: time in which we do not read is not the peer's.
struct Running<'a> {
    left: &'a mut Duration,
    since: Instant,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.left = self.left.saturating_sub(self.since.elapsed());
    }
}
