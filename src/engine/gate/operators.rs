//! What privacy officers ask: why something may or may not go, what another policy would change, what is on file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use message::consent::by_entry::{Directive, Mode, Release, Status};
use message::consent::{self, Flags, Purpose};
use message::json::Value;
use message::{Format, MessageId, fhir};
use serde::{Deserialize, Serialize};

use super::arrive::unresolved;
use super::emergency::{Declaration, PREFIX};
use super::obligations::Form;
use super::{Asked, Gate, Weighed};
use crate::config::{DestinationConfig, PolicyConfig, Site};
use crate::store::{
    ConsentOnFile, DeliveryId, DeliveryQuery, Lane, MessageQuery, NewDelivery, NewOutput, Record, State, StoreError,
};

/// Why a message may, or may not, go to a destination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explained {
    /// The message.
    pub message: MessageId,
    /// The destination.
    pub destination: String,
    /// The delivery whose content it is about, where there is one.
    pub delivery: Option<DeliveryId>,
    /// Where that delivery stands.
    pub state: Option<State>,
    /// The destination's policy; where it has none, what the source and the channel say decides alone.
    pub policy: Option<String>,
    /// `deliver`, `deliver-redacted`, `suppress`, `park`, or `hold`.
    pub decision: String,
    /// What that rests on.
    pub grounds: String,
    /// What the recipient must do: ActCode codes.
    pub obligations: Vec<String>,
    /// Until when it holds, if nothing new becomes known.
    pub valid_until: Option<Timestamp>,
    /// What the source and the channel say of its use, layer by layer.
    pub flags: String,
    /// The decision about each entry.
    pub entries: Vec<serde_json::Value>,
}

/// A Consent on file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FiledConsent {
    /// What its versions have in common, in hexadecimal.
    pub key: String,
    /// Its id.
    pub id: String,
    /// Which version, from 1.
    pub version: u32,
    /// When that was filed.
    pub filed: Timestamp,
    /// The message that brought it.
    pub message: Option<MessageId>,
    /// `active`, `inactive` or `unreadable`.
    pub status: String,
    /// How it is read: `tree` or `pcf`.
    pub mode: String,
    /// Why it cannot be weighed; what it might govern waits.
    pub faults: Vec<String>,
    /// The Consent itself.
    pub body: serde_json::Value,
}

/// What another policy would change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Simulated {
    /// Deliveries that were decided about again.
    pub deliveries: usize,
    /// Of these, those that cannot be: their content is gone or damaged.
    pub unread: usize,
    /// True if there were more.
    pub more: bool,
    /// How often each change comes: `deliver → suppress`.
    pub counts: BTreeMap<String, usize>,
    /// Each delivery that would fare otherwise.
    pub changes: Vec<SimulatedChange>,
}

/// A delivery that would fare otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SimulatedChange {
    /// The message.
    pub message: MessageId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Where to.
    pub destination: String,
    /// What is decided by today's policy.
    pub before: String,
    /// What would be.
    pub after: String,
    /// What that would rest on.
    pub grounds: String,
}

/// What a message was made into, or would be, for one destination.
pub(crate) struct Made {
    pub(crate) channel: String,
    pub(crate) subjects: Vec<Lane>,
    pub(crate) purposes: Vec<String>,
    pub(crate) flags: Flags,
    pub(crate) format: Format,
    pub(crate) bytes: Bytes,
}

impl Made {
    /// What a delivery that was never queued would carry.
    pub(crate) fn of(channel: String, delivery: NewDelivery, output: &NewOutput, original: Bytes) -> Self {
        let NewDelivery { subjects, purposes, .. } = delivery;
        let bytes = output.bytes.clone().unwrap_or(original);
        Self { channel, subjects, purposes, flags: output.flags.clone(), format: output.format, bytes }
    }
}

impl Gate {
    /// What the latest delivery of `message` to `destination` carries; `None` where there is none.
    pub(crate) async fn latest(
        &self,
        message: MessageId,
        destination: &str,
    ) -> Result<Option<(DeliveryId, State, Made)>, StoreError> {
        let query = DeliveryQuery {
            message: Some(message),
            destination: Some(destination.to_owned()),
            limit: usize::MAX,
            ..DeliveryQuery::default()
        };
        let Some(delivery) = self.store.deliveries(&query).await?.items.pop() else { return Ok(None) };
        let channel = self.store.message(message).await?.map(|message| message.received.channel).unwrap_or_default();
        let content = self.store.content(delivery.id).await?;
        let made = Made {
            channel,
            subjects: delivery.subjects,
            purposes: delivery.purposes,
            flags: delivery.flags,
            format: content.format,
            bytes: content.bytes,
        };
        Ok(Some((delivery.id, delivery.state, made)))
    }

