//! Vectors about marks of envelopes, labels of documents, and what is left of a Bundle.

use std::collections::BTreeSet;

use crate::json::{Map, Value, json};

use super::decisions::list;
use crate::consent::by_entry::Notice;
use crate::consent::marks::{conducted, high_water_mark};
use crate::consent::redaction::redact;
use crate::consent::{CONFIDENTIALITY, Confidentiality};

/// `SYSTEM|CODE` of a label.
fn written(label: &Value) -> String {
    let part = |key: &str| label.get(key).and_then(Value::as_str).unwrap_or_default();
    format!("{}|{}", part("system"), part("code"))
}

/// The labels of the Bundle around resources. What must not be there is checked by what is.
pub(super) fn high_water_mark_of(resources: &[Value]) -> Vec<String> {
    high_water_mark(resources.iter()).iter().map(written).collect()
}

pub(super) fn high_water_mark_vector(vector: &Value) -> Value {
    let mark = high_water_mark_of(list(vector, "resources"));
    let unwanted = vector.get("expected").map(|expected| list(expected, "bundle_absent")).unwrap_or_default();
    let absent: Vec<&Value> =
        unwanted.iter().filter(|label| !mark.iter().any(|own| Some(own.as_str()) == label.as_str())).collect();
    json!({ "bundle_security": mark, "bundle_absent": absent })
}

/// The labels of a document's entries, and of the document.
pub(super) fn cda(vector: &Value) -> Result<Value, String> {
    let document = vector.get("document").ok_or("it has no document")?;
    let code = |value: &Value| value.get("confidentialityCode").and_then(Value::as_str).map(str::to_owned);
    let whole = code(document);
    let mut labels = Map::new();
    let mut highest = conducted(whole.as_deref(), None, None);
    for section in list(document, "sections") {
        let own = code(section);
        for entry in list(section, "resources") {
            let stated = code(entry);
            let reference =
                entry.as_str().or_else(|| entry.get("reference")?.as_str()).ok_or("an entry has no name")?;
            let level = conducted(whole.as_deref(), own.as_deref(), stated.as_deref());
            highest = highest.max(level);
            labels.insert(reference.to_owned(), json!([confidentiality(level)]));
        }
    }
    labels.insert("DocumentReference".to_owned(), json!([confidentiality(highest)]));
    Ok(json!({ "labels": labels }))
}

fn confidentiality(level: Confidentiality) -> String {
    format!("{CONFIDENTIALITY}|{}", level.code())
}

/// What is left of a Bundle.
pub(super) fn redact_vector(vector: &Value) -> Result<Value, String> {
    let input = vector.get("input").ok_or("it has no input")?;
    let entries = list(input, "entry");
    let decisions = vector.get("decisions").and_then(Value::as_object).ok_or("it has no decisions")?;
    let is_denied = |entry: &&Value| {
        let resource = entry.get("resource").unwrap_or(&Value::Null);
        // What nobody decided on does not go.
        decisions.get(&name(resource)).and_then(Value::as_str) != Some("permit")
    };
    let denied: BTreeSet<usize> =
        entries.iter().enumerate().filter(|(_, entry)| is_denied(entry)).map(|(at, _)| at).collect();
    let notice = match vector.get("redaction_notice").and_then(Value::as_str) {
        Some("none") => Notice::None,
        Some("outcome") => Notice::Outcome,
        _ => Notice::Label,
    };
    let rest = redact(input, &denied, notice).rest.unwrap_or(Value::Null);
    let text = rest.to_string();
    let left = list(&rest, "entry");
    let present: Vec<String> = left.iter().filter_map(|entry| entry.get("resource")).map(name).collect();
    let nothing = json!({});
    let expected = vector.get("expected").unwrap_or(&nothing);
    let gone = |key: &str| -> Vec<&Value> {
        let text_of = |unwanted: &&Value| unwanted.as_str().is_some_and(|unwanted| !text.contains(unwanted));
        list(expected, key).iter().filter(text_of).collect()
    };
    let wanted = expected.get("meta_security_added").and_then(Value::as_object);
    let mut added = Map::new();
    for reference in wanted.into_iter().flat_map(Map::keys) {
        let labels = |entries: &[Value]| -> BTreeSet<String> {
            let resources = entries.iter().filter_map(|entry| entry.get("resource"));
            let own = resources.filter(|resource| name(resource) == *reference);
            own.filter_map(|resource| resource.get("meta"))
                .flat_map(|meta| list(meta, "security"))
                .map(written)
                .collect()
        };
        let new: Vec<String> = labels(left).difference(&labels(entries)).cloned().collect();
        added.insert(reference.clone(), json!(new));
    }
    let order = |listed: Vec<String>| {
        // In the order that the vector lists them: what is present is a set.
        let wanted = list(expected, "present");
        let (mut known, other): (Vec<String>, Vec<String>) =
            listed.into_iter().partition(|p| wanted.contains(&json!(p)));
        known.sort_by_key(|present| wanted.iter().position(|wanted| *wanted == json!(present)));
        [known, other].concat()
    };
    Ok(json!({
        "total": rest.get("total"),
        "absent_strings": gone("absent_strings"),
        "absent": gone("absent"),
        "present": order(present),
        "meta_security_added": added,
    }))
}

fn name(resource: &Value) -> String {
    let part = |key: &str| resource.get(key).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", part("resourceType"), part("id"))
}
