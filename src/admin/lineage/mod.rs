//! Everything that happened to a message, from the bytes that came to what each destination answered.

mod find;
mod records;

use std::collections::BTreeMap;

use jiff::Timestamp;
use message::{FindingKind, MessageId, fhir};
use serde::{Deserialize, Serialize};

pub use self::find::LineageVersion;
pub use self::records::{LineageOutput, LineageProvenance, LineageRecord, LineageWritten};
use super::operation::{LineageOf, MessageSummary, OperationError};
use crate::engine;
use crate::store::{DeliveryId, Outcome, Record, Store};

/// A message's life as a tree: what happened to it, and to each of its deliveries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lineage {
    /// The message.
    pub message: MessageSummary,
    /// What happened to the message itself, in order.
    pub events: Vec<LineageEvent>,
    /// What it became, by its latest run.
    pub outputs: Vec<LineageOutput>,
    /// Its deliveries, in order.
    pub deliveries: Vec<LineageDelivery>,
    /// Where a record was asked for: the times that it was written, the newest first. The rest tells of the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<LineageVersion>,
}

/// One delivery's life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LineageDelivery {
    /// Its number.
    pub id: DeliveryId,
    /// Where to.
    pub destination: String,
    /// Where it stands.
    pub state: String,
    /// What happened to it, in order.
    pub events: Vec<LineageEvent>,
}

/// One thing that happened. No patient data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LineageEvent {
    /// When.
    pub at: Timestamp,
    /// What, in one word.
    pub what: String,
    /// More of it, for a person.
    pub text: String,
}

/// The lineage that is asked for.
///
/// # Errors
///
/// [`OperationError`] where there is no such message, delivery or record, or its records cannot be read.
pub(super) async fn of(store: &Store, of: LineageOf) -> Result<Lineage, OperationError> {
    match of {
        LineageOf::Message(id) => of_message(store, id).await,
        LineageOf::Delivery(id) => {
            let delivery = store.delivery(id).await.map_err(OperationError::failed)?;
            let delivery = delivery.ok_or_else(|| OperationError::not_found(format!("there is no delivery {id}")))?;
            of_message(store, delivery.message).await
        }
        LineageOf::Original(hash) => of_message(store, find::original(store, &hash).await?).await,
        LineageOf::Resource { reference, destination } => {
            let versions = find::resource(store, &reference, destination).await?;
            let Some(latest) = versions.first().cloned() else {
                return Err(OperationError::not_found(format!("nothing wrote {reference}")));
            };
            let lineage = of_message(store, latest.message).await?;
            let is_it = |record: &LineageRecord| record.written.iter().any(|at| at.location == latest.location);
            let mut outputs = lineage.outputs;
            outputs.iter_mut().for_each(|output| output.records.retain(is_it));
            Ok(Lineage { outputs, versions, ..lineage })
        }
    }
}

/// The lineage of one message.
///
/// # Errors
///
/// [`OperationError`] where there is no such message, or its records cannot be read.
async fn of_message(store: &Store, id: MessageId) -> Result<Lineage, OperationError> {
    let message = store.message(id).await.map_err(OperationError::failed)?;
    let message = message.ok_or_else(|| OperationError::not_found(format!("there is no message {id}")))?;
    let known = engine::deliveries_of(store, id).await.map_err(OperationError::failed)?;
    let outputs = store.outputs(id).await.map_err(OperationError::failed)?;
    let mut answers = Vec::new();
    let mut events = Vec::new();
    let mut by_delivery: BTreeMap<DeliveryId, Vec<LineageEvent>> = BTreeMap::new();
    for entry in store.history(id).await.map_err(OperationError::failed)? {
        if let Record::Delivered { delivery, answer: Some(answer), .. } = &entry.record {
            answers.extend(fhir::parse(answer, &fhir::Limits::default()).ok().map(|answer| (*delivery, answer)));
        }
        for (delivery, event) in events_of(entry.sequence, &entry.record) {
            match delivery {
                Some(delivery) => by_delivery.entry(delivery).or_default().push(event),
                None => events.push(event),
            }
        }
    }
    let deliveries = known.into_iter().map(|delivery| LineageDelivery {
        events: by_delivery.remove(&delivery.id).unwrap_or_default(),
        id: delivery.id,
        destination: delivery.destination,
        state: delivery.state.to_string(),
    });
    Ok(Lineage {
        message: message.into(),
        events,
        outputs: outputs.iter().map(|output| records::of_output(output, &answers)).collect(),
        deliveries: deliveries.collect(),
        versions: Vec::new(),
    })
}

