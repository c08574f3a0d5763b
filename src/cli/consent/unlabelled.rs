//! `tributary consent unlabelled`: what of each channel's records goes unlabelled, for want of a value set.

use jiff::Timestamp;
use message::FindingKind;
use serde::Serialize;

use crate::admin::{Coverage, CoverageItem, Operation};
use crate::cli::connection::connect;
use crate::cli::operate::print_json;
use crate::cli::print::say;
use crate::cli::{Globals, Outcome, table};
use crate::engine::Status;
use crate::store::MessageQuery;

/// `consent unlabelled`.
#[derive(clap::Args)]
pub(in crate::cli) struct UnlabelledArgs {
    /// Of this channel alone.
    #[arg(long)]
    channel: Option<String>,
    /// Of messages accepted since: a time (2026-01-31T08:00), or how long ago (30m, 2h, 7d).
    #[arg(long, value_parser = crate::cli::select::moment, default_value = "7d")]
    since: Timestamp,
    /// Look at so many messages of each channel at most, the newest.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    limit: usize,
}

/// What is lacking in what one channel brings.
#[derive(Serialize)]
struct Lacking {
    channel: String,
    /// How many messages were looked at.
    messages: u64,
    /// How many records go unlabelled.
    records: u64,
    /// By type of resource and code system, the most frequent first.
    items: Vec<CoverageItem>,
}

pub(super) async fn unlabelled(globals: &Globals, args: UnlabelledArgs) -> Outcome {
    let connection = connect(globals).await?;
    let channels = match args.channel {
        Some(channel) => vec![channel],
        None => {
            let status: Status = connection.call(Operation::Status).await?;
            status.channels.into_iter().map(|channel| channel.name).collect()
        }
    };
    let mut all = Vec::with_capacity(channels.len());
    for channel in channels {
        let query = MessageQuery { channel: Some(channel.clone()), from: Some(args.since), ..MessageQuery::default() };
        let coverage: Coverage = connection.call(Operation::Coverage { query, limit: args.limit }).await?;
        let items = coverage.items.into_iter().filter(|item| item.kind == FindingKind::Unlabelled);
        let items: Vec<CoverageItem> = items.collect();
        let records = items.iter().map(|item| item.count).sum();
        all.push(Lacking { channel, messages: coverage.messages, records, items });
    }
    if globals.json {
        return print_json(&all);
    }
    let rows = all.iter().flat_map(|one| one.items.iter().map(|item| row(&one.channel, item)));
    table::print(["channel", "records", "count", "messages", "example", "what"], rows, "Nothing goes unlabelled.")?;
    for Lacking { channel, messages, records, .. } in all.iter().filter(|one| one.messages > 0) {
        say!("{channel}: {records} records of {messages} messages go unlabelled for want of a value set")?;
    }
    Ok(())
}

fn row(channel: &str, item: &CoverageItem) -> [String; 6] {
    let CoverageItem { location, count, messages, example, text, .. } = item;
    [channel.to_owned(), location.clone(), count.to_string(), messages.to_string(), example.to_string(), text.clone()]
}
