//! Partial match: all that is expected must be there; what else is there does not matter.

use serde_json::{Value, json};

use super::Difference;

/// Most differences that are told.
const MOST: usize = 50;

/// What of `expected` is not in `found`.
///
/// Members of objects match by name, `null` means that there must be none. Members of arrays match in any order, each
/// another one. Numbers match by their digits. A resource, or a list of them, matches entries of a Bundle.
pub(super) fn differences(expected: &Value, found: &Value) -> Vec<Difference> {
    let mut out = Vec::new();
    compare(&as_bundle(expected), Some(&as_bundle(found)), "", &mut out);
    out.truncate(MOST);
    out
}

/// A Bundle as it stands; another resource, or a list of them, as the entries of one.
pub(super) fn as_bundle(value: &Value) -> Value {
    let entries = |all: &[Value]| all.iter().map(|resource| json!({ "resource": resource })).collect::<Vec<_>>();
    match value {
        Value::Array(resources) => json!({ "entry": entries(resources) }),
        Value::Object(members) if members.get("resourceType").is_some_and(|kind| kind != "Bundle") => {
            json!({ "entry": entries(std::slice::from_ref(value)) })
        }
        other => other.clone(),
    }
}

fn compare(expected: &Value, found: Option<&Value>, at: &str, out: &mut Vec<Difference>) {
    match (expected, found) {
        (Value::Null, None) => {}
        (Value::Null, Some(found)) => out.push(Difference::new(at, "", shown(found))),
        (Value::Object(members), Some(Value::Object(others))) => {
            for (name, member) in members {
                compare(member, others.get(name), &below(at, name), out);
            }
        }
        (Value::Array(items), Some(Value::Array(others))) => compare_lists(items, others, at, out),
        (Value::Number(number), Some(Value::Number(other))) if number.as_str() == other.as_str() => {}
        (expected, Some(found)) if expected == found && !expected.is_number() => {}
        (expected, found) => out.push(Difference::new(at, shown(expected), found.map(shown).unwrap_or_default())),
    }
}

fn compare_lists(items: &[Value], others: &[Value], at: &str, out: &mut Vec<Difference>) {
    for (i, partner) in partners(items, others).into_iter().enumerate() {
        let Some(item) = items.get(i) else { continue };
        compare(item, partner.and_then(|index| others.get(index)), &item_name(at, i, item), out);
    }
}

/// Which member of `others` each of `items` is compared with: one that matches, else the one that comes nearest, each
/// another one.
pub(super) fn partners(items: &[Value], others: &[Value]) -> Vec<Option<usize>> {
    let mut chosen: Vec<Option<usize>> = Vec::with_capacity(items.len());
    let mut taken = Vec::new();
    for item in items {
        let matches = |(index, other): &(usize, &Value)| !taken.contains(index) && distance(item, other) == 0;
        let found = others.iter().enumerate().find(matches).map(|(index, _)| index);
        taken.extend(found);
        chosen.push(found);
    }
    for (item, chosen) in items.iter().zip(chosen.iter_mut()).filter(|(_, chosen)| chosen.is_none()) {
        let candidates =
            others.iter().enumerate().filter(|(index, other)| !taken.contains(index) && are_alike(item, other));
        let nearest = candidates.min_by_key(|(_, other)| distance(item, other)).map(|(index, _)| index);
        taken.extend(nearest);
        *chosen = nearest;
    }
    chosen
}

/// How many leaves of `item` are not in `other`.
fn distance(item: &Value, other: &Value) -> usize {
    let mut out = Vec::new();
    compare(item, Some(other), "", &mut out);
    out.len()
}

/// Only what is of the same kind is worth comparing: resources of one type.
fn are_alike(item: &Value, other: &Value) -> bool {
    let kind = |value: &Value| value.pointer("/resource/resourceType").or(value.get("resourceType")).cloned();
    match (kind(item), kind(other)) {
        (Some(kind), Some(other)) => kind == other,
        (None, _) => std::mem::discriminant(item) == std::mem::discriminant(other),
        (Some(_), None) => false,
    }
}

/// `Patient.name`, and what is above the entries left out.
fn below(at: &str, name: &str) -> String {
    match (at, name) {
        ("", "entry") => String::new(),
        (at, "resource") if at.starts_with("entry ") => at.trim_start_matches("entry ").to_owned(),
        ("", name) => name.to_owned(),
        (at, name) => format!("{at}.{name}"),
    }
}

fn item_name(at: &str, index: usize, item: &Value) -> String {
    match (at, item.pointer("/resource/resourceType").and_then(Value::as_str)) {
        ("", Some(kind)) => format!("entry {kind}"),
        ("", None) => format!("entry[{index}]"),
        (at, _) => format!("{at}[{index}]"),
    }
}

/// A value on one line.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 200;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
