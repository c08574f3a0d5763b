//! `--update`: what is expected becomes what is made.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::compare::{as_bundle, differences, partners};

/// Reads what a file expects.
pub(super) fn read(file: &Path) -> Result<Value, String> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("there is no such file: `tributary test --update` writes what is made".to_owned());
        }
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    serde_json::from_str(&text).map_err(|error| format!("this is no JSON: {error}"))
}

/// Writes to `file` what `made` has of what it expects, if it expects anything else; all of it where there is no
/// file. True if it was written.
pub(super) fn write(file: &Path, made: &Value) -> Result<bool, String> {
    let now = if file.exists() {
        let expected = read(file)?;
        if differences(&expected, made).is_empty() {
            return Ok(false);
        }
        restored(&expected, adjusted(&as_bundle(&expected), &as_bundle(made)))
    } else {
        whole(made)
    };
    std::fs::write(file, format!("{now:#}\n")).map_err(|error| format!("cannot be written: {error}"))?;
    Ok(true)
}

/// `expected` with the values of `made`; what is not made is left out, what is not expected is not added.
fn adjusted(expected: &Value, made: &Value) -> Value {
    match (expected, made) {
        (Value::Object(members), Value::Object(others)) => {
            let kept = members.iter().filter_map(|(name, member)| match others.get(name) {
                Some(other) => {
                    Some((name.clone(), if member.is_null() { other.clone() } else { adjusted(member, other) }))
                }
                None => member.is_null().then(|| (name.clone(), Value::Null)),
            });
            Value::Object(kept.collect())
        }
        (Value::Array(items), Value::Array(others)) => {
            let pairs = items.iter().zip(partners(items, others));
            Value::Array(pairs.filter_map(|(item, partner)| Some(adjusted(item, others.get(partner?)?))).collect())
        }
        (_, made) => made.clone(),
    }
}

/// In the form in which `expected` was written: a resource, a list, or a Bundle.
fn restored(expected: &Value, bundle: Value) -> Value {
    let resources = || {
        let entries = bundle.get("entry").and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(|entry| entry.get("resource").cloned()).collect::<Vec<_>>()
    };
    match expected {
        Value::Array(_) => Value::Array(resources()),
        Value::Object(members) if members.get("resourceType").is_some_and(|kind| kind != "Bundle") => {
            resources().into_iter().next().unwrap_or(Value::Null)
        }
        _ => bundle,
    }
}

/// The resources of a Bundle, without what the engine stamps on every message: Provenance and `meta`.
fn whole(made: &Value) -> Value {
    let made = as_bundle(made);
    let entries = made.get("entry").and_then(Value::as_array).into_iter().flatten();
    let resources = entries.filter_map(|entry| entry.get("resource")?.as_object());
    let kept = resources.filter(|resource| resource.get("resourceType").is_some_and(|kind| kind != "Provenance"));
    let bare = |resource: &Map<String, Value>| {
        Value::Object(
            resource.iter().filter(|(name, _)| *name != "meta").map(|(n, v)| (n.clone(), v.clone())).collect(),
        )
    };
    json!(kept.map(bare).collect::<Vec<_>>())
}
