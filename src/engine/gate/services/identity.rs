//! Which identifiers are one person's: by the site's own table (`codes/patients.csv`), and by an identity manager (IHE
//! PIXm, ITI-83). What is linked holds for what is on file as links in messages do; it is not written down.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use channels::lookup::{Answered, Keep, Lookup};
use message::fhir;
use message::json::Value;

use super::breaker::Breaker;
use super::kept::{Age, Kept};
use super::{ServiceStatus, Services, in_vain};
use crate::config::{ConsentConfig, IdentityConfig};
use crate::engine::gate::arrive::lanes;
use crate::engine::patient::Identifier;
use crate::engine::process::Hash;
use crate::store::Lane;

const KIND: &str = "identity";
const NAME: &str = "identity";
/// The most identifiers of one person that a manager is asked by, one after the other, until it knows one.
const MOST_ASKED: usize = 4;
/// The most people whose links are remembered.
const MOST_KNOWN: usize = 100_000;

/// Who is who.
pub(in crate::engine::gate) struct Identities {
    /// Each identifier of the site's table, with all of its person's.
    table: HashMap<Lane, Arc<[Lane]>>,
    manager: Option<Manager>,
}

struct Manager {
    config: Arc<IdentityConfig>,
    lookup: Option<Lookup>,
    hash: Hash,
    breaker: Breaker,
    kept: Kept<BTreeSet<String>, Known>,
    /// What it has linked: so that a consent of one identifier wakes what waits by another.
    linked: Mutex<HashMap<Lane, Arc<[Lane]>>>,
    counts: [AtomicU64; 4],
}

/// What a manager says of someone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// Their other identifiers; none where it does not know them.
    One(BTreeSet<Identifier>),
    /// It cannot tell which of several they are.
    Ambiguous,
}

/// Whose data it is, after all have been asked.
pub(in crate::engine::gate) struct Identified {
    /// All identifiers.
    pub(in crate::engine::gate) subjects: Vec<Lane>,
    /// False where nobody can tell for certain.
    pub(in crate::engine::gate) certain: bool,
    /// True where the manager should be asked again soon.
    pub(in crate::engine::gate) again: bool,
}

impl Identities {
    pub(super) fn new(rules: &ConsentConfig, hash: &Hash) -> Self {
        let mut table = HashMap::new();
        for person in &rules.patients {
            let lanes: Arc<[Lane]> = person.iter().map(|identifier| hash(identifier.as_bytes())).collect();
            table.extend(lanes.iter().map(|lane| (*lane, Arc::clone(&lanes))));
        }
        let manager = rules.services.identity.as_ref().map(|config| Manager::new(config, hash));
        Self { table, manager }
    }

    pub(super) fn breaker(&self) -> Option<&Breaker> {
        self.manager.as_ref().map(|manager| &manager.breaker)
    }

    pub(super) fn status(&self) -> Option<ServiceStatus> {
        self.manager.as_ref().map(Manager::status)
    }

    /// True if somebody is asked who somebody is.
    pub(in crate::engine::gate) fn asks(&self) -> bool {
        self.manager.is_some()
    }

    /// `subjects` with all that is known to be the same person's, without asking anybody.
    pub(in crate::engine::gate) fn widen(&self, subjects: &[Lane]) -> Vec<Lane> {
        let linked = self.manager.as_ref().map(|manager| manager.linked.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = subjects.to_vec();
        let mut at = 0;
        while let Some(lane) = all.get(at).copied() {
            at += 1;
            let by_manager = linked.as_ref().and_then(|linked| linked.get(&lane));
            for more in self.table.get(&lane).into_iter().chain(by_manager).flat_map(|lanes| lanes.iter()) {
                if !all.contains(more) {
                    all.push(*more);
                }
            }
        }
        all
    }
}

impl Services {
    /// All that `subjects` and `identifiers`, one person's, go by.
    pub(in crate::engine::gate) async fn identify(
        &self,
        subjects: &[Lane],
        identifiers: &BTreeSet<Identifier>,
    ) -> Identified {
        let Some(manager) = &self.identities.manager else {
            return Identified { subjects: self.identities.widen(subjects), certain: true, again: false };
        };
        let mut subjects = subjects.to_vec();
        let known = self.ask_manager(manager, identifiers).await;
        if let Some(Known::One(more)) = &known {
            let lanes = lanes(&manager.hash, more);
            subjects.extend(lanes.into_iter().filter(|lane| !subjects.contains(lane)).collect::<Vec<_>>());
            manager.remember(&subjects);
        }
        let again = known.is_none() && !manager.breaker.is_open();
        let certain = matches!(known, Some(Known::One(_)));
        Identified { subjects: self.identities.widen(&subjects), certain, again }
    }

