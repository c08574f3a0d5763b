//! What is wrong in a site's files: where, what, and what to do.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The site cannot run.
    Error,
    /// It can run, but somebody should look.
    Warning,
}

/// One mistake in one file.
///
/// Its `Display` is two lines for a log or a pipe; [`Problem::render`] shows the source as well.
/// Neither shows a secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or the folder where one is missing.
    pub file: PathBuf,
    /// Line and column, from 1, in characters; `None` where the file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The file's text with its secrets blanked, and what of it is meant.
    #[serde(skip)]
    pub(super) source: Option<(Arc<str>, Range<usize>)>,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
}

impl Place {
    /// The place of byte `offset` of `text`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(start..).unwrap_or("").trim_start_matches('\u{feff}').chars().count() + 1;
        Self { line, column }
    }

    /// The byte of `text` that is here, if it has such a place.
    pub(super) fn offset_in(self, text: &str) -> Option<usize> {
        let before = self.line.checked_sub(1)?;
        let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
        let line = text.get(start..)?.lines().next().unwrap_or("");
        let within = line.char_indices().nth(self.column.checked_sub(1)?).map_or(line.len(), |(at, _)| at);
        Some(start + within)
    }
}

impl Problem {
    /// An error about `file` as a whole.
    pub(super) fn error(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Self { severity: Severity::Error, file, place: None, message, help: None, source: None }
    }

    /// A warning about `file` as a whole.
    pub(super) fn warning(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, message) }
    }

    /// Says what to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// True if the site cannot run with it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// `FILE:LINE:COLUMN`, or the file alone.
    #[must_use]
    pub fn location(&self) -> String {
        match self.place {
            Some(Place { line, column }) => format!("{}:{line}:{column}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }

    /// For a person at a terminal: the message, the line that it is about, and the help.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        let Some((text, span)) = &self.source else { return self.to_string() };
        let level = if self.is_error() { Level::ERROR } else { Level::WARNING };
        let path = self.file.display().to_string();
        let mark = AnnotationKind::Primary.span(visible(text, span));
        let snippet = Snippet::source(text.as_ref()).path(path).annotation(mark);
        let mut group = level.primary_title(self.message.as_str()).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

/// `span` cut to its first line and to what `text` has.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let Some(marked) = text.get(span.clone()) else { return 0..0 };
    span.start..marked.find('\n').map_or(span.end, |newline| span.start + newline)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.is_error() { "error" } else { "warning" };
        write!(f, "{level}: {}: {}", self.location(), self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
