//! What a decision needs to know of a record entry: a resource's codes, labels, dates, authors, references.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::json::{Map, Text, Value};

use super::authors::Authors;
use super::dated::Dates;
use super::directory::{Directory, Party};
use super::links::{Links, references_in};
use super::lists::Lists;
use super::reading::{Known, Meta, Reading, has_parts};
use super::reference::Names;
use super::span::Span;
use super::systems::{canonical, canonical_text};
use super::terms::ACT_CODE;
use crate::consent::{ACT_REASON, CONFIDENTIALITY, Confidentiality, OBSERVATION_VALUE};

/// The tag of MSH-11: which messages are for production, training or debugging.
const PROCESSING_ID: &str = "http://terminology.hl7.org/CodeSystem/v2-0103";

/// The extension that labels an element within a resource (FHIR DS4P 1.0).
const INLINE_LABEL: &str = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label";

/// So many codings are looked through; more are sorted.
const FEW: usize = 16;

/// A code and its system, by one name for each system and without a trailing slash. An empty code is one that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coded {
    /// The system's URI; empty where none is given.
    pub system: Text,
    /// The code.
    pub code: Text,
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
        Self::with(coding.get("system"), coding.get("code"))
    }

    /// The `Coding` with these elements; `None` if it has no code.
    fn with(system: Option<&Value>, code: Option<&Value>) -> Option<Self> {
        let Some(Value::String(code)) = code else { return None };
        let bare = code.trim();
        if bare.is_empty() {
            return None;
        }
        let code = if bare.len() == code.len() { code.clone() } else { bare.into() };
        let system = if let Some(Value::String(system)) = system { canonical_text(system) } else { Text::default() };
        Some(Self { system, code })
    }
}

/// One entry, as a decision sees it.
#[derive(Clone, Default)]
pub struct Entry {
    /// `Observation/1`, or the entry's `fullUrl` where the resource has no id.
    pub reference: Text,
    /// Its resource type.
    pub kind: Text,
    /// The types of the resources in it.
    pub contained: Vec<Text>,
    /// `meta.profile`, without versions.
    pub profiles: Vec<Text>,
    /// Media types of what it carries.
    pub media: Vec<Text>,
    /// Its `category` and `type`.
    pub classes: Vec<Coded>,
    /// The highest confidentiality it is labelled with; V where that is no level.
    pub confidentiality: Option<Confidentiality>,
    /// Its ActCode labels, and those of systems not known here as `SYSTEM|CODE`.
    pub labels: Vec<Text>,
    /// True for test data.
    pub test: bool,
    /// True with bytes of something else in it, which may tell anything.
    pub carries_bytes: bool,
    /// What its single elements tell of: sensitivity labels of demographics.
    pub inner: Vec<Inner>,
    /// Most have them in common with others.
    tags: Option<Arc<Tags>>,
    /// Its number among those that were read with it.
    number: usize,
    /// What they say of each other.
    among: Arc<OnceLock<Among>>,
}

/// Labels that say what may be done and what was done.
#[derive(Clone, Default)]
struct Tags {
    purposes: Vec<Text>,
    marks: Vec<Coded>,
}

/// What the entries of a message say of each other, when and by whom. It stands as it was said until it is asked for.
struct Among {
    codes: Lists<Coded>,
    links: Links,
    authors: Authors,
    dates: Dates,
    directory: Arc<Directory>,
}

/// Says what it is and where it stands: a name may be an identifier, which is patient data.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} {})", self.number, self.kind)
    }
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
    pub resources: &'a [(Option<&'a Text>, &'a Value)],
    /// Provenance of the entries, besides what is among them.
    pub provenance: &'a [Value],
    /// Resources that are not sent but refer to what is.
    pub context: &'a [Value],
}

impl Entry {
    /// Reads all entries of `sources`.
    #[must_use]
    pub fn read(sources: Sources<'_>, directory: &Arc<Directory>) -> Vec<Self> {
        let count = sources.resources.len();
        let (mut links, mut authors, mut dates) = (Links::with_capacity(count), Authors::default(), Dates::default());
        let among = Arc::new(OnceLock::new());
        let mut entries: Vec<Self> = Vec::with_capacity(count);
        let mut reading = Reading::default();
        for (number, (full_url, resource)) in sources.resources.iter().enumerate() {
            let reference = own_reference(*full_url, resource, number, &mut reading.name);
            let mut entry = Self::new(reference, number, &among);
            if let Some(elements) = resource.as_object() {
                entry.read_elements(elements);
                authors.add_elements(number, elements);
                dates.add(number, elements);
            }
            entry.gather(resource, links.refers_mut(), &mut reading);
            reading.codes.sort_last(FEW);
            reading.codes.end();
            if entry.kind == "Provenance" {
                authors.add(resource);
            }
            links.add_entry(&entry.reference, *full_url, resource);
            entries.push(entry);
        }
        for (at, resource) in sources.context.iter().chain(sources.provenance).enumerate() {
            references_in(resource, links.refers_mut());
            links.add_around(&own_reference(None, resource, usize::MAX - at, &mut reading.name), resource);
        }
        sources.provenance.iter().for_each(|provenance| authors.add(provenance));
        let codes = reading.codes;
        let told = among.set(Among { codes, links, authors, dates, directory: Arc::clone(directory) });
        debug_assert!(told.is_ok(), "it is told once");
        entries
    }

