//! Names of things: references brought to one form, and business identifiers.

use crate::json::Value;

/// A reference in one form: base URL, version and fragment stripped (`Observation/1`). A search by
/// `identifier` becomes that identifier, `SYSTEM|VALUE`; what is no resource's URL stays as it is.
#[must_use]
pub fn normal(reference: &str) -> Box<str> {
    if let Some((_, query)) = reference.split_once('?') {
        let wanted = query.split('&').find_map(|pair| pair.strip_prefix("identifier="));
        return wanted.map_or_else(|| reference.into(), |wanted| unescaped(&decoded(wanted)).into());
    }
    let path = reference.split('#').next().unwrap_or_default();
    let path = path.split("/_history").next().unwrap_or_default();
    let mut steps = path.rsplit('/');
    match (steps.next(), steps.next()) {
        (Some(id), Some(kind)) if !id.is_empty() && kind.starts_with(|first: char| first.is_ascii_uppercase()) => {
            format!("{kind}/{id}").into()
        }
        _ => path.into(),
    }
}

/// `%7C` and its like, decoded where that gives text.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = (byte == b'%').then(|| rest.clone().take(2).collect::<Vec<u8>>());
        let value = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok());
        if value.is_some() {
            rest.nth(1);
        }
        bytes.push(value.unwrap_or(byte));
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// What a search escapes in a token (FHIR R4 §3.1.1.4.11), as it is meant.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        plain.push(if c == '\\' { rest.next().unwrap_or(c) } else { c });
    }
    plain
}

/// `SYSTEM|VALUE` of a business identifier; `None` without a value.
#[must_use]
pub fn identifier(value: &Value) -> Option<Box<str>> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let (system, value) = (text("system").unwrap_or_default(), text("value")?);
    Some(format!("{}|{value}", system.trim_end_matches('/')).into())
}

/// All that a FHIR `Reference` names its target by.
#[must_use]
pub fn names(reference: &Value) -> Vec<Box<str>> {
    let literal = reference.get("reference").and_then(Value::as_str).filter(|text| !text.is_empty()).map(normal);
    let logical = reference.get("identifier").and_then(identifier);
    literal.into_iter().chain(logical).collect()
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[test]
    fn brings_references_to_one_form() {
        for (from, to) in [
            ("Patient/1", "Patient/1"),
            ("https://a.example/fhir/Patient/1/_history/3", "Patient/1"),
            ("Patient/1#x", "Patient/1"),
            ("urn:uuid:0b8d", "urn:uuid:0b8d"),
            ("Practitioner?identifier=urn:oid:1.2%7C77", "urn:oid:1.2|77"),
            ("Practitioner?identifier=a|b&x=%zz", "a|b"),
            ("Patient?identifier=urn:x%7CA%5C%7C1%5C%2C2", "urn:x|A|1,2"),
            ("#contained", ""),
        ] {
            assert_eq!(&*normal(from), to, "{from}");
        }
    }

    #[test]
    fn names_by_reference_and_by_identifier() {
        let reference = json!({ "reference": "Organization/1", "identifier": { "system": "urn:x/", "value": "7" } });
        assert_eq!(names(&reference), [Box::from("Organization/1"), Box::from("urn:x|7")]);
        assert!(names(&json!({ "display": "Riverside" })).is_empty());
    }
}
