//! The transaction Bundle: every resource once, with its request.

use serde_json::{Map, Value, json};

use crate::r4::types;

use super::identity::{self, Identities, Identity};
use super::required;
use super::run::Run;
use super::tree::{NodeId, Reference, ResourceId};

/// Types that stand for something elsewhere when all that is known is a number.
const LOGICAL: [&str; 5] = ["Procedure", "ServiceRequest", "Specimen", "Condition", "Encounter"];

/// The Bundle of all that `run` has made.
pub(super) fn of(run: &mut Run<'_>) -> Value {
    let logical = logical_references(run);
    required::subjects(run);
    let identities = identity::of(run);
    let mut refs = identity::references(run, &identities);
    for (resource, reference) in logical {
        let merged = identities.redirects.get(resource.0 as usize).is_some_and(|to| *to != resource);
        if let Some(slot) = refs.get_mut(resource.0 as usize).filter(|_| !merged) {
            *slot = Some(reference);
        }
    }
    let mut bundle = header(run, &refs);
    let entries = entries(run, &identities, &refs);
    bundle.insert("entry".into(), Value::Array(entries));
    Value::Object(bundle)
}

/// References by identifier to what is not in the message; their stubs make no entries.
fn logical_references(run: &mut Run<'_>) -> Vec<(ResourceId, Reference)> {
    let mut out = Vec::new();
    for number in 0..run.tree.resources.len() {
        let id = ResourceId(u32::try_from(number).unwrap_or(u32::MAX));
        let Some(resource) = run.tree.get(id) else { continue };
        let (root, kind, labelled) = (resource.root, run.kind_name(id), resource.labelled);
        if labelled || !LOGICAL.contains(&kind) || !run.tree.has_only(root, "identifier") {
            continue;
        }
        let mut stub = Map::new();
        run.tree.render_into(root, &mut stub, &[]);
        if let Some(Value::Array(identifiers)) = stub.remove("identifier") {
            let first = identifiers.into_iter().next().unwrap_or_default();
            let reference = Map::from_iter([("type".to_owned(), json!(kind)), ("identifier".to_owned(), first)]);
            out.push((id, Reference::Logical(reference)));
        }
    }
    out
}

/// Bundle.identifier and Bundle.timestamp, as MSH's rows say.
fn header(run: &mut Run<'_>, refs: &[Option<Reference>]) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("resourceType".into(), json!("Bundle"));
    let mut said = Map::new();
    if let Some(root) = bundle_root(run) {
        run.tree.render_into(root, &mut said, refs);
    }
    if let Some(Value::Object(identifier)) = said.get_mut("identifier") {
        let own = run.systems.own("ns", "message");
        identifier.entry("system").or_insert(Value::String(own));
    }
    out.extend(said.remove("identifier").map(|value| ("identifier".to_owned(), value)));
    out.insert("type".into(), json!("transaction"));
    out.extend(said.remove("timestamp").map(|value| ("timestamp".to_owned(), value)));
    out
}

fn bundle_root(run: &Run<'_>) -> Option<NodeId> {
    let bundle = types().id("Bundle")?;
    run.tree.resources.iter().find(|resource| resource.kind == bundle).map(|resource| resource.root)
}

fn entries(run: &mut Run<'_>, identities: &Identities, refs: &[Option<Reference>]) -> Vec<Value> {
    let mut out = Vec::with_capacity(identities.identities.len());
    for (number, identity) in identities.identities.iter().enumerate() {
        let id = ResourceId(u32::try_from(number).unwrap_or(u32::MAX));
        let kind = run.kind_name(id);
        let (Some(identity), true) = (identity, kind != "Bundle") else { continue };
        if let Some(entry) = entry(run, id, identity, refs) {
            if kind == "MessageHeader" { out.insert(0, entry) } else { out.push(entry) }
        }
    }
    out
}

fn entry(run: &mut Run<'_>, id: ResourceId, identity: &Identity, refs: &[Option<Reference>]) -> Option<Value> {
    let resource = run.tree.get(id)?;
    let (root, kind) = (resource.root, resource.kind);
    let mut out = Map::new();
    out.insert("resourceType".into(), Value::String(types().get(kind).name.clone()));
    if !identity.conditional {
        out.insert("id".into(), Value::String(identity.uuid.to_string()));
    }
    run.tree.render_into(root, &mut out, refs);
    required::complete(run, kind, &mut out);
    let request = Map::from_iter([("method".to_owned(), json!("PUT")), ("url".to_owned(), json!(identity.url))]);
    // By hand: `json!` would copy the resource.
    Some(Value::Object(Map::from_iter([
        ("fullUrl".to_owned(), Value::String(format!("urn:uuid:{}", identity.uuid))),
        ("resource".to_owned(), Value::Object(out)),
        ("request".to_owned(), Value::Object(request)),
    ])))
}
