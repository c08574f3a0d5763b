//! People, organisations and devices as HL7 v2 names them (HD, XCN, XON), as references that say
//! what was said and no more.

use message::Provider;
use message::hl7v2::{Component, Field, Repetition, Segment};
use message::json::Text;
use message::provenance::Reference;

use smol_str::format_smolstr;

use super::uri::encode;
use crate::universal;

const NPI: &str = "http://hl7.org/fhir/sid/us-npi";

/// What names are read in the light of.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    /// The site's own URI.
    pub(super) base_uri: &'a str,
    /// The provider that the channel belongs to.
    pub(super) provider: &'a Provider,
}

/// HD: a namespace, or a universal id and its type (HL7 v2.9 §2A.2.33).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hd {
    pub(super) namespace: Text,
    id: Text,
    kind: Text,
}

impl Hd {
    pub(super) fn of_field(field: &Field<'_>) -> Self {
        let part = |n| value_of(field.component(n).value().as_ref());
        Self { namespace: part(1), id: part(2), kind: part(3) }
    }

    fn of_component(component: &Component<'_>) -> Self {
        let part = |n| value_of(component.subcomponent(n).value().as_ref());
        Self { namespace: part(1), id: part(2), kind: part(3) }
    }

    /// True if nothing stands there.
    pub(super) fn is_empty(&self) -> bool {
        self.namespace.is_empty() && self.id.is_empty()
    }

    /// For people: the namespace, or the universal id.
    pub(super) fn display(&self) -> &str {
        if self.namespace.is_empty() { &self.id } else { &self.namespace }
    }

    /// The universal id as a URI, where it is one (table 0301).
    pub(super) fn uri(&self) -> Option<Text> {
        match self.kind.to_ascii_uppercase().as_str() {
            "ISO" | "UUID" | "GUID" | "URI" | "URL" | "URN" => universal::uri(&self.id, &self.kind).map(Text::from),
            _ => None,
        }
    }
}

impl Site<'_> {
    /// The organisation that `hd`, MSH-4 or a facility, names.
    pub(super) fn facility(&self, hd: &Hd) -> Option<Reference> {
        if hd.is_empty() {
            return None;
        }
        let uri = hd.uri().unwrap_or_else(|| format_smolstr!("{}/source/{}", self.base_uri, encode(hd.display())));
        Some(Reference::uri("Organization", uri, Some(Text::new(hd.display()))))
    }

    /// The system of identifiers that `authority` gives out.
    fn system(&self, authority: &Hd) -> Option<Text> {
        authority.uri().or_else(|| self.provider.systems.get(authority.namespace.as_str()).map(Text::new))
    }

    /// The provider's own system, where nothing else names one.
    pub(super) fn own_system(&self) -> Text {
        format_smolstr!("{}/source/{}", self.base_uri, encode(&self.provider.key))
    }

    /// XON: an organisation by identifier, else by name (HL7 v2.9 §2A.2.89).
    pub(super) fn organisation(&self, xon: &Repetition<'_>) -> Option<Reference> {
        let part = |n| value_of(xon.component(n).value().as_ref());
        let (name, old_id, id) = (part(1), part(3), part(10));
        let id = if id.is_empty() { old_id } else { id };
        self.named("Organization", id, &Hd::of_component(&xon.component(6)), &part(7), name)
    }

    /// CWE that names an organisation, such as OBX-15: code, text and code system.
    pub(super) fn coded_organisation(&self, cwe: &Repetition<'_>) -> Option<Reference> {
        self.coded("Organization", cwe)
    }

    /// CWE that names something of type `kind`, such as ORC-18 a device.
    pub(super) fn coded(&self, kind: &'static str, cwe: &Repetition<'_>) -> Option<Reference> {
        let part = |n| value_of(cwe.component(n).value().as_ref());
        let authority = Hd { namespace: part(3), ..Hd::default() };
        self.named(kind, part(1), &authority, "", part(2))
    }

    /// Who performed an observation: OBX-23, else OBX-15.
    pub(super) fn performing(&self, obx: &Segment<'_>) -> Option<Reference> {
        let laboratory = self.organisation(&obx.field(23).repetition(1));
        laboratory.or_else(|| self.coded_organisation(&obx.field(15).repetition(1)))
    }

    /// EI that names a device, such as OBX-18: its id and who gave it that (HL7 v2.9 §2A.2.28).
    pub(super) fn device(&self, ei: &Repetition<'_>) -> Option<Reference> {
        let part = |n| value_of(ei.component(n).value().as_ref());
        let authority = Hd { namespace: part(2), id: part(3), kind: part(4) };
        self.named("Device", part(1), &authority, "", Text::default())
    }

    /// A place by its names: point of care, room, bed, facility (PL, LA2).
    pub(super) fn place(&self, field: &Field<'_>) -> Option<Reference> {
        let parts = (1..=4).map(|n| value_of(field.component(n).subcomponent(1).value().as_ref()));
        let names: Vec<Text> = parts.filter(|name| !name.is_empty()).collect();
        (!names.is_empty()).then(|| Reference::Named { kind: Some("Location"), display: names.join(", ").into() })
    }

    /// XCN: a person by identifier, else by name (HL7 v2.9 §2A.2.88).
    pub(super) fn person(&self, xcn: &Repetition<'_>) -> Option<Reference> {
        let part = |n| value_of(xcn.component(n).value().as_ref());
        let family = value_of(xcn.component(2).subcomponent(1).value().as_ref());
        let name = [family, part(3)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ").into();
        self.named("Practitioner", part(1), &Hd::of_component(&xcn.component(9)), &part(13), name)
    }

    fn named(&self, kind: &'static str, id: Text, authority: &Hd, id_kind: &str, name: Text) -> Option<Reference> {
        let display = Some(name).filter(|name| !name.is_empty());
        if id.is_empty() {
            return display.map(|display| Reference::Named { kind: Some(kind), display });
        }
        let npi = || (id_kind == "NPI").then_some(Text::new_static(NPI));
        let system = self.system(authority).or_else(npi).unwrap_or_else(|| self.own_system());
        Some(Reference::Logical { kind: Some(kind), system: Some(system), value: id, display })
    }
}

/// A value, `""` as nothing.
fn value_of(text: &str) -> Text {
    let text = text.trim();
    if text == "\"\"" { Text::default() } else { Text::new(text) }
}
