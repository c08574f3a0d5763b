//! What privacy officers ask, on a running engine or on a store alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use message::MessageId;
use serde_json::Value;
use uuid::Uuid;

use super::operation::{BreakGlass, OperationError, Sent};
use super::perform::{Desk, answer, done};
use crate::config::{DestinationConfig, Site};
use crate::engine::{self, Declaration, Gate, Made, clock};
use crate::store::{DeliveryRecord, Lane, Outcome, State};

/// The gate of an engine that runs, or one on a store alone.
enum At<'a> {
    Running(&'a Gate),
    Alone(Box<Gate>),
}

impl std::ops::Deref for At<'_> {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        match self {
            Self::Running(gate) => gate,
            Self::Alone(gate) => gate,
        }
    }
}

async fn gate(desk: &Desk) -> Result<At<'_>, OperationError> {
    match desk {
        Desk::Engine(engine, _) => Ok(At::Running(engine.gate())),
        Desk::Store(store, site) => {
            let gate = engine::offline_gate(store, site).await.map_err(OperationError::failed)?;
            Ok(At::Alone(Box::new(gate)))
        }
    }
}

async fn site(desk: &Desk) -> Arc<Site> {
    match desk {
        Desk::Engine(engine, _) => engine.site().await,
        Desk::Store(_, site) => Arc::new(Site::clone(site)),
    }
}

fn destination<'a>(site: &'a Site, name: &str) -> Result<&'a DestinationConfig, OperationError> {
    site.destinations.get(name).ok_or_else(|| {
        OperationError::not_found(engine::unknown("destination", name, site.destinations.keys()).to_string())
    })
}

pub(super) async fn explain(desk: &Desk, message: MessageId, to: &str) -> Result<Value, OperationError> {
    let (site, gate) = (site(desk).await, gate(desk).await?);
    let to = destination(&site, to)?;
    let stored = desk.store().message(message).await.map_err(OperationError::failed)?;
    if stored.is_none() {
        return Err(OperationError::not_found(format!("there is no message {message}")));
    }
    let latest = gate.latest(message, &to.name).await.map_err(OperationError::failed)?;
    let (delivery, made) = match latest {
        Some((id, state, made)) => (Some((id, state)), made),
        None => (None, would_be(desk, message, &to.name).await?),
    };
    answer(gate.explain(message, to, delivery, &made).await.map_err(OperationError::failed)?)
}

/// How many queued deliveries are decided about for one list.
const FORETOLD: usize = 100;

/// Tells of deliveries that wait for a destination which is paused or down what would become of them at this moment.
/// What cannot be told now is not.
pub(super) async fn foretell(desk: &Desk, deliveries: &mut [DeliveryRecord]) {
    let site = site(desk).await;
    let decided = |name: &str| site.destinations.get(name).is_some_and(|destination| destination.policy.is_some());
    let waits = |one: &&mut DeliveryRecord| one.state == State::Queued && decided(&one.destination);
    let mut waiting = deliveries.iter_mut().filter(waits).take(FORETOLD).peekable();
    if waiting.peek().is_none() {
        return;
    }
    let Ok(gate) = gate(desk).await else { return };
    for delivery in waiting {
        if let Ok(Some(outlook)) = gate.outlook(delivery).await {
            delivery.reason =
                if delivery.reason.is_empty() { outlook } else { format!("{}; {outlook}", delivery.reason) };
        }
    }
}

/// What the message would be made into for a destination that it never went to.
async fn would_be(desk: &Desk, message: MessageId, to: &str) -> Result<Made, OperationError> {
    let replayer = desk.replayer().await?;
    let outcome = replayer.would_be(message, to, clock::now()).await.map_err(OperationError::failed)?;
    let original = desk.store().payload(message).await.map_err(OperationError::failed)?;
    let channel = desk.store().message(message).await.map_err(OperationError::failed)?;
    let channel = channel.map(|message| message.received.channel).unwrap_or_default();
    match outcome {
        Outcome::Queued { outputs, mut deliveries } => {
            let delivery = deliveries.pop().filter(|delivery| delivery.destination == to);
            let output = delivery.as_ref().and_then(|delivery| outputs.get(delivery.output as usize));
            let both = delivery.clone().zip(output);
            let (delivery, output) = both.ok_or_else(|| no_route(message, to))?;
            Ok(Made::of(channel, delivery, output, original))
        }
        Outcome::Filtered { reason } => Err(OperationError::failed(reason)),
        Outcome::Failed { step, reason, .. } => Err(OperationError::failed(format!("{step}: {reason}"))),
    }
}

fn no_route(message: MessageId, to: &str) -> OperationError {
    OperationError::failed(format!("no route takes {message} to {to}"))
}

