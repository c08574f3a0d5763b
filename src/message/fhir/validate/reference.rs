//! References: what they are to, and whether it is there. Codes of concepts, which are references to terms.

use super::issue::IssueType;
use super::path::Path;
use super::walk::Walk;
use super::{format, requests};
use crate::fhir::definitions::{Element, TypeId, ValueSet, types};
use crate::fhir::{Object, Severity, Value, get_str};

/// What a reference says of its target.
enum Target {
    /// It is there, or may be: its type, where the reference or the target tells it.
    Is(Option<TypeId>),
    /// What is wrong with the reference.
    Wrong(IssueType, &'static str, Option<&'static str>),
}

/// Checks the Reference `own`, which stands in `element`.
pub(super) fn check<'a>(walk: &mut Walk<'a>, own: &'a Object, element: &'static Element, path: &Path<'_>) {
    let Some(Value::String(text)) = own.get("reference") else {
        if !["reference", "_reference", "identifier", "display", "extension"]
            .into_iter()
            .any(|name| own.contains_key(name))
        {
            let text = "a reference has a reference, an identifier or a display";
            walk.tell(Severity::Warning, IssueType::Structure, path, text.into(), None);
        }
        return check_type(walk, own, None, element, path);
    };
    let text: &'a str = text;
    let found = match text.strip_prefix('#') {
        Some(id) => {
            walk.mention(id);
            contained(walk, id)
        }
        None => elsewhere(walk, text),
    };
    match found {
        Target::Is(kind) => check_type(walk, own, kind, element, path),
        Target::Wrong(kind, text, rule) => {
            walk.tell(Severity::Error, kind, &path.to("reference"), text.into(), rule);
        }
    }
}

/// The target's type is one that the element may be to, and the one that the reference says.
pub(super) fn check_type(
    walk: &mut Walk<'_>,
    own: &Object,
    found: Option<TypeId>,
    element: &'static Element,
    path: &Path<'_>,
) {
    let said = own.get("type").and_then(Value::as_str);
    let of_said = said.and_then(|name| types().resource(name));
    if let (Some(found), Some(said)) = (found, of_said)
        && found != said
    {
        walk.error(IssueType::Value, &path.to("type"), "the type is not that of what the reference is to");
    }
    let Some(kind) = found.or(of_said) else { return };
    if !may_be_to(element, Some(kind)) {
        let allowed: Vec<_> = element.targets.iter().map(|id| types().get(*id).name.as_str()).collect();
        let text = format!("the reference is to {}; it may be to {}", types().get(kind).name, allowed.join(", "));
        walk.error(IssueType::Value, path, text);
    }
}

/// True if a reference in `element` may be to what is of type `found`.
pub(super) fn may_be_to(element: &'static Element, found: Option<TypeId>) -> bool {
    found.is_none_or(|found| element.targets.is_empty() || element.targets.contains(&found))
}

/// `#id`, or `#` for the container itself.
fn contained(walk: &Walk<'_>, id: &str) -> Target {
    if id.is_empty() {
        return if walk.scope.inside {
            Target::Is(None)
        } else {
            Target::Wrong(
                IssueType::Invariant,
                "`#` is the container, and only what it contains may say it",
                Some("ref-1"),
            )
        };
    }
    match walk.scope.find(id) {
        Some(resource) => Target::Is(get_str(resource, "resourceType").and_then(|name| types().resource(name))),
        None => Target::Wrong(IssueType::Invariant, "nothing with this id is contained in the resource", Some("ref-1")),
    }
}

/// What is not contained: an entry of the Bundle, or something on a server.
fn elsewhere(walk: &Walk<'_>, text: &str) -> Target {
    let found = |text: &str| walk.entries.as_ref().and_then(|entries| entries.find(text));
    if let Some(kind) = found(text) {
        return Target::Is(kind);
    }
    let versionless = text.split("/_history/").next().unwrap_or(text);
    if versionless != text
        && let Some(kind) = found(versionless)
    {
        return Target::Is(kind);
    }
    if text.starts_with("urn:uuid:") || text.starts_with("urn:oid:") {
        // What has no address is an entry, or nowhere (FHIR R4 §2.36.4).
        return match &walk.entries {
            Some(_) => Target::Wrong(IssueType::NotFound, "the reference resolves to no entry of the Bundle", None),
            None => Target::Is(None),
        };
    }
    let versionless = versionless.split('#').next().unwrap_or(versionless);
    if text.contains("://") || text.starts_with("urn:") {
        return Target::Is(requests::type_and_id(versionless).map(|(kind, _)| kind));
    }
    relative(versionless)
}

/// `Patient/123`, and `Patient?identifier=…` in transactions.
fn relative(text: &str) -> Target {
    const WRONG: &str = "a relative reference is a resource type of R4, `/` and an id";
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let known = match (path.split_once('/'), query) {
        (None, Some(query)) if !query.is_empty() => types().resource(path),
        (Some((kind, id)), None) if format::is_id(id) => types().resource(kind),
        _ => None,
    };
    known.map_or(Target::Wrong(IssueType::Value, WRONG, None), |kind| Target::Is(Some(kind)))
}

/// Checks that a CodeableConcept or Coding has a code of the value set of its required binding.
pub(super) fn check_codes(walk: &mut Walk<'_>, own: &Object, element: &'static Element, path: &Path<'_>) {
    let Some(set) = element.values.and_then(|id| types().value_set(id)) else { return };
    let is_in = |coding: &Object| {
        let text = |name| coding.get(name).and_then(Value::as_str);
        text("system").zip(text("code")).is_some_and(|(system, code)| set.has_coding(system, code))
    };
    let is_absent = own.contains_key("extension") && !own.contains_key("coding") && !own.contains_key("code");
    let codings = own.get("coding").and_then(Value::as_array);
    let any = codings.is_some_and(|all| all.iter().filter_map(Value::as_object).any(is_in));
    if !(is_absent || any || is_in(own)) {
        walk.error(IssueType::CodeInvalid, path, format!("no code is in the value set {}", set.name));
    }
}

/// Most codes that are listed for a person.
const LISTED: usize = 12;

/// That a code is not in `set`.
pub(super) fn not_in(set: &ValueSet) -> String {
    match set.codes() {
        codes if codes.len() <= LISTED => {
            format!("the code is not in the value set {}: {}", set.name, codes.join(", "))
        }
        _ => format!("the code is not in the value set {}", set.name),
    }
}
