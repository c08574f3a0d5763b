//! `tributary deliveries` and `tributary dead`: looking at deliveries; holding, releasing, skipping one.

use base64::Engine as _;
use clap::{Args, Subcommand};

use super::connection::connect;
use super::messages::{ROWS, print_bytes, print_events};
use super::operate::{done, print_json, signed};
use super::print::{self, OutputError, say};
use super::select::{known, states};
use super::{Globals, Outcome, table};
use crate::admin::{Lineage, LineageOf, Operation, Part, PartBytes};
use crate::engine::Change;
use crate::store::{DeliveryId, DeliveryQuery, DeliveryRecord, Page, State};

#[derive(Subcommand)]
pub(super) enum Dead {
    /// The newest dead letters.
    List {
        /// Of this destination.
        #[arg(long)]
        destination: Option<String>,
        /// How many.
        #[arg(long, short = 'n', default_value_t = ROWS)]
        limit: usize,
    },
    /// One dead letter with the answer that it got.
    Show(DeliveryArgs),
}

#[derive(Subcommand)]
pub(super) enum Deliveries {
    /// Deliveries by destination and state.
    List {
        /// To this destination.
        #[arg(long)]
        destination: Option<String>,
        /// In this state.
        #[arg(long, value_parser = states())]
        state: Option<State>,
        /// How many.
        #[arg(long, short = 'n', default_value_t = ROWS)]
        limit: usize,
    },
    /// One delivery, and what the destination answered last.
    Show(DeliveryArgs),
    /// Keep a waiting delivery from leaving; those behind it in its lane go on.
    Hold(ChangeArgs),
    /// Queue a held or dead delivery again, in its old place.
    Release(ChangeArgs),
    /// Never send a delivery.
    Skip(ChangeArgs),
}

#[derive(Args)]
pub(super) struct DeliveryArgs {
    /// Its number.
    id: DeliveryId,
    /// Print the bytes that are to leave (or left), and nothing else.
    #[arg(long)]
    content: bool,
}

#[derive(Args)]
pub(super) struct ChangeArgs {
    /// Its number.
    id: DeliveryId,
    /// Why: kept with the delivery.
    #[arg(long)]
    reason: String,
}

pub(super) async fn dead(globals: &Globals, command: Dead) -> Outcome {
    match command {
        Dead::List { destination, limit } => list(globals, destination, Some(State::Dead), limit).await,
        Dead::Show(args) => show(globals, &args).await,
    }
}

pub(super) async fn deliveries(globals: &Globals, command: Deliveries) -> Outcome {
    match command {
        Deliveries::List { destination, state, limit } => list(globals, destination, state, limit).await,
        Deliveries::Show(args) => show(globals, &args).await,
        Deliveries::Hold(args) => change(globals, Change::Hold, args).await,
        Deliveries::Release(args) => change(globals, Change::Release, args).await,
        Deliveries::Skip(args) => change(globals, Change::Skip, args).await,
    }
}

async fn list(globals: &Globals, destination: Option<String>, state: Option<State>, limit: usize) -> Outcome {
    let connection = connect(globals).await?;
    let states = state.into_iter().collect();
    let query =
        DeliveryQuery { destination: destination.clone(), states, limit, newest_first: true, ..Default::default() };
    let page: Page<DeliveryRecord> = connection.call(Operation::Deliveries(query)).await?;
    if page.items.is_empty() {
        known(&connection, None, destination.as_deref()).await?;
    }
    if globals.json {
        return print_json(&page.items);
    }
    print_deliveries(&page.items, "None.")?;
    if page.next.is_some() {
        say!("\nThere are more: ask for them with --limit.")?;
    }
    Ok(())
}

pub(super) fn print_deliveries(deliveries: &[DeliveryRecord], none: &str) -> Result<(), OutputError> {
    let rows = deliveries.iter().map(|delivery| {
        let due = delivery.due.filter(|_| delivery.state == State::Queued).map(table::time).unwrap_or_default();
        [
            delivery.id.to_string(),
            delivery.message.to_string(),
            delivery.destination.clone(),
            delivery.state.to_string(),
            delivery.attempts.to_string(),
            table::time(delivery.changed),
            due,
            delivery.reason.clone(),
        ]
    });
    table::print(["delivery", "message", "destination", "state", "attempts", "since", "next", "reason"], rows, none)
}

async fn show(globals: &Globals, args: &DeliveryArgs) -> Outcome {
    let connection = connect(globals).await?;
    if args.content {
        return print_bytes(&connection, Part::Content(args.id)).await;
    }
    let lineage: Lineage = connection.call(Operation::Lineage(LineageOf::Delivery(args.id))).await?;
    let answer: Option<PartBytes> = connection.call(Operation::Bytes(Part::Answer(args.id))).await.ok();
    let delivery = lineage.deliveries.iter().find(|delivery| delivery.id == args.id);
    let answer = answer.and_then(|part| base64::engine::general_purpose::STANDARD.decode(part.base64).ok());
    let answer = answer.map(|bytes| print::readable(&bytes));
    if globals.json {
        return print_json(
            &serde_json::json!({ "delivery": delivery, "message": lineage.message.id, "answer": answer }),
        );
    }
    say!("delivery {} of message {}", args.id, lineage.message.id)?;
    if let Some(delivery) = delivery {
        say!("to {}: {}\n", delivery.destination, delivery.state)?;
        print_events(&delivery.events, "  ")?;
    }
    match answer {
        Some(answer) => say!("\nIts answer:\n{answer}")?,
        None => say!("\nNo answer is kept.")?,
    }
    Ok(say!("\nIts bytes: tributary deliveries show {} --content", args.id)?)
}

async fn change(globals: &Globals, change: Change, ChangeArgs { id, reason }: ChangeArgs) -> Outcome {
    let said = match change {
        Change::Hold => format!("delivery {id} is held until `tributary deliveries release {id}`"),
        Change::Release => format!("delivery {id} is queued again"),
        Change::Skip => format!("delivery {id} will not be sent"),
    };
    done(globals, Operation::ChangeDelivery { change, delivery: id, reason: signed(&reason) }, &said).await
}
