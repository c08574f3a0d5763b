//! What is wrong with a table: file, line, column, and what to do.

use std::fmt;

/// A mistake in a table, for the analyst who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapError {
    /// The file's name below `maps/`, such as `segments/PID[Patient].toml`.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.text)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for MapError {}

/// Something wrong, before its place is known.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) text: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), help: None }
    }

    /// With the nearest of `known` as a suggestion.
    pub(super) fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let near = known
            .map(|name| (strsim::damerau_levenshtein(&name.to_lowercase(), &word.to_lowercase()), name))
            .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
            .min();
        Self { text: format!("{what} `{word}`"), help: near.map(|(_, name)| format!("did you mean `{name}`?")) }
    }
}

/// Line and column of a byte offset, both from 1.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.bytes().filter(|b| *b == b'\n').count() + 1, column)
}
