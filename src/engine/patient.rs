//! Whose message it is: patient identifiers, for lanes and for search.

use std::collections::BTreeSet;

use message::consent::by_entry::normal;
use message::hl7v2::{self, Repetition, Segment};
use message::json::{Map, Value};
use message::{Provider, fhir};

/// The most lanes that one delivery stands in; a bundle of more patients is ordered by the first ones.
pub(super) const MOST_LANES: usize = 32;

/// A patient's identifier as its sender writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identifier {
    /// Who assigned it: a system URI where the provider's table knows it, else the namespace.
    pub(super) authority: String,
    /// The identifier itself: patient data.
    pub(super) value: String,
}

impl Identifier {
    /// One text for both, for keyed hashes.
    pub(super) fn key(&self) -> String {
        format!("{}|{}", self.authority, self.value)
    }
}

/// The identifiers of every patient in `message`: PID-3 (PID-2 where that is empty), and MRG-1 of
/// merges, so that a merge stands in the lanes of both patients.
pub(super) fn of_hl7v2(message: &hl7v2::Message, provider: &Provider) -> BTreeSet<Identifier> {
    message.segments().flat_map(|segment| of_segment(&segment, provider)).collect()
}

/// The identifiers of the patient that a PID or MRG names; none for another segment.
pub(super) fn of_segment(segment: &Segment<'_>, provider: &Provider) -> BTreeSet<Identifier> {
    let of = |field: usize| -> BTreeSet<Identifier> {
        segment.field(field).repetitions().filter_map(|cx| identifier(cx, provider)).collect()
    };
    match segment.name() {
        "PID" => Some(of(3)).filter(|listed| !listed.is_empty()).unwrap_or_else(|| of(2)),
        "MRG" => of(1),
        _ => BTreeSet::new(),
    }
}

/// A CX as an identifier; `None` where CX.1 is empty.
fn identifier(cx: Repetition<'_>, provider: &Provider) -> Option<Identifier> {
    let value = cx.component(1);
    if !value.is_valued() {
        return None;
    }
    let assigner = cx.component(4);
    let namespace = assigner.subcomponent(1).value();
    let universal = assigner.subcomponent(2).value();
    let known = provider.systems.get(namespace.as_ref()).cloned();
    let authority = known.unwrap_or_else(|| match (namespace.as_ref(), universal.as_ref()) {
        ("", "") => provider.key.to_string(),
        ("", universal) => system_of(universal),
        (namespace, _) => format!("{}/{namespace}", provider.key),
    });
    Some(Identifier { authority, value: value.value().trim().to_owned() })
}

/// A universal id (HD.2) as FHIR writes it: an OID as a URN.
fn system_of(universal: &str) -> String {
    let is_oid = universal.contains('.') && universal.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_oid { format!("urn:oid:{universal}") } else { universal.to_owned() }
}

/// Whether a message is about more than one patient: two PIDs that share no identifier. A merge is about one.
pub(super) fn are_several(message: &hl7v2::Message, provider: &Provider) -> bool {
    let mut each = message.segments_named("PID").map(|pid| of_segment(&pid, provider));
    let Some(first) = each.next() else { return false };
    each.any(|other| first.is_disjoint(&other))
}

/// Each Patient of a Bundle with its entry; a Patient itself as both.
pub(super) fn of_entries(resource: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let entries = resource.get("entry").and_then(Value::as_array);
    let listed = entries.into_iter().flatten().filter_map(|entry| Some((entry, entry.get("resource")?)));
    let itself = std::iter::once((resource, resource));
    itself.chain(listed).filter(|(_, found)| fhir::get_str(found, "resourceType") == Some("Patient"))
}

