//! `tributary deliveries` and `tributary dead`: looking at deliveries; holding, releasing, skipping one.

use base64::Engine as _;
use clap::{Args, Subcommand};

use super::connection::{Connection, connect};
use super::messages::{ROWS, print_bytes, print_events};
use super::operate::{done, print_json, signed};
use super::print::{self, OutputError, say};
use super::select::{known, states};
use super::{Globals, Outcome, table};
use crate::admin::{Lineage, LineageOf, Operation, Part, PartBytes};
use crate::engine::Change;
use crate::store::{DeliveryId, DeliveryQuery, DeliveryRecord, Page, State};

#[derive(Subcommand)]
#[command(
    after_help = "A dead letter was refused, or is out of attempts. Where the destination was to blame, send it again
in its old place; where our mapping was, mend it, reload, and make it anew:

  tributary dead list --destination regional-repository
  tributary dead show 4711
  tributary deliveries release 4711 --reason 'server mended'
  tributary replay --state dead --destination regional-repository --dry-run"
)]
pub(super) enum Dead {
    /// The newest dead letters.
    List {
        /// Of this destination.
        #[arg(long)]
        destination: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// One dead letter with the answer that it got.
    Show(DeliveryArgs),
}

#[derive(Subcommand)]
#[command(after_help = "A delivery is one message on its way to one destination. Its number is in every list.

  tributary deliveries list --destination regional-repository --state queued
  tributary deliveries show 4711
  tributary deliveries show 4711 --content > bundle.json
  tributary deliveries hold 4711 --reason 'asked by the lab'
  tributary deliveries release 4711 --reason 'settled'
  tributary deliveries skip 4711 --reason 'entered by hand'")]
pub(super) enum Deliveries {
    /// Deliveries by destination and state.
    List {
        /// To this destination.
        #[arg(long)]
        destination: Option<String>,
        /// In this state.
        #[arg(long, value_parser = states())]
        state: Option<State>,
        #[command(flatten)]
        page: PageArgs,
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

/// Which part of a long list.
#[derive(Args)]
pub(super) struct PageArgs {
    /// How many.
    #[arg(long, short = 'n', default_value_t = ROWS)]
    limit: usize,
    /// Those behind this delivery: the last of the page before.
    #[arg(long, value_name = "NUMBER")]
    after: Option<DeliveryId>,
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
        Dead::List { destination, page } => list(globals, destination, Some(State::Dead), page).await,
        Dead::Show(args) => show(globals, &args).await,
    }
}

pub(super) async fn deliveries(globals: &Globals, command: Deliveries) -> Outcome {
    match command {
        Deliveries::List { destination, state, page } => list(globals, destination, state, page).await,
        Deliveries::Show(args) => show(globals, &args).await,
        Deliveries::Hold(args) => change(globals, Change::Hold, args).await,
        Deliveries::Release(args) => change(globals, Change::Release, args).await,
        Deliveries::Skip(args) => change(globals, Change::Skip, args).await,
    }
}

async fn list(globals: &Globals, destination: Option<String>, state: Option<State>, page: PageArgs) -> Outcome {
    let connection = connect(globals).await?;
    let states = state.into_iter().collect();
    let PageArgs { limit, after } = page;
    let destination_asked = destination.clone();
    let query = DeliveryQuery { destination, states, limit, after, newest_first: true, ..Default::default() };
    let (deliveries, more) = newest(&connection, query).await?;
    if deliveries.is_empty() {
        known(&connection, None, destination_asked.as_deref()).await?;
    }
    if globals.json {
        return print_json(&deliveries);
    }
    print_deliveries(&deliveries, "None.")?;
    if let Some(last) = deliveries.last().filter(|_| more) {
        say!("\nThere are more: the same with --after {}, or with a higher --limit.", last.id)?;
    }
    Ok(())
}

/// The newest deliveries that `query` selects, up to its limit, and whether there are more. A store
/// looks at so many entries at a time; it is asked until there are enough.
async fn newest(connection: &Connection, mut query: DeliveryQuery) -> anyhow::Result<(Vec<DeliveryRecord>, bool)> {
    let limit = query.limit;
    let mut found = Vec::new();
    loop {
        let page: Page<DeliveryRecord> = connection.call(Operation::Deliveries(query.clone())).await?;
        found.extend(page.items);
        query.limit = limit.saturating_sub(found.len());
        query.after = page.next;
        if query.after.is_none() || query.limit == 0 {
            return Ok((found, query.after.is_some()));
        }
    }
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
