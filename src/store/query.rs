//! What can be asked of the store, and how it is found: by the index alone.

use std::collections::{BinaryHeap, VecDeque};

use jiff::Timestamp;
use message::MessageId;
use serde::{Deserialize, Serialize};

use super::duplicate::id_of;
use super::entry::{DeliveryEntry, MessageEntry, Span};
use super::error::StoreError;
use super::find::Finder;
use super::index::{Entries, decode};
use super::keys::{self, Key, STATES};
use super::record::{DeliveryId, DeliveryRecord, State};
use super::{MessageRecord, Page};

/// So many entries are looked at for one page at most; then it ends early, with a cursor.
const LOOKED_AT: usize = 50_000;

/// Which messages. Every part that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageQuery {
    /// The inbound channel.
    pub channel: Option<String>,
    /// Any of these states; none for all.
    pub states: Vec<State>,
    /// The message type: `ADT^A01`, or `ADT` for all of them.
    pub kind: Option<String>,
    /// Received at this time or later.
    pub from: Option<Timestamp>,
    /// Received before this time.
    pub to: Option<Timestamp>,
    /// MSH-10, Bundle.identifier or X-Request-Id.
    pub control_id: Option<String>,
    /// A patient identifier, an accession number: what was given in [`super::Received::search`].
    pub search: Option<String>,
    /// A destination that it has a delivery to.
    pub destination: Option<String>,
    /// Text of the reason that it failed, was filtered, or that a delivery of it waits or died; small
    /// and capital letters alike.
    pub error: Option<String>,
    /// The latest first.
    pub newest_first: bool,
    /// [`Page::next`] of the page before.
    pub after: Option<u64>,
    /// How many at most.
    pub limit: usize,
}

impl MessageQuery {
    /// [`MessageQuery::after`] for what comes behind a message that this found: by its place in the order
    /// of acceptance and its deliveries.
    #[must_use]
    pub fn behind(&self, sequence: u64, deliveries: &[DeliveryRecord]) -> u64 {
        let to = |delivery: &&DeliveryRecord| Some(&delivery.destination) == self.destination.as_ref();
        let last = deliveries.iter().filter(to).map(|delivery| delivery.id).max();
        last.filter(|_| self.is_by_delivery()).unwrap_or(sequence)
    }

    /// Oldest first goes by acceptance, whatever is asked: who works through it (a replay) makes new
    /// deliveries on the way, and must not meet the same message again behind its cursor.
    fn is_by_delivery(&self) -> bool {
        self.newest_first && self.destination.is_some() && self.search.is_none() && self.control_id.is_none()
    }
}

/// Which deliveries. Every part that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryQuery {
    /// Where to.
    pub destination: Option<String>,
    /// Any of these states; none for all.
    pub states: Vec<State>,
    /// Of one message.
    pub message: Option<MessageId>,
    /// Created at this time or later.
    pub from: Option<Timestamp>,
    /// Created before this time.
    pub to: Option<Timestamp>,
    /// Text of the last reason or summary; small and capital letters alike.
    pub reason: Option<String>,
    /// The latest first.
    pub newest_first: bool,
    /// [`Page::next`] of the page before.
    pub after: Option<u64>,
    /// How many at most.
    pub limit: usize,
}

/// Candidates in order: each has a number, which is also the cursor.
struct Merge<'a> {
    groups: Vec<Group<'a>>,
    heads: BinaryHeap<Head>,
}

/// The next of one group; the greatest is the one that comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    order: u64,
    group: usize,
    number: u64,
    value: Vec<u8>,
}

impl<'a> Merge<'a> {
    /// Of `groups` of ranges, each in the order in which something moves through its ranges.
    fn new(finder: &'a Finder, groups: Vec<Vec<Key>>, after: Option<u64>, backwards: bool) -> Result<Self, StoreError> {
        let group = |prefixes| Group {
            finder,
            prefixes,
            backwards,
            after,
            read: VecDeque::new(),
            stretch: STRETCH,
            is_over: false,
        };
        let mut merge = Self { groups: groups.into_iter().map(group).collect(), heads: BinaryHeap::new() };
        (0..merge.groups.len()).try_for_each(|group| merge.advance(group))?;
        Ok(merge)
    }

