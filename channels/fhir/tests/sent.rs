//! What is sent: bodies, paths and headers.

use expect_test::{Expect, expect};

use super::*;

/// Method, path, and body as they arrive; the answer is whatever.
async fn check(settings: &str, body: &'static str, expected: Expect) {
    let server = Server::saying(200, &[], TAKEN).await;
    let result = server.deliver(settings, body).await;
    let seen = server.seen.lock().unwrap().pop();
    expected.assert_eq(&match seen {
        Some(seen) => format!("{} {}\n{}", seen.method, seen.path, std::str::from_utf8(&seen.body).unwrap()),
        None => print(&result),
    });
}

async fn seen(settings: &str) -> Seen {
    let server = Server::saying(200, &[], TAKEN).await;
    server.deliver(settings, TRANSACTION).await.unwrap();
    server.seen.lock().unwrap().remove(0)
}

#[tokio::test]
async fn a_bundle_is_sent_as_the_mode_says_and_else_as_it_is() {
    check(
        "",
        TRANSACTION,
        expect![[r#"
        POST /fhir
        {"resourceType":"Bundle","type":"transaction","entry":[{"a":1.00},{"b":2}]}"#]],
    )
    .await;
    check(
        "mode = \"batch\"",
        TRANSACTION,
        expect![[r#"
        POST /fhir
        {"resourceType":"Bundle","type":"batch","entry":[{"a":1.00},{"b":2}]}"#]],
    )
    .await;
}

#[tokio::test]
async fn a_resource_is_wrapped() {
    check("", r#"{"resourceType":"Patient","id":"a.1","x":1.00}"#, expect![[r#"
        POST /fhir
        {"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient","id":"a.1","x":1.00},"request":{"method":"PUT","url":"Patient/a.1"}}]}"#]]).await;
    check("mode = \"batch\"", r#"{"resourceType":"Observation"}"#, expect![[r#"
        POST /fhir
        {"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Observation"},"request":{"method":"POST","url":"Observation"}}]}"#]]).await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused() {
    check("", "MSH|^~\\&|", expect!["refused: not sent: the message is no FHIR resource in JSON"]).await;
    check("", r#"{"resourceType":"Bundle","type":"document"}"#, expect![[r#"refused: not sent: only transactions and batches say what to do with their entries; convert the Bundle in a transform, or set `mode = "as-is"`"#]]).await;
    check(
        "",
        r#"{"resourceType":"Bundle","type":"searchset"}"#,
        expect!["refused: not sent: a Bundle of this type is nothing to send to a server"],
    )
    .await;
    check(
        "",
        r#"{"resourceType":"Patient","id":"../Consent/1"}"#,
        expect!["refused: not sent: the resource's type or id is none that FHIR allows"],
    )
    .await;
    check(
        "mode = \"as-is\"",
        r#"{"resourceType":"Patient","id":".."}"#,
        expect!["refused: not sent: the resource's type or id is none that FHIR allows"],
    )
    .await;
    check(
        "",
        r#"{"resourceType":"\",\"x\":\""}"#,
        expect!["refused: not sent: the resource's type or id is none that FHIR allows"],
    )
    .await;
}

#[tokio::test]
async fn hl7_v2_is_refused() {
    let server = Server::saying(200, &[], TAKEN).await;
    let outgoing = Outgoing { format: Format::Hl7v2, ..outgoing("MSH|^~\\&|") };
    let result = server.destination("").deliver(&outgoing).await;
    expect!["refused: not sent: this destination takes FHIR; give the channel a transform to it"]
        .assert_eq(&print(&result));
}

#[tokio::test]
async fn the_headers_say_what_it_is_and_name_it() {
    let seen = seen("").await;
    let names = ["content-type", "accept", "prefer", "x-request-id", "user-agent", "authorization"];
    let headers: Vec<String> = names.iter().map(|name| format!("{name}: {}", seen.header(name))).collect();
    expect![[r#"
        content-type: application/fhir+json
        accept: application/fhir+json
        prefer: return=minimal
        x-request-id: 0193a5b0-0000-7000-8000-000000000001-7-557f16d4
        user-agent: tributary/0.1.0
        authorization: "#]]
    .assert_eq(&headers.join("\n"));
}

#[tokio::test]
async fn the_name_is_the_same_over_all_attempts_and_another_for_other_content() {
    let server = Server::saying(200, &[], TAKEN).await;
    let destination = server.destination("");
    let first = outgoing(TRANSACTION);
    let second = Outgoing { attempt: 1, ..first.clone() };
    let other = Outgoing { bytes: TRANSACTION.replace('2', "3").into(), ..first.clone() };
    // Signed anew at each attempt: what was signed is the same.
    let signed = |n: &str| Outgoing { bytes: TRANSACTION.replace('2', n).into(), unsigned: Some(7), ..first.clone() };
    let (signed, again) = (signed("4"), signed("5"));
    for outgoing in [first, second, other, signed, again] {
        destination.deliver(&outgoing).await.unwrap();
    }
    let seen = server.seen.lock().unwrap();
    let names: Vec<&str> = seen.iter().map(|seen| seen.header("x-request-id")).collect();
    assert!(names[0] == names[1] && names[1] != names[2], "{names:?}");
    assert!(names[3] == names[4] && names[3] != names[2], "{names:?}");
}

#[tokio::test]
async fn settings_change_the_headers() {
    let settings = "auth = { basic = { user = \"emr\", password = \"pass\" } }\nprefer = \"operation-outcome\"\nheaders.X-Tenant = \"north\"";
    let seen = seen(settings).await;
    assert_eq!(seen.header("authorization"), "Basic ZW1yOnBhc3M=");
    assert_eq!(seen.header("prefer"), "return=OperationOutcome");
    assert_eq!(seen.header("x-tenant"), "north");
    let bearer = self::seen("auth = { bearer = { token = \"s3cret\" } }").await;
    assert_eq!(bearer.header("authorization"), "Bearer s3cret");
}

#[tokio::test]
async fn a_bundle_of_fifty_megabytes_is_sent() {
    let server = Server::saying(200, &[], TAKEN).await;
    let data = "QUJD".repeat(50 << 18);
    let bundle = Bytes::from(TRANSACTION.replace("1.00", &format!("\"{data}\"")));
    server.deliver("", bundle.clone()).await.unwrap();
    assert!(server.seen.lock().unwrap()[0].body == bundle);
}
