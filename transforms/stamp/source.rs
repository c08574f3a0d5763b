//! What a message says of where it comes from: the sending system, who wrote it, and when.

use jiff::tz::TimeZone;
use message::Original;
use message::hl7v2::timestamp::Dtm;
use message::hl7v2::{Message, Repetition, Segment};
use message::json::{Map, Text};
use message::provenance::{Agent, Reference, Role};

use super::agents::{Hd, Site};
use super::authors::{author, producers};
use super::bundle::{Bundle, Kind, objects, text};
use super::meta::{PROCESSING_ID, PROCESSING_MODE};
use super::uri::encode;
use crate::universal;

/// What a message says of where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// `meta.source`: the sending system's URI, `#`, and the message's key.
    pub(super) uri: Text,
    /// When it was made, a FHIR dateTime.
    pub(super) occurred: Option<Text>,
    /// `meta.tag`: system and code.
    pub(super) tags: Vec<(&'static str, Text)>,
    /// Who wrote what no record says otherwise of.
    pub(super) authors: Vec<Agent>,
    /// Who sent it.
    pub(super) transmitter: Agent,
    /// Who else took part in the whole: who entered it, who signed it.
    pub(super) others: Vec<Agent>,
    /// Who keeps it, where that is said; else the provider does.
    pub(super) custodian: Option<Reference>,
    /// Which profiles it says that it follows: URIs (MSH-21).
    pub(super) policy: Vec<Text>,
    /// Why it was sent: system and code.
    pub(super) reasons: Vec<(Text, Text)>,
}

impl Source {
    /// From MSH (v2-to-FHIR, MSH[Provenance-Source]); organisations as the conversion wrote them, if it
    /// did. `provider` stands for whom MSH does not name.
    pub(super) fn of_hl7v2(
        message: &Message,
        original: &Original,
        bundle: &Bundle,
        site: Site<'_>,
        zone: &TimeZone,
        provider: &Reference,
    ) -> Self {
        let msh = message.segment("MSH").unwrap_or_else(|| Segment::new("", message.delimiters()));
        let (application, facility) = (Hd::of_field(&msh.field(3)), Hd::of_field(&msh.field(4)));
        let system = system_of(&application, &facility, site);
        let header = bundle.first("MessageHeader").filter(|_| bundle.kind == Kind::Transaction);
        let written = |key: &str| header.and_then(|header| reference_at(header, key));
        let responsible = site.organisation(&msh.field(22).repetition(1));
        let responsible = responsible.map(|organisation| written("responsible").unwrap_or(organisation));
        let sender = site.facility(&facility).map(|facility| written("sender").unwrap_or(facility));
        let sender = sender.unwrap_or_else(|| provider.clone());
        let behind = responsible.unwrap_or_else(|| sender.clone());
        let authors = if site.provider.hub { producers(message, site) } else { vec![behind.clone()] };
        let transmitter = Agent {
            role: Role::Transmitter,
            who: Reference::uri("Device", system.clone(), display(&application, &facility)),
            on_behalf_of: Some(if site.provider.hub { sender } else { behind }),
        };
        let tags = [(PROCESSING_ID, value(&msh, 11, 1)), (PROCESSING_MODE, value(&msh, 11, 2))];
        Self {
            uri: format!("{system}#{}", key_of(original)).into(),
            occurred: Dtm::parse(&value(&msh, 7, 1)).ok().map(|time| time.to_fhir_date_time(zone).into()),
            tags: tags.into_iter().filter(|(_, code)| !code.is_empty()).collect(),
            authors: authors.into_iter().map(author).collect(),
            transmitter,
            others: Vec::new(),
            custodian: None,
            policy: msh.field(21).repetitions().filter_map(|profile| profile_of(&profile)).collect(),
            reasons: Vec::new(),
        }
    }

    /// From a Bundle's own words: MessageHeader, Composition, `Bundle.timestamp`.
    pub(super) fn of_fhir(bundle: &Bundle, original: &Original, site: Site<'_>, provider: &Reference) -> Self {
        let header = bundle.first("MessageHeader");
        let endpoint = header.and_then(|header| objects(header, "source").next());
        let system =
            endpoint.and_then(|source| text(source, "endpoint")).filter(|uri| uri.contains(':') && !uri.contains('#'));
        let system = system.map_or_else(|| site.own_system(), Text::new);
        let display = endpoint.and_then(|source| text(source, "name")).map(Text::new);
        let transmitter = Agent {
            role: Role::Transmitter,
            who: Reference::uri("Device", system.clone(), display),
            on_behalf_of: Some(provider.clone()),
        };
        let enterer = header.and_then(|header| reference_at(header, "enterer"));
        let behind = header.and_then(|header| reference_at(header, "sender")).unwrap_or_else(|| provider.clone());
        let enterer = enterer.map(|who| Agent { role: Role::Enterer, who, on_behalf_of: Some(behind) });
        let document = bundle.first("Composition");
        let signed = document.into_iter().flat_map(|document| signed_by(document, provider));
        let reason = header.into_iter().flat_map(|header| objects(header, "reason"));
        let reason = reason.flat_map(|reason| objects(reason, "coding"));
        let reason = reason.filter_map(|coding| Some((text(coding, "system")?.into(), text(coding, "code")?.into())));
        Self {
            uri: format!("{system}#{}", key_of(original)).into(),
            occurred: text(&bundle.fields, "timestamp").map(Text::new),
            tags: Vec::new(),
            authors: written_by(bundle, header, site, provider),
            transmitter,
            others: enterer.into_iter().chain(signed).collect(),
            custodian: document.and_then(|document| reference_at(document, "custodian")),
            policy: Vec::new(),
            reasons: reason.collect(),
        }
    }
}

