//! What an answer means for the delivery: the table of statuses in `docs/fhir-channels.md`.
//!
//! A status that is no success counts even if its body cannot be read. A success counts only with
//! the body that was promised: one that is whole but something else is an error, kept to be looked
//! at; one that is not whole leaves unknown what was taken.

use bytes::Bytes;
use reqwest::StatusCode;

use super::answer::Answer;
use super::operation_outcome::Issues;
use super::request::{Expects, Request};
use super::{entries, resource};
use crate::{DeliveryError, Receipt};

/// What became of `request`.
pub(super) fn judge(request: &Request, answer: Answer, accept_empty: bool) -> Result<Receipt, DeliveryError> {
    if !answer.status.is_success() {
        return Err(failure(answer));
    }
    if let Some(cut) = &answer.cut {
        return Err(DeliveryError::Unknown { reason: format!("{}, but {cut}", answer.status_line()) });
    }
    if accept_empty && is_blank(&answer.body) && !matches!(request.expects, Expects::Batch(_)) {
        let summary = answer.status_line();
        return Ok(answer.receipt(summary));
    }
    match request.expects {
        Expects::Transaction(count) | Expects::Batch(count) => entries::judge(request, count, answer),
        Expects::Resource => resource::judge_kept(answer),
        Expects::Reply => resource::judge_reply(answer),
    }
}

/// What a status other than success means.
pub(super) fn failure(answer: Answer) -> DeliveryError {
    let issues = Issues::read(&answer.body);
    let summary = summary(&answer, issues.as_ref());
    let unavailable =
        |down| DeliveryError::Unavailable { reason: summary.clone(), retry_after: answer.retry_after, down };
    match answer.status.as_u16() {
        401 | 403 | 407 => DeliveryError::Unauthorized(answer.receipt(summary)),
        300..=399 => unavailable(true),
        // Not FHIR's way to say so: another server, or a proxy in front of one that is away.
        404 | 405 | 410 if issues.is_none() => unavailable(true),
        408 | 421 | 425 | 429 => unavailable(false),
        502 | 503 | 507 | 511 => unavailable(true),
        504 => DeliveryError::Unknown { reason: summary },
        _ if may_pass(answer.status, issues.as_ref()) => DeliveryError::Erred(answer.receipt(summary)),
        400..=499 | 501 => DeliveryError::Refused(answer.receipt(summary)),
        _ => unavailable(false),
    }
}

/// True if the same content may be taken later: its status or the codes of its issues say so.
pub(super) fn may_pass(status: StatusCode, issues: Option<&Issues>) -> bool {
    let by_status = matches!(status.as_u16(), 408 | 409 | 421 | 423 | 425 | 429 | 500 | 502..=504 | 507);
    by_status || (status.as_u16() != 501 && issues.is_some_and(Issues::is_transient))
}

/// An answer that is not what was promised: kept, and tried again.
pub(super) fn broken_promise(answer: Answer, what: &str) -> DeliveryError {
    let summary = format!("{}, but {what}", answer.status_line());
    DeliveryError::Erred(answer.receipt(summary))
}

pub(super) fn is_blank(body: &Bytes) -> bool {
    body.iter().all(u8::is_ascii_whitespace)
}

/// `422 Unprocessable Entity: invalid, required`.
fn summary(answer: &Answer, issues: Option<&Issues>) -> String {
    let status = answer.status_line();
    match (issues, &answer.leads_to) {
        (Some(issues), _) => format!("{status}: {issues}"),
        (None, Some(origin)) if answer.status.is_redirection() => {
            format!(
                "{status}: redirects are not followed, this one leads to {origin}; set `url` to where the server is"
            )
        }
        (None, _) if answer.status.is_redirection() => format!("{status}: redirects are not followed; check `url`"),
        (None, _) if is_blank(&answer.body) => format!("{status}, without a body"),
        (None, _) => format!("{status}, with {} where an OperationOutcome should be", answer.media),
    }
}
