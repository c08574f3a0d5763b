//! What a message says of consents and identities, to be filed with what came of it. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use message::consent::arrival::{Arrival, Reading, arrivals};
use message::consent::by_entry::{identifier, normal};
use message::json::{Map, Value, json};
use message::{Body, Finding, FindingKind, MessageId, Provider, fhir, hl7v2};

use super::super::patient::{self, Identifier};
use super::super::process::{Hash, Recipe};
use crate::store::{Lane, NewConsent, Order, Record};

/// Merges and links of persons (HL7 v2.5.1 chapter 3): moves of accounts and visits are none.
const LINKS: [&str; 9] = ["A18", "A24", "A30", "A34", "A36", "A39", "A40", "A46", "A47"];
/// A person that was linked is two again.
const UNLINK: &str = "A37";

/// What a message says of consents and identities.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrived {
    /// Consents to file.
    pub(crate) consents: Vec<Filed>,
    /// Identifiers that are one person's.
    pub(crate) links: Vec<Vec<Lane>>,
    /// Identifiers that are two persons' after all.
    pub(crate) parts: Vec<(Vec<Lane>, Vec<Lane>)>,
}

/// A Consent to file.
#[derive(Clone, Debug)]
pub(crate) struct Filed {
    /// It, with the key that its versions have in common.
    pub(crate) consent: NewConsent,
    /// It takes back an earlier one: where there is none, what it takes back is not known.
    pub(crate) rescinds: bool,
}

/// Where the Consents stand whose patient nobody can tell: they are to be seen, and count for nobody.
pub(crate) fn unresolved(hash: &Hash) -> Lane {
    hash(b"consent/unresolved")
}

impl Arrived {
    /// True if it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.consents.is_empty() && self.links.is_empty() && self.parts.is_empty()
    }

    /// Whose consents or identities it changes.
    pub(crate) fn patients(&self) -> impl Iterator<Item = Lane> {
        let consents = self.consents.iter().flat_map(|filed| &filed.consent.subjects);
        let links = self.links.iter().flatten();
        let parts = self.parts.iter().flat_map(|(subjects, others)| subjects.iter().chain(others));
        consents.chain(links).chain(parts).copied()
    }

    /// The records of it, in one group with what came of the message.
    pub(crate) fn records(&self, message: MessageId, at: Timestamp) -> Vec<Record> {
        let (message, order) = (Some(message), Order::default());
        let consents =
            self.consents.iter().map(|filed| Record::Consent { message, at, order, consent: filed.consent.clone() });
        let links = self.links.iter().map(|subjects| Record::Linked { message, at, order, subjects: subjects.clone() });
        let parts = self.parts.iter().map(|(subjects, others)| Record::Parted {
            message,
            at,
            order,
            subjects: subjects.clone(),
            others: others.clone(),
        });
        // What is linked first finds what is filed then.
        links.chain(parts).chain(consents).collect()
    }
}

/// What `body`, as it came, says of consents and identities. What cannot be told whose it is goes into `findings`.
pub(crate) fn arrived(recipe: &Recipe, body: &Body, findings: &mut Vec<Finding>) -> Arrived {
    match body {
        Body::Hl7v2(message) => of_hl7v2(recipe, message),
        Body::Fhir(resource) => of_fhir(recipe, resource, findings),
    }
}

