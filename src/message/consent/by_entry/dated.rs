//! When what an entry records took place.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use crate::json::{Map, Value};

use super::entry::list;
use super::span::Span;

/// Elements that tell when what an entry records took place, the nearest to that first.
const DATES: &[&str] = &[
    "effective",
    "onset",
    "performed",
    "occurrence",
    "authoredOn",
    "period",
    "started",
    "servicedPeriod",
    "servicedDate",
    "billablePeriod",
    "whenHandedOver",
    "whenPrepared",
    "collectedDateTime",
    "start",
    "date",
    "recordedDate",
    "recorded",
    "dateAsserted",
    "assertedDate",
    "created",
    "sent",
    "issued",
];

/// What follows such a name where its type is one of several.
const TYPED: &[&str] = &["", "DateTime", "Period", "Instant", "Date", "Timing"];

/// All that [`DATES`] may be called, each with its rank.
static RANKS: LazyLock<HashMap<String, usize, foldhash::fast::FixedState>> = LazyLock::new(|| {
    let names = DATES.iter().flat_map(|name| TYPED.iter().map(move |kind| format!("{name}{kind}")));
    let mut ranks = HashMap::default();
    names.enumerate().for_each(|(rank, name)| _ = ranks.entry(name).or_insert(rank));
    ranks
});

/// What the entries of a message say of when it was, as it stands; read when it is asked for, as most decisions do not.
#[derive(Default)]
pub(super) struct Dates {
    /// Of each entry that says it, its number and what says it.
    said: Vec<(usize, Map)>,
    read: OnceLock<HashMap<usize, Span, foldhash::fast::RandomState>>,
}

impl Dates {
    /// Takes up what an entry says.
    pub(super) fn add(&mut self, entry: usize, elements: &Map) {
        let mut said = Map::new();
        for (name, value) in elements.iter().filter(|(name, _)| says_when(name)) {
            said.push(name.clone(), value.clone());
        }
        if !said.is_empty() {
            self.said.push((entry, said));
        }
    }

    /// When what an entry tells of was.
    pub(super) fn of(&self, entry: usize) -> Option<Span> {
        let read = || self.said.iter().filter_map(|(entry, said)| Some((*entry, dated(said)?))).collect();
        self.read.get_or_init(read).get(&entry).copied()
    }
}

/// True for what [`dated`] reads.
fn says_when(name: &str) -> bool {
    // What most resources begin with says nothing of it.
    !matches!(name, "resourceType" | "id" | "meta" | "identifier" | "code" | "status" | "subject")
        && (RANKS.contains_key(name) || matches!(name, "end" | "collection"))
}

/// The clinical interval of a resource: the first of [`DATES`] that it has. `meta.lastUpdated` never.
fn dated(elements: &Map) -> Option<Span> {
    let mut named: Vec<(usize, &str, &Value)> =
        elements.iter().filter_map(|(name, value)| Some((*RANKS.get(name.as_str())?, name.as_str(), value))).collect();
    named.sort_unstable_by_key(|(rank, ..)| *rank);
    let own = named.into_iter().find_map(|(_, name, value)| Some((name, span_of(value)?)));
    match own {
        Some((name, found)) => {
            let end = elements.get("end").filter(|_| name.starts_with("start") && !name.starts_with("started"));
            let end = end.and_then(Value::as_str).and_then(Span::parse);
            Some(Span { until: end.map_or(found.until, |end| end.until.max(found.until)), ..found })
        }
        None => elements.get("collection").and_then(Value::as_object).and_then(dated),
    }
}

/// The span of a dateTime, a Period or a Timing.
fn span_of(value: &Value) -> Option<Span> {
    match value {
        Value::String(text) => Span::parse(text),
        Value::Object(elements) if elements.contains_key("start") || elements.contains_key("end") => {
            Span::of_period(value)
        }
        Value::Object(_) => {
            let events = list(value, "event").map(|event| event.as_str().and_then(Span::parse));
            let bounds = value.get("repeat").and_then(|repeat| repeat.get("boundsPeriod")).map(Span::of_period);
            events.chain(bounds).try_fold(None, |all: Option<Span>, one| {
                let one = one?;
                Some(Some(all.map_or(one, |all| all.with(one))))
            })?
        }
        _ => None,
    }
}