/// `urn:oid:` of MSH-3 where it is one, else the application within its facility, under the site's URI.
fn system_of(application: &Hd, facility: &Hd, site: Site<'_>) -> Text {
    application.uri().unwrap_or_else(|| {
        let names = [facility.display(), application.display()];
        let path: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).map(encode).collect();
        if path.is_empty() { site.own_system() } else { format!("{}/source/{}", site.base_uri, path.join("/")).into() }
    })
}

fn display(application: &Hd, facility: &Hd) -> Option<Text> {
    match (application.display(), facility.display()) {
        ("", "") => None,
        (application, "") => Some(Text::new(application)),
        ("", facility) => Some(Text::new(facility)),
        (application, facility) => Some(format!("{application} at {facility}").into()),
    }
}

/// The sender's own name for the message, or the hash of its bytes.
fn key_of(original: &Original) -> String {
    original.control_id.as_deref().map_or_else(|| original.sha256.to_string(), encode)
}

fn value(segment: &Segment<'_>, field: usize, component: usize) -> Text {
    let component = segment.field(field).component(component);
    if component.is_valued() { Text::new(component.value().trim()) } else { Text::default() }
}

/// A message profile (EI, MSH-21) as a URI, where it is one.
fn profile_of(profile: &Repetition<'_>) -> Option<Text> {
    let part = |n| profile.component(n).value();
    universal::uri(&part(3), &part(4)).map(Text::from)
}

/// Who signed a document: for the law, or otherwise (Composition.attester).
fn signed_by<'a>(document: &'a Map, provider: &'a Reference) -> impl Iterator<Item = Agent> + 'a {
    objects(document, "attester").filter_map(|attester| {
        let who = reference_at(attester, "party")?;
        let role = if text(attester, "mode") == Some("legal") { Role::Legal } else { Role::Attester };
        Some(Agent { role, who, on_behalf_of: Some(provider.clone()) })
    })
}

/// The authors that a document or message names, each for its custodian; else the provider, or
/// nobody known where it is a hub.
fn written_by(bundle: &Bundle, header: Option<&Map>, site: Site<'_>, provider: &Reference) -> Vec<Agent> {
    let document = bundle.first("Composition");
    let custodian = document.and_then(|document| objects(document, "custodian").find_map(reference));
    let responsible = ["sender", "responsible"];
    let behind = custodian.or_else(|| header.and_then(|h| responsible.iter().find_map(|key| reference_at(h, key))));
    let behind = behind.unwrap_or_else(|| provider.clone());
    let named = |resource: Option<&Map>| -> Vec<Reference> {
        resource.into_iter().flat_map(|resource| objects(resource, "author")).filter_map(reference).collect()
    };
    let authors = [named(document), named(header)].concat();
    if authors.is_empty() {
        let who = if site.provider.hub { Reference::Unknown } else { behind };
        return vec![author(who)];
    }
    let agent = |who| Agent { role: Role::Author, who, on_behalf_of: Some(behind.clone()) };
    authors.into_iter().map(agent).collect()
}

fn reference_at(resource: &Map, key: &str) -> Option<Reference> {
    objects(resource, key).find_map(reference)
}

/// A FHIR Reference as it stands.
pub(super) fn reference(value: &Map) -> Option<Reference> {
    let display = text(value, "display").map(Text::new);
    if let Some(reference) = text(value, "reference").filter(|reference| !reference.starts_with('#')) {
        return Some(Reference::Literal { reference: Text::new(reference), display });
    }
    let identifier = objects(value, "identifier").next();
    if let Some((identifier, value)) = identifier.and_then(|i| Some((i, Text::new(text(i, "value")?)))) {
        let system = text(identifier, "system").map(Text::new);
        return Some(Reference::Logical { kind: None, system, value, display });
    }
    display.map(|display| Reference::Named { kind: None, display })
}
