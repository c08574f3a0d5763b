//! What a transaction is to do, decided as a whole before anything is written.

use std::collections::{HashMap, HashSet};

use hyper::StatusCode;

use super::content::Resource;
use super::entry::{Action, Entry, Get, Target};
use super::kind::{Kind, split_reference};
use super::outcome::Refusal;
use super::read::read;
use super::search::{Criteria, Query, terms};
use super::store::Store;
use super::transaction::etag;

/// What is to become of each entry, decided before anything is written.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// How many resources will be added.
    pub(super) new: usize,
    /// What references say, and what they are to say.
    links: HashMap<String, String>,
    /// Every resource that an entry means. None may be meant twice.
    meant: HashSet<(Kind, String)>,
    deleted: HashSet<(Kind, String)>,
    conditions: HashSet<(Kind, Criteria)>,
}

/// What is to become of one entry.
pub(super) enum Step {
    Write {
        id: String,
    },
    /// A conditional create found this one.
    Keep {
        kind: Kind,
        id: String,
    },
    Delete {
        kind: Kind,
        id: Option<String>,
    },
    Read,
}

impl Plan {
    /// Deletes come first, as they are carried out first; then the rest in order.
    pub(super) fn decide(&mut self, store: &mut Store, entries: &[Entry]) -> Result<(), Refusal> {
        let mut deletes = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Action::Delete { kind, target } = &entry.action {
                let step = self.delete(store, kind, target).map_err(|refusal| entry.place.mark(refusal, ".request"))?;
                deletes.insert(index, step);
            }
        }
        for (index, entry) in entries.iter().enumerate() {
            let step = match deletes.remove(&index) {
                Some(step) => step,
                None => self.step(store, entry).map_err(|refusal| entry.place.mark(refusal, ".request"))?,
            };
            self.name(entry, &step)?;
            self.steps.push(step);
        }
        Ok(())
    }

    fn step(&mut self, store: &mut Store, entry: &Entry) -> Result<Step, Refusal> {
        match &entry.action {
            Action::Create { resource, unless } => self.create(store, resource.kind, unless.as_ref()),
            Action::Update { resource, target, if_match } => self.update(store, resource, target, if_match.as_deref()),
            Action::Delete { kind, target } => self.delete(store, kind, target),
            Action::Get(_) => Ok(Step::Read),
        }
    }

    fn create(&mut self, store: &mut Store, kind: Kind, unless: Option<&Query>) -> Result<Step, Refusal> {
        let found = unless.map(|query| self.condition(store, query)).transpose()?.flatten();
        if let Some(id) = found {
            self.mean(kind, &id)?;
            return Ok(Step::Keep { kind, id });
        }
        self.add(store, kind)
    }

    fn update(
        &mut self,
        store: &mut Store,
        resource: &Resource,
        target: &Target,
        if_match: Option<&str>,
    ) -> Result<Step, Refusal> {
        let kind = resource.kind;
        let id = match target {
            Target::Id(id) => Some(id.clone()),
            Target::Match(query) => match (self.condition(store, query)?, resource.id()) {
                (Some(found), Some(id)) if found != id => {
                    return Err(Refusal::invalid(format!(
                        "the condition finds {kind}/{found}, and the resource's id is `{id}`"
                    )));
                }
                (found, id) => found.or_else(|| id.map(str::to_owned)),
            },
        };
        check_version(store, kind, id.as_deref(), if_match)?;
        let Some(id) = id else { return self.add(store, kind) };
        self.mean(kind, &id)?;
        self.new += usize::from(store.last(kind, &id).is_none());
        Ok(Step::Write { id })
    }

    fn delete(&mut self, store: &Store, kind: Kind, target: &Target) -> Result<Step, Refusal> {
        let id = match target {
            Target::Id(id) => Some(id.clone()),
            Target::Match(query) => self.condition(store, query)?,
        };
        if let Some(id) = &id {
            self.mean(kind, id)?;
            self.deleted.insert((kind, id.clone()));
        }
        Ok(Step::Delete { kind, id })
    }

    fn add(&mut self, store: &mut Store, kind: Kind) -> Result<Step, Refusal> {
        let id = store.fresh_id(kind);
        self.mean(kind, &id)?;
        self.new += 1;
        Ok(Step::Write { id })
    }

    /// The one resource that a condition finds, if any. A condition may stand only once: the second
    /// would have to find what the first has made.
    fn condition(&mut self, store: &Store, query: &Query) -> Result<Option<String>, Refusal> {
        if !self.conditions.insert((query.kind, query.criteria.clone())) {
            return Err(Refusal::invalid(format!("two entries have the condition `{}?{}`", query.kind, query.text)));
        }
        let mut found = store.find(query).into_iter().filter(|id| !self.is_deleted(query.kind, id));
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Refusal::condition(format!("`{}?{}` finds more than one", query.kind, query.text))),
            (found, None) => Ok(found.map(str::to_owned)),
        }
    }

    fn is_deleted(&self, kind: Kind, id: &str) -> bool {
        !self.deleted.is_empty() && self.deleted.contains(&(kind, id.to_owned()))
    }

    fn mean(&mut self, kind: Kind, id: &str) -> Result<(), Refusal> {
        if self.meant.insert((kind, id.to_owned())) {
            return Ok(());
        }
        Err(Refusal::invalid(format!("two entries are about {kind}/{id}")))
    }

    /// Lets the other entries find this one by its fullUrl.
    fn name(&mut self, entry: &Entry, step: &Step) -> Result<(), Refusal> {
        let (Some(url), Some(kind)) = (&entry.full_url, entry.action.written()) else { return Ok(()) };
        let (Step::Write { id } | Step::Keep { id, .. }) = step else { return Ok(()) };
        let reference = format!("{kind}/{id}");
        // Beside `http://emr/Observation/2`, `Patient/1` means `http://emr/Patient/1`.
        if let Some(start) = url.starts_with("http").then(|| url.rmatch_indices('/').nth(1)).flatten()
            && let Some(relative) = url.get(start.0 + 1..).filter(|relative| split_reference(relative).is_some())
        {
            self.links.insert(relative.to_owned(), reference.clone());
        }
        if self.links.insert(url.clone(), reference).is_some() {
            return Err(entry.place.mark(Refusal::invalid("two entries have this fullUrl (bdl-7)"), ".fullUrl"));
        }
        Ok(())
    }

    /// Sees to it that no read can fail once the writes are done.
    pub(super) fn check_reads(&self, store: &Store, entries: &[Entry]) -> Result<(), Refusal> {
        for entry in entries {
            let Action::Get(get) = &entry.action else { continue };
            let is_written = match get {
                Get::Read(kind, id) | Get::History(kind, id) => {
                    self.meant.contains(&(*kind, id.clone())) && !self.is_deleted(kind, id)
                }
                Get::Version(..) | Get::Search(_) => false,
            };
            let is_gone = matches!(get, Get::Read(kind, id) if self.is_deleted(kind, id));
            let checked = match (is_gone, is_written) {
                (true, _) => Err(Refusal::invalid("the same transaction deletes what this is to read")),
                (false, true) => Ok(()),
                (false, false) => read(store, get).map(|_| ()),
            };
            checked.map_err(|refusal| entry.place.mark(refusal, ".request"))?;
        }
        Ok(())
    }

    /// Gives each resource its id, and each reference what it is to say.
    pub(super) fn link(&mut self, store: &Store, entries: &mut [Entry], lenient: bool) -> Result<(), Refusal> {
        self.resolve_conditional(store, entries)?;
        let steps = std::mem::take(&mut self.steps);
        for (entry, step) in entries.iter_mut().zip(&steps) {
            let place = entry.place;
            let (Step::Write { id }, Some(resource)) = (step, entry.action.resource_mut()) else { continue };
            for text in &resource.references {
                self.check(store, text, lenient)
                    .map_err(|refusal| refusal.at(|| resource.expression_of(text, &place.resource(resource.kind))))?;
            }
            resource.set_id(id);
            if !self.links.is_empty() {
                resource.relink(&|text| self.links.get(text).cloned());
            }
        }
        self.steps = steps;
        Ok(())
    }

    /// # Errors
    ///
    /// 400 if a reference leads nowhere.
    fn check(&self, store: &Store, text: &str, lenient: bool) -> Result<(), Refusal> {
        if self.links.contains_key(text) {
            return Ok(());
        }
        let missing = |text: String| Err(Refusal::new(StatusCode::BAD_REQUEST, "not-found", text));
        match split_reference(text) {
            Some((kind, id)) => {
                let key = (kind, id.to_owned());
                let is_there = self.meant.contains(&key) || store.current(kind, id).is_some();
                if (is_there && !self.deleted.contains(&key)) || lenient {
                    Ok(())
                } else {
                    missing(format!("there is no {kind}/{id}, here or in the request"))
                }
            }
            None if text.starts_with("urn:") => missing("no entry has the fullUrl that this refers to".to_owned()),
            None => Ok(()),
        }
    }

    /// Conditional references find what is there, and what the same transaction writes.
    fn resolve_conditional(&mut self, store: &Store, entries: &[Entry]) -> Result<(), Refusal> {
        for (entry, resource) in entries.iter().filter_map(|entry| Some((entry, entry.action.resource()?))) {
            for text in &resource.references {
                if self.links.contains_key(text) {
                    continue;
                }
                let Some(query) = Query::reference(text) else { continue };
                let found = query.and_then(|query| self.find_one(store, &query, entries)).map_err(|refusal| {
                    refusal.at(|| resource.expression_of(text, &entry.place.resource(resource.kind)))
                })?;
                self.links.insert(text.clone(), found);
            }
        }
        Ok(())
    }

    fn find_one(&self, store: &Store, query: &Query, entries: &[Entry]) -> Result<String, Refusal> {
        let stands = |id: &str| !self.meant.contains(&(query.kind, id.to_owned())) || self.keeps(query.kind, id);
        let stored = store.find(query).into_iter().filter(|id| stands(id));
        let written = entries.iter().zip(&self.steps).filter_map(|(entry, step)| {
            let (Step::Write { id }, Some(resource)) = (step, entry.action.resource()) else { return None };
            let is_found = resource.kind == query.kind && query.matches(id, &terms(resource.kind, &resource.content));
            is_found.then_some(id.as_str())
        });
        let mut found = stored.chain(written);
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(format!("{}/{id}", query.kind)),
            (None, _) => Err(Refusal::condition(format!("`{}?{}` finds nothing", query.kind, query.text))),
            _ => Err(Refusal::condition(format!("`{}?{}` finds more than one", query.kind, query.text))),
        }
    }

    fn keeps(&self, kind: Kind, id: &str) -> bool {
        let is_it = |step: &Step| matches!(step, Step::Keep { kind: k, id: i } if *k == kind && i == id);
        self.steps.iter().any(is_it)
    }
}

/// # Errors
///
/// 412 if the resource is not at the version that If-Match names.
fn check_version(store: &Store, kind: Kind, id: Option<&str>, if_match: Option<&str>) -> Result<(), Refusal> {
    let Some(expected) = if_match else { return Ok(()) };
    let is = id.and_then(|id| store.current(kind, id)).map(|version| etag(version.number));
    if is.as_deref() == Some(expected.trim()) {
        return Ok(());
    }
    Err(Refusal::condition(format!("the resource is not at version {expected}")))
}
