//! What differs between what a vector expects and what it got.

use std::collections::BTreeSet;

use crate::json::Value;

/// One line for each difference. What a vector does not state is not compared, but for obligations:
/// absent means none.
#[must_use]
pub fn differences(expected: &Value, got: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let Some(expected) = expected.as_object().filter(|expected| !expected.is_empty()) else {
        return vec!["it does not say what it expects".to_owned()];
    };
    for (key, expected) in expected {
        let got = got.get(key.as_str()).unwrap_or(&Value::Null);
        match key.as_str() {
            "resources" => resources(expected, got, &mut found),
            "labels" => sets(key, expected, got, &mut found),
            "obligations" | "bundle_security" if set(expected) == set(got) => {}
            _ if expected.is_object() => inner(key, expected, got, &mut found),
            _ if expected != got => found.push(format!("{key}: expected {expected}, got {got}")),
            _ => {}
        }
    }
    let silent = expected.contains_key("message") && !expected.contains_key("obligations");
    let owed = got.get("obligations").map(set).unwrap_or_default();
    if silent && !owed.is_empty() {
        found.push(format!("obligations: expected none, got {}", owed.into_iter().collect::<Vec<_>>().join(", ")));
    }
    found
}

fn resources(expected: &Value, got: &Value, found: &mut Vec<String>) {
    for (reference, expected) in expected.as_object().into_iter().flatten() {
        let got = got.get(reference.as_str()).unwrap_or(&Value::Null);
        for (key, expected) in expected.as_object().into_iter().flatten() {
            let got = got.get(key.as_str()).unwrap_or(&Value::Null);
            if expected != got {
                found.push(format!("{reference} {key}: expected {expected}, got {got}"));
            }
        }
    }
}

/// Each member is a set.
fn sets(key: &str, expected: &Value, got: &Value, found: &mut Vec<String>) {
    for (name, expected) in expected.as_object().into_iter().flatten() {
        let got = got.get(name.as_str()).unwrap_or(&Value::Null);
        if set(expected) != set(got) {
            found.push(format!("{key} {name}: expected {expected}, got {got}"));
        }
    }
}

fn inner(key: &str, expected: &Value, got: &Value, found: &mut Vec<String>) {
    for (name, expected) in expected.as_object().into_iter().flatten() {
        let got = got.get(name.as_str()).unwrap_or(&Value::Null);
        if expected != got {
            found.push(format!("{key} {name}: expected {expected}, got {got}"));
        }
    }
}

fn set(value: &Value) -> BTreeSet<String> {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
}
