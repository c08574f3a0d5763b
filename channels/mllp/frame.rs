//! MLLP framing as a pure function of bytes: blocks out of a growing buffer, however they were cut.
//!
//! A block is VT (0x0B), the message, FS (0x1C) and CR (0x0D) (HL7 v2 Transport Specification: MLLP,
//! Release 1, section 2). What senders really do decides the rest:
//!
//! - A block also ends at FS LF, and at FS before the VT of the next block. FS at the end of what
//!   has arrived ends it too, once the reader has waited for its CR in vain ([`Deframer::give_up_cr`]).
//!   Any other FS is part of the message.
//! - Bytes between blocks are noise: skipped and counted. Line ends there are not even counted.
//! - VT before `MSH`, `FHS` or `BHS` inside a block starts a new one: the sender gave up the former,
//!   which is dropped, counted and never answered. Any other VT is part of the message.
//! - A block longer than allowed is read to its end without being kept, so that it can be refused
//!   and the connection goes on.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memrchr_iter};

/// Starts a block.
pub const VT: u8 = 0x0B;
/// Ends a block, followed by [`CR`].
pub const FS: u8 = 0x1C;
/// Follows [`FS`].
pub const CR: u8 = 0x0D;
const LF: u8 = 0x0A;

/// How much of a message that is too long is kept, to build its NAK from: MSH fits many times.
const HEAD: usize = 8 << 10;
/// Messages up to this length are copied out, so that a short one never pins a long read buffer.
const COPIED: usize = 64 << 10;

/// What came off the front of the buffer.
#[derive(Clone, PartialEq, Eq)]
pub enum Block {
    /// A message, framing taken off.
    Whole(Bytes),
    /// A message over the limit, which was not kept.
    TooLong {
        /// Its beginning, enough to build a NAK from.
        head: Bytes,
        /// Its whole length in bytes.
        length: u64,
    },
}

/// Prints sizes only: a block is patient data.
impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(message) => write!(f, "Whole({} bytes)", message.len()),
            Self::TooLong { length, .. } => write!(f, "TooLong({length} bytes)"),
        }
    }
}

/// Cuts a stream of bytes into blocks. The result does not depend on how the stream was cut up.
#[derive(Debug)]
pub struct Deframer {
    buffer: BytesMut,
    state: State,
    max_message: usize,
    noise: Noise,
    abandoned: u64,
}

#[derive(Debug)]
enum State {
    /// Between blocks.
    Between,
    /// In a block, whose message the buffer begins with; no end in its first `scanned` bytes.
    Within { scanned: usize },
    /// In a block that is too long; the buffer begins `dropped` bytes into its message.
    TooLong { head: Bytes, dropped: u64 },
}

impl Deframer {
    /// A deframer of messages up to `max_message` bytes, framing not counted.
    #[must_use]
    pub fn new(max_message: usize) -> Self {
        Self { buffer: BytesMut::new(), state: State::Between, max_message, noise: Noise::default(), abandoned: 0 }
    }

    /// Where to put the bytes that arrive, at its end.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// How many bytes are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next block, or `None` until more bytes have arrived.
    pub fn next_block(&mut self) -> Option<Block> {
        if let State::Between = self.state {
            self.skip_noise()?;
        }
        if let State::Within { scanned } = self.state {
            match self.end_from(scanned) {
                End::At { message, block } if message <= self.max_message => {
                    return self.take(message, block);
                }
                End::Open { scanned } if scanned <= self.max_message => {
                    self.state = State::Within { scanned };
                    return None;
                }
                _ => self.state = State::TooLong { head: self.head_of(self.max_message), dropped: 0 },
            }
        }
        self.drop_rest()
    }

    /// Takes the CR that a block still lacks for given: the next block is this one.
    pub fn give_up_cr(&mut self) {
        if self.lacks_only_cr() {
            self.buffer.extend_from_slice(&[CR]);
        }
    }

    /// True if the buffer ends in an FS within a block: it may be the end, or part of the message.
    #[must_use]
    pub fn lacks_only_cr(&self) -> bool {
        self.is_within() && self.buffer.last() == Some(&FS)
    }

