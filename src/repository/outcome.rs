//! What is wrong with a request: a status, and an OperationOutcome that says where.

use hyper::StatusCode;
use serde_json::{Value, json};

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<u32>,
    issues: Vec<Issue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Issue {
    /// FHIR R4 issue-type.
    code: &'static str,
    text: String,
    /// A path into the request, such as `Bundle.entry[2].resource.subject`.
    expression: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, retry_after: None, issues: vec![Issue { code, text: text.into(), expression: None }] }
    }

    /// 400: the request breaks a rule of FHIR.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", text)
    }

    /// 412: a condition does not hold.
    pub(super) fn condition(text: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "conflict", text)
    }

    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", text)
    }

    /// Says where, unless that is said already.
    pub(super) fn at(mut self, expression: impl FnOnce() -> String) -> Self {
        if let Some(issue) = self.issues.first_mut().filter(|issue| issue.expression.is_none()) {
            issue.expression = Some(expression());
        }
        self
    }

    pub(super) fn retry_after(mut self, seconds: Option<u32>) -> Self {
        self.retry_after = seconds;
        self
    }

    /// The OperationOutcome (FHIR R4 OperationOutcome).
    pub(super) fn to_outcome(&self) -> Value {
        let issues: Vec<Value> = self.issues.iter().map(Issue::to_json).collect();
        json!({ "resourceType": "OperationOutcome", "issue": issues })
    }
}

impl Issue {
    fn to_json(&self) -> Value {
        let mut issue = json!({ "severity": "error", "code": self.code, "diagnostics": self.text });
        if let (Some(expression), Some(issue)) = (&self.expression, issue.as_object_mut()) {
            issue.insert("expression".to_owned(), json!([expression]));
        }
        issue
    }
}
