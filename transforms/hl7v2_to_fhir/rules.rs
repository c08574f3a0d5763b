//! R4's rules between the elements of a type (its invariants): what a message may say and R4 forbids
//! is moved to where it may stand, and what it then misses is said to be unknown.

use base64::Engine as _;
use message::fhir::definitions::Type;
use message::fhir::validate::is_in_order;
use message::json::{Map, Text, Value};
use smol_str::format_smolstr;

use super::tree::{absent, has};

/// Sees to the rules of a type in an object of it.
pub(super) type Rule = fn(&Type, &mut Map);

const UCUM: &str = "http://unitsofmeasure.org";
const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";

/// The rules of the type called `name`; none where messages cannot break them.
pub(super) fn of(name: &str) -> Option<Rule> {
    Some(match name {
        "Appointment" => appointment,
        "Appointment.participant" => participant,
        "AllergyIntolerance" => |_, own| allergy(own),
        "Attachment" => |_, own| attachment(own),
        "Condition" => |_, own| condition(own),
        "ContactPoint" => |kind, own| needs(kind, own, "value", "system"),
        "DocumentReference" => |_, own| document(own),
        "Device.deviceName" => |_, own| otherwise(own, "type", "other"),
        "Duration" | "Age" | "Count" | "Distance" => |_, own| quantity(own, true),
        "Goal.target" => |kind, own| needs(kind, own, "detail", "measure"),
        "MedicationAdministration.dosage" => |kind, own| one_of(kind, own, &["dose", "rate"]),
        "Observation" => |_, own| observation(own),
        "Observation.referenceRange" => |kind, own| one_of(kind, own, &["text", "low", "high"]),
        "Organization" => organization,
        "Patient.contact" => |kind, own| one_of(kind, own, &["name", "telecom", "address", "organization"]),
        "Period" => |_, own| period(own),
        "Provenance.entity" => |_, own| otherwise(own, "role", "source"),
        "Quantity" => |_, own| quantity(own, false),
        "Ratio" => ratio,
        "ServiceRequest" => |kind, own| needs(kind, own, "orderDetail", "code"),
        "Timing.repeat" => repeat,
        _ => return None,
    })
}

/// Where there is `first`, there is `second`.
fn needs(kind: &Type, own: &mut Map, first: &str, second: &str) {
    if has(own, first) && !has(own, second) {
        absent(kind, second, own);
    }
}

/// One of `names` is there; the first is said to be unknown where none is.
fn one_of(kind: &Type, own: &mut Map, names: &[&str]) {
    if let Some(first) = names.first()
        && !names.iter().any(|name| has(own, name))
    {
        absent(kind, first, own);
    }
}

/// A required code that the message does not say.
fn otherwise(own: &mut Map, name: &'static str, code: &'static str) {
    if !own.contains_key(name) {
        own.remove(&format_smolstr!("_{name}"));
        own.put(name, Value::fixed(code));
    }
}

/// app-1; who says nothing has still to answer.
fn participant(kind: &Type, own: &mut Map) {
    one_of(kind, own, &["type", "actor"]);
    otherwise(own, "status", "needs-action");
}

/// app-2 and app-3: start and end are both there, but for an appointment that has no time yet.
fn appointment(kind: &Type, own: &mut Map) {
    needs(kind, own, "start", "end");
    needs(kind, own, "end", "start");
    let is_open = matches!(text(own, "status"), Some("proposed" | "cancelled" | "waitlist"));
    if !is_open && !has(own, "start") {
        absent(kind, "start", own);
        absent(kind, "end", own);
    }
}

/// A category that R4 has no code for is told by an extension of the allergy: a list with nothing but extensions
/// would be `[null]`, which many readers refuse.
fn allergy(own: &mut Map) {
    in_error(own);
    let says_nothing = |all: &[Value]| all.iter().all(|value| matches!(value, Value::Null));
    if !own.get("category").and_then(Value::as_array).is_some_and(|all| says_nothing(all)) {
        return;
    }
    own.remove("category");
    let Some(Value::Array(twins)) = own.remove("_category") else { return };
    for twin in twins {
        let Value::Object(mut twin) = twin else { continue };
        let Some(Value::Array(said)) = twin.remove("extension") else { continue };
        match own.get_mut("extension").and_then(Value::as_array_mut) {
            Some(extensions) => extensions.extend(said),
            None => drop(own.insert("extension", Value::Array(said))),
        }
    }
}

