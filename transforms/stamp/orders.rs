//! Order groups: the segments from one ORC or OBR to the next, and the resources they became.

use std::collections::{BTreeSet, HashMap};

use message::hl7v2::{Message, Segment};
use message::json::Map;
use message::provenance::Reference;

use super::agents::Site;
use super::bundle::{Bundle, objects, text};

/// What belongs to the message as a whole, not to one of its orders.
const SHARED: &[&str] = &[
    "Account",
    "Coverage",
    "Device",
    "Encounter",
    "Endpoint",
    "HealthcareService",
    "Location",
    "MessageHeader",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Provenance",
    "RelatedPerson",
];

/// From a resource of an order to what belongs to it.
const DOWN: &[&str] = &["result", "hasMember", "specimen"];
/// From a resource of an order to what it answers: both ways, since either may carry the numbers.
const UP: &[&str] = &["basedOn", "request"];

/// One order group.
#[derive(Debug)]
pub(super) struct Order<'m> {
    segments: Vec<Segment<'m>>,
}

/// The order groups of `message`, in order.
pub(super) fn orders(message: &Message) -> Vec<Order<'_>> {
    let mut orders: Vec<Order<'_>> = Vec::new();
    for segment in message.segments() {
        let name = segment.name();
        let begins = match orders.last() {
            None => matches!(name, "ORC" | "OBR"),
            Some(order) => name == "ORC" || (name == "OBR" && order.first("OBR").is_some()),
        };
        if begins {
            orders.push(Order { segments: Vec::new() });
        }
        if let Some(order) = orders.last_mut() {
            order.segments.push(segment);
        }
    }
    orders
}

/// Who produced the results of all orders, each once.
pub(super) fn producers_of(message: &Message, site: Site<'_>) -> Vec<Reference> {
    distinct(orders(message).iter().flat_map(|order| order.producers(site)))
}

impl<'m> Order<'m> {
    /// Its first segment called `name`.
    pub(super) fn first(&self, name: &str) -> Option<Segment<'m>> {
        self.segments.iter().find(|segment| segment.name() == name).copied()
    }

    /// Its segments called `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Segment<'m>> + 'a {
        self.segments.iter().filter(move |segment| segment.is_named(name)).copied()
    }

    /// True if segment `number` is one of its own.
    pub(super) fn holds(&self, number: usize) -> bool {
        self.segments.iter().any(|segment| segment.number() == number)
    }

    /// Placer and filler numbers: ORC-2, ORC-3, OBR-2, OBR-3.
    fn numbers(&self) -> Vec<String> {
        let headers = [self.first("ORC"), self.first("OBR")].into_iter().flatten();
        let fields = headers.flat_map(|segment| [segment.field(2), segment.field(3)]);
        let numbers = fields.map(|field| field.component(1)).filter(|number| number.is_valued());
        numbers.map(|number| number.value().into_owned()).collect()
    }

    /// Who produced its results: the nearest of OBX-23, OBX-15 and ORC-21.
    pub(super) fn producers(&self, site: Site<'_>) -> Vec<Reference> {
        let results = || self.segments.iter().filter(|segment| segment.name() == "OBX");
        let mut producers = distinct(results().filter_map(|obx| site.performing(obx)));
        if producers.is_empty() {
            let ordering = self.first("ORC").and_then(|orc| site.organisation(&orc.field(21).repetition(1)));
            producers.extend(ordering);
        }
        producers
    }

    /// The entries that its segments became: what carries its numbers, and what hangs together with that.
    pub(super) fn entries(&self, bundle: &Bundle) -> BTreeSet<usize> {
        let numbers = self.numbers();
        let carries = |resource: &Map| {
            objects(resource, "identifier").filter_map(|i| text(i, "value")).any(|v| numbers.iter().any(|n| n == v))
        };
        let links = links(bundle);
        let mut found: BTreeSet<usize> =
            ordered(bundle).filter(|(_, resource)| carries(resource)).map(|(i, _)| i).collect();
        loop {
            let before = found.len();
            for &(from, to) in &links {
                if found.contains(&from) {
                    found.insert(to);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}

/// All entries that belong to some order of the message.
pub(super) fn ordered_entries(bundle: &Bundle) -> BTreeSet<usize> {
    ordered(bundle).map(|(i, _)| i).collect()
}

fn ordered(bundle: &Bundle) -> impl Iterator<Item = (usize, &Map)> {
    let own = bundle.records().filter(|(_, entry, _)| !SHARED.contains(&entry.kind()));
    own.map(|(i, _, resource)| (i, resource))
}

/// Where entries are, by what refers to them; seeded anew for every Bundle.
type Places<'b> = HashMap<&'b str, usize, foldhash::quality::RandomState>;

/// Pairs of entries: if the first belongs to an order, so does the second.
fn links(bundle: &Bundle) -> Vec<(usize, usize)> {
    let mut places = Places::with_capacity_and_hasher(2 * bundle.entries.len(), Default::default());
    for (i, _) in ordered(bundle) {
        let names = bundle.entries.get(i).map(|entry| [entry.full_url(), entry.url()]);
        places.extend(names.into_iter().flatten().flatten().map(|name| (name, i)));
    }
    let mut links = Vec::new();
    for (i, resource) in ordered(bundle) {
        links.extend(targets(resource, DOWN, &places).map(|target| (i, target)));
        links.extend(targets(resource, UP, &places).flat_map(|target| [(target, i), (i, target)]));
    }
    links
}

/// The entries that `resource` refers to under one of `keys`.
fn targets<'a>(resource: &'a Map, keys: &'a [&str], places: &'a Places<'a>) -> impl Iterator<Item = usize> + 'a {
    let references = keys.iter().flat_map(|key| objects(resource, key)).filter_map(|target| text(target, "reference"));
    references.filter_map(|reference| places.get(reference).copied())
}

/// Each of `references` once, in order.
fn distinct(references: impl Iterator<Item = Reference>) -> Vec<Reference> {
    let mut out = Vec::new();
    for reference in references {
        if !out.contains(&reference) {
            out.push(reference);
        }
    }
    out
}
