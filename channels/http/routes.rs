//! What is asked of the channel at which path, and how it is answered.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use message::{Answer, Format, MessageId};
use serde_json::json;
use tokio::time::timeout;

use super::answer::{self, Point, TRY_AGAIN};
use super::body::{Held, Limits, Unread, linger};
use super::config::InboundConfig;
use super::counts::Counts;
use super::outcome::{FHIR_JSON, Outcome};
use super::request::{X_REQUEST_ID, authorize, check_media_type, expects_continue, provenance, request_id};
use crate::{Acknowledge, Intake, Offered, StatusReport, Ticket};

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(super) struct Peer(pub(super) Arc<str>);

impl From<IpAddr> for Peer {
    /// Without the port, which is another with every connection.
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().to_string().into())
    }
}

/// The channel as its handlers see it.
pub(super) struct Door {
    pub(super) channel: Arc<str>,
    pub(super) config: InboundConfig,
    pub(super) limits: Limits,
    pub(super) capability: Bytes,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) counts: Arc<Counts>,
}

/// The routes of the FHIR base: Bundles at the base, and where FHIR also has them.
pub(super) fn router(door: Arc<Door>) -> Router {
    let base = door.config.path.clone();
    let bundles = || post(take).options(|| allow("POST,OPTIONS"));
    let mut router = Router::new()
        .route(&base.join(""), bundles())
        .route(&base.join("Bundle"), bundles())
        .route(&base.join("$process-message"), bundles())
        .route(&base.join("metadata"), get(metadata).options(|| allow("GET,HEAD,OPTIONS")))
        .route(&base.join("status/{id}"), get(status).options(|| allow("GET,HEAD,OPTIONS")));
    if base.as_str() != "/" {
        router = router.route(base.as_str(), bundles());
    }
    router.fallback(not_found).method_not_allowed_fallback(not_allowed).with_state(door)
}

/// Takes a Bundle.
async fn take(State(door): State<Arc<Door>>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    let mut response = match door.accept(&head, &mut body, &peer).await {
        Ok(response) => response,
        Err(refusal) => {
            // Who tries many credentials must not fill the log: the engine says so now and then.
            if refusal.status() != StatusCode::UNAUTHORIZED {
                tracing::info!(
                    channel = %door.channel, peer = %peer.0, status = refusal.status().as_u16(), code = refusal.code(),
                    "request refused"
                );
            }
            refusal.into_response()
        }
    };
    door.counts.answered(response.status());
    if let Some(id) = head.headers.get(X_REQUEST_ID) {
        response.headers_mut().insert(X_REQUEST_ID, id.clone());
    }
    response
}

impl Door {
    async fn accept(&self, head: &Parts, body: &mut Body, peer: &Peer) -> Result<Response, Outcome> {
        let (held, transport_id, beside) = match self.read(&head.headers, body, peer).await {
            Ok(read) => read,
            Err(refusal) => {
                if refusal.lingers && !expects_continue(&head.headers) {
                    linger(body).await;
                }
                return Err(refusal.outcome);
            }
        };
        let (format, bytes) = (Format::FhirJson, held.bytes.clone());
        let offered = Offered { format, bytes, beside, peer: Arc::clone(&peer.0), transport_id };
        let Ok(ticket) = timeout(self.config.answer_timeout.0, self.intake.offer(offered)).await else {
            return Err(answer::unavailable(NOT_STORED_IN_TIME.to_owned(), TRY_AGAIN));
        };
        drop(held);
        Ok(self.answer(ticket, peer).await)
    }

    /// The body, the client's name for its request, and the Provenance beside it.
    async fn read(
        &self,
        headers: &HeaderMap,
        body: &mut Body,
        peer: &Peer,
    ) -> Result<(Held, Option<String>, Bytes), Refusal> {
        self.authorize(headers, peer).await?;
        check_media_type(headers)?;
        let beside = provenance(headers)?;
        let transport_id = request_id(headers)?;
        Ok((self.limits.read(body).await?, transport_id, beside))
    }

