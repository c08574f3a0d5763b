//! What pieces of messages became, kept for the messages after them.
//!
//! The staff, the places and the codes of a feed are the same in message after message. The same text through the same
//! table makes the same nodes, so what it made is kept and put into the next tree ([`Graft`]), with what it says as
//! JSON once that was written. What is kept may depend on nothing but its [`Key`], the tables and the [`Setting`]:
//! only tables that ask for nothing outside of the text at hand are kept of ([`apart`]), and what else a text leads to,
//! resources that a message makes once however often it names them, are not kept with it but looked up anew ([`Slot`]).
//! What is written into a graft later, by a row or by another resource that is the same, ends what is known of it.
//!
//! A text is kept the second time that it comes, so that what comes once, as patients do, costs a number and no more.
//! All of it is in memory alone, and what was not asked for the longest goes first.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use jiff::tz::TimeZone;
use message::fhir::definitions::{Kind, TypeId};
use message::json::{Map, Text, Value};
use message::{Context, FindingKind, Provider};
use uuid::Uuid;

use super::hashed::Hasher;
use super::identity::{self, Found};
use super::maps::plan::{Action, Convert, Piece, Place, Plan, Row, Step, Table, Test};
use super::maps::{EACH, SHARED};
use super::source::Level;
use super::tree::{Graft, Grafted};

/// Longer texts are not kept.
const LONGEST: usize = 512;

/// Nodes and bytes of text that are kept, about; more, and half of it goes. A node is about 120 bytes.
const MOST: usize = 2 << 20;

/// Texts whose coming is remembered, in so many places of four.
const PLACES: usize = 1 << 12;

/// Of more texts than this it is not known what is kept of them.
const KEYS: usize = 1 << 14;

/// What decides what is made of a text, besides the tables and the setting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'t> {
    /// The table, by its number.
    pub(super) table: usize,
    /// What it fills.
    pub(super) kind: Kind,
    /// The code table of the row that asks for it.
    pub(super) codes: Option<usize>,
    /// How the text is cut.
    pub(super) level: Level,
    pub(super) text: &'t str,
}

/// What the tables read besides the message, in all conversions alike.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    provider: Arc<Provider>,
    base_uri: Arc<str>,
    time_zone: TimeZone,
}

impl Setting {
    fn of(context: &Context) -> Self {
        let Context { provider, base_uri, time_zone, .. } = context;
        Self { provider: provider.clone(), base_uri: base_uri.clone(), time_zone: time_zone.clone() }
    }

    fn is_of(&self, context: &Context) -> bool {
        (Arc::ptr_eq(&self.provider, &context.provider) || self.provider == context.provider)
            && self.base_uri == context.base_uri
            && self.time_zone == context.time_zone
    }
}

/// What a text became.
pub(super) struct Part {
    table: usize,
    kind: Kind,
    codes: Option<usize>,
    level: Level,
    text: Box<str>,
    pub(super) graft: Graft,
    /// Of the resources that it makes, the one that is referred to.
    pub(super) head: Option<u32>,
    /// Where values begin that rows have taken, from the beginning of the text.
    pub(super) taken: Box<[u16]>,
    /// What was noted of values, by where they begin.
    pub(super) noted: Box<[(u16, FindingKind, Text)]>,
    pub(super) slots: Box<[Slot]>,
    /// What it says, if it is one element that refers to nothing, once it was written.
    pub(super) written: Option<Map>,
    /// What is known of the resource that it fills, and then of those that it makes.
    pub(super) resources: Box<[Known]>,
    /// When it was asked for last.
    used: u32,
}

/// A reference, within what a text became, to a resource that the message makes once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// The node of the reference, by its number in the graft.
    pub(super) node: u32,
    /// The table that makes the resource, and of what type.
    pub(super) table: usize,
    pub(super) kind: TypeId,
    pub(super) codes: Option<usize>,
    /// The piece of the text that it is made of.
    pub(super) start: usize,
    pub(super) len: u16,
    pub(super) level: Level,
}

/// What is known of a resource.
#[derive(Default)]
pub(super) struct Known {
    /// What it is the same by, where it hangs on these.
    pub(super) found: Option<([Option<Uuid>; 2], Found)>,
    pub(super) written: Option<Written>,
}

/// A resource as JSON.
pub(super) struct Written {
    /// Its own id; `None` where the server gives it.
    pub(super) id: Option<Uuid>,
    /// What its references are to, each with its number among the nodes.
    pub(super) refs: Box<[(u16, Text)]>,
    pub(super) members: Map,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The part that is kept of it.
    Kept(u32),
    /// It came before: this time it is to be kept, under this number.
    Again(u64),
    /// Nothing is kept of it.
    Never,
}

