//! When the sender is told: by policy and by mode.

use std::sync::{Arc, Mutex};

use message::{Answer, Fault};
use tokio::sync::oneshot;

use super::{Engine, Site, adt, adt_asking, eventually, framed, id, millis};
use crate::mllp::{AcknowledgmentMode, InboundConfig};
use crate::{Acknowledge, Ticket};

/// An engine that stores at once and tells the outcome when the test does.
#[derive(Clone, Default)]
struct Outcomes(Arc<Mutex<Vec<Option<oneshot::Sender<Answer>>>>>);

impl Outcomes {
    fn engine(&self) -> Arc<Engine> {
        let outcomes = self.0.clone();
        Engine::answering(move |_, number| {
            let (tell, told) = oneshot::channel();
            outcomes.lock().unwrap().push(Some(tell));
            let lost = Answer::Unavailable { reason: "lost".into(), retry_after: None };
            let outcome = Box::pin(async move { told.await.unwrap_or(lost) });
            Ticket { answer: Answer::Stored(id(number)), outcome: Some(outcome) }
        })
    }

    async fn tell(&self, message: usize, answer: Answer) {
        eventually("the message was offered", || self.0.lock().unwrap().len() >= message).await;
        let tell = self.0.lock().unwrap()[message - 1].take().unwrap();
        drop(tell.send(answer));
    }
}

fn done(number: u64) -> Answer {
    Answer::Done(id(number), None)
}

fn invalid() -> Answer {
    Answer::Invalid(Fault::new(101, "PID[1]-3".to_owned(), "no identifier"))
}

#[tokio::test]
async fn with_stored_the_outcome_is_not_waited_for() {
    let outcomes = Outcomes::default();
    let site = Site::start(outcomes.engine(), |_| ());
    let mut peer = site.connect().await;
    peer.send(&framed(&adt("1"))).await;
    assert_eq!(peer.ack().await, "AA 1");
}

#[tokio::test]
async fn with_processed_or_delivered_the_outcome_is_the_answer() {
    for policy in [Acknowledge::Processed, Acknowledge::Delivered] {
        let outcomes = Outcomes::default();
        let site = Site::start(outcomes.engine(), |config| config.acknowledge = policy);
        let mut peer = site.connect().await;
        peer.send(&[framed(&adt("1")), framed(&adt("2")), framed(&adt("3"))].concat()).await;
        outcomes.tell(3, Answer::Done(id(3), Some("taken".into()))).await;
        outcomes.tell(2, invalid()).await;
        outcomes.tell(1, done(1)).await;
        assert_eq!(peer.ack().await, "AA 1");
        assert_eq!(peer.ack().await, "AE 2: no identifier");
        assert_eq!(peer.ack().await, "AA 3: taken");
    }
}

#[tokio::test]
async fn an_outcome_that_does_not_come_is_not_waited_for_for_ever() {
    let outcomes = Outcomes::default();
    let site = Site::start(outcomes.engine(), |config| {
        config.acknowledge = Acknowledge::Delivered;
        config.outcome_timeout = millis(50);
    });
    let mut peer = site.connect().await;
    peer.send(&framed(&adt("1"))).await;
    let ack = peer.ack().await;
    assert!(ack.starts_with("AR 1: ") && ack.contains("it is stored and goes on"), "{ack}");
}

/// HL7 v2.5.1 §2.9.3: the accept acknowledgment at once, the application acknowledgment when it is ready.
#[tokio::test]
async fn enhanced_mode_commits_first_and_tells_the_outcome_later() {
    for policy in [Acknowledge::Stored, Acknowledge::Delivered] {
        let outcomes = Outcomes::default();
        let site = Site::start(outcomes.engine(), |config| config.acknowledge = policy);
        let mut peer = site.connect().await;
        for number in ["1", "2"] {
            peer.send(&framed(&adt_asking(number, "AL", "AL"))).await;
            assert_eq!(peer.ack().await, format!("CA {number}"));
        }
        outcomes.tell(2, done(2)).await;
        assert_eq!(peer.ack().await, "AA 2");
        outcomes.tell(1, invalid()).await;
        assert_eq!(peer.ack().await, "AE 1: no identifier");
    }
}

