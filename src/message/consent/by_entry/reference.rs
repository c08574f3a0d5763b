//! Names of things: references brought to one form, and business identifiers.

use crate::json::{Text, Value};

/// A reference in one form: base URL, version and fragment stripped (`Observation/1`). A search by
/// `identifier` becomes that identifier, `SYSTEM|VALUE`; what is no resource's URL stays as it is.
#[must_use]
pub fn normal(reference: &str) -> Text {
    changed(reference).unwrap_or_else(|| reference.into())
}

/// As [`normal`], of a text that needs no new memory where it has that form already.
fn normal_text(reference: &Text) -> Text {
    changed(reference).unwrap_or_else(|| reference.clone())
}

/// A reference in that form, where it has another.
#[must_use]
pub fn changed(reference: &str) -> Option<Text> {
    memchr::memchr3(b'?', b'#', b'/', reference.as_bytes())?;
    if let Some((_, query)) = reference.split_once('?') {
        let wanted = query.split('&').find_map(|pair| pair.strip_prefix("identifier="))?;
        return Some(unescaped(&decoded(wanted)).into());
    }
    let path = reference.split_once('#').map_or(reference, |(path, _)| path);
    let path = path.split_once("/_history").map_or(path, |(path, _)| path);
    let is_kind = |kind: &str| kind.starts_with(|first: char| first.is_ascii_uppercase());
    let of_kind = path.rsplit_once('/').filter(|(_, id)| !id.is_empty()).and_then(|(before, _)| {
        let at = before.rfind('/').map_or(0, |at| at + 1);
        path.get(at..).filter(|whole| is_kind(whole))
    });
    let whole = of_kind.unwrap_or(path);
    (whole.len() != reference.len()).then(|| whole.into())
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
pub fn identifier(value: &Value) -> Option<Text> {
    Name::of_identifier(value)?.normal()
}

/// All that a FHIR `Reference` names its target by.
#[must_use]
pub fn names(reference: &Value) -> Vec<Text> {
    let mut all = Vec::new();
    named(reference.get("reference"), reference.get("identifier"), &mut all);
    all.iter().filter_map(Name::normal).collect()
}

/// A name as it stands in a resource: most are never asked for in another form.
#[derive(Clone)]
pub(super) enum Name {
    /// Has its form already.
    Own(Text),
    /// A reference or an address.
    Literal(Text),
    /// A business identifier.
    Identifier { system: Text, value: Text },
}

impl Name {
    /// A business identifier; `None` without a value.
    pub(super) fn of_identifier(value: &Value) -> Option<Self> {
        let (mut system, mut number) = (None, None);
        for (name, member) in value.as_object()? {
            match (name.as_str(), member) {
                ("system", Value::String(text)) => system = Some(text),
                ("value", Value::String(text)) => number = Some(text),
                _ => {}
            }
        }
        Some(Self::Identifier { system: system.cloned().unwrap_or_default(), value: number?.clone() })
    }

    /// In the form of [`normal`] and [`identifier`]; `None` if it names nothing.
    pub(super) fn normal(&self) -> Option<Text> {
        match self {
            Self::Own(text) => Some(text.clone()),
            Self::Literal(text) => Some(normal_text(text)).filter(|name| !name.is_empty()),
            Self::Identifier { system, value } => {
                let (system, value) = (system.trim().trim_end_matches('/'), value.trim());
                (!value.is_empty()).then(|| [system, "|", value].concat().into())
            }
        }
    }
}

/// All that a `Reference` with these elements names its target by.
pub(super) fn named(reference: Option<&Value>, logical: Option<&Value>, to: &mut Vec<Name>) {
    if let Some(Value::String(literal)) = reference {
        to.push(Name::Literal(literal.clone()));
    }
    to.extend(logical.and_then(Name::of_identifier));
}

/// What an `Attachment` with these elements has its bytes from: they may be an entry of their own.
pub(super) fn attachment(media: Option<&Value>, url: Option<&Value>, to: &mut Vec<Name>) {
    if let (Some(_), Some(Value::String(url))) = (media, url) {
        to.push(Name::Literal(url.clone()));
    }
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
        assert_eq!(names(&reference), [Text::from("Organization/1"), Text::from("urn:x|7")]);
        assert!(names(&json!({ "display": "Riverside" })).is_empty());
    }
}
