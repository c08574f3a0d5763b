//! `tributary replay`: stored messages through today's transforms, consent and routes again.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use message::MessageId;
use uuid::Uuid;

use super::connection::{Connection, connect};
use super::operate::{print_json, signed};
use super::print::{self, OutputError, note, say};
use super::select::{Select, known};
use super::{Globals, Outcome, table};
use crate::admin::Operation;
use crate::engine::{Difference, Differences, ReplayProgress, ReplayRequest, ReplayState};

#[derive(clap::Args)]
#[command(after_help = "Replayed messages take the place of their open deliveries, and of dead letters; what was
delivered before is sent again, which changes nothing at a FHIR destination unless the maps did.
They leave now, behind what their patients have had since: an old update can undo a newer one.
To send one dead letter in its old place instead: tributary deliveries release NUMBER.

  tributary replay --state dead --destination regional-repository --dry-run
  tributary replay --state dead --destination regional-repository --reason 'server mended'
  tributary replay 01890a5d-ac96-774b-bcce-b302099a8057 --reason 'map corrected'
  tributary replay --channel st-mary-adt --since 7d --rate 20 --background --reason 'new maps'
  tributary replay --jobs
  tributary replay --cancel JOB
  tributary replay --resume JOB")]
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
    #[arg(long, required_unless_present_any = ["jobs", "cancel", "resume", "dry_run"])]
    reason: Option<String>,
    /// Show what would go out now against what went out before; send nothing.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: for how many messages.
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
    /// Messages a second, at most.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Return at once; look at it with --jobs.
    #[arg(long)]
    background: bool,
    /// List replay jobs.
    #[arg(long, conflicts_with_all = ["cancel", "resume", "dry_run"])]
    jobs: bool,
    /// Stop a replay job; what was replayed stays so.
    #[arg(long, value_name = "JOB", conflicts_with = "resume")]
    cancel: Option<Uuid>,
    /// Take up a replay job again that was cancelled, where it stopped.
    #[arg(long, value_name = "JOB")]
    resume: Option<Uuid>,
}

/// A rate that can be kept.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "messages a second: a number above 0, such as 20 or 0.5".to_owned())
}

pub(super) async fn replay(globals: &Globals, args: Args) -> Outcome {
    if args.jobs {
        return jobs(globals).await;
    }
    if let Some(job) = args.cancel {
        return cancel(globals, job).await;
    }
    if let Some(job) = args.resume {
        let connection = connect(globals).await?;
        let progress = connection.call(Operation::ResumeReplay(job)).await?;
        return end(globals, &connection, progress, args.background).await;
    }
    if args.ids.is_empty() && args.select.is_everything() && !args.all {
        return Err(anyhow::anyhow!("say which messages: ids, --state, --channel, --since, …, or --all").into());
    }
    let request = ReplayRequest {
        destination: args.select.destination().cloned(),
        select: args.select.query(),
        ids: args.ids,
        reason: signed(&args.reason.unwrap_or_default()),
        rate: args.rate,
    };
    let connection = connect(globals).await?;
    known(&connection, request.select.channel.as_deref(), request.destination.as_deref()).await?;
    if args.dry_run {
        return dry_run(globals, &connection, request, args.limit).await;
    }
    let progress = connection.call(Operation::Replay(request)).await?;
    end(globals, &connection, progress, args.background).await
}

/// Waits for a job, unless that is to go on alone, and says how it stands.
async fn end(globals: &Globals, connection: &Connection, progress: ReplayProgress, background: bool) -> Outcome {
    let progress = if background { progress } else { follow(connection, progress).await? };
    if globals.json {
        return print_json(&progress);
    }
    Ok(say!("job {}: {}", progress.job, describe(&progress))?)
}

async fn cancel(globals: &Globals, job: Uuid) -> Outcome {
    let progress: ReplayProgress = connect(globals).await?.call(Operation::CancelReplay(job)).await?;
    if globals.json {
        return print_json(&progress);
    }
    Ok(match progress.state {
        ReplayState::Running => say!("job {job} stops before its next message; {} are replayed", progress.replayed),
        ReplayState::Done | ReplayState::Cancelled => say!("job {job}: {}", describe(&progress)),
    }?)
}

/// Waits until a job no longer works, showing on a terminal how far it is.
async fn follow(connection: &Connection, mut progress: ReplayProgress) -> anyhow::Result<ReplayProgress> {
    let job = progress.job;
    // Where there is no terminal, this shows nothing.
    let spinner = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    if progress.state == ReplayState::Running && std::io::stderr().is_terminal() {
        note!("job {job} is at work, also after Ctrl-C; to stop it: tributary replay --cancel {job}");
    }
    while progress.state == ReplayState::Running {
        spinner.set_message(describe(&progress));
        tokio::time::sleep(Duration::from_millis(200)).await;
        let jobs: Vec<ReplayProgress> = connection.call(Operation::Replays).await?;
        let found = jobs.into_iter().find(|progress| progress.job == job);
        progress = found.ok_or_else(|| anyhow::anyhow!("job {job} is gone"))?;
    }
    spinner.finish_and_clear();
    Ok(progress)
}

async fn dry_run(globals: &Globals, connection: &Connection, request: ReplayRequest, limit: usize) -> Outcome {
    let differences: Differences = connection.call(Operation::ReplayDryRun { request, limit }).await?;
    if globals.json {
        return print_json(&differences);
    }
    let Differences { compared, more } = &differences;
    compared.iter().try_for_each(print_difference)?;
    let same = compared.iter().filter(|difference| is_same(difference)).count();
    let first = if *more { "the first " } else { "" };
    let messages = if compared.len() == 1 { "message" } else { "messages" };
    say!(
        "{first}{} {messages} compared: {same} would go out as before, {} would not",
        compared.len(),
        compared.len() - same
    )?;
    Ok(if *more { say!("There are more: ask for them with --limit.") } else { Ok(()) }?)
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
