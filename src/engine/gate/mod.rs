//! The consent decision in force: asked immediately before every attempt, on what is about to leave.
//!
//! [`Gate::ask`] reads the content as entries, looks up what is on file of the patients it is about, asks
//! `message::consent::by_entry` and says what may leave: all of it, what is left when the denied entries are taken
//! out, or nothing yet, or nothing at all. Its answer comes with a [`Guard`]: while that [holds](Gate::holds), nothing
//! has changed that it rests on. [`arrive`] reads what messages say of consents, [`filing`] files it, [`Parked`] keeps
//! what waits and [`watch`](Gate::watch) wakes it.

pub(super) mod arrive;
mod bundle;
mod emergency;
pub(super) mod filing;
mod foresee;
mod hindsight;
mod hl7v2;
mod judge;
mod leaving;
mod minimum;
mod obligations;
mod operators;

mod parked;
pub(super) mod people;
mod services;
mod told;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use channels::Clock;
use jiff::Timestamp;
use message::consent::Confidentiality;
use message::consent::by_entry::{Directive, Entry, Release, Snapshot, Source, Sources};
use message::json::Value;
use message::{Format, Provider, Sha256, fhir};
use tokio::runtime::{Handle, RuntimeFlavor};

pub use self::emergency::Declaration;
pub(super) use self::foresee::Foreseen;
pub use self::hindsight::Hindsight;
pub(crate) use self::operators::Made;
pub use self::operators::{Explained, FiledConsent, Simulated, SimulatedChange, policy_of};

pub(super) use self::parked::{PARKED, is_parked};

pub(super) use self::leaving::{Change, Leave};
pub use self::services::ServiceStatus;

use self::judge::{Case, Judged, Known, THE_PATIENT};
use self::leaving::Leaving;
use self::obligations::Abilities;
use self::parked::Parked;
use self::people::{Part, Person, parts, people};
use self::services::{Back, Identified, Question, SOON, Services};
use self::watch::Dispatchers;
use super::patient::Identifier;
use super::process::{Hash, Recipe, several};
use super::wire;
use crate::config::{ConsentConfig, DestinationConfig, PolicyConfig, Site};
use crate::store::{Lane, OnFile, Store, StoreError};

/// From this many bytes on, a content is read and weighed where nothing else waits for it.
const LARGE: usize = 64 << 10;
/// How many patients' consents are kept compiled.
const KEPT: usize = 20_000;

/// The decision, with all that it is taken by.
pub(crate) struct Gate {
    store: Store,
    clock: Clock,
    hash: Hash,
    site: ArcSwap<Site>,
    /// Rises when the site or the declared emergencies change.
    generation: AtomicU64,
    /// Who is asked.
    services: ArcSwap<Services>,
    back: Arc<Back>,
    declarations: ArcSwap<Vec<Declaration>>,
    files: Mutex<HashMap<Vec<Lane>, File>>,
    /// What reads a channel's HL7 v2 as entries.
    readers: Mutex<HashMap<String, Arc<Recipe>>>,
    parked: Parked,
    leaving: Leaving,
    filing: filing::Filing,
    dispatchers: Dispatchers,
}

/// What is on file of one patient, compiled.
#[derive(Clone)]
struct File {
    epoch: u64,
    certain: bool,
    /// All their identifiers.
    subjects: Arc<[Lane]>,
    snapshot: Arc<Snapshot>,
}

/// What is about to leave, and where to.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) destination: &'a DestinationConfig,
    /// The channel that it came by.
    pub(crate) channel: &'a str,
    /// Whose data it is, as was told when it came.
    pub(crate) subjects: &'a [Lane],
    /// The route's purposes.
    pub(crate) purposes: &'a [String],
    pub(crate) format: Format,
    pub(crate) bytes: &'a Bytes,
}

