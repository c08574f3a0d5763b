//! Makes what came, a Bundle of any type or a single resource, into a Bundle that a destination takes
//! and that changes nothing when it is sent twice.
//!
//! A transaction or batch keeps its requests; only a plain create becomes one that finds what it
//! created before. Everything else becomes a transaction: resources with a business identifier are
//! written by conditional update, the rest by an id that follows from the sender's own. The resources
//! keep what they carry: only `id` and the references between them follow the new names.

use std::collections::{HashMap, HashSet};

use message::fhir::is_resource_type;
use message::json::{Map, Text, Value};
use message::{Finding, FindingKind, Sha256, TransformError};
use smol_str::{ToSmolStr as _, format_smolstr};

use super::bundle::{Bundle, Entry, Kind, business_identifier, error, kind_of, text};
use super::ids::Ids;
use super::references::{Names, Rewriting, base_of};

/// Room for the entries that stamping most often adds: Organization, Device and four Provenances.
const ADDED: usize = 6;

/// What names follow from.
#[derive(Clone, Copy)]
pub(super) struct Naming<'a> {
    pub(super) ids: &'a Ids,
    /// The hash of the message's bytes.
    pub(super) message: &'a Sha256,
    /// Keep document and message Bundles whole, as one resource.
    pub(super) whole: bool,
}

/// Makes `resource` into a transaction or batch.
///
/// # Errors
///
/// [`TransformError`] with the place of what a destination could not take.
pub(super) fn normalise(
    resource: Value,
    naming: Naming<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Bundle, TransformError> {
    let Value::Object(resource) = resource else {
        return Err(error("message", "it is no FHIR resource: a JSON object is needed"));
    };
    if kind_of(&resource).is_empty() {
        return Err(error("resourceType", "it is no FHIR resource: it has no resourceType"));
    }
    if kind_of(&resource) != "Bundle" {
        return assign(wrap(resource), naming, findings);
    }
    match text(&resource, "type") {
        Some("transaction") => keep(take_apart(resource, Kind::Transaction)?, naming),
        Some("batch") => keep(take_apart(resource, Kind::Batch)?, naming),
        Some("document" | "message") if naming.whole => assign(wrap(resource), naming, findings),
        Some("document" | "message" | "collection") => {
            assign(take_apart(resource, Kind::Transaction)?, naming, findings)
        }
        Some("searchset" | "history" | "transaction-response" | "batch-response") => {
            Err(error("Bundle.type", "an answer of a server is no record to pass on: send the records in a collection"))
        }
        _ => Err(error(
            "Bundle.type",
            "it is no type of Bundle: use transaction, batch, collection, document or message",
        )),
    }
}

/// A transaction with `resource` as its only entry.
fn wrap(resource: Map) -> Bundle {
    let mut fields = Map::with_capacity(3);
    fields.put("resourceType", Value::fixed("Bundle"));
    fields.put("type", Value::fixed("transaction"));
    let entry = Map::from_iter([("resource", resource)]);
    Bundle { fields, kind: Kind::Transaction, entries: vec![Entry::new(entry)] }
}

fn take_apart(mut fields: Map, kind: Kind) -> Result<Bundle, TransformError> {
    let entries = match fields.shift_remove("entry") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(error("Bundle.entry", "it must be an array")),
    };
    let mut taken = Vec::with_capacity(entries.len() + ADDED);
    for (i, entry) in entries.into_iter().enumerate() {
        match entry {
            Value::Object(entry) => taken.push(Entry::new(entry)),
            _ => return Err(error(format!("entry[{i}]"), "it must be an object")),
        }
    }
    Ok(Bundle { fields, kind, entries: taken })
}

/// What an entry is called from now on.
struct Plan {
    /// The URL that it is written to by PUT; `None` keeps its own request.
    put: Option<Text>,
    /// The resource's id; `None` where the destination gives one.
    id: Option<Text>,
    full_url: Text,
}

