//! Invariants that look at values.

use crate::fhir::{Object, Value, get_str};

/// The text of the element `name`.
fn text<'a>(own: &'a Object, name: &str) -> Option<&'a str> {
    own.get(name)?.as_str()
}

/// The members of the list `name`; none where it is no list.
fn list<'a>(own: &'a Object, name: &str) -> &'a [Value] {
    own.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// True if the element `name` is `value`.
pub(super) fn is(own: &Object, name: &str, value: &str) -> bool {
    text(own, name) == Some(value)
}

/// Where `name` is `value`, `needed` is there.
pub(super) fn implies(own: &Object, name: &str, value: &str, needed: &str) -> bool {
    !is(own, name, value) || own.contains_key(needed)
}

/// How many members the list `name` has.
pub(super) fn count(own: &Object, name: &str) -> usize {
    list(own, name).len()
}

/// No member of the list `name` has `value` in its element `element`.
pub(super) fn none_is(own: &Object, name: &str, element: &str, value: &str) -> bool {
    !list(own, name).iter().any(|member| get_str(member, element) == Some(value))
}

/// No entry has `element`, unless the list's mode is `mode`.
pub(super) fn only_in_mode(own: &Object, mode: &str, element: &str) -> bool {
    is(own, "mode", mode) || !list(own, "entry").iter().any(|entry| entry.get(element).is_some())
}

/// The date in `later` is not before that in `earlier`, as far as both say.
pub(super) fn in_order(own: &Object, earlier: &str, later: &str) -> bool {
    let (Some(earlier), Some(later)) = (text(own, earlier), text(own, later)) else { return true };
    super::is_in_order(earlier, later)
}

/// per-1
pub(super) fn period(own: &Object) -> bool {
    in_order(own, "start", "end")
}

/// A decimal, near enough to compare it.
fn number(value: Option<&Value>) -> Option<f64> {
    match value {
        Some(Value::Number(number)) => number.as_str().parse().ok(),
        _ => None,
    }
}

/// rng-2: quantities in one unit are compared.
pub(super) fn range(own: &Object) -> bool {
    let side = |name: &str| own.get(name).and_then(Value::as_object);
    let (Some(low), Some(high)) = (side("low"), side("high")) else { return true };
    let same = |name: &str| text(low, name) == text(high, name);
    if !(same("system") && same("code") && same("unit")) {
        return true;
    }
    match (number(low.get("value")), number(high.get("value"))) {
        (Some(low), Some(high)) => low <= high,
        _ => true,
    }
}

/// True for a quantity in UCUM's system.
pub(super) fn is_ucum(own: &Object) -> bool {
    is(own, "system", "http://unitsofmeasure.org")
}

/// True where the value is more than 0.
pub(super) fn is_positive(own: &Object) -> bool {
    number(own.get("value")).is_none_or(|value| value > 0.0)
}

/// True where the value is written without a fraction.
pub(super) fn is_whole(own: &Object) -> bool {
    own.get("value").is_none_or(|value| !matches!(value, Value::Number(number) if number.as_str().contains('.')))
}

/// True where the number in `name` is 0 or more.
pub(super) fn is_not_negative(own: &Object, name: &str) -> bool {
    number(own.get(name)).is_none_or(|value| value >= 0.0)
}

/// tim-9
pub(super) fn offset_of_no_meal(own: &Object) -> bool {
    !list(own, "when").iter().any(|when| matches!(when.as_str(), Some("C" | "CM" | "CD" | "CV")))
}

/// True if the CodeableConcept in `name` has one of `codes` of `system`.
fn has_coding(own: &Object, name: &str, system: &str, codes: &[&str]) -> bool {
    let codings = own.get(name).and_then(|concept| concept.get("coding")).and_then(Value::as_array);
    codings.is_some_and(|all| {
        all.iter().any(|coding| {
            get_str(coding, "system") == Some(system)
                && get_str(coding, "code").is_some_and(|code| codes.contains(&code))
        })
    })
}

fn allergy_in_error(own: &Object) -> bool {
    let system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";
    has_coding(own, "verificationStatus", system, &["entered-in-error"])
}

/// ait-1
pub(super) fn allergy_has_status(own: &Object) -> bool {
    own.contains_key("clinicalStatus") || allergy_in_error(own)
}

/// ait-2
pub(super) fn allergy_in_error_has_none(own: &Object) -> bool {
    !allergy_in_error(own)
}

/// con-4
pub(super) fn abated(own: &Object) -> bool {
    let system = "http://terminology.hl7.org/CodeSystem/condition-clinical";
    has_coding(own, "clinicalStatus", system, &["resolved", "remission", "inactive"])
}

/// con-5
pub(super) fn condition_in_error_has_none(own: &Object) -> bool {
    let system = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
    !has_coding(own, "verificationStatus", system, &["entered-in-error"])
}

/// app-3
pub(super) fn appointment_times(own: &Object) -> bool {
    let both = own.contains_key("start") && own.contains_key("end");
    both || matches!(text(own, "status"), Some("proposed" | "cancelled" | "waitlist"))
}

/// app-4
pub(super) fn cancelled(own: &Object) -> bool {
    matches!(text(own, "status"), Some("noshow" | "cancelled"))
}

/// cmd-1
pub(super) fn equivalence(own: &Object) -> bool {
    own.contains_key("comment") || !matches!(text(own, "equivalence"), Some("narrower" | "inexact"))
}

/// msq-3
pub(super) fn coordinates(own: &Object) -> bool {
    own.get("coordinateSystem").is_none_or(|value| matches!(value.as_i64(), Some(0 | 1)))
}

/// obs-7: the same Coding in every element, as FHIRPath's `intersect` has it.
pub(super) fn components(own: &Object) -> bool {
    let has_value = own.iter().any(|(name, _)| name.starts_with("value") || name.starts_with("_value"));
    if !has_value {
        return true;
    }
    let own_codings = codings(own.get("code"));
    let mut all = list(own, "component").iter();
    !all.any(|component| codings(component.get("code")).iter().any(|coding| own_codings.contains(coding)))
}

fn codings(code: Option<&Value>) -> &[Value] {
    code.and_then(|code| code.get("coding")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