/// What may leave.
pub(crate) enum Answer {
    /// Something of it.
    Permit {
        /// What: all of it as it is where `None`.
        bytes: Option<Bytes>,
        /// What that rests on, for the record of the delivery.
        proof: String,
    },
    /// It cannot be said yet.
    Park {
        /// Why, without patient data.
        reason: String,
        /// When that may be another, though nothing new becomes known.
        until: Option<Timestamp>,
    },
    /// Nothing of it, now or later.
    Suppress {
        /// Why, without patient data.
        reason: String,
    },
}

/// What an answer rests on, to see whether it has changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    generation: u64,
    patients: Vec<Basis>,
}

/// One patient of a content, with all that is on file of them.
struct Group {
    file: File,
    identifiers: BTreeSet<Identifier>,
    /// The entries about them; all where `None`.
    places: Option<BTreeSet<usize>>,
    certain: bool,
}

/// What was known of a patient.
#[derive(Clone, Debug)]
struct Basis {
    /// By which identifiers they were looked up.
    subjects: Vec<Lane>,
    /// Their epoch then.
    epoch: u64,
    /// All their identifiers.
    all: Arc<[Lane]>,
}

/// A decision with what it was taken by.
struct Weighed {
    judged: Judged,
    known: Vec<Known>,
    /// When to ask again what was asked in vain.
    again: Option<Timestamp>,
    guard: Guard,
}

impl Weighed {
    /// When it may be decided otherwise, though nothing new becomes known.
    fn until(&self) -> Option<Timestamp> {
        let expires = self.judged.valid_until.and_then(|at| Timestamp::from_microsecond(at).ok());
        [expires, self.again].into_iter().flatten().min()
    }
}

impl Gate {
    pub(super) fn new(store: Store, clock: Clock, hash: Hash, site: Arc<Site>, declared: Vec<Declaration>) -> Self {
        let back = Arc::<Back>::default();
        let services = Services::new(&site.consent, &hash, Arc::clone(&back));
        Self {
            store,
            clock,
            hash,
            site: ArcSwap::new(site),
            generation: AtomicU64::new(1),
            services: ArcSwap::from_pointee(services),
            back,
            declarations: ArcSwap::from_pointee(declared),
            files: Mutex::default(),
            readers: Mutex::default(),
            parked: Parked::default(),
            leaving: Leaving::default(),
            filing: filing::Filing::default(),
            dispatchers: Dispatchers::default(),
        }
    }

    /// A gate on a store, with the emergencies that are declared there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if they cannot be read.
    pub(super) async fn open(store: &Store, clock: &Clock, hash: &Hash, site: Arc<Site>) -> Result<Self, StoreError> {
        let declared = store.settings(emergency::PREFIX).await?;
        let declared = declared.iter().filter_map(|(_, value)| serde_json::from_str(value).ok()).collect();
        Ok(Self::new(store.clone(), Arc::clone(clock), Arc::clone(hash), site, declared))
    }

