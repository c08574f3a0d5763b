//! Consents on file, who they are of, and which deliveries wait for them: in the index by hashes alone, their text
//! in the log.

use std::collections::BTreeSet;

use jiff::Timestamp;
use message::MessageId;
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::entry::DeliveryEntry;
use super::error::StoreError;
use super::fact::{Fact, Item};
use super::find::Finder;
use super::index::decode;
use super::keys;
use super::links::{self, LinkEntry, Pair, Person, Said};
use super::record::{DeliveryId, Lane, NewConsent, Order, Record, State, micros};
use super::segment::{Position, damage_at};
use super::{Concerned, ConsentOnFile, OnFile};

/// One version of a Consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConsentEntry {
    /// Of its record: what a message says again, by a replay, is its later word.
    pub(super) sequence: u64,
    pub(super) at: Position,
    #[serde(with = "micros")]
    filed: Timestamp,
    message: Option<MessageId>,
}

/// Whom the records of a change concern.
#[derive(Default)]
pub(super) struct Touched {
    subjects: BTreeSet<Lane>,
    anyone: bool,
    /// Of the last of these records.
    sequence: u64,
}

impl Touched {
    /// Whom, and the record that says so; `None` if nobody.
    pub(super) fn concerned(self) -> Option<(Concerned, u64)> {
        let concerned = match self.anyone {
            true => Concerned::Anyone,
            false if self.subjects.is_empty() => return None,
            false => Concerned::Subjects(self.subjects.into_iter().collect()),
        };
        Some((concerned, self.sequence))
    }
}

