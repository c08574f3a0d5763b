//! Which message a record at a destination came from: back from what arrived to what was sent.

use message::MessageId;
use message::json::Value;
use message::{Sha256, fhir};
use serde::{Deserialize, Serialize};

use super::super::operation::OperationError;
use super::records::{entries, tail};
use crate::engine;
use crate::store::{DeliveryId, DeliveryQuery, MessageQuery, State, Store};

/// How many deliveries, the newest first, are looked through for a record.
const MOST: usize = 20_000;
/// How many are asked for at a time.
const PAGE: usize = 256;
/// How many versions of a record are told.
const VERSIONS: usize = 20;

/// One time that a record was written to a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageVersion {
    /// What the destination calls it: `Patient/42/_history/3`.
    pub location: String,
    /// The delivery that wrote it.
    pub delivery: DeliveryId,
    /// Where to.
    pub destination: String,
    /// The message that it came from.
    pub message: MessageId,
}

/// The times that `resource`, `Type/id` or `Type/id/_history/version`, was written, the newest first.
///
/// # Errors
///
/// [`OperationError`] where that is no name of a resource, where nothing wrote it, or if the store cannot be read.
pub(super) async fn resource(
    store: &Store,
    resource: &str,
    destination: Option<String>,
) -> Result<Vec<LineageVersion>, OperationError> {
    let name = tail(resource).ok_or_else(|| {
        OperationError::not_found(format!("`{resource}` names no resource of FHIR: write it like Patient/42"))
    })?;
    let (mut query, mut looked, mut found) = (
        DeliveryQuery {
            destination,
            states: vec![State::Delivered],
            newest_first: true,
            limit: PAGE,
            ..DeliveryQuery::default()
        },
        0,
        Vec::new(),
    );
    while looked < MOST && found.len() < VERSIONS {
        let page = store.deliveries(&query).await.map_err(OperationError::failed)?;
        for delivery in page.items {
            looked += 1;
            let answer = engine::last_answer(store, delivery.message, Some(delivery.id)).await;
            let Some(answer) = answer.map_err(OperationError::failed)? else { continue };
            // Most answers are of something else: they are read only where the name stands in them.
            let id = name.split("/_history").next().unwrap_or(name);
            if memchr::memmem::find(&answer, id.as_bytes()).is_none() {
                continue;
            }
            let Ok(answer) = fhir::parse(&answer, &fhir::Limits::default()) else { continue };
            let written = entries(&answer).iter().filter_map(location).find(|location| is_of(location, name));
            found.extend(written.map(|location| LineageVersion {
                location: location.to_owned(),
                delivery: delivery.id,
                destination: delivery.destination.clone(),
                message: delivery.message,
            }));
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    if found.is_empty() {
        let text = format!("none of the last {looked} deliveries that were taken wrote {name}");
        return Err(OperationError::not_found(text));
    }
    found.truncate(VERSIONS);
    Ok(found)
}

fn location(entry: &Value) -> Option<&str> {
    tail(entry.get("response")?.get("location")?.as_str()?)
}

/// True if `location` is `name`, or a version of it.
fn is_of(location: &str, name: &str) -> bool {
    location.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("/_history/"))
}

/// The message whose bytes have the hash that Provenance names: `ni:///sha-256;…` or hexadecimal.
///
/// # Errors
///
/// [`OperationError`] where that is no hash, where no message has it, or if the store cannot be read.
pub(super) async fn original(store: &Store, hash: &str) -> Result<MessageId, OperationError> {
    let wanted = |sha256: &Sha256| sha256.to_ni_uri() == hash || sha256.to_string().eq_ignore_ascii_case(hash);
    let mut query = MessageQuery { newest_first: true, limit: PAGE, ..MessageQuery::default() };
    loop {
        let page = store.messages(&query).await.map_err(OperationError::failed)?;
        if let Some(message) = page.items.iter().find(|message| wanted(&message.received.sha256)) {
            return Ok(message.received.id);
        }
        query.after = page.next;
        if query.after.is_none() {
            return Err(OperationError::not_found(format!("no message that is stored has bytes with the hash {hash}")));
        }
    }
}
