//! The engine's local doors: a Unix socket for operators, a loopback port for metrics and health.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use channels::Stop;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};

use super::operation::Operation;
use super::perform::{Desk, perform_as};
use crate::engine::{Engine, clock};

/// Opens the operators' socket at `path`: only this user may connect. A socket that a killed engine
/// left behind is replaced; the store's lock has shown that no other engine is up.
///
/// # Errors
///
/// What the system says.
pub fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers operators until `stop` fires.
pub async fn serve_operators(listener: UnixListener, desk: Arc<Desk>, mut stop: Stop) {
    let router = Router::new()
        .route("/operation", post(operation))
        .layer(axum::extract::DefaultBodyLimit::max(1 << 20))
        .with_state(desk);
    let router = router.into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { stop.stopped().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the operators' socket broke off");
    }
}

/// Who is at the other end of the operators' socket, as the system says.
#[derive(Clone)]
struct Peer(String);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().map_or_else(|_| "unknown".to_owned(), |peer| format!("uid {}", peer.uid())))
    }
}

async fn operation(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(Peer(by)): ConnectInfo<Peer>,
    Json(operation): Json<Operation>,
) -> Response {
    match perform_as(&desk, &by, operation).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) if error.not_found => (StatusCode::NOT_FOUND, Json(error)).into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response(),
    }
}

/// Answers `/metrics`, `/health` and `/ready` until `stop` fires.
pub async fn serve_metrics(listener: TcpListener, engine: Arc<Engine>, mut stop: Stop) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .with_state(engine);
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { stop.stopped().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the metrics port broke off");
    }
}

/// Up, with how the audit stands: it is an alarm of its own, and no reason to restart.
async fn health(State(engine): State<Arc<Engine>>) -> Response {
    let audit = engine.audit().status();
    let targets = audit.targets.iter().map(|target| {
        let age = target.oldest.map(|since| clock::now().duration_since(since).as_secs().max(0));
        let (name, state, error) = (&target.name, &target.state, &target.error);
        json!({ "name": name, "state": state, "waiting": target.waiting, "oldest_seconds": age, "error": error })
    });
    let targets: Vec<_> = targets.collect();
    let audit = json!({
        "lines": audit.lines,
        "signed": audit.signed,
        "error": audit.error,
        "stops_deliveries": audit.hindrance,
        "targets": targets,
    });
    Json(json!({ "status": "up", "audit": audit })).into_response()
}

async fn metrics(State(engine): State<Arc<Engine>>) -> Response {
    engine.metrics().services(&engine.gate().services());
    match engine.metrics().render(engine.store(), &engine.audit().status(), clock::now()) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Ready when every channel that should be open is, the store takes messages, and the audit lets deliveries go.
async fn ready(State(engine): State<Arc<Engine>>) -> Response {
    let status = engine.status().await;
    let broken: Vec<_> = status.channels.iter().filter(|channel| channel.state == "broken").map(|c| &c.name).collect();
    let takes = engine.store().takes_messages();
    let hindrance = engine.audit().hindrance();
    let ready = broken.is_empty() && takes && hindrance.is_none();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let told = json!({
        "ready": ready,
        "broken_channels": broken,
        "store_takes_messages": takes,
        "deliveries_wait": hindrance,
    });
    (code, Json(told)).into_response()
}
