//! The commands of operators: look, hold, release, pause, walk a message's lineage.

use std::io::Write as _;

use base64::Engine as _;
use clap::{Args, Subcommand};
use message::MessageId;
use serde::Serialize;

use super::connection::{Connection, connect};
use super::select::Select;
use super::{Failure, Globals, Outcome, table};
use crate::admin::{Lineage, LineageEvent, LineageOf, MessageDetail, MessageSummary, Operation, Part, PartBytes};
use crate::engine::{Change, Reloaded, Status};
use crate::store::{DeliveryId, DeliveryQuery, DeliveryRecord, MessageQuery, Page, State};

/// How many rows a list shows unless told otherwise.
const ROWS: usize = 50;

#[derive(Subcommand)]
pub(super) enum Messages {
    /// The newest messages.
    List {
        /// How many.
        #[arg(long, short = 'n', default_value_t = ROWS)]
        limit: usize,
    },
    /// One message with its deliveries.
    Show {
        /// Its id.
        id: MessageId,
        /// Print its bytes as they came, and nothing else.
        #[arg(long)]
        original: bool,
    },
    /// Messages by channel, patient, time, state, error…
    Search {
        #[command(flatten)]
        select: Select,
        /// How many.
        #[arg(long, short = 'n', default_value_t = ROWS)]
        limit: usize,
    },
}

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
        #[arg(long, value_parser = super::select::state)]
        state: Option<State>,
        /// How many.
        #[arg(long, short = 'n', default_value_t = ROWS)]
        limit: usize,
    },
    /// One delivery, and what the destination answered last.
    Show(DeliveryArgs),
    /// Keep a waiting delivery from leaving.
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

#[derive(Subcommand)]
pub(super) enum Channels {
    /// Stop taking messages; what was accepted goes on. Lasts over restarts.
    Pause(PauseArgs),
    /// Take messages again.
    Resume(NameArgs),
}

#[derive(Subcommand)]
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

#[derive(Args)]
pub(super) struct LineageArgs {
    /// A message's id, or a delivery's number.
    id: String,
}

pub(super) async fn status(globals: &Globals) -> Outcome {
    let status: Status = connect(globals).await?.call(Operation::Status).await?;
    if globals.json {
        return print_json(&status);
    }
    if !status.running {
        println!("The engine is not running; this is what its store holds.\n");
    }
    let channels = status.channels.iter().map(|channel| {
        let reason = channel.reason.clone().unwrap_or_default();
        let address = channel.address.clone().unwrap_or_default();
        [channel.name.clone(), channel.state.clone(), channel.accepted.to_string(), address, reason]
    });
    table::print(["channel", "state", "accepted", "listens on", ""], channels, "No channels.");
    println!();
    let destinations = status.destinations.iter().map(|destination| {
        let count = |state: State| destination.deliveries.get(state.as_str()).copied().unwrap_or(0).to_string();
        let oldest = destination.oldest_queued.map(table::ago).unwrap_or_default();
        let reason = destination.reason.clone().unwrap_or_default();
        [
            destination.name.clone(),
            destination.state.clone(),
            count(State::Delivered),
            count(State::Queued),
            oldest,
            count(State::Held),
            count(State::Dead),
            reason,
        ]
    });
    let head = ["destination", "state", "delivered", "waiting", "oldest", "held", "dead", ""];
    table::print(head, destinations, "No destinations.");
    let by_state: Vec<String> = status.messages.iter().map(|(state, n)| format!("{n} {state}")).collect();
    println!("\nMessages: {}", if by_state.is_empty() { "none".to_owned() } else { by_state.join(", ") });
    println!("Log: {}, free on its disk: {}", table::size(status.log_bytes), table::size(status.free_bytes));
    Ok(())
}

pub(super) async fn messages(globals: &Globals, command: Messages) -> Outcome {
    let connection = connect(globals).await?;
    match command {
        Messages::List { limit } => {
            list_messages(globals, &connection, MessageQuery { limit, newest_first: true, ..Default::default() }).await
        }
        Messages::Search { select, limit } => {
            list_messages(globals, &connection, MessageQuery { newest_first: true, ..select.query(limit) }).await
        }
        Messages::Show { id, original: true } => print_bytes(&connection, Part::Original(id)).await,
        Messages::Show { id, original: false } => show_message(globals, &connection, id).await,
    }
}

async fn list_messages(globals: &Globals, connection: &Connection, query: MessageQuery) -> Outcome {
    let page: Page<MessageSummary> = connection.call(Operation::Messages(query)).await?;
    if globals.json {
        return print_json(&page.items);
    }
    let rows = page.items.iter().map(|message| {
        let control_id = message.control_id.clone().unwrap_or_default();
        [
            message.id.to_string(),
            table::time(message.at),
            message.channel.clone(),
            message.kind.clone(),
            control_id,
            message.state.to_string(),
            message.reason.clone(),
        ]
    });
    table::print(["id", "accepted", "channel", "type", "control id", "state", "reason"], rows, "No messages.");
    if page.next.is_some() {
        println!("\nThere are more: ask for them with --limit, or select closer.");
    }
    Ok(())
}