    fn new(reference: Text, number: usize, among: &Arc<OnceLock<Among>>) -> Self {
        Self {
            reference,
            kind: Text::default(),
            contained: Vec::new(),
            profiles: Vec::new(),
            media: Vec::new(),
            classes: Vec::new(),
            confidentiality: None,
            labels: Vec::new(),
            test: false,
            carries_bytes: false,
            inner: Vec::new(),
            tags: None,
            number,
            among: Arc::clone(among),
        }
    }

    fn links(&self) -> Option<&Links> {
        self.among.get().map(|among| &among.links)
    }

    /// Every coding in it, except in `meta`; where they are many each once, in order.
    #[must_use]
    pub fn codes(&self) -> &[Coded] {
        self.among.get().map(|among| among.codes.get(self.number)).unwrap_or_default()
    }

    /// The purposes that its labels restrict it to.
    #[must_use]
    pub fn purposes(&self) -> &[Text] {
        self.tags.as_ref().map(|tags| tags.purposes.as_slice()).unwrap_or_default()
    }

    /// Its labels of integrity and assertion: they say what was done to it, never who may have it.
    #[must_use]
    pub fn marks(&self) -> &[Coded] {
        self.tags.as_ref().map(|tags| tags.marks.as_slice()).unwrap_or_default()
    }

    /// Who wrote it; `None` where nobody is named.
    #[must_use]
    pub fn authors(&self) -> Option<&Party> {
        let among = self.among.get()?;
        among.authors.of(self.number, &among.links, &among.directory).map(|party| &**party)
    }

    /// When what it tells of was; `None` where it does not say.
    #[must_use]
    pub fn dated(&self) -> Option<Span> {
        self.among.get()?.dates.of(self.number)
    }

    /// The places, among the entries that were read with it, of what it refers to.
    pub fn targets(&self) -> impl Iterator<Item = usize> {
        self.links().into_iter().flat_map(|links| links.targets(self.number)).filter(|at| *at != self.number)
    }

    /// True if `code` is among its codings.
    #[must_use]
    pub fn has_code(&self, code: &Coded) -> bool {
        let codes = self.codes();
        if codes.len() > FEW { codes.binary_search(code).is_ok() } else { codes.contains(code) }
    }

    /// True if it goes by `name`.
    pub(super) fn is_called(&self, name: &Text) -> bool {
        *name == self.reference || self.links().is_some_and(|links| links.names_of(self.number).contains(name))
    }

    /// True if it refers to what goes by `name`.
    pub(super) fn refers_to(&self, name: &Text) -> bool {
        self.links().is_some_and(|links| links.refers(self.number, name))
    }

    /// True if what goes by `name` refers to it.
    pub(super) fn is_referred_to_by(&self, name: &Text) -> bool {
        self.links().is_some_and(|links| links.is_referred(self.number, name))
    }

    /// What stands at places of its own.
    fn read_elements(&mut self, elements: &Map) {
        for (name, value) in elements {
            // Most have another length.
            match (name.len(), value) {
                (12, Value::String(kind)) if name == "resourceType" => self.kind = kind.clone(),
                (4, _) if name == "meta" => self.profiles.extend(list(value, "profile").filter_map(profile)),
                (4, _) if name == "type" => items(value).for_each(|concept| codes(concept, &mut self.classes)),
                (8, _) if name == "category" => items(value).for_each(|concept| codes(concept, &mut self.classes)),
                // What a document says of itself.
                (13, _) if name == "securityLabel" => {
                    items(value).flat_map(|label| list(label, "coding")).for_each(|label| self.take_label(label));
                }
                (15, Value::String(level)) if name == "confidentiality" && is_composition(elements) => {
                    self.take_confidentiality(level);
                }
                _ => {}
            }
        }
    }

