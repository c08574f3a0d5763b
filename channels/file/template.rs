//! Names of files and folders as templates: `"{received}-{control_id}-{delivery}.{ext}"`.

use std::fmt;
use std::path::PathBuf;

use message::Format;
use serde::{Deserialize, Serialize};

use super::name::safe;
use crate::Outgoing;

/// What may stand in braces.
const NAMES: [&str; 8] =
    ["channel", "message_type", "trigger_event", "control_id", "received", "message", "delivery", "ext"];

/// Stands for a value that the message does not have.
const NONE: &str = "unknown";

/// Longest value put in, in characters, so that one long value leaves room for the others.
const LONGEST_VALUE: usize = 64;

/// A file's name: safe characters, and names in braces.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameTemplate(Template);

/// A folder within the destination's: names of folders as [`NameTemplate`], with `/` between them.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubfolderTemplate(Vec<Template>);

#[derive(Clone, PartialEq, Eq)]
struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(&'static str),
}

impl NameTemplate {
    /// This delivery's file name: `A-Z a-z 0-9 . _ -` alone, at most 200 bytes.
    #[must_use]
    pub fn render(&self, outgoing: &Outgoing) -> String {
        self.0.render(outgoing)
    }
}

impl SubfolderTemplate {
    /// This delivery's folder; never absolute, never upwards.
    #[must_use]
    pub fn render(&self, outgoing: &Outgoing) -> PathBuf {
        self.0.iter().map(|template| template.render(outgoing)).collect()
    }
}

impl Default for NameTemplate {
    fn default() -> Self {
        let text = |text: &str| Piece::Text(text.to_owned());
        Self(Template(vec![
            Piece::Name("received"),
            text("-"),
            Piece::Name("control_id"),
            text("-"),
            Piece::Name("delivery"),
            text("."),
            Piece::Name("ext"),
        ]))
    }
}

impl TryFrom<String> for NameTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Template::read(&text).map(Self)
    }
}

impl TryFrom<String> for SubfolderTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.split('/').map(Template::read).collect::<Result<_, _>>().map(Self)
    }
}

impl From<NameTemplate> for String {
    fn from(template: NameTemplate) -> Self {
        template.0.to_string()
    }
}

impl From<SubfolderTemplate> for String {
    fn from(template: SubfolderTemplate) -> Self {
        template.0.iter().map(Template::to_string).collect::<Vec<_>>().join("/")
    }
}

impl fmt::Debug for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.to_string(), f)
    }
}

impl fmt::Debug for SubfolderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from(self.clone()), f)
    }
}

impl Template {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "." || text == ".." {
            return Err(format!("`{text}` is no name; write text and names in braces, like \"{{control_id}}.hl7\""));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, left) = match rest.strip_prefix('{') {
                Some(inner) => read_name(inner, text)?,
                None => read_text(rest)?,
            };
            pieces.push(piece);
            rest = left;
        }
        Ok(Self(pieces))
    }

    fn render(&self, outgoing: &Outgoing) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => out.extend(value(name, outgoing).chars().take(LONGEST_VALUE)),
            }
        }
        safe(&out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Name(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// Reads `control_id}…`.
fn read_name<'a>(inner: &'a str, whole: &str) -> Result<(Piece, &'a str), String> {
    let (name, left) = inner.split_once('}').ok_or_else(|| format!("a `{{` in `{whole}` is not closed"))?;
    match NAMES.iter().find(|known| **known == name) {
        Some(known) => Ok((Piece::Name(known), left)),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> String {
    let nearest = NAMES.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    match nearest.filter(|nearest| strsim::jaro_winkler(nearest, name) > 0.75) {
        Some(nearest) => format!("unknown name `{{{name}}}`; did you mean `{{{nearest}}}`?"),
        None => format!("unknown name `{{{name}}}`; known are {}", NAMES.join(", ")),
    }
}

fn read_text(rest: &str) -> Result<(Piece, &str), String> {
    let (text, left) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-')) {
        Some(c) => Err(format!("a file name may hold letters, digits, `.`, `_` and `-`, not `{c}`")),
        None => Ok((Piece::Text(text.to_owned()), left)),
    }
}

fn value(name: &str, outgoing: &Outgoing) -> String {
    match name {
        "message" => outgoing.message.to_string(),
        "delivery" => outgoing.delivery.to_string(),
        "ext" => extension(outgoing.format).to_owned(),
        name => outgoing
            .names
            .iter()
            .find(|(known, value)| *known == name && !value.is_empty())
            .map_or_else(|| NONE.to_owned(), |(_, value)| value.clone()),
    }
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::Hl7v2 => "hl7",
        Format::FhirJson => "json",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::file::tests::outgoing;

    #[track_caller]
    fn check(template: &str, expected: Expect) {
        let rendered = NameTemplate::try_from(template.to_owned()).map(|template| template.render(&outgoing(b"MSH|")));
        expected.assert_eq(&rendered.unwrap_or_else(|error| format!("error: {error}")));
    }

    #[test]
    fn puts_values_in() {
        check("{message_type}_{trigger_event}-{control_id}.{ext}", expect!["ADT_A01-MSG_1.hl7"]);
    }

    #[test]
    fn the_default_is_told_apart_by_its_delivery() {
        let text = String::from(NameTemplate::default());
        assert_eq!(NameTemplate::try_from(text.clone()).unwrap(), NameTemplate::default());
        check(&text, expect!["2026-11-24T10_15_00Z-MSG_1-7.hl7"]);
    }

    #[test]
    fn suggests_the_nearest_name() {
        check("{recieved}.hl7", expect!["error: unknown name `{recieved}`; did you mean `{received}`?"]);
        check(
            "{zzz}.hl7",
            expect![
                "error: unknown name `{zzz}`; known are channel, message_type, trigger_event, control_id, received, message, delivery, ext"
            ],
        );
    }

    #[test]
    fn refuses_what_is_no_name() {
        check("a/{delivery}", expect!["error: a file name may hold letters, digits, `.`, `_` and `-`, not `/`"]);
        check("{delivery", expect!["error: a `{` in `{delivery` is not closed"]);
        check("..", expect!["error: `..` is no name; write text and names in braces, like \"{control_id}.hl7\""]);
    }

    #[test]
    fn a_folder_of_a_message_stays_within_the_destinations() {
        let template = SubfolderTemplate::try_from("{channel}/{message_type}".to_owned()).unwrap();
        let mut outgoing = outgoing(b"MSH|");
        outgoing.names = vec![("channel", "../..".to_owned()), ("message_type", "/etc".to_owned())];
        assert_eq!(template.render(&outgoing), PathBuf::from("_._._/_etc"));
        assert!(SubfolderTemplate::try_from("/abs".to_owned()).is_err());
        assert!(SubfolderTemplate::try_from("a/../b".to_owned()).is_err());
    }
}
