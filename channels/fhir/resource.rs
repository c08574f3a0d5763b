//! What the answer to a single resource, document or message says.

use std::borrow::Cow;

use reqwest::StatusCode;
use serde::Deserialize;

use super::answer::Answer;
use super::operation_outcome::Issues;
use super::verdict::{broken_promise, is_blank};
use crate::{DeliveryError, Receipt};

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, rename = "resourceType")]
    resource_type: Cow<'a, str>,
}

/// What became of a resource that was to be kept: the answer has a FHIR resource as its body, or
/// none and a status or header that only a server has that keeps it.
pub(super) fn judge_kept(answer: Answer) -> Result<Receipt, DeliveryError> {
    if is_blank(&answer.body) {
        let kept = answer.names_version || matches!(answer.status, StatusCode::CREATED | StatusCode::NO_CONTENT);
        return if kept { Ok(done(answer)) } else { Err(broken_promise(answer, "nothing in it says that it is kept")) };
    }
    match resource_type(&answer).as_deref() {
        None => Err(no_fhir(answer)),
        Some("OperationOutcome") => outcome(answer),
        Some(_) => Ok(done(answer)),
    }
}

/// What became of a message: `MessageHeader.response.code` (FHIR R4 §2.4) says.
pub(super) fn judge_reply(answer: Answer) -> Result<Receipt, DeliveryError> {
    if is_blank(&answer.body) {
        let taken = matches!(answer.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT);
        return if taken {
            Ok(done(answer))
        } else {
            Err(broken_promise(answer, "it has no body, where a reply should be"))
        };
    }
    match resource_type(&answer).as_deref() {
        None => Err(no_fhir(answer)),
        Some("OperationOutcome") => outcome(answer),
        Some("Bundle") => reply(answer),
        Some(_) => Err(broken_promise(answer, "it is another resource than a reply")),
    }
}

fn reply(answer: Answer) -> Result<Receipt, DeliveryError> {
    let status = answer.status_line();
    match response_code(&answer).as_deref() {
        Some("ok") => Ok(answer.receipt(format!("{status}, reply ok"))),
        Some("transient-error") => {
            Err(DeliveryError::Erred(answer.receipt(format!("{status}, reply transient-error"))))
        }
        Some("fatal-error") => Err(DeliveryError::Refused(answer.receipt(format!("{status}, reply fatal-error")))),
        _ => Err(broken_promise(answer, "its MessageHeader has no response code of FHIR's")),
    }
}

/// `MessageHeader.response.code` of the reply's first entry.
fn response_code(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Reply {
        entry: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        resource: Option<MessageHeader>,
    }
    #[derive(Deserialize)]
    struct MessageHeader {
        response: Option<Response>,
    }
    #[derive(Deserialize)]
    struct Response {
        code: String,
    }
    let reply: Reply = serde_json::from_slice(&answer.body).ok()?;
    Some(reply.entry.into_iter().next()?.resource?.response?.code)
}

fn outcome(answer: Answer) -> Result<Receipt, DeliveryError> {
    let issues = Issues::read(&answer.body).unwrap_or_default();
    let summary = format!("{}: {issues}", answer.status_line());
    if issues.has_error() { Err(DeliveryError::Erred(answer.receipt(summary))) } else { Ok(answer.receipt(summary)) }
}

fn resource_type(answer: &Answer) -> Option<String> {
    serde_json::from_slice::<Resource<'_>>(&answer.body).ok().map(|resource| resource.resource_type.into_owned())
}

fn no_fhir(answer: Answer) -> DeliveryError {
    let what = format!("it is {}, where a FHIR resource should be", answer.media);
    broken_promise(answer, &what)
}

fn done(answer: Answer) -> Receipt {
    let summary = answer.status_line();
    answer.receipt(summary)
}
