//! What is known of the patients that a content is about: whose it is, what is on file of them, what their decision
//! service says, and a declared emergency.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use message::consent::by_entry::{Directive, Snapshot, Source};
use message::json::Value;
use message::{Provider, fhir};

use super::judge::{Known, THE_PATIENT};
use super::people::Person;
use super::services::{Identified, Question, SOON};
use super::travel::{Copy, kept};
use super::{Asked, Basis, Declaration, Gate};
use crate::config::{PolicyConfig, Site};
use crate::engine::patient::Identifier;
use crate::engine::process::several;
use crate::store::{Lane, OnFile, StoreError};

/// How many patients' consents are kept compiled.
const KEPT: usize = 20_000;

/// What is on file of one patient, compiled.
#[derive(Clone)]
pub(super) struct File {
    epoch: u64,
    certain: bool,
    /// All their identifiers.
    subjects: Arc<[Lane]>,
    snapshot: Arc<Snapshot>,
    /// What their Consents say of people, as they were filed.
    copies: Arc<[Copy]>,
}

/// One patient of a content, with all that is on file of them.
struct Group<'a> {
    file: File,
    identifiers: Cow<'a, BTreeSet<Identifier>>,
    /// The entries about them; all where `None`.
    places: Option<BTreeSet<usize>>,
    certain: bool,
}

impl Gate {
    /// What is known of everyone a content is about, what that rests on, and when to ask again what was asked in vain.
    pub(super) async fn known(
        &self,
        site: &Site,
        persons: &[Person],
        policy: &PolicyConfig,
        asked: Asked<'_>,
        then: Option<Timestamp>,
    ) -> Result<(Vec<Known>, Vec<Basis>, Option<Timestamp>), StoreError> {
        let now = then.unwrap_or_else(|| (self.clock)());
        let declarations = self.declarations.load();
        // An emergency opens what is for care, and nothing else.
        let for_care = asked.purposes.iter().all(|code| site.consent.terms.is_purpose_within(code, "TREAT"));
        let emergency = |file: &File| {
            if !for_care {
                return None;
            }
            let opens = |one: &&Declaration| one.opens(&file.subjects, &asked.destination.name, now);
            declarations.iter().find(opens).map(Declaration::emergency)
        };
        let several = asked.subjects.contains(&several(&self.hash));
        // What came about one patient leaves about one: it was told whose it is by what came.
        let is_one = if asked.subjects.is_empty() { persons.len() < 2 } else { !several || persons.is_empty() };
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut patients = Vec::new();
        let mut again = None;
        if is_one {
            let own = || persons.first().map(|person| person.subjects(&self.hash)).unwrap_or_default();
            let subjects = if asked.subjects.is_empty() { &own() } else { asked.subjects };
            let identifiers = match persons {
                [person] => Cow::Borrowed(&person.identifiers),
                persons => Cow::Owned(persons.iter().flat_map(|person| &person.identifiers).cloned().collect()),
            };
            let who = self.identified(subjects, &identifiers, then).await;
            let file = self.file(&who.subjects, then).await?;
            // What tells of nobody is nobody's; what tells of someone must say of whom.
            let certain = file.certain && who.certain && !several && (!subjects.is_empty() || persons.is_empty());
            again = again.or(who.again.then(|| now + SOON));
            patients.push(file.basis(who.subjects));
            groups.push(Group { file, identifiers, places: None, certain });
        }
        for person in persons.iter().filter(|_| !is_one) {
            let (subjects, Person { identifiers, places }) = (&person.subjects(&self.hash), person);
            let who = self.identified(subjects, identifiers, then).await;
            let file = self.file(&who.subjects, then).await?;
            // Read from what leaves, they must be among those that came.
            let came = file.subjects.iter().any(|subject| asked.subjects.contains(subject));
            let certain = file.certain && who.certain && came;
            again = again.or(who.again.then(|| now + SOON));
            patients.push(file.basis(who.subjects));
            match groups.iter_mut().find(|group| group.file.subjects.iter().any(|one| file.subjects.contains(one))) {
                Some(group) => {
                    group.places.get_or_insert_default().extend(places);
                    group.identifiers.to_mut().extend(identifiers.iter().cloned());
                    group.certain &= certain;
                }
                None => {
                    let (identifiers, places) = (Cow::Borrowed(identifiers), Some(places.clone()));
                    groups.push(Group { file, identifiers, places, certain });
                }
            }
        }
        let mut known = Vec::with_capacity(groups.len());
        for Group { file, identifiers, places, certain } in groups {
            let emergency = emergency(&file);
            let question = (emergency.is_some(), then);
            let (snapshot, soon) = self.said(site, policy, asked, &file, &identifiers, question).await;
            again = [again, soon].into_iter().flatten().min();
            let copies = Arc::clone(&file.copies);
            known.push(Known { emergency, snapshot, copies, certain, places });
        }
        Ok((known, patients, again))
    }

