//! Labels are never lowered, whatever a script does.

use std::collections::BTreeMap;

use message::consent::{ACT_REASON, Purpose};
use message::json::{Map, Value, json};

/// The label of test data, which is no purpose.
const TEST: &str = "HTEST";

/// Gives `after`, which a script made of `before`, the labels back that it lost: each entry those that it had. What
/// stands under a new name may hold what stood under an old one, and takes on the labels of all that is gone.
pub(crate) fn keep_labels(before: &Value, after: &mut Value) {
    restore(after, &security_of(before));
    let mut labelled: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut known: Vec<String> = Vec::new();
    for (at, entry) in entries(before).iter().enumerate() {
        let name = name_of(entry, at);
        let labels = entry.get("resource").map(security_of).unwrap_or_default();
        if !labels.is_empty() {
            labelled.insert(name.clone(), labels);
        }
        known.push(name);
    }
    if labelled.is_empty() {
        return;
    }
    let Some(Value::Array(entries)) = after.get_mut("entry") else { return };
    let mut fresh = Vec::new();
    for (at, entry) in entries.iter_mut().enumerate() {
        let name = name_of(entry, at);
        let Some(resource) = entry.get_mut("resource") else { continue };
        match labelled.remove(&name) {
            Some(labels) => restore(resource, &labels),
            None if !known.contains(&name) => fresh.push(resource),
            None => {}
        }
    }
    let gone: Vec<Value> = labelled.into_values().flatten().collect();
    fresh.into_iter().for_each(|resource| restore(resource, &gone));
}

fn entries(bundle: &Value) -> &[Value] {
    bundle.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// What an entry is called: its `fullUrl`, the type and id of its resource, or its place.
fn name_of(entry: &Value, at: usize) -> String {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let resource = entry.get("resource").unwrap_or(&Value::Null);
    let (full_url, id, kind) = (text(entry, "fullUrl"), text(resource, "id"), text(resource, "resourceType"));
    match (full_url.is_empty(), id.is_empty()) {
        (false, _) => full_url,
        (true, false) => format!("{kind}/{id}"),
        (true, true) => format!("{kind}#{at}"),
    }
}

fn security_of(resource: &Value) -> Vec<Value> {
    let security = resource.get("meta").and_then(|meta| meta.get("security")).and_then(Value::as_array);
    security.cloned().unwrap_or_default()
}

/// Adds those of `labels` that `resource` lacks. The purposes that they leave are not widened.
fn restore(resource: &mut Value, labels: &[Value]) {
    let Some(resource) = resource.as_object_mut().filter(|_| !labels.is_empty()) else { return };
    if !resource.get("meta").is_some_and(Value::is_object) {
        let at = resource.keys().take(2).take_while(|key| matches!(key.as_str(), "resourceType" | "id")).count();
        resource.shift_insert(at, "meta".to_owned(), Value::Object(Map::new()));
    }
    let Some(Value::Object(meta)) = resource.get_mut("meta") else { return };
    if !meta.get("security").is_some_and(Value::is_array) {
        meta.insert("security", json!([]));
    }
    let Some(Value::Array(security)) = meta.get_mut("security") else { return };
    let allowed: Vec<Purpose> = labels.iter().filter_map(purpose_of).collect();
    if !allowed.is_empty() {
        security
            .retain(|label| purpose_of(label).is_none_or(|purpose| allowed.iter().any(|wider| wider.covers(&purpose))));
    }
    let narrowed = security.iter().any(|label| purpose_of(label).is_some());
    for label in labels.iter().filter(|label| !(narrowed && purpose_of(label).is_some())) {
        if !security.iter().any(|own| is_same(own, label)) {
            security.push(label.clone());
        }
    }
}

fn purpose_of(label: &Value) -> Option<Purpose> {
    let part = |key: &str| label.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_purpose = part("system") == ACT_REASON && part("code") != TEST;
    is_purpose.then(|| Purpose::try_from(part("code").to_owned()).ok()).flatten()
}

fn is_same(one: &Value, other: &Value) -> bool {
    ["system", "code"].iter().all(|key| one.get(*key) == other.get(*key))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn label(code: &str) -> Value {
        let system = match code {
            "R" | "V" | "N" => message::consent::CONFIDENTIALITY,
            "TREAT" | "ETREAT" | "HRESCH" => ACT_REASON,
            _ => "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        };
        json!({ "system": system, "code": code })
    }

    fn entry(url: &str, codes: &[&str]) -> Value {
        let security: Vec<Value> = codes.iter().map(|code| label(code)).collect();
        json!({ "fullUrl": url, "resource": { "resourceType": "Observation", "meta": { "security": security } } })
    }

    #[track_caller]
    fn check(before: &[Value], after: &[Value], expected: Expect) {
        let before = json!({ "resourceType": "Bundle", "entry": before });
        let mut after = json!({ "resourceType": "Bundle", "entry": after });
        keep_labels(&before, &mut after);
        let told = entries(&after).iter().map(|entry| {
            let labels = security_of(entry.get("resource").unwrap());
            labels.iter().map(|label| label["code"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
        });
        expected.assert_eq(&told.collect::<Vec<_>>().join("; "));
    }

    #[test]
    fn what_was_taken_away_comes_back() {
        check(&[entry("a", &["R", "HIV"])], &[entry("a", &["N"])], expect!["N R HIV"]);
        let bare = json!({ "fullUrl": "a", "resource": { "resourceType": "Observation" } });
        check(&[entry("a", &["R", "HIV"])], &[bare], expect!["R HIV"]);
    }

    #[test]
    fn what_stands_under_a_new_name_takes_on_the_labels_of_what_is_gone() {
        let before = [entry("a", &["R", "HIV"]), entry("b", &[])];
        check(&before, &[entry("b", &[]), entry("new", &[])], expect!["; R HIV"]);
        check(&before, &[entry("b", &[])], expect![""]);
    }

    #[test]
    fn purposes_may_be_narrowed_and_not_widened() {
        check(&[entry("a", &["TREAT"])], &[entry("a", &["ETREAT"])], expect!["ETREAT"]);
        check(&[entry("a", &["TREAT"])], &[entry("a", &["TREAT", "HRESCH"])], expect!["TREAT"]);
        check(&[entry("a", &["TREAT"])], &[entry("a", &["HRESCH"])], expect!["TREAT"]);
    }
}