    /// Checks the client's credentials; where they are not those, that is told.
    async fn authorize(&self, headers: &HeaderMap, peer: &Peer) -> Result<(), Outcome> {
        let authorized = authorize(headers, self.config.auth.as_ref());
        if authorized.is_err() {
            self.intake.turned_away(&peer.0).await;
        }
        authorized
    }

    /// Answers at once, or once the message is as far as the channel's `acknowledge` asks.
    async fn answer(&self, ticket: Ticket, peer: &Peer) -> Response {
        let base = &self.config.path;
        let (id, answer, at) = match (ticket.answer, ticket.outcome) {
            (Answer::Stored(id) | Answer::Duplicate(id), Some(outcome))
                if self.config.acknowledge != Acknowledge::Stored =>
            {
                match timeout(self.config.answer_timeout.0, outcome).await {
                    Ok(answer) => (Some(id), answer, Point::Outcome(id)),
                    Err(_) => return answer::stored(id, base).into_response(),
                }
            }
            (answer, _) => (id_of(&answer), answer, Point::Intake),
        };
        let response = answer::render(answer, at, base);
        tracing::debug!(
            channel = %self.channel, peer = %peer.0, message = id.map(tracing::field::display),
            status = response.status().as_u16(), "request answered"
        );
        response
    }
}

const NOT_STORED_IN_TIME: &str =
    "the message could not be stored in time; send it again under the same Bundle.identifier or X-Request-Id";

/// Why a body is not taken, and whether its client is still sending it.
struct Refusal {
    outcome: Outcome,
    lingers: bool,
}

impl From<Outcome> for Refusal {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, lingers: true }
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        Self { outcome: unread.outcome(), lingers: unread.lingers() }
    }
}

fn id_of(answer: &Answer) -> Option<MessageId> {
    match answer {
        Answer::Stored(id) | Answer::Duplicate(id) | Answer::Done(id, _) | Answer::Conflict { id, .. } => Some(*id),
        Answer::Unsupported(_) | Answer::Invalid(_) | Answer::Unavailable { .. } => None,
    }
}

/// The CapabilityStatement, which anybody may read.
async fn metadata(State(door): State<Arc<Door>>) -> Response {
    ([(CONTENT_TYPE, FHIR_JSON)], door.capability.clone()).into_response()
}

/// What has become of a message, as Parameters.
async fn status(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = door.authorize(&headers, &peer).await {
        return refusal.into_response();
    }
    let report = match id.parse::<MessageId>() {
        Ok(id) => door.intake.status(id).await.map(|report| (id, report)),
        Err(_) => None,
    };
    match report {
        Some((id, report)) => ([(CONTENT_TYPE, FHIR_JSON)], parameters(id, &report).to_string()).into_response(),
        None => Outcome::error(StatusCode::NOT_FOUND, "not-found", "this channel took no message with this id")
            .into_response(),
    }
}

fn parameters(id: MessageId, report: &StatusReport) -> serde_json::Value {
    json!({
        "resourceType": "Parameters",
        "parameter": [
            { "name": "message", "valueId": id.to_string() },
            { "name": "state", "valueCode": report.state },
            { "name": "changed", "valueInstant": report.changed.to_string() },
            { "name": "text", "valueString": report.text },
        ],
    })
}

async fn allow(methods: &'static str) -> Response {
    (StatusCode::NO_CONTENT, [(ALLOW, HeaderValue::from_static(methods))]).into_response()
}

async fn not_found(State(door): State<Arc<Door>>) -> Outcome {
    let text = format!("there is nothing here: post Bundles to {}", door.config.path.as_str());
    Outcome::error(StatusCode::NOT_FOUND, "not-found", text)
}

/// The router adds `Allow`.
async fn not_allowed() -> Outcome {
    Outcome::error(StatusCode::METHOD_NOT_ALLOWED, "not-supported", "this path does not take this method; see Allow")
}
