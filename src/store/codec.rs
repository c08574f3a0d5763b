//! One record as bytes: a header with its own CRC, so that a single payload can be checked on read.
//!
//! ```text
//! 0  body length     u32     12 length before compression  u32
//! 4  CRC32C of 8..   u32     16 body
//! 8  flags, version  u8, u8  (10..12: zero)
//! ```
//!
//! The body is the record and its file references in postcard, then what came beside the payload of a `Received` (version 3) and
//! the payload, or the subjects of a
//! `Processed`'s deliveries where they are not their lanes. Versions 2 and 3 are records that the versions before know nothing of.
//! A carried message is its id and its earlier records as they stood, each with its number.

use std::cell::RefCell;

use bytes::Bytes;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use message::MessageId;
use serde::{Deserialize, Serialize};

use super::little_endian::{put, u32_at, u64_at};
use super::record::{LaneSet, Outcome, Record};
use super::seal::Seal;

/// Bytes before a record's body.
pub(super) const HEADER: usize = 16;
/// The newest that is read.
const VERSION: u8 = 3;
/// From this version on, what came beside a `Received`'s payload stands before it, after its length.
const BESIDE: u8 = 3;
const COMPRESSED: u8 = 1;
const SEALED: u8 = 2;
const CARRIED: u8 = 4;

/// A payload in a file of its own, as a record refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRef {
    /// Which of the record's byte fields: see [`slots`].
    pub(super) slot: u32,
    /// The file's number: its name.
    pub(super) number: u64,
    /// How long the payload is.
    pub(super) length: u64,
    /// The payload's CRC32C.
    pub(super) crc: u32,
}

/// A record as read.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) record: Record,
    /// Byte fields that are in files, and empty in `record`.
    pub(super) files: Vec<FileRef>,
}

/// What a record's bytes hold.
#[derive(Debug)]
pub(super) enum Stored {
    Record(Decoded),
    /// A message that was carried forward, whole: its records' numbers, and where each is in the bytes.
    Carried {
        message: MessageId,
        parts: Vec<Part>,
    },
}

/// One earlier record of a carried message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) sequence: u64,
    /// Where it starts, counted from the carrying record's first byte.
    pub(super) from: usize,
    pub(super) length: usize,
}

/// Memory that a thread encodes in, again and again.
struct Scratch {
    body: Vec<u8>,
    packed: Vec<u8>,
    table: CompressTable,
}

/// More than this is not kept for the next record.
const KEPT: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { body: Vec::new(), packed: Vec::new(), table: CompressTable::small() });
}

impl Scratch {
    /// `body` compressed, if that makes it clearly shorter.
    fn pack(&mut self, body: &[u8]) -> Option<&[u8]> {
        let most = get_maximum_output_size(body.len());
        if self.packed.len() < most {
            self.packed.resize(most, 0);
        }
        let length = compress_into_with_table(body, &mut self.packed, &mut self.table).ok()?;
        let packed = self.packed.get(..length)?;
        (packed.len() + packed.len() / 8 < body.len()).then_some(packed)
    }

    fn trim(&mut self) {
        self.body.clear();
        self.body.shrink_to(KEPT);
        self.packed.truncate(KEPT);
        self.packed.shrink_to(KEPT);
        if matches!(self.table, CompressTable::Large(_)) {
            self.table = CompressTable::small();
        }
    }
}

/// Writes behind what is there. Payloads are copied as a whole, which `postcard::to_extend` does byte by byte.
struct Behind(Vec<u8>);

impl postcard::ser_flavors::Flavor for Behind {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self::Output> {
        Ok(self.0)
    }
}

/// Turns records into bytes and back.
pub(super) struct Codec {
    pub(super) compress_from: usize,
    pub(super) seal: Option<Seal>,
}

impl Codec {
    /// `record` as bytes, header first. What `files` refer to must be empty in it.
    pub(super) fn encode(&self, record: &Record, files: &[FileRef]) -> Result<Vec<u8>, String> {
        SCRATCH.with_borrow_mut(|scratch| {
            let encoded = self.encode_with(scratch, record, files);
            scratch.trim();
            encoded
        })
    }

