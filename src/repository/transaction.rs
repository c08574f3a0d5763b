//! Carrying entries out, all or none (FHIR R4 §3.1.0.11.2). A single request is a transaction of one.

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::Value;

use super::Repository;
use super::behave::Fate;
use super::content::Resource;
use super::entry::{Action, Entry};
use super::kind::Kind;
use super::outcome::Refusal;
use super::plan::{Plan, Step};
use super::read::read;
use super::store::{Change, Store, Version};

/// What became of one entry.
pub(super) struct Done {
    pub(super) status: StatusCode,
    /// The version that was written or read.
    pub(super) written: Option<Written>,
    /// What was read.
    pub(super) body: Option<Value>,
}

/// A version and whose it is.
pub(super) struct Written {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) version: Version,
}

impl Repository {
    /// Carries `entries` out: all of them, or none.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, and where; nothing was written.
    pub(super) fn transact(&self, mut entries: Vec<Entry>, fate: &Fate) -> Result<Vec<Done>, Refusal> {
        for entry in &entries {
            entry
                .action
                .written()
                .map_or(Ok(()), |kind| fate.check(kind))
                .map_err(|refusal| entry.place.mark(refusal, ".resource"))?;
        }
        let now = (self.0.clock)();
        let mut store = self.store_mut();
        let mut plan = Plan::default();
        plan.decide(&mut store, &entries)?;
        plan.check_reads(&store, &entries)?;
        plan.link(&store, &mut entries, self.0.config.lenient_references)?;
        if !store.has_room_for(plan.new) {
            let text = format!("the repository holds as many resources as it may ({})", self.0.config.max_resources);
            return Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, "no-store", text));
        }
        plan.carry_out(&mut store, entries, now)
    }
}

impl Plan {
    /// Reads come last: they see what the others wrote.
    fn carry_out(self, store: &mut Store, entries: Vec<Entry>, now: Timestamp) -> Result<Vec<Done>, Refusal> {
        let mut done = Vec::with_capacity(entries.len());
        let mut reads = Vec::new();
        for (index, (entry, step)) in entries.into_iter().zip(self.steps).enumerate() {
            let place = entry.place;
            done.push(match (step, entry.action) {
                (Step::Keep { kind, id }, _) => Done::kept(store, kind, id),
                (Step::Delete { kind, id }, _) => Done::deleted(id.and_then(|id| delete(store, kind, id, now))),
                (Step::Write { id }, Action::Create { resource, .. } | Action::Update { resource, .. }) => {
                    Done::wrote(store, &resource, id, now)
                }
                (_, Action::Get(get)) => {
                    reads.push((index, place, get));
                    Done::deleted(None)
                }
                (_, _) => Done::deleted(None),
            });
        }
        for (index, place, get) in reads {
            let read = read(store, &get).map_err(|refusal| place.mark(refusal, ".request"))?;
            if let Some(done) = done.get_mut(index) {
                *done = read;
            }
        }
        Ok(done)
    }
}

impl Done {
    fn kept(store: &Store, kind: Kind, id: String) -> Self {
        let written = store.last(kind, &id).cloned().map(|version| Written { kind, id, version });
        Self { status: StatusCode::OK, written, body: None }
    }

    fn wrote(store: &mut Store, resource: &Resource, id: String, now: Timestamp) -> Self {
        let (change, version) = store.put(resource.kind, &id, &resource.content, now);
        let status = if change == Change::Created { StatusCode::CREATED } else { StatusCode::OK };
        Self { status, written: Some(Written { kind: resource.kind, id, version }), body: None }
    }

    /// Deleting what is not there is done as well.
    fn deleted(written: Option<Written>) -> Self {
        Self { status: StatusCode::NO_CONTENT, written, body: None }
    }
}

fn delete(store: &mut Store, kind: Kind, id: String, now: Timestamp) -> Option<Written> {
    let version = store.delete(kind, &id, now)?;
    Some(Written { kind, id, version })
}

/// A version as HTTP names it (FHIR R4 §3.1.0.1.3): `W/"1"`.
pub(super) fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}
