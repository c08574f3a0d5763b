//! Probes: what a server says that it is.

use expect_test::{Expect, expect};

use super::*;

async fn check(settings: &str, status: u16, body: &str, expected: Expect) {
    let server = Server::saying(status, &[("content-type", "application/json")], body).await;
    let result = timeout(DEADLINE, server.destination(settings).probe()).await.unwrap();
    let seen = server.seen.lock().unwrap().remove(0);
    assert_eq!((&*seen.method, &*seen.path), ("GET", "/fhir/metadata"));
    expected.assert_eq(&result.unwrap_or_else(|error| print(&Err(error))));
}

const R4: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"Stub","version":"7"},"rest":[{"mode":"server","interaction":[{"code":"transaction"}]}]}"#;

#[tokio::test]
async fn a_server_of_r4_is_told_of() {
    check("", 200, R4, expect!["FHIR 4.0.1, Stub 7; takes each transaction"]).await;
    check("mode = \"batch\"", 200, R4, expect!["FHIR 4.0.1, Stub 7; does not say that it takes a batch"]).await;
    check("mode = \"as-is\"", 200, R4, expect!["FHIR 4.0.1, Stub 7"]).await;
    check(
        "",
        200,
        r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.3.0"}"#,
        expect!["FHIR 4.3.0; does not say that it takes a transaction"],
    )
    .await;
}

#[tokio::test]
async fn any_other_is_an_error() {
    check("", 200, &R4.replace("4.0.1", "5.0.0"), expect!["refused: the server speaks FHIR 5.0.0, not R4"]).await;
    check(
        "",
        200,
        r#"{"resourceType":"CapabilityStatement"}"#,
        expect!["refused: the server speaks FHIR of an unnamed version, not R4"],
    )
    .await;
    check(
        "",
        200,
        r#"{"status":"UP"}"#,
        expect!["erred: 200 OK, but it is other JSON, where a CapabilityStatement should be"],
    )
    .await;
    check("", 401, "", expect!["unauthorized: 401 Unauthorized, without a body"]).await;
    check("", 404, "", expect!["unavailable and down: 404 Not Found, without a body"]).await;
}

#[tokio::test]
async fn nobody_there_is_down() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let destination = destination(&format!("http://{address}"), "").unwrap();
    expect!["unavailable and down: connection refused"]
        .assert_eq(&print(&destination.probe().await.map(|_| Receipt::default())));
}
