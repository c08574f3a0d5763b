//! `tributary demo`: the sample site at work, with a stand-in repository and three EMRs that send.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use channels::mllp::{Client, ClientConfig};
use channels::{Stop, Stopper};
use indicatif::{ProgressBar, ProgressStyle};
use message::hl7v2::ack::Acknowledgment;
use message::hl7v2::batch::Batch;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::connection::load_site;
use super::print::{OutputError, say};
use super::run::{self, Running};
use super::{Globals, Outcome, logging, table};
use crate::config::{InboundKind, LogConfig, OutboundKind, Site};
use crate::engine::{Engine, Status, clock};
use crate::repository::{self, Repository};
use crate::store::State;

/// How long the site may take to get everything through.
const PATIENCE: Duration = Duration::from_secs(60);
/// The file that marks a data directory as the demo's own, which it may delete.
const MARKER: &str = ".tributary-demo";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Exit when everything is through; the exit code says whether all is as it should be.
    #[arg(long)]
    once: bool,
    /// Where the messages are that the three EMRs send.
    #[arg(long, default_value = "examples/messages", value_name = "DIR")]
    messages: PathBuf,
}

pub(super) async fn demo(globals: &Globals, args: Args) -> Outcome {
    let data = globals.data.clone().unwrap_or_else(|| PathBuf::from("demo-data"));
    let globals = Globals { data: Some(data.clone()), ..globals.clone() };
    let site = load_site(&globals)?;
    logging::start(&LogConfig { level: "error".to_owned(), ..site.engine.log.clone() });
    say!("Starting the sample site of {} in {}\n", globals.config.display(), data.display())?;

    // Before the folder is emptied: where another demo is up, this address is taken.
    let address = repository_address(&site)?;
    let listener = TcpListener::bind(&address).await;
    let listener = listener.with_context(|| format!("the repository cannot listen on {address}"))?;
    fresh(&data)?;
    let (stopper, stop) = Stopper::new();
    let mut repositories = JoinSet::new();
    let repository = start_repository(listener, stop, &mut repositories);
    say!("  {:<14} http://{address}  (FHIR R4, in memory)", "repository")?;
    let grace = site.engine.grace.0;
    let running = run::start(site, &globals).await?;
    let result = tokio::select! {
        result = work(&running, &repository, &address, &globals, &args) => result,
        told = run::told_to_stop() => told,
    };
    running.stop(grace).await;
    stopper.stop();
    while repositories.join_next().await.is_some() {}
    Ok(result?)
}

/// Shows the site at work; stays until the task is dropped, unless it is to run once.
async fn work(
    running: &Running,
    repository: &Repository,
    address: &str,
    globals: &Globals,
    args: &Args,
) -> anyhow::Result<()> {
    show(running, repository, args).await?;
    if !args.once {
        what_next(globals, running, address).await?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// An empty data directory; one that is not the demo's own is left alone.
fn fresh(data: &Path) -> anyhow::Result<()> {
    let marker = data.join(MARKER);
    if data.exists() {
        ensure!(marker.exists(), "{} is there and is not the demo's: name another folder with --data", data.display());
        std::fs::remove_dir_all(data).with_context(|| format!("cannot empty {}", data.display()))?;
    }
    std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    std::fs::write(marker, "made by `tributary demo`, which deletes this folder when it starts\n")?;
    Ok(())
}

/// Where the site's FHIR destination expects its repository: `host:port`.
fn repository_address(site: &Site) -> anyhow::Result<String> {
    let address = site.destinations.values().find_map(|destination| match &destination.outbound {
        OutboundKind::Fhir(fhir) => {
            fhir.url.as_str().strip_prefix("http://").map(|rest| rest.trim_end_matches('/').to_owned())
        }
        OutboundKind::Mllp(_) | OutboundKind::File(_) => None,
    });
    address.context("the site has no FHIR destination at an http:// address")
}

/// The stand-in repository, until `stop` fires.
fn start_repository(listener: TcpListener, stop: Stop, tasks: &mut JoinSet<()>) -> Repository {
    let repository = Repository::new(repository::Config::default(), clock::clock());
    let serving = repository.clone();
    tasks.spawn(async move {
        if let Err(error) = repository::serve(listener, serving, stop).await {
            tracing::error!(%error, "the repository broke off");
        }
    });
    repository
}

/// Sends, waits, shows, and checks what came of it.
async fn show(running: &Running, repository: &Repository, args: &Args) -> anyhow::Result<()> {
    let engine = &running.engine;
    for (name, address) in engine.bound().await {
        say!("  {name:<14} {address}")?;
    }
    say!()?;
    let site = engine.site().await;
    let sent = send_all(&site, engine, &args.messages).await?;
    let status = wait(engine, sent).await?;
    show_arrivals(&status)?;
    show_patient(repository)?;
    check(&status, sent, repository)
}

/// The three EMRs send what is theirs. Returns the number of messages.
async fn send_all(site: &Site, engine: &Engine, folder: &Path) -> anyhow::Result<u64> {
    let files = messages_in(folder)?;
    let mut sent = 0;
    for channel in site.channels.values() {
        let provider = site.providers.get(&channel.provider).map_or(&*channel.provider, |provider| &*provider.name);
        let bound = engine.bound().await.get(&channel.name).cloned().unwrap_or_default();
        sent += match &channel.inbound {
            InboundKind::Mllp(_) => by_mllp(provider, &bound, &chosen(&files, "adt-", "hl7")).await?,
            InboundKind::Http(_) => by_http(provider, &bound, &chosen(&files, "bundle-", "json")).await?,
            InboundKind::File(file) => by_folder(provider, &file.folder, &chosen(&files, "", "hl7")).await?,
        };
    }
    say!()?;
    Ok(sent)
}

fn messages_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!(
            "the demo sends the messages of {}: run it in the project's folder, or name them with --messages",
            folder.display()
        )
    })?;
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}