    fn encode_with(&self, scratch: &mut Scratch, record: &Record, files: &[FileRef]) -> Result<Vec<u8>, String> {
        let unusable = |error: postcard::Error| error.to_string();
        let body = std::mem::take(&mut scratch.body);
        let mut body = postcard::serialize_with_flavor(&(record, files), Behind(body)).map_err(unusable)?;
        match record {
            Record::Received(received) => {
                if version(record) >= BESIDE {
                    let length = u32::try_from(received.beside.len()).map_err(|error| error.to_string())?;
                    body.extend_from_slice(&length.to_le_bytes());
                    body.extend_from_slice(&received.beside);
                }
                body.extend_from_slice(&received.payload);
            }
            _ => body.extend_from_slice(&subjects(record).map_err(unusable)?),
        }
        let (plain, version) = (body.len(), version(record));
        let packed = if plain >= self.compress_from { scratch.pack(&body) } else { None };
        let flags = if packed.is_some() { COMPRESSED } else { 0 };
        let content = packed.unwrap_or(&body);
        let encoded = match &self.seal {
            None => frame(flags, version, plain, content),
            Some(seal) => {
                let flags = flags | SEALED;
                let sealed = seal.seal(content.to_vec(), &[flags, version]);
                frame(flags, version, plain, &sealed.ok_or("the record could not be encrypted")?)
            }
        };
        scratch.body = body;
        encoded
    }

    /// A message's records, as they stand in the log, as one.
    pub(super) fn encode_carried(message: MessageId, records: &[(u64, Bytes)]) -> Result<Vec<u8>, String> {
        let count = u32::try_from(records.len()).map_err(|error| error.to_string())?;
        let mut body = message.as_bytes().to_vec();
        body.extend_from_slice(&count.to_le_bytes());
        for (sequence, raw) in records {
            body.extend_from_slice(&sequence.to_le_bytes());
            body.extend_from_slice(raw);
        }
        frame(CARRIED, 1, body.len(), &body)
    }

    /// Reads a whole record, checking its CRC.
    pub(super) fn decode(&self, raw: &[u8]) -> Result<Stored, &'static str> {
        let (flags, version, plain, body) = open(raw)?;
        if !(1..=VERSION).contains(&version) {
            return Err("the record was written by a newer version of the program");
        }
        if flags & CARRIED != 0 {
            return carried(body).ok_or("the carried message does not hold together");
        }
        let mut owned = None;
        if flags & SEALED != 0 {
            let seal = self.seal.as_ref().ok_or("the record is encrypted and no key is configured")?;
            let context = [flags, version];
            owned = Some(seal.open(body, &context).ok_or("the record does not open with the configured key")?);
        }
        if flags & COMPRESSED != 0 {
            let packed = owned.as_deref().unwrap_or(body);
            owned = Some(lz4_flex::block::decompress(packed, plain).map_err(|_| "the record does not decompress")?);
        }
        decode_body(owned.as_deref().unwrap_or(body), version).map(Stored::Record)
    }
}

/// The raw length of the record that starts at the head of `bytes`, if its header is there.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    (u32_at(bytes, 0)? as usize).checked_add(HEADER)
}

/// How many numbers a record takes: its own, and one for each delivery that it creates.
pub(super) fn sequences(record: &Record) -> u64 {
    match record {
        Record::Processed { outcome: Outcome::Queued { deliveries, .. }, .. } => 1 + deliveries.len() as u64,
        _ => 1,
    }
}

/// What wrote the record first.
fn version(record: &Record) -> u8 {
    match record {
        Record::Consent { .. } | Record::Linked { .. } | Record::Parted { .. } | Record::Act { .. } => 2,
        Record::Received(received) if !received.beside.is_empty() => BESIDE,
        Record::TurnedAway { .. } => 3,
        _ => 1,
    }
}

/// The subjects of a record's deliveries, unless they are the lanes: one for all, or one for each.
fn subjects(record: &Record) -> postcard::Result<Vec<u8>> {
    let Record::Processed { outcome: Outcome::Queued { deliveries, .. }, .. } = record else { return Ok(Vec::new()) };
    if deliveries.iter().all(|delivery| delivery.subjects == delivery.lanes) {
        return Ok(Vec::new());
    }
    let mut all: Vec<&LaneSet> = deliveries.iter().map(|delivery| &delivery.subjects).collect();
    if all.windows(2).all(|two| two.first() == two.last()) {
        all.truncate(1);
    }
    postcard::to_allocvec(&all)
}