impl Change<'_> {
    /// What a record says of consents or identities; said again of the same record, where it is now.
    pub(super) fn file(&mut self, item: &Item, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::Consent { message, at, order, consent } => self.consent(item, *message, *at, *order, consent),
            Record::Linked { order, subjects, .. } => self.link(item, *order, &links::linked(subjects)),
            Record::Parted { order, subjects, others, .. } => self.link(item, *order, &links::parted(subjects, others)),
            _ => Ok(()),
        }
    }

    /// Files a version of a Consent. One that came before, whatever its place in the log, changes nothing about who
    /// the Consent is of.
    fn consent(
        &mut self,
        item: &Item,
        message: Option<MessageId>,
        filed: Timestamp,
        order: Order,
        consent: &NewConsent,
    ) -> Result<(), StoreError> {
        let order = or_its_own(order, item);
        let key = keys::consent(&consent.key, order.0);
        let known = self.scan(&keys::all_of_consent(&consent.key))?;
        let before = known.get(&key).map(|value| decode::<ConsentEntry>(value)).transpose()?;
        if before.is_some_and(|before| before.sequence > item.sequence) {
            return Ok(());
        }
        let is_new = before.is_none_or(|before| before.sequence < item.sequence);
        let last = known.keys().rfind(|key| keys::letter(key) == Some(b'v'));
        let is_last = last.is_none_or(|last| *last <= key);
        self.put(key, &ConsentEntry { sequence: item.sequence, at: item.at, filed, message })?;
        if !is_new || !is_last {
            return Ok(());
        }
        let subjects = known.keys().filter(|key| keys::letter(key) == Some(b's'));
        self.belongs_to(consent, subjects.filter_map(|key| keys::lane(key)).collect(), item.sequence)
    }

    /// Puts a Consent under its subjects, and takes it from under those it had `before`.
    fn belongs_to(&mut self, consent: &NewConsent, before: BTreeSet<Lane>, sequence: u64) -> Result<(), StoreError> {
        let now: BTreeSet<Lane> = consent.subjects.iter().copied().collect();
        for gone in before.difference(&now) {
            self.delete(keys::subject(&consent.key, gone));
            self.delete(keys::consent_of(gone, &consent.key));
        }
        for new in now.difference(&before) {
            self.set(keys::subject(&consent.key, new), Vec::new());
            self.set(keys::consent_of(new, &consent.key), Vec::new());
        }
        let all: Vec<Lane> = before.union(&now).copied().collect();
        self.touch(&all, sequence)
    }

    /// Notes what was said of pairs of identifiers.
    fn link(&mut self, item: &Item, order: Order, pairs: &[Pair]) -> Result<(), StoreError> {
        let order = or_its_own(order, item);
        let mut touched = Vec::new();
        for (one, other, linked) in pairs {
            let (key, back) = (keys::link(one, other), keys::link(other, one));
            let before = self.get::<LinkEntry>(&key)?;
            let now = LinkEntry { order, sequence: item.sequence, at: item.at, linked: *linked };
            let place = |link: &LinkEntry| (link.order, link.sequence);
            if before.is_some_and(|before| place(&before) > place(&now)) {
                continue;
            }
            if before.is_none_or(|before| place(&before) < place(&now)) {
                touched.extend([*one, *other]);
            }
            self.put(key, &now)?;
            self.put(back, &now)?;
        }
        self.touch(&touched, item.sequence)
    }

    /// Notes that a record concerns these identifiers, and all that are linked with them.
    fn touch(&mut self, subjects: &[Lane], sequence: u64) -> Result<(), StoreError> {
        if subjects.is_empty() {
            return Ok(());
        }
        let person = links::person(subjects, |subject| self.said(subject))?;
        // Not all of one that has too many are known.
        self.touched.anyone |= !person.certain;
        self.touched.subjects.extend(person.subjects);
        self.touched.sequence = self.touched.sequence.max(sequence);
        Ok(())
    }

    fn said(&self, subject: &Lane) -> Result<Said, StoreError> {
        let found = self.scan(&keys::links(subject))?.into_iter();
        found.filter_map(|(key, value)| Some((keys::lane(&key)?, value))).map(read_link).collect()
    }

    /// Puts an open delivery under the patients whose data it carries.
    pub(super) fn wait_for(&mut self, id: DeliveryId, subjects: &[Lane]) {
        subjects.iter().for_each(|subject| self.add(keys::open(subject, id), Vec::new()));
    }

    /// Takes a delivery that is not open any more from under its patients.
    pub(super) fn wait_no_more(&mut self, id: DeliveryId, subjects: &[Lane]) {
        subjects.iter().for_each(|subject| self.delete(keys::open(subject, id)));
    }

    /// The patients whose data a delivery carries. None where the log is damaged: then it is found under them as long
    /// as it is in the store, and passed over for its state.
    pub(super) fn subjects_of(&self, id: DeliveryId, entry: &DeliveryEntry) -> Result<Vec<Lane>, StoreError> {
        match self.records.routing(id, entry, |key| self.get(key)) {
            Ok(routing) => Ok(routing.subjects().to_vec()),
            Err(StoreError::Damaged(_) | StoreError::Unknown(_)) => Ok(Vec::new()),
            Err(other) => Err(other),
        }
    }
}

impl Finder {
    pub(super) fn consents_of(&self, subjects: &[Lane]) -> Result<OnFile, StoreError> {
        // First this: what changes from here on raises it.
        let epoch = self.epochs.of(subjects);
        let mut keys = BTreeSet::new();
        let person = self.person(subjects, |key| _ = keys.insert(key))?;
        let mut consents = Vec::with_capacity(keys.len());
        for key in keys {
            let versions: Vec<_> = self.index.prefix(&keys::consents(&key)).collect::<Result<_, _>>()?;
            if let Some((_, value)) = versions.last() {
                consents.push(self.consent(key, versions.len(), decode(value)?)?);
            }
        }
        Ok(OnFile { epoch, subjects: person.subjects.into_iter().collect(), certain: person.certain, consents })
    }

    pub(super) fn consent_versions(&self, key: &Lane) -> Result<Vec<ConsentOnFile>, StoreError> {
        let versions = self.index.prefix(&keys::consents(key)).zip(1..);
        versions.map(|(entry, version)| self.consent(*key, version, decode(&entry?.1)?)).collect()
    }