fn events_of(sequence: u64, record: &Record) -> Vec<(Option<DeliveryId>, LineageEvent)> {
    let event = |at: &Timestamp, what: &str, text: String| LineageEvent { at: *at, what: what.to_owned(), text };
    let one = |delivery: &DeliveryId, at, what, text: &str| vec![(Some(*delivery), event(at, what, text.to_owned()))];
    match record {
        Record::Received(received) => {
            let text = format!(
                "by {} from {}, {}, SHA-256 {}",
                received.channel, received.peer, received.kind, received.sha256
            );
            vec![(None, event(&received.at, "received", text))]
        }
        Record::Processed { at, outcome, steps, findings, .. } => {
            let steps = steps.iter().map(|step| {
                let text = format!("version {}, configuration {}", short(&step.version), short(&step.config));
                (None, event(&step.at, &step.transform, text))
            });
            let (what, text) = outcome_of(outcome, findings.len());
            let late = findings.iter().filter(|finding| finding.kind == FindingKind::Late).count();
            let late = (late > 0).then(|| {
                let text = format!("a newer event was taken before of {late} of its resources");
                (None, event(at, "late", text))
            });
            let made = made_by(sequence, outcome).map(|(delivery, what, text)| (Some(delivery), event(at, what, text)));
            steps.chain(late).chain([(None, event(at, what, text))]).chain(made).collect()
        }
        Record::Replayed { at, job, reason, .. } => {
            vec![(None, event(at, "replayed", format!("{reason} (job {job})")))]
        }
        Record::Attempted { delivery, at, reason, due, .. } => {
            one(delivery, at, "attempted", &again(reason, *at, *due))
        }
        Record::Delivered { delivery, at, summary, .. } => one(delivery, at, "delivered", summary),
        Record::Dead { delivery, at, reason, .. } => one(delivery, at, "dead", reason),
        Record::Held { delivery, at, reason } => one(delivery, at, "held", reason),
        Record::Released { delivery, at, reason } => one(delivery, at, "released", reason),
        Record::Skipped { delivery, at, reason } => one(delivery, at, "skipped", reason),
        Record::Consent { at, consent, .. } => {
            let text = format!("a Consent of {} bytes is on file", consent.body.len());
            vec![(None, event(at, "consent", text))]
        }
        Record::Linked { at, subjects, .. } => {
            vec![(None, event(at, "linked", format!("{} identifiers are one person's", subjects.len())))]
        }
        Record::Parted { at, .. } => vec![(None, event(at, "parted", "what was one person is two".to_owned()))],
        // What it changed is told with what came of the message.
        Record::Setting { .. } | Record::Latest { .. } | Record::Act { .. } | Record::TurnedAway { .. } => Vec::new(),
    }
}

fn again(reason: &str, at: Timestamp, due: Timestamp) -> String {
    if due <= at { format!("{reason}; next when it is back") } else { format!("{reason}; next at {due}") }
}

/// How the deliveries of an outcome began. Their numbers follow its record's.
fn made_by(sequence: u64, outcome: &Outcome) -> impl Iterator<Item = (DeliveryId, &'static str, String)> {
    let deliveries = match outcome {
        Outcome::Queued { deliveries, .. } => deliveries.as_slice(),
        Outcome::Filtered { .. } | Outcome::Failed { .. } => &[],
    };
    (sequence + 1..).zip(deliveries).map(|(id, delivery)| match &delivery.held {
        Some(reason) => (id, "held", reason.clone()),
        None => (id, "queued", format!("for {}", delivery.purposes.join(", "))),
    })
}

fn outcome_of(outcome: &Outcome, findings: usize) -> (&'static str, String) {
    match outcome {
        Outcome::Queued { deliveries, .. } => {
            let names: Vec<&str> = deliveries.iter().map(|delivery| delivery.destination.as_str()).collect();
            ("queued", format!("for {}; {findings} findings", names.join(", ")))
        }
        Outcome::Filtered { reason } => ("filtered", reason.clone()),
        Outcome::Failed { step, location, reason } => ("failed", format!("in {step} at {location}: {reason}")),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewDelivery;

    fn delivery(destination: &str, held: Option<&str>) -> NewDelivery {
        NewDelivery {
            destination: destination.to_owned(),
            output: 0,
            lanes: Vec::new(),
            subjects: Vec::new(),
            purposes: vec!["TREAT".to_owned()],
            held: held.map(str::to_owned),
        }
    }

    #[test]
    fn deliveries_begin_queued_or_held_under_the_numbers_after_their_record() {
        let deliveries = vec![delivery("archive", None), delivery("heart-registry", Some("no research"))];
        let record = Record::Processed {
            message: MessageId(uuid::Uuid::nil()),
            at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::Queued { outputs: Vec::new(), deliveries },
            steps: Vec::new(),
            findings: Vec::new(),
        };
        let told = events_of(7, &record).into_iter().map(|(id, event)| (id, event.what, event.text));
        let expected = [
            (None, "queued", "for archive, heart-registry; 0 findings"),
            (Some(8), "queued", "for TREAT"),
            (Some(9), "held", "no research"),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected.map(|(id, what, text)| (id, what.to_owned(), text.to_owned())));
    }
}