    /// True if a block has begun and not ended.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !matches!(self.state, State::Between)
    }

    /// What has arrived of the block that has begun, at most its first few KiB.
    #[must_use]
    pub fn head(&self) -> Bytes {
        match &self.state {
            State::Between => Bytes::new(),
            State::Within { .. } => self.head_of(self.buffer.len()),
            State::TooLong { head, .. } => head.clone(),
        }
    }

    fn head_of(&self, length: usize) -> Bytes {
        Bytes::copy_from_slice(self.buffer.get(..length.min(HEAD)).unwrap_or(&self.buffer))
    }

    /// What was skipped since the last block.
    #[must_use]
    pub fn noise(&self) -> Noise {
        self.noise
    }

    /// What was skipped since it was last taken.
    pub fn take_noise(&mut self) -> Noise {
        std::mem::take(&mut self.noise)
    }

    /// How many blocks were begun and given up for a new VT since this was last asked.
    pub fn take_abandoned(&mut self) -> u64 {
        std::mem::take(&mut self.abandoned)
    }

    /// Skips to behind the next VT, if there is one.
    fn skip_noise(&mut self) -> Option<()> {
        let start = memchr(VT, &self.buffer);
        self.noise.add(self.buffer.get(..start.unwrap_or(self.buffer.len())).unwrap_or_default());
        self.advance(start.map_or(self.buffer.len(), |start| start + 1));
        start?;
        self.state = State::Within { scanned: 0 };
        Some(())
    }

    /// The end of the block whose message is at the front of the buffer, looked for from `from`.
    fn end_from(&self, from: usize) -> End {
        let mut from = from;
        while let Some(at) = self.buffer.get(from..).and_then(|rest| memchr(FS, rest)) {
            let message = from + at;
            match self.buffer.get(message + 1) {
                Some(&(CR | LF)) => return End::At { message, block: message + 2 },
                Some(&VT) => return End::At { message, block: message + 1 },
                Some(_) => from = message + 1,
                None => return End::Open { scanned: message },
            }
        }
        End::Open { scanned: self.buffer.len() }
    }

    /// Takes a block of `block` bytes, `message` of them the message.
    fn take(&mut self, message: usize, block: usize) -> Option<Block> {
        self.state = State::Between;
        let whole = if message <= COPIED {
            let whole = Bytes::copy_from_slice(self.buffer.get(..message)?);
            self.advance(block);
            whole
        } else {
            // Leaves with its buffer; what follows it, a read's worth at most, gets a new one.
            let mut taken = std::mem::take(&mut self.buffer);
            self.buffer.extend_from_slice(taken.get(block..)?);
            taken.truncate(message);
            taken.freeze()
        };
        let start = last_start(&whole);
        self.abandoned += u64::from(start > 1);
        Some(Block::Whole(whole.slice(start..)))
    }

    /// Drops what has arrived of a block that is too long, and tells of it at its end.
    fn drop_rest(&mut self) -> Option<Block> {
        let end = self.end_from(0);
        let State::TooLong { head, dropped } = &mut self.state else { return None };
        match end {
            End::At { message, block } => {
                let block_of = Block::TooLong { head: std::mem::take(head), length: *dropped + message as u64 };
                self.state = State::Between;
                self.advance(block);
                Some(block_of)
            }
            End::Open { scanned } => {
                *dropped += scanned as u64;
                self.advance(scanned);
                None
            }
        }
    }

    /// Drops `count` bytes, and the buffer's memory once it is empty, unless it is small.
    fn advance(&mut self, count: usize) {
        self.buffer.advance(count);
        if self.buffer.is_empty() && self.buffer.capacity() > COPIED {
            self.buffer = BytesMut::new();
        }
    }
}

enum End {
    /// The message is `message` bytes long, its block `block`.
    At { message: usize, block: usize },
    /// No end in the first `scanned` bytes.
    Open { scanned: usize },
}

/// Where the last block begun within `block` starts: behind a VT with a header segment after it.
fn last_start(block: &[u8]) -> usize {
    let starts = |at: &usize| {
        let rest = block.get(at + 1..).unwrap_or_default();
        let rest = rest.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(rest);
        [b"MSH", b"FHS", b"BHS"].iter().any(|header| rest.starts_with(*header))
    };
    memrchr_iter(VT, block).find(starts).map_or(0, |at| at + 1)
}

