//! Bundles and resources that are sent as they are.

use expect_test::{Expect, expect};

use super::*;

const MESSAGE: &str =
    r#"{"resourceType":"Bundle","type":"message","entry":[{"resource":{"resourceType":"MessageHeader"}}]}"#;
const DOCUMENT: &str = r#"{"resourceType":"Bundle","type":"document","entry":[]}"#;
const PATIENT: &str = r#"{"resourceType":"Patient","id":"a.1","active":true}"#;

/// Where `body` goes, and what an answer of `status` and `answer` makes of it.
async fn check(
    settings: &str,
    body: &'static str,
    (status, headers, answer): (u16, &'static [(&str, &str)], &str),
    expected: Expect,
) {
    let server = Server::saying(status, headers, answer).await;
    let result = server.deliver(&format!("mode = \"as-is\"\n{settings}"), body).await;
    let seen = server.seen.lock().unwrap().pop();
    let seen = seen.map_or_else(String::new, |seen| {
        assert_eq!(seen.body, body);
        format!("{} {}\n", seen.method, seen.path)
    });
    expected.assert_eq(&format!("{seen}{}", print(&result)));
}

#[tokio::test]
async fn documents_go_to_bundle() {
    check(
        "",
        DOCUMENT,
        (201, &[], ""),
        expect![[r#"
        POST /fhir/Bundle
        delivered: 201 Created"#]],
    )
    .await;
    check(
        "",
        r#"{"resourceType":"Bundle","type":"collection"}"#,
        (200, &[("etag", "W/\"1\"")], ""),
        expect![[r#"
        POST /fhir/Bundle
        delivered: 200 OK"#]],
    )
    .await;
    check(
        "",
        DOCUMENT,
        (200, &[], ""),
        expect![[r#"
        POST /fhir/Bundle
        erred: 200 OK, but nothing in it says that it is kept"#]],
    )
    .await;
    check(
        "",
        DOCUMENT,
        (200, &[], DOCUMENT),
        expect![[r#"
        POST /fhir/Bundle
        delivered: 200 OK"#]],
    )
    .await;
    check(
        "",
        DOCUMENT,
        (200, &[], "OK"),
        expect![[r#"
        POST /fhir/Bundle
        erred: 200 OK, but it is plain text, where a FHIR resource should be"#]],
    )
    .await;
    check(
        "",
        DOCUMENT,
        (422, &[], ""),
        expect![[r#"
        POST /fhir/Bundle
        refused: 422 Unprocessable Entity, without a body"#]],
    )
    .await;
}

/// So that a document that an earlier attempt may have brought is not kept twice.
#[tokio::test]
async fn a_document_is_created_only_if_it_is_not_there() {
    let document =
        r#"{"resourceType":"Bundle","type":"document","identifier":{"system":"urn:oid:1.2","value":"a b|c"}}"#;
    let server = Server::saying(200, &[("etag", "W/\"1\"")], "").await;
    server.deliver("mode = \"as-is\"", document).await.unwrap();
    server.deliver("mode = \"as-is\"", DOCUMENT).await.unwrap();
    let seen = server.seen.lock().unwrap();
    expect!["identifier=urn%3Aoid%3A1.2%7Ca+b%5C%7Cc"].assert_eq(seen[0].header("if-none-exist"));
    assert!(!seen[1].headers.contains_key("if-none-exist"));
}

/// A server may take `return=minimal` for leave to send no reply.
#[tokio::test]
async fn a_message_is_sent_without_a_preference() {
    let server = Server::saying(202, &[], "").await;
    server.deliver("mode = \"as-is\"", MESSAGE).await.unwrap();
    assert!(!server.seen.lock().unwrap()[0].headers.contains_key("prefer"));
}

#[tokio::test]
async fn resources_go_to_their_type() {
    check(
        "",
        PATIENT,
        (200, &[("etag", "W/\"2\"")], ""),
        expect![[r#"
        PUT /fhir/Patient/a.1
        delivered: 200 OK"#]],
    )
    .await;
    check(
        "",
        r#"{"resourceType":"Patient"}"#,
        (201, &[("location", "Patient/1/_history/1")], ""),
        expect![[r#"
        POST /fhir/Patient
        delivered: 201 Created"#]],
    )
    .await;
    check(
        "",
        PATIENT,
        (200, &[], PATIENT),
        expect![[r#"
        PUT /fhir/Patient/a.1
        delivered: 200 OK"#]],
    )
    .await;
    let warning = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"value"}]}"#;
    check(
        "",
        PATIENT,
        (200, &[], warning),
        expect![[r#"
        PUT /fhir/Patient/a.1
        delivered: 200 OK: value"#]],
    )
    .await;
    check(
        "",
        PATIENT,
        (200, &[], &warning.replace("warning", "error")),
        expect![[r#"
        PUT /fhir/Patient/a.1
        erred: 200 OK: value"#]],
    )
    .await;
}

#[tokio::test]
async fn transactions_and_batches_go_to_the_base() {
    check(
        "",
        TRANSACTION,
        (200, &[], TAKEN),
        expect![[r#"
        POST /fhir
        delivered: 200 OK, 2 entries"#]],
    )
    .await;
    check(
        "",
        r#"{"resourceType":"Bundle","type":"batch"}"#,
        (200, &[], r#"{"resourceType":"Bundle","type":"batch-response"}"#),
        expect![[r#"
            POST /fhir
            delivered: 200 OK, 0 entries"#]],
    )
    .await;
}

#[tokio::test]
async fn a_reply_says_what_became_of_a_message() {
    let reply = |response: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"message","entry":[{{"resource":{{"resourceType":"MessageHeader"{response}}}}}]}}"#
        )
    };
    let code = |code: &str| reply(&format!(r#","response":{{"identifier":"1","code":"{code}"}}"#));
    check(
        "",
        MESSAGE,
        (200, &[], &code("ok")),
        expect![[r#"
        POST /fhir/$process-message
        delivered: 200 OK, reply ok"#]],
    )
    .await;
    check(
        "",
        MESSAGE,
        (200, &[], &code("transient-error")),
        expect![[r#"
        POST /fhir/$process-message
        erred: 200 OK, reply transient-error"#]],
    )
    .await;
    check(
        "",
        MESSAGE,
        (200, &[], &code("fatal-error")),
        expect![[r#"
        POST /fhir/$process-message
        refused: 200 OK, reply fatal-error"#]],
    )
    .await;
    check(
        "",
        MESSAGE,
        (200, &[], &code("fine")),
        expect![[r#"
        POST /fhir/$process-message
        erred: 200 OK, but its MessageHeader has no response code of FHIR's"#]],
    )
    .await;
    check(
        "",
        MESSAGE,
        (200, &[], &reply("")),
        expect![[r#"
        POST /fhir/$process-message
        erred: 200 OK, but its MessageHeader has no response code of FHIR's"#]],
    )
    .await;
    check(
        "",
        MESSAGE,
        (200, &[], PATIENT),
        expect![[r#"
        POST /fhir/$process-message
        erred: 200 OK, but it is another resource than a reply"#]],
    )
    .await;
    check(
        "",
        MESSAGE,
        (202, &[], ""),
        expect![[r#"
        POST /fhir/$process-message
        delivered: 202 Accepted"#]],
    )
    .await;
    check(
        "",
        MESSAGE,
        (200, &[], ""),
        expect![[r#"
        POST /fhir/$process-message
        erred: 200 OK, but it has no body, where a reply should be"#]],
    )
    .await;
    check(
        "messages = \"bundle\"",
        MESSAGE,
        (201, &[], ""),
        expect![[r#"
        POST /fhir/Bundle
        delivered: 201 Created"#]],
    )
    .await;
}

#[tokio::test]
async fn a_search_result_is_nothing_to_send() {
    check(
        "",
        r#"{"resourceType":"Bundle","type":"searchset"}"#,
        (200, &[], TAKEN),
        expect!["refused: not sent: a Bundle of this type is nothing to send to a server"],
    )
    .await;
    check(
        "",
        r#"{"resourceType":"Bundle"}"#,
        (200, &[], TAKEN),
        expect!["refused: not sent: a Bundle of this type is nothing to send to a server"],
    )
    .await;
}
