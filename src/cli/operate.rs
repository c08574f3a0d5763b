//! The orders of operators: pausing and resuming channels and destinations, reloading.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::connection::connect;
use super::print::say;
use super::{Failure, Globals, Outcome, table};
use crate::admin::Operation;
use crate::engine::Reloaded;

#[derive(Subcommand)]
#[command(after_help = "  tributary channels pause st-mary-adt --reason 'their upgrade, until 06:00'
  tributary channels resume st-mary-adt")]
pub(super) enum Channels {
    /// Stop taking messages; what was accepted goes on. Lasts over restarts.
    Pause(PauseArgs),
    /// Take messages again.
    Resume(NameArgs),
}

#[derive(Subcommand)]
#[command(after_help = "  tributary destinations pause regional-repository --reason 'maintenance, until 06:00'
  tributary destinations resume regional-repository")]
pub(super) enum Destinations {
    /// Stop sending; the queue grows. Lasts over restarts.
    Pause(PauseArgs),
    /// Go on sending, at once.
    Resume(NameArgs),
}

#[derive(Args)]
pub(super) struct PauseArgs {
    /// Its name.
    name: String,
    /// Why: shown in `status`.
    #[arg(long)]
    reason: String,
}

#[derive(Args)]
pub(super) struct NameArgs {
    /// Its name.
    name: String,
}

pub(super) async fn channels(globals: &Globals, command: Channels) -> Outcome {
    match command {
        Channels::Pause(PauseArgs { name, reason }) => {
            let said = format!("{name} takes no messages until `tributary channels resume {name}`");
            done(globals, Operation::PauseChannel { name, reason: signed(&reason) }, &said).await
        }
        Channels::Resume(NameArgs { name }) => {
            let said = format!("{name} takes messages");
            done(globals, Operation::ResumeChannel { name }, &said).await
        }
    }
}

pub(super) async fn destinations(globals: &Globals, command: Destinations) -> Outcome {
    match command {
        Destinations::Pause(PauseArgs { name, reason }) => {
            let said = format!("nothing is sent to {name} until `tributary destinations resume {name}`");
            done(globals, Operation::PauseDestination { name, reason: signed(&reason) }, &said).await
        }
        Destinations::Resume(NameArgs { name }) => {
            let said = format!("{name} is sent to again");
            done(globals, Operation::ResumeDestination { name }, &said).await
        }
    }
}

pub(super) async fn reload(globals: &Globals) -> Outcome {
    let report: Vec<Reloaded> = connect(globals).await?.call(Operation::Reload).await?;
    let failed = report.iter().any(|part| part.error.is_some());
    if globals.json {
        print_json(&report)?;
    } else {
        let changed = report.iter().filter(|part| part.change != "unchanged" || part.error.is_some());
        let rows = changed.map(|part| {
            let said = match &part.error {
                Some(error) => format!("NOT {}, the old one goes on: {error}", part.change),
                None => part.change.clone(),
            };
            [part.kind.clone(), part.name.clone(), said]
        });
        table::print(["", "name", "change"], rows, "Nothing changed.")?;
    }
    if failed { Err(Failure::No) } else { Ok(()) }
}

/// Has an order carried out, and says so.
pub(super) async fn done(globals: &Globals, operation: Operation, said: &str) -> Outcome {
    let (): () = connect(globals).await?.call(operation).await?;
    if !globals.json {
        say!("{said}")?;
    }
    Ok(())
}

/// A reason with who gave it, as the system knows them.
pub(super) fn signed(reason: &str) -> String {
    match std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")) {
        Ok(user) if !user.is_empty() => format!("{reason} ({user})"),
        _ => reason.to_owned(),
    }
}

/// Prints what scripts read.
pub(super) fn print_json(value: &impl Serialize) -> Outcome {
    Ok(say!("{}", serde_json::to_string_pretty(value)?)?)
}
