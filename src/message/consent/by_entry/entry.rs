//! What a decision needs to know of a record entry: a resource's codes, labels, dates, authors, references.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use crate::json::Value;

use super::directory::{Directory, Party};
use super::reference::{identifier, names, normal};
use super::span::Span;
use super::systems::canonical;
use super::terms::ACT_CODE;
use crate::consent::{ACT_REASON, CONFIDENTIALITY, Confidentiality};

/// The tag of MSH-11: which messages are for production, training or debugging.
const PROCESSING_ID: &str = "http://terminology.hl7.org/CodeSystem/v2-0103";

/// Integrity and assertion labels: they say what was done to data, never who may have it.
const OBSERVATION_VALUE: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

/// The extension that labels an element within a resource (FHIR DS4P 1.0).
const INLINE_LABEL: &str = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label";

/// A code and its system, by one name for each system and without a trailing slash. An empty code is one that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coded {
    /// The system's URI; empty where none is given.
    pub system: Box<str>,
    /// The code.
    pub code: Box<str>,
}

impl Coded {
    /// A code of `system`.
    #[must_use]
    pub fn new(system: &str, code: &str) -> Self {
        Self { system: canonical(system).into(), code: code.trim().into() }
    }

    /// A FHIR `Coding`; `None` if it has no code.
    #[must_use]
    pub fn of(coding: &Value) -> Option<Self> {
        let code = coding.get("code")?.as_str().filter(|code| !code.trim().is_empty())?;
        Some(Self::new(coding.get("system").and_then(Value::as_str).unwrap_or_default(), code))
    }
}

/// One entry, as a decision sees it.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// `Observation/1`, or the entry's `fullUrl` where the resource has no id.
    pub reference: Box<str>,
    /// Its resource type.
    pub kind: Box<str>,
    /// The types of the resources in it.
    pub contained: Vec<Box<str>>,
    /// `meta.profile`, without versions.
    pub profiles: Vec<Box<str>>,
    /// Media types of what it carries.
    pub media: Vec<Box<str>>,
    /// Its `category` and `type`.
    pub classes: Vec<Coded>,
    /// Every coding in it, except in `meta`.
    pub codes: BTreeSet<Coded>,
    /// The highest confidentiality it is labelled with; V where that is no level.
    pub confidentiality: Option<Confidentiality>,
    /// Its ActCode labels, and those of systems not known here as `SYSTEM|CODE`.
    pub labels: Vec<Box<str>>,
    /// Its labels of integrity and assertion: they say what was done to it, never who may have it.
    pub marks: Vec<Coded>,
    /// The purposes that its labels restrict it to.
    pub purposes: Vec<Box<str>>,
    /// True for test data.
    pub test: bool,
    /// When what it tells of was; `None` where it does not say.
    pub dated: Option<Span>,
    /// Who wrote it; `None` where nobody is named.
    pub authors: Option<Party>,
    /// What its single elements tell of: sensitivity labels of demographics.
    pub inner: Vec<Inner>,
    /// Every other name of it.
    pub names: Vec<Box<str>>,
    /// What it refers to.
    pub refers_to: BTreeSet<Box<str>>,
    /// What refers to it.
    pub referred_by: BTreeSet<Box<str>>,
}

/// A sensitivity label of single elements of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// The ActCode code.
    pub label: &'static str,
    /// True where the elements cannot be left out: the entry tells of nothing else, or cannot be looked into.
    pub whole: bool,
}

/// The entries of a message and what stands around them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// `fullUrl` and resource of each entry to decide, in order.
    pub resources: &'a [(Option<&'a str>, &'a Value)],
    /// Provenance of the entries, besides what is among them.
    pub provenance: &'a [Value],
    /// Resources that are not sent but refer to what is.
    pub context: &'a [Value],
}