/// Files by how their names begin and end. Without a beginning: those that are no EMR's but the laboratory's.
fn chosen<'a>(files: &'a [PathBuf], prefix: &str, extension: &str) -> Vec<&'a PathBuf> {
    let mine = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ours = if prefix.is_empty() { !name.starts_with("adt-") } else { name.starts_with(prefix) };
        ours && path.extension().is_some_and(|found| found == extension)
    };
    files.iter().filter(mine).collect()
}

fn bar(what: &str, files: usize) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(u64::try_from(files)?);
    bar.set_style(ProgressStyle::with_template("  {prefix:<44} {bar:24} {pos}/{len} files")?);
    bar.set_prefix(what.to_owned());
    Ok(bar)
}

async fn by_mllp(provider: &str, address: &str, files: &[&PathBuf]) -> anyhow::Result<u64> {
    let bar = bar(&format!("{provider} sends by MLLP"), files.len())?;
    let mut client = Client::connect(address, ClientConfig::default()).await.with_context(|| address.to_owned())?;
    let mut sent = 0;
    for file in files {
        for message in Batch::split(&Bytes::from(std::fs::read(file)?)).messages {
            let answer = client.exchange(&message).await.with_context(|| file.display().to_string())?;
            let code =
                Acknowledgment::read(&answer).map(|ack| ack.code.to_string()).unwrap_or_else(|_| "none".to_owned());
            ensure!(code == "AA" || code == "CA", "{} was acknowledged with {code}", file.display());
            sent += 1;
        }
        bar.inc(1);
    }
    bar.finish();
    Ok(sent)
}

async fn by_http(provider: &str, address: &str, files: &[&PathBuf]) -> anyhow::Result<u64> {
    let bar = bar(&format!("{provider} posts FHIR Bundles"), files.len())?;
    let http = reqwest::Client::new();
    for file in files {
        let request = http.post(format!("http://{address}/")).header("content-type", "application/fhir+json");
        let response = request.body(std::fs::read(file)?).send().await?;
        ensure!(response.status().is_success(), "{} was answered {}", file.display(), response.status());
        bar.inc(1);
    }
    bar.finish();
    Ok(u64::try_from(files.len())?)
}

async fn by_folder(provider: &str, folder: &Path, files: &[&PathBuf]) -> anyhow::Result<u64> {
    let bar = bar(&format!("{provider} drops files"), files.len())?;
    let mut sent = 0;
    for file in files {
        let bytes = Bytes::from(std::fs::read(file)?);
        sent += u64::try_from(Batch::split(&bytes).messages.len())?;
        let name = file.file_name().context("a file has a name")?;
        let half_written = folder.join(format!(".{}.part", name.to_string_lossy()));
        tokio::fs::write(&half_written, &bytes).await?;
        tokio::fs::rename(&half_written, folder.join(name)).await?;
        bar.inc(1);
    }
    bar.finish();
    Ok(sent)
}

