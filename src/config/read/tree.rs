//! The values of a TOML file, with their places.

use std::fmt;
use std::ops::Range;

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

/// Prints the place alone: the value may be a secret.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?})", self.span)
    }
}
