//! What each status means.

use expect_test::{Expect, expect};

use super::*;

const INVALID: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"Mary Doe is no date"}]}"#;
const TRANSIENT: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"lock-error"}]}"#;
const HTML: &str = "<!DOCTYPE html><title>Not here</title>";

async fn check(status: u16, headers: &'static [(&str, &str)], body: &str, expected: Expect) {
    let server = Server::saying(status, headers, body).await;
    let result = server.deliver("", TRANSACTION).await;
    expected.assert_eq(&print(&result));
    assert!(!format!("{result:?}").contains("Mary"), "an answer's text may hold patient data");
    if let Some(kept) = answer(&result) {
        assert_eq!(kept, body, "the answer is kept as it came");
    }
}

#[tokio::test]
async fn a_transaction_that_is_taken_is_delivered() {
    check(200, &[], TAKEN, expect!["delivered: 200 OK, 2 entries"]).await;
}

#[tokio::test]
async fn what_the_server_says_no_to_is_refused() {
    check(400, &[], INVALID, expect!["refused: 400 Bad Request: invalid"]).await;
    check(404, &[], INVALID, expect!["refused: 404 Not Found: invalid"]).await;
    check(405, &[], INVALID, expect!["refused: 405 Method Not Allowed: invalid"]).await;
    check(410, &[], INVALID, expect!["refused: 410 Gone: invalid"]).await;
    check(412, &[], INVALID, expect!["refused: 412 Precondition Failed: invalid"]).await;
    check(413, &[], "", expect!["refused: 413 Payload Too Large, without a body"]).await;
    check(415, &[], "", expect!["refused: 415 Unsupported Media Type, without a body"]).await;
    check(422, &[], INVALID, expect!["refused: 422 Unprocessable Entity: invalid"]).await;
    check(
        422,
        &[("content-type", "text/html")],
        HTML,
        expect!["refused: 422 Unprocessable Entity, with an HTML page where an OperationOutcome should be"],
    )
    .await;
    check(451, &[], "", expect!["refused: 451 Unavailable For Legal Reasons, without a body"]).await;
    check(501, &[], TRANSIENT, expect!["refused: 501 Not Implemented: lock-error"]).await;
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_then_given_up() {
    check(409, &[], INVALID, expect!["erred: 409 Conflict: invalid"]).await;
    check(423, &[], "", expect!["erred: 423 Locked, without a body"]).await;
    check(500, &[], INVALID, expect!["erred: 500 Internal Server Error: invalid"]).await;
    check(400, &[], TRANSIENT, expect!["erred: 400 Bad Request: lock-error"]).await;
    check(412, &[], TRANSIENT, expect!["erred: 412 Precondition Failed: lock-error"]).await;
}

#[tokio::test]
async fn credentials_that_are_not_taken_stop_the_destination() {
    check(401, &[], "", expect!["unauthorized: 401 Unauthorized, without a body"]).await;
    check(403, &[], INVALID, expect!["unauthorized: 403 Forbidden: invalid"]).await;
}

#[tokio::test]
async fn a_server_that_asks_for_time_is_given_it() {
    check(429, &[("retry-after", "30")], INVALID, expect!["unavailable after 30s: 429 Too Many Requests: invalid"])
        .await;
    check(
        503,
        &[("retry-after", "Fri, 06 Nov 2026 08:01:30 GMT"), ("date", "Fri, 06 Nov 2026 08:00:30 GMT")],
        "",
        expect!["unavailable and down after 60s: 503 Service Unavailable, without a body"],
    )
    .await;
    check(
        503,
        &[("retry-after", "86400")],
        "",
        expect!["unavailable and down after 3600s: 503 Service Unavailable, without a body"],
    )
    .await;
    check(
        503,
        &[("retry-after", "soon")],
        "",
        expect!["unavailable and down: 503 Service Unavailable, without a body"],
    )
    .await;
    check(408, &[], "", expect!["unavailable: 408 Request Timeout, without a body"]).await;
    check(425, &[], "", expect!["unavailable: 425 Too Early, without a body"]).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_down() {
    check(
        502,
        &[("content-type", "text/html")],
        HTML,
        expect!["unavailable and down: 502 Bad Gateway, with an HTML page where an OperationOutcome should be"],
    )
    .await;
    check(507, &[], "", expect!["unavailable and down: 507 Insufficient Storage, without a body"]).await;
    check(
        404,
        &[("content-type", "text/plain; charset=utf-8")],
        "default backend - 404",
        expect!["unavailable and down: 404 Not Found, with plain text where an OperationOutcome should be"],
    )
    .await;
    check(
        405,
        &[("content-type", "text/html")],
        HTML,
        expect!["unavailable and down: 405 Method Not Allowed, with an HTML page where an OperationOutcome should be"],
    )
    .await;
}

#[tokio::test]
async fn other_failures_of_the_server_are_no_fault_of_the_message() {
    check(505, &[], "", expect!["unavailable: 505 HTTP Version Not Supported, without a body"]).await;
    check(599, &[], "", expect!["unavailable: 599, without a body"]).await;
}

#[tokio::test]
async fn a_gateway_that_gave_up_waiting_does_not_know() {
    check(504, &[], "", expect!["unknown: 504 Gateway Timeout, without a body"]).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    check(302, &[("location", "https://login.example.org/start?patient=1")], "", expect!["unavailable and down: 302 Found: redirects are not followed, this one leads to https://login.example.org; set `url` to where the server is"]).await;
    check(
        308,
        &[("location", "/other")],
        "",
        expect!["unavailable and down: 308 Permanent Redirect: redirects are not followed; check `url`"],
    )
    .await;
}