    /// Every coding, media type and label within `resource`, also in what it contains; and what it refers to. In one pass:
    /// there are many elements, and each has few members.
    fn gather<'a>(&mut self, resource: &'a Value, refers: &mut Names, reading: &mut Reading<'a>) {
        reading.waiting.push(resource);
        while let Some(value) = reading.waiting.pop() {
            let elements = match value {
                Value::Array(items) => {
                    reading.waiting.extend(items.iter().filter(|item| has_parts(item)));
                    continue;
                }
                Value::Object(elements) => elements,
                _ => continue,
            };
            let known = Known::of(elements, &mut reading.waiting);
            reading.codes.items.extend(Coded::with(known.system, known.code));
            known.refer(refers);
            if let Some(media) = known.media {
                self.carries_bytes |= known.url.is_some() || elements.contains_key("data");
                if let Value::String(media) = media {
                    push(&mut self.media, media.clone());
                }
            }
            if known.url.is_some_and(|url| *url == INLINE_LABEL) {
                elements.get("valueCoding").into_iter().for_each(|label| self.take_label(label));
            }
            if known.is_resource && !std::ptr::eq(value, resource) {
                push(&mut self.contained, text_of(value, "resourceType"));
            }
            match known.meta {
                Some(meta) if known.is_resource => reading.meta(meta, |told| self.take_meta(told, refers)),
                Some(meta) => reading.waiting.push(meta),
                None => {}
            }
        }
    }

    /// What the `meta` of a resource says.
    fn take_meta(&mut self, told: &Meta, refers: &mut Names) {
        told.refers.list(0).for_each(|name| refers.push(name));
        let said = &told.said;
        self.test |= said.test;
        self.confidentiality = self.confidentiality.max(said.confidentiality);
        said.labels.iter().for_each(|code| push(&mut self.labels, code.clone()));
        match (&mut self.tags, &said.tags) {
            (_, None) => {}
            (own @ None, Some(said)) => *own = Some(Arc::clone(said)),
            (Some(own), Some(said)) => {
                let own = Arc::make_mut(own);
                said.purposes.iter().for_each(|code| push(&mut own.purposes, code.clone()));
                said.marks.iter().for_each(|mark| push(&mut own.marks, mark.clone()));
            }
        }
    }

    pub(super) fn take_labels(&mut self, meta: &Value) {
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
            ACT_REASON => push(&mut self.tags_mut().purposes, code),
            ACT_CODE => push(&mut self.labels, code),
            OBSERVATION_VALUE => push(&mut self.tags_mut().marks, label),
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

    fn tags_mut(&mut self) -> &mut Tags {
        Arc::make_mut(self.tags.get_or_insert_default())
    }

    fn take_confidentiality(&mut self, code: &str) {
        let level = Confidentiality::from_code(code).unwrap_or(Confidentiality::V);
        self.confidentiality = self.confidentiality.max(Some(level));
    }
}

pub(super) fn push<T: PartialEq>(to: &mut Vec<T>, item: T) {
    if !to.contains(&item) {
        to.push(item);
    }
}

/// `Observation/1`; the `fullUrl` or the place where there is no id.
fn own_reference(full_url: Option<&Text>, resource: &Value, at: usize, name: &mut String) -> Text {
    match (resource.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()), full_url) {
        (Some(id), _) => {
            name.clear();
            [kind_of(resource), "/", id].iter().for_each(|part| name.push_str(part));
            Text::new(&*name)
        }
        (None, Some(url)) => url.clone(),
        (None, None) => format!("{}/#{at}", kind_of(resource)).into(),
    }
}

fn text_of(value: &Value, key: &str) -> Text {
    if let Some(Value::String(text)) = value.get(key) { text.clone() } else { Text::default() }
}

fn is_composition(elements: &Map) -> bool {
    elements.get("resourceType").and_then(Value::as_str) == Some("Composition")
}

fn kind_of(resource: &Value) -> &str {
    resource.get("resourceType").and_then(Value::as_str).unwrap_or_default()
}

/// The items at `key`: of an array, or the one that stands there.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).into_iter().flat_map(items)
}

/// The items of an array, or the one that is none.
pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    let one = Some(value).filter(|value| !value.is_array() && !value.is_null());
    value.as_array().into_iter().flatten().chain(one)
}

fn profile(value: &Value) -> Option<Text> {
    value.as_str().map(|url| url.split('|').next().unwrap_or_default().into())
}

/// The codings of a CodeableConcept, or the Coding itself.
fn codes(concept: &Value, to: &mut Vec<Coded>) {
    to.extend(list(concept, "coding").filter_map(Coded::of));
    to.extend(Coded::of(concept));
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[track_caller]
    fn check(codings: usize) {
        // Backwards, and each twice.
        let codes: Vec<Value> = (0..2 * codings).rev().map(|n| json!({ "code": format!("c{}", n / 2) })).collect();
        let resource = json!({ "resourceType": "Observation", "code": { "coding": codes } });
        let sources = Sources { resources: &[(None, &resource)], ..Sources::default() };
        let entries = Entry::read(sources, &Arc::default());
        assert!((0..codings).all(|n| entries[0].has_code(&Coded::new("", &format!("c{n}")))));
        assert!(!entries[0].has_code(&Coded::new("", &format!("c{codings}"))));
    }

    #[test]
    fn finds_a_code_among_few_and_among_many() {
        [1, FEW / 2, FEW / 2 + 1, FEW, 100 * FEW].into_iter().for_each(check);
    }

    #[test]
    fn what_is_printed_of_it_tells_no_name() {
        let url = "Patient?identifier=urn:x|77";
        let resource = json!({ "resourceType": "Patient", "identifier": [{ "value": "77" }] });
        let sources = Sources { resources: &[(Some(&Text::from(url)), &resource)], ..Sources::default() };
        assert_eq!(format!("{:?}", Entry::read(sources, &Arc::default())), "[Entry(0 Patient)]");
    }
}