impl Entry {
    /// Reads all entries of `sources`.
    #[must_use]
    pub fn read(sources: Sources<'_>, directory: &Directory) -> Vec<Self> {
        let mut aliases: BTreeMap<&str, Box<str>> = BTreeMap::new();
        let mut entries: Vec<Self> = Vec::with_capacity(sources.resources.len());
        for (at, (full_url, resource)) in sources.resources.iter().enumerate() {
            let reference = own_reference(*full_url, resource, at);
            if let Some(url) = full_url {
                aliases.insert(*url, reference.clone());
            }
            entries.push(Self::of(reference, *full_url, resource));
        }
        let alias = |name: Box<str>| aliases.get(&*name).cloned().unwrap_or(name);
        let among = sources.resources.iter().map(|(_, resource)| *resource);
        let mut authors: BTreeMap<Box<str>, Vec<Stated>> = BTreeMap::new();
        for provenance in among.filter(|r| kind_of(r) == "Provenance").chain(sources.provenance) {
            for target in list(provenance, "target").flat_map(names).map(alias) {
                authors.entry(target).or_default().extend(of_provenance(provenance));
            }
        }
        for (entry, (_, resource)) in entries.iter_mut().zip(sources.resources) {
            let by_any_name = std::iter::once(&entry.reference).chain(&entry.names);
            let stated: Vec<Stated> = by_any_name.filter_map(|name| authors.get(name)).flatten().cloned().collect();
            let stated = if stated.is_empty() { of_elements(resource) } else { stated };
            entry.authors = party(stated, directory);
            entry.refers_to = references_in(resource).into_iter().map(alias).collect();
        }
        let around = || sources.context.iter().chain(sources.provenance).enumerate();
        let outside = around().map(|(at, resource)| {
            (own_reference(None, resource, usize::MAX - at), references_in(resource).into_iter().map(alias).collect())
        });
        let outside: Vec<(Box<str>, BTreeSet<Box<str>>)> = outside.collect();
        let arrows = referred_by(&entries, &outside);
        entries.iter_mut().zip(arrows).for_each(|(entry, by)| entry.referred_by = by);
        let identities = Identities::of(&entries, around());
        for entry in &mut entries {
            identities.widen(&mut entry.refers_to);
            identities.widen(&mut entry.referred_by);
        }
        entries
    }

    fn of(reference: Box<str>, full_url: Option<&str>, resource: &Value) -> Self {
        let mut entry = Self { reference, kind: kind_of(resource).into(), ..Self::default() };
        let meta = resource.get("meta");
        entry.profiles = meta.map(|meta| list(meta, "profile")).into_iter().flatten().filter_map(profile).collect();
        list(resource, "category").chain(list(resource, "type")).for_each(|concept| codes(concept, &mut entry.classes));
        entry.gather(resource);
        // What a document says of itself.
        list(resource, "securityLabel").flat_map(|label| list(label, "coding")).for_each(|c| entry.take_label(c));
        if let Some(level) =
            resource.get("confidentiality").and_then(Value::as_str).filter(|_| &*entry.kind == "Composition")
        {
            entry.take_confidentiality(level);
        }
        entry.dated = dated(resource);
        let url = full_url.map(Box::from);
        let business = list(resource, "identifier").filter_map(identifier);
        entry.names = url.into_iter().chain(business).collect();
        entry
    }

