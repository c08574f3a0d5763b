//! The provider's Organization and the engine's Device: the same in every Bundle, so that writing
//! them again changes nothing.

use message::provenance::Reference;
use message::{Context, Provider};
use serde_json::{Value, json};

use super::bundle::{Bundle, Entry, business_identifier, kind_of};
use super::ids::Ids;
use super::uri::identifier_query;

/// The entries that Provenance refers to, ready to be added.
#[derive(Clone, Debug)]
pub(super) struct Actors {
    organization: Value,
    device: Value,
    engine: String,
    identifier: Option<(String, String)>,
}

impl Actors {
    pub(super) fn new(context: &Context, ids: &Ids) -> Self {
        let Provider { system, value, .. } = &*context.provider;
        let identifier = system.clone().zip(value.clone());
        Self {
            organization: organization(context, ids, identifier.as_ref()),
            device: device(context, ids),
            engine: context.engine.to_string(),
            identifier,
        }
    }

    /// True for the entries that are not the message's own.
    pub(super) fn are_at(&self, entry: &Entry) -> bool {
        let full_url = entry.full_url();
        full_url.is_some() && [&self.organization, &self.device].iter().any(|actor| full_url_of(actor) == full_url)
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
        let is_provider = |entry: &&Entry| {
            let organization = entry.record().filter(|resource| kind_of(resource) == "Organization");
            organization.and_then(business_identifier) == Some((system.as_str(), value.as_str()))
        };
        bundle.reference_to(bundle.entries.iter().find(is_provider)?)
    }
}

/// Adds `actor` unless it is there.
fn join(actor: &Value, bundle: &mut Bundle) -> Reference {
    let is_there = bundle.entries.iter().any(|entry| entry.full_url() == full_url_of(actor));
    if !is_there && let Value::Object(entry) = actor {
        bundle.entries.push(Entry(entry.clone()));
    }
    let entry = bundle.entries.iter().find(|entry| entry.full_url() == full_url_of(actor));
    entry.and_then(|entry| bundle.reference_to(entry)).unwrap_or(Reference::Unknown)
}

fn full_url_of(actor: &Value) -> Option<&str> {
    actor.get("fullUrl")?.as_str()
}

/// Found by the provider's identifier, and created only where the destination has none: what a
/// registry knows of it is never overwritten.
fn organization(context: &Context, ids: &Ids, identifier: Option<&(String, String)>) -> Value {
    let provider = &context.provider;
    let id = ids.of_site(&format!("Organization/{}", provider.key));
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
    let id = ids.of_site(&format!("Device/{}", context.engine));
    let mut device = json!({
        "resourceType": "Device",
        "id": id.to_string(),
        "meta": meta(context),
        "identifier": [{ "system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{id}") }],
        "status": "active",
        "deviceName": [{ "name": name, "type": "model-name" }],
    });
    if let (Some(device), false) = (device.as_object_mut(), version.is_empty()) {
        device.insert("version".to_owned(), json!([{ "value": version }]));
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