/// ait-2: what was entered in error has no clinical status.
fn in_error(own: &mut Map) {
    if codes(own, "verificationStatus").any(|(_, code)| code == "entered-in-error") {
        own.remove("clinicalStatus");
    }
}

/// The lines of a text, each from a segment of its own, are one content; what is said of the content apart from its
/// data (TXA-3, TXA-7) is said of the first that has data.
fn document(own: &mut Map) {
    let Some(contents) = own.get_mut("content").and_then(Value::as_array_mut) else { return };
    let mut joined: Vec<Value> = Vec::with_capacity(contents.len());
    let mut text = String::new();
    for content in std::mem::take(contents) {
        let line = line_of(&content);
        if line.is_none() || text.is_empty() {
            end_of_text(&mut joined, &mut text);
            joined.push(content);
        } else {
            text.push('\n');
        }
        text.push_str(line.as_deref().unwrap_or_default());
    }
    end_of_text(&mut joined, &mut text);
    let is_data =
        |content: &Value| content.get("attachment").is_some_and(|attachment| attachment.get("data").is_some());
    if joined.len() > 1 && !joined.first().is_some_and(is_data) && joined.get(1).is_some_and(is_data) {
        let said = joined.remove(0);
        let said = said.get("attachment").and_then(Value::as_object).cloned().unwrap_or_default();
        let first = joined.first_mut().and_then(|first| first.get_mut("attachment")).and_then(Value::as_object_mut);
        if let Some(first) = first {
            for (name, value) in &said {
                match first.contains_key(name) {
                    false => drop(first.insert(name.clone(), value.clone())),
                    true => push_extension(first, &format_smolstr!("_{name}"), said_of(value)),
                }
            }
        }
    }
    *contents = joined;
}

/// The text of a content that is plain text and nothing else.
fn line_of(content: &Value) -> Option<String> {
    let attachment = content.as_object().filter(|content| content.len() == 1)?.get("attachment")?.as_object()?;
    let is_plain = attachment.len() == 2 && text(attachment, "contentType") == Some("text/plain");
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(text(attachment, "data").filter(|_| is_plain)?).ok()?;
    String::from_utf8(bytes).ok()
}

/// Writes `joined`'s text, which more lines than its own have been added to, into its last content.
fn end_of_text(joined: &mut [Value], text: &mut String) {
    let whole = std::mem::take(text);
    let last = joined.last_mut().filter(|_| whole.contains('\n')).and_then(|last| last.get_mut("attachment"));
    if let Some(last) = last.and_then(Value::as_object_mut) {
        last.insert("data", Value::from(base64::engine::general_purpose::STANDARD.encode(whole)));
    }
}

/// att-1: data has a type; what it is of is not known.
fn attachment(own: &mut Map) {
    if has(own, "data") && !has(own, "contentType") {
        own.put("contentType", Value::fixed("application/octet-stream"));
    }
}

/// con-4 and con-5: an end means a problem that is over, unless the status says otherwise.
fn condition(own: &mut Map) {
    in_error(own);
    let is_over =
        |(system, code): (&str, &str)| system == CLINICAL && matches!(code, "resolved" | "remission" | "inactive");
    if !has(own, "abatement") || codes(own, "clinicalStatus").any(is_over) {
        return;
    }
    if own.contains_key("clinicalStatus")
        || codes(own, "verificationStatus").any(|(_, code)| code == "entered-in-error")
    {
        let names = ["abatementDateTime", "abatementString", "abatementAge", "abatementPeriod", "abatementRange"];
        names.iter().for_each(|name| into_extension(own, name));
        return;
    }
    let coding = Value::object([("system", Value::fixed(CLINICAL)), ("code", Value::fixed("resolved"))]);
    own.put("clinicalStatus", Value::object([("coding", Value::Array(vec![coding]))]));
}

/// obs-6: only a result without a value says why.
fn observation(own: &mut Map) {
    if has(own, "value") {
        into_extension(own, "dataAbsentReason");
    }
}

/// org-1, org-2 and org-3: a name or a number, and no home.
fn organization(kind: &Type, own: &mut Map) {
    one_of(kind, own, &["name", "identifier"]);
    for list in ["address", "telecom"] {
        let members = own.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for member in members.filter_map(Value::as_object_mut) {
            if text(member, "use") == Some("home") {
                set_aside(member, "use");
            }
        }
    }
}