    /// Every coding, media type and label within `resource`, also in what it contains.
    fn gather(&mut self, resource: &Value) {
        let mut waiting = vec![resource];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Array(items) => waiting.extend(items.iter().filter(|item| has_parts(item))),
                Value::Object(elements) => {
                    let (mut is_coded, mut is_resource, mut is_label) = (false, false, false);
                    let mut meta = None;
                    // In one pass: there are many elements, and each has few members.
                    for (key, inner) in elements.iter() {
                        match key.as_str() {
                            "code" => is_coded = inner.as_str().is_some(),
                            "contentType" => {
                                inner.as_str().into_iter().for_each(|media| push(&mut self.media, media.into()))
                            }
                            "url" => is_label = inner.as_str() == Some(INLINE_LABEL),
                            "resourceType" => is_resource = true,
                            "meta" => {
                                meta = Some(inner);
                                continue;
                            }
                            _ => {}
                        }
                        if has_parts(inner) {
                            waiting.push(inner);
                        }
                    }
                    if is_coded {
                        self.codes.extend(Coded::of(value));
                    }
                    if is_label {
                        elements.get("valueCoding").into_iter().for_each(|label| self.take_label(label));
                    }
                    if is_resource && !std::ptr::eq(value, resource) {
                        push(&mut self.contained, kind_of(value).into());
                    }
                    match meta {
                        Some(meta) if is_resource => self.take_labels(meta),
                        Some(meta) => waiting.push(meta),
                        None => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn take_labels(&mut self, meta: &Value) {
        list(meta, "security").for_each(|label| self.take_label(label));
        let tags = list(meta, "tag").filter_map(Coded::of);
        self.test |= tags.filter(|tag| &*tag.system == PROCESSING_ID).any(|tag| !tag.code.eq_ignore_ascii_case("P"));
    }

    fn take_label(&mut self, label: &Value) {
        let Some(label) = Coded::of(label) else {
            // A label that cannot be read may be any.
            self.confidentiality = Some(Confidentiality::V);
            return;
        };
        let Coded { system, code } = label.clone();
        match &*system {
            CONFIDENTIALITY => self.take_confidentiality(&code),
            ACT_REASON if &*code == "HTEST" => self.test = true,
            ACT_REASON => push(&mut self.purposes, code),
            ACT_CODE => push(&mut self.labels, code),
            OBSERVATION_VALUE if self.marks.contains(&label) => {}
            OBSERVATION_VALUE => self.marks.push(label),
            // Without a system it may be what it looks like, and may be something else.
            "" => {
                if Confidentiality::from_code(&code).is_some() {
                    self.take_confidentiality(&code);
                }
                push(&mut self.labels, format!("|{code}").into());
                push(&mut self.labels, code);
            }
            _ => push(&mut self.labels, format!("{system}|{code}").into()),
        }
    }

    fn take_confidentiality(&mut self, code: &str) {
        let level = Confidentiality::from_code(code).unwrap_or(Confidentiality::V);
        self.confidentiality = self.confidentiality.max(Some(level));
    }
}

/// What refers to each of `entries`, by any of its names: among themselves, and from `outside`, which has the references of
/// each resource there by its own.
fn referred_by(entries: &[Entry], outside: &[(Box<str>, BTreeSet<Box<str>>)]) -> Vec<BTreeSet<Box<str>>> {
    let inside = entries.iter().map(|entry| (&*entry.reference, &entry.refers_to));
    let mut by: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (from, targets) in inside.chain(outside.iter().map(|(from, targets)| (&**from, targets))) {
        for target in targets.iter().filter(|target| ***target != *from) {
            by.entry(target).or_default().insert(from);
        }
    }
    let names = |entry: &Entry| {
        std::iter::once(&entry.reference)
            .chain(&entry.names)
            .filter_map(|name| by.get(&**name))
            .flatten()
            .map(|from| Box::from(*from))
            .collect()
    };
    entries.iter().map(names).collect()
}

/// All names of each resource on hand: a Consent may name an encounter by its number, and data by its id.
#[derive(Default)]
struct Identities {
    names: Vec<Vec<Box<str>>>,
    /// Which resource goes by a name; none where several do.
    owners: HashMap<Box<str>, Option<usize>>,
}

impl Identities {
    fn of<'a>(entries: &[Entry], around: impl Iterator<Item = (usize, &'a Value)>) -> Self {
        let mut identities = Self::default();
        for entry in entries.iter().filter(|entry| !entry.names.is_empty()) {
            identities.add(std::iter::once(&entry.reference).chain(&entry.names).cloned().collect());
        }
        for (at, resource) in around {
            let business = list(resource, "identifier").filter_map(identifier);
            identities.add(std::iter::once(own_reference(None, resource, usize::MAX - at)).chain(business).collect());
        }
        identities
    }

    fn add(&mut self, names: Vec<Box<str>>) {
        let at = self.names.len();
        for name in &names {
            self.owners.entry(name.clone()).and_modify(|owner| *owner = None).or_insert(Some(at));
        }
        self.names.push(names);
    }

    /// Adds to `references` whatever else their targets go by.
    fn widen(&self, references: &mut BTreeSet<Box<str>>) {
        let owners = references.iter().filter_map(|name| *self.owners.get(name)?);
        let more: Vec<Box<str>> = owners.filter_map(|at| self.names.get(at)).flatten().cloned().collect();
        references.extend(more);
    }
}

/// True for what may have elements in it.
fn has_parts(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

fn push(to: &mut Vec<Box<str>>, item: Box<str>) {
    if !to.contains(&item) {
        to.push(item);
    }
}

/// `Observation/1`; the `fullUrl` or the place where there is no id.
fn own_reference(full_url: Option<&str>, resource: &Value, at: usize) -> Box<str> {
    match (resource.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()), full_url) {
        (Some(id), _) => format!("{}/{id}", kind_of(resource)).into(),
        (None, Some(url)) => url.into(),
        (None, None) => format!("{}/#{at}", kind_of(resource)).into(),
    }
}

fn kind_of(resource: &Value) -> &str {
    resource.get("resourceType").and_then(Value::as_str).unwrap_or_default()
}

/// The items at `key`: of an array, or the one that stands there.
fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let found = value.get(key);
    let many = found.and_then(Value::as_array);
    let one = found.filter(|found| !found.is_array() && !found.is_null());
    many.into_iter().flatten().chain(one)
}

