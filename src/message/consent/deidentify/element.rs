//! What of an element stays, by its type.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::places::address;
use crate::consent::by_entry::normal;
use crate::fhir::definitions::{Element, Kind, Primitive, Type, TypeId, types};
use crate::json::{Map, Value, json};

/// The longest unit that stays as it is written.
const LONGEST_UNIT: usize = 20;
/// The longest code that stays.
const LONGEST_CODE: usize = 64;
/// Ages of so many years and more are one (45 CFR 164.514(b)(2)(i)(C)).
const OLD: i16 = 90;

/// Of a Patient, what stays besides what is of the person alone.
const OF_PATIENT: [&str; 7] =
    ["active", "gender", "birthDate", "deceasedBoolean", "deceasedDateTime", "maritalStatus", "address"];

/// What tells how old somebody is (LOINC).
const AGES: [&str; 5] = ["21611-9", "21612-7", "29553-5", "30525-0", "35659-2"];

/// Types of which nothing stays.
const NOTHING: [&str; 14] = [
    "Annotation",
    "Attachment",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Expression",
    "Extension",
    "HumanName",
    "Identifier",
    "Narrative",
    "RelatedArtifact",
    "SampledData",
    "Signature",
    "Meta",
];

/// How elements are cleaned.
pub(super) struct Cleaning<'a> {
    /// The year of the decision.
    pub(super) year: i16,
    /// The new ids of what stays, by what it is called.
    pub(super) names: &'a BTreeMap<String, Uuid>,
}

impl Cleaning<'_> {
    /// What of a resource stays, without `id` and `meta`; `None` where it cannot stand.
    pub(super) fn resource(&self, resource: &Map) -> Option<Map> {
        let kind = resource.get("resourceType")?.as_str()?;
        let id = types().resource(kind)?;
        // What changes the meaning of the rest cannot be left out.
        let modified = resource.contains_key("modifierExtension") || resource.contains_key("implicitRules");
        let mut rest = self.members(id, resource).filter(|_| !modified)?;
        if kind == "Patient" {
            rest.retain(|name, _| OF_PATIENT.contains(&name));
        }
        if AGES.iter().any(|age| rest.get("code").is_some_and(|code| codes(code).any(|code| code == *age))) {
            let old = |number: &Value| number.as_i64().is_none_or(|years| years >= i64::from(OLD));
            rest.retain(|name, value| name != "valueInteger" || !old(value));
        }
        rest.put_at(0, "resourceType", json!(kind));
        Some(rest)
    }

    /// What of an object of type `id` stays; `None` where what R4 requires of it is gone.
    fn members(&self, id: TypeId, members: &Map) -> Option<Map> {
        let kind = types().get(id);
        let mut rest = Map::new();
        for (name, value) in members.iter() {
            if name == "modifierExtension" {
                return None;
            }
            let Some(element) = kind.element(name).filter(|element| stays(kind, element)) else { continue };
            if let Some(value) = self.value(kind, element, value) {
                rest.push(name.clone(), value);
            }
        }
        let has = |name: &String| {
            rest.contains_key(name)
                || kind.elements().iter().any(|e| e.choice.as_ref() == Some(name) && rest.contains_key(&e.name))
        };
        kind.required().iter().all(has).then_some(rest)
    }

    fn value(&self, kind: &Type, element: &Element, value: &Value) -> Option<Value> {
        match value {
            Value::Array(items) if element.list => {
                let rest: Vec<Value> = items.iter().filter_map(|item| self.one(kind, element, item)).collect();
                (!rest.is_empty()).then_some(Value::Array(rest))
            }
            value if !element.list => self.one(kind, element, value),
            _ => None,
        }
    }

    fn one(&self, kind: &Type, element: &Element, value: &Value) -> Option<Value> {
        match element.kind {
            Kind::Primitive(primitive) => self.primitive(kind, element, primitive, value),
            Kind::Complex(id) => self.complex(id, value.as_object()?),
        }
    }

    fn primitive(&self, kind: &Type, element: &Element, primitive: Primitive, value: &Value) -> Option<Value> {
        match primitive {
            Primitive::Boolean => value.as_bool().map(Value::from),
            Primitive::Decimal | Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt => {
                value.as_number().map(|number| Value::Number(number.clone()))
            }
            // Without a value set of R4's own, only what says its system is a code.
            Primitive::Code => {
                let bound = element.values.is_some()
                    || matches!(&*kind.name, "Coding" | "Quantity" | "Age" | "Count" | "Distance" | "Duration");
                let plain = |text: &&str| text.len() <= LONGEST_CODE && !text.contains(char::is_whitespace);
                value.as_str().filter(|text| bound && plain(text)).map(|text| json!(text))
            }
            Primitive::Date | Primitive::DateTime => self.year(value.as_str()?),
            // The URI of a code system.
            Primitive::Uri if element.name == "system" => value.as_str().map(|text| json!(text)),
            Primitive::String if element.name == "unit" => unit(value.as_str()?),
            _ => None,
        }
    }

    /// The year of a date; nothing where that tells of an age over 89.
    fn year(&self, text: &str) -> Option<Value> {
        let year = text.get(..4).filter(|year| year.bytes().all(|b| b.is_ascii_digit()))?;
        let rest = text.get(4..).unwrap_or_default();
        let old = year.parse::<i16>().ok()? <= self.year.saturating_sub(OLD);
        (!old && (rest.is_empty() || rest.starts_with('-'))).then(|| json!(year))
    }

    fn complex(&self, id: TypeId, members: &Map) -> Option<Value> {
        let kind = types().get(id);
        if NOTHING.contains(&kind.name.as_str()) || types().is_resource(id) {
            return None;
        }
        let rest = match kind.name.as_str() {
            "Address" => return address(members),
            "Reference" => return self.reference(members),
            "Coding" => {
                self.members(id, members).filter(|rest| rest.contains_key("system") && rest.contains_key("code"))
            }
            "Quantity" | "Age" | "Count" | "Distance" | "Duration" => {
                self.members(id, members).filter(|rest| rest.contains_key("value") && !is_old(rest))
            }
            _ => self.members(id, members),
        };
        rest.filter(|rest| !rest.is_empty()).map(Value::Object)
    }

    /// A reference to what stays, by its new name.
    fn reference(&self, members: &Map) -> Option<Value> {
        let reference = members.get("reference")?.as_str()?;
        let id = self
            .names
            .get(reference)
            .or_else(|| self.names.get(&*normal(reference)).filter(|_| !reference.contains("://")))?;
        Some(json!({ "reference": format!("urn:uuid:{id}") }))
    }
}