/// Bytes that belong to no block: how many, and the first of them, for a guess at what they are.
#[derive(Clone, Copy, Default)]
pub struct Noise {
    /// How many, line ends not counted.
    pub bytes: u64,
    first: [u8; 4],
}

/// Prints the number only: noise may be patient data.
impl std::fmt::Debug for Noise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Noise({} bytes)", self.bytes)
    }
}

impl Noise {
    fn add(&mut self, bytes: &[u8]) {
        let counted = bytes.iter().filter(|byte| !matches!(**byte, CR | LF));
        for byte in counted {
            if let Some(slot) = usize::try_from(self.bytes).ok().and_then(|at| self.first.get_mut(at)) {
                *slot = *byte;
            }
            self.bytes += 1;
        }
    }

    /// What it looks like, for a person who looks for the reason.
    #[must_use]
    pub fn looks_like(&self) -> &'static str {
        match &self.first {
            [0x16, 0x03, ..] => "a TLS handshake",
            b"GET " | b"POST" | b"PUT " | b"HEAD" => "an HTTP request",
            [b'M', b'S', b'H', _] => "an HL7 message without its start byte VT",
            _ => "not MLLP",
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// All that a deframer makes of `pieces`, with the missing CR given up for at the end.
    fn deframe(pieces: &[&[u8]], max_message: usize) -> (Vec<Block>, u64, u64) {
        let mut deframer = Deframer::new(max_message);
        let mut blocks = Vec::new();
        for piece in pieces {
            deframer.buffer().extend_from_slice(piece);
            blocks.extend(std::iter::from_fn(|| deframer.next_block()));
        }
        deframer.give_up_cr();
        blocks.extend(deframer.next_block());
        (blocks, deframer.take_noise().bytes, deframer.take_abandoned())
    }

    fn show(block: &Block) -> String {
        match block {
            Block::Whole(message) => format!("{:?}", String::from_utf8_lossy(message)),
            Block::TooLong { head, length } => format!("{length} bytes from {:?}", String::from_utf8_lossy(head)),
        }
    }

    #[track_caller]
    fn check(stream: &[u8], expected: Expect) {
        let (blocks, noise, abandoned) = deframe(&[stream], 20);
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(deframe(&[head, tail], 20), (blocks.clone(), noise, abandoned), "split at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(deframe(&bytes, 20), (blocks.clone(), noise, abandoned), "byte by byte");
        let mut shown: Vec<String> = blocks.iter().map(show).collect();
        shown.extend((noise > 0).then(|| format!("{noise} noise")));
        shown.extend((abandoned > 0).then(|| format!("{abandoned} abandoned")));
        expected.assert_eq(&shown.join(", "));
    }

    #[test]
    fn takes_one_block_and_pipelined_blocks() {
        check(b"\x0BMSH|1\r\x1C\r", expect![[r#""MSH|1\r""#]]);
        check(b"\x0BMSH|1\r\x1C\r\x0BMSH|2\r\x1C\r\x0BMSH|3", expect![[r#""MSH|1\r", "MSH|2\r""#]]);
    }

    #[test]
    fn takes_a_block_without_its_cr() {
        check(b"\x0BMSH|1\x1C", expect![[r#""MSH|1""#]]);
        check(b"\x0BMSH|1\x1C\x0BMSH|2\x1C", expect![[r#""MSH|1", "MSH|2""#]]);
        check(b"\x0BMSH|1\x1C\n\x0BMSH|2\x1C\r\n", expect![[r#""MSH|1", "MSH|2""#]]);
    }

    #[test]
    fn keeps_an_fs_within_the_message() {
        check(b"\x0BMSH|a\x1Cb\x1C\r", expect![[r#""MSH|a\u{1c}b""#]]);
        check(b"\x0BMSH|a\x1C\x1C\r", expect![[r#""MSH|a\u{1c}""#]]);
    }

    #[test]
    fn skips_and_counts_noise_between_blocks() {
        check(b"xx\x0BMSH|1\x1C\rnoise\r\n\x0BMSH|2\x1C\r", expect![[r#""MSH|1", "MSH|2", 7 noise"#]]);
        check(b"\x1C\r\x0BMSH|1\x1C\r\r\n\r\n", expect![[r#""MSH|1", 1 noise"#]]);
        check(b"GET / HTTP/1.1\r\n", expect!["14 noise"]);
    }

    #[test]
    fn begins_anew_at_a_header_after_vt() {
        check(b"\x0BMSH|hal\x0BMSH|2\x1C\r", expect![[r#""MSH|2", 1 abandoned"#]]);
        check(b"\x0B\x0BMSH|2\x1C\r", expect![[r#""MSH|2""#]]);
        check(b"\x0BMSH|a\x0Bb\x1C\r", expect![[r#""MSH|a\u{b}b""#]]);
        check(b"\x0BMSH|1\x0B\xEF\xBB\xBFMSH|2\x1C\r", expect![[r#""\u{feff}MSH|2", 1 abandoned"#]]);
    }

    #[test]
    fn refuses_what_is_too_long_and_goes_on() {
        check(b"\x0B12345678901234567890\x1C\r", expect![[r#""12345678901234567890""#]]);
        check(b"\x0B123456789012345678901\x1C\r", expect![[r#"21 bytes from "12345678901234567890""#]]);
        let long = [b"\x0B".as_slice(), &b"ab\x1C".repeat(9), b"\x1C\r\x0BMSH|2\x1C\r"].concat();
        let (blocks, ..) = deframe(&[&long], 20);
        assert_eq!(blocks.len(), 2);
        assert!(matches!(blocks[0], Block::TooLong { length: 27, .. }));
        assert_eq!(show(&blocks[1]), r#""MSH|2""#);
    }

    #[test]
    fn holds_nothing_of_noise_or_of_what_is_too_long() {
        let mut deframer = Deframer::new(100);
        for _ in 0..1000 {
            deframer.buffer().extend_from_slice(&[b'x'; 1000]);
            assert_eq!(deframer.next_block(), None);
            assert_eq!(deframer.held(), 0);
        }
        deframer.buffer().extend_from_slice(&[VT]);
        for _ in 0..1000 {
            deframer.buffer().extend_from_slice(&[b'x'; 1000]);
            assert_eq!(deframer.next_block(), None);
            assert!(deframer.held() <= 1000);
        }
        deframer.buffer().extend_from_slice(&[FS, CR]);
        assert!(matches!(deframer.next_block(), Some(Block::TooLong { length: 1_000_000, .. })));
    }

    #[test]
    fn takes_a_long_message_without_copying_it() {
        let mut deframer = Deframer::new(1 << 20);
        let message = vec![b'm'; 200_000];
        deframer.buffer().extend_from_slice(&[b"\x0B", message.as_slice(), b"\x1C\r\x0Bn"].concat());
        let from = deframer.buffer().as_ptr() as usize;
        let Some(Block::Whole(taken)) = deframer.next_block() else { panic!("no block") };
        assert_eq!(taken, message);
        assert_eq!(taken.as_ptr() as usize, from + 1);
        assert_eq!(deframer.held(), 2);
    }

    proptest! {
        /// Whatever arrives, in whatever pieces: the same blocks, and no panic.
        #[test]
        fn the_cuts_of_a_stream_do_not_matter(
            stream in proptest::collection::vec(
                prop_oneof![3 => Just(VT), 3 => Just(FS), 3 => Just(CR), 1 => Just(LF), 2 => Just(b'M'), 4 => any::<u8>()],
                0..200,
            ),
            cuts in proptest::collection::vec(0usize..200, 0..8),
            max_message in 0usize..40,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
            prop_assert_eq!(deframe(&pieces, max_message), deframe(&[&stream], max_message));
        }

        /// A message with no framing bytes in it comes out as it went in.
        #[test]
        fn what_is_framed_is_read_back(messages in proptest::collection::vec("[^\x0B\x1C]{0,30}", 0..5)) {
            let stream: Vec<u8> = messages
                .iter()
                .flat_map(|message| [b"\x0B", message.as_bytes(), b"\x1C\r"].concat())
                .collect();
            let whole: Vec<Block> = messages.into_iter().map(|message| Block::Whole(message.into())).collect();
            prop_assert_eq!(deframe(&[&stream], 1000), (whole, 0, 0));
        }
    }
}
