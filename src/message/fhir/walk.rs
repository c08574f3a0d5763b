//! Finding things in resources: elements by path, references, the patients' identifiers.

use std::collections::HashSet;

use crate::json::{Text, Value};

/// The element at `path`, such as `name[0].given[1]`; counted from 0.
#[must_use]
pub fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    // Most paths are one name.
    if !path.is_empty() && !path.bytes().any(|b| matches!(b, b'.' | b'[')) {
        return value.get(path);
    }
    path.split('.').try_fold(value, |value, step| {
        let (name, indices) = step.split_at(step.find('[').unwrap_or(step.len()));
        let named = if name.is_empty() { Some(value) } else { value.get(name) };
        let mut indices = indices.split_terminator(']').map(|index| index.strip_prefix('[')?.parse::<usize>().ok());
        indices.try_fold(named?, |value, index| value.get(index?))
    })
}

/// The text at `path`, if it is one.
#[must_use]
pub fn get_str<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    get(value, path)?.as_str()
}

/// The resources of a Bundle in order; of any other resource itself.
pub fn resources(resource: &Value) -> impl Iterator<Item = &Value> {
    let is_bundle = resource.get("resourceType").and_then(Value::as_str) == Some("Bundle");
    let entries = resource.get("entry").and_then(Value::as_array).filter(|_| is_bundle);
    let itself = (!is_bundle).then_some(resource);
    itself.into_iter().chain(entries.into_iter().flatten().filter_map(|entry| entry.get("resource")))
}

/// A business identifier.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    /// Its system's URI; empty where none is given.
    pub system: String,
    /// Its value.
    pub value: String,
}

/// Prints the system only: the value is patient data.
impl std::fmt::Debug for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identifier({})", self.system)
    }
}

/// The identifiers of all patients in a Bundle, or of a Patient, in order; each once.
#[must_use]
pub fn patient_identifiers(resource: &Value) -> Vec<Identifier> {
    let patients = resources(resource).filter(|resource| get_str(resource, "resourceType") == Some("Patient"));
    let all = patients.filter_map(|patient| patient.get("identifier")?.as_array()).flatten();
    let valued = all.filter_map(|identifier| {
        let value = get_str(identifier, "value").filter(|value| !value.is_empty())?;
        Some((get_str(identifier, "system").unwrap_or_default(), value))
    });
    let mut seen = HashSet::new();
    let each = valued.filter(|identifier| seen.insert(*identifier));
    each.map(|(system, value)| Identifier { system: system.to_owned(), value: value.to_owned() }).collect()
}

/// Calls `visit` with the text of every `reference` within `value`, in no given order.
pub fn for_each_reference<'a>(value: &'a Value, mut visit: impl FnMut(&'a str)) {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(elements) => {
                if let Some(Value::String(reference)) = elements.get("reference") {
                    visit(reference);
                }
                waiting.extend(elements.values());
            }
            _ => {}
        }
    }
}

/// As [`for_each_reference`], to change them.
pub fn for_each_reference_mut(value: &mut Value, mut visit: impl FnMut(&mut Text)) {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(elements) => {
                for (name, element) in elements.iter_mut() {
                    match element {
                        Value::String(reference) if name == "reference" => visit(reference),
                        element => waiting.push(element),
                    }
                }
            }
            _ => {}
        }
    }
}
