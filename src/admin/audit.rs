//! What operators do, for the audit; and whom an audit is asked about.

use message::audit::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{Operation, OperationError, Part};
use super::perform::{Desk, answer};
use crate::audit::{Follower, hex};
use crate::engine::clock;
use crate::store::{Act, Lane, Record, Store};

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
    let (text, delivery) = match part {
        Part::Original(id) => {
            return Ok(Act { message: Some(id), ..Act::new(Kind::View, by, "the message as it came") });
        }
        Part::Content(id) => ("what a destination gets", id),
        Part::Answer(id) => ("what a destination answered", id),
    };
    let found = store.delivery(delivery).await.map_err(OperationError::failed)?;
    let (message, subjects) = found.map(|it| (Some(it.message), it.subjects)).unwrap_or_default();
    Ok(Act { message, delivery: Some(delivery), subjects, ..Act::new(Kind::View, by, text) })
}

/// Records what an order has changed that no record of the log tells of.
pub(super) async fn after(desk: &Desk, by: &str, order: &str, kind: Kind) -> Result<(), OperationError> {
    let sha256 = match (desk, kind) {
        (Desk::Engine(engine, _), Kind::Configuration) => engine.site().await.hash.parse().ok(),
        _ => None,
    };
    note(desk.store(), Act { sha256, ..Act::new(kind, by, order) }).await
}

/// What an order changes that the log does not tell of.
pub(super) fn changes(operation: &Operation) -> Option<Kind> {
    match operation {
        Operation::Reload => Some(Kind::Configuration),
        Operation::Prune { .. } | Operation::Backup { .. } => Some(Kind::Store),
        _ => None,
    }
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

/// Has the chain told of all that the log has, where no engine does.
pub(super) async fn tell(desk: &Desk) -> Result<(), OperationError> {
    let Desk::Store(store, site) = desk else { return Ok(()) };
    let mut follower = Follower::open(store, &site.engine, &clock::clock()).map_err(OperationError::failed)?;
    follower.finish(site).await.map_err(OperationError::failed)
}

fn subject(store: &Store, patient: &str) -> Lane {
    store.keyed_hash(patient.as_bytes())
}
