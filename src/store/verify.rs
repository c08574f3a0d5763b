//! Proves that the log is whole, and that the index is what the log says.
//!
//! A second index is built from the log, beside the first, and both are compared key by key. Nothing
//! waits for that; only what differs is looked at again between two groups, when both are as far.

use std::collections::BTreeMap;

use message::Sha256;

use super::change::Change;
use super::codec::Stored;
use super::counts::{Counts, Tallies};
use super::duplicate::id_of;
use super::entry::{Applied, MessageEntry};
use super::error::{Damage, StoreError};
use super::frame;
use super::index::{Index, decode};
use super::keeper::Keeper;
use super::keys;
use serde::{Deserialize, Serialize};

use super::open::items;
use super::read::{Records, damage_in};
use super::record::{Record, State};
use super::scan::{Found, Scan, Whole};
use super::segment::damage_at;

/// So many differences are named; the rest are counted.
const NAMED: usize = 100;
const AT_ONCE: usize = 20_000;

/// What [`super::Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Groups read and checked.
    pub groups: u64,
    /// Records read and checked.
    pub records: u64,
    /// Payloads whose SHA-256 was checked.
    pub payloads: u64,
    /// What cannot be read, and where.
    pub damages: Vec<Damage>,
    /// Where the index or the counts are not what the log says; `tributary store rebuild` mends them.
    pub mismatches: Vec<String>,
    /// The counts, as the log says.
    pub counts: Counts,
    /// Messages by state, counted one by one.
    pub messages: BTreeMap<State, u64>,
}

impl VerifyReport {
    /// True if nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty() && self.mismatches.is_empty()
    }
}

impl Keeper {
    /// Checks everything.
    pub(super) fn verify(&mut self) -> Result<VerifyReport, StoreError> {
        self.finder.progress.catch_up()?;
        let dir = self.options.dir.join("verify");
        let clear = || match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        clear().map_err(StoreError::io("cannot clear verify/"))?;
        let second = Second { index: Index::open(&dir, self.options.cache_bytes)?, tallies: Tallies::default() };
        let checked = self.compare(second);
        clear().map_err(StoreError::io("cannot clear verify/"))?;
        checked
    }

    fn compare(&self, second: Second) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let records = &self.finder.records;
        let until = self.finder.index.applied()?.unwrap_or_default();
        second.follow(records, Scan::all(&records.segments)?, Applied::default(), until, &mut report)?;
        let suspects = second.differences(&self.finder.index)?;
        let mut report = self.between_groups(move |indexer| {
            let until = indexer.index.applied()?.unwrap_or_default();
            let from = second.index.applied()?.unwrap_or_default();
            let scan = Scan::from(&indexer.records.segments, from.segment, from.offset, from.group + 1)?;
            if let Some(scan) = scan.filter(|_| from.group < until.group) {
                second.follow(&indexer.records, scan, from, until, &mut report)?;
            }
            second.confirm(&indexer.index, &suspects, &mut report)?;
            report.counts = second.tallies.snapshot();
            Ok::<_, StoreError>(report)
        })??;
        report.damages.dedup();
        Ok(report)
    }
}

/// The index that is built for comparison.
struct Second {
    index: Index,
    tallies: Tallies,
}

impl Second {
    /// Applies the log up to where the first index is.
    fn follow(
        &self,
        records: &Records,
        mut scan: Scan<'_>,
        from: Applied,
        until: Applied,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let mut change = Change::new(&self.index, records);
        let mut applied = from;
        while applied.group < until.group {
            match scan.next()? {
                Found::Damage(damage) => report.damages.push(damage),
                Found::End(_) => break,
                Found::Group(whole) => {
                    applied = whole.end(0);
                    report.groups += 1;
                    check_payloads(records, &whole, report)?;
                    for item in items(&whole, records, &mut report.damages) {
                        report.records += 1;
                        change.apply(&item)?;
                    }
                }
            }
            if change.len() > AT_ONCE {
                std::mem::replace(&mut change, Change::new(&self.index, records)).finish(applied, &self.tallies)?;
            }
        }
        change.finish(applied, &self.tallies)
    }