/// per-1
fn period(own: &mut Map) {
    let (Some(start), Some(end)) = (text(own, "start"), text(own, "end")) else { return };
    if !is_in_order(start, end) {
        set_aside(own, "end");
    }
}

/// qty-3, and drt-1 and the like where it must be of UCUM: a code of no system is a unit for people.
fn quantity(own: &mut Map, of_ucum: bool) {
    let fits = match text(own, "system") {
        Some(system) => !of_ucum || (system == UCUM && has(own, "value")),
        None => has(own, "system"),
    };
    if !own.contains_key("code") || fits {
        return;
    }
    if own.contains_key("unit") {
        return into_extension(own, "code");
    }
    if let Some(code) = own.remove("code") {
        own.put("unit", code);
    }
}

/// rat-1: both sides.
fn ratio(kind: &Type, own: &mut Map) {
    needs(kind, own, "numerator", "denominator");
    needs(kind, own, "denominator", "numerator");
}

/// tim-1, tim-2, tim-8 to tim-10.
fn repeat(kind: &Type, own: &mut Map) {
    needs(kind, own, "duration", "durationUnit");
    needs(kind, own, "period", "periodUnit");
    if let Some(most) = own.get("countMax").cloned()
        && !own.contains_key("count")
    {
        own.put("count", most);
    }
    let of_a_meal = |own: &Map| {
        let all = own.get("when").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        all.is_empty() || all.iter().any(|when| matches!(when.as_str(), Some("C" | "CM" | "CD" | "CV")))
    };
    if own.contains_key("offset") && of_a_meal(own) {
        set_aside(own, "offset");
    }
    if own.contains_key("when") {
        into_extension(own, "timeOfDay");
    }
    for name in ["duration", "period"] {
        if own.get(name).is_some_and(|value| value.to_string().starts_with('-')) {
            set_aside(own, name);
        }
    }
}

fn text<'m>(own: &'m Map, name: &str) -> Option<&'m str> {
    own.get(name)?.as_str()
}

/// Systems and codes of the CodeableConcept `name`.
fn codes<'m>(own: &'m Map, name: &str) -> impl Iterator<Item = (&'m str, &'m str)> + use<'m> {
    let codings = own.get(name).and_then(|concept| concept.get("coding")).and_then(Value::as_array);
    codings.into_iter().flatten().filter_map(|coding| {
        let part = |name: &str| coding.get(name).and_then(Value::as_str);
        Some((part("system").unwrap_or_default(), part("code")?))
    })
}

/// Moves the primitive `name` into an extension of itself: it is still told, and says nothing any more.
fn set_aside(own: &mut Map, name: &str) {
    if let Some(value) = own.remove(name) {
        push_extension(own, &format_smolstr!("_{name}"), said_of(&value));
    }
}

/// Adds `extension` to those of the element `name`.
fn push_extension(own: &mut Map, name: &str, extension: Value) {
    match own.get_mut(name).and_then(|element| element.get_mut("extension")).and_then(Value::as_array_mut) {
        Some(extensions) => extensions.push(extension),
        None => drop(own.insert(name, Value::object([("extension", Value::Array(vec![extension]))]))),
    }
}

/// Moves the element `name` into an extension of what it is in.
fn into_extension(own: &mut Map, name: &str) {
    let Some(value) = own.remove(name) else { return };
    let said = said_of(&value);
    match own.get_mut("extension").and_then(Value::as_array_mut) {
        Some(extensions) => extensions.push(said),
        None => drop(own.insert("extension", Value::Array(vec![said]))),
    }
}

/// The texts of `value` in an extension.
fn said_of(value: &Value) -> Value {
    let mut text = String::new();
    collect(value, &mut text);
    let url = Value::fixed("http://hl7.org/fhir/StructureDefinition/originalText");
    Value::object([("url", url), ("valueString", Value::from(Text::from(text)))])
}

fn collect(value: &Value, out: &mut String) {
    match value {
        Value::Array(members) => members.iter().for_each(|member| collect(member, out)),
        Value::Object(members) => members.values().for_each(|member| collect(member, out)),
        _ => {
            if !out.is_empty() {
                out.push(' ');
            }
            match value.as_str() {
                Some(text) => out.push_str(text),
                None => out.push_str(&value.to_string()),
            }
        }
    }
}
