//! The provider's Organization and the engine's Device: the same in every Bundle, so that writing
//! them again changes nothing.

use message::json::{Map, Text, Value, json};
use message::provenance::Reference;
use message::{Context, Provider};

use super::bundle::{Bundle, Entry, business_identifier};
use super::ids::Ids;
use super::uri::identifier_query;

/// The entries that Provenance refers to, ready to be added.
#[derive(Clone, Debug)]
pub(super) struct Actors {
    organization: Entry,
    device: Entry,
    engine: Text,
    identifier: Option<(String, String)>,
}

impl Actors {
    pub(super) fn new(context: &Context, ids: &Ids) -> Self {
        let Provider { system, value, .. } = &*context.provider;
        let identifier = system.clone().zip(value.clone());
        Self {
            organization: entry(organization(context, ids, identifier.as_ref())),
            device: entry(device(context, ids)),
            engine: Text::new(&context.engine),
            identifier,
        }
    }

    /// True for the entries that are not the message's own.
    pub(super) fn are_at(&self, entry: &Entry) -> bool {
        let full_url = entry.full_url();
        full_url.is_some() && (full_url == self.device.full_url() || full_url == self.organization.full_url())
    }

    /// Adds what `bundle` lacks of them, and returns how it refers to the organization and to the device.
    pub(super) fn join(&self, bundle: &mut Bundle) -> (Reference, Reference) {
        let organization = match self.provider_in(bundle) {
            Some(reference) => reference,
            None => join(&self.organization, bundle),
        };
        let device = match join(&self.device, bundle) {
            Reference::Literal { reference, .. } => {
                Reference::Literal { reference, display: Some(self.engine.clone()) }
            }
            other => other,
        };
        (organization, device)
    }

    /// The message's own Organization with the provider's identifier.
    fn provider_in(&self, bundle: &Bundle) -> Option<Reference> {
        let (system, value) = self.identifier.as_ref()?;
        let mut organizations = bundle.records().filter(|(_, entry, _)| entry.kind() == "Organization");
        let named = Some((system.as_str(), value.as_str()));
        let (_, found, _) = organizations.find(|(_, _, resource)| business_identifier(resource) == named)?;
        bundle.reference_to(found)
    }
}

fn entry(value: Value) -> Entry {
    let members = if let Value::Object(members) = value { members } else { Map::new() };
    let mut entry = Entry::new(members);
    entry.share();
    entry
}

/// Adds `actor` unless it is there.
fn join(actor: &Entry, bundle: &mut Bundle) -> Reference {
    if !bundle.entries.iter().any(|entry| entry.full_url() == actor.full_url()) {
        bundle.entries.push(actor.clone());
    }
    bundle.reference_to(actor).unwrap_or(Reference::Unknown)
}

/// Found by the provider's identifier, and created only where the destination has none: what a
/// registry knows of it is never overwritten.
fn organization(context: &Context, ids: &Ids, identifier: Option<&(String, String)>) -> Value {
    let provider = &context.provider;
    let id = ids.of_site("Organization", &provider.key);
    let name = if provider.name.is_empty() { &*provider.key } else { &provider.name };
    let meta = meta(context);
    match identifier {
        Some((system, value)) => json!({
            "fullUrl": format!("urn:uuid:{id}"),
            "resource": {
                "resourceType": "Organization",
                "meta": meta,
                "identifier": [{ "system": system, "value": value }],
                "name": name,
            },
            "request": { "method": "POST", "url": "Organization", "ifNoneExist": identifier_query(system, value) },
        }),
        None => json!({
            "fullUrl": format!("urn:uuid:{id}"),
            "resource": { "resourceType": "Organization", "id": id.to_string(), "meta": meta, "name": name },
            "request": { "method": "PUT", "url": format!("Organization/{id}") },
        }),
    }
}

/// One Device a version of the engine: what an older version did stays its own.
fn device(context: &Context, ids: &Ids) -> Value {
    let (name, version) = context.engine.rsplit_once(' ').unwrap_or((&context.engine, ""));
    let id = ids.of_site("Device", &context.engine);
    let mut device = json!({
        "resourceType": "Device",
        "id": id.to_string(),
        "meta": meta(context),
        "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{id}") }],
        "status": "active",
        "deviceName": [{ "name": name, "type": "model-name" }],
    });
    if let (Some(device), false) = (device.as_object_mut(), version.is_empty()) {
        device.put("version", json!([{ "value": version }]));
    }
    json!({
        "fullUrl": format!("urn:uuid:{id}"),
        "resource": device,
        "request": { "method": "PUT", "url": format!("Device/{id}") },
    })
}

fn meta(context: &Context) -> Value {
    json!({
        "source": &*context.base_uri,
        "security": [{ "system": message::consent::CONFIDENTIALITY, "code": "N" }],
    })
}
