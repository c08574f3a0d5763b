//! Minimum necessary (MINEC; 45 CFR 164.502(b)): of what leaves, only what the destination's list has. Pure.

use std::collections::{BTreeMap, BTreeSet};

use message::consent::OBSERVATION_VALUE;
use message::fhir;
use message::json::Value;

use super::carry::add_label;
use super::people::parts;

/// What no list leaves out: what a resource is, how it is labelled, and what changes its meaning.
const ALWAYS: [&str; 6] = ["resourceType", "id", "meta", "implicitRules", "language", "modifierExtension"];
/// How a list says that a resource leaves whole.
const WHOLE: &str = "*";

/// Resource types, each with the elements that may leave; `*` for all.
pub(super) type List = BTreeMap<String, Vec<String>>;

/// The places of what the list does not have.
pub(super) fn unlisted(content: &Value, list: &List) -> BTreeSet<usize> {
    let kinds = parts(content).into_iter().map(|part| fhir::get_str(part.resource, "resourceType"));
    kinds.enumerate().filter(|(_, kind)| !kind.is_some_and(|kind| list.contains_key(kind))).map(|(at, _)| at).collect()
}

/// Takes out of each resource what the list does not have, and labels what lost something `SUBSETTED`.
pub(super) fn prune(content: &mut Value, list: &List) {
    let Some(entries) = content.get_mut("entry").and_then(Value::as_array_mut) else { return };
    for resource in entries.iter_mut().filter_map(|entry| entry.get_mut("resource")) {
        let listed = fhir::get_str(resource, "resourceType").and_then(|kind| list.get(kind));
        let Some(members) = resource.as_object_mut() else { continue };
        let listed = listed.map(Vec::as_slice).unwrap_or_default();
        if listed.iter().any(|element| element == WHOLE) {
            continue;
        }
        let names: Vec<String> = members.keys().map(ToString::to_string).collect();
        let lost: Vec<String> = names.into_iter().filter(|name| !may_leave(name, listed)).collect();
        lost.iter().for_each(|name| _ = members.shift_remove(name));
        if !lost.is_empty() {
            add_label(resource, OBSERVATION_VALUE, "SUBSETTED");
        }
    }
}

/// Whether the element `name` is on the list: `birthDate`, with its extensions, or one of `value[x]`.
fn may_leave(name: &str, listed: &[String]) -> bool {
    let bare = name.strip_prefix('_').unwrap_or(name);
    let is = |element: &String| match element.strip_suffix("[x]") {
        Some(choice) => {
            bare.strip_prefix(choice).is_some_and(|kind| kind.starts_with(|c: char| c.is_ascii_uppercase()))
        }
        None => element == bare,
    };
    ALWAYS.contains(&bare) || listed.iter().any(is)
}

#[cfg(test)]
mod tests {
    use message::json::json;

    use super::*;

    fn list() -> List {
        let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        BTreeMap::from([
            ("Patient".to_owned(), listed(&["identifier", "birthDate", "deceased[x]"])),
            ("Claim".to_owned(), listed(&["*"])),
        ])
    }

    #[test]
    fn what_is_not_listed_stays() {
        let patient = json!({
            "resourceType": "Patient", "id": "1", "identifier": [], "name": [], "birthDate": "1980", "_birthDate": {},
            "deceasedBoolean": false, "deceased": 1, "text": {}
        });
        let claim = json!({ "resourceType": "Claim", "text": {} });
        let note = json!({ "resourceType": "Observation" });
        let mut bundle = json!({ "resourceType": "Bundle", "entry": [
            { "resource": patient }, { "resource": claim }, { "resource": note }, { "request": { "method": "DELETE" } }
        ] });
        assert_eq!(unlisted(&bundle, &list()), BTreeSet::from([2, 3]));
        prune(&mut bundle, &list());
        let left = &bundle["entry"][0]["resource"];
        let names: Vec<String> = left.as_object().unwrap().keys().map(ToString::to_string).collect();
        assert_eq!(names, ["resourceType", "id", "identifier", "birthDate", "_birthDate", "deceasedBoolean", "meta"]);
        assert_eq!(left["meta"]["security"][0]["code"], "SUBSETTED");
        assert!(bundle["entry"][1]["resource"].get("text").is_some(), "whole");
    }
}
