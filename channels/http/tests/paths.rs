//! What each path and head of a request gets.

use expect_test::{Expect, expect};
use message::Format;

use super::*;

const JSON: &str = "Content-Type: application/fhir+json\r\n";

async fn check(settings: &str, (method, path, headers): (&str, &str, &str), expected: Expect) {
    let channel = Channel::start(settings, Engine::storing()).await;
    let body = if method == "POST" { BUNDLE } else { "" };
    expected.assert_eq(&channel.send(method, path, headers, body).await.print());
    channel.stop().await;
}

#[tokio::test]
async fn offers_the_bytes_as_they_came_with_the_clients_name_for_them() {
    let channel = Channel::start("", Engine::storing()).await;
    let reply = channel.send("POST", "/", &format!("{JSON}X-Request-Id: emr-7\r\n"), " {\"a\": 1.50}\r\n").await;
    assert_eq!((reply.status, reply.header("x-request-id")), (202, Some("emr-7")));
    let offered = channel.engine.offered().remove(0);
    assert_eq!(offered.bytes, " {\"a\": 1.50}\r\n");
    assert_eq!((offered.format, &*offered.peer), (Format::FhirJson, "127.0.0.1"));
    assert_eq!(offered.transport_id.as_deref(), Some("emr-7"));
    channel.stop().await;
}

#[tokio::test]
async fn a_bundle_may_come_to_the_base_or_where_fhir_also_has_it() {
    for (settings, path) in [
        ("", "/"),
        ("", "/Bundle"),
        ("", "/$process-message"),
        ("path = \"/fhir/r4\"", "/fhir/r4"),
        ("path = \"/fhir/r4\"", "/fhir/r4/"),
        ("path = \"/fhir/r4/\"", "/fhir/r4/Bundle"),
    ] {
        let channel = Channel::start(settings, Engine::storing()).await;
        assert_eq!(channel.send("POST", path, JSON, BUNDLE).await.status, 202, "{path}");
        channel.stop().await;
    }
}

