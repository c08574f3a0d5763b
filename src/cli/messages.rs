//! `tributary messages` and `tributary lineage`: finding messages, and all that happened to one.

use std::io::IsTerminal as _;

use base64::Engine as _;
use clap::Subcommand;
use message::MessageId;

use super::connection::{Connection, connect};
use super::deliveries::print_deliveries;
use super::operate::print_json;
use super::print::{self, OutputError, say};
use super::select::{Select, known};
use super::{Globals, Outcome, table};
use crate::admin::{
    Lineage, LineageEvent, LineageOf, LineageOutput, LineageVersion, LineageWritten, MessageDetail, MessageSummary,
    Operation, Part, PartBytes,
};
use crate::store::{DeliveryId, MessageQuery, Page};

/// How many rows a list shows unless told otherwise.
pub(super) const ROWS: usize = 50;
/// The widest that a control id is shown in a list: Bundles have long ones.
const CONTROL_ID: usize = 36;

#[derive(Subcommand)]
pub(super) enum Messages {
    /// The newest messages, of all or of those that you choose.
    List {
        #[command(flatten)]
        select: Box<Select>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// One message with its deliveries.
    #[command(after_help = "  tributary messages show 01890a5d-ac96-774b-bcce-b302099a8057
  tributary messages show 01890a5d-ac96-774b-bcce-b302099a8057 --original > message.hl7")]
    Show {
        /// Its id.
        #[arg(value_parser = message_id)]
        id: MessageId,
        /// Print its bytes and nothing else: as they came into a file or pipe, a segment a line on a terminal.
        #[arg(long)]
        original: bool,
    },
    /// Messages by channel, patient, time, state, error…
    #[command(after_help = "Examples:
  tributary messages search --state failed --since 2h
  tributary messages search --patient 40017
  tributary messages search --destination regional-repository --error 'connection refused'
  tributary messages search --type ADT^A40 --since 2026-01-31 --until 2026-02-01")]
    Search {
        #[command(flatten)]
        select: Box<Select>,
        #[command(flatten)]
        page: PageArgs,
    },
}

/// Which part of a long list.
#[derive(clap::Args)]
pub(super) struct PageArgs {
    /// How many.
    #[arg(long, short = 'n', default_value_t = ROWS)]
    limit: usize,
    /// Those behind this message: the last of the page before.
    #[arg(long, value_name = "ID", value_parser = message_id)]
    after: Option<MessageId>,
}

#[derive(clap::Args)]
#[command(after_help = "Tells what came, what each step made of it, where it went and what each destination answered.

  tributary lineage 01890a5d-ac96-774b-bcce-b302099a8057     a message, by its id
  tributary lineage 4711                                     that of a delivery, by its number
  tributary lineage Patient/42 --destination repository      that of a record, as a destination calls it
  tributary lineage 'ni:///sha-256;vwTz…'                    that of the bytes which a Provenance names")]
pub(super) struct LineageArgs {
    /// A message's id, a delivery's number, a record at a destination, or the hash of a message's bytes.
    id: String,
    /// The destination where a record is; any, where this is left out.
    #[arg(long, short)]
    destination: Option<String>,
}

impl LineageArgs {
    fn of(self) -> anyhow::Result<LineageOf> {
        let Self { id, destination } = self;
        let is_hash = id.starts_with("ni:") || (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()));
        match (id.parse::<MessageId>(), id.parse::<DeliveryId>()) {
            (_, Ok(delivery)) => Ok(LineageOf::Delivery(delivery)),
            (Ok(message), _) => Ok(LineageOf::Message(message)),
            _ if is_hash => Ok(LineageOf::Original(id)),
            _ if id.contains('/') => Ok(LineageOf::Resource { reference: id, destination }),
            _ => Err(anyhow::anyhow!(
                "`{id}` is no message's id, no delivery's number, no record such as Patient/42, and no hash"
            )),
        }
    }
}

/// A message's id.
pub(super) fn message_id(text: &str) -> Result<MessageId, String> {
    text.parse().map_err(|_| {
        "an id looks like 01890a5d-ac96-774b-bcce-b302099a8057; `tributary messages list` shows them".to_owned()
    })
}

pub(super) async fn messages(globals: &Globals, command: Messages) -> Outcome {
    let connection = connect(globals).await?;
    match command {
        Messages::List { select, page } | Messages::Search { select, page } => {
            list(globals, &connection, select.query(), page).await
        }
        Messages::Show { id, original: true } => print_bytes(&connection, Part::Original(id)).await,
        Messages::Show { id, original: false } => show(globals, &connection, id).await,
    }
}

