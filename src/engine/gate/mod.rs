//! The consent decision in force: asked immediately before every attempt, on what is about to leave.
//!
//! [`Gate::ask`] reads the content as entries, looks up what is [known](on_file) of the patients it is about, asks
//! `message::consent::by_entry` and says what may leave: all of it, what is left when the denied entries are taken
//! out, or nothing yet, or nothing at all. Its answer comes with a [`Guard`]: while that [holds](Gate::holds), nothing
//! has changed that it rests on. [`arrive`] reads what messages say of consents, [`filing`] files it, [`Parked`] keeps
//! what waits and [`watch`](Gate::watch) wakes it.

pub(super) mod arrive;
mod bundle;
mod carry;
mod emergency;
mod envelope;
pub(super) mod filing;
mod foresee;
mod hindsight;
mod hl7v2;
mod judge;
mod kept;
mod leaving;
mod minimum;
mod obligations;
mod on_file;
mod operators;
mod parked;
pub(super) mod people;
mod proof;
mod services;
mod told;
mod travel;
mod v2_elements;
mod v2_unseen;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use channels::Clock;
use jiff::Timestamp;
use message::consent::by_entry::{Entry, Release, Sources};
use message::consent::{Confidentiality, Purpose, elements};
use message::json::{Text, Value};
use message::{Format, MessageId, Provider, fhir};
use tokio::runtime::{Handle, RuntimeFlavor};

pub use self::emergency::Declaration;
pub(super) use self::foresee::Foreseen;
pub use self::hindsight::Hindsight;
pub(crate) use self::operators::Made;
pub use self::operators::{Explained, FiledConsent, Simulated, SimulatedChange, policy_of};

pub(super) use self::parked::{PARKED, is_parked};

pub(super) use self::leaving::{Change, Leave};
pub use self::services::ServiceStatus;

use self::judge::{Case, Judged, Known};
use self::kept::Kept;
pub(super) use self::kept::{Seen, Written};
use self::leaving::Leaving;
use self::obligations::{Abilities, Form};
use self::on_file::File;
use self::parked::Parked;
use self::people::{Part, Person, parts, people};
use self::proof::{grounds, proof};
use self::services::{Back, Services};
use self::watch::Dispatchers;
use super::process::{Hash, Recipe};
use super::wire;
use crate::config::{DestinationConfig, PolicyConfig, Site};
use crate::store::{Lane, Store, StoreError};

/// From this many bytes on, a content is read and weighed where nothing else waits for it.
const LARGE: usize = 64 << 10;

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
    files: Mutex<HashMap<Vec<Lane>, File, foldhash::fast::RandomState>>,
    /// What reads a channel's HL7 v2 as entries.
    readers: Mutex<HashMap<String, Arc<Recipe>>>,
    parked: Parked,
    leaving: Leaving,
    filing: filing::Filing,
    dispatchers: Dispatchers,
    kept: Kept,
}

/// What is about to leave, and where to.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// What it was made of; `None` for what is only asked about.
    pub(crate) message: Option<MessageId>,
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
        /// True where what leaves is de-identified: nothing else that goes with it may tell whose it is.
        nameless: bool,
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

/// What a decision needs to know of a content.
#[derive(Default)]
pub(super) struct Looked {
    /// What is decided about.
    entries: Vec<Entry>,
    /// Whose that is.
    persons: Vec<Person>,
    /// In which form it leaves.
    form: Form,
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
            kept: Kept::default(),
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

    /// Looks at what is about to leave while it is at hand; `None` where it will have to be read again.
    pub(super) fn see(&self, channel: &str, written: Written) -> Option<Seen> {
        let site = self.site.load_full();
        let Written { bytes, value, uses } = written;
        fhir::check(&value, &fhir::Limits::default()).ok()?;
        let looked = Arc::new(self.look_at(&site, channel, Format::FhirJson, &value));
        Some(Seen { bytes, looked, site, uses })
    }

    /// Keeps what was seen of a message, which is about to leave.
    pub(super) fn keep(&self, message: MessageId, seen: Seen) {
        self.kept.put(message, seen);
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
        let seen = asked.message.and_then(|message| self.kept.take(message, asked.bytes, site));
        let (content, looked) = match seen {
            Some(looked) => (None, looked),
            None => match aside(asked, || self.read_and_look(site, asked)) {
                Ok((content, looked)) => (Some(content), Arc::new(looked)),
                Err(reason) => return Ok((unreadable(&reason), Guard::default())),
            },
        };
        let weighed = self.weigh(site, policy, asked, &looked, None).await?;
        let case = self.case(site, policy, asked, looked.form);
        let mut answer = aside(asked, || self.answer(site, &case, asked, content.as_ref(), &weighed));
        if let Answer::Permit { proof, .. } = &mut answer {
            proof.push_str(&weighed.guard.epochs());
        }
        Ok((answer, weighed.guard))
    }

