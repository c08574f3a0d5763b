//! What each answer of the engine is in HTTP.

use std::time::Duration;

use bytes::Bytes;
use expect_test::{Expect, expect};
use futures_util::FutureExt as _;
use message::{Answer, Fault};

use super::*;

async fn check(answer: Answer, expected: Expect) {
    let channel = Channel::start("", Engine::saying(answer)).await;
    expected.assert_eq(&channel.post("").await.print());
    channel.stop().await;
}

/// With a ticket that is stored, and `outcome` later.
async fn check_outcome(settings: &str, outcome: Option<Answer>, expected: Expect) {
    let engine = Engine::new(move |_| {
        let outcome = match outcome.clone() {
            Some(answer) => futures_util::future::ready(answer).boxed(),
            None => futures_util::future::pending().boxed(),
        };
        Ticket { answer: Answer::Stored(id(1)), outcome: Some(outcome) }
    });
    let channel = Channel::start(settings, engine).await;
    expected.assert_eq(&channel.post("").await.print());
    channel.stop().await;
}

#[tokio::test]
async fn an_operation_outcome_is_written_as_fhir_has_it() {
    let fault = Fault::new(101, "Bundle.entry[3].request".to_owned(), "required in a transaction");
    let channel = Channel::start("", Engine::saying(Answer::Invalid(fault))).await;
    let reply = channel.post("").await;
    assert_eq!(reply.header("content-type"), Some("application/fhir+json; charset=utf-8"));
    expect![[r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"required","details":{"text":"required in a transaction"},"expression":["Bundle.entry[3].request"]}]}"#]].assert_eq(&reply.body);
    channel.stop().await;
}

#[tokio::test]
async fn stored_is_accepted_with_the_url_of_its_status() {
    check(
        Answer::Stored(id(1)),
        expect![[r#"
        202
        location: /status/0193a5b0-0000-7000-8000-000000000001
        information informational: message 0193a5b0-0000-7000-8000-000000000001 is stored
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_duplicate_is_accepted_under_the_same_id() {
    check(Answer::Duplicate(id(1)), expect![[r#"
        202
        location: /status/0193a5b0-0000-7000-8000-000000000001
        information duplicate: message 0193a5b0-0000-7000-8000-000000000001 came before and is stored; nothing is done twice
    "#]]).await;
}

#[tokio::test]
async fn a_conflict_names_both_messages() {
    check(Answer::Conflict { id: id(2), earlier: id(1) }, expect![[r#"
        409
        location: /status/0193a5b0-0000-7000-8000-000000000002
        error conflict: its identifier was used before, by message 0193a5b0-0000-7000-8000-000000000001, for other content; this one is kept as message 0193a5b0-0000-7000-8000-000000000002 for an operator to decide
    "#]]).await;
}

#[tokio::test]
async fn what_is_invalid_is_told_with_its_place() {
    check(
        Answer::Invalid(Fault::new(101, "Bundle.entry[3].request".to_owned(), "required in a transaction")),
        expect![[r#"
            400
            error required: required in a transaction (Bundle.entry[3].request)
        "#]],
    )
    .await;
    check(
        Answer::Invalid(Fault::new(102, "line 3, column 7".to_owned(), "expected `,`")),
        expect![[r#"
        400
        error value: expected `,` [line 3, column 7]
    "#]],
    )
    .await;
    check(
        Answer::Unsupported(Fault::new(200, None, "a searchset is no message")),
        expect![[r#"
        415
        error not-supported: a searchset is no message
    "#]],
    )
    .await;
}

#[tokio::test]
async fn unavailable_says_when_to_try_again() {
    let reason = "the disk is nearly full".to_owned();
    let retry_after = Some(Duration::from_millis(30_001));
    check(
        Answer::Unavailable { reason: reason.clone(), retry_after },
        expect![[r#"
        503
        retry-after: 31
        error transient: the disk is nearly full
    "#]],
    )
    .await;
    check(
        Answer::Unavailable { reason, retry_after: None },
        expect![[r#"
        503
        retry-after: 5
        error transient: the disk is nearly full
    "#]],
    )
    .await;
}

const DELIVERED: &str = "acknowledge = \"delivered\"\nanswer_timeout = \"10s\"";

#[tokio::test]
async fn passes_on_the_destinations_own_answer() {
    let answer = Bytes::from_static(b"{\"resourceType\":\"Bundle\", \"type\":\"transaction-response\"}");
    check_outcome(
        DELIVERED,
        Some(Answer::Done(id(1), Some(answer))),
        expect![[r#"
        200
        location: /status/0193a5b0-0000-7000-8000-000000000001
        {"resourceType":"Bundle", "type":"transaction-response"}
    "#]],
    )
    .await;
    check_outcome(
        DELIVERED,
        Some(Answer::Done(id(1), Some(Bytes::from_static(b"MSA|AA|1")))),
        expect![[r#"
        200
        location: /status/0193a5b0-0000-7000-8000-000000000001
        information informational: message 0193a5b0-0000-7000-8000-000000000001 is done; the answer was: MSA|AA|1
    "#]],
    )
    .await;
    check_outcome(
        DELIVERED,
        Some(Answer::Done(id(1), None)),
        expect![[r#"
        200
        location: /status/0193a5b0-0000-7000-8000-000000000001
        information informational: message 0193a5b0-0000-7000-8000-000000000001 is done
    "#]],
    )
    .await;
}

#[tokio::test]
async fn what_fails_after_it_was_stored_is_unprocessable_and_can_be_found() {
    let fault = Fault::new(103, "entry[0].resource.status".to_owned(), "no code of the table");
    check_outcome(
        DELIVERED,
        Some(Answer::Invalid(fault)),
        expect![[r#"
        422
        location: /status/0193a5b0-0000-7000-8000-000000000001
        error code-invalid: no code of the table (entry[0].resource.status)
    "#]],
    )
    .await;
    let unavailable = Answer::Unavailable { reason: "the destination is down".to_owned(), retry_after: None };
    check_outcome(
        DELIVERED,
        Some(unavailable),
        expect![[r#"
        503
        location: /status/0193a5b0-0000-7000-8000-000000000001
        retry-after: 5
        error transient: the destination is down
    "#]],
    )
    .await;
}

#[tokio::test]
async fn an_outcome_that_does_not_come_in_time_is_accepted() {
    check_outcome(
        "acknowledge = \"processed\"\nanswer_timeout = \"20ms\"",
        None,
        expect![[r#"
        202
        location: /status/0193a5b0-0000-7000-8000-000000000001
        information informational: message 0193a5b0-0000-7000-8000-000000000001 is stored
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_channel_that_acknowledges_what_is_stored_waits_for_no_outcome() {
    check_outcome(
        "acknowledge = \"stored\"",
        None,
        expect![[r#"
        202
        location: /status/0193a5b0-0000-7000-8000-000000000001
        information informational: message 0193a5b0-0000-7000-8000-000000000001 is stored
    "#]],
    )
    .await;
}

#[tokio::test]
async fn an_engine_that_does_not_store_in_time_is_unavailable() {
    let channel = Channel::start("answer_timeout = \"20ms\"", Engine::storing().shut()).await;
    expect![[r#"
        503
        retry-after: 5
        error transient: the message could not be stored in time; send it again under the same Bundle.identifier or X-Request-Id
    "#]].assert_eq(&channel.post("").await.print());
    channel.stop().await;
}