/// Gives every entry of a Bundle without requests its own.
fn assign(mut bundle: Bundle, naming: Naming<'_>, findings: &mut Vec<Finding>) -> Result<Bundle, TransformError> {
    bundle.fields.insert("type", Value::fixed("transaction"));
    for member in ["total", "link", "signature"] {
        bundle.fields.shift_remove(member);
    }
    let shared = shared_identifiers(&bundle);
    let plans = bundle.entries.iter().enumerate().map(|(i, entry)| {
        let resource = resource_at(entry, i)?;
        Ok(Some(plan(entry, resource, text(resource, "id"), &shared, naming, i)))
    });
    let plans = plans.collect::<Result<Vec<_>, TransformError>>()?;
    let names = names_of(&bundle, &plans)?;
    for (i, (entry, plan)) in bundle.entries.iter_mut().zip(plans).enumerate() {
        let mut rewriting = Rewriting { names: &names, ids: Some(naming.ids), outside: 0 };
        rewrite(entry, &mut rewriting);
        if rewriting.outside > 0 {
            findings.push(points_outside(i));
        }
        for member in ["search", "response", "link"] {
            entry.remove(member);
        }
        plan.into_iter().for_each(|plan| rename(entry, plan));
    }
    Ok(bundle)
}

/// Checks the requests of a transaction or batch and makes each plain create repeatable.
fn keep(mut bundle: Bundle, naming: Naming<'_>) -> Result<Bundle, TransformError> {
    // It is not of what leaves: stamps, ids and references are others.
    bundle.fields.shift_remove("signature");
    let creates = bundle.entries.iter().any(|entry| entry.method() == "POST");
    let shared = if creates { shared_identifiers(&bundle) } else { HashSet::new() };
    let plans = bundle.entries.iter().enumerate().map(|(i, entry)| {
        check_request(entry, i)?;
        let Some(resource) = entry.record().filter(|_| entry.method() == "POST") else { return Ok(None) };
        if entry.member("request", "ifNoneExist").is_some() {
            let full_url = entry.full_url().map(Text::new).unwrap_or_else(|| part_url(naming, i));
            return Ok(Some(Plan { put: None, id: text(resource, "id").map(Text::new), full_url }));
        }
        // The id of a resource to be created means nothing (FHIR R4 §3.1.0.8).
        Ok(Some(plan(entry, resource, None, &shared, naming, i)))
    });
    let plans = plans.collect::<Result<Vec<_>, TransformError>>()?;
    let names = names_of(&bundle, &plans)?;
    let transaction = bundle.kind == Kind::Transaction;
    for (entry, plan) in bundle.entries.iter_mut().zip(plans) {
        if transaction && !names.is_empty() {
            rewrite(entry, &mut Rewriting { names: &names, ids: None, outside: 0 });
        }
        plan.into_iter().for_each(|plan| rename(entry, plan));
    }
    Ok(bundle)
}

/// What `entry` is called: by its business identifier, by `id` (the sender's own), or by its place
/// in the message.
fn plan(entry: &Entry, resource: &Map, id: Option<&str>, shared: &HashSet<Text>, naming: Naming<'_>, i: usize) -> Plan {
    let kind = entry.kind();
    let kept = entry.full_url().filter(|url| url.starts_with("urn:")).map(Text::new);
    if let Some(put) = conditional_update(resource).filter(|url| !shared.contains(url)) {
        return Plan { put: Some(put), id: None, full_url: kept.unwrap_or_else(|| part_url(naming, i)) };
    }
    let uuid = match id {
        Some(id) => naming.ids.of_resource(kind, id),
        None => naming.ids.of_part(naming.message, &format!("entry/{i}")),
    };
    let full_url = kept.unwrap_or_else(|| format_smolstr!("urn:uuid:{uuid}"));
    Plan { put: Some(format_smolstr!("{kind}/{uuid}")), id: Some(uuid.to_smolstr()), full_url }
}

fn part_url(naming: Naming<'_>, i: usize) -> Text {
    format_smolstr!("urn:uuid:{}", naming.ids.of_part(naming.message, &format!("entry/{i}")))
}

fn conditional_update(resource: &Map) -> Option<Text> {
    let (system, value) = business_identifier(resource)?;
    Some(format_smolstr!("{}?{}", kind_of(resource), super::uri::identifier_query(system, value)))
}

/// The conditional updates that two entries of the Bundle would share: they name neither.
fn shared_identifiers(bundle: &Bundle) -> HashSet<Text> {
    let mut seen = HashSet::with_capacity(bundle.entries.len());
    let urls = bundle.entries.iter().filter_map(|entry| conditional_update(entry.resource()?));
    urls.filter_map(|url| if seen.insert(url.clone()) { None } else { Some(url) }).collect()
}