async fn show_message(globals: &Globals, connection: &Connection, id: MessageId) -> Outcome {
    let detail: MessageDetail = connection.call(Operation::Message(id)).await?;
    if globals.json {
        return print_json(&detail);
    }
    let message = &detail.message;
    println!("message     {id}\nstate       {}", message.state);
    if !message.reason.is_empty() {
        println!("reason      {}", message.reason);
    }
    println!("accepted    {} by {} from {}", table::time(message.at), message.channel, message.peer);
    println!("type        {}\ncontrol id  {}", message.kind, message.control_id.as_deref().unwrap_or("none"));
    println!("SHA-256     {}\n", message.sha256);
    print_deliveries(&detail.deliveries, "No deliveries.");
    println!("\nIts life: tributary lineage {id}\nIts bytes: tributary messages show {id} --original");
    Ok(())
}

pub(super) async fn dead(globals: &Globals, command: Dead) -> Outcome {
    match command {
        Dead::List { destination, limit } => list_deliveries(globals, destination, Some(State::Dead), limit).await,
        Dead::Show(args) => show_delivery(globals, &args).await,
    }
}

pub(super) async fn deliveries(globals: &Globals, command: Deliveries) -> Outcome {
    match command {
        Deliveries::List { destination, state, limit } => list_deliveries(globals, destination, state, limit).await,
        Deliveries::Show(args) => show_delivery(globals, &args).await,
        Deliveries::Hold(args) => change(globals, Change::Hold, args).await,
        Deliveries::Release(args) => change(globals, Change::Release, args).await,
        Deliveries::Skip(args) => change(globals, Change::Skip, args).await,
    }
}

async fn list_deliveries(
    globals: &Globals,
    destination: Option<String>,
    state: Option<State>,
    limit: usize,
) -> Outcome {
    let states = state.into_iter().collect();
    let query = DeliveryQuery { destination, states, limit, newest_first: true, ..Default::default() };
    let page: Page<DeliveryRecord> = connect(globals).await?.call(Operation::Deliveries(query)).await?;
    if globals.json {
        return print_json(&page.items);
    }
    print_deliveries(&page.items, "None.");
    if page.next.is_some() {
        println!("\nThere are more: ask for them with --limit.");
    }
    Ok(())
}

fn print_deliveries(deliveries: &[DeliveryRecord], none: &str) {
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
    table::print(["delivery", "message", "destination", "state", "attempts", "since", "next", "reason"], rows, none);
}

async fn show_delivery(globals: &Globals, args: &DeliveryArgs) -> Outcome {
    let connection = connect(globals).await?;
    if args.content {
        return print_bytes(&connection, Part::Content(args.id)).await;
    }
    let lineage: Lineage = connection.call(Operation::Lineage(LineageOf::Delivery(args.id))).await?;
    let answer: Option<PartBytes> = connection.call(Operation::Bytes(Part::Answer(args.id))).await.ok();
    let delivery = lineage.deliveries.iter().find(|delivery| delivery.id == args.id);
    let answer = answer.and_then(|part| base64::engine::general_purpose::STANDARD.decode(part.base64).ok());
    let answer = answer.map(|bytes| String::from_utf8_lossy(&bytes).replace('\r', "\n"));
    if globals.json {
        return print_json(
            &serde_json::json!({ "delivery": delivery, "message": lineage.message.id, "answer": answer }),
        );
    }
    println!("delivery {} of message {}", args.id, lineage.message.id);
    if let Some(delivery) = delivery {
        println!("to {}: {}\n", delivery.destination, delivery.state);
        print_events(&delivery.events, "  ");
    }
    match answer {
        Some(answer) => println!("\nIts answer:\n{}", answer.trim_end()),
        None => println!("\nNo answer is kept."),
    }
    Ok(())
}

async fn change(globals: &Globals, change: Change, ChangeArgs { id, reason }: ChangeArgs) -> Outcome {
    let operation = Operation::ChangeDelivery { change, delivery: id, reason: signed(&reason) };
    done(globals, operation, &format!("delivery {id}: done")).await
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
            let error = part.error.clone().unwrap_or_default();
            [part.kind.clone(), part.name.clone(), part.change.clone(), error]
        });
        table::print(["", "name", "change", "error"], rows, "Nothing changed.");
    }
    if failed { Err(Failure::No) } else { Ok(()) }
}

pub(super) async fn lineage(globals: &Globals, LineageArgs { id }: LineageArgs) -> Outcome {
    let of = match (id.parse::<MessageId>(), id.parse::<DeliveryId>()) {
        (_, Ok(delivery)) => LineageOf::Delivery(delivery),
        (Ok(message), _) => LineageOf::Message(message),
        _ => return Err(anyhow::anyhow!("`{id}` is neither a message's id nor a delivery's number").into()),
    };
    let lineage: Lineage = connect(globals).await?.call(Operation::Lineage(of)).await?;
    if globals.json {
        return print_json(&lineage);
    }
    println!("message {} ({})", lineage.message.id, lineage.message.state);
    print_events(&lineage.events, "│ ");
    for delivery in &lineage.deliveries {
        println!("└─ delivery {} to {} ({})", delivery.id, delivery.destination, delivery.state);
        print_events(&delivery.events, "   ");
    }
    Ok(())
}

fn print_events(events: &[LineageEvent], indent: &str) {
    for event in events {
        println!("{indent}{}  {:<12} {}", table::time(event.at), event.what, event.text);
    }
}

async fn print_bytes(connection: &Connection, part: Part) -> Outcome {
    let part: PartBytes = connection.call(Operation::Bytes(part)).await?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(part.base64)?;
    std::io::stdout().write_all(&bytes)?;
    Ok(())
}

async fn done(globals: &Globals, operation: Operation, said: &str) -> Outcome {
    let (): () = connect(globals).await?.call(operation).await?;
    if !globals.json {
        println!("{said}");
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
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