pub(super) async fn simulate(
    desk: &Desk,
    name: &str,
    text: &str,
    only: Option<String>,
    since: Timestamp,
    limit: usize,
) -> Result<Value, OperationError> {
    let policy = engine::policy_of(name, text).map_err(OperationError::failed)?;
    let (site, gate) = (site(desk).await, gate(desk).await?);
    let destinations: BTreeSet<String> = match only {
        Some(only) => BTreeSet::from([destination(&site, &only)?.name.clone()]),
        None => ruled_by(&site, name),
    };
    if destinations.is_empty() {
        let text = "no destination has a policy: say for which one with --destination NAME".to_owned();
        return Err(OperationError::failed(text));
    }
    answer(gate.simulate(&policy, &destinations, since, limit).await.map_err(OperationError::failed)?)
}

pub(super) async fn hindsight(
    desk: &Desk,
    sent: Vec<Sent>,
    policy: Option<(String, String)>,
) -> Result<Value, OperationError> {
    let (site, gate) = (site(desk).await, gate(desk).await?);
    let given = policy.map(|(name, text)| {
        let policy = engine::policy_of(&name, &text).map_err(OperationError::failed)?;
        Ok::<_, OperationError>((ruled_by(&site, &name), policy))
    });
    let given = given.transpose()?;
    let mut found = Vec::new();
    for Sent { delivery, at, proof } in sent {
        let known = desk.store().delivery(delivery).await.map_err(OperationError::failed)?;
        let ruled = |ruled: &BTreeSet<String>| known.as_ref().is_some_and(|known| ruled.contains(&known.destination));
        let policy = given.as_ref().filter(|(names, _)| ruled(names)).map(|(_, policy)| policy);
        found.extend(gate.hindsight(delivery, at, &proof, policy).await.map_err(OperationError::failed)?);
    }
    answer(found)
}

/// The destinations that have this policy; those that have any, for one that is new to the site.
fn ruled_by(site: &Site, name: &str) -> BTreeSet<String> {
    let with = |is_theirs: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
        let ruled = site.destinations.values().filter(|to| to.policy.as_deref().is_some_and(is_theirs));
        ruled.map(|to| to.name.clone()).collect()
    };
    let theirs = with(&|policy| policy == name);
    if theirs.is_empty() { with(&|_| true) } else { theirs }
}

pub(super) async fn on_file(desk: &Desk, patient: Option<&str>, versions: bool) -> Result<Value, OperationError> {
    let gate = gate(desk).await?;
    let latest = gate.on_file(patient).await.map_err(OperationError::failed)?;
    if !versions {
        return answer(latest);
    }
    let mut all = Vec::new();
    for key in latest.iter().filter_map(|consent| lane(&consent.key)) {
        all.extend(gate.versions(key).await.map_err(OperationError::failed)?);
    }
    answer(all)
}

/// A key that was written in hexadecimal.
fn lane(text: &str) -> Option<Lane> {
    let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..16).map(byte).collect();
    bytes?.try_into().ok()
}

pub(super) async fn break_glass(desk: &Desk, declared: BreakGlass) -> Result<Value, OperationError> {
    let BreakGlass { patient, destination: to, by, reason, until } = declared;
    let engine = desk.engine()?;
    let site = engine.site().await;
    let to = destination(&site, &to)?;
    let policy = to.policy.as_ref().and_then(|name| site.consent.policies.get(name));
    if policy.is_none_or(|policy| policy.policy.break_glass.is_none()) {
        let text = format!("{} has no policy that an emergency opens (`break_glass`)", to.name);
        return Err(OperationError::failed(text));
    }
    let subjects = engine.gate().subjects_of(&patient).await.map_err(OperationError::failed)?;
    let at = clock::now();
    let id = clock::new_id(at).0;
    let declaration = Declaration { id, subjects, destination: to.name.clone(), by, reason, at, until, ended_by: None };
    if let Some(problem) = declaration.problem() {
        return Err(OperationError::failed(problem));
    }
    engine.declare(declaration.clone()).await.map_err(OperationError::failed)?;
    answer(declaration)
}

pub(super) async fn end_break_glass(desk: &Desk, by: &str, id: Uuid) -> Result<Value, OperationError> {
    let engine = desk.engine()?;
    let declared = engine.gate().declared().into_iter().find(|declaration| declaration.id == id);
    let declared = declared.ok_or_else(|| OperationError::not_found(format!("there is no declaration {id}")))?;
    if declared.ended_by.is_some() {
        return Err(OperationError::failed(format!("declaration {id} is over since {}", declared.until)));
    }
    let until = clock::now().min(declared.until);
    done(engine.declare(Declaration { until, ended_by: Some(by.to_owned()), ..declared }).await)
}

pub(super) async fn break_glasses(desk: &Desk) -> Result<Value, OperationError> {
    answer(gate(desk).await?.declared())
}
