//! Makes a tree of a file's text, with its strings filled in.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::document::{Found, Kind, MOST, line};
use super::fill::Fill;
use super::tree::{Entry, Node, Value};
use crate::config::problem::{Place, Severity};

/// What came of a file's text.
pub(super) struct Parsed {
    /// The tree: what could be made of the text.
    pub(super) root: Node,
    /// What is wrong with it.
    pub(super) found: Vec<Found>,
    /// What was filled in.
    pub(super) filled: Vec<String>,
}

/// Parses `text` as far as it can be.
pub(super) fn parse(text: &str, fill: &Fill<'_>) -> Parsed {
    let (table, mistakes) = DeTable::parse_recoverable(text);
    let mut builder = Builder { fill, found: Vec::new(), filled: Vec::new() };
    mistakes.iter().take(MOST).for_each(|mistake| builder.syntax(text, mistake));
    let root = Node { span: 0..0, value: builder.table(String::new(), table.get_ref()) };
    Parsed { root, found: builder.found, filled: builder.filled }
}

struct Builder<'a> {
    fill: &'a Fill<'a>,
    found: Vec<Found>,
    filled: Vec<String>,
}

impl Builder<'_> {
    fn error(&mut self, kind: Kind, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let (severity, message) = (Severity::Error, message.into());
        if self.found.len() < MOST {
            self.found.push(Found { severity, kind, span, message, help });
        }
    }

    /// Keeps the first mistake of a line: the parser's next ones follow from it.
    fn syntax(&mut self, text: &str, mistake: &toml::de::Error) {
        let span = mistake.span().unwrap_or(0..0);
        let at = Place::of(text, span.start).line;
        if self.found.iter().any(|found| line(text, found) == at) {
            return;
        }
        let (message, help) = in_words(mistake.message(), text.get(span.clone()).unwrap_or(""));
        self.error(Kind::Syntax, span, message, help);
    }

    fn node(&mut self, title: &str, span: Range<usize>, value: &DeValue<'_>) -> Node {
        let value = match value {
            DeValue::String(text) => self.text(&span, text),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => self.broken(&span, "the number is too large"),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => self.broken(&span, "this is no number"),
            },
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(value) => Value::Datetime(value.to_string()),
            DeValue::Array(values) => {
                let title = title.to_owned();
                Value::Array(values.iter().map(|value| self.node(&title, value.span(), value.get_ref())).collect())
            }
            DeValue::Table(table) => self.table(title.to_owned(), table),
        };
        Node { span, value }
    }

    fn table(&mut self, title: String, table: &DeTable<'_>) -> Value {
        let mut entries: Vec<_> = table.iter().map(|(key, value)| self.entry(&title, key, value)).collect();
        entries.sort_by_key(|entry| entry.span.start);
        Value::Table { title, entries }
    }

    fn entry(
        &mut self,
        title: &str,
        key: &toml::Spanned<toml::de::DeString<'_>>,
        value: &toml::Spanned<DeValue<'_>>,
    ) -> Entry {
        let name = key.get_ref().to_string();
        let path = match title.trim_start_matches('[').trim_end_matches(']') {
            "" => name.clone(),
            parent => format!("{parent}.{name}"),
        };
        let many =
            value.get_ref().as_array().is_some_and(|values| values.iter().any(|value| value.get_ref().is_table()));
        let title = if many { format!("[[{path}]]") } else { format!("[{path}]") };
        Entry { key: name, span: key.span(), node: self.node(&title, value.span(), value.get_ref()) }
    }

    fn text(&mut self, span: &Range<usize>, text: &str) -> Value {
        match self.fill.fill(text) {
            Ok(None) => Value::Text { text: text.to_owned(), filled: false },
            Ok(Some(text)) => {
                self.filled.push(text.clone());
                Value::Text { text, filled: true }
            }
            Err(unfilled) => {
                for one in unfilled {
                    self.error(Kind::Content, span.clone(), one.message, Some(one.help));
                }
                Value::Broken
            }
        }
    }

    fn broken(&mut self, span: &Range<usize>, message: &str) -> Value {
        // A number that the parser has already complained about is not told twice.
        if !self.found.iter().any(|found| span.start <= found.span.start && found.span.start <= span.end) {
            self.error(Kind::Content, span.clone(), message, None);
        }
        Value::Broken
    }
}

/// What the parser says, for somebody who does not know its grammar.
fn in_words(message: &str, marked: &str) -> (String, Option<String>) {
    let quotes = || Some("text goes in quotes: key = \"value\"".to_owned());
    match message {
        "duplicate key" => (format!("`{marked}` is given twice"), Some("keep one of them".into())),
        _ if message.starts_with("string values must be quoted") => {
            ("a value is missing or not in quotes".into(), quotes())
        }
        _ if message.starts_with("invalid float") || message.starts_with("invalid integer") => {
            ("this is no number".into(), quotes())
        }
        _ if message.starts_with("invalid boolean") => ("this is neither `true` nor `false`".into(), quotes()),
        "recursion limit" => ("tables are nested too deep".into(), None),
        _ => (message.to_owned(), None),
    }
}
