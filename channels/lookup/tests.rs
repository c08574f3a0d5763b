//! Services on real sockets: they answer, refuse, hang, lie, or are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use expect_test::{Expect, expect};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// A service that answers every request by `answer`; it ends with the test.
struct Service {
    url: String,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

async fn service(answer: fn(Request) -> Response) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cds", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let router = Router::new().fallback(move |request: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(answer(request))
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Service { url, asked, _tasks: tasks }
}

fn lookup(url: &str) -> Lookup {
    let settings = format!("url = \"{url}\"\nanswer_timeout = \"300ms\"\nmax_answer_bytes = \"1KiB\"");
    Lookup::new(toml::from_str(&settings).unwrap()).unwrap()
}

#[track_caller]
fn check(answered: Result<Answered, NoAnswer>, expected: Expect) {
    let told = match answered {
        Ok(answered) => format!(
            "{} {} for {:?} + {:?}",
            answered.status,
            String::from_utf8_lossy(&answered.body),
            answered.keep.fresh,
            answered.keep.stale
        ),
        Err(error) => format!("no answer: {error}"),
    };
    expected.assert_eq(&told);
}

#[tokio::test]
async fn asks_by_post_and_by_get() {
    let service = service(|request| {
        let told = format!("{} {}", request.method(), request.uri());
        ([("cache-control", "max-age=5, stale-if-error=7")], told).into_response()
    })
    .await;
    let lookup = lookup(&service.url);
    check(lookup.post(&json!({ "hook": "x" })).await, expect!["200 POST /cds for 5s + 7s"]);
    let query = [("sourceIdentifier", "urn:oid:1.2|A B")];
    check(
        lookup.get(&["Patient", "$ihe-pix"], &query).await,
        expect!["200 GET /cds/Patient/$ihe-pix?sourceIdentifier=urn%3Aoid%3A1.2%7CA+B for 5s + 7s"],
    );
}

#[tokio::test]
async fn what_says_no_is_an_answer_and_is_not_asked_again() {
    let service = service(|_| (StatusCode::NOT_FOUND, "nobody").into_response()).await;
    check(lookup(&service.url).post(&json!({})).await, expect!["404 nobody for 0ns + 0ns"]);
    assert_eq!(service.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_answer_now_is_asked_again_and_then_given_up() {
    let service = service(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    check(lookup(&service.url).post(&json!({})).await, expect!["no answer: it answered HTTP 503"]);
    assert_eq!(service.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn reads_no_endless_answer() {
    let service = service(|_| "x".repeat(5000).into_response()).await;
    check(
        lookup(&service.url).post(&json!({})).await,
        expect!["no answer: its answer is longer than 1024 bytes (max_answer_bytes)"],
    );
}

#[tokio::test]
async fn waits_no_longer_than_it_may() {
    // Connections are taken by the system; nobody answers them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    check(lookup(&url).post(&json!({})).await, expect!["no answer: no whole answer in time"]);
}

#[tokio::test]
async fn tells_that_nobody_is_there() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check(lookup(&format!("http://{gone}")).post(&json!({})).await, expect!["no answer: connection refused"]);
}
