//! An external decision service (CDS Hooks, `patient-consent-consult`): asked who the patient is, who is to have the
//! data and what for, never what the data is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use channels::lookup::{Lookup, LookupConfig};
use jiff::Timestamp;
use message::Provider;
use message::consent::by_entry::{Snapshot, Source};
use message::consent::external::Answer;
use serde_json::{Value, json};

use super::breaker::Breaker;
use super::kept::{Age, Kept};
use super::{ServiceStatus, Services, in_vain};
use crate::engine::patient::Identifier;

const KIND: &str = "consent";
/// When a question in vain is put again, while its service does not count as down.
pub(in crate::engine::gate) const SOON: Duration = Duration::from_secs(1);
/// When an answer that gives no sense is asked for again.
const SENSELESS: Duration = Duration::from_secs(60);

/// A decision service.
pub(in crate::engine::gate) struct ConsentService {
    name: String,
    lookup: Option<Lookup>,
    breaker: Breaker,
    kept: Kept<String, Arc<Answer>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    in_vain: AtomicU64,
    kept: AtomicU64,
    stale: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a decision service is asked.
#[derive(Clone, Copy)]
pub(in crate::engine::gate) struct Question<'a> {
    /// Who the patient is.
    pub(in crate::engine::gate) identifiers: &'a BTreeSet<Identifier>,
    /// Who is to have the data.
    pub(in crate::engine::gate) recipient: &'a Provider,
    /// What for: ActReason codes.
    pub(in crate::engine::gate) purposes: &'a [String],
    /// How old a kept answer may get.
    pub(in crate::engine::gate) most: Duration,
}

/// What came of a question.
pub(in crate::engine::gate) struct Consulted {
    /// What is known of the patient's consents with it.
    pub(in crate::engine::gate) snapshot: Snapshot,
    /// When to ask again, where nothing else will say so.
    pub(in crate::engine::gate) again: Option<Timestamp>,
}

impl ConsentService {
    pub(super) fn new(name: &str, config: &LookupConfig) -> Self {
        let lookup = Lookup::new(config.clone());
        if let Err(error) = &lookup {
            tracing::error!(kind = KIND, service = name, %error, "it cannot be asked: what would ask it waits");
        }
        let (breaker, kept, counts) = (Breaker::default(), Kept::default(), Counts::default());
        Self { name: name.to_owned(), lookup: lookup.ok(), breaker, kept, counts }
    }

    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    pub(super) fn status(&self) -> ServiceStatus {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServiceStatus {
            kind: KIND.to_owned(),
            name: self.name.clone(),
            up: !self.breaker.is_open() && self.lookup.is_some(),
            answered: get(&self.counts.answered),
            in_vain: get(&self.counts.in_vain),
            kept: get(&self.counts.kept),
            stale: get(&self.counts.stale),
        }
    }
}

impl Services {
    /// What `service` says of a patient, beside what is on file of them.
    pub(in crate::engine::gate) async fn consult(
        &self,
        service: &ConsentService,
        question: Question<'_>,
        on_file: &Snapshot,
        now: Timestamp,
    ) -> Consulted {
        let with = |answer: Arc<Answer>| {
            let again = (*answer == Answer::Invalid).then(|| now + SENSELESS);
            Consulted { snapshot: on_file.clone().answered(answer), again }
        };
        // Before it counts as down, nothing else says when it is back.
        let again = || (!service.breaker.is_open()).then(|| now + SOON);
        let without = |source| Consulted { snapshot: on_file.clone().of_source(source), again: again() };
        let Some(asked) = asked(question) else {
            // Nobody can be asked about who has no identifier of a known system.
            return without(Source::Unavailable);
        };
        let key = asked.to_string();
        let kept = service.kept.get(&key, Instant::now(), question.most);
        if let Some((answer, Age::Fresh)) = &kept {
            count(&service.counts.kept);
            return with(Arc::clone(answer));
        }
        if let Some(answer) = self.ask(service, &asked).await {
            if let Some((keep, answer)) = answer {
                service.kept.put(key, Arc::clone(&answer), keep, Instant::now());
                return with(answer);
            }
            return with(Arc::new(Answer::Invalid));
        }
        // By now it may be older than it was before.
        match service.kept.get(&key, Instant::now(), question.most).or(kept) {
            Some((answer, Age::Fresh | Age::Stale)) => {
                count(&service.counts.kept);
                count(&service.counts.stale);
                with(answer)
            }
            Some((_, Age::Old)) => without(Source::Cached { age: i64::MAX }),
            None => without(Source::Unavailable),
        }
    }

    /// Asks: nothing where there is no answer, nothing within where it gives no sense.
    async fn ask(
        &self,
        service: &ConsentService,
        asked: &Value,
    ) -> Option<Option<(channels::lookup::Keep, Arc<Answer>)>> {
        let lookup = service.lookup.as_ref()?;
        let turn = service.breaker.turn(Instant::now())?;
        let answered = match lookup.post(&request(asked)).await {
            Ok(answered) => answered,
            Err(error) => {
                count(&service.counts.in_vain);
                in_vain(KIND, &service.name, turn, &error.to_string());
                return None;
            }
        };
        count(&service.counts.answered);
        self.answered(KIND, &service.name, turn);
        let right = (200..300).contains(&answered.status);
        let body = right.then(|| serde_json::from_slice::<Value>(&answered.body).ok()).flatten();
        let answer = body.map_or(Answer::Invalid, |body| Answer::read(&body.into()));
        if answer == Answer::Invalid {
            let status = answered.status;
            tracing::error!(
                kind = KIND,
                service = service.name,
                status,
                "its answer gives no sense: what it is about waits"
            );
            return Some(None);
        }
        Some(Some((answered.keep, Arc::new(answer))))
    }
}

/// The question: `None` where the patient has no identifier that others know.
fn asked(question: Question<'_>) -> Option<Value> {
    let patient: Vec<Value> = question
        .identifiers
        .iter()
        .filter(|identifier| identifier.authority.contains(':'))
        .map(|identifier| json!({ "system": identifier.authority, "value": identifier.value }))
        .collect();
    let own = question.recipient.system.iter().zip(&question.recipient.value);
    let own = own.map(|(system, value)| (system.as_str(), value.as_str()));
    let others = question.recipient.names.iter().filter_map(|name| name.rsplit_once('|'));
    let actor: Vec<Value> =
        own.chain(others).map(|(system, value)| json!({ "system": system, "value": value })).collect();
    (!patient.is_empty()).then(|| {
        json!({
            "patientId": patient,
            "scope": "patient-privacy",
            "purposeOfUse": question.purposes,
            "actor": actor,
        })
    })
}

/// The request of a question: each has a number of its own.
fn request(context: &Value) -> Value {
    json!({ "hook": "patient-consent-consult", "hookInstance": uuid::Uuid::now_v7(), "context": context })
}