#[tokio::test]
async fn enhanced_mode_says_no_more_than_is_asked_for() {
    let outcomes = Outcomes::default();
    let site = Site::start(outcomes.engine(), |_| ());
    let mut peer = site.connect().await;
    let asked = [("AL", "NE"), ("NE", "AL"), ("ER", "ER"), ("", "SU"), ("NE", "NE"), ("SU", "")];
    for (number, (accept, application)) in (1..).zip(asked) {
        peer.send(&framed(&adt_asking(&number.to_string(), accept, application))).await;
    }
    assert_eq!(peer.ack().await, "CA 1");
    assert_eq!(peer.ack().await, "CA 6");
    for number in 1..=6 {
        outcomes.tell(number, done(number as u64)).await;
        if number == 2 || number == 4 {
            assert_eq!(peer.ack().await, format!("AA {number}"));
        }
    }
    peer.hang_up().await;
    assert_eq!(peer.acks().await, "");
}

/// A sender that asked for the application acknowledgment only must hear of a refusal by it.
#[tokio::test]
async fn a_refusal_is_told_by_the_acknowledgment_that_was_asked_for() {
    let site = Site::start(Engine::answering(|_, _| Ticket { answer: invalid(), outcome: None }), |_| ());
    let mut peer = site.connect().await;
    peer.send(&framed(&adt_asking("1", "NE", "AL"))).await;
    assert_eq!(peer.ack().await, "AE 1: no identifier");
    peer.send(&framed(&adt_asking("2", "AL", "AL"))).await;
    assert_eq!(peer.ack().await, "CE 2: no identifier");
    peer.send(&framed(&adt_asking("3", "NE", "NE"))).await;
    peer.send(&framed(&adt("4"))).await;
    assert_eq!(peer.ack().await, "AE 4: no identifier");
}

#[tokio::test]
async fn an_outcome_known_at_once_is_told_at_once() {
    let site = Site::start(Engine::new(), |_| ());
    let mut peer = site.connect().await;
    peer.send(&framed(&adt_asking("1", "AL", "AL"))).await;
    assert_eq!(peer.ack().await, "CA 1");
    assert_eq!(peer.ack().await, "AA 1");
}

/// Outcomes that are long in coming bound what is read, by their own window.
#[tokio::test]
async fn in_original_mode_every_message_has_one_answer() {
    let original = |config: &mut InboundConfig| config.acknowledgment_mode = AcknowledgmentMode::Original;
    let outcomes = Outcomes::default();
    let site = Site::start(outcomes.engine(), original);
    let mut peer = site.connect().await;
    for (control_id, accept, application) in [("1", "NE", "NE"), ("2", "AL", "AL"), ("3", "ER", ""), ("4", "", "")] {
        peer.send(&framed(&adt_asking(control_id, accept, application))).await;
        assert_eq!(peer.ack().await, format!("AA {control_id}"));
    }
    let refusing = Engine::answering(|_, _| Ticket { answer: invalid(), outcome: None });
    let site = Site::start(refusing, original);
    let mut peer = site.connect().await;
    peer.send(&framed(&adt_asking("5", "NE", "NE"))).await;
    assert_eq!(peer.ack().await, "AE 5: no identifier");
}

#[tokio::test]
async fn application_acknowledgments_have_their_own_window() {
    let outcomes = Outcomes::default();
    let engine = outcomes.engine();
    let site = Site::start(engine.clone(), |config| config.application_window = 2.try_into().unwrap());
    let mut peer = site.connect().await;
    for number in 1..=4 {
        peer.send(&framed(&adt_asking(&number.to_string(), "AL", "AL"))).await;
    }
    assert_eq!(peer.ack().await, "CA 1");
    assert_eq!(peer.ack().await, "CA 2");
    outcomes.tell(1, done(1)).await;
    assert_eq!(peer.ack().await, "AA 1");
    assert_eq!(peer.ack().await, "CA 3");
    assert_eq!(engine.count(), 3);
}

/// A sender that connects for each message would else keep a place for each that is not yet delivered.
#[tokio::test]
async fn nobody_waits_for_a_peer_that_has_hung_up() {
    let site = Site::start(Outcomes::default().engine(), |_| ());
    let mut peer = site.connect().await;
    peer.send(&framed(&adt_asking("1", "AL", "AL"))).await;
    peer.hang_up().await;
    assert_eq!(peer.acks().await, "CA 1");
    assert_eq!(site.counts.unanswered.load(std::sync::atomic::Ordering::Relaxed), 1);
    site.stop().await;
}
