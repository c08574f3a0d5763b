//! The Consents on hand about a person, and how good that knowledge is.

use std::sync::Arc;

use crate::json::{Number, Value};

use super::directive::Directive;
use super::span::{Micros, Span};
use crate::consent::external::Answer;

/// All Consents known of a person and of whom they are linked with, compiled once.
#[derive(Clone, Debug)]
pub struct Snapshot {
    directives: Vec<Directive>,
    source: Source,
    external: Option<Arc<Answer>>,
}

/// How good the knowledge of Consents is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// As of now.
    Fresh,
    /// Kept from before, for so many microseconds, while their source is down.
    Cached {
        /// How old it is.
        age: Micros,
    },
    /// Their source is down, and nothing is kept.
    Unavailable,
    /// Their source gives no sense.
    Invalid,
}

impl Source {
    /// Reads `{"state": "fresh" | "cached" | "unavailable" | "invalid", "age_seconds": N}`; what is
    /// none of these is invalid, and an age that is not told is too old.
    #[must_use]
    pub fn read(value: Option<&Value>, now: Micros) -> Self {
        let Some(value) = value else { return Self::Fresh };
        match value.get("state").and_then(Value::as_str) {
            Some("fresh") => Self::Fresh,
            Some("unavailable") => Self::Unavailable,
            Some("cached") => {
                let seconds = value
                    .get("age_seconds")
                    .and_then(Value::as_number)
                    .and_then(Number::as_f64)
                    .filter(|s| (0.0..1e12).contains(s));
                #[expect(clippy::cast_possible_truncation, reason = "it was just bounded")]
                let stated = seconds.map(|seconds| (seconds * 1e6) as Micros);
                let fetched =
                    ["fetched_at", "at"].iter().find_map(|key| value.get(*key)?.as_str().and_then(Span::parse));
                Self::Cached { age: stated.or(fetched.map(|at| now - at.from)).unwrap_or(Micros::MAX) }
            }
            _ => Self::Invalid,
        }
    }
}

impl Snapshot {
    /// These Consents, of this source. Their order does not matter.
    #[must_use]
    pub fn new(mut directives: Vec<Directive>, source: Source) -> Self {
        directives.sort_by(|one, other| (&one.series, &one.id).cmp(&(&other.series, &other.id)));
        Self { directives, source, external: None }
    }

    /// With what an external decision service said: it speaks for consent beside what is on file.
    #[must_use]
    pub fn answered(self, answer: Arc<Answer>) -> Self {
        Self { external: Some(answer), ..self }
    }

    /// The same Consents, known only as well as `source` says.
    #[must_use]
    pub fn of_source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// With Consents more.
    #[must_use]
    pub fn with(self, more: impl IntoIterator<Item = Directive>) -> Self {
        let external = self.external.clone();
        Self { external, ..Self::new(self.directives.into_iter().chain(more).collect(), self.source) }
    }

    /// What an external decision service said.
    #[must_use]
    pub fn external(&self) -> Option<&Answer> {
        self.external.as_deref()
    }

    /// The Consents, series after series.
    #[must_use]
    pub fn directives(&self) -> &[Directive] {
        &self.directives
    }

    /// How good the knowledge is.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }
}