/// True for an element that may have something left.
fn stays(kind: &Type, element: &Element) -> bool {
    let head = matches!(
        element.name.as_str(),
        "id" | "meta" | "implicitRules" | "language" | "text" | "contained" | "extension"
    );
    let of_coding = kind.name == "Coding" && !matches!(element.name.as_str(), "system" | "code");
    !head && !of_coding
}

/// The codes of a CodeableConcept.
fn codes(concept: &Value) -> impl Iterator<Item = &str> {
    let codings = concept.get("coding").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    codings.iter().filter_map(|coding| coding.get("code")?.as_str())
}

/// A unit as it is written, where it looks like one.
fn unit(text: &str) -> Option<Value> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%/*.^[](){}'µμ°-".contains(c);
    (text.chars().count() <= LONGEST_UNIT && text.chars().all(plain)).then(|| json!(text))
}

/// True for an age over 89, in years or in what makes as many.
fn is_old(quantity: &Map) -> bool {
    let text = |key: &str| quantity.get(key).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let value =
        quantity.get("value").and_then(Value::as_number).and_then(crate::json::Number::as_f64).unwrap_or(f64::MAX);
    let a_year = |unit: &str| match unit {
        "a" | "y" | "yr" | "yrs" | "year" | "years" | "a_j" | "a_t" | "a_g" => Some(1.0),
        "mo" | "mos" | "month" | "months" => Some(12.0),
        "wk" | "week" | "weeks" => Some(52.0),
        "d" | "day" | "days" => Some(365.0),
        _ => None,
    };
    let of = |key: &str| a_year(&text(key)).is_some_and(|a_year| value >= f64::from(OLD) * a_year);
    of("code") || of("unit")
}
