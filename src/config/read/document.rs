//! One TOML file as a tree with places, and what was found wrong in it.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::Sha256;
use toml::de::{DeTable, DeValue};

use super::fill::Fill;
use crate::config::problem::{Place, Problem, Severity};
use crate::config::site::Fingerprint;

/// One file, parsed. Problems are collected in it while it is read.
pub(in crate::config) struct Document {
    path: PathBuf,
    text: String,
    root: Node,
    found: RefCell<Vec<Found>>,
    secrets: RefCell<Vec<Range<usize>>>,
    filled: Vec<String>,
}

/// A value and where it stands.
pub(in crate::config) struct Node {
    /// Its bytes in the file; for a table its header.
    pub(in crate::config) span: Range<usize>,
    /// The value.
    pub(in crate::config) value: Value,
}

/// A TOML value.
pub(in crate::config) enum Value {
    /// Text, after filling in; `filled` if something was: then it may be a secret.
    Text { text: String, filled: bool },
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or time, as written.
    Datetime(String),
    /// A list.
    Array(Vec<Node>),
    /// A table, and how to call it: `[inbound.mllp]`.
    Table { title: String, entries: Vec<Entry> },
    /// Something already reported.
    Broken,
}

/// A key and its value.
pub(in crate::config) struct Entry {
    /// The key.
    pub(in crate::config) key: String,
    /// Where the key stands.
    pub(in crate::config) span: Range<usize>,
    /// Its value.
    pub(in crate::config) node: Node,
}

/// What kind of mistake: it decides what is still worth telling beside mistakes of syntax.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syntax,
    Content,
    Missing,
}

struct Found {
    severity: Severity,
    kind: Kind,
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

impl Document {
    /// Parses `text`, filling in what its strings ask for. Mistakes are kept for [`Document::finish`].
    pub(in crate::config) fn parse(path: PathBuf, text: String, fill: &Fill<'_>) -> Self {
        let (table, mistakes) = DeTable::parse_recoverable(&text);
        let mut builder = Builder { fill, found: Vec::new(), filled: Vec::new() };
        for mistake in &mistakes {
            builder.syntax(&text, mistake);
        }
        let root = Node { span: 0..0, value: builder.table(String::new(), table.get_ref()) };
        let Builder { found, filled, .. } = builder;
        Self { path, text, root, found: RefCell::new(found), secrets: RefCell::default(), filled }
    }

    /// The file's path, as given.
    pub(in crate::config) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's text.
    pub(in crate::config) fn text(&self) -> &str {
        &self.text
    }

    /// The file's tree.
    pub(in crate::config) fn root(&self) -> &Node {
        &self.root
    }

    /// The digest of everything that was filled in and of `files` that are read later: it changes
    /// when a secret or a certificate does.
    pub(in crate::config) fn filled(&self, files: &[&Path]) -> Fingerprint {
        let mut all = self.filled.join("\0").into_bytes();
        for file in files {
            all.push(0);
            all.extend(std::fs::read(file).unwrap_or_default());
        }
        Fingerprint(Sha256::of(&all))
    }

    /// The place of the character at byte `offset` of the text that `node` holds; `None` if it is
    /// written with escapes, so that offsets are others.
    pub(in crate::config) fn within(&self, node: &Node, offset: usize) -> Option<Range<usize>> {
        let inner = node.span.start.checked_add(1)?..node.span.end.checked_sub(1)?;
        let written = self.text.get(inner.clone()).filter(|written| node.text() == Some(written))?;
        let length = written.get(offset..)?.chars().next().map_or(1, char::len_utf8);
        let start = inner.start + offset;
        Some(start..start + length)
    }

    /// True if there are mistakes of syntax, so that something may seem not to be there.
    pub(in crate::config) fn is_broken(&self) -> bool {
        self.found.borrow().iter().any(|found| found.kind == Kind::Syntax)
    }

    /// Reports an error at `span`.
    pub(in crate::config) fn error(&self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.add(Severity::Error, Kind::Content, span, message.into(), help);
    }

    /// Reports something that is not there but must be, in the table at `span`.
    pub(in crate::config) fn missing(&self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.add(Severity::Error, Kind::Missing, span, message.into(), help);
    }

    /// Reports a warning at `span`.
    pub(in crate::config) fn warning(&self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.add(Severity::Warning, Kind::Missing, span, message.into(), help);
    }