fn profile(value: &Value) -> Option<Box<str>> {
    value.as_str().map(|url| url.split('|').next().unwrap_or_default().into())
}

/// The codings of a CodeableConcept, or the Coding itself.
fn codes(concept: &Value, to: &mut Vec<Coded>) {
    to.extend(list(concept, "coding").filter_map(Coded::of));
    to.extend(Coded::of(concept));
}

fn references_in(resource: &Value) -> Vec<Box<str>> {
    let mut found = Vec::new();
    let mut waiting = vec![resource];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(elements) => {
                if elements.contains_key("reference") || elements.contains_key("identifier") {
                    found.extend(names(value).into_iter().filter(|name| !name.is_empty()));
                }
                // What a document is made of: its bytes may be an entry of their own.
                if elements.contains_key("contentType") {
                    found.extend(
                        elements.get("url").and_then(Value::as_str).map(normal).filter(|name| !name.is_empty()),
                    );
                }
                waiting.extend(elements.values());
            }
            _ => {}
        }
    }
    found
}

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
fn dated(resource: &Value) -> Option<Span> {
    let elements = resource.as_object()?;
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
        None => resource.get("collection").and_then(dated),
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

/// Someone named as author.
#[derive(Clone, Debug)]
struct Stated {
    names: Vec<Box<str>>,
    /// False where it is only likely that they are the author.
    sure: bool,
}

/// The authors that a Provenance names, each with the organisation they act for.
fn of_provenance(provenance: &Value) -> Vec<Stated> {
    let stated = list(provenance, "agent").filter_map(|agent| {
        let roles: Vec<Coded> =
            list(agent, "type").flat_map(|role| list(role, "coding")).filter_map(Coded::of).collect();
        let sure = roles.iter().any(|role| matches!(&*role.code, "author" | "AUT"));
        if !sure && !roles.is_empty() {
            return None;
        }
        let who = ["who", "onBehalfOf"].iter().filter_map(|key| agent.get(*key)).flat_map(names).collect();
        Some(Stated { names: who, sure })
    });
    stated.collect()
}

/// Elements that name an author where no Provenance does, the nearest to that first.
const AUTHORS: &[&str] =
    &["author", "performer", "recorder", "asserter", "requester", "informationSource", "provider", "sender"];

/// The authors that a resource's own elements name: the first of [`AUTHORS`] for certain, the rest perhaps.
fn of_elements(resource: &Value) -> Vec<Stated> {
    let mut stated = Vec::new();
    let present = AUTHORS.iter().filter(|element| resource.get(**element).is_some());
    for (rank, element) in present.enumerate() {
        for value in list(resource, element) {
            let reference = value.get("actor").unwrap_or(value);
            stated.push(Stated { names: names(reference), sure: rank == 0 });
        }
    }
    stated
}

/// All authors as one party; `None` where nobody is named.
fn party(stated: Vec<Stated>, directory: &Directory) -> Option<Party> {
    let mut all: Option<Party> = None;
    for Stated { names, sure } in stated {
        let party = all.get_or_insert_default();
        if names.iter().all(|name| name.is_empty()) {
            party.obscure = true;
            continue;
        }
        let one = directory.party(&names);
        one.own.into_iter().filter(|_| sure).for_each(|name| push(&mut party.own, name));
        let certain = if sure { &mut party.sure } else { &mut party.maybe };
        one.sure.into_iter().for_each(|name| push(certain, name));
        one.maybe.into_iter().for_each(|name| push(&mut party.maybe, name));
    }
    all
}
