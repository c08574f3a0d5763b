//! Who wrote each record: records with the same authors share one source Provenance.
//!
//! Nearest first: a Provenance that came with it (its authors stand, and ours adds none), the record's own elements,
//! the document or message that it came in, its sender. What a hub passes on is never the hub's.

use std::collections::{BTreeMap, HashMap, HashSet};

use message::hl7v2::Message;
use message::json::Map;
use message::provenance::{Agent, Reference, Role};
use smol_str::format_smolstr;

use super::agents::Site;
use super::became::{ADMINISTRATION, OBSERVATION, became};
use super::bundle::{Bundle, Entry, objects, text};
use super::orders::{orders, producers_of};
use super::results::is_historical;
use super::source::reference;

/// Authors that are not those of the whole message, by entry. None where a Provenance that came names them.
pub(super) type Own = BTreeMap<usize, Vec<Agent>>;

/// Records and who wrote them.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) agents: Vec<Agent>,
    pub(super) targets: Vec<Reference>,
}

/// The records of a message by their authors: first those that `everyone` wrote, then others in order.
pub(super) fn groups(bundle: &Bundle, records: &[usize], everyone: &[Agent], own: &Own) -> Vec<Group> {
    let mut groups = vec![Group { agents: everyone.to_vec(), targets: Vec::with_capacity(records.len()) }];
    let mut places: HashMap<&[Agent], usize, foldhash::quality::RandomState> = HashMap::default();
    for i in records {
        let Some(target) = bundle.entries.get(*i).and_then(|entry| bundle.reference_to(entry)) else { continue };
        let place = match own.get(i).filter(|agents| agents.as_slice() != everyone) {
            None => 0,
            Some(agents) => *places.entry(agents.as_slice()).or_insert_with(|| {
                groups.push(Group { agents: agents.clone(), targets: Vec::new() });
                groups.len() - 1
            }),
        };
        groups.get_mut(place).into_iter().for_each(|group| group.targets.push(target.clone()));
    }
    groups
}

/// What HL7 v2 says of single records: who produced what a hub passes on, and what somebody else gave.
pub(super) fn of_hl7v2(message: &Message, bundle: &Bundle, site: Site<'_>) -> Own {
    let mut own = Own::new();
    if site.provider.hub {
        for order in orders(message) {
            let mut authors: Vec<Agent> = order.producers(site).into_iter().map(author).collect();
            if authors.is_empty() {
                authors.push(author(Reference::Unknown));
            }
            own.extend(order.entries(bundle).into_iter().map(|entry| (entry, authors.clone())));
        }
        for (obx, entry) in became(message.segments_named("OBX"), OBSERVATION, bundle) {
            if let Some(producer) = site.performing(&obx) {
                own.insert(entry, vec![author(producer)]);
            }
        }
        if let Some(txa) = message.segment("TXA") {
            let authors: Vec<Agent> =
                txa.field(9).repetitions().filter_map(|xcn| site.person(&xcn)).map(author).collect();
            let documents = bundle.records().filter(|(_, entry, _)| entry.kind() == "DocumentReference");
            own.extend(documents.filter(|_| !authors.is_empty()).map(|(entry, ..)| (entry, authors.clone())));
        }
    }
    if message.segment("RXA").is_some() {
        let given = became(message.segments_named("RXA"), ADMINISTRATION, bundle);
        let elsewhere = given.into_iter().filter(|(rxa, _)| is_historical(rxa));
        own.extend(elsewhere.map(|(_, entry)| (entry, vec![author(Reference::Unknown)])));
    }
    own
}

/// Whether all that a hub passes on has one producer is for [`Source`](super::source::Source) to say.
pub(super) fn author(who: Reference) -> Agent {
    Agent { role: Role::Author, who, on_behalf_of: None }
}

/// Elements that name an author, the nearest to that first: as consent asks for authors
/// (`message::consent::by_entry`), but for those that only pass a record on.
const ELEMENTS: &[&str] = &["author", "performer", "recorder", "asserter", "requester", "informationSource"];