/// Puts them back.
fn read_subjects(record: &mut Record, bytes: &[u8]) -> Option<()> {
    let Record::Processed { outcome: Outcome::Queued { deliveries, .. }, .. } = record else { return Some(()) };
    if bytes.is_empty() {
        deliveries.iter_mut().for_each(|delivery| delivery.subjects.clone_from(&delivery.lanes));
        return Some(());
    }
    let all: Vec<LaneSet> = postcard::from_bytes(bytes).ok()?;
    for (index, delivery) in deliveries.iter_mut().enumerate() {
        let index = if all.len() == 1 { 0 } else { index };
        delivery.subjects.clone_from(all.get(index)?);
    }
    Some(())
}

/// Puts what came from a file back into the record.
pub(super) fn fill(record: &mut Record, slot: u32, bytes: Bytes) {
    if let Record::Received(received) = record {
        received.payload = bytes;
    } else if let Some(field) = slots(record).into_iter().nth(slot as usize) {
        *field = Some(bytes);
    }
}

/// The byte fields of a record that is no `Received`, in the order that [`FileRef::slot`] counts.
pub(super) fn slots(record: &mut Record) -> Vec<&mut Option<Bytes>> {
    match record {
        Record::Processed { outcome: Outcome::Queued { outputs, .. }, .. } => {
            outputs.iter_mut().map(|output| &mut output.bytes).collect()
        }
        Record::Attempted { answer, rest, .. } | Record::Dead { answer, rest, .. } => vec![answer, rest],
        Record::Delivered { answer, .. } => vec![answer],
        _ => Vec::new(),
    }
}

fn frame(flags: u8, version: u8, plain: usize, body: &[u8]) -> Result<Vec<u8>, String> {
    let too_long = |_| format!("a record of {} bytes is too long for the log", body.len());
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend_from_slice(&u32::try_from(body.len()).map_err(too_long)?.to_le_bytes());
    out.extend_from_slice(&[0, 0, 0, 0, flags, version, 0, 0]);
    out.extend_from_slice(&u32::try_from(plain).map_err(too_long)?.to_le_bytes());
    out.extend_from_slice(body);
    let crc = crc32c::crc32c(out.get(8..).unwrap_or_default());
    put(&mut out, 4, &crc.to_le_bytes());
    Ok(out)
}

fn open(raw: &[u8]) -> Result<(u8, u8, usize, &[u8]), &'static str> {
    let header = (length(raw), u32_at(raw, 4), raw.get(8), raw.get(9), u32_at(raw, 12));
    let (Some(length), Some(crc), Some(&flags), Some(&version), Some(plain)) = header else {
        return Err("the record is cut short");
    };
    let body = raw.get(HEADER..length).ok_or("the record is cut short")?;
    if crc32c::crc32c(raw.get(8..length).unwrap_or_default()) != crc {
        return Err("the record's checksum does not match");
    }
    Ok((flags, version, plain as usize, body))
}

fn decode_body(body: &[u8], version: u8) -> Result<Decoded, &'static str> {
    let ((mut record, files), rest) =
        postcard::take_from_bytes::<(Record, Vec<FileRef>)>(body).map_err(|_| "the record's fields cannot be read")?;
    match &mut record {
        Record::Received(received) => {
            let mut rest = rest;
            if version >= BESIDE {
                let short = "what came beside a message is cut short";
                let length = u32_at(rest, 0).ok_or(short)? as usize;
                let (beside, payload) = rest.get(4..).and_then(|rest| rest.split_at_checked(length)).ok_or(short)?;
                (received.beside, rest) = (Bytes::copy_from_slice(beside), payload);
            }
            received.payload = Bytes::copy_from_slice(rest);
        }
        other => read_subjects(other, rest).ok_or("the subjects of the record's deliveries cannot be read")?,
    }
    Ok(Decoded { record, files })
}

fn carried(body: &[u8]) -> Option<Stored> {
    let message = MessageId(uuid::Uuid::from_bytes(*body.first_chunk()?));
    let count = u32_at(body, 16)?;
    let mut at = 20;
    let mut parts = Vec::new();
    for _ in 0..count {
        let sequence = u64_at(body, at)?;
        let length = length(body.get(at + 8..)?)?;
        body.get(at + 8..(at + 8).checked_add(length)?)?;
        parts.push(Part { sequence, from: HEADER + at + 8, length });
        at += 8 + length;
    }
    Some(Stored::Carried { message, parts })
}
