//! One TOML file as a tree with places, and what was found wrong in it.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::Sha256;

use super::fill::Fill;
use super::hide::suspects;
use super::parse::{Parsed, parse};
use super::tree::{Node, Value};
use crate::config::problem::{Place, Problem, Severity};
use crate::config::site::Fingerprint;

/// Most problems told of one file: who has more begins with these.
pub(super) const MOST: usize = 100;

/// One file, parsed. Problems are collected in it while it is read.
pub(in crate::config) struct Document {
    path: PathBuf,
    text: String,
    root: Node,
    found: RefCell<Vec<Found>>,
    secrets: RefCell<Vec<Range<usize>>>,
    filled: Vec<String>,
}

/// What kind of mistake: it decides what is still worth telling beside mistakes of syntax.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Syntax,
    Content,
    Missing,
}

/// A problem, before its place is a line and a column.
pub(super) struct Found {
    pub(super) severity: Severity,
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Document {
    /// Parses `text`, filling in what its strings ask for. Mistakes are kept for [`Document::finish`].
    pub(in crate::config) fn parse(path: PathBuf, text: String, fill: &Fill<'_>) -> Self {
        let Parsed { root, found, filled } = parse(&text, fill);
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

    /// Marks `node` as a secret: its place is blanked wherever the file's text is shown. If it surely
    /// is one, it should not stand in the file.
    pub(in crate::config) fn hide(&self, node: &Node, surely: bool) {
        self.secrets.borrow_mut().push(node.span.clone());
        if let Value::Text { filled: false, text } = &node.value
            && surely
            && !text.is_empty()
        {
            let help = "put it into a file that only tributary can read, and write `${file:PATH}` here".to_owned();
            self.warning(node.span.clone(), "a secret stands in clear in this file", Some(help));
        }
    }

    fn add(&self, severity: Severity, kind: Kind, span: Range<usize>, message: String, help: Option<String>) {
        let mut found = self.found.borrow_mut();
        let an_error = |found: &Found| found.severity == Severity::Error;
        // An error must not get lost behind warnings: without one, the site would run.
        if found.len() >= MOST && (severity == Severity::Warning || found.iter().any(an_error)) {
            return;
        }
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

/// The line that `found` is on.
pub(super) fn line(text: &str, found: &Found) -> usize {
    Place::of(text, found.span.start).line
}