/// The id under which a Patient stands on its sender's FHIR server, unless it is the Bundle's own for it.
pub(super) fn local(entry: &Value, patient: &Value, provider: &Provider) -> Option<Identifier> {
    let request = fhir::get_str(entry, "request.url");
    let put = fhir::get_str(entry, "request.method") == Some("PUT");
    let full_url = fhir::get_str(entry, "fullUrl");
    let id = match request {
        Some(url) if put => url.strip_prefix("Patient/").map(str::to_owned),
        Some(_) => None,
        None if full_url.is_some_and(|url| url.starts_with("urn:")) => None,
        None => fhir::get_str(patient, "id").map(str::to_owned),
    };
    let id = id.filter(|id| !id.is_empty() && !id.contains(['?', '/']))?;
    Some(Identifier { authority: format!("{}/Patient", provider.key), value: id })
}

/// The identifiers of a Patient, or of all Patients of a Bundle.
pub(super) fn of_patient(patient: &Value, provider: &Provider) -> BTreeSet<Identifier> {
    let authority = |system: String| if system.is_empty() { provider.key.to_string() } else { system };
    let listed = fhir::patient_identifiers(patient).into_iter();
    listed.map(|identifier| Identifier { authority: authority(identifier.system), value: identifier.value }).collect()
}

/// The identifiers of every Patient in a resource or Bundle; where there is no Patient, the ids of
/// the Patients that it refers to.
pub(super) fn of_fhir(resource: &Value, provider: &Provider) -> BTreeSet<Identifier> {
    let mut found = of_patient(resource, provider);
    if found.is_empty() {
        Mentions::default().for_each(resource, &mut |mention| {
            found.extend(mention.literal.and_then(|reference| referred(reference, provider)));
            found.extend(mention.identifier(provider).filter(|_| mention.is_reference));
        });
    }
    found
}

/// Somebody or something that a resource names: what looks like a Reference.
#[derive(Clone, Copy)]
pub(super) struct Mention<'a> {
    /// The element that names them.
    element: &'a str,
    /// The literal reference.
    literal: Option<&'a str>,
    /// Of which type they are said to be.
    kind: Option<&'a str>,
    /// Their identifier.
    identifier: Option<&'a Value>,
    /// False for what has a literal reference and is no Reference otherwise.
    is_reference: bool,
}

impl<'a> Mention<'a> {
    /// What an object under `element` names, if it names anything; all members with parts go to `waiting`.
    fn of(element: &'a str, members: &'a Map, mentions: &mut Mentions<'a>) -> Option<Self> {
        let mut mention = Self { element, literal: None, kind: None, identifier: None, is_reference: false };
        let mut is_other = false;
        for (name, inner) in members {
            match name.len() {
                4 if name == "type" => mention.kind = inner.as_str(),
                4 if name == "code" => is_other = true,
                5 if name == "value" => is_other = true,
                7 if name == "display" => mention.is_reference = true,
                9 if name == "reference" => {
                    mention.is_reference = true;
                    mention.literal = inner.as_str();
                }
                10 if name == "identifier" => {
                    mention.is_reference = true;
                    mention.identifier = Some(inner);
                }
                12 if name == "resourceType" => is_other = true,
                _ => {}
            }
            match inner {
                Value::Object(inner) if mentions.is_mute(inner) => {}
                Value::Array(_) | Value::Object(_) => mentions.waiting.push((name.as_str(), inner)),
                _ => {}
            }
        }
        mention.is_reference &= !is_other;
        (mention.is_reference || mention.literal.is_some()).then_some(mention)
    }

    /// True for a Reference: what names somebody, by whatever is in it.
    pub(super) fn is_reference(&self) -> bool {
        self.is_reference
    }

    /// True for an element that says whose data it is, and for what is said to be a Patient.
    pub(super) fn is_patient(&self) -> bool {
        const WHOSE: [&str; 4] = ["subject", "patient", "beneficiary", "for"];
        match self.kind {
            Some(kind) => kind.rsplit('/').next() == Some("Patient"),
            None => WHOSE.contains(&self.element),
        }
    }

