//! What should not have been sent, as is known by now: decided again about what was delivered, as of then.
//!
//! A Consent that came later counts from its own date on (`Consent.dateTime`): it was in force before it was known here. One
//! without a date counts from when it was filed. Policies, labels, the directory and who is linked with whom are
//! today's: what was wrong with them then is right by now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use message::consent::by_entry::Directive;
use message::fhir;
use message::json::Value;
use serde::{Deserialize, Serialize};

use super::judge::Case;
use super::operators::{Made, asked};
use super::{Answer, Gate, Weighed};
use crate::config::PolicyConfig;
use crate::store::{ConsentOnFile, DeliveryId, Lane, OnFile, StoreError};

/// How a proof tells what was left out, and by which policy it was decided.
const LEFT_OUT: &str = " entries left out";
const POLICY: &str = "policy ";

/// What is to be said of a delivery that went out, as is known by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hindsight {
    /// The delivery.
    pub delivery: DeliveryId,
    /// `late-consent`: a Consent that came later was in force already. `policy`: today's policy is another, and denies
    /// it. `rules`: labels, the directory, or who is linked with whom. `unknown`: it cannot be decided any more.
    pub cause: String,
    /// What would be decided: `suppress`, `park`, `deliver-redacted`; empty where that is unknown.
    pub decision: String,
    /// What that rests on, or why it is unknown. No patient data.
    pub grounds: String,
    /// The Consents that came later, each as `ID/VERSION`.
    pub consents: Vec<String>,
    /// When the first of them was filed.
    pub filed: Option<Timestamp>,
}

impl Gate {
    /// What is to be said of what was delivered `then`; `None` where it was right. `proof` is what it rested on. It is
    /// decided by `policy`, or by the destination's own.
    pub(crate) async fn hindsight(
        &self,
        delivery: DeliveryId,
        then: Timestamp,
        proof: &str,
        policy: Option<&PolicyConfig>,
    ) -> Result<Option<Hindsight>, StoreError> {
        let unknown = |grounds: &str| {
            let (cause, grounds) = ("unknown".to_owned(), grounds.to_owned());
            Ok(Some(Hindsight { delivery, cause, grounds, decision: String::new(), consents: Vec::new(), filed: None }))
        };
        let Some(record) = self.store.delivery(delivery).await? else {
            return unknown("it is no longer kept");
        };
        let site = self.site.load_full();
        let Some(destination) = site.destinations.get(&record.destination) else {
            return unknown("its destination is gone");
        };
        let own = destination.policy.as_ref().and_then(|name| site.consent.policies.get(name));
        let Some(policy) = policy.or(own.map(AsRef::as_ref)) else { return Ok(None) };
        let content = match self.store.content(delivery).await {
            Ok(content) => content,
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            Err(_) => return unknown("its content is no longer kept, or damaged"),
        };
        let received = self.store.message(record.message).await?;
        let made = Made {
            channel: received.map(|message| message.received.channel).unwrap_or_default(),
            subjects: record.subjects,
            purposes: record.purposes,
            flags: record.flags,
            format: content.format,
            bytes: content.bytes,
        };
        let asked = asked(destination, &made);
        let Ok((content, looked)) = self.read_and_look(&site, asked) else {
            return unknown("it can no longer be read as entries");
        };
        let weighed = self.weigh(&site, policy, asked, &looked, Some(then)).await?;
        let case = Case { now: then.as_microsecond(), ..self.case(&site, policy, asked, looked.form) };
        let (decision, grounds) = match self.answer(&site, &case, asked, Some(&content), &weighed) {
            Answer::Suppress { reason } => ("suppress", reason),
            Answer::Park { reason, .. } => ("park", reason),
            Answer::Permit { proof: today, .. } if left_out(&today) > left_out(proof) => {
                (weighed.judged.release.code(), today)
            }
            Answer::Permit { .. } => return Ok(None),
        };
        let late = self.later(&weighed, then).await?;
        let filed = late.values().min().copied();
        let cause = match filed {
            Some(_) => "late-consent",
            None if !proof.contains(&named(policy)) => "policy",
            None => "rules",
        };
        let (cause, decision) = (cause.to_owned(), decision.to_owned());
        Ok(Some(Hindsight { delivery, cause, decision, grounds, consents: late.into_keys().collect(), filed }))
    }

    /// What of a patient's Consents was in force at a time, as is known now.
    pub(super) async fn in_force(&self, subjects: &[Lane], then: Timestamp) -> Result<OnFile, StoreError> {
        let mut on_file = self.store.consents_of(subjects).await?;
        let mut consents = Vec::with_capacity(on_file.consents.len());
        for latest in &on_file.consents {
            let versions = self.store.consent_versions(latest.key).await?;
            consents.extend(versions.into_iter().rfind(|version| began(version) <= then.as_microsecond()));
        }
        on_file.consents = consents;
        Ok(on_file)
    }

    /// Those of the Consents that were weighed and were filed after `then`, and when.
    async fn later(&self, weighed: &Weighed, then: Timestamp) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let names = weighed.judged.weighed();
        let mut late = BTreeMap::new();
        for patient in &weighed.guard.patients {
            let on_file = self.in_force(&patient.subjects, then).await?;
            for consent in on_file.consents.iter().filter(|consent| consent.at > then) {
                let name = format!("{}/{}", directive(consent).id, consent.version);
                if names.contains(&name) {
                    late.insert(name, consent.at);
                }
            }
        }
        Ok(late)
    }
}

/// From when on a version of a Consent is in force: its date, and when it was filed where it has none.
fn began(version: &ConsentOnFile) -> i64 {
    let filed = version.at.as_microsecond();
    directive(version).dated.map_or(filed, |dated| dated.from.min(filed))
}

fn directive(consent: &ConsentOnFile) -> Directive {
    Directive::read(&fhir::read(&consent.body, &fhir::Limits::default()).unwrap_or(Value::Null))
}

/// How many entries a proof says were left out.
fn left_out(proof: &str) -> usize {
    let before = proof.split_once(LEFT_OUT).map(|(before, _)| before);
    before.and_then(|before| before.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

/// As a proof names a policy.
fn named(policy: &PolicyConfig) -> String {
    format!("{POLICY}{} {}", policy.policy.id, policy.hash.get(..12).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_tells_how_many_entries_were_left_out() {
        let proof = "permit (consent:a); 12 entries left out: consent:b (12 of 20 entries); policy us-tpo 0011";
        assert_eq!((left_out(proof), left_out("permit; policy us-tpo 0011"), left_out("")), (12, 0, 0));
    }
}
