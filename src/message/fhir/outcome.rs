//! OperationOutcome: what we say in it, and what may be told of others'.

use crate::Fault;
use crate::json::{Value, json};

/// How bad an issue is (`http://hl7.org/fhir/issue-severity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing further could be done.
    Fatal,
    /// The action failed.
    Error,
    /// It was done, but something is to be looked at.
    Warning,
    /// It was done.
    Information,
}

impl Severity {
    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }
}

/// An OperationOutcome with one issue. `code` is an IssueType such as `invalid`, `location` a FHIRPath such as
/// `Bundle.entry[3].resource`.
#[must_use]
pub fn operation_outcome(severity: Severity, code: &str, location: Option<&str>, text: &str) -> Value {
    let mut issue = json!({ "severity": severity.code(), "code": code, "details": { "text": text } });
    if let (Some(location), Some(issue)) = (location, issue.as_object_mut()) {
        issue.insert("expression", json!([location]));
    }
    json!({ "resourceType": "OperationOutcome", "issue": [issue] })
}

/// The OperationOutcome that says `fault`.
#[must_use]
pub fn fault_outcome(fault: &Fault) -> Value {
    operation_outcome(Severity::Error, issue_type(fault), fault.location.as_deref(), &fault.text)
}

/// The IssueType (`http://hl7.org/fhir/issue-type`) that says a fault's code of table 0357.
#[must_use]
pub fn issue_type(fault: &Fault) -> &'static str {
    match fault.code {
        100 | 102 => "structure",
        101 => "required",
        103 => "code-invalid",
        104 => "too-long",
        200..=203 => "not-supported",
        204 => "not-found",
        205 => "duplicate",
        206 => "lock-error",
        _ => "exception",
    }
}

/// Most issues that a summary tells.
const ISSUES: usize = 3;
/// Longest place or code in a summary, in bytes.
const LONGEST: usize = 120;

/// One line of what an OperationOutcome says, without patient data: severities, codes and places, never texts, which
/// may repeat values. `None` if it is no OperationOutcome with issues.
#[must_use]
pub fn outcome_summary(outcome: &Value) -> Option<String> {
    if outcome.get("resourceType").and_then(Value::as_str) != Some("OperationOutcome") {
        return None;
    }
    let issues = outcome.get("issue").and_then(Value::as_array).filter(|issues| !issues.is_empty())?;
    let mut told: Vec<String> = issues.iter().take(ISSUES).map(summary_of_issue).collect();
    if issues.len() > ISSUES {
        told.push(format!("and {} more", issues.len() - ISSUES));
    }
    Some(told.join("; "))
}

fn summary_of_issue(issue: &Value) -> String {
    let code = |path| super::get_str(issue, path).filter(|text| is_code(text));
    let mut words: Vec<&str> =
        [code("severity"), code("code"), code("details.coding[0].code")].into_iter().flatten().collect();
    let places =
        ["expression", "location"].into_iter().filter_map(|name| issue.get(name)?.as_array()?.first()?.as_str());
    if let Some(place) = places.into_iter().find(|place| is_place(place)) {
        words.extend(["at", place]);
    }
    if words.is_empty() { "an issue without a code".to_owned() } else { words.join(" ") }
}

fn is_code(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// `Bundle.entry[3].resource`, `/f:Bundle/f:entry[4]`: names and numbers alone.
fn is_place(text: &str) -> bool {
    let of_place = |b: u8| b.is_ascii_alphanumeric() || b"._-[]/:()".contains(&b);
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(of_place)
}
