//! `tributary status`: what is open, what is down, what waits and since when.

use super::connection::connect;
use super::operate::print_json;
use super::print::{OutputError, say};
use super::{Globals, Outcome, table};
use crate::admin::Operation;
use crate::audit::TargetStatus;
use crate::engine::{ChannelStatus, DestinationStatus, ServiceStatus, Status};
use crate::store::State;

pub(super) async fn status(globals: &Globals) -> Outcome {
    let status: Status = connect(globals).await?.call(Operation::Status).await?;
    if globals.json {
        return print_json(&status);
    }
    if !status.running {
        say!("The engine is not running; this is what its store holds.\n")?;
    }
    if status.exchanging {
        say!("A channel or destination is being drained and exchanged; states are those of before.\n")?;
    }
    let channels = status.channels.iter().map(channel);
    table::print(["channel", "state", "accepted", "listens on", ""], channels, "No channels.")?;
    say!()?;
    let head = ["destination", "state", "delivered", "waiting", "oldest", "held", "dead", ""];
    table::print(head, status.destinations.iter().map(destination), "No destinations.")?;
    if !status.services.is_empty() {
        say!()?;
        let head = ["service", "asked for", "state", "answered", "in vain", "kept"];
        table::print(head, status.services.iter().map(service), "No services.")?;
    }
    if let Some(audit) = status.audit.as_ref().filter(|audit| !audit.targets.is_empty()) {
        say!()?;
        let head = ["audit to", "state", "up to line", "waiting", "oldest", "refused", ""];
        table::print(head, audit.targets.iter().map(target), "")?;
    }
    let by_state: Vec<String> = status.messages.iter().map(|(state, n)| format!("{n} {state}")).collect();
    say!("\nMessages: {}", if by_state.is_empty() { "none".to_owned() } else { by_state.join(", ") })?;
    if let Some(audit) = &status.audit {
        say!("Audit: {} lines, signed up to line {}", audit.lines, audit.signed)?;
        audit.error.iter().try_for_each(|error| say!("The audit cannot be written or signed now: {error}"))?;
        audit.hindrance.iter().try_for_each(|why| say!("Deliveries wait: {why}"))?;
    }
    say!("Log: {}, free on its disk: {}", table::size(status.log_bytes), table::size(status.free_bytes))?;
    Ok(look_closer(&status)?)
}

fn channel(channel: &ChannelStatus) -> [String; 5] {
    let ChannelStatus { name, state, reason, address, accepted } = channel.clone();
    [name, state, accepted.to_string(), address.unwrap_or_default(), reason.unwrap_or_default()]
}

fn service(service: &ServiceStatus) -> [String; 6] {
    let ServiceStatus { kind, name, up, answered, in_vain, kept, .. } = service.clone();
    let state = if up { "up" } else { "down" };
    [name, kind, state.to_owned(), answered.to_string(), in_vain.to_string(), kept.to_string()]
}

fn destination(destination: &DestinationStatus) -> [String; 8] {
    let count = |state: State| destination.deliveries.get(state.as_str()).copied().unwrap_or(0).to_string();
    [
        destination.name.clone(),
        destination.state.clone(),
        count(State::Delivered),
        count(State::Queued),
        destination.oldest_queued.map(table::ago).unwrap_or_default(),
        count(State::Held),
        count(State::Dead),
        destination.reason.clone().unwrap_or_default(),
    ]
}

fn target(target: &TargetStatus) -> [String; 7] {
    [
        target.name.clone(),
        target.state.clone(),
        target.sent.to_string(),
        target.waiting.to_string(),
        target.oldest.map(table::ago).unwrap_or_default(),
        target.refused.to_string(),
        target.error.clone().unwrap_or_default(),
    ]
}

/// What to type where something needs a person.
fn look_closer(status: &Status) -> Result<(), OutputError> {
    let any =
        |state: State| status.destinations.iter().any(|it| it.deliveries.get(state.as_str()).is_some_and(|n| *n > 0));
    let mut commands = Vec::new();
    if any(State::Dead) {
        commands.push("tributary dead list");
    }
    if any(State::Held) {
        commands.push("tributary deliveries list --state held");
    }
    if status.messages.get(State::Failed.as_str()).is_some_and(|n| *n > 0) {
        commands.push("tributary messages search --state failed");
    }
    if commands.is_empty() { Ok(()) } else { say!("Look closer: {}", commands.join("\n             ")) }
}
