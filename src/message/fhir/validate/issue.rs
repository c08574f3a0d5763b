//! What the validator says.

use std::borrow::Cow;

use crate::json::{Value, json};
use serde::Serialize;

use crate::fhir::Severity;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// [`Severity::Error`] where R4 forbids it, [`Severity::Warning`] where it is against its advice.
    pub severity: Severity,
    /// What kind of thing.
    pub kind: IssueType,
    /// Where: `Bundle.entry[3].resource.status`, counted from 0.
    pub location: String,
    /// What, for a person; no values of the resource.
    pub text: Cow<'static, str>,
    /// The key of the invariant that it breaks, such as `bdl-7`.
    pub rule: Option<&'static str>,
}

/// The kinds of issues that the validator tells (`http://hl7.org/fhir/issue-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssueType {
    /// What is no element of its type, or of the wrong form: a list, an object, a text.
    Structure,
    /// An element that R4 requires is missing.
    Required,
    /// The value is not of its type.
    Value,
    /// The code is not in the required value set.
    CodeInvalid,
    /// An invariant is broken.
    Invariant,
    /// A reference resolves to nothing.
    NotFound,
    /// Two entries are the same.
    Duplicate,
    /// There is more of it than is looked at.
    TooLong,
}

impl IssueType {
    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Required => "required",
            Self::Value => "value",
            Self::CodeInvalid => "code-invalid",
            Self::Invariant => "invariant",
            Self::NotFound => "not-found",
            Self::Duplicate => "duplicate",
            Self::TooLong => "too-long",
        }
    }
}

/// `Bundle.entry[3].resource.status: the code is not in the value set … (rule)`.
impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.location, self.text)?;
        self.rule.map_or(Ok(()), |rule| write!(f, " ({rule})"))
    }
}

impl Issue {
    /// True if R4 forbids it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self.severity, Severity::Error | Severity::Fatal)
    }
}

/// The OperationOutcome that says `issues`; that all is well, where there are none.
#[must_use]
pub fn outcome(issues: &[Issue]) -> Value {
    if issues.is_empty() {
        return crate::fhir::operation_outcome(Severity::Information, "informational", None, "no issues were found");
    }
    let all: Vec<_> = issues.iter().map(of_outcome).collect();
    json!({ "resourceType": "OperationOutcome", "issue": all })
}

fn of_outcome(issue: &Issue) -> Value {
    let text = match issue.rule {
        Some(rule) => format!("{} ({rule})", issue.text),
        None => issue.text.clone().into_owned(),
    };
    json!({
        "severity": issue.severity.code(),
        "code": issue.kind.code(),
        "details": { "text": text },
        "expression": [issue.location],
    })
}
