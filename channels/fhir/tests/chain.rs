//! One Tributary sends to another: the answers of the channel in are what the channel out expects.

use async_trait::async_trait;
use expect_test::{Expect, expect};
use message::{Answer, Fault, MessageId};

use super::*;
use crate::{Inbound as _, Intake, Offered, Stopper, Ticket, http};

/// Gives each offer the same answer, and keeps what the sender calls it.
struct Engine {
    answer: Answer,
    names: Mutex<Vec<Option<String>>>,
}

#[async_trait]
impl Intake for Engine {
    async fn offer(&self, offered: Offered) -> Ticket {
        self.names.lock().unwrap().push(offered.transport_id);
        Ticket { answer: self.answer.clone(), outcome: None }
    }
}

fn id() -> MessageId {
    "0193a5b0-0000-7000-8000-0000000000ff".parse().unwrap()
}

async fn check(settings: &str, body: &'static str, answer: Answer, expected: Expect) {
    let config = toml::from_str("listen = \"127.0.0.1:0\"\npath = \"/fhir\"").unwrap();
    let clock: Clock = Arc::new(|| "2026-11-06T08:00:00Z".parse().unwrap());
    let inbound = Box::new(http::Inbound::bind("other".into(), config, clock).await.unwrap());
    let url = format!("http://{}/fhir", inbound.bound());
    let engine = Arc::new(Engine { answer, names: Mutex::default() });
    let (stopper, stop) = Stopper::new();
    let mut running = JoinSet::new();
    running.spawn(inbound.run(Arc::clone(&engine) as Arc<dyn Intake>, stop));

    let destination = destination(&url, settings).unwrap();
    expected.assert_eq(&print(&deliver(&destination, body).await));
    let named = engine.names.lock().unwrap().pop().unwrap().unwrap();
    assert!(named.starts_with("0193a5b0-0000-7000-8000-000000000001-7-"), "{named}");

    stopper.stop();
    timeout(DEADLINE, running.join_next()).await.unwrap().unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_the_other_stored_is_delivered() {
    let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[{}]}"#;
    let document = r#"{"resourceType":"Bundle","type":"document","entry":[{}]}"#;
    let message = r#"{"resourceType":"Bundle","type":"message","entry":[{}]}"#;
    for (settings, body) in [
        ("", TRANSACTION),
        ("mode = \"batch\"", batch),
        ("mode = \"as-is\"", document),
        ("mode = \"as-is\"", message),
        ("mode = \"as-is\"\nmessages = \"bundle\"", message),
    ] {
        check(settings, body, Answer::Stored(id()), expect!["delivered: 202 Accepted: informational"]).await;
    }
}

#[tokio::test]
async fn what_the_other_has_already_is_delivered() {
    check("", TRANSACTION, Answer::Duplicate(id()), expect!["delivered: 202 Accepted: duplicate"]).await;
}

#[tokio::test]
async fn what_the_other_delivered_is_delivered() {
    check("", TRANSACTION, Answer::Done(id(), None), expect!["delivered: 200 OK: informational"]).await;
    check("", TRANSACTION, Answer::Done(id(), Some(TAKEN.into())), expect!["delivered: 200 OK, 2 entries"]).await;
}

#[tokio::test]
async fn what_the_other_does_not_take_is_not_delivered() {
    let fault = Fault::new(101, "Bundle.entry[3].request".to_owned(), "required in a transaction");
    check("", TRANSACTION, Answer::Invalid(fault), expect!["refused: 400 Bad Request: required"]).await;
    check("", TRANSACTION, Answer::Conflict { id: id(), earlier: id() }, expect!["erred: 409 Conflict: conflict"])
        .await;
    let retry_after = Some(Duration::from_secs(30));
    let unavailable = Answer::Unavailable { reason: "the disk is nearly full".to_owned(), retry_after };
    check("", TRANSACTION, unavailable, expect!["unavailable and down after 30s: 503 Service Unavailable: transient"])
        .await;
}
