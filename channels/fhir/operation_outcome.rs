//! Reading an OperationOutcome as far as it decides anything: severities and codes, never text.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};

/// The issues of an OperationOutcome (FHIR R4 §2.28).
#[derive(Debug, Default, Deserialize)]
pub(super) struct Issues {
    #[serde(default)]
    issue: Vec<Issue>,
}

#[derive(Debug, Deserialize)]
struct Issue {
    severity: Severity,
    #[serde(default)]
    code: IssueType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// `fatal` or `error`, or a word that FHIR does not have.
    Error,
    Warning,
    /// `information`, or R5's `success`.
    Information,
}

/// A code of the value set `issue-type`; any other word is `unknown`, so that a server cannot put
/// anything into our logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IssueType(&'static str);

/// FHIR R4's value set `issue-type`, and R5's `success` and `limited-filter`.
const ISSUE_TYPES: [&str; 33] = [
    "invalid",
    "structure",
    "required",
    "value",
    "invariant",
    "security",
    "login",
    "unknown",
    "expired",
    "forbidden",
    "suppressed",
    "processing",
    "not-supported",
    "duplicate",
    "multiple-matches",
    "not-found",
    "deleted",
    "too-long",
    "code-invalid",
    "extension",
    "too-costly",
    "business-rule",
    "conflict",
    "transient",
    "lock-error",
    "no-store",
    "exception",
    "timeout",
    "incomplete",
    "throttled",
    "informational",
    "success",
    "limited-filter",
];

/// `transient` and the codes below it: the same content may pass later.
const TRANSIENT: [&str; 7] = ["transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"];

impl Issues {
    /// Those of `body`, if it is an OperationOutcome.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Outcome<'a> {
            #[serde(borrow, rename = "resourceType")]
            resource_type: Cow<'a, str>,
            #[serde(default)]
            issue: Vec<Issue>,
        }
        let outcome: Outcome<'_> = serde_json::from_slice(body).ok()?;
        (outcome.resource_type == "OperationOutcome").then_some(Self { issue: outcome.issue })
    }

    /// True if one says that something went wrong.
    pub(super) fn has_error(&self) -> bool {
        self.errors().next().is_some()
    }

    /// True if there is something to say, and all of it is good news.
    pub(super) fn is_good_news(&self) -> bool {
        !self.issue.is_empty() && self.issue.iter().all(|issue| issue.severity == Severity::Information)
    }

    /// True if something went wrong that may pass.
    pub(super) fn is_transient(&self) -> bool {
        self.errors().any(|issue| TRANSIENT.contains(&issue.code.0))
    }

    fn errors(&self) -> impl Iterator<Item = &Issue> {
        self.issue.iter().filter(|issue| issue.severity == Severity::Error)
    }
}

/// Its distinct codes, the first five: `invalid, required`.
impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut codes: Vec<&str> = Vec::new();
        for issue in &self.issue {
            if codes.len() < 5 && !codes.contains(&issue.code.0) {
                codes.push(issue.code.0);
            }
        }
        f.write_str(&codes.join(", "))
    }
}

impl Default for IssueType {
    fn default() -> Self {
        Self("unknown")
    }
}

impl<'de> Deserialize<'de> for IssueType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = Cow::<str>::deserialize(deserializer)?;
        Ok(ISSUE_TYPES.iter().find(|known| **known == code).copied().map_or_else(Self::default, Self))
    }
}

impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let severity = Cow::<str>::deserialize(deserializer)?;
        Ok(match &*severity {
            "warning" => Self::Warning,
            "information" | "success" => Self::Information,
            _ => Self::Error,
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Expect) {
        let told = Issues::read(body.as_bytes())
            .map(|issues| format!("{issues}; error: {}, transient: {}", issues.has_error(), issues.is_transient()));
        expected.assert_eq(told.as_deref().unwrap_or("none"));
    }

    #[test]
    fn reads_severities_and_codes() {
        check(
            r#"{"resourceType":"OperationOutcome","id":"1","issue":[{"severity":"error","code":"invalid","diagnostics":"x"},
            {"severity":"warning","code":"invalid"},{"severity":"fatal","code":"required","expression":["Bundle"]}]}"#,
            expect!["invalid, required; error: true, transient: false"],
        );
        check(
            r#"{"issue":[{"severity":"information","code":"informational"}],"resourceType":"OperationOutcome"}"#,
            expect!["informational; error: false, transient: false"],
        );
        check(
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"lock-error"}]}"#,
            expect!["lock-error; error: true, transient: true"],
        );
    }

    #[test]
    fn repeats_no_word_that_is_no_code() {
        check(
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"Mary Doe"},{"severity":"dire"}]}"#,
            expect!["unknown; error: true, transient: false"],
        );
    }

    #[test]
    fn reads_nothing_else() {
        check(r#"{"resourceType":"Bundle","issue":[]}"#, expect!["none"]);
        check(r#"{"resourceType":"OperationOutcome","issue":7}"#, expect!["none"]);
        check("<html>", expect!["none"]);
        check("", expect!["none"]);
    }
}