    fn advance(&mut self, at: usize) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(at) else { return Ok(()) };
        if let Some((number, value)) = group.next()? {
            self.heads.push(Head { order: group.order(number), group: at, number, value });
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let Some(head) = self.heads.pop() else { return Ok(None) };
        self.advance(head.group)?;
        Ok(Some((head.number, head.value)))
    }
}

/// The candidates of one channel or destination, each once.
///
/// What is looked for moves from range to range meanwhile, from one state to the next. So a stretch of all ranges is read
/// at a time, in the order in which it moves: what was not there yet when one range was read is in a later one.
struct Group<'a> {
    finder: &'a Finder,
    /// The ranges, in the order in which something moves through them.
    prefixes: Vec<Key>,
    backwards: bool,
    /// Up to where all was read.
    after: Option<u64>,
    /// What was read, and not yet given.
    read: VecDeque<(u64, Vec<u8>)>,
    /// How much of each range is read at a time.
    stretch: usize,
    /// True once there is no more.
    is_over: bool,
}

/// How much of each range is read at first: most pages are short. Twice as much each time after, up to the most.
const STRETCH: usize = 16;
const LONGEST_STRETCH: usize = 1024;

impl Group<'_> {
    fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        while self.read.is_empty() && !self.is_over {
            self.read_on()?;
        }
        Ok(self.read.pop_front())
    }

    /// The greater, the sooner it comes.
    fn order(&self, number: u64) -> u64 {
        if self.backwards { number } else { u64::MAX - number }
    }

    /// Reads the next stretch.
    fn read_on(&mut self) -> Result<(), StoreError> {
        let mut read: Vec<(u64, Vec<u8>)> = Vec::new();
        // Behind this, some range was not read.
        let mut edge: Option<u64> = None;
        for prefix in &self.prefixes {
            let from = read.len();
            for entry in self.rest_of(prefix).take(self.stretch) {
                let (key, value) = entry?;
                read.push((keys::number(&key), value.to_vec()));
            }
            if let Some((last, _)) = read.last().filter(|_| read.len() - from >= self.stretch) {
                edge = edge.filter(|edge| self.order(*edge) > self.order(*last)).or(Some(*last));
            }
        }
        read.retain(|(number, _)| edge.is_none_or(|edge| self.order(*number) >= self.order(edge)));
        read.sort_unstable_by_key(|(number, _)| u64::MAX - self.order(*number));
        read.dedup_by_key(|(number, _)| *number);
        self.is_over = edge.is_none();
        self.after = edge.or(self.after);
        self.stretch = (2 * self.stretch).min(LONGEST_STRETCH);
        self.read = read.into();
        Ok(())
    }

    fn rest_of(&self, prefix: &Key) -> Entries {
        let index = &self.finder.index;
        match (self.after, self.backwards) {
            (None, false) => index.prefix(prefix),
            (None, true) => index.range_back(prefix, None),
            (Some(after), false) => index.range(prefix, &keys::after(prefix, after.saturating_add(1))),
            (Some(after), true) => index.range_back(prefix, Some(&keys::after(prefix, after))),
        }
    }
}