/// All that is kept for the messages of one channel.
pub(super) struct Kept {
    setting: Setting,
    /// Of all UUIDs, in this setting.
    pub(super) namespace: Uuid,
    /// By table: whether anything is kept of it.
    apart: Arc<[bool]>,
    parts: Vec<Part>,
    /// Parts by the number of their key.
    numbers: std::collections::HashMap<u64, u32, Plain>,
    /// Numbers of keys that came, those that came last first in their places: half of each number.
    came: Box<[[u32; 4]]>,
    hasher: Hasher,
    /// How much is kept.
    size: usize,
    /// Counts conversions.
    clock: u32,
}

/// Prints how much is kept, and nothing of it: it may be patient data.
impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.parts.len())
    }
}

/// Keys that are as good as random already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plain(u64);

impl std::hash::Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl std::hash::BuildHasher for Plain {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

/// Stands for a key of which nothing can be kept.
const NONE: u32 = u32::MAX;

impl Kept {
    /// Nothing yet, of the tables that are `apart`.
    pub(super) fn new(apart: Arc<[bool]>, context: &Context) -> Self {
        Self {
            setting: Setting::of(context),
            namespace: identity::namespace(context),
            apart,
            parts: Vec::new(),
            numbers: std::collections::HashMap::default(),
            came: vec![[0; 4]; PLACES].into_boxed_slice(),
            hasher: Hasher::default(),
            size: 0,
            clock: 0,
        }
    }

    /// Ready for another conversion; `None` where that is made in another setting.
    pub(super) fn ready(mut self: Box<Self>, context: &Context) -> Option<Box<Self>> {
        if !self.setting.is_of(context) {
            return None;
        }
        self.clock = self.clock.wrapping_add(1);
        if self.size > MOST || self.clock == u32::MAX || self.numbers.len() > KEYS {
            self.halve();
        }
        Some(self)
    }

    /// Forgets the half that was not asked for the longest.
    fn halve(&mut self) {
        let mut parts = std::mem::take(&mut self.parts);
        parts.sort_by_key(|part| std::cmp::Reverse(part.used));
        parts.truncate(parts.len() / 2);
        self.numbers.clear();
        self.size = 0;
        self.clock = 0;
        for mut part in parts {
            part.used = 0;
            let number = self.number(&part.key());
            self.put(number, Some(part));
        }
    }

    /// True if something is kept of what `table` makes.
    pub(super) fn is_apart(&self, table: usize) -> bool {
        self.apart.get(table).copied().unwrap_or_default()
    }

    fn number(&self, key: &Key<'_>) -> u64 {
        let kind = match key.kind {
            Kind::Primitive(primitive) => 1 << 16 | primitive as usize,
            Kind::Complex(kind) => usize::from(kind.0),
        };
        let codes = key.codes.map_or(0, |codes| codes + 1);
        let sort = (key.table << 40) ^ (codes << 20) ^ (kind << 2) ^ key.level as usize;
        self.hasher.hash_one((sort, key.text.as_bytes()))
    }

    /// What is known of `key`; that it came is remembered.
    pub(super) fn ask(&mut self, key: &Key<'_>) -> Asked {
        if key.text.len() > LONGEST {
            return Asked::Never;
        }
        let number = self.number(key);
        match self.numbers.get(&number).copied() {
            Some(at) => match self.parts.get_mut(at as usize).filter(|part| part.key() == *key) {
                Some(part) => {
                    part.used = self.clock;
                    Asked::Kept(at)
                }
                None => Asked::Never,
            },
            None => {
                let half = u32::try_from(number >> 32).unwrap_or_default().max(1);
                let at = usize::try_from(number % PLACES as u64).unwrap_or(0);
                let Some(came) = self.came.get_mut(at) else { return Asked::Never };
                if came.contains(&half) {
                    return Asked::Again(number);
                }
                came.rotate_right(1);
                came.iter_mut().take(1).for_each(|first| *first = half);
                Asked::Never
            }
        }
    }

    /// Keeps `part` under `number`, or that there is nothing to keep.
    pub(super) fn put(&mut self, number: u64, part: Option<Part>) {
        let at = match part {
            None => NONE,
            Some(mut part) => {
                part.used = self.clock;
                self.size += part.graft.len() * 120 + part.text.len() + 256;
                self.parts.push(part);
                u32::try_from(self.parts.len() - 1).unwrap_or(NONE)
            }
        };
        self.numbers.insert(number, at);
    }

    pub(super) fn part(&self, at: u32) -> Option<&Part> {
        self.parts.get(at as usize)
    }

    /// Keeps what the element that `part` fills says, to be shared by all that say it.
    pub(super) fn write(&mut self, part: u32, members: &mut Map) {
        members.share();
        if let Some(part) = self.parts.get_mut(part as usize) {
            part.written = Some(members.clone());
            self.size += part.graft.len() * 120;
        }
    }