    fn consent(&self, key: Lane, version: usize, entry: ConsentEntry) -> Result<ConsentOnFile, StoreError> {
        let body = match self.records.read(entry.at)?.record {
            Record::Consent { consent, .. } if consent.key == key => consent.body,
            _ => return Err(damage_at(entry.at, "another record was expected here").into()),
        };
        let version = u32::try_from(version).unwrap_or(u32::MAX);
        Ok(ConsentOnFile { key, version, at: entry.filed, message: entry.message, body })
    }

    pub(super) fn open_deliveries_of(&self, subjects: &[Lane]) -> Result<Vec<DeliveryId>, StoreError> {
        let Some((first, _)) = self.index.prefix(b"O").next().transpose()? else { return Ok(Vec::new()) };
        let newest = keys::wide_bucket(self.index.applied()?.map_or(0, |applied| applied.next));
        let person = self.person(subjects, |_| {})?;
        let mut found = BTreeSet::new();
        for bucket in keys::bucket_of(&first)..=newest {
            for subject in &person.subjects {
                for entry in self.index.prefix(&keys::open_of(bucket, subject)) {
                    found.insert(keys::number(&entry?.0));
                }
            }
        }
        let mut open = Vec::with_capacity(found.len());
        for id in found {
            let entry = self.index.get::<DeliveryEntry>(&keys::delivery(id))?;
            open.extend(entry.filter(|entry| is_open(entry.state)).map(|_| id));
        }
        Ok(open)
    }

    /// All identifiers of these patients; `consent` is told of each Consent that one of them has.
    fn person(&self, subjects: &[Lane], mut consent: impl FnMut(Lane)) -> Result<Person, StoreError> {
        links::person(subjects, |subject| {
            let mut said = Vec::new();
            for entry in self.index.prefix(&keys::all_of_subject(subject)) {
                let (key, value) = entry?;
                match (keys::letter(&key), keys::lane(&key)) {
                    (Some(b'c'), Some(key)) => consent(key),
                    (Some(b'l'), Some(other)) => said.push(read_link((other, value))?),
                    _ => {}
                }
            }
            Ok(said)
        })
    }

    /// True if the index refers to this very record for a version of a Consent, or for what was said of identifiers.
    pub(super) fn counts(&self, item: &Item) -> Result<bool, StoreError> {
        let Fact::Record { record, .. } = &item.fact else { return Ok(false) };
        let pairs = match record {
            Record::Consent { order, consent, .. } => {
                let key = keys::consent(&consent.key, or_its_own(*order, item).0);
                let entry = self.index.get::<ConsentEntry>(&key)?;
                return Ok(entry.is_some_and(|entry| entry.at == item.at));
            }
            Record::Linked { subjects, .. } => links::linked(subjects),
            Record::Parted { subjects, others, .. } => links::parted(subjects, others),
            _ => return Ok(false),
        };
        for (one, other, _) in pairs {
            if self.index.get::<LinkEntry>(&keys::link(&one, &other))?.is_some_and(|link| link.at == item.at) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The place of a message in the order of acceptance.
    pub(super) fn order_of(&self, message: &MessageId) -> Result<Order, StoreError> {
        let entry = self.index.get::<super::entry::MessageEntry>(&keys::message(message))?;
        Ok(Order(entry.map_or(0, |entry| entry.sequence)))
    }
}

/// True if a delivery may yet be sent without an operator.
pub(super) fn is_open(state: State) -> bool {
    matches!(state, State::Queued | State::Held)
}

fn read_link((other, value): (Lane, Vec<u8>)) -> Result<(Lane, LinkEntry), StoreError> {
    Ok((other, decode(&value)?))
}

/// Where no message says it, the record's own place counts.
fn or_its_own(order: Order, item: &Item) -> Order {
    if order == Order::default() { Order(item.sequence) } else { order }
}
