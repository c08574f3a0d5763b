//! What conditions are asked of: messages, resources, and whatever a caller has.

use super::{Expression, FhirPath, Place, Step};
use crate::hl7v2::{self, Path, Segment};
use crate::json::{Map, Value};
use crate::{Body, Message};

/// One value at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fact<'a> {
    /// A text, escape sequences undone; a number or `true` as JSON writes it. Never empty.
    Text(&'a str),
    /// HL7's `""`: to be deleted.
    Null,
    /// Something with parts: a segment, a complex element.
    Group,
}

/// What conditions are asked of.
pub trait Facts<P = Place> {
    /// Calls `test` with each value at `place`, in order, until one passes; true if one did. Where nothing
    /// stands there is no value.
    fn any(&self, place: &P, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool;
}

/// HL7 paths alone have values here.
impl Facts for hl7v2::Message {
    fn any(&self, place: &Place, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        let Place::Hl7v2(path) = place else { return false };
        let mut named = self.segments_named(&path.segment);
        match path.occurrence {
            None => named.any(|segment| any_in_segment(segment, path, test)),
            Some(nth) => {
                nth.checked_sub(1).and_then(|nth| named.nth(nth)).is_some_and(|s| any_in_segment(s, path, test))
            }
        }
    }
}

/// The values at `path` within one segment, whichever of its name it is.
fn any_in_segment(segment: Segment<'_>, path: &Path, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
    let Some(field) = path.field else { return test(Fact::Group) };
    let field = segment.field(field);
    let mut of_repetition = |repetition: hl7v2::Repetition<'_>| {
        let Some(component) = path.component else { return test_part(&repetition, test) };
        let component = repetition.component(component);
        match path.subcomponent {
            None => test_part(&component, test),
            Some(nth) => test_part(&component.subcomponent(nth), test),
        }
    };
    match path.repetition {
        None => field.repetitions().any(of_repetition),
        Some(nth) => of_repetition(field.repetition(nth)),
    }
}

/// What a part of a field says.
trait Part {
    fn tested(&self, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool;
}

macro_rules! part {
    ($($name:ident),*) => {$(
        impl Part for hl7v2::$name<'_> {
            fn tested(&self, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
                if self.is_null() {
                    test(Fact::Null)
                } else {
                    self.is_valued() && test(Fact::Text(&self.value()))
                }
            }
        }
    )*};
}

part!(Repetition, Component, Subcomponent);

fn test_part(part: &impl Part, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
    part.tested(test)
}

/// Paths in resources alone have values here.
impl Facts for Value {
    fn any(&self, place: &Place, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        Item { root: self, item: self }.any(place, test)
    }
}

/// An item of a resource, with the resource or Bundle that it is looked at in.
#[derive(Clone, Copy)]
struct Item<'a> {
    root: &'a Value,
    item: &'a Value,
}

impl Facts for Item<'_> {
    fn any(&self, place: &Place, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        match place {
            Place::Fhir(path) => self.any_at(path, test),
            Place::Hl7v2(_) | Place::Component(_) => false,
        }
    }
}

impl<'a> Item<'a> {
    fn any_at(self, path: &FhirPath, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        let mut items = roots(self.item, path.resource_type.as_deref());
        let holds = |item: &Value, condition: &Expression| condition.eval(&Item { root: self.root, item });
        for (at, step) in path.steps.iter().enumerate() {
            // Nothing but `not()` stands behind a truth.
            let turned = path.steps.iter().skip(at + 1).count() % 2 == 1;
            match step {
                Step::Child(name) => items = items.iter().flat_map(|item| children(item, name)).collect(),
                Step::Index(n) => items = items.get(*n).copied().into_iter().collect(),
                Step::Last => items = items.pop().into_iter().collect(),
                Step::OfType(name) => items.retain(|item| is_a(item, name)),
                Step::Resolve => items = items.into_iter().filter_map(|item| resolved(self.root, item)).collect(),
                Step::Where(condition) => items.retain(|item| holds(item, condition)),
                Step::All(condition) => return test(truth(turned ^ items.iter().all(|item| holds(item, condition)))),
                Step::Exists => return test(truth(turned ^ !items.is_empty())),
                Step::Empty => return test(truth(turned ^ items.is_empty())),
                Step::Not => {
                    let is_true = items.iter().any(|item| !matches!(item, Value::Bool(false)));
                    return !items.is_empty() && test(truth(turned ^ !is_true));
                }
                Step::Count => return test(Fact::Text(&items.len().to_string())),
            }
        }
        items.into_iter().any(|item| test_item(item, test))
    }
}