    /// What the manager says of someone; `None` where it cannot be asked.
    async fn ask_manager(&self, manager: &Manager, identifiers: &BTreeSet<Identifier>) -> Option<Known> {
        let names: BTreeSet<String> = identifiers.iter().map(Identifier::key).collect();
        let most = manager.config.keep.cache.0.saturating_add(manager.config.keep.max_stale.0);
        let kept = manager.kept.get(&names, Instant::now(), most);
        if let Some((known, Age::Fresh)) = kept {
            manager.count(2);
            return Some(known);
        }
        let asked: Vec<&Identifier> =
            identifiers.iter().filter(|identifier| identifier.authority.contains(':')).take(MOST_ASKED).collect();
        let mut found = None;
        for identifier in &asked {
            match self.ask_once(manager, identifier).await {
                Ok(None) => {}
                Ok(Some(known)) => {
                    found = Some(checked(known, identifiers, identifier));
                    break;
                }
                Err(()) => {
                    // By now it may be older than it was before.
                    let (known, age) = manager.kept.get(&names, Instant::now(), most)?;
                    return (age != Age::Old).then(|| {
                        manager.count(3);
                        known
                    });
                }
            }
        }
        // Who has no identifier that others know cannot be asked for; whom it does not know goes by their own.
        let known = match found {
            Some(known) => known,
            None if asked.is_empty() => return None,
            None => Known::One(BTreeSet::new()),
        };
        let keep = Keep { fresh: manager.config.keep.cache.0, stale: manager.config.keep.max_stale.0 };
        manager.kept.put(names, known.clone(), keep, Instant::now());
        Some(known)
    }

    /// Asks by one identifier: nothing where it is not known.
    async fn ask_once(&self, manager: &Manager, identifier: &Identifier) -> Result<Option<Known>, ()> {
        let lookup = manager.lookup.as_ref().ok_or(())?;
        let turn = manager.breaker.turn(Instant::now()).ok_or(())?;
        let source = identifier.key();
        let answered = match lookup.get(&["Patient", "$ihe-pix"], &[("sourceIdentifier", source.as_str())]).await {
            Ok(answered) => answered,
            Err(error) => {
                manager.count(1);
                in_vain(KIND, NAME, turn, &error.to_string());
                return Err(());
            }
        };
        match read(&answered) {
            Ok(known) => {
                manager.count(0);
                self.answered(KIND, NAME, turn);
                Ok(known)
            }
            Err(reason) => {
                manager.count(1);
                in_vain(KIND, NAME, turn, &reason);
                Err(())
            }
        }
    }
}

impl Manager {
    fn new(config: &Arc<IdentityConfig>, hash: &Hash) -> Self {
        let lookup = Lookup::new(config.lookup.clone());
        if let Err(error) = &lookup {
            tracing::error!(kind = KIND, %error, "it cannot be asked: what would ask it waits");
        }
        Self {
            config: Arc::clone(config),
            lookup: lookup.ok(),
            hash: Arc::clone(hash),
            breaker: Breaker::default(),
            kept: Kept::default(),
            linked: Mutex::default(),
            counts: Default::default(),
        }
    }

    fn count(&self, at: usize) {
        self.counts.get(at).into_iter().for_each(|counter| _ = counter.fetch_add(1, Ordering::Relaxed));
    }

    fn remember(&self, subjects: &[Lane]) {
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        if linked.len() >= MOST_KNOWN {
            linked.clear();
        }
        let all: Arc<[Lane]> = subjects.into();
        linked.extend(subjects.iter().map(|lane| (*lane, Arc::clone(&all))));
    }