/// What FHIR says of single records. `is_ours` tells our own Provenance from earlier times.
pub(super) fn of_fhir(bundle: &Bundle, provider: &Reference, is_ours: impl Fn(&Entry) -> bool) -> Own {
    let kinds: BTreeMap<&str, &str> = bundle
        .entries
        .iter()
        .flat_map(|entry| [entry.full_url(), entry.url()].into_iter().flatten().map(|name| (name, entry.kind())))
        .collect();
    let theirs = bundle.records().filter(|(_, entry, _)| entry.kind() == "Provenance" && !is_ours(entry));
    let with_author = theirs.filter(|(_, _, provenance)| objects(provenance, "agent").any(is_author));
    let told: HashSet<&str> = with_author
        .flat_map(|(_, _, provenance)| objects(provenance, "target"))
        .filter_map(|target| text(target, "reference"))
        .collect();
    let mut own = Own::new();
    for (i, entry, resource) in bundle.records() {
        if [entry.full_url(), entry.url()].into_iter().flatten().any(|name| told.contains(name)) {
            own.insert(i, Vec::new());
            continue;
        }
        // Their author is the whole message's.
        if matches!(entry.kind(), "Composition" | "MessageHeader" | "Provenance") {
            continue;
        }
        let mut agents = authors_in(resource, provider, &kinds);
        if entry.kind() == "DocumentReference" {
            agents.extend(named(resource, "authenticator", Role::Attester, provider, &kinds));
            agents.extend(named(resource, "custodian", Role::Custodian, provider, &kinds));
        }
        if agents.iter().any(|agent| agent.role == Role::Author) {
            own.insert(i, agents);
        }
    }
    own
}

fn is_author(agent: &Map) -> bool {
    let codings = objects(agent, "type").flat_map(|role| objects(role, "coding"));
    codings.filter_map(|coding| text(coding, "code")).any(|code| matches!(code, "author" | "AUT"))
}

fn authors_in(resource: &Map, provider: &Reference, kinds: &BTreeMap<&str, &str>) -> Vec<Agent> {
    let named = |element| named(resource, element, Role::Author, provider, kinds).collect::<Vec<_>>();
    ELEMENTS.iter().map(|element| named(element)).find(|agents| !agents.is_empty()).unwrap_or_default()
}

/// The agents that an element of `resource` names; in a back-bone element under `actor`.
fn named<'a>(
    resource: &'a Map,
    element: &'a str,
    role: Role,
    provider: &'a Reference,
    kinds: &'a BTreeMap<&str, &str>,
) -> impl Iterator<Item = Agent> + 'a {
    objects(resource, element).filter_map(move |value| {
        let who = reference(objects(value, "actor").next().unwrap_or(value))?;
        let stated = objects(value, "onBehalfOf").next().and_then(reference);
        let kind = match &who {
            Reference::Literal { reference, .. } => {
                kinds.get(reference.as_str()).copied().or_else(|| Some(reference.split_once('/')?.0))
            }
            Reference::Logical { kind, .. } | Reference::Named { kind, .. } => *kind,
            Reference::Unknown => None,
        };
        let stands_alone = matches!(kind, Some("Organization" | "Patient" | "RelatedPerson" | "CareTeam"));
        let on_behalf_of = stated.or_else(|| (!stands_alone).then(|| provider.clone()));
        Some(Agent { role, who, on_behalf_of })
    })
}

/// The name of a group's Provenance.
pub(super) fn name_of(n: usize) -> smol_str::SmolStr {
    if n == 0 { "source".into() } else { format_smolstr!("source/{n}") }
}

/// Who produced all that a hub passes on: one organisation if all results name the same, else unknown.
pub(super) fn producers(message: &Message, site: Site<'_>) -> Vec<Reference> {
    let producers = producers_of(message, site);
    if producers.len() == 1 { producers } else { vec![Reference::Unknown] }
}