    /// What of a content may leave, by what was decided about it; it is read where it must be and was not yet.
    fn answer(
        &self,
        site: &Arc<Site>,
        case: &Case<'_>,
        asked: Asked<'_>,
        content: Option<&Value>,
        weighed: &Weighed,
    ) -> Answer {
        match weighed.judged.release {
            Release::Park => {
                Answer::Park { reason: format!("{PARKED}{}", grounds(&weighed.judged)), until: weighed.until() }
            }
            Release::Suppress => suppressed(&weighed.judged),
            Release::Deliver | Release::DeliverRedacted => match (asked.format, content) {
                (Format::Hl7v2, _) => self.hl7v2(site, case, asked, weighed),
                (Format::FhirJson, _) if bundle::is_whole(case, &weighed.judged) => {
                    bundle::whole(case, &weighed.judged)
                }
                (Format::FhirJson, Some(content)) => bundle::rendered(case, &weighed.judged, content),
                (Format::FhirJson, None) => match self.read(site, asked.channel, asked.format, asked.bytes) {
                    Ok(content) => bundle::rendered(case, &weighed.judged, &content),
                    Err(reason) => unreadable(&reason),
                },
            },
        }
    }

    /// Reads bytes and looks at what they say.
    fn read_and_look(&self, site: &Arc<Site>, asked: Asked<'_>) -> Result<(Value, Looked), String> {
        let content = self.read(site, asked.channel, asked.format, asked.bytes)?;
        let looked = self.look_at(site, asked.channel, asked.format, &content);
        Ok((content, looked))
    }

    /// What is decided about, and whose that is.
    fn look_at(&self, site: &Site, channel: &str, format: Format, content: &Value) -> Looked {
        let parts = parts(content);
        let persons = people(&parts, &provider_of(site, channel));
        Looked { entries: entries(&parts, site, channel), persons, form: Form::of(format, content) }
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

    fn case<'a>(&'a self, site: &'a Site, policy: &'a PolicyConfig, asked: Asked<'a>, form: Form) -> Case<'a> {
        Case {
            rules: &site.consent,
            policy,
            destination: asked.destination,
            purposes: asked.purposes,
            stamps_purpose: stamps_purpose(site, asked),
            custodian: None,
            now: (self.clock)().as_microsecond(),
            abilities: Abilities::of(asked.destination, form, asked.bytes),
            hash: &self.hash,
        }
    }

    /// Decides about a content, by what is on file of everyone it is about: now, or as is known now to have been in
    /// force `then`.
    async fn weigh(
        &self,
        site: &Site,
        policy: &PolicyConfig,
        asked: Asked<'_>,
        looked: &Looked,
        then: Option<Timestamp>,
    ) -> Result<Weighed, StoreError> {
        let generation = self.generation();
        let provider = provider_of(site, asked.channel);
        let (known, patients, again) = self.known(site, &looked.persons, policy, asked, then).await?;
        let mut case = Case { custodian: Some(&provider.key), ..self.case(site, policy, asked, looked.form) };
        case.now = then.map_or(case.now, Timestamp::as_microsecond);
        let judged = aside(asked, || judge::judge(&case, &looked.entries, &known));
        Ok(Weighed { judged, known, again, guard: Guard { generation, patients } })
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

/// What is decided about, labelled as the site's rules call for now, whatever was labelled when it came.
fn entries(parts: &[Part<'_>], site: &Site, channel: &str) -> Vec<Entry> {
    let rules = &site.consent;
    let resources: Vec<(Option<&Text>, &Value)> = parts.iter().map(|part| (part.full_url, part.resource)).collect();
    let mut entries = Entry::read(Sources { resources: &resources, ..Sources::default() }, &rules.directory);
    let flags = &provider_of(site, channel).flags;
    let labels = rules.labels.called_for(&entries, &rules.directory, flags);
    // What is known of all that its channel sends.
    let least = site.channels.get(channel).map(|channel| channel.confidentiality);
    let least = least.filter(|least| *least > Confidentiality::N);
    elements::read(&mut entries, parts.iter().map(|part| part.resource));
    for (entry, labels) in entries.iter_mut().zip(labels) {
        entry.confidentiality = [entry.confidentiality, labels.level, least].into_iter().max().flatten();
        for code in labels.codes {
            if !entry.labels.contains(&code) {
                entry.labels.push(code);
            }
        }
    }
    envelope::enclose(parts, &mut entries);
    entries
}

/// Whether what is asked about is labelled with what it is released for, by the route that it takes.
fn stamps_purpose(site: &Site, asked: Asked<'_>) -> bool {
    let channel = site.channels.get(asked.channel);
    let mut routes = channel.into_iter().flat_map(|channel| &channel.routes);
    routes.any(|route| {
        route.stamps_purpose()
            && route.to.iter().any(|to| *to == *asked.destination.name)
            && route.purpose.iter().map(Purpose::code).eq(asked.purposes)
    })
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

/// What may go, and cannot be made to.
fn cannot(why: &str) -> Answer {
    Answer::Suppress { reason: format!("denied by consent: {why}") }
}

fn suppressed(judged: &Judged) -> Answer {
    Answer::Suppress { reason: format!("denied by consent: {}", grounds(judged)) }
}