    fn status(&self) -> ServiceStatus {
        let get = |at: usize| self.counts.get(at).map_or(0, |counter| counter.load(Ordering::Relaxed));
        ServiceStatus {
            kind: KIND.to_owned(),
            name: NAME.to_owned(),
            up: !self.breaker.is_open() && self.lookup.is_some(),
            answered: get(0),
            in_vain: get(1),
            kept: get(2),
            stale: get(3),
        }
    }
}

/// What an answer says (PIXm §2:3.83.4.2): nothing where it does not know the identifier, or its domain.
fn read(answered: &Answered) -> Result<Option<Known>, String> {
    let status = answered.status;
    let senseless = || Err(format!("its answer (HTTP {status}) gives no sense"));
    let body = fhir::read(&answered.body, &fhir::Limits::default()).unwrap_or(Value::Null);
    let is = |kind: &str| fhir::get_str(&body, "resourceType") == Some(kind);
    if is("OperationOutcome") {
        let issues = body.get("issue").and_then(Value::as_array).into_iter().flatten();
        let codes: Vec<&str> = issues.filter_map(|issue| fhir::get_str(issue, "code")).collect();
        if codes.contains(&"multiple-matches") {
            return Ok(Some(Known::Ambiguous));
        }
        let unknown = codes.iter().any(|code| matches!(*code, "not-found" | "code-invalid"));
        return if unknown && matches!(status, 400 | 404) { Ok(None) } else { senseless() };
    }
    if status != 200 || !is("Parameters") {
        return if status == 404 { Ok(None) } else { senseless() };
    }
    let mut found = BTreeSet::new();
    for parameter in body.get("parameter").and_then(Value::as_array).into_iter().flatten() {
        // `targetId`, the URL of a Patient, names nobody that a message is about.
        if fhir::get_str(parameter, "name") != Some("targetIdentifier") {
            continue;
        }
        let part = |key: &str| parameter.get("valueIdentifier").and_then(|id| fhir::get_str(id, key)).map(str::trim);
        let (Some(system), Some(value)) = (part("system"), part("value").filter(|value| !value.is_empty())) else {
            return senseless();
        };
        found.insert(Identifier { authority: system.trim_end_matches('/').to_owned(), value: value.to_owned() });
    }
    Ok(Some(Known::One(found)))
}

/// What a manager says of someone when asked by one of their `own` identifiers: it contradicts a message where it has
/// numbers of a domain, and none of those that they have there.
fn checked(known: Known, own: &BTreeSet<Identifier>, asked: &Identifier) -> Known {
    let Known::One(found) = &known else { return known };
    let of = |all: &BTreeSet<Identifier>, authority: &str| -> BTreeSet<Identifier> {
        all.iter().filter(|identifier| identifier.authority == authority).cloned().collect()
    };
    // It need not say again what it was asked by.
    let domains = own.iter().map(|identifier| &identifier.authority).filter(|domain| **domain != asked.authority);
    let contradicts = |domain: &String| {
        let theirs = of(found, domain);
        !theirs.is_empty() && theirs.is_disjoint(&of(own, domain))
    };
    if domains.into_iter().any(contradicts) { Known::Ambiguous } else { known }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use message::json::json;

    use super::*;

    fn id(system: &str, value: &str) -> Identifier {
        Identifier { authority: system.to_owned(), value: value.to_owned() }
    }

    fn one(pairs: &[(&str, &str)]) -> Known {
        Known::One(pairs.iter().map(|(system, value)| id(system, value)).collect())
    }

    #[track_caller]
    fn check(status: u16, body: &Value, expected: Result<Option<Known>, &str>) {
        let keep = Keep { fresh: Duration::ZERO, stale: Duration::ZERO };
        let answered = Answered { status, body: Bytes::from(body.to_vec()), keep };
        assert_eq!(read(&answered), expected.map_err(str::to_owned));
    }

    fn outcome(code: &str) -> Value {
        json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "error", "code": code }] })
    }

    #[test]
    fn reads_what_a_manager_answers() {
        let parameter = |value: &str| json!({ "name": "targetIdentifier", "valueIdentifier": { "system": "urn:b", "value": value } });
        let url = json!({ "name": "targetId", "valueReference": { "reference": "Patient/7" } });
        let both = json!({ "resourceType": "Parameters", "parameter": [parameter("1"), url, parameter("2")] });
        check(200, &both, Ok(Some(one(&[("urn:b", "1"), ("urn:b", "2")]))));
        check(200, &json!({ "resourceType": "Parameters" }), Ok(Some(one(&[]))));
        check(404, &outcome("not-found"), Ok(None));
        check(400, &outcome("code-invalid"), Ok(None));
        check(404, &json!(null), Ok(None));
        check(409, &outcome("multiple-matches"), Ok(Some(Known::Ambiguous)));
        check(401, &outcome("login"), Err("its answer (HTTP 401) gives no sense"));
        check(200, &json!({ "resourceType": "Bundle" }), Err("its answer (HTTP 200) gives no sense"));
        check(200, &json!("hello"), Err("its answer (HTTP 200) gives no sense"));
        let nameless = json!({ "resourceType": "Parameters", "parameter": [{ "name": "targetIdentifier" }] });
        check(200, &nameless, Err("its answer (HTTP 200) gives no sense"));
    }

    /// What says that somebody has another number where a message says which they have is about somebody else.
    #[test]
    fn a_contradiction_is_ambiguous() {
        let own = BTreeSet::from([id("urn:a", "1"), id("urn:b", "2")]);
        let checked = |pairs: &[(&str, &str)]| checked(one(pairs), &own, &id("urn:a", "1"));
        assert_eq!(checked(&[("urn:b", "2"), ("urn:c", "9")]), one(&[("urn:b", "2"), ("urn:c", "9")]));
        assert_eq!(checked(&[("urn:b", "2"), ("urn:b", "3")]), one(&[("urn:b", "2"), ("urn:b", "3")]));
        assert_eq!(checked(&[("urn:b", "3")]), Known::Ambiguous);
        assert_eq!(checked(&[("urn:a", "7")]), one(&[("urn:a", "7")]), "a second number of the same domain");
    }
}