/// Old names to new, for every entry that has a plan.
fn names_of(bundle: &Bundle, plans: &[Option<Plan>]) -> Result<Names, TransformError> {
    let mut names = Names::default();
    let mut taken: HashMap<&str, usize> = HashMap::with_capacity(2 * plans.iter().flatten().count());
    for (i, (entry, plan)) in bundle.entries.iter().zip(plans).enumerate() {
        let Some(plan) = plan else { continue };
        for name in plan.put.iter().chain([&plan.full_url]) {
            if let Some(earlier) = taken.insert(name, i) {
                let reason = format!("the same resource stands at entry[{earlier}]: send each resource once");
                return Err(error(format!("entry[{i}].fullUrl"), reason));
            }
        }
        if let Some(old) = entry.full_url() {
            names.add(old.to_owned(), &plan.full_url);
        }
        if let Some(resource) = entry.resource()
            && let Some(id) = text(resource, "id")
        {
            names.add(format!("{}/{id}", kind_of(resource)), &plan.full_url);
        }
    }
    Ok(names)
}

/// Rewrites the references in an entry's resource. A Bundle within the Bundle has names of its own.
fn rewrite(entry: &mut Entry, rewriting: &mut Rewriting<'_>) {
    let base = entry.full_url().and_then(base_of).map(str::to_owned);
    if entry.kind() != "Bundle"
        && let Some(resource) = entry.resource_mut()
    {
        rewriting.visit_members(resource, base.as_deref());
    }
}

fn rename(entry: &mut Entry, plan: Plan) {
    entry.set_full_url(plan.full_url);
    let Some(url) = plan.put else { return };
    entry.set_put(url);
    let Some(resource) = entry.resource_mut() else { return };
    match (plan.id, resource.get_mut("id")) {
        (Some(id), Some(own)) => *own = Value::String(id),
        (Some(id), None) => {
            resource.shift_insert(1.min(resource.len()), "id", Value::String(id));
        }
        (None, _) => {
            resource.shift_remove("id");
        }
    }
}

fn resource_at(entry: &Entry, i: usize) -> Result<&Map, TransformError> {
    let location = || format!("entry[{i}].resource");
    let resource = entry.resource().ok_or_else(|| error(location(), "each entry needs a resource"))?;
    if is_resource_type(entry.kind()) { Ok(resource) } else { Err(error(location(), "it is no resource of FHIR R4")) }
}

/// FHIR R4 bdl-3: what each method needs.
fn check_request(entry: &Entry, i: usize) -> Result<(), TransformError> {
    let location = |member: &str| format!("entry[{i}].{member}");
    let url = entry.url().ok_or_else(|| error(location("request.url"), "a transaction or batch entry needs it"))?;
    let has_colon = url.as_bytes().contains(&b':');
    if has_colon && url.split('?').next().is_some_and(|path| path.contains("://")) {
        return Err(error(location("request.url"), "it must be relative to the server, such as Patient/1"));
    }
    match entry.method() {
        "GET" | "HEAD" | "DELETE" => Ok(()),
        "PATCH" => resource_at(entry, i).map(|_| ()),
        "POST" if url.contains('$') => Ok(()),
        "PUT" | "POST" if entry.resource().is_none() => resource_at(entry, i).map(|_| ()),
        "POST" if url == entry.kind() => Ok(()),
        "PUT" => check_update(url, resource_at(entry, i)?).map_err(|reason| error(location("request.url"), reason)),
        "POST" => Err(error(location("request.url"), "it must be the type of the resource that is created")),
        _ => Err(error(location("request.method"), "it must be GET, HEAD, POST, PUT, DELETE or PATCH")),
    }
}

/// The URL of an update names the resource in its body.
fn check_update(url: &str, resource: &Map) -> Result<(), &'static str> {
    let id = url.strip_prefix(kind_of(resource)).and_then(|rest| rest.strip_prefix('/'));
    if id.is_some_and(|id| !id.as_bytes().contains(&b'?') && text(resource, "id") == Some(id)) {
        return Ok(());
    }
    let kind = url.split(['/', '?']).next().unwrap_or_default();
    if kind != kind_of(resource) {
        return Err("it must name the type of the resource that is updated");
    }
    match url.split_once('/') {
        Some((_, id)) if !url.contains('?') && Some(id) != text(resource, "id") => {
            Err("it must name the id of the resource that is updated")
        }
        Some(_) => Ok(()),
        None if url.contains('?') => Ok(()),
        None => Err("an update needs an id or a condition, such as Patient/1 or Patient?identifier=system|value"),
    }
}

fn points_outside(i: usize) -> Finding {
    Finding {
        kind: FindingKind::Unexpected,
        location: format_smolstr!("entry[{i}].resource"),
        text: "it refers to a resource that is not in the Bundle, by an id of the sender's own server: \
               the destination finds it only if it came before, without a business identifier"
            .into(),
    }
}