    /// Decides by another site from now on.
    pub(super) fn reload(&self, site: Arc<Site>) {
        self.services.store(Arc::new(Services::new(&site.consent, &self.hash, Arc::clone(&self.back))));
        self.site.store(site);
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// How those that are asked stand.
    pub(crate) fn services(&self) -> Vec<ServiceStatus> {
        self.services.load().status()
    }

    /// Files what messages say of consents and identities.
    pub(super) fn filing(&self) -> &filing::Filing {
        &self.filing
    }

    /// What of it may leave now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if what is on file cannot be looked up now.
    pub(crate) async fn ask(&self, asked: Asked<'_>) -> Result<(Answer, Guard), StoreError> {
        let site = self.site.load_full();
        let named = asked.destination.policy.as_deref().unwrap_or_default();
        let Some(policy) = site.consent.policies.get(named) else {
            // A destination and its policy are read together: this is between two reloads.
            let reason = format!("{PARKED}the policy `{named}` is not there");
            return Ok((Answer::Park { reason, until: None }, Guard::default()));
        };
        self.ask_by(&site, policy, asked).await
    }

    async fn ask_by(
        &self,
        site: &Arc<Site>,
        policy: &PolicyConfig,
        asked: Asked<'_>,
    ) -> Result<(Answer, Guard), StoreError> {
        let content = match aside(asked, || self.read(site, asked.channel, asked.format, asked.bytes)) {
            Ok(content) => content,
            Err(reason) => return Ok((unreadable(&reason), Guard::default())),
        };
        let weighed = self.weigh(site, policy, asked, &content, None).await?;
        let case = self.case(&site.consent, policy, asked, &content);
        let answer = aside(asked, || self.answer(site, &case, asked, &content, &weighed));
        Ok((answer, weighed.guard))
    }

    /// What of a content may leave, by what was decided about it.
    fn answer(
        &self,
        site: &Arc<Site>,
        case: &Case<'_>,
        asked: Asked<'_>,
        content: &Value,
        weighed: &Weighed,
    ) -> Answer {
        match weighed.judged.release {
            Release::Park => {
                Answer::Park { reason: format!("{PARKED}{}", grounds(&weighed.judged)), until: weighed.until() }
            }
            Release::Suppress => suppressed(&weighed.judged),
            Release::Deliver | Release::DeliverRedacted => match asked.format {
                Format::FhirJson => bundle::rendered(case, &weighed.judged, content),
                Format::Hl7v2 => self.hl7v2(site, case, asked, weighed),
            },
        }
    }

    /// Reads bytes as the entries that are decided about.
    fn read(&self, site: &Arc<Site>, channel: &str, format: Format, bytes: &Bytes) -> Result<Value, String> {
        match format {
            Format::FhirJson => fhir::read(bytes, &fhir::Limits::default()).map_err(|fault| fault.to_string()),
            Format::Hl7v2 => hl7v2::entries(&*self.reader(site, channel)?, bytes.clone()),
        }
    }

    /// What reads a channel's HL7 v2 as entries.
    fn reader(&self, site: &Arc<Site>, channel: &str) -> Result<Arc<Recipe>, String> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = readers.get(channel) {
            return Ok(Arc::clone(reader));
        }
        let config = site.channels.get(channel).ok_or_else(|| format!("there is no channel `{channel}` any more"))?;
        let reader = wire::reader(site, config, &self.hash).map_err(|error| error.to_string())?;
        let reader = Arc::new(reader);
        readers.insert(channel.to_owned(), Arc::clone(&reader));
        Ok(reader)
    }

