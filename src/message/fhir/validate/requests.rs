//! What the entries of a transaction, batch or history ask for (FHIR R4 §3.1.0.11).

use super::format;
use super::issue::IssueType;
use super::path::Path;
use super::walk::Walk;
use crate::fhir::Value;
use crate::fhir::definitions::{TypeId, types};

/// `…/Patient/123`: the type and the id at the end.
pub(super) fn type_and_id(url: &str) -> Option<(TypeId, &str)> {
    let (before, id) = url.rsplit_once('/')?;
    let kind = before.rsplit('/').next()?;
    format::is_id(id).then(|| types().resource(kind)).flatten().map(|kind| (kind, id))
}

/// True if `url` is type and id of a resource that has them, as it is most often.
fn is_own(url: &str, kind: &str, id: Option<&str>) -> bool {
    let Some(id) = id.filter(|id| format::is_id(id)) else { return false };
    let behind = url.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/'));
    behind == Some(id) && types().resource(kind).is_some()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// Checks that the request of `entry`, in a transaction or batch, goes with its resource.
pub(super) fn check(walk: &mut Walk<'_>, entry: &Value, path: &Path<'_>) {
    let Some(own) = entry.get("request") else { return };
    let Some(method) = text(own, "method") else { return };
    let request = path.to("request");
    let at = request.to("url");
    let resource = entry.get("resource");
    match method {
        "POST" | "PUT" | "PATCH" if resource.is_none() => {
            walk.error(IssueType::Required, path, "an entry with POST, PUT or PATCH has a resource");
        }
        "GET" | "HEAD" | "DELETE" if resource.is_some() => {
            walk.error(IssueType::Structure, &path.to("resource"), "an entry with GET, HEAD or DELETE has no resource");
        }
        _ => {}
    }
    let (Some(url), Some(resource)) = (text(own, "url"), resource) else { return };
    let Some(kind) = text(resource, "resourceType") else { return };
    if method == "PUT" && is_own(url, kind, text(resource, "id")) {
        return;
    }
    let path_of_url = url.split('?').next().unwrap_or(url).trim_end_matches('/');
    match method {
        // An operation takes what it takes.
        _ if path_of_url.contains('$') => {}
        "POST" if path_of_url.rsplit('/').next() != Some(kind) => {
            walk.error(IssueType::Value, &at, "the url of a POST is the type of the resource");
        }
        "PUT" => {
            let (of_url, id) = match type_and_id(path_of_url) {
                Some((of_url, id)) => (Some(of_url), Some(id)),
                None => (path_of_url.rsplit('/').next().and_then(|name| types().resource(name)), None),
            };
            if of_url != types().resource(kind) {
                walk.error(IssueType::Value, &at, "the url of a PUT begins with the type of the resource");
            }
            if id.is_some() && text(resource, "id") != id {
                walk.error(IssueType::Value, &at, "the url of a PUT ends with the id of the resource");
            }
            if id.is_none() && !url.contains('?') {
                walk.error(IssueType::Value, &at, "the url of a PUT has an id or a search");
            }
        }
        _ => {}
    }
}