fn of_hl7v2(recipe: &Recipe, message: &hl7v2::Message) -> Arrived {
    let mut arrived = identities(recipe, message);
    let says = message.segments().any(|segment| matches!(segment.name(), "CON" | "ARV"));
    if !says {
        return arrived;
    }
    let provider = &recipe.context.provider;
    let system = |namespace: &str| {
        provider.systems.get(namespace).cloned().unwrap_or_else(|| format!("{}/{namespace}", provider.key))
    };
    let reading = Reading { zone: &recipe.context.time_zone, accept_verbal: false, system: &system };
    let subjects = lanes(&recipe.hash, &persons(message, provider).into_iter().flatten().collect());
    for arrival in arrivals(message, &reading) {
        let (consent, rescinds) = match arrival {
            Arrival::Consent(consent) => (consent, false),
            Arrival::Rescinded(consent) => (consent, true),
            // Evidence of an emergency elsewhere: nothing to decide by.
            Arrival::Bypassed => continue,
            // Nothing of privacy.
            Arrival::Treatment(_) => continue,
        };
        let key = key_of_hl7v2(&recipe.hash, provider, &consent);
        arrived.consents.push(filed(key, subjects.clone(), consent, rescinds));
    }
    arrived
}

/// The identifiers of each PID, in order.
fn persons(message: &hl7v2::Message, provider: &Provider) -> Vec<BTreeSet<Identifier>> {
    message.segments_named("PID").map(|pid| patient::of_segment(&pid, provider)).collect()
}

/// Merges, links and unlinks.
fn identities(recipe: &Recipe, message: &hl7v2::Message) -> Arrived {
    let mut arrived = Arrived::default();
    let event = message.segment("MSH").map(|msh| msh.field(9).component(2).value().trim().to_owned());
    let event = event.unwrap_or_default();
    let provider = &recipe.context.provider;
    if event == UNLINK {
        if let [one, other] = persons(message, provider).as_slice() {
            arrived.parts.push((lanes(&recipe.hash, one), lanes(&recipe.hash, other)));
        }
        return arrived;
    }
    if !LINKS.contains(&event.as_str()) {
        return arrived;
    }
    if event == "A24" {
        let all: BTreeSet<Identifier> = persons(message, provider).into_iter().flatten().collect();
        arrived.link(lanes(&recipe.hash, &all));
        return arrived;
    }
    // Each MRG belongs to the PID before it.
    let mut survivor = BTreeSet::new();
    for segment in message.segments() {
        match segment.name() {
            "PID" => survivor = patient::of_segment(&segment, provider),
            "MRG" => {
                let both: BTreeSet<Identifier> =
                    survivor.iter().cloned().chain(patient::of_segment(&segment, provider)).collect();
                arrived.link(lanes(&recipe.hash, &both));
            }
            _ => {}
        }
    }
    arrived
}

impl Arrived {
    fn link(&mut self, subjects: Vec<Lane>) {
        if subjects.len() > 1 {
            self.links.push(subjects);
        }
    }
}

fn of_fhir(recipe: &Recipe, resource: &Value, findings: &mut Vec<Finding>) -> Arrived {
    let (provider, hash) = (&recipe.context.provider, &recipe.hash);
    let mut arrived = Arrived::default();
    for (entry, person) in patient::of_entries(resource) {
        let own = own_identifiers(entry, person, provider);
        // The id on its sender's server and its identifiers are one person's.
        if patient::local(entry, person, provider).is_some() {
            arrived.link(lanes(hash, &own));
        }
        for other in items(person, "link").filter_map(|link| link.get("other")) {
            let others = resolve(recipe, resource, person, other).unwrap_or_default();
            arrived.link(lanes(hash, &own.iter().cloned().chain(others).collect()));
        }
    }
    for (at, entry, consent) in consents(resource) {
        let patient = consent.get("patient").or_else(|| consent.get("subject")).unwrap_or(&Value::Null);
        let subjects = match resolve(recipe, resource, consent, patient).filter(|found| !found.is_empty()) {
            Some(found) => lanes(hash, &found),
            None => {
                let text = "it cannot be told whose Consent this is: it is kept, and counts for nobody";
                findings.push(Finding {
                    kind: FindingKind::Noted,
                    location: format!("entry[{at}].resource.patient").into(),
                    text: text.into(),
                });
                vec![unresolved(hash)]
            }
        };
        let key = key_of_fhir(hash, provider, entry, consent);
        let deleted = fhir::get_str(entry, "request.method") == Some("DELETE");
        let mut consent = consent.clone();
        if deleted && let Some(members) = consent.as_object_mut() {
            members.insert("status", "entered-in-error");
        }
        arrived.consents.push(filed(key, subjects, consent, false));
    }
    arrived
}