    /// Whose data it is, by all that can be asked; data of nobody is nobody's. Of a time that is past nobody is asked.
    async fn identified(
        &self,
        subjects: &[Lane],
        identifiers: &BTreeSet<Identifier>,
        then: Option<Timestamp>,
    ) -> Identified {
        if subjects.is_empty() || then.is_some() {
            let subjects = self.services.load().identities().widen(subjects);
            return Identified { subjects, certain: true, again: false };
        }
        self.services.load_full().identify(subjects, identifiers).await
    }

    /// What a patient says, on file, in the site's own Consents and by the destination's decision service; and when to
    /// ask that again, where it was asked in vain.
    async fn said(
        &self,
        site: &Site,
        policy: &PolicyConfig,
        asked: Asked<'_>,
        file: &File,
        identifiers: &BTreeSet<Identifier>,
        (emergency, then): (bool, Option<Timestamp>),
    ) -> (Arc<Snapshot>, Option<Timestamp>) {
        let services = self.services.load_full();
        let feed = site.channels.get(asked.channel).map(|channel| channel.consents.as_slice()).unwrap_or_default();
        let fixed = services.fixed().of(&file.subjects, feed);
        let mut snapshot = Arc::clone(&file.snapshot);
        if !fixed.is_empty() {
            snapshot = Arc::new(Snapshot::clone(&snapshot).with(fixed.into_iter().cloned()));
        }
        // Of a time that is past, a service cannot be asked.
        let Some(name) = asked.destination.consent_service.as_ref().filter(|_| then.is_none()) else {
            return (snapshot, None);
        };
        let Some(service) = services.consent(name) else {
            // A destination and its service are read together: this is between two reloads.
            return (Arc::new(Snapshot::clone(&snapshot).of_source(Source::Unavailable)), None);
        };
        let nobody = Provider::default();
        let recipient = site.providers.get(&asked.destination.recipient).map_or(&nobody, AsRef::as_ref);
        let in_emergency = [String::from("ETREAT")];
        let purposes = if emergency { &in_emergency[..] } else { asked.purposes };
        let most = Duration::from_micros(u64::try_from(policy.policy.max_stale).unwrap_or(0));
        let question = Question { identifiers, recipient, purposes, most };
        let consulted = services.consult(service, question, &snapshot, (self.clock)()).await;
        (Arc::new(consulted.snapshot), consulted.again)
    }

    /// What is on file of a patient; compiled once while it stays. With `then`, what of it was in force at that time.
    async fn file(&self, subjects: &[Lane], then: Option<Timestamp>) -> Result<File, StoreError> {
        if let Some(then) = then {
            return Ok(compiled(self.in_force(subjects, then).await?));
        }
        if subjects.is_empty() {
            let snapshot = Arc::new(Snapshot::new(Vec::new(), Source::Fresh));
            return Ok(File {
                epoch: self.store.epoch_of(subjects),
                certain: true,
                subjects: Arc::default(),
                snapshot,
                copies: Arc::default(),
            });
        }
        let epoch = self.store.epoch_of(subjects);
        let kept = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(subjects).cloned();
        if let Some(kept) = kept.filter(|kept| kept.epoch == epoch) {
            return Ok(kept);
        }
        let file = match self.store.consents_of(subjects).await {
            Ok(on_file) => compiled(on_file),
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "a Consent cannot be read from the store: what it might govern waits");
                let snapshot = Arc::new(Snapshot::new(Vec::new(), Source::Invalid));
                File { epoch, certain: true, subjects: subjects.into(), snapshot, copies: Arc::default() }
            }
            Err(error) => return Err(error),
        };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= KEPT {
            files.clear();
        }
        files.insert(subjects.to_vec(), file.clone());
        Ok(file)
    }
}

impl File {
    fn basis(&self, subjects: Vec<Lane>) -> Basis {
        Basis { subjects, epoch: self.epoch, all: Arc::clone(&self.subjects) }
    }
}

fn compiled(on_file: OnFile) -> File {
    let OnFile { epoch, subjects, certain, consents } = on_file;
    let mut copies = Vec::new();
    let directives = consents.iter().map(|consent| {
        // What cannot be read is nothing that can be computed: it holds what it might govern.
        let body = fhir::read(&consent.body, &fhir::Limits::default()).unwrap_or(Value::Null);
        let (version, patient) = (Some(consent.version.to_string().into()), vec![THE_PATIENT.into()]);
        let directive = Directive { version, patient, ..Directive::read(&body) };
        copies.extend(kept(&directive, &body));
        directive
    });
    let snapshot = Arc::new(Snapshot::new(directives.collect(), Source::Fresh));
    File { epoch, certain, subjects: subjects.into(), snapshot, copies: copies.into() }
}
