//! The OperationOutcome that every answer without a body of its own carries.

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use message::Fault;
use serde::Serialize;

/// The media type of FHIR in JSON (FHIR R4 §2.1.0.6).
pub(super) const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json; charset=utf-8");

/// An answer with an OperationOutcome (FHIR R4 §2.28) of one issue.
#[derive(Debug)]
pub(super) struct Outcome {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    severity: &'static str,
    code: &'static str,
    text: String,
    location: Option<String>,
}

impl Outcome {
    /// An error, with a code of the value set `issue-type`.
    pub(super) fn error(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), severity: "error", code, text: text.into(), location: None }
    }

    /// Good news, with a code of the value set `issue-type`.
    pub(super) fn information(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { severity: "information", ..Self::error(status, code, text) }
    }

    /// What is wrong with a message, and where.
    pub(super) fn fault(status: StatusCode, fault: &Fault) -> Self {
        Self { location: fault.location.clone(), ..Self::error(status, issue_type(fault.code), fault.text.clone()) }
    }

    /// With one more header.
    pub(super) fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// The answer's status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Its issue's code.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// The resource: a place that is a path goes into `expression`, as FHIRPath; any other, such as a
    /// line and column, into `diagnostics`.
    fn resource(&self) -> OperationOutcome<'_> {
        let (path, other) = match self.location.as_deref() {
            Some(location) if is_path(location) => (Some(location), None),
            other => (None, other),
        };
        OperationOutcome {
            resource_type: "OperationOutcome",
            issue: [Issue {
                severity: self.severity,
                code: self.code,
                details: Details { text: &self.text },
                diagnostics: other,
                expression: path.map(|path| [path]),
            }],
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        // Strings and arrays only: this cannot fail, and an empty body would still be an answer.
        let body = serde_json::to_vec(&self.resource()).unwrap_or_default();
        let headers: HeaderMap = self.headers.into_iter().collect();
        (self.status, headers, [(CONTENT_TYPE, FHIR_JSON)], body).into_response()
    }
}

/// True of `Bundle.entry[3].resource` and `entry[3]`, not of `line 3, column 7`.
fn is_path(location: &str) -> bool {
    location.starts_with(|c: char| c.is_ascii_alphabetic()) && !location.contains(char::is_whitespace)
}

/// HL7 table 0357 in the words of the FHIR value set `issue-type`.
fn issue_type(code: u16) -> &'static str {
    match code {
        100 => "structure",
        101 => "required",
        102 => "value",
        103 => "code-invalid",
        200..=203 => "not-supported",
        204 => "not-found",
        205 => "duplicate",
        206 => "lock-error",
        207 => "exception",
        _ => "invalid",
    }
}

#[derive(Serialize)]
struct OperationOutcome<'a> {
    #[serde(rename = "resourceType")]
    resource_type: &'static str,
    issue: [Issue<'a>; 1],
}

#[derive(Serialize)]
struct Issue<'a> {
    severity: &'static str,
    code: &'static str,
    details: Details<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<[&'a str; 1]>,
}

#[derive(Serialize)]
struct Details<'a> {
    text: &'a str,
}
