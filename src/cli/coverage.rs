//! `tributary coverage`: what of stored messages reached no output, as a list to work through.

use super::connection::connect;
use super::operate::print_json;
use super::print::say;
use super::select::{Select, known};
use super::{Failure, Globals, Outcome, table};
use crate::admin::{Coverage, Operation};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tributary coverage --channel st-mary-adt --since 7d
  tributary coverage --channel st-mary-adt --since 1d --fail-under 98")]
pub(super) struct Args {
    #[command(flatten)]
    select: Select,
    /// Look at so many messages at most, the newest.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    limit: usize,
    /// Exit code 1 if fewer of a hundred values reached an output whole.
    #[arg(long, value_name = "PERCENT")]
    fail_under: Option<f64>,
}

pub(super) async fn coverage(globals: &Globals, args: Args) -> Outcome {
    let connection = connect(globals).await?;
    let query = args.select.query();
    known(&connection, query.channel.as_deref(), query.destination.as_deref()).await?;
    let coverage: Coverage = connection.call(Operation::Coverage { query, limit: args.limit }).await?;
    if globals.json {
        print_json(&coverage)?;
    } else {
        show(&coverage)?;
    }
    match args.fail_under {
        Some(least) if coverage.percent() < least => Err(Failure::No),
        _ => Ok(()),
    }
}

fn show(coverage: &Coverage) -> anyhow::Result<()> {
    let rows = coverage.items.iter().map(|item| {
        [
            item.location.clone(),
            item.kind.as_str().to_owned(),
            item.count.to_string(),
            item.messages.to_string(),
            item.example.to_string(),
            item.text.clone(),
        ]
    });
    table::print(["place", "", "count", "messages", "example", "what"], rows, "Nothing is lacking.")?;
    let (messages, values) = (coverage.messages, coverage.values);
    say!("\n{messages} messages, {values} values: {:.1} % reached an output whole", coverage.percent())?;
    if coverage.more {
        say!("There are more messages: ask for them with --limit, or select closer.")?;
    }
    Ok(())
}