    /// Explains what would be decided about `made` at this moment.
    pub(crate) async fn explain(
        &self,
        message: MessageId,
        destination: &DestinationConfig,
        delivery: Option<(DeliveryId, State)>,
        made: &Made,
    ) -> Result<Explained, StoreError> {
        let site = self.site.load_full();
        let flags = flags(destination, made);
        let mut explained = Explained {
            message,
            destination: destination.name.clone(),
            delivery: delivery.map(|(id, _)| id),
            state: delivery.map(|(_, state)| state),
            policy: destination.policy.clone(),
            decision: "deliver".to_owned(),
            grounds: "nothing that its source or channel says forbids it".to_owned(),
            obligations: Vec::new(),
            valid_until: None,
            flags: flags.to_string(),
            entries: Vec::new(),
        };
        if let consent::Decision::Hold { reason } = flags.decision {
            (explained.decision, explained.grounds) = ("hold".to_owned(), reason);
        }
        let named = destination.policy.as_ref().and_then(|name| site.consent.policies.get(name));
        let Some(policy) = named else { return Ok(explained) };
        let (form, weighed) = match self.decided(&site, policy, destination, made).await? {
            Ok(decided) => decided,
            Err(reason) => {
                (explained.decision, explained.grounds) = ("park".to_owned(), reason);
                return Ok(explained);
            }
        };
        let judged = &weighed.judged;
        if explained.decision != "hold" {
            explained.decision = judged.release.code().to_owned();
            explained.grounds = judged.grounds();
        }
        explained.obligations = judged.obligations.iter().map(|code| code.to_string()).collect();
        explained.valid_until = weighed.until();
        let case = self.case(&site, policy, asked(destination, made), form);
        explained.entries = judged.explain(&case);
        Ok(explained)
    }

    async fn decided(
        &self,
        site: &Arc<Site>,
        policy: &PolicyConfig,
        destination: &DestinationConfig,
        made: &Made,
    ) -> Result<Result<(Form, Weighed), String>, StoreError> {
        let asked = asked(destination, made);
        match self.read_and_look(site, asked) {
            Ok((_, looked)) => {
                let weighed = self.weigh(site, policy, asked, &looked, None).await?;
                Ok(Ok((looked.form, weighed)))
            }
            Err(reason) => Ok(Err(format!("it cannot be read as entries: {reason}"))),
        }
    }