/// Each Consent with its place and its entry.
fn consents(resource: &Value) -> impl Iterator<Item = (usize, &Value, &Value)> {
    let listed =
        items(resource, "entry").enumerate().filter_map(|(at, entry)| Some((at, entry, entry.get("resource")?)));
    let itself = std::iter::once((0, resource, resource));
    itself.chain(listed).filter(|(_, _, found)| fhir::get_str(found, "resourceType") == Some("Consent"))
}

fn filed(key: Lane, subjects: Vec<Lane>, mut consent: Value, rescinds: bool) -> Filed {
    if let Some(members) = consent.as_object_mut()
        && !members.contains_key("id")
    {
        let id: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        members.shift_insert(1, "id", id);
    }
    Filed { consent: NewConsent { key, subjects, body: Bytes::from(consent.to_vec()) }, rescinds }
}

/// All identifiers of one Patient.
fn own_identifiers(entry: &Value, person: &Value, provider: &Provider) -> BTreeSet<Identifier> {
    let mut own = patient::of_patient(person, provider);
    own.extend(patient::local(entry, person, provider));
    own
}

/// Whom `reference` means, that stands in `within`: a Patient of the Bundle or contained, an identifier, a Patient on its
/// sender's server or on that of another provider. `None` where that cannot be told.
fn resolve(recipe: &Recipe, bundle: &Value, within: &Value, reference: &Value) -> Option<BTreeSet<Identifier>> {
    let provider = &recipe.context.provider;
    let mut found = BTreeSet::new();
    if let Some(value) = reference.get("identifier").and_then(|id| fhir::get_str(id, "value")).filter(|v| !v.is_empty())
    {
        let system = fhir::get_str(reference, "identifier.system").filter(|system| !system.is_empty());
        found.insert(Identifier { authority: system.unwrap_or(&provider.key).to_owned(), value: value.to_owned() });
    }
    let Some(text) = fhir::get_str(reference, "reference").filter(|text| !text.is_empty()) else {
        return Some(found).filter(|found| !found.is_empty());
    };
    if let Some(inner) = text.strip_prefix('#') {
        let contained = items(within, "contained").find(|one| fhir::get_str(one, "id") == Some(inner));
        found.extend(contained.map(|person| patient::of_patient(person, provider)).unwrap_or_default());
        return Some(found).filter(|found| !found.is_empty());
    }
    let (bare, _) = text.split_once("/_history").unwrap_or((text, ""));
    let local = format!("Patient/{}", bare.rsplit('/').next().unwrap_or_default());
    let is_it = |entry: &Value, person: &Value| {
        fhir::get_str(entry, "fullUrl") == Some(bare)
            || (bare == local
                && fhir::get_str(person, "id").is_some_and(|id| local.strip_prefix("Patient/") == Some(id)))
    };
    if let Some((entry, person)) = patient::of_entries(bundle).find(|(entry, person)| is_it(entry, person)) {
        found.extend(own_identifiers(entry, person, provider));
        return Some(found);
    }
    if let Some((base, _)) = bare.split_once("Patient/").filter(|(base, _)| base.contains("://")) {
        let home = recipe.homes.iter().find(|(url, _)| url.trim_end_matches('/') == base.trim_end_matches('/'));
        let (_, key) = home?;
        found.insert(Identifier {
            authority: format!("{key}/Patient"),
            value: local.strip_prefix("Patient/").unwrap_or_default().to_owned(),
        });
        return Some(found);
    }
    if bare.starts_with("Patient") {
        found.extend(patient::referred(bare, provider));
    }
    Some(found).filter(|found| !found.is_empty())
}

