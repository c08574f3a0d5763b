//! When what an entry records took place.

use std::collections::HashMap;
use std::sync::LazyLock;

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

/// The clinical interval of a resource: the first of [`DATES`] that it has. `meta.lastUpdated` never.
pub(super) fn dated(elements: &Map) -> Option<Span> {
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
