//! `tributary replay`: stored messages through today's transforms, consent and routes again.

use std::io::IsTerminal as _;
use std::time::Duration;

use message::MessageId;
use uuid::Uuid;

use super::connection::{Connection, connect};
use super::operate::{print_json, signed};
use super::print::{self, OutputError, note, say};
use super::select::{Select, known};
use super::{Globals, Outcome, table};
use crate::admin::Operation;
use crate::engine::{Difference, ReplayProgress, ReplayRequest, ReplayState};

#[derive(clap::Args)]
#[command(after_help = "Replayed messages take the place of their open deliveries, and of dead letters; what was
delivered before is sent again, which changes nothing at a FHIR destination unless the maps did.

  tributary replay --state dead --destination regional-repository --reason 'server mended' --dry-run
  tributary replay 01890a5d-ac96-774b-bcce-b302099a8057 --reason 'map corrected'
  tributary replay --jobs
  tributary replay --cancel JOB")]
pub(super) struct Args {
    /// These messages, by id.
    #[arg(value_parser = super::messages::message_id)]
    ids: Vec<MessageId>,
    #[command(flatten)]
    select: Select,
    /// Every message there is, where nothing else is selected.
    #[arg(long)]
    all: bool,
    /// Why: kept with every message.
    #[arg(long, required_unless_present_any = ["jobs", "cancel", "dry_run"])]
    reason: Option<String>,
    /// Show what would go out now against what went out before; send nothing.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: for how many messages.
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
    /// Messages a second, at most.
    #[arg(long)]
    rate: Option<f64>,
    /// Return at once; look at it with --jobs.
    #[arg(long)]
    background: bool,
    /// List replay jobs.
    #[arg(long)]
    jobs: bool,
    /// Stop a replay job; what was replayed stays so.
    #[arg(long, value_name = "JOB")]
    cancel: Option<Uuid>,
}

pub(super) async fn replay(globals: &Globals, args: Args) -> Outcome {
    if args.jobs {
        return jobs(globals).await;
    }
    if let Some(job) = args.cancel {
        let progress: ReplayProgress = connect(globals).await?.call(Operation::CancelReplay(job)).await?;
        if globals.json {
            return print_json(&progress);
        }
        return Ok(match progress.state {
            ReplayState::Done | ReplayState::Cancelled => say!("job {job} had ended: {}", describe(&progress)),
            ReplayState::Running => say!("job {job} stops before its next message; {} are replayed", progress.replayed),
        }?);
    }
    if args.ids.is_empty() && args.select.is_everything() && !args.all {
        return Err(anyhow::anyhow!("say which messages: ids, --state, --channel, --since, …, or --all").into());
    }
    if args.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(anyhow::anyhow!("--rate is messages a second, more than 0").into());
    }
    let request = ReplayRequest {
        destination: args.select.destination().cloned(),
        select: args.select.query(0),
        ids: args.ids,
        reason: signed(&args.reason.unwrap_or_default()),
        rate: args.rate,
    };
    let connection = connect(globals).await?;
    known(&connection, request.select.channel.as_deref(), request.destination.as_deref()).await?;
    if args.dry_run {
        return dry_run(globals, &connection, request, args.limit).await;
    }
    let progress: ReplayProgress = connection.call(Operation::Replay(request)).await?;
    let progress = if args.background { progress } else { follow(&connection, progress).await? };
    if globals.json {
        return print_json(&progress);
    }
    say!("job {}: {}", progress.job, describe(&progress))?;
    Ok(())
}

/// Waits until a job no longer works.
async fn follow(connection: &Connection, mut progress: ReplayProgress) -> anyhow::Result<ReplayProgress> {
    let job = progress.job;
    if progress.state == ReplayState::Running && std::io::stderr().is_terminal() {
        note!("job {job} is at work, also after Ctrl-C; to stop it: tributary replay --cancel {job}");
    }
    while progress.state == ReplayState::Running {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let jobs: Vec<ReplayProgress> = connection.call(Operation::Replays).await?;
        let found = jobs.into_iter().find(|progress| progress.job == job);
        progress = found.ok_or_else(|| anyhow::anyhow!("job {job} is gone"))?;
    }
    Ok(progress)
}

async fn dry_run(globals: &Globals, connection: &Connection, request: ReplayRequest, limit: usize) -> Outcome {
    let differences: Vec<Difference> = connection.call(Operation::ReplayDryRun { request, limit }).await?;
    if globals.json {
        return print_json(&differences);
    }
    differences.iter().try_for_each(print_difference)?;
    let same = differences.iter().filter(|difference| is_same(difference)).count();
    Ok(say!(
        "{} messages compared: {same} would go out as before, {} would not",
        differences.len(),
        differences.len() - same
    )?)
}

/// True if the same would go to the same destinations.
fn is_same(Difference { added, removed, outcome, diff, .. }: &Difference) -> bool {
    added.is_empty() && removed.is_empty() && outcome.is_none() && diff.is_empty()
}

fn print_difference(difference: &Difference) -> Result<(), OutputError> {
    let Difference { message, added, removed, held, outcome, diff } = difference;
    if is_same(difference) && held.is_empty() {
        return Ok(());
    }
    say!("message {message}")?;
    outcome.iter().try_for_each(|outcome| say!("  would be {outcome}"))?;
    held.iter().try_for_each(|held| say!("  would be held for {held}"))?;
    added.iter().try_for_each(|name| say!("  + would go to {name} as well"))?;
    removed.iter().try_for_each(|name| say!("  - would no longer go to {name}"))?;
    print::bytes(print::plain(diff).as_bytes())
}

async fn jobs(globals: &Globals) -> Outcome {
    let jobs: Vec<ReplayProgress> = connect(globals).await?.call(Operation::Replays).await?;
    if globals.json {
        return print_json(&jobs);
    }
    let rows = jobs.iter().map(|progress| {
        [progress.job.to_string(), table::time(progress.began), describe(progress), progress.request.reason.clone()]
    });
    Ok(table::print(["job", "began", "progress", "reason"], rows, "No replays.")?)
}

fn describe(progress: &ReplayProgress) -> String {
    let state = match progress.state {
        ReplayState::Running => "running",
        ReplayState::Done => "done",
        ReplayState::Cancelled => "cancelled",
    };
    let mut text = format!("{state}, {} replayed", progress.replayed);
    if progress.failed > 0 {
        text += &format!(", {} of them failed again", progress.failed);
    }
    if progress.skipped > 0 {
        text += &format!(", {} could not be", progress.skipped);
    }
    text
}
