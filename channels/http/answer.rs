//! The engine's answers in HTTP's words: a status, headers and an OperationOutcome.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_LOCATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use message::{Answer, MessageId};

use super::config::BasePath;
use super::outcome::{FHIR_JSON, Outcome};

/// When a client that cannot be served now should try again, if the engine does not say.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(5);

/// At which point of a message's life an answer is given.
#[derive(Clone, Copy)]
pub(super) enum Point {
    /// At the door: what is invalid is not stored.
    Intake,
    /// After it was stored: what is invalid is parked under its id.
    Outcome(MessageId),
}

/// Where a client finds what becomes of a message.
pub(super) fn status_url(base: &BasePath, id: MessageId) -> String {
    base.join(&format!("status/{id}"))
}

/// `answer` as a response.
pub(super) fn render(answer: Answer, at: Point, base: &BasePath) -> Response {
    match answer {
        Answer::Stored(id) => stored(id, base).into_response(),
        Answer::Duplicate(id) => {
            let text = format!("message {id} came before and is stored; nothing is done twice");
            located(Outcome::information(StatusCode::ACCEPTED, "duplicate", text), id, base).into_response()
        }
        Answer::Done(id, body) => done(id, body, base),
        Answer::Conflict { id, earlier } => {
            let text = format!(
                "its identifier was used before, by message {earlier}, for other content; this one is kept as message \
                 {id} for an operator to decide"
            );
            located(Outcome::error(StatusCode::CONFLICT, "conflict", text), id, base).into_response()
        }
        Answer::Unsupported(fault) => {
            at.locate(Outcome::fault(at.or_parked(StatusCode::UNSUPPORTED_MEDIA_TYPE), &fault), base).into_response()
        }
        Answer::Invalid(fault) => {
            at.locate(Outcome::fault(at.or_parked(StatusCode::BAD_REQUEST), &fault), base).into_response()
        }
        Answer::Unavailable { reason, retry_after } => {
            at.locate(unavailable(reason, retry_after.unwrap_or(TRY_AGAIN)), base).into_response()
        }
    }
}

/// Stored, and answered for.
pub(super) fn stored(id: MessageId, base: &BasePath) -> Outcome {
    let text = format!("message {id} is stored");
    located(Outcome::information(StatusCode::ACCEPTED, "informational", text), id, base)
}

/// Not now: 503.
pub(super) fn unavailable(reason: String, retry_after: Duration) -> Outcome {
    Outcome::error(StatusCode::SERVICE_UNAVAILABLE, "transient", reason).with(RETRY_AFTER, seconds(retry_after))
}

/// A `Retry-After` in whole seconds, at least one (RFC 9110 §10.2.3).
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}

/// What the destination answered, if that is JSON; else that it is done.
fn done(id: MessageId, body: Option<Bytes>, base: &BasePath) -> Response {
    let url = status_url(base, id);
    match body {
        Some(body) if body.trim_ascii_start().starts_with(b"{") => {
            (StatusCode::OK, [(LOCATION, url.clone()), (CONTENT_LOCATION, url)], [(CONTENT_TYPE, FHIR_JSON)], body)
                .into_response()
        }
        Some(body) if !body.is_empty() => {
            let text = format!("message {id} is done; the answer was: {}", String::from_utf8_lossy(&body));
            located(Outcome::information(StatusCode::OK, "informational", text), id, base).into_response()
        }
        _ => {
            let text = format!("message {id} is done");
            located(Outcome::information(StatusCode::OK, "informational", text), id, base).into_response()
        }
    }
}

fn located(outcome: Outcome, id: MessageId, base: &BasePath) -> Outcome {
    let url = status_url(base, id);
    outcome.with(LOCATION, url.clone()).with(CONTENT_LOCATION, url)
}

impl Point {
    /// `status` at the door; 422 for what is stored and parked (FHIR R4 §3.1.0.8.1).
    fn or_parked(self, status: StatusCode) -> StatusCode {
        match self {
            Self::Intake => status,
            Self::Outcome(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn locate(self, outcome: Outcome, base: &BasePath) -> Outcome {
        match self {
            Self::Intake => outcome,
            Self::Outcome(id) => located(outcome, id, base),
        }
    }
}
