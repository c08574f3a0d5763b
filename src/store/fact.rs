//! A record on its way from the log into the index.

use message::MessageId;

use super::codec::{Codec, Stored};
use super::keys::{Hasher, SearchKeys};
use super::record::Record;
use super::segment::Position;

/// A record with its number and its place.
pub(super) struct Item {
    pub(super) sequence: u64,
    pub(super) at: Position,
    pub(super) fact: Fact,
}

/// What the index needs of a record.
pub(super) enum Fact {
    /// Something that happened.
    Record {
        /// The payload is left out.
        record: Record,
        /// The numbers of its files.
        files: Vec<u64>,
        /// How long the payload of a `Received` is.
        size: u64,
        /// What a `Received` is found by.
        keys: SearchKeys,
    },
    /// A message that was moved to the head of the log, whole.
    Carried { message: MessageId, parts: Vec<Item> },
}

impl Item {
    /// Puts it into the group that starts at `offset` of `segment`; until then it is counted from there.
    pub(super) fn place(&mut self, segment: u32, offset: u64) {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        (self.at.segment, self.at.offset) = (segment, self.at.offset.saturating_add(offset));
        if let Fact::Carried { parts, .. } = &mut self.fact {
            for part in parts {
                part.at.segment = segment;
                part.at.offset = part.at.offset.saturating_add(self.at.offset);
            }
        }
    }
}

impl Fact {
    /// How many sequences it takes.
    pub(super) fn sequences(&self) -> u64 {
        match self {
            Self::Record { record, .. } => super::codec::sequences(record),
            Self::Carried { .. } => 1,
        }
    }

    /// Reads a record as it stands in the log, at `at`.
    pub(super) fn read(codec: &Codec, hasher: &Hasher, raw: &[u8], at: Position) -> Result<Self, &'static str> {
        match codec.decode(raw)? {
            Stored::Record(decoded) => {
                let in_file = decoded.files.first().map(|file| file.length);
                let files = decoded.files.iter().map(|file| file.number).collect();
                Ok(Self::of(decoded.record, files, in_file, hasher))
            }
            Stored::Carried { message, parts } => {
                let items = parts.into_iter().map(|part| {
                    let raw = raw.get(part.from..part.from + part.length).ok_or("the carried message is cut short")?;
                    let at = Position {
                        segment: at.segment,
                        offset: at.offset.saturating_add(u32::try_from(part.from).unwrap_or(u32::MAX)),
                        length: u32::try_from(part.length).unwrap_or(u32::MAX),
                    };
                    Ok(Item { sequence: part.sequence, at, fact: Self::read(codec, hasher, raw, at)? })
                });
                Ok(Self::Carried { message, parts: items.collect::<Result<_, &'static str>>()? })
            }
        }
    }

    /// Takes what the index needs of `record`, whose payload may be in a file of `in_file` bytes.
    pub(super) fn of(mut record: Record, files: Vec<u64>, in_file: Option<u64>, hasher: &Hasher) -> Self {
        let (mut size, mut keys) = (0, SearchKeys::default());
        if let Record::Received(received) = &mut record {
            let payload = std::mem::take(&mut received.payload);
            size = in_file.unwrap_or(payload.len() as u64);
            keys = hasher.keys(received);
        }
        // That an Attempted leaves a rest must still be seen; the bytes are read from the log.
        for bytes in super::codec::slots(&mut record).into_iter().flatten() {
            *bytes = bytes::Bytes::new();
        }
        if let Record::Consent { consent, .. } = &mut record {
            consent.body = bytes::Bytes::new();
        }
        Self::Record { record, files, size, keys }
    }
}