    /// What is known of the resource that `of` was made of.
    pub(super) fn known(&self, of: Grafted) -> Option<&Known> {
        self.part(of.part)?.resources.get(of.nth as usize)
    }

    /// As [`Kept::known`], to add to it.
    pub(super) fn known_mut(&mut self, of: Grafted) -> Option<&mut Known> {
        self.size += 64;
        self.parts.get_mut(of.part as usize)?.resources.get_mut(of.nth as usize)
    }

    /// Keeps a resource as it is written, to be shared by all that are like it.
    pub(super) fn write_resource(
        &mut self,
        of: Grafted,
        id: Option<Uuid>,
        refs: Box<[(u16, Text)]>,
        members: &mut Map,
    ) {
        for (_, value) in members.iter_mut() {
            match value {
                Value::Array(items) => items.iter_mut().for_each(Value::share),
                value => value.share(),
            }
        }
        members.share();
        self.size += 1024;
        if let Some(known) = self.known_mut(of) {
            known.written = Some(Written { id, refs, members: members.clone() });
        }
    }
}

impl Part {
    /// Of `key`, without anything that is known of it yet.
    pub(super) fn new(key: &Key<'_>, graft: Graft) -> Self {
        let resources = graft.resources();
        Self {
            table: key.table,
            kind: key.kind,
            codes: key.codes,
            level: key.level,
            text: Box::from(key.text),
            graft,
            head: None,
            taken: Box::default(),
            noted: Box::default(),
            slots: Box::default(),
            written: None,
            resources: (0..=resources).map(|_| Known::default()).collect(),
            used: 0,
        }
    }

    fn key(&self) -> Key<'_> {
        let Self { table, kind, codes, level, text, .. } = self;
        Key { table: *table, kind: *kind, codes: *codes, level: *level, text }
    }
}

/// By table, whether what it makes of a text depends on that alone: its rows, and those of the tables that they name,
/// ask for nothing that stands elsewhere in the message, and write nothing beside what they fill.
pub(super) fn apart(plan: &Plan) -> Arc<[bool]> {
    let asks_here = settled(plan, &is_apart_by_itself, &|_| true);
    // What a table fills within what another fills may have others beside it.
    let fills_one = settled(plan, &fills_one, &|row| row.target.steps.is_empty());
    asks_here.into_iter().zip(fills_one).map(|(asks_here, fills_one)| asks_here && fills_one).collect()
}

/// By table, whether it `is` so, and the tables are that its rows name, as far as they are `called`.
fn settled(plan: &Plan, is: &dyn Fn(&Table) -> bool, called: &dyn Fn(&Row) -> bool) -> Vec<bool> {
    let mut all: Vec<bool> = plan.tables.iter().map(is).collect();
    loop {
        let is_so = |of: usize| all.get(of).copied().unwrap_or_default();
        let calls_other = |table: &Table| {
            let tables = table.rows.iter().filter(|row| called(row)).filter_map(|row| match row.action {
                Action::Table(of) => Some(of),
                _ => None,
            });
            tables.into_iter().any(|of| !is_so(of))
        };
        let tables = plan.tables.iter().enumerate();
        let others: Vec<usize> =
            tables.filter(|(at, table)| is_so(*at) && calls_other(table)).map(|(at, _)| at).collect();
        if others.is_empty() {
            return all;
        }
        for at in others {
            all.get_mut(at).into_iter().for_each(|is| *is = false);
        }
    }
}

fn fills_one(table: &Table) -> bool {
    table.chain.is_some() || table.rows.iter().all(|row| row.target.sibling == 1)
}

fn is_apart_by_itself(table: &Table) -> bool {
    let is_here = |place: &Place| matches!(place, Place::Part { .. });
    let row_is = |row: &Row| {
        let numbered = |step: &Step| matches!(step, Step::Element { label: EACH | SHARED, .. });
        let asks_here = row.when.as_ref().is_none_or(|test| all_places(test, &is_here));
        let reads_here = match &row.action {
            Action::Copy(convert) => *convert != Some(Convert::SampledData),
            Action::Text(pieces) => {
                pieces.iter().all(|piece| if let Piece::Place(place) = piece { is_here(place) } else { true })
            }
            _ => true,
        };
        asks_here && reads_here && !row.target.each && !row.target.steps.iter().any(numbered)
    };
    !table.shares && table.each.is_empty() && table.rows.iter().all(row_is)
}

fn all_places(test: &Test, is: &impl Fn(&Place) -> bool) -> bool {
    match test {
        Test::One { place, .. } => is(place),
        Test::Not(inner) => all_places(inner, is),
        Test::All(tests) | Test::Any(tests) => tests.iter().all(|test| all_places(test, is)),
    }
}