    /// Decides again about what was to go since `since` to `destinations`, by today's policies and by `policy`.
    pub(crate) async fn simulate(
        &self,
        policy: &PolicyConfig,
        destinations: &BTreeSet<String>,
        since: Timestamp,
        limit: usize,
    ) -> Result<Simulated, StoreError> {
        let site = self.site.load_full();
        let mut simulated = Simulated::default();
        let mut query = MessageQuery { from: Some(since), newest_first: true, limit: 100, ..MessageQuery::default() };
        loop {
            let page = self.store.messages(&query).await?;
            for message in page.items {
                for destination in destinations.iter().filter_map(|name| site.destinations.get(name)) {
                    if simulated.deliveries >= limit {
                        simulated.more = true;
                        return Ok(simulated);
                    }
                    self.simulate_one(&site, policy, message.received.id, destination, &mut simulated).await?;
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(simulated),
            }
        }
    }

    async fn simulate_one(
        &self,
        site: &Arc<Site>,
        policy: &PolicyConfig,
        message: MessageId,
        destination: &DestinationConfig,
        simulated: &mut Simulated,
    ) -> Result<(), StoreError> {
        let (delivery, made) = match self.latest(message, &destination.name).await {
            Ok(Some((delivery, _, made))) => (delivery, made),
            Ok(None) => return Ok(()),
            Err(error) if error.is_damage() => {
                simulated.unread += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        simulated.deliveries += 1;
        let current = destination.policy.as_ref().and_then(|name| site.consent.policies.get(name));
        let before = match current {
            Some(current) => self.release_of(site, current, destination, &made).await?.0,
            None => "no policy".to_owned(),
        };
        let (after, grounds) = self.release_of(site, policy, destination, &made).await?;
        if before != after {
            *simulated.counts.entry(format!("{before} → {after}")).or_default() += 1;
            let destination = destination.name.clone();
            simulated.changes.push(SimulatedChange { message, delivery, destination, before, after, grounds });
        }
        Ok(())
    }

    async fn release_of(
        &self,
        site: &Arc<Site>,
        policy: &PolicyConfig,
        destination: &DestinationConfig,
        made: &Made,
    ) -> Result<(String, String), StoreError> {
        Ok(match self.decided(site, policy, destination, made).await? {
            Ok((_, weighed)) => (weighed.judged.release.code().to_owned(), weighed.judged.grounds()),
            Err(reason) => (Release::Park.code().to_owned(), reason),
        })
    }

    /// The Consents on file of the patient with `identifier` (`SYSTEM|VALUE`), of whoever is linked with them included;
    /// those of nobody that can be told where `None`.
    pub(crate) async fn on_file(&self, identifier: Option<&str>) -> Result<Vec<FiledConsent>, StoreError> {
        let subject = match identifier {
            Some(identifier) => (self.hash)(identifier.as_bytes()),
            None => unresolved(&self.hash),
        };
        let subjects = self.services.load().identities().widen(&[subject]);
        let on_file = self.store.consents_of(&subjects).await?;
        Ok(on_file.consents.iter().map(filed).collect())
    }

    /// All versions of a Consent that is on file, the first first.
    pub(crate) async fn versions(&self, key: Lane) -> Result<Vec<FiledConsent>, StoreError> {
        Ok(self.store.consent_versions(key).await?.iter().map(filed).collect())
    }

    /// Whom an identifier (`SYSTEM|VALUE`) means, with all that is linked with them.
    pub(crate) async fn subjects_of(&self, identifier: &str) -> Result<Vec<Lane>, StoreError> {
        let subject = (self.hash)(identifier.as_bytes());
        let subjects = self.services.load().identities().widen(&[subject]);
        Ok(self.store.consents_of(&subjects).await?.subjects)
    }

    /// The emergencies that are declared, over or not.
    pub(crate) fn declared(&self) -> Vec<Declaration> {
        self.declarations.load().as_ref().clone()
    }

    /// Declares an emergency, or another end of one: written down, alarmed, and what waits for it woken.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be written down: then it does not hold.
    pub(in crate::engine) async fn declare(&self, declaration: Declaration) -> Result<(), StoreError> {
        let Declaration { id, destination, reason, until, ended_by, .. } = &declaration;
        let value = serde_json::to_string(&declaration).map_err(|error| StoreError::Invalid(error.to_string()))?;
        let record = Record::Setting { key: format!("{PREFIX}{id}"), value: Some(value) };
        self.store.commit_synced(vec![record]).await?;
        match ended_by {
            None => {
                tracing::error!(declaration = %id, destination, reason, %until, "break-glass: a patient's record is opened");
            }
            Some(_) => tracing::warn!(declaration = %id, destination, "break-glass: it is over"),
        }
        let subjects = declaration.subjects.clone();
        self.declarations.rcu(|known| {
            let others = known.iter().filter(|other| other.id != declaration.id).cloned();
            others.chain([declaration.clone()]).collect::<Vec<_>>()
        });
        self.generation.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        self.wake_those_of(&subjects).await;
        Ok(())
    }
}

impl Gate {
    /// Writes down of each emergency that its time is over.
    pub(super) async fn end_what_is_over(&self) {
        let now = (self.clock)();
        let over = |one: &Declaration| one.ended_by.is_none() && one.until <= now;
        for declaration in self.declared().into_iter().filter(over) {
            let ended = Declaration { ended_by: Some(String::new()), ..declaration };
            if let Err(error) = self.declare(ended).await {
                tracing::warn!(%error, "that an emergency is over cannot be written down yet");
                return;
            }
        }
    }
}

pub(super) fn asked<'a>(destination: &'a DestinationConfig, made: &'a Made) -> Asked<'a> {
    Asked {
        message: None,
        destination,
        channel: &made.channel,
        subjects: &made.subjects,
        purposes: &made.purposes,
        format: made.format,
        bytes: &made.bytes,
    }
}

/// What the source and the channel say of its use.
fn flags(destination: &DestinationConfig, made: &Made) -> consent::Explanation {
    let purposes = made.purposes.iter().filter_map(|code| Purpose::try_from(code.clone()).ok()).collect();
    super::super::process::explain(destination, &purposes, &made.flags)
}

fn filed(consent: &ConsentOnFile) -> FiledConsent {
    let body = fhir::read(&consent.body, &fhir::Limits::default()).unwrap_or(Value::Null);
    let directive = Directive::read(&body);
    FiledConsent {
        key: consent.key.iter().map(|byte| format!("{byte:02x}")).collect(),
        id: directive.id.to_string(),
        version: consent.version,
        filed: consent.at,
        message: consent.message,
        status: match directive.status {
            Status::Active => "active",
            Status::Inactive => "inactive",
            Status::Unreadable => "unreadable",
        }
        .to_owned(),
        mode: if directive.mode == Mode::Pcf { "pcf" } else { "tree" }.to_owned(),
        faults: if directive.status == Status::Inactive { Vec::new() } else { directive.faults },
        body: serde_json::from_slice(&consent.body).unwrap_or_default(),
    }
}

/// A policy from the text of a file that is not in force.
///
/// # Errors
///
/// What is wrong with it.
pub fn policy_of(name: &str, text: &str) -> Result<PolicyConfig, String> {
    let value: serde_json::Value = toml::from_str(text).map_err(|error| error.to_string())?;
    let policy = consent::by_entry::Policy::read(name, &value.into()).map_err(|error| error.to_string())?;
    Ok(PolicyConfig { policy, hash: message::Sha256::of(text.as_bytes()).to_string() })
}