async fn list(globals: &Globals, connection: &Connection, query: MessageQuery, page: PageArgs) -> Outcome {
    let PageArgs { limit, after } = page;
    let (channel, destination) = (query.channel.clone(), query.destination.clone());
    let mut query = MessageQuery { limit, newest_first: true, ..query };
    if let Some(id) = after {
        let MessageDetail { message, deliveries } = connection.call(Operation::Message(id)).await?;
        query.after = Some(query.behind(message.sequence, &deliveries));
    }
    let (messages, more) = newest(connection, query).await?;
    if messages.is_empty() {
        known(connection, channel.as_deref(), destination.as_deref()).await?;
    }
    if globals.json {
        return print_json(&messages);
    }
    let rows = messages.iter().map(|message| {
        let control_id = message.control_id.clone().unwrap_or_default();
        [
            message.id.to_string(),
            table::time(message.at),
            message.channel.clone(),
            message.kind.clone(),
            table::cut(&control_id, CONTROL_ID),
            message.state.to_string(),
            message.reason.clone(),
        ]
    });
    table::print(["id", "accepted", "channel", "type", "control id", "state", "reason"], rows, "No messages.")?;
    if let Some(last) = messages.last().filter(|_| more) {
        say!("\nThere are more: the same with --after {}, with a higher --limit, or select closer.", last.id)?;
    }
    Ok(())
}

/// The newest messages that `query` selects, up to its limit, and whether there are more. A store
/// looks at so many entries at a time; it is asked until there are enough.
async fn newest(connection: &Connection, mut query: MessageQuery) -> anyhow::Result<(Vec<MessageSummary>, bool)> {
    let limit = query.limit;
    let mut found = Vec::new();
    loop {
        let page: Page<MessageSummary> = connection.call(Operation::Messages(query.clone())).await?;
        found.extend(page.items);
        query.limit = limit.saturating_sub(found.len());
        query.after = page.next;
        if query.after.is_none() || query.limit == 0 {
            return Ok((found, query.after.is_some()));
        }
    }
}

async fn show(globals: &Globals, connection: &Connection, id: MessageId) -> Outcome {
    let detail: MessageDetail = connection.call(Operation::Message(id)).await?;
    if globals.json {
        return print_json(&detail);
    }
    let message = &detail.message;
    say!("message     {id}\nstate       {}", message.state)?;
    if !message.reason.is_empty() {
        say!("reason      {}", print::plain(&message.reason))?;
    }
    if message.damaged {
        say!("damaged     its record on disk cannot be read; see `tributary verify`")?;
    }
    say!("accepted    {} by {} from {}", table::time(message.at), message.channel, print::plain(&message.peer))?;
    let control_id = message.control_id.as_deref().unwrap_or("none");
    say!("type        {}\ncontrol id  {}", print::plain(&message.kind), print::plain(control_id))?;
    say!("size        {}\nSHA-256     {}\n", table::size(message.size), message.sha256)?;
    print_deliveries(&detail.deliveries, "No deliveries.")?;
    Ok(say!("\nIts life: tributary lineage {id}\nIts bytes: tributary messages show {id} --original")?)
}

pub(super) async fn lineage(globals: &Globals, arguments: LineageArgs) -> Outcome {
    let of = arguments.of()?;
    let lineage: Lineage = connect(globals).await?.call(Operation::Lineage(of)).await?;
    if globals.json {
        return print_json(&lineage);
    }
    for LineageVersion { location, delivery, destination, message } in &lineage.versions {
        say!("{location} at {destination}, by delivery {delivery} of message {message}")?;
    }
    say!("message {} ({})", lineage.message.id, lineage.message.state)?;
    print_events(&lineage.events, "│ ")?;
    lineage.outputs.iter().try_for_each(print_output)?;
    for delivery in &lineage.deliveries {
        say!("└─ delivery {} to {} ({})", delivery.id, delivery.destination, delivery.state)?;
        print_events(&delivery.events, "   ")?;
    }
    Ok(())
}

/// What a message became, and how each record of it came about.
fn print_output(output: &LineageOutput) -> Result<(), OutputError> {
    let Some(sha256) = &output.sha256 else { return say!("├─ leaves as it came") };
    let engine = if output.engine.is_empty() { String::new() } else { format!(", by {}", output.engine) };
    say!("├─ became SHA-256 {sha256}{engine}")?;
    for record in &output.records {
        say!("│  ├─ {} {}", record.kind, print::plain(&record.name))?;
        for LineageWritten { delivery, location } in &record.written {
            say!("│  │  written as {} by delivery {delivery}", print::plain(location))?;
        }
        for told in &record.provenance {
            let activity = if told.activity.is_empty() { "source" } else { &told.activity };
            say!("│  │  {} by {}", print::plain(activity), print::plain(&told.roles.join(", ")))?;
            told.policy.iter().try_for_each(|policy| say!("│  │    by {}", print::plain(policy)))?;
            told.sources.iter().try_for_each(|source| say!("│  │    from {}", print::plain(source)))?;
        }
    }
    Ok(())
}

pub(super) fn print_events(events: &[LineageEvent], indent: &str) -> Result<(), OutputError> {
    let width = events.iter().map(|event| event.what.chars().count()).max().unwrap_or(0);
    for LineageEvent { at, what, text } in events {
        say!("{indent}{}  {what:<width$}  {}", table::time(*at), print::plain(text))?;
    }
    Ok(())
}

/// Prints bytes: as they are for a file or a pipe, readable on a terminal.
pub(super) async fn print_bytes(connection: &Connection, part: Part) -> Outcome {
    let part: PartBytes = connection.call(Operation::Bytes(part)).await?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(part.base64)?;
    if std::io::stdout().is_terminal() {
        return Ok(say!("{}", print::readable(&bytes))?);
    }
    Ok(print::bytes(&bytes)?)
}