/// The resource of the Bundle `root` that `item`, a Reference or its text, refers to.
fn resolved<'a>(root: &'a Value, item: &Value) -> Option<&'a Value> {
    let reference = item.get("reference").unwrap_or(item).as_str()?;
    let entries = root.get("entry")?.as_array()?;
    let text = |value: Option<&Value>, is: &str| value.and_then(Value::as_str) == Some(is);
    let is_meant = |entry: &&Value| {
        let part = |name: &str| entry.get("resource").and_then(|resource| resource.get(name));
        text(entry.get("fullUrl"), reference)
            || reference
                .split_once('/')
                .is_some_and(|(kind, id)| text(part("resourceType"), kind) && text(part("id"), id))
    };
    entries.iter().find(is_meant)?.get("resource")
}

fn is_a(value: &Value, name: &str) -> bool {
    value.get("resourceType").and_then(Value::as_str) == Some(name)
}

fn truth(is: bool) -> Fact<'static> {
    Fact::Text(if is { "true" } else { "false" })
}

/// Where a path begins: the resource if it is of that type, else each entry of a Bundle that is.
fn roots<'a>(root: &'a Value, resource_type: Option<&str>) -> Vec<&'a Value> {
    match resource_type {
        None => vec![root],
        Some(name) if is_a(root, name) => vec![root],
        Some(name) => {
            let entries = root.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            entries.iter().filter_map(|entry| entry.get("resource")).filter(|resource| is_a(resource, name)).collect()
        }
    }
}

/// The elements `name` of `item`, lists spread out.
fn children<'a>(item: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let found = item.as_object().and_then(|object| object.get(name).or_else(|| choice(object, name)));
    let (one, many) = match found {
        Some(Value::Array(items)) => (None, items.as_slice()),
        one => (one, &[][..]),
    };
    one.into_iter().chain(many)
}

/// `valueQuantity` for `value`: an element with a choice of types (FHIR R4 §2.1.0.11.6).
fn choice<'a>(object: &'a Map, name: &str) -> Option<&'a Value> {
    if !is_choice(name) {
        return None;
    }
    let typed =
        |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    object.iter().find(|(key, _)| typed(key)).map(|(_, value)| value)
}

/// True for an element whose type can be chosen, in some resource of R4.
pub(super) fn is_choice(name: &str) -> bool {
    CHOICES.contains(&name)
}

/// The elements of R4 resources whose type can be chosen.
const CHOICES: [&str; 47] = [
    "abatement",
    "age",
    "asNeeded",
    "born",
    "bounds",
    "collected",
    "content",
    "deceased",
    "defaultValue",
    "detail",
    "diagnosis",
    "dose",
    "doseNumber",
    "due",
    "effective",
    "entity",
    "event",
    "fastingStatus",
    "fixed",
    "identified",
    "item",
    "legallyBinding",
    "medication",
    "minimumVolume",
    "module",
    "multipleBirth",
    "occurred",
    "occurrence",
    "onset",
    "pattern",
    "performed",
    "probability",
    "procedure",
    "product",
    "quantity",
    "rate",
    "reported",
    "scheduled",
    "seriesDoses",
    "serviced",
    "source",
    "start",
    "statusReason",
    "subject",
    "target",
    "timing",
    "value",
];

fn test_item(item: &Value, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
    match item {
        Value::Null => false,
        Value::Bool(is) => test(truth(*is)),
        Value::Number(number) => test(Fact::Text(number.as_str())),
        Value::String(text) => !text.is_empty() && test(Fact::Text(text)),
        Value::Object(_) | Value::Array(_) => test(Fact::Group),
    }
}

/// HL7 paths ask the message as it came, also after its conversion; paths in resources what it has become.
impl Facts for Message {
    fn any(&self, place: &Place, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        match (place, &self.body) {
            (Place::Hl7v2(_), Body::Hl7v2(message)) => message.any(place, test),
            (Place::Hl7v2(_), Body::Fhir(_)) => self.as_received().is_some_and(|message| message.any(place, test)),
            (Place::Fhir(_), Body::Fhir(resource)) => resource.any(place, test),
            (Place::Fhir(_), Body::Hl7v2(_)) | (Place::Component(_), _) => false,
        }
    }
}
