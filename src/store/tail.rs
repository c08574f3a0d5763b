//! The log, read in order by one who follows it.

use std::sync::atomic::Ordering;

use message::{MessageId, Sha256};
use serde::{Deserialize, Serialize};

use super::entry::{DeliveryEntry, MessageEntry};
use super::error::{Damage, StoreError};
use super::fact::{Fact, Item};
use super::find::Finder;
use super::keys;
use super::lifecycle::delivery_of;
use super::open::items;
use super::record::{DeliveryRecord, Record};
use super::scan::{Found, Scan};

/// How far one who follows the log has come; the beginning by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Where the next group starts.
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// The last group before it.
    pub(crate) group: u64,
}

/// What happened next.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// What happened, in order. What was carried forward happened before, and is not in it.
    pub items: Vec<Followed>,
    /// Where the log goes on.
    pub end: Mark,
    /// Where it could not be read.
    pub lost: Vec<Damage>,
}

/// A record with what it is about.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Where its group starts.
    pub from: Mark,
    /// Its number: rises from one to the next.
    pub sequence: u64,
    /// The record, without payloads.
    pub record: Record,
    /// The delivery that it is about, as it stands by now.
    pub delivery: Option<DeliveryRecord>,
    /// The message of that.
    pub origin: Option<Origin>,
}

/// Where a message came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The message.
    pub message: MessageId,
    /// The inbound channel.
    pub channel: String,
    /// What it is: MSH-9 as `ORU^R01`, or the Bundle's type.
    pub kind: String,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256,
}

impl Finder {
    /// About `most` records from `from` on, as far as the index has them.
    pub(super) fn tail(&self, from: Mark, most: usize) -> Result<Tail, StoreError> {
        let mut tail = Tail { end: from, ..Tail::default() };
        while tail.items.len() < most
            && let Some(told) = self.lately.take(tail.end)
        {
            for item in told.items {
                tail.items.extend(self.followed(told.from, item)?);
            }
            tail.end = told.end;
        }
        if tail.end != from {
            return Ok(tail);
        }
        let until = self.index.applied()?.unwrap_or_default().group;
        let segments = &self.records.segments;
        let scan = match from.group {
            0 => None,
            _ => Scan::from(segments, from.segment, from.offset, from.group + 1)?,
        };
        let mut scan = match scan {
            Some(scan) => scan,
            None => Scan::all(segments)?,
        };
        while tail.end.group < until && tail.items.len() < most {
            match scan.next()? {
                Found::End(_) => break,
                Found::Damage(damage) => tail.lost.push(damage),
                Found::Group(whole) => {
                    let from = Mark { segment: whole.segment, offset: whole.offset, group: whole.group.number - 1 };
                    for item in items(&whole, &self.records, &mut tail.lost) {
                        tail.items.extend(self.followed(from, item)?);
                    }
                    let end = whole.end(0);
                    tail.end = Mark { segment: end.segment, offset: end.offset, group: end.group };
                }
            }
        }
        Ok(tail)
    }

    fn followed(&self, from: Mark, item: Item) -> Result<Option<Followed>, StoreError> {
        let Fact::Record { record, .. } = item.fact else { return Ok(None) };
        let mut followed = Followed { from, sequence: item.sequence, record, delivery: None, origin: None };
        let Some(id) = delivery_of(&followed.record) else { return Ok(Some(followed)) };
        if let Some(entry) = self.index.get::<DeliveryEntry>(&keys::delivery(id))? {
            let message = entry.message;
            followed.delivery = Some(self.delivery_record(id, entry)?);
            let entry = self.index.get::<MessageEntry>(&keys::message(&message))?;
            followed.origin = entry.map(|it| Origin { message, channel: it.channel, kind: it.kind, sha256: it.sha256 });
        }
        Ok(Some(followed))
    }

    /// The log is kept from `mark` on.
    pub(super) fn keep_from(&self, mark: Mark) {
        self.followed.store(mark.segment, Ordering::Release);
    }
}