/// Waits until everything that was sent is accepted and settled.
async fn wait(engine: &Engine, sent: u64) -> anyhow::Result<Status> {
    let spinner = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("  {spinner} {msg}")?);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let status = engine.status().await;
        let total: u64 = status.messages.values().sum();
        let count = |state: State| status.messages.get(state.as_str()).copied().unwrap_or(0);
        let open = count(State::Received) + count(State::Queued);
        spinner.set_message(format!("{total} of {sent} accepted, {} through", total - open));
        if total >= sent && open == 0 {
            spinner.finish_and_clear();
            return Ok(status);
        }
        if tokio::time::Instant::now() > deadline {
            bail!("after {} s, {total} of {sent} messages were accepted and {open} still wait", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn show_arrivals(status: &Status) -> Result<(), OutputError> {
    let accepted = status.channels.iter().map(|channel| [channel.name.clone(), channel.accepted.to_string()]);
    table::print(["channel", "accepted"], accepted, "No channels.")?;
    say!()?;
    let rows = status.destinations.iter().map(|destination| {
        let count = |state: State| destination.deliveries.get(state.as_str()).copied().unwrap_or(0).to_string();
        [
            destination.name.clone(),
            count(State::Delivered),
            count(State::Queued),
            count(State::Held),
            count(State::Dead),
        ]
    });
    table::print(["destination", "delivered", "waiting", "held", "dead"], rows, "No destinations.")
}

/// One Patient that arrived, with the Provenance that names it.
fn show_patient(repository: &Repository) -> anyhow::Result<()> {
    let patients = repository.resources("Patient");
    let named = |patient: &&Value| patient.get("name").is_some();
    // One that was converted, by preference: those have the processing id of their message.
    let converted =
        |patient: &&Value| named(patient) && patient.get("meta").is_some_and(|meta| meta.get("tag").is_some());
    let patient = patients
        .iter()
        .find(converted)
        .or_else(|| patients.iter().find(named))
        .context("no Patient arrived at the repository")?;
    let id = patient.get("id").and_then(Value::as_str).unwrap_or_default();
    let reference = format!("Patient/{id}");
    say!(
        "\n{reference} at the repository:\n{}",
        excerpt(patient, &["meta", "identifier", "name", "gender", "birthDate"])
    )?;
    let provenance = repository.resources("Provenance").into_iter().find(|provenance| targets(provenance, &reference));
    let provenance = provenance.with_context(|| format!("no Provenance names {reference}"))?;
    say!("\nWho says so:\n{}", excerpt(&provenance, &["occurredDateTime", "recorded", "activity", "agent", "entity"]))?;
    Ok(())
}

fn targets(provenance: &Value, reference: &str) -> bool {
    let targets = provenance.get("target").and_then(Value::as_array).into_iter().flatten();
    targets.filter_map(|target| target.get("reference")?.as_str()).any(|found| found.starts_with(reference))
}

/// Some elements of a resource, indented.
fn excerpt(resource: &Value, elements: &[&str]) -> String {
    let chosen: serde_json::Map<String, Value> =
        elements.iter().filter_map(|element| Some(((*element).to_owned(), resource.get(*element)?.clone()))).collect();
    format!("{:#}", Value::Object(chosen)).lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Whether all is as it should be.
fn check(status: &Status, sent: u64, repository: &Repository) -> anyhow::Result<()> {
    let accepted: u64 = status.channels.iter().map(|channel| channel.accepted).sum();
    ensure!(accepted == sent, "{sent} messages were sent and {accepted} accepted");
    for state in [State::Failed, State::Dead] {
        let n = status.messages.get(state.as_str()).copied().unwrap_or(0);
        ensure!(n == 0, "{n} messages are {state}: see `tributary messages search --state {state}`");
    }
    let held: u64 = status.destinations.iter().filter_map(|d| d.deliveries.get(State::Held.as_str())).sum();
    ensure!(held > 0, "nothing was held, though the laboratory's results may not be used for research");
    ensure!(repository.counts().values().sum::<usize>() > 0, "nothing arrived at the repository");
    say!(
        "\nAll {sent} messages arrived where they may go. Held: {held}, for a purpose that its source does not allow."
    )?;
    Ok(())
}

/// What to type next, with the addresses and folders of this run.
async fn what_next(globals: &Globals, running: &Running, repository: &str) -> Result<(), OutputError> {
    let program = std::env::args().next().unwrap_or_else(|| "tributary".to_owned());
    let data = globals.data.as_deref().unwrap_or(Path::new("data")).display();
    let flags = format!("-c {} --data {data}", globals.config.display());
    let site = running.engine.site().await;
    let mllp = site.channels.values().find(|channel| matches!(channel.inbound, InboundKind::Mllp(_)));
    let bound = running.engine.bound().await;
    let address = mllp.and_then(|channel| bound.get(&channel.name)).cloned().unwrap_or_default();
    say!(
        "
It stays up until Ctrl-C. In another terminal:
  {program} {flags} status
  {program} {flags} messages list
  {program} {flags} deliveries list --state held
  {program} {flags} replay --state held --dry-run
  {program} send examples/messages/adt-a01.hl7 --to {address}
  curl -s http://{repository}/Patient | head -40

Your own site: {program} init my-site"
    )
}
