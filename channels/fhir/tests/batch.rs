//! Batches: only what failed is tried again, and nothing is lost.

use expect_test::{Expect, expect};

use super::*;

/// Five entries with what an exact copy must keep.
const BATCH: &str =
    r#"{"resourceType":"Bundle","type":"batch","entry":[{"n":0.10},{"n": 1},{"n":2,"é":[]},{"n":3},{"n":4e0}]}"#;

/// A server that answers the entries of a batch with these statuses, each with an outcome if it has a code.
async fn answering(statuses: &'static [(&str, &str)]) -> Server {
    let entries = statuses.iter().map(|(status, code)| match *code {
        "" => format!(r#"{{"response":{{"status":"{status}"}}}}"#),
        code => format!(
            r#"{{"response":{{"status":"{status}","outcome":{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","code":"{code}"}}]}}}}}}"#
        ),
    });
    let entries = entries.collect::<Vec<_>>().join(",");
    Server::saying(200, &[], format!(r#"{{"resourceType":"Bundle","type":"batch-response","entry":[{entries}]}}"#))
        .await
}

async fn check(statuses: &'static [(&str, &str)], expected: Expect) {
    let server = answering(statuses).await;
    expected.assert_eq(&print(&server.deliver("mode = \"batch\"", BATCH).await));
}

#[tokio::test]
async fn all_taken_is_delivered() {
    check(
        &[("201", ""), ("200", ""), ("304", ""), ("204", ""), ("200 OK", "")],
        expect!["delivered: 200 OK, 5 entries"],
    )
    .await;
}

#[tokio::test]
async fn what_may_pass_is_the_rest() {
    check(
        &[("201", ""), ("503", ""), ("200", ""), ("409", "conflict"), ("429", "throttled")],
        expect![[r#"
        partly: 200 OK, 2 of 5 entries taken; entry[1] 503; entry[3] 409 conflict; entry[4] 429 throttled
        {"resourceType":"Bundle","type":"batch","entry":[{"n": 1},{"n":3},{"n":4e0}]}"#]],
    )
    .await;
}

#[tokio::test]
async fn the_refused_stay_with_what_may_pass() {
    check(
        &[("422", "invalid"), ("201", ""), ("500", "exception"), ("201", ""), ("201", "")],
        expect![[r#"
        partly: 200 OK, 3 of 5 entries taken; entry[0] 422 invalid; entry[2] 500 exception
        {"resourceType":"Bundle","type":"batch","entry":[{"n":0.10},{"n":2,"é":[]}]}"#]],
    )
    .await;
}

#[tokio::test]
async fn only_the_refused_are_the_dead_letter() {
    check(
        &[("422", "invalid"), ("201", ""), ("201", ""), ("201", ""), ("403", "forbidden")],
        expect![[r#"
        partly, refused: 200 OK, 3 of 5 entries taken; entry[0] 422 invalid; entry[4] 403 forbidden
        {"resourceType":"Bundle","type":"batch","entry":[{"n":0.10},{"n":4e0}]}"#]],
    )
    .await;
}

#[tokio::test]
async fn none_taken_is_the_whole() {
    check(&[("422", ""), ("400", "required"), ("404", ""), ("412", "multiple-matches"), ("405", "")], expect!["refused: 200 OK, 0 of 5 entries taken; entry[0] 422; entry[1] 400 required; entry[2] 404; entry[3] 412 multiple-matches; entry[4] 405"])
        .await;
    check(&[("422", ""), ("400", "required"), ("404", ""), ("412", ""), ("503", "")], expect!["erred: 200 OK, 0 of 5 entries taken; entry[0] 422; entry[1] 400 required; entry[2] 404; entry[3] 412; entry[4] 503"]).await;
}

#[tokio::test]
async fn an_entry_without_a_status_may_pass() {
    check(
        &[("200", ""), ("", ""), ("200", ""), ("abc", ""), ("99", "")],
        expect![[r#"
        partly: 200 OK, 2 of 5 entries taken; entry[1] no status; entry[3] no status; entry[4] no status
        {"resourceType":"Bundle","type":"batch","entry":[{"n": 1},{"n":3},{"n":4e0}]}"#]],
    )
    .await;
}

/// A queue that delivers what it is told is left, until nothing is.
#[tokio::test]
async fn the_rest_is_delivered_in_its_turn() {
    let server = Server::new(|seen| {
        let bundle: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        let entries = bundle["entry"].as_array().unwrap();
        // The first of each batch is taken, the others are not yet.
        let answers = entries.iter().enumerate().map(|(index, _)| if index == 0 { "201" } else { "503" });
        let entry: Vec<_> = answers.map(|status| serde_json::json!({ "response": { "status": status } })).collect();
        serde_json::json!({ "resourceType": "Bundle", "type": "batch-response", "entry": entry })
            .to_string()
            .into_response()
    })
    .await;
    let destination = server.destination("mode = \"batch\"");
    let mut bytes = Bytes::from(BATCH);
    let receipt = loop {
        match deliver(&destination, bytes).await {
            Ok(receipt) => break receipt,
            Err(DeliveryError::Partly { rest, refused: false, .. }) => bytes = rest,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(receipt.summary, "200 OK, 1 entry");
    let seen = server.seen.lock().unwrap();
    let sent: Vec<&str> = seen.iter().map(|seen| std::str::from_utf8(&seen.body).unwrap()).collect();
    expect![[r#"
        {"resourceType":"Bundle","type":"batch","entry":[{"n":0.10},{"n": 1},{"n":2,"é":[]},{"n":3},{"n":4e0}]}
        {"resourceType":"Bundle","type":"batch","entry":[{"n": 1},{"n":2,"é":[]},{"n":3},{"n":4e0}]}
        {"resourceType":"Bundle","type":"batch","entry":[{"n":2,"é":[]},{"n":3},{"n":4e0}]}
        {"resourceType":"Bundle","type":"batch","entry":[{"n":3},{"n":4e0}]}
        {"resourceType":"Bundle","type":"batch","entry":[{"n":4e0}]}"#]]
    .assert_eq(&sent.join("\n"));
    let names: std::collections::BTreeSet<&str> = seen.iter().map(|seen| seen.header("x-request-id")).collect();
    assert_eq!(names.len(), 5, "other bytes have another name");
}
