//! Successes whose bodies are not what was promised: never delivered in silence.

use expect_test::{Expect, expect};

use super::*;

async fn check(settings: &str, status: u16, headers: &'static [(&str, &str)], body: &str, expected: Expect) {
    let server = Server::saying(status, headers, body).await;
    let result = server.deliver(settings, TRANSACTION).await;
    expected.assert_eq(&print(&result));
    if let Some(kept) = answer(&result) {
        assert_eq!(kept, body, "the answer is kept as it came");
    }
}

#[tokio::test]
async fn a_page_is_no_answer() {
    check(
        "",
        200,
        &[("content-type", "text/html")],
        "<html>Please log in</html>",
        expect!["erred: 200 OK, but it is an HTML page, where the outcome of each entry should be"],
    )
    .await;
    check(
        "",
        200,
        &[("content-type", "application/json")],
        r#"{"ok":true}"#,
        expect!["erred: 200 OK, but it is other JSON, where the outcome of each entry should be"],
    )
    .await;
    check(
        "",
        200,
        &[("content-type", "application/fhir+xml")],
        "<Bundle/>",
        expect!["erred: 200 OK, but it is XML, where the outcome of each entry should be"],
    )
    .await;
    check(
        "",
        200,
        &[("content-type", "application/fhir+json")],
        &TAKEN[..60],
        expect!["erred: 200 OK, but it is other JSON, where the outcome of each entry should be"],
    )
    .await;
}

#[tokio::test]
async fn nothing_is_no_answer_unless_the_site_says_so() {
    check("", 200, &[], "", expect!["erred: 200 OK, but it has no body, where the outcome of each entry should be"])
        .await;
    check(
        "",
        204,
        &[],
        "",
        expect!["erred: 204 No Content, but it has no body, where the outcome of each entry should be"],
    )
    .await;
    check("accept_empty = true", 200, &[], "", expect!["delivered: 200 OK"]).await;
    check(
        "accept_empty = true\nmode = \"batch\"",
        200,
        &[],
        "",
        expect!["erred: 200 OK, but it has no body, where the outcome of each entry should be"],
    )
    .await;
}

#[tokio::test]
async fn another_resource_is_no_answer() {
    check(
        "",
        200,
        &[],
        r#"{"resourceType":"Patient","id":"1"}"#,
        expect!["erred: 200 OK, but it is another resource than the outcome of each entry"],
    )
    .await;
    check(
        "",
        200,
        &[],
        TRANSACTION,
        expect!["erred: 200 OK, but it is another resource than the outcome of each entry"],
    )
    .await;
    check(
        "",
        200,
        &[],
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"value"}]}"#,
        expect!["erred: 200 OK, but it is an OperationOutcome (value), not the outcome of each entry"],
    )
    .await;
    check(
        "",
        200,
        &[],
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing"}]}"#,
        expect!["erred: 200 OK, but it is an OperationOutcome (processing), not the outcome of each entry"],
    )
    .await;
}

/// As `tributary` itself does, with 202 once it is stored and 200 once it is delivered.
#[tokio::test]
async fn another_engine_may_accept_the_whole() {
    check(
        "",
        200,
        &[],
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational"}]}"#,
        expect!["delivered: 200 OK: informational"],
    )
    .await;
    check(
        "",
        202,
        &[],
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational"}]}"#,
        expect!["delivered: 202 Accepted: informational"],
    )
    .await;
    check(
        "",
        202,
        &[],
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing"}]}"#,
        expect!["erred: 202 Accepted, but it is an OperationOutcome (processing), not the outcome of each entry"],
    )
    .await;
    check(
        "",
        202,
        &[],
        "",
        expect!["erred: 202 Accepted, but it has no body, where the outcome of each entry should be"],
    )
    .await;
}

#[tokio::test]
async fn as_many_outcomes_as_entries() {
    let one = r#"{"resourceType":"Bundle","type":"transaction-response","entry":[{"response":{"status":"201"}}]}"#;
    check("", 200, &[], one, expect!["erred: 200 OK, but it has 1 outcomes for 2 entries"]).await;
    check(
        "",
        200,
        &[],
        &one.replace("[{", r#"[{"response":{"status":"201"}},{"response":{"status":"201"}},{"#),
        expect!["erred: 200 OK, but it has 3 outcomes for 2 entries"],
    )
    .await;
    check(
        "",
        200,
        &[],
        r#"{"resourceType":"Bundle","type":"transaction-response"}"#,
        expect!["erred: 200 OK, but it has 0 outcomes for 2 entries"],
    )
    .await;
}

#[tokio::test]
async fn a_transaction_with_a_failed_entry_is_not_delivered() {
    check(
        "",
        200,
        &[],
        &TAKEN.replace("201 Created", "500"),
        expect!["erred: 200 OK, 1 of 2 entries taken; entry[0] 500"],
    )
    .await;
    check(
        "",
        200,
        &[],
        &TAKEN.replace("201 Created", "422 Nope"),
        expect!["refused: 200 OK, 1 of 2 entries taken; entry[0] 422"],
    )
    .await;
    check(
        "",
        200,
        &[],
        &TAKEN.replace("201 Created", "created"),
        expect!["erred: 200 OK, 1 of 2 entries taken; entry[0] no status"],
    )
    .await;
}

#[tokio::test]
async fn an_answer_may_carry_the_resources_and_anything_else() {
    let body = r#"{"resourceType":"Bundle","id":"x","type":"transaction-response","link":[{"relation":"self"}],"entry":[
        {"resource":{"resourceType":"Patient","multipleBirthInteger":1.0,"issue":4},"response":{"status":"201 Created","etag":"W/\"1\"","outcome":{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"value"}]}}},
        {"fullUrl":"urn:uuid:1","response":{"lastModified":"2026-01-01T00:00:00Z","status":"304 Not Modified"}}]}"#;
    check("prefer = \"representation\"", 200, &[], body, expect!["delivered: 200 OK, 2 entries"]).await;
}
