//! Test vectors of consent decisions (format `consent-vector/1`): reads one, does what it asks, compares.
//!
//! A folder of vectors stands alone: Consents, policies, a directory, a terminology beside them. Each
//! vector is answered by the code that answers real messages; what needs a transform ([`Kind::Label`],
//! [`Kind::V2`]) is answered by the caller.

mod compare;
mod decisions;
mod external;
mod marks;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::json::{Value, json};

use super::by_entry::{Directory, Explanation, Terms};

pub use compare::differences;

/// All that vectors may name, read from their folder or shipped.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Consents by their path in the folder, such as `consents/basic-treat.json`.
    pub consents: BTreeMap<String, Value>,
    /// Policies by name.
    pub policies: BTreeMap<String, Value>,
    /// Who belongs to whom.
    pub directory: Arc<Directory>,
    /// How codes lie within each other.
    pub terms: Terms,
}

/// What a vector asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One decision.
    Decision,
    /// Decisions in the course of time.
    Timeline,
    /// The labels of resources.
    Label,
    /// The marks of a Bundle.
    HighWaterMark,
    /// What an HL7 v2 message becomes.
    V2,
    /// The labels of a C-CDA document.
    Cda,
    /// What an external decision service's answer means.
    External,
    /// What is left of a Bundle.
    Redact,
}

impl Kind {
    /// The kind of `vector`.
    #[must_use]
    pub fn of(vector: &Value) -> Option<Self> {
        Some(match vector.get("kind")?.as_str()? {
            "decision" => Self::Decision,
            "timeline" => Self::Timeline,
            "label" => Self::Label,
            "hwm" => Self::HighWaterMark,
            "v2" => Self::V2,
            "cda" => Self::Cda,
            "external" => Self::External,
            "redact" => Self::Redact,
            _ => return None,
        })
    }
}

/// What came of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it expects.
    pub expected: Value,
    /// What it got, in the same shape.
    pub got: Value,
    /// What differs: one line each. Empty for one that passes.
    pub differs: Vec<String>,
}

impl Outcome {
    /// Compares.
    #[must_use]
    pub fn of(expected: &Value, got: Value) -> Self {
        Self { expected: expected.clone(), differs: differences(expected, &got), got }
    }

    /// A vector that could not be answered.
    #[must_use]
    pub fn failed(vector: &Value, reason: &str) -> Self {
        let expected = vector.get("expected").cloned().unwrap_or(Value::Null);
        Self { expected, got: json!({ "error": reason }), differs: vec![reason.to_owned()] }
    }

    /// True if it got what it expects.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.differs.is_empty()
    }
}

/// Why the vector of a decision is decided as it is, entry by entry.
///
/// # Errors
///
/// What the vector lacks.
pub fn explained(vector: &Value, folder: &Folder) -> Result<Vec<Explanation>, String> {
    match Kind::of(vector) {
        Some(Kind::Decision) => decisions::explained(vector, folder),
        _ => Err("only a decision can be explained".to_owned()),
    }
}

/// Answers `vector`; `None` for a kind that needs a transform.
#[must_use]
pub fn run(vector: &Value, folder: &Folder) -> Option<Outcome> {
    let kind = Kind::of(vector)?;
    if let Err(reason) = decisions::is_well_formed(vector) {
        return Some(Outcome::failed(vector, &reason));
    }
    let answer = match kind {
        Kind::Decision => decisions::decision(vector, folder),
        Kind::Timeline => decisions::timeline(vector, folder),
        Kind::External => external::external(vector, folder),
        Kind::HighWaterMark => Ok(marks::high_water_mark_vector(vector)),
        Kind::Cda => marks::cda(vector),
        Kind::Redact => marks::redact_vector(vector),
        Kind::Label | Kind::V2 => return None,
    };
    let expected = vector.get("expected").cloned();
    Some(match (answer, expected) {
        (Err(reason), _) => Outcome::failed(vector, &reason),
        (Ok(got), Some(expected)) => Outcome::of(&expected, got),
        // A timeline states what it expects at each step.
        (Ok(got), None) => decisions::compare_steps(vector, got),
    })
}
