//! What operators do, for the audit; and whom an audit is asked about.

use message::audit::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{LineageOf, Operation, OperationError, Part};
use super::perform::{Desk, answer};
use crate::audit::{Copied, Follower, hex};
use crate::engine::{Change, clock};
use crate::store::{Act, DeliveryId, Lane, Record, Store};

/// Whom and what an audit is about, as the chain has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AuditOf {
    /// The patient's identifiers, and those linked with them: keyed hashes, in hexadecimal. `None` for all patients.
    pub subjects: Option<Vec<String>>,
}

/// The user that this process runs as.
pub(super) fn this_user() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}

/// Records that content is about to be seen, or the audit: before it is.
pub(super) async fn before(desk: &Desk, by: &str, operation: &Operation) -> Result<(), OperationError> {
    let store = desk.store();
    let act = match operation {
        Operation::Bytes(part) => viewed(store, by, *part).await?,
        Operation::Message(id) => {
            Act { message: Some(*id), ..Act::new(Kind::View, by, "what is known of the message") }
        }
        Operation::Lineage(LineageOf::Message(id)) => {
            Act { message: Some(*id), ..Act::new(Kind::View, by, "the lineage of the message") }
        }
        Operation::Lineage(LineageOf::Delivery(id)) => {
            of_delivery(store, by, "the lineage of its message", *id).await?
        }
        Operation::ConsentExplain { message, destination } => {
            let text = format!("why it may, or may not, go to {destination}");
            Act { message: Some(*message), ..Act::new(Kind::View, by, text) }
        }
        Operation::Consents { patient, versions } => {
            let subjects = patient.iter().map(|patient| subject(store, patient)).collect();
            let which = if *versions { "all versions of the Consents on file" } else { "the Consents on file" };
            Act { subjects, ..Act::new(Kind::View, by, which) }
        }
        Operation::ConsentSimulate { name, .. } => {
            Act::new(Kind::Query, by, format!("what the policy {name} would change"))
        }
        Operation::Hindsight { .. } => Act::new(Kind::Query, by, "what should not have been sent"),
        // It shows what went out beside what would.
        Operation::ReplayDryRun { .. } => Act::new(Kind::View, by, "what a replay would change"),
        Operation::Messages(query) => {
            let Some(search) = &query.search else { return Ok(()) };
            Act { subjects: vec![subject(store, search)], ..Act::new(Kind::Query, by, "messages of a patient") }
        }
        Operation::Audit { what, patient } => {
            let subjects = patient.iter().map(|patient| subject(store, patient)).collect();
            Act { subjects, ..Act::new(Kind::AuditRead, by, what) }
        }
        _ => return Ok(()),
    };
    note(store, act).await
}

async fn viewed(store: &Store, by: &str, part: Part) -> Result<Act, OperationError> {
    match part {
        Part::Original(id) => Ok(Act { message: Some(id), ..Act::new(Kind::View, by, "the message as it came") }),
        Part::Content(id) => of_delivery(store, by, "what a destination gets", id).await,
        Part::Answer(id) => of_delivery(store, by, "what a destination answered", id).await,
    }
}

/// A look at something of a delivery.
async fn of_delivery(store: &Store, by: &str, text: &str, delivery: DeliveryId) -> Result<Act, OperationError> {
    let found = store.delivery(delivery).await.map_err(OperationError::failed)?;
    let (message, subjects) = found.map(|it| (Some(it.message), it.subjects)).unwrap_or_default();
    Ok(Act { message, delivery: Some(delivery), subjects, ..Act::new(Kind::View, by, text) })
}

/// Records who gave an order that was carried out, of which no record of the log tells by whom.
pub(super) async fn after(desk: &Desk, by: &str, order: &str, ordered: Ordered) -> Result<(), OperationError> {
    let Ordered(kind, delivery) = ordered;
    let sha256 = match (desk, kind) {
        (Desk::Engine(engine, _), Kind::Configuration) => engine.site().await.hash.parse().ok(),
        _ => None,
    };
    note(desk.store(), Act { sha256, delivery, ..Act::new(kind, by, order) }).await
}

/// As what an order is told of, and of which delivery.
pub(super) struct Ordered(Kind, Option<DeliveryId>);

/// What orders the log does not tell of, or without who gave them.
pub(super) fn ordered(operation: &Operation) -> Option<Ordered> {
    let kind = match operation {
        Operation::Reload
        | Operation::PauseChannel { .. }
        | Operation::ResumeChannel { .. }
        | Operation::PauseDestination { .. }
        | Operation::ResumeDestination { .. } => Kind::Configuration,
        Operation::Replay(_) | Operation::CancelReplay(_) | Operation::ResumeReplay(_) => Kind::Replay,
        Operation::ChangeDelivery { change, delivery, .. } => {
            let kind = match change {
                Change::Hold => Kind::Hold,
                Change::Release => Kind::Release,
                Change::Skip => Kind::Skip,
            };
            return Some(Ordered(kind, Some(*delivery)));
        }
        Operation::Prune { .. } | Operation::Backup { .. } => Kind::Store,
        _ => return None,
    };
    Some(Ordered(kind, None))
}

async fn note(store: &Store, act: Act) -> Result<(), OperationError> {
    let record = Record::Act { at: clock::now(), act };
    store.commit_synced(vec![record]).await.map(drop).map_err(OperationError::failed)
}

/// Whom an audit is asked about. The chain is as far as the log then.
pub(super) async fn about(desk: &Desk, patient: Option<&str>) -> Result<Value, OperationError> {
    tell(desk).await?;
    let Some(patient) = patient else { return answer(AuditOf::default()) };
    let store = desk.store();
    let found = store.consents_of(&[subject(store, patient)]).await.map_err(OperationError::failed)?;
    answer(AuditOf { subjects: Some(found.subjects.iter().map(hex).collect()) })
}

/// Has the chain told of all that the log has.
pub(super) async fn tell(desk: &Desk) -> Result<(), OperationError> {
    let (store, site) = match desk {
        Desk::Store(store, site) => (store, site),
        Desk::Engine(engine, _) => {
            engine.audit().caught_up().await;
            return Ok(());
        }
    };
    let mut follower = Follower::open(store, &site.engine, &clock::clock()).map_err(OperationError::failed)?;
    follower.finish(site).await.map_err(OperationError::failed)
}

/// The chain as it is now, to be copied.
pub(super) async fn chain(desk: &Desk) -> Result<Copied, OperationError> {
    let copied = match desk {
        Desk::Engine(engine, _) => Copied::of(&engine.site().await.engine),
        Desk::Store(_, site) => Copied::of(&site.engine),
    };
    copied.map_err(OperationError::failed)
}

fn subject(store: &Store, patient: &str) -> Lane {
    store.keyed_hash(patient.as_bytes())
}