    fn case<'a>(
        &self,
        rules: &'a ConsentConfig,
        policy: &'a PolicyConfig,
        asked: Asked<'a>,
        content: &Value,
    ) -> Case<'a> {
        let bundle = asked.format == Format::FhirJson && fhir::get_str(content, "resourceType") == Some("Bundle");
        Case {
            rules,
            policy,
            destination: asked.destination,
            purposes: asked.purposes,
            custodian: None,
            now: (self.clock)().as_microsecond(),
            abilities: Abilities::of(asked.destination, bundle),
        }
    }

    /// Decides about a content, by what is on file of everyone it is about: now, or as is known now to have been in
    /// force `then`.
    async fn weigh(
        &self,
        site: &Site,
        policy: &PolicyConfig,
        asked: Asked<'_>,
        content: &Value,
        then: Option<Timestamp>,
    ) -> Result<Weighed, StoreError> {
        let generation = self.generation();
        let provider = provider_of(site, asked.channel);
        let (entries, persons) = aside(asked, || {
            let parts = parts(content);
            (entries(&parts, site, asked.channel), people(&parts, &provider, &self.hash))
        });
        let (known, patients, again) = self.known(site, persons, policy, asked, then).await?;
        let mut case = Case { custodian: Some(&provider.key), ..self.case(&site.consent, policy, asked, content) };
        case.now = then.map_or(case.now, Timestamp::as_microsecond);
        let judged = aside(asked, || judge::judge(&case, &entries, &known));
        Ok(Weighed { judged, known, again, guard: Guard { generation, patients } })
    }

    /// What is known of everyone a content is about, what that rests on, and when to ask again what was asked in vain.
    async fn known(
        &self,
        site: &Site,
        persons: Vec<Person>,
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
        let mut groups: Vec<Group> = Vec::new();
        let mut patients = Vec::new();
        let mut again = None;
        if is_one {
            let own = persons.first().map(|person| person.subjects.as_slice()).unwrap_or_default();
            let subjects = if asked.subjects.is_empty() { own } else { asked.subjects };
            let identifiers = persons.iter().flat_map(|person| &person.identifiers).cloned().collect();
            let who = self.identified(subjects, &identifiers, then).await;
            let file = self.file(&who.subjects, then).await?;
            // What tells of nobody is nobody's; what tells of someone must say of whom.
            let certain = file.certain && who.certain && !several && (!subjects.is_empty() || persons.is_empty());
            again = again.or(who.again.then(|| now + SOON));
            patients.push(file.basis(who.subjects));
            groups.push(Group { file, identifiers, places: None, certain });
        }
        for Person { subjects, identifiers, places } in persons.into_iter().filter(|_| !is_one) {
            let who = self.identified(&subjects, &identifiers, then).await;
            let file = self.file(&who.subjects, then).await?;
            // Read from what leaves, they must be among those that came.
            let came = file.subjects.iter().any(|subject| asked.subjects.contains(subject));
            let certain = file.certain && who.certain && came;
            again = again.or(who.again.then(|| now + SOON));
            patients.push(file.basis(who.subjects));
            match groups.iter_mut().find(|group| group.file.subjects.iter().any(|one| file.subjects.contains(one))) {
                Some(group) => {
                    group.places.get_or_insert_default().extend(places);
                    group.identifiers.extend(identifiers);
                    group.certain &= certain;
                }
                None => groups.push(Group { file, identifiers, places: Some(places), certain }),
            }
        }
        let mut known = Vec::with_capacity(groups.len());
        for Group { file, identifiers, places, certain } in groups {
            let emergency = emergency(&file);
            let question = (emergency.is_some(), then);
            let (snapshot, soon) = self.said(site, policy, asked, &file, &identifiers, question).await;
            again = [again, soon].into_iter().flatten().min();
            known.push(Known { emergency, snapshot, certain, places });
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
                File { epoch, certain: true, subjects: subjects.into(), snapshot }
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

    /// True while nothing has changed that an answer rests on.
    #[must_use]
    pub(crate) fn holds(&self, guard: &Guard) -> bool {
        let same = |basis: &Basis| self.store.epoch_of(&basis.subjects) == basis.epoch;
        self.generation() == guard.generation && guard.patients.iter().all(same)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire) + self.back.times.load(Ordering::Acquire)
    }

    /// Sets out with what was answered, once nothing on file of its patients is being changed. What the answer rests
    /// on may be another by then.
    pub(super) async fn leave(&self, guard: &Guard) -> Leave<'_> {
        let mut patients: Vec<Lane> = guard.patients.iter().flat_map(|basis| &*basis.all).copied().collect();
        patients.sort_unstable();
        patients.dedup();
        self.leaving.leave(patients).await
    }

    /// To be held while something is filed of these patients' consents or identities: nothing of theirs sets out, and
    /// what was under way has left.
    pub(super) async fn change(&self, patients: Vec<Lane>) -> Change<'_> {
        self.leaving.change(patients).await
    }
}

impl File {
    fn basis(&self, subjects: Vec<Lane>) -> Basis {
        Basis { subjects, epoch: self.epoch, all: Arc::clone(&self.subjects) }
    }
}