    /// Marks `node` as a secret: its place is blanked wherever the file's text is shown.
    pub(in crate::config) fn hide(&self, node: &Node) {
        self.secrets.borrow_mut().push(node.span.clone());
        if let Value::Text { filled: false, text } = &node.value
            && !text.is_empty()
        {
            let help = "put it into a file that only tributary can read, and write `${file:PATH}` here".to_owned();
            self.warning(node.span.clone(), "a secret stands in clear in this file", Some(help));
        }
    }

    fn add(&self, severity: Severity, kind: Kind, span: Range<usize>, message: String, help: Option<String>) {
        let mut found = self.found.borrow_mut();
        if !found.iter().any(|other| other.span == span && other.message == message) {
            found.push(Found { severity, kind, span, message, help });
        }
    }

    /// All problems, in the order of the file.
    ///
    /// Beside mistakes of syntax, what is missing is not told (it may be in the broken part), nor
    /// what stands on a broken line, nor anything else if a broken header or bracket makes the
    /// rest of the file unsure.
    pub(in crate::config) fn finish(self) -> Vec<Problem> {
        let source: Arc<str> = self.shown().into();
        let Self { path, text, found, .. } = self;
        let mut found = found.into_inner();
        let broken: Vec<_> = found.iter().filter(|found| found.kind == Kind::Syntax).map(|f| line(&text, f)).collect();
        let unsure =
            broken.iter().any(|line| text.lines().nth(line - 1).is_none_or(|line| line.trim().starts_with('[')));
        found.retain(|found| match found.kind {
            Kind::Syntax => true,
            Kind::Content => !unsure && !broken.contains(&line(&text, found)),
            Kind::Missing => broken.is_empty(),
        });
        found.sort_by_key(|found| (found.span.start, found.severity));
        let problem = |found: Found| Problem {
            severity: found.severity,
            file: path.clone(),
            place: Some(Place::of(&text, found.span.start)),
            message: found.message,
            help: found.help,
            source: Some((source.clone(), found.span)),
        };
        found.into_iter().map(problem).collect()
    }

    /// The text with every secret blanked, each byte by a star, so that places stay.
    fn shown(&self) -> String {
        let mut spans = self.secrets.borrow().clone();
        suspects(&self.root, false, &mut spans);
        let mut bytes = self.text.clone().into_bytes();
        for span in spans {
            let secret = bytes.get_mut(span).into_iter().flatten();
            secret.filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
        }
        String::from_utf8(bytes).unwrap_or_default()
    }
}

fn line(text: &str, found: &Found) -> usize {
    Place::of(text, found.span.start).line
}

/// Adds the places of values whose key sounds like a secret, wherever it stands: also a mistyped
/// or misplaced one must not be shown.
fn suspects(node: &Node, within: bool, spans: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Table { entries, .. } => {
            entries.iter().for_each(|entry| suspects(&entry.node, within || sounds_secret(&entry.key), spans));
        }
        Value::Array(nodes) => nodes.iter().for_each(|node| suspects(node, within, spans)),
        _ if within => spans.push(node.span.clone()),
        _ => {}
    }
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let words = ["password", "passwd", "secret", "token", "bearer", "credential", "api_key", "passphrase"];
    key == "auth" || words.iter().any(|word| key.contains(word) || strsim::damerau_levenshtein(word, &key) <= 1)
}

/// Makes nodes of what the TOML parser yields.
struct Builder<'a> {
    fill: &'a Fill<'a>,
    found: Vec<Found>,
    filled: Vec<String>,
}

impl Builder<'_> {
    fn error(&mut self, kind: Kind, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let (severity, message) = (Severity::Error, message.into());
        self.found.push(Found { severity, kind, span, message, help });
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
        _ => (message.to_owned(), None),
    }
}

impl Node {
    /// The value at `path`, keys of tables one after the other.
    pub(in crate::config) fn at(&self, path: &[&str]) -> Option<&Node> {
        let Some((key, rest)) = path.split_first() else { return Some(self) };
        self.entries().iter().find(|entry| entry.key == *key).and_then(|entry| entry.node.at(rest))
    }

    /// Its entries, if it is a table.
    pub(in crate::config) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table { entries, .. } => entries,
            _ => &[],
        }
    }

    /// Its elements, if it is a list; else itself, so that `to = "a"` reads like `to = ["a"]`.
    pub(in crate::config) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::Array(nodes) => nodes,
            _ => std::slice::from_ref(self),
        }
    }

    /// Its text, if it is text.
    pub(in crate::config) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// True if what it holds may be a secret, so that no message may show it.
    pub(in crate::config) fn is_filled(&self) -> bool {
        matches!(self.value, Value::Text { filled: true, .. })
    }
}
