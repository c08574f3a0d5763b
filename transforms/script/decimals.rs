//! Which numbers of a Bundle go to a script as decimals: those that FHIR says are, and those that JavaScript would alter.

use std::collections::HashSet;
use std::sync::LazyLock;

use message::json::{Number, Value};

use message::fhir::definitions::{Kind, Primitive, types};

/// The names of R4's elements of type `decimal`.
static NAMES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let all = types().names().filter_map(|name| types().id(name)).map(|id| types().get(id));
    let decimal = |kind: &Kind| matches!(kind, Kind::Primitive(Primitive::Decimal));
    all.flat_map(|kind| kind.names().filter_map(|name| kind.element(name)))
        .filter(|element| decimal(&element.kind))
        .map(|element| element.name.as_str())
        .collect()
});

/// Integers up to this many digits are the same in JavaScript.
const SAFE_DIGITS: usize = 15;

/// Each decimal of `bundle`: the steps that lead to it, and its digits.
pub(super) fn of(bundle: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    collect(bundle, "", &mut Vec::new(), &mut found);
    found
}

fn collect(value: &Value, name: &str, steps: &mut Vec<Value>, found: &mut Vec<Value>) {
    match value {
        Value::Number(number) if NAMES.contains(name) || !is_safe(number) => {
            found.push(Value::Array(vec![Value::Array(steps.clone()), Value::from(number.as_str())]))
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                steps.push(Value::from(i));
                collect(item, name, steps, found);
                steps.pop();
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                if !matches!(member, Value::String(_) | Value::Bool(_) | Value::Null) {
                    steps.push(Value::from(key.as_str()));
                    collect(member, key, steps, found);
                    steps.pop();
                }
            }
        }
        _ => {}
    }
}

fn is_safe(number: &Number) -> bool {
    let digits = number.as_str();
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    digits.len() <= SAFE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Where something stands that FHIR's JSON does not have: `null` as a member, which is how JavaScript leaves what is
/// no number and what was set to nothing. Arrays may hold nulls (FHIR R4 §2.6.2).
pub(super) fn null_in(value: &Value) -> Option<String> {
    match value {
        Value::Object(members) => members.iter().find_map(|(key, member)| match member {
            Value::Null => Some(key.to_string()),
            _ => null_in(member).map(|rest| format!("{key}{}{rest}", if rest.starts_with('[') { "" } else { "." })),
        }),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(i, item)| null_in(item).map(|rest| format!("[{i}].{rest}")))
        }
        _ => None,
    }
}