fn compiled(on_file: OnFile) -> File {
    let OnFile { epoch, subjects, certain, consents } = on_file;
    let directives = consents.iter().map(|consent| {
        // What cannot be read is nothing that can be computed: it holds what it might govern.
        let body = fhir::read(&consent.body, &fhir::Limits::default()).unwrap_or(Value::Null);
        let patient = vec![THE_PATIENT.into()];
        Directive { version: Some(consent.version.to_string().into()), patient, ..Directive::read(&body) }
    });
    let snapshot = Arc::new(Snapshot::new(directives.collect(), Source::Fresh));
    File { epoch, certain, subjects: subjects.into(), snapshot }
}

/// What is decided about, labelled as the site's rules call for now, whatever was labelled when it came.
fn entries(parts: &[Part<'_>], site: &Site, channel: &str) -> Vec<Entry> {
    let rules = &site.consent;
    let resources: Vec<(Option<&str>, &Value)> = parts.iter().map(|part| (part.full_url, part.resource)).collect();
    let mut entries = Entry::read(Sources { resources: &resources, ..Sources::default() }, &rules.directory);
    let flags = &provider_of(site, channel).flags;
    let labels = rules.labels.labels(&entries, &rules.directory, flags);
    // What is known of all that its channel sends.
    let least = site.channels.get(channel).map(|channel| channel.confidentiality);
    let least = least.filter(|least| *least > Confidentiality::N);
    for (entry, labels) in entries.iter_mut().zip(labels) {
        entry.confidentiality = [entry.confidentiality, labels.level, least].into_iter().max().flatten();
        for code in labels.codes {
            if !entry.labels.contains(&code) {
                entry.labels.push(code);
            }
        }
    }
    entries
}

/// The provider that a channel's messages come from.
fn provider_of(site: &Site, channel: &str) -> Arc<Provider> {
    let named = site.channels.get(channel).and_then(|channel| site.providers.get(&channel.provider));
    named.cloned().unwrap_or_default()
}

/// Does `work` on what is asked about; for a large content so that nothing else waits for it.
fn aside<T>(asked: Asked<'_>, work: impl FnOnce() -> T) -> T {
    let many = || Handle::try_current().is_ok_and(|now| now.runtime_flavor() == RuntimeFlavor::MultiThread);
    if asked.bytes.len() >= LARGE && many() { tokio::task::block_in_place(work) } else { work() }
}

fn unreadable(reason: &str) -> Answer {
    Answer::Park { reason: format!("{PARKED}it cannot be read as entries: {reason}"), until: None }
}

fn suppressed(judged: &Judged) -> Answer {
    Answer::Suppress { reason: format!("denied by consent: {}", grounds(judged)) }
}

/// What it rests on, with the Consents that were weighed and their versions.
fn grounds(judged: &Judged) -> String {
    let weighed: Vec<String> = judged.weighed().into_iter().collect();
    if weighed.is_empty() {
        judged.grounds()
    } else {
        format!("{}; by Consent {}", judged.grounds(), weighed.join(", "))
    }
}

/// What a delivery rested on, in one line: the policy, the Consents with their versions, what was left out, what the
/// recipient must do, and the digest of what left.
fn proof(case: &Case<'_>, judged: &Judged, removed: usize, sent: Option<&[u8]>) -> String {
    let mut parts = vec![judged.grounds_of_permit()];
    if removed > 0 {
        parts.push(format!("{removed} entries left out: {}", judged.grounds()));
    }
    let weighed: Vec<String> = judged.weighed().into_iter().collect();
    if !weighed.is_empty() {
        parts.push(format!("by Consent {}", weighed.join(", ")));
    }
    if !judged.obligations.is_empty() {
        let codes: Vec<&str> = judged.obligations.iter().map(AsRef::as_ref).collect();
        parts.push(format!("with {}", codes.join(" ")));
    }
    let hash = case.policy.hash.get(..12).unwrap_or_default();
    parts.push(format!("policy {} {hash}", case.policy.policy.id));
    if let Some(sent) = sent {
        parts.push(format!("sent sha-256 {}", Sha256::of(sent)));
    }
    parts.join("; ")
}
