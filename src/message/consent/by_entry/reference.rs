//! Names of things: references brought to one form, and business identifiers.

use crate::json::{Text, Value};

/// A reference in one form: base URL, version and fragment stripped (`Observation/1`). A search by
/// `identifier` becomes that identifier, `SYSTEM|VALUE`; what is no resource's URL stays as it is.
#[must_use]
pub fn normal(reference: &str) -> Text {
    changed(reference).unwrap_or_else(|| reference.into())
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
    let mut all = Names::default();
    named_by(reference, &mut all);
    all.end();
    all.normal(0).collect()
}

/// A name as it stands in a resource: most are never asked for in another form.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    /// Has its form already.
    Own(&'a str),
    /// A reference or an address.
    Literal(&'a str),
    /// A business identifier.
    Identifier { system: &'a str, value: &'a str },
}

impl<'a> Name<'a> {
    /// A business identifier; `None` without a value.
    pub(super) fn of_identifier(value: &'a Value) -> Option<Self> {
        let (mut system, mut number) = ("", None);
        for (name, member) in value.as_object()? {
            match (name.as_str(), member) {
                ("system", Value::String(text)) => system = text.trim(),
                ("value", Value::String(text)) => number = Some(text.trim()).filter(|text| !text.is_empty()),
                _ => {}
            }
        }
        Some(Self::Identifier { system: system.trim_end_matches('/'), value: number? })
    }

    /// In the form of [`normal`] and [`identifier`]; `None` if it names nothing.
    pub(super) fn normal(self) -> Option<Text> {
        match self {
            Self::Own(text) => Some(text.into()),
            Self::Literal(text) => Some(normal(text)).filter(|name| !name.is_empty()),
            Self::Identifier { system, value } => Some([system, "|", value].concat().into()),
        }
    }
}

/// Lists of names as they stand, in one piece of memory.
#[derive(Default)]
pub(super) struct Names {
    text: String,
    /// Each name's form, and where it ends; of an identifier also where its system ends.
    names: Vec<(Stands, usize)>,
    /// Where each list ends.
    ends: Vec<usize>,
}

/// How a name stands among [`Names`].
#[derive(Clone, Copy)]
enum Stands {
    Own,
    Literal,
    /// Behind a system that ends there.
    Identifier(usize),
}

impl Names {
    /// With room for so many lists, and so many names in all.
    pub(super) fn with_capacity(lists: usize, names: usize) -> Self {
        const LENGTH: usize = 48;
        Self {
            text: String::with_capacity(LENGTH * names),
            names: Vec::with_capacity(names),
            ends: Vec::with_capacity(lists),
        }
    }

    /// Adds to the list that has not ended yet.
    pub(super) fn push(&mut self, name: Name<'_>) {
        let (stands, text) = match name {
            Name::Own(text) => (Stands::Own, text),
            Name::Literal(text) => (Stands::Literal, text),
            Name::Identifier { system, value } => {
                self.text.push_str(system);
                (Stands::Identifier(self.text.len()), value)
            }
        };
        self.text.push_str(text);
        self.names.push((stands, self.text.len()));
    }

    /// Ends a list: what was added since the last.
    pub(super) fn end(&mut self) {
        self.ends.push(self.names.len());
    }

    /// How many lists there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The names of a list.
    pub(super) fn list(&self, number: usize) -> impl Iterator<Item = Name<'_>> {
        let from = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let to = self.ends.get(number).copied().unwrap_or(from);
        (from..to).filter_map(|at| self.name(at))
    }

    /// The names of a list in their form, without those that name nothing.
    pub(super) fn normal(&self, number: usize) -> impl Iterator<Item = Text> {
        self.list(number).filter_map(Name::normal)
    }

    fn name(&self, at: usize) -> Option<Name<'_>> {
        let from = at.checked_sub(1).and_then(|before| self.names.get(before)).map_or(0, |(_, end)| *end);
        let (stands, end) = *self.names.get(at)?;
        Some(match stands {
            Stands::Own => Name::Own(self.text.get(from..end)?),
            Stands::Literal => Name::Literal(self.text.get(from..end)?),
            Stands::Identifier(middle) => {
                Name::Identifier { system: self.text.get(from..middle)?, value: self.text.get(middle..end)? }
            }
        })
    }
}

/// All that a `Reference` names its target by.
pub(super) fn named_by(reference: &Value, to: &mut Names) {
    named(reference.get("reference"), reference.get("identifier"), to);
}

/// All that a `Reference` with these elements names its target by.
pub(super) fn named(reference: Option<&Value>, logical: Option<&Value>, to: &mut Names) {
    if let Some(Value::String(literal)) = reference {
        to.push(Name::Literal(literal));
    }
    logical.and_then(Name::of_identifier).into_iter().for_each(|name| to.push(name));
}

/// What an `Attachment` with these elements has its bytes from: they may be an entry of their own.
pub(super) fn attachment(media: Option<&Value>, url: Option<&Value>, to: &mut Names) {
    if let (Some(_), Some(Value::String(url))) = (media, url) {
        to.push(Name::Literal(url));
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