#[tokio::test]
async fn the_urls_of_a_base_that_is_not_the_root_are_under_it() {
    check(
        "path = \"/fhir\"",
        ("POST", "/fhir", JSON),
        expect![[r#"
        202
        location: /fhir/status/0193a5b0-0000-7000-8000-000000000001
        information informational: message 0193a5b0-0000-7000-8000-000000000001 is stored
    "#]],
    )
    .await;
    check("path = \"/fhir\"", ("GET", "/fhir/status/0193a5b0-0000-7000-8000-000000000001", ""), expect![[r#"
        200
        {"resourceType":"Parameters","parameter":[{"name":"message","valueId":"0193a5b0-0000-7000-8000-000000000001"},{"name":"state","valueCode":"delivered"},{"name":"changed","valueInstant":"2026-01-02T03:04:05Z"},{"name":"text","valueString":"1 of 1 deliveries done"}]}
    "#]]).await;
    check(
        "path = \"/fhir\"",
        ("POST", "/", JSON),
        expect![[r#"
        404
        error not-found: there is nothing here: post Bundles to /fhir
    "#]],
    )
    .await;
}

#[tokio::test]
async fn tells_what_has_become_of_a_message() {
    check("", ("GET", "/status/0193a5b0-0000-7000-8000-000000000001", ""), expect![[r#"
        200
        {"resourceType":"Parameters","parameter":[{"name":"message","valueId":"0193a5b0-0000-7000-8000-000000000001"},{"name":"state","valueCode":"delivered"},{"name":"changed","valueInstant":"2026-01-02T03:04:05Z"},{"name":"text","valueString":"1 of 1 deliveries done"}]}
    "#]]).await;
    check(
        "",
        ("GET", "/status/0193a5b0-0000-7000-8000-000000000002", ""),
        expect![[r#"
        404
        error not-found: this channel took no message with this id
    "#]],
    )
    .await;
    check(
        "",
        ("GET", "/status/nonsense", ""),
        expect![[r#"
        404
        error not-found: this channel took no message with this id
    "#]],
    )
    .await;
}

#[tokio::test]
async fn the_capability_statement_says_what_the_channel_does() {
    let channel = Channel::start("auth = { bearer = { token = \"s3cret\" } }", Engine::storing()).await;
    let reply = channel.get("/metadata").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/fhir+json; charset=utf-8")));
    let statement: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let told = |pointer| statement.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
    expect![[r#"
        [
            "CapabilityStatement",
            "active",
            "2026-01-02T03:04:05Z",
            "instance",
            "4.0.1",
            "application/fhir+json",
            "Tributary's inbound channel st-mary",
            "server",
            "HTTP Bearer credentials are asked.",
            "transaction",
            "batch",
            "Bundle",
            "process-message",
        ]
    "#]]
    .assert_debug_eq(&[
        told("/resourceType"),
        told("/status"),
        told("/date"),
        told("/kind"),
        told("/fhirVersion"),
        told("/format/0"),
        told("/implementation/description"),
        told("/rest/0/mode"),
        told("/rest/0/security/description"),
        told("/rest/0/interaction/0/code"),
        told("/rest/0/interaction/1/code"),
        told("/rest/0/resource/0/type"),
        told("/rest/0/operation/0/name"),
    ]);
    channel.stop().await;
}

#[tokio::test]
async fn other_paths_and_methods_are_told_what_there_is() {
    check(
        "",
        ("GET", "/Patient/1", ""),
        expect![[r#"
        404
        error not-found: there is nothing here: post Bundles to /
    "#]],
    )
    .await;
    check(
        "",
        ("GET", "/", ""),
        expect![[r#"
        405
        allow: POST,OPTIONS
        error not-supported: this path does not take this method; see Allow
    "#]],
    )
    .await;
    check(
        "",
        ("DELETE", "/metadata", ""),
        expect![[r#"
        405
        allow: GET,HEAD,OPTIONS
        error not-supported: this path does not take this method; see Allow
    "#]],
    )
    .await;
    check(
        "",
        ("OPTIONS", "/", ""),
        expect![[r#"
        204
        allow: POST,OPTIONS

    "#]],
    )
    .await;
    check(
        "",
        ("OPTIONS", "/metadata", ""),
        expect![[r#"
        204
        allow: GET,HEAD,OPTIONS

    "#]],
    )
    .await;
    check(
        "",
        ("HEAD", "/status/0193a5b0-0000-7000-8000-000000000001", ""),
        expect![[r#"
        200

    "#]],
    )
    .await;
}

#[tokio::test]
async fn what_is_no_fhir_in_json_is_an_unsupported_media_type() {
    check(
        "",
        ("POST", "/", "Content-Type: application/fhir+xml\r\n"),
        expect![[r#"
        415
        error not-supported: send FHIR R4 in JSON, in UTF-8, with Content-Type: application/fhir+json
    "#]],
    )
    .await;
    check(
        "",
        ("POST", "/", ""),
        expect![[r#"
        415
        error not-supported: send FHIR R4 in JSON, in UTF-8, with Content-Type: application/fhir+json
    "#]],
    )
    .await;
    check(
        "",
        ("POST", "/", &format!("{JSON}Content-Encoding: gzip\r\n")),
        expect![[r#"
        415
        error not-supported: send the body as it is: Content-Encoding is not taken
    "#]],
    )
    .await;
}

/// Not taken, it would be lost in silence.
#[tokio::test]
async fn what_is_no_provenance_in_its_header_is_refused() {
    check(
        "",
        ("POST", "/", &format!("{JSON}X-Provenance: {{\"resourceType\":\"Patient\"}}\r\n")),
        expect![[r#"
        400
        error structure: X-Provenance is no Provenance
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_request_id_that_cannot_name_anything_is_refused() {
    check(
        "",
        ("POST", "/", &format!("{JSON}X-Request-Id: \r\n")),
        expect![[r#"
        400
        x-request-id: 
        error value: X-Request-Id is 1 to 200 visible characters of ASCII
    "#]],
    )
    .await;
    let long = "x".repeat(201);
    let channel = Channel::start("", Engine::storing()).await;
    assert_eq!(channel.post(&format!("X-Request-Id: {long}\r\n")).await.status, 400);
    assert_eq!(channel.post("X-Request-Id: p\u{e4}\r\n").await.status, 400);
    assert!(channel.engine.offered().is_empty());
    channel.stop().await;
}

#[tokio::test]
async fn credentials_are_asked_for_all_but_the_metadata() {
    let settings = "auth = { basic = { user = \"emr\", password = \"pass\" } }";
    check(
        settings,
        ("POST", "/", JSON),
        expect![[r#"
        401
        www-authenticate: Basic realm="fhir"
        error login: this channel asks for HTTP Basic credentials, and these are not them
    "#]],
    )
    .await;
    check(
        settings,
        ("POST", "/", &format!("{JSON}Authorization: Basic ZW1yOndyb25n\r\n")),
        expect![[r#"
        401
        www-authenticate: Basic realm="fhir"
        error login: this channel asks for HTTP Basic credentials, and these are not them
    "#]],
    )
    .await;
    check(
        settings,
        ("GET", "/status/0193a5b0-0000-7000-8000-000000000001", ""),
        expect![[r#"
        401
        www-authenticate: Basic realm="fhir"
        error login: this channel asks for HTTP Basic credentials, and these are not them
    "#]],
    )
    .await;
    let channel = Channel::start(settings, Engine::storing()).await;
    assert_eq!(channel.post("Authorization: Basic ZW1yOnBhc3M=\r\n").await.status, 202);
    assert_eq!(channel.get("/metadata").await.status, 200);
    channel.stop().await;
}