/// What the versions of a Consent have in common: a business identifier is the same whoever passes it on, an id
/// is its sender's own.
fn key_of_fhir(hash: &Hash, provider: &Provider, entry: &Value, consent: &Value) -> Lane {
    let with_system = |found: &&Value| fhir::get_str(found, "system").is_some_and(|system| !system.is_empty());
    let business = items(consent, "identifier").filter(with_system).find_map(identifier);
    let put = fhir::get_str(entry, "request.url").filter(|_| fhir::get_str(entry, "request.method") != Some("POST"));
    let conditional = put.filter(|url| url.contains('?')).map(normal);
    let full_url = fhir::get_str(entry, "fullUrl").filter(|url| !url.starts_with("urn:uuid:"));
    let id = put.or_else(|| fhir::get_str(consent, "id")).or(full_url).map(normal);
    let text = match (business, conditional, id) {
        (Some(identifier), _, _) | (None, Some(identifier), _) => format!("consent/{identifier}"),
        (None, None, Some(id)) => format!("consent/{}/{}", provider.key, id.trim_start_matches("Consent/")),
        (None, None, None) => return hash(&[b"consent/".as_slice(), &consent.to_vec()].concat()),
    };
    hash(text.as_bytes())
}

/// As [`key_of_fhir`], for what CON and ARV say. CON-4 is the key; without it, what the same provider says next of the
/// same patient and subject takes the place of what it said before.
fn key_of_hl7v2(hash: &Hash, provider: &Provider, consent: &Value) -> Lane {
    let own = items(consent, "identifier").find_map(identifier);
    // The identifier of a set of restrictions is the same for all patients of a sender.
    let is_set = fhir::get_str(consent, "policy[0].uri").is_some();
    if let Some(own) = own.clone().filter(|_| !is_set) {
        return hash(format!("consent/{own}").as_bytes());
    }
    let patient = consent.get("patient").and_then(|patient| identifier(patient.get("identifier")?)).unwrap_or_default();
    let own = own.unwrap_or_default();
    let text = if is_set {
        format!("consent/{}/{patient}/{own}", provider.key)
    } else {
        format!("consent/{}/{patient}/{}", provider.key, about(consent))
    };
    hash(text.as_bytes())
}

/// What a Consent without an identifier is about, without what it says of it and when.
fn about(consent: &Value) -> Value {
    let mut kept = Map::new();
    let rule = fhir::get_str(consent, "policyRule.coding[0].code");
    let notice = rule == Some("NOPP");
    let computable = consent.get("provision").is_some() || (rule.is_some() && !notice);
    kept.insert("computable", Value::from(computable));
    if notice {
        // A notice takes the place of no refusal.
        kept.insert("notice", Value::from(true));
    }
    for key in ["securityLabel", "purpose", "data"] {
        if let Some(value) = consent.get("provision").and_then(|root| root.get(key)) {
            kept.insert(key, value.clone());
        }
    }
    Value::Object(kept)
}

/// A Consent that nobody can compute, in place of one that takes back what is not on file: what it might govern waits.
pub(crate) fn suspended(body: &[u8]) -> Option<Bytes> {
    let mut consent = fhir::read(body, &fhir::Limits::default()).ok()?;
    let members = consent.as_object_mut()?;
    members.insert("status", "active");
    members.shift_remove("policyRule");
    members.shift_remove("provision");
    let text = "It takes back a consent that is not on file: nothing of this patient goes until a person has looked.";
    members.insert(
        "text",
        json!({ "status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{text}</div>") }),
    );
    Some(Bytes::from(consent.to_vec()))
}

/// The keyed hashes of identifiers.
pub(crate) fn lanes(hash: &Hash, identifiers: &BTreeSet<Identifier>) -> Vec<Lane> {
    identifiers.iter().map(|identifier| hash(identifier.key().as_bytes())).collect()
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}