    /// The keys whose values are not the same in both.
    fn differences(&self, first: &Index) -> Result<Vec<Vec<u8>>, StoreError> {
        let (mut ours, mut theirs) = (self.index.prefix(b""), first.prefix(b""));
        let (mut a, mut b) = (ours.next().transpose()?, theirs.next().transpose()?);
        let mut keys = Vec::new();
        loop {
            let order = match (&a, &b) {
                (None, None) => return Ok(keys),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            if a != b {
                let key = if order.is_gt() { &b } else { &a };
                keys.extend(key.as_ref().map(|(key, _)| key.to_vec()).filter(|key| compared(key)));
            }
            if order.is_le() {
                a = ours.next().transpose()?;
            }
            if order.is_ge() {
                b = theirs.next().transpose()?;
            }
        }
    }

    /// What still differs now that both are as far; and the counts, against the messages themselves.
    fn confirm(&self, first: &Index, suspects: &[Vec<u8>], report: &mut VerifyReport) -> Result<(), StoreError> {
        let mut more = 0;
        for key in suspects {
            let (ours, theirs) = (self.index.raw(key)?, first.raw(key)?);
            if ours == theirs || is_nothing(key, &ours, &theirs) {
                continue;
            }
            if report.mismatches.len() < NAMED {
                report.mismatches.push(name(key, theirs.as_deref(), ours.as_deref()));
            } else {
                more += 1;
            }
        }
        if more > 0 {
            report.mismatches.push(format!("and {more} more"));
        }
        for entry in self.index.prefix(b"M") {
            let entry: MessageEntry = decode(&entry?.1)?;
            *report.messages.entry(entry.state()).or_default() += 1;
        }
        let counts = self.tallies.snapshot();
        for state in keys::STATES {
            let (counted, kept) = (report.messages.get(&state).copied().unwrap_or(0), counts.in_state(state));
            if counted != kept {
                report.mismatches.push(format!("{counted} messages are {state:?}, the counts say {kept}"));
            }
        }
        Ok(())
    }
}

/// Checks the SHA-256 of every message in a group, and everything in files.
fn check_payloads(records: &Records, whole: &Whole, report: &mut VerifyReport) -> Result<(), StoreError> {
    for (at, raw) in frame::records(&whole.bytes) {
        let at = super::apply::position(whole.segment, whole.offset + at as u64, raw.len());
        let Ok(Stored::Record(decoded)) = records.codec.decode(raw) else { continue };
        let mut payload = None;
        for file in &decoded.files {
            match records.big.read(file) {
                Ok(bytes) => payload = Some(bytes).filter(|_| file.slot == 0),
                Err(error) => report.damages.push(damage_in(error)?),
            }
        }
        let Record::Received(received) = decoded.record else { continue };
        let missing = payload.is_none() && !decoded.files.is_empty();
        let payload = payload.unwrap_or(received.payload);
        report.payloads += 1;
        if !missing && Sha256::of(&payload) != received.sha256 {
            report.damages.push(damage_at(at, "the payload's SHA-256 does not match"));
        }
    }
    Ok(())
}

/// Spans and what was dropped are not in the log alone.
fn compared(key: &[u8]) -> bool {
    !matches!(key, [b'P' | b'G', ..] | [b'N', b'x', ..])
}

/// A count of nothing is the same as none.
fn is_nothing(key: &[u8], ours: &Option<Vec<u8>>, theirs: &Option<Vec<u8>>) -> bool {
    if key.first() == Some(&b'R') {
        // The latest event of a resource outlives the message that said so.
        let event = |value: &Option<Vec<u8>>| value.as_deref().and_then(|value| decode::<i64>(value).ok());
        return event(ours) <= event(theirs);
    }
    let count = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, |value| keys::number(value));
    key.first() == Some(&b'N') && count(ours) == count(theirs)
}

/// A difference, for a person: what the index has, and what the log says.
fn name(key: &[u8], index: Option<&[u8]>, log: Option<&[u8]>) -> String {
    let state = |value: Option<&[u8]>| match value.map(decode::<MessageEntry>) {
        Some(Ok(entry)) => format!("{:?}", entry.state()),
        Some(Err(_)) => "unreadable".into(),
        None => "missing".into(),
    };
    let have = |value: Option<&[u8]>| if value.is_some() { "there" } else { "missing" };
    match key.split_first() {
        Some((b'M', id)) => {
            format!("message {}: {} in the index, {} by the log", id_of(id), state(index), state(log))
        }
        Some((b'V', _)) => {
            format!("delivery {}: {} in the index, {} by the log", keys::number(key), have(index), have(log))
        }
        Some((b'N', _)) => {
            let count = |value: Option<&[u8]>| value.map_or(0, keys::number);
            format!("a count: {} in the index, {} by the log", count(index), count(log))
        }
        Some((kind, _)) => {
            format!("an entry of kind {}: {} in the index, {} by the log", char::from(*kind), have(index), have(log))
        }
        None => "an entry without a key".into(),
    }
}