impl Finder {
    /// One page of messages.
    pub(super) fn messages(&self, query: &MessageQuery) -> Result<Page<MessageRecord>, StoreError> {
        let bounds = self.sequences(query.from, query.to)?;
        let by_delivery = query.is_by_delivery();
        let groups = if by_delivery { vec![self.by_delivery(query)] } else { self.by_message(query)? };
        let start = match (query.after, query.newest_first) {
            (None, _) if by_delivery => None,
            (None, true) => Some(bounds.1.saturating_add(1)),
            (None, false) => bounds.0.checked_sub(1),
            (after, _) => after,
        };
        let mut merge = Merge::new(self, groups, start, query.newest_first)?;
        let mut page = Page { items: Vec::new(), next: None };
        for _ in 0..LOOKED_AT {
            let Some((number, value)) = merge.next()? else { return Ok(Page { next: None, ..page }) };
            let outside = if query.newest_first { number < bounds.0 } else { number > bounds.1 };
            if !by_delivery && outside {
                return Ok(Page { next: None, ..page });
            }
            let id = if by_delivery { self.last_to(number, query)? } else { Some(id_of(&value)) };
            if let Some(record) = id.map(|id| self.matching(&id, query)).transpose()?.flatten() {
                page.items.push(record);
            }
            page.next = Some(number);
            if page.items.len() >= query.limit {
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// One page of deliveries.
    pub(super) fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<DeliveryRecord>, StoreError> {
        if let Some(id) = query.message {
            return self.deliveries_of(&id, query);
        }
        let destinations = match &query.destination {
            Some(destination) => vec![destination.clone()],
            None => self.tallies.names(b'd'),
        };
        let states = states(&query.states);
        let group = |name: &String| states.iter().map(|state| keys::queue_prefix(name, *state)).collect();
        let groups = destinations.iter().map(group).collect();
        let mut merge = Merge::new(self, groups, query.after, query.newest_first)?;
        let mut page = Page { items: Vec::new(), next: None };
        for _ in 0..LOOKED_AT {
            let Some((id, _)) = merge.next()? else { return Ok(Page { next: None, ..page }) };
            let entry = self.index.get::<DeliveryEntry>(&keys::delivery(id))?;
            if let Some(entry) = entry.filter(|entry| fits(entry, query)) {
                page.items.push(self.delivery_record(id, entry)?);
            }
            page.next = Some(id);
            if page.items.len() >= query.limit {
                break;
            }
        }
        Ok(page)
    }

    fn deliveries_of(&self, id: &MessageId, query: &DeliveryQuery) -> Result<Page<DeliveryRecord>, StoreError> {
        let mut page = Page { items: Vec::new(), next: None };
        let Some(message) = self.index.get::<MessageEntry>(&keys::message(id))? else { return Ok(page) };
        let mut ids: Vec<DeliveryId> = message.deliveries().collect();
        if query.newest_first {
            ids.reverse();
        }
        let behind = |id: &DeliveryId| match query.after {
            Some(after) if query.newest_first => *id < after,
            Some(after) => *id > after,
            None => true,
        };
        for id in ids.into_iter().filter(behind) {
            let entry = self.index.get::<DeliveryEntry>(&keys::delivery(id))?;
            if let Some(entry) = entry.filter(|entry| fits(entry, query)) {
                page.items.push(self.delivery_record(id, entry)?);
                if page.items.len() >= query.limit {
                    page.next = Some(id);
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    fn by_delivery(&self, query: &MessageQuery) -> Vec<Key> {
        let name = query.destination.as_deref().unwrap_or_default();
        states(&[]).iter().map(|state| keys::queue_prefix(name, *state)).collect()
    }

    /// The ranges that hold all candidates, in groups: by search key or control id if there is one, else by
    /// channel, and in each by state.
    fn by_message(&self, query: &MessageQuery) -> Result<Vec<Vec<Key>>, StoreError> {
        let hasher = &self.records.hasher;
        if let Some(value) = &query.search {
            let hash = hasher.search(value);
            return Ok(self.buckets()?.map(|bucket| vec![keys::search_prefix(bucket, &hash)]).collect());
        }
        if let Some(control_id) = &query.control_id {
            let hash = hasher.control_id(control_id);
            return Ok(self.buckets()?.map(|bucket| vec![keys::control_prefix(bucket, &hash)]).collect());
        }
        let channels = match &query.channel {
            Some(channel) => vec![channel.clone()],
            None => self.tallies.names(b'm'),
        };
        let states = states(&query.states);
        let group = |name: &String| states.iter().map(|state| keys::by_state_prefix(name, *state)).collect();
        Ok(channels.iter().map(group).collect())
    }

    /// The message of `delivery`, if that is its last to the query's destination: so each comes once.
    fn last_to(&self, delivery: DeliveryId, query: &MessageQuery) -> Result<Option<MessageId>, StoreError> {
        let Some(entry) = self.index.get::<DeliveryEntry>(&keys::delivery(delivery))? else { return Ok(None) };
        let Some(message) = self.index.get::<MessageEntry>(&keys::message(&entry.message))? else { return Ok(None) };
        for later in message.deliveries().filter(|id| *id > delivery) {
            let other = self.index.get::<DeliveryEntry>(&keys::delivery(later))?;
            if other.is_some_and(|other| Some(&other.destination) == query.destination.as_ref()) {
                return Ok(None);
            }
        }
        Ok(Some(entry.message))
    }

    /// The message, if it is what was asked for.
    fn matching(&self, id: &MessageId, query: &MessageQuery) -> Result<Option<MessageRecord>, StoreError> {
        let Some(entry) = self.index.get::<MessageEntry>(&keys::message(id))? else { return Ok(None) };
        let fits = query.channel.as_ref().is_none_or(|channel| *channel == entry.channel)
            && (query.states.is_empty() || query.states.contains(&entry.state()))
            && query.kind.as_ref().is_none_or(|kind| is_kind(&entry.kind, kind))
            && query.from.is_none_or(|from| entry.received >= from)
            && query.to.is_none_or(|to| entry.received < to);
        if !fits || !self.goes_to(&entry, query)? || !self.has_error(&entry, query)? {
            return Ok(None);
        }
        let record = self.message_record(id, entry)?;
        let found = |record: &MessageRecord| {
            let received = &record.received;
            let control = query.control_id.is_none() || query.control_id == received.control_id;
            record.damaged || control && query.search.as_ref().is_none_or(|value| received.search.contains(value))
        };
        Ok(Some(record).filter(found))
    }

    fn goes_to(&self, entry: &MessageEntry, query: &MessageQuery) -> Result<bool, StoreError> {
        let Some(destination) = &query.destination else { return Ok(true) };
        for id in entry.deliveries() {
            let delivery = self.index.get::<DeliveryEntry>(&keys::delivery(id))?;
            if delivery.is_some_and(|delivery| delivery.destination == *destination) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has_error(&self, entry: &MessageEntry, query: &MessageQuery) -> Result<bool, StoreError> {
        let Some(text) = &query.error else { return Ok(true) };
        if contains(&entry.reason, text) {
            return Ok(true);
        }
        for id in entry.deliveries() {
            let delivery = self.index.get::<DeliveryEntry>(&keys::delivery(id))?;
            if delivery.is_some_and(|it| it.state != State::Delivered && contains(&it.reason, text)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first and last sequence that messages received within these times can have, whatever jumps
    /// the clock made: from the spans of the segments.
    fn sequences(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(u64, u64), StoreError> {
        if from.is_none() && to.is_none() {
            return Ok((0, u64::MAX));
        }
        let from = from.map_or(i64::MIN, Timestamp::as_microsecond);
        let to = to.map_or(i64::MAX, Timestamp::as_microsecond);
        let (mut first, mut last, mut oldest) = (u64::MAX, 0, i64::MAX);
        for entry in self.index.prefix(b"G") {
            let span: Span = decode(&entry?.1)?;
            oldest = oldest.min(span.from);
            if span.from < to && span.to >= from {
                (first, last) = (first.min(span.first), last.max(span.last));
            }
        }
        // What is older than all segments was carried forward from one that is gone.
        if from < oldest {
            first = 0;
        }
        Ok((first, last.max(first)))
    }

    fn buckets(&self) -> Result<std::ops::RangeInclusive<u32>, StoreError> {
        let first = self.index.prefix(b"G").next().transpose()?;
        let first = first.map(|(_, value)| decode::<Span>(&value)).transpose()?.map_or(0, |span| span.first);
        let last = self.index.applied()?.map_or(0, |applied| applied.next);
        // Carried messages keep their sequences, which are older than the first segment.
        let first = if self.carried(first)? { 0 } else { keys::bucket(first) };
        Ok(first..=keys::bucket(last))
    }

    /// True if some message is older than `sequence`, the first of the log.
    fn carried(&self, sequence: u64) -> Result<bool, StoreError> {
        for channel in self.tallies.names(b'm') {
            for state in STATES {
                let first = self.index.prefix(&keys::by_state_prefix(&channel, state)).next().transpose()?;
                if first.is_some_and(|(key, _)| keys::number(&key) < sequence) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// The states that are asked for, in the order in which most of what is there moves through them; and once more those that
/// it comes back to when it is released, or sent again.
fn states(asked: &[State]) -> Vec<State> {
    let wanted = |state: &State| asked.is_empty() || asked.contains(state);
    STATES.into_iter().chain([State::Queued, State::Held]).filter(wanted).collect()
}

fn fits(entry: &DeliveryEntry, query: &DeliveryQuery) -> bool {
    query.destination.as_ref().is_none_or(|destination| *destination == entry.destination)
        && (query.states.is_empty() || query.states.contains(&entry.state))
        && query.from.is_none_or(|from| entry.created >= from)
        && query.to.is_none_or(|to| entry.created < to)
        && query.reason.as_ref().is_none_or(|text| contains(&entry.reason, text))
}

fn is_kind(kind: &str, asked: &str) -> bool {
    kind == asked || kind.strip_prefix(asked).is_some_and(|rest| rest.starts_with('^'))
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}