    /// The literal reference.
    pub(super) fn reference(&self) -> Option<&'a str> {
        self.literal.filter(|text| !text.is_empty())
    }

    /// The identifier of the Patient that is named by one.
    pub(super) fn identifier(&self, provider: &Provider) -> Option<Identifier> {
        let identifier = self.identifier?;
        let to_patient = self.reference().map_or_else(|| self.is_patient(), |reference| reference.contains("Patient"));
        let value =
            fhir::get_str(identifier, "value").map(str::trim).filter(|value| !value.is_empty() && to_patient)?;
        let system = fhir::get_str(identifier, "system");
        let authority = system.filter(|system| !system.is_empty()).unwrap_or(&provider.key).to_owned();
        Some(Identifier { authority, value: value.to_owned() })
    }
}

/// What resources name, found out in one pass each.
#[derive(Default)]
pub(super) struct Mentions<'a> {
    /// Elements to look at, each with the name that it stands under.
    waiting: Vec<(&'a str, &'a Value)>,
    /// What several resources share and names nobody.
    mute: Vec<&'a Map>,
}

impl<'a> Mentions<'a> {
    /// So much that names nobody is remembered.
    const MOST: usize = 4;

    /// Calls `visit` with all that a resource names.
    pub(super) fn for_each(&mut self, resource: &'a Value, visit: &mut dyn FnMut(Mention<'a>)) {
        // Most records of a message have their `meta` in common.
        if let Some(meta) = resource.get("meta")
            && let Value::Object(members) = meta
            && self.mute.len() < Self::MOST
            && members.is_shared_with(members)
            && !self.is_mute(members)
        {
            let mut named = false;
            self.walk("meta", meta, &mut |_| named = true);
            self.mute.extend((!named).then_some(members));
        }
        self.walk("", resource, visit);
    }

    fn walk(&mut self, element: &'a str, value: &'a Value, visit: &mut dyn FnMut(Mention<'a>)) {
        self.waiting.push((element, value));
        while let Some((element, value)) = self.waiting.pop() {
            match value {
                Value::Array(items) => self.waiting.extend(items.iter().map(|item| (element, item))),
                Value::Object(members) => Mention::of(element, members, self).into_iter().for_each(&mut *visit),
                _ => {}
            }
        }
    }

    fn is_mute(&self, members: &Map) -> bool {
        self.mute.iter().any(|mute| mute.is_shared_with(members))
    }
}

/// `Patient/123` or `Patient?identifier=system|value`.
pub(super) fn referred(reference: &str, provider: &Provider) -> Option<Identifier> {
    if reference.contains("Patient?") {
        let wanted = normal(reference);
        let (authority, value) = wanted.split_once('|').unwrap_or((&provider.key, &wanted));
        return Some(Identifier { authority: authority.to_owned(), value: value.to_owned() });
    }
    let (_, id) = reference.split_once("Patient/")?;
    let id = id.split('/').next()?;
    Some(Identifier { authority: format!("{}/Patient", provider.key), value: id.to_owned() })
}

/// What operators may search a message by: patient identifiers with and without their authority,
/// visit and account numbers, order and accession numbers.
pub(super) fn search_keys(message: &hl7v2::Message, provider: &Provider) -> BTreeSet<String> {
    const PLACES: [(&str, usize); 7] =
        [("PID", 18), ("PV1", 19), ("ORC", 2), ("ORC", 3), ("OBR", 2), ("OBR", 3), ("TXA", 12)];
    let mut keys: BTreeSet<String> =
        of_hl7v2(message, provider).into_iter().flat_map(|id| [id.key(), id.value]).collect();
    for segment in message.segments() {
        let fields = PLACES.iter().filter(|(name, _)| *name == segment.name());
        keys.extend(
            fields
                .map(|(_, field)| segment.field(*field).component(1))
                .filter(|c| c.is_valued())
                .map(|c| c.value().into_owned()),
        );
    }
    keys
}
