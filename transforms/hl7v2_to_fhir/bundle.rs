//! The transaction Bundle: every resource once, with its request.

use message::json::{Map, Text, Value};
use uuid::Uuid;

use super::identity::{self, Identities, Identity};
use super::known::known;
use super::required;
use super::run::Run;
use super::tree::{Grafted, NodeId, Reference, ResourceId};

/// Room for the members of most resources.
const MEMBERS: usize = 12;

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
    if !entries.is_empty() {
        bundle.put("entry", Value::Array(entries));
    }
    Value::Object(bundle)
}

/// References by identifier to what is not in the message; their stubs make no entries.
fn logical_references(run: &mut Run<'_>) -> Vec<(ResourceId, Reference)> {
    let mut out = Vec::new();
    for number in 0..run.tree.resources.len() {
        let id = ResourceId(u32::try_from(number).unwrap_or(u32::MAX));
        let Some(resource) = run.tree.get(id) else { continue };
        let (root, kind, labelled) = (resource.root, known().kind(resource.kind), resource.labelled);
        if labelled || !kind.is_logical || !run.tree.has_only(root, "identifier") {
            continue;
        }
        let mut stub = Map::new();
        run.tree.render_into(root, &mut stub, &[]);
        if let Some(Value::Array(identifiers)) = stub.remove("identifier") {
            out.push((id, Reference::Logical(by_identifiers(kind.name, identifiers))));
        }
    }
    out
}

/// A reference to what has `identifiers`: R4 has room for one, and an extension for others.
fn by_identifiers(kind: &'static str, identifiers: Vec<Value>) -> Map {
    const OTHERS: &str = "http://hl7.org/fhir/StructureDefinition/additionalIdentifier";
    let mut identifiers = identifiers.into_iter();
    let first = identifiers.next().unwrap_or_default();
    let mut reference = Map::from_iter([("type", Value::fixed(kind)), ("identifier", first)]);
    let other = |identifier| Value::object([("url", Value::fixed(OTHERS)), ("valueIdentifier", identifier)]);
    let others: Vec<Value> = identifiers.map(other).collect();
    if !others.is_empty() {
        reference.put("extension", Value::Array(others));
    }
    reference
}

/// Bundle.identifier and Bundle.timestamp, as MSH's rows say.
fn header(run: &mut Run<'_>, refs: &[Option<Reference>]) -> Map {
    let mut out = Map::new();
    out.put("resourceType", Value::fixed("Bundle"));
    let mut said = Map::new();
    if let Some(root) = bundle_root(run) {
        run.tree.render_into(root, &mut said, refs);
    }
    if let Some(Value::Object(identifier)) = said.get_mut("identifier")
        && !identifier.contains_key("system")
    {
        identifier.put("system", run.systems.own("ns", "message"));
    }
    out.extend(said.remove("identifier").map(|value| ("identifier", value)));
    out.put("type", Value::fixed("transaction"));
    out.extend(said.remove("timestamp").map(|value| ("timestamp", value)));
    out
}

fn bundle_root(run: &Run<'_>) -> Option<NodeId> {
    let bundle = known().bundle?;
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
    let resource = resource(run, id, identity, refs)?;
    let request = [("method", Value::fixed("PUT")), ("url", Value::from(identity.url.clone()))];
    Some(Value::object([
        ("fullUrl", Value::from(identity.full_url.clone())),
        ("resource", Value::Object(resource)),
        ("request", Value::object(request)),
    ]))
}

/// A resource as JSON: as it was written before, where it is made of what is kept and refers to the same.
fn resource(run: &mut Run<'_>, id: ResourceId, identity: &Identity, refs: &[Option<Reference>]) -> Option<Map> {
    let resource = run.tree.get(id)?;
    let (root, kind) = (resource.root, resource.kind);
    let own = (!identity.conditional).then_some(identity.uuid);
    // Others are completed with what the message says elsewhere.
    let kept = run.tree.unchanged(id).filter(|_| known().kind(kind).is_merged);
    let kept = kept.and_then(|kept| Some((kept, to_entries(run, kept, refs)?)));
    if let Some((kept, to)) = &kept
        && let Some(written) = run.tree.kept.as_ref().and_then(|all| all.known(*kept)?.written.as_ref())
        && written.id == own
        && written.refs.iter().map(|(number, to)| (*number, to)).eq(to.iter().copied())
    {
        return Some(written.members.clone());
    }
    let kept = kept.map(|(kept, to)| (kept, to.into_iter().map(|(number, to)| (number, to.clone())).collect()));
    let mut out = Map::with_capacity(MEMBERS);
    out.put("resourceType", Value::fixed(known().kind(kind).name));
    if let Some(own) = own {
        out.put("id", own.hyphenated().encode_lower(&mut Uuid::encode_buffer()) as &str);
    }
    let mut out = run.tree.render_onto(root, out, refs);
    required::complete(run, kind, &mut out);
    if let (Some((kept, to)), Some(all)) = (kept, &mut run.tree.kept) {
        all.write_resource(kept, own, to, &mut out);
    }
    Some(out)
}

/// What the references in what is kept are to, if all are to entries of the Bundle.
fn to_entries<'r>(run: &Run<'_>, kept: Grafted, refs: &'r [Option<Reference>]) -> Option<Vec<(u16, &'r Text)>> {
    let to = run.tree.references_in(kept).map(|(number, to)| match refs.get(to.0 as usize) {
        Some(Some(Reference::Entry(url))) => Some((number, url)),
        _ => None,
    });
    to.collect()
}
