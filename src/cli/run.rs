//! `tributary run`: the site, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use channels::{Stop, Stopper};
use message::audit::Kind;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::connection::{load_site, open_store, socket};
use super::{Globals, Outcome, logging};
use crate::admin::{Desk, Operation, Source, perform, server};
use crate::audit::{Follower, shippers};
use crate::config::{Overrides, Site};
use crate::engine::{Engine, clock};
use crate::store::{Act, Record};

#[derive(clap::Args)]
#[command(
    after_help = "SIGTERM, Ctrl-C   reads nothing new, finishes what is in hand, exits 0; a second one stops at once
SIGHUP            reloads: what has changed is exchanged, a configuration with mistakes changes nothing
kill -9           loses nothing that was acknowledged

The exit code is 78 if the configuration cannot be used, 1 if it cannot run. Logs go to standard error;
RUST_LOG=debug shows each message's way. The other commands talk to it while it runs:

  tributary run -c /etc/tributary
  tributary status -c /etc/tributary"
)]
pub(super) struct Args {}

pub(super) async fn run(globals: &Globals, Args {}: Args) -> Outcome {
    let site = load_site(globals)?;
    logging::start(&site.engine.log);
    let grace = site.engine.grace.0;
    let mut running = start(site, globals).await?;
    while let Told::Reopen(site) = running.until_told(grace).await? {
        running = start_again(&site, globals).await?;
    }
    Ok(())
}

/// What ends a run.
enum Told {
    /// A signal.
    Stop,
    /// The store must be opened again, for this site.
    Reopen(Arc<Site>),
}

/// How often, and with which wait between, a store is opened again before that is given up.
const OPENINGS: u32 = 30;
const BETWEEN_OPENINGS: Duration = Duration::from_secs(1);
/// What is in hand when the store is opened again may take this long; it is taken up again after that.
const REOPENING_GRACE: Duration = Duration::from_secs(2);
/// How long the audit may take to tell the rest, and the doors to close; what is not told is told at the next start.
const DOORS_GRACE: Duration = Duration::from_secs(5);

/// Starts a site again once its store can be opened.
async fn start_again(site: &Arc<Site>, globals: &Globals) -> anyhow::Result<Running> {
    let mut tries = 0;
    loop {
        tries += 1;
        match start(Site::clone(site), globals).await {
            Err(error) if tries < OPENINGS => {
                tracing::error!(error = format!("{error:#}"), "cannot start again yet");
                tokio::time::sleep(BETWEEN_OPENINGS).await;
            }
            started => return started,
        }
    }
}

/// An engine with its doors open.
pub(super) struct Running {
    pub(super) engine: Arc<Engine>,
    desk: Arc<Desk>,
    doors: JoinSet<()>,
    stopper: Stopper,
}

/// Opens the store, starts the engine and opens its doors.
pub(super) async fn start(site: Site, globals: &Globals) -> anyhow::Result<Running> {
    let (socket, data_dir) = (socket(&site), site.engine.data_dir.clone());
    let admin = site.engine.admin.clone();
    let store = open_store(&site).context("the store cannot be opened")?;
    let follower = Follower::open(&store, &site.engine, &clock::clock()).context("the audit cannot go on")?;
    let shippers = shippers(&site.engine, &clock::clock()).context("the audit cannot be taken elsewhere")?;
    let engine = Engine::start(site, store, clock::clock()).await?;
    note(&engine, Kind::Start).await?;
    let (version, data_dir) = (env!("CARGO_PKG_VERSION"), data_dir.display());
    tracing::info!(version, pid = std::process::id(), %data_dir, "up");
    let source = Source { dir: globals.config.clone(), overrides: Overrides { data_dir: globals.data.clone() } };
    let desk = Arc::new(Desk::Engine(Arc::clone(&engine), source));
    let (stopper, stop) = Stopper::new();
    let mut doors = JoinSet::new();
    let listener = server::bind_socket(&socket).with_context(|| format!("cannot open {}", socket.display()))?;
    doors.spawn(server::serve_operators(listener, Arc::clone(&desk), stop.clone()));
    if let Some(address) = admin.listen {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("cannot listen on {address} for metrics"))?;
        tracing::info!(address = %listener.local_addr()?, "metrics and health");
        doors.spawn(server::serve_metrics(listener, Arc::clone(&engine), stop.clone()));
    }
    let followed = Arc::clone(&engine);
    let site = move || {
        let engine = Arc::clone(&followed);
        async move { engine.site().await }
    };
    doors.spawn(follower.run(site, Arc::clone(engine.audit()), stop.clone()));
    for shipper in shippers {
        doors.spawn(shipper.run(Arc::clone(engine.audit()), stop.clone()));
    }
    doors.spawn(keep_systemd_informed(stop));
    Ok(Running { engine, desk, doors, stopper })
}

impl Running {
    /// Works until SIGTERM or SIGINT; SIGHUP reloads. A second signal ends it at once. A full disk may
    /// break the index of the store: then it ends as well, as soon as there is room to build it again.
    async fn until_told(self, grace: Duration) -> anyhow::Result<Told> {
        let mut hang_up = signal(SignalKind::hangup())?;
        let told = told_to_stop();
        tokio::pin!(told);
        loop {
            tokio::select! {
                told = &mut told => break told?,
                _ = hang_up.recv() => self.reload().await,
                () = self.broken() => return Ok(self.end_to_reopen().await),
            }
        }
        tracing::info!(grace = ?grace, "stopping: nothing new is read, what is in hand is finished");
        tokio::select! {
            () = self.stop(grace) => {}
            again = told_to_stop() => {
                again?;
                tracing::warn!("told again: stopped at once; what is in hand is on disk, and is taken up again");
            }
        }
        Ok(Told::Stop)
    }

    /// Returns once the store must be opened again, and can be.
    async fn broken(&self) {
        while !self.engine.store().wants_reopening() {
            tokio::time::sleep(BETWEEN_OPENINGS).await;
        }
    }

    async fn end_to_reopen(self) -> Told {
        tracing::warn!("the store cannot go on as it is, and there is room: opening it again, from the log");
        let site = self.engine.site().await;
        self.stop(REOPENING_GRACE).await;
        Told::Reopen(site)
    }

    async fn reload(&self) {
        // Since version 253 systemd wants to know when the reload began.
        let reloading = [NotifyState::Reloading].into_iter().chain(NotifyState::monotonic_usec_now().ok());
        tell_systemd(&reloading.collect::<Vec<_>>());
        match perform(&self.desk, Operation::Reload).await {
            Ok(report) => match kept(&report) {
                0 => tracing::info!("reloaded"),
                kept => tracing::warn!(kept, "reloaded, but for those that go on as they were"),
            },
            Err(error) => {
                tracing::error!(problems = error.line(), "not reloaded: the old configuration goes on");
            }
        }
        tell_systemd(&[NotifyState::Ready]);
    }

    /// Ends everything in order, within `grace`.
    pub(super) async fn stop(mut self, grace: Duration) {
        tell_systemd(&[NotifyState::Stopping]);
        self.engine.stop(grace).await;
        if let Err(error) = note(&self.engine, Kind::Stop).await {
            tracing::warn!(%error, "the audit does not tell of this stop");
        }
        self.stopper.stop();
        let doors = async { while self.doors.join_next().await.is_some() {} };
        if tokio::time::timeout(DOORS_GRACE, doors).await.is_err() {
            self.doors.shutdown().await;
        }
        if let Err(error) = self.engine.store().clone().close().await {
            tracing::warn!(%error, "the store did not close cleanly: nothing is lost");
        }
        tracing::info!("stopped");
    }
}

/// Tells the audit that the engine starts or stops, and with which configuration.
async fn note(engine: &Engine, kind: Kind) -> anyhow::Result<()> {
    let sha256 = engine.site().await.hash.parse().ok();
    let act = Act { sha256, ..Act::new(kind, "", concat!("version ", env!("CARGO_PKG_VERSION"))) };
    engine.store().commit_synced(vec![Record::Act { at: clock::now(), act }]).await?;
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn told_to_stop() -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Tells systemd how we are; without systemd there is nobody to tell.
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!(%error, "systemd cannot be told how we are");
    }
}

/// Tells systemd that the engine is ready, and keeps its watchdog fed.
async fn keep_systemd_informed(mut stop: Stop) {
    tell_systemd(&[NotifyState::Ready]);
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return;
    }
    let interval = Duration::from_micros(micros) / 2;
    while stop.or(tokio::time::sleep(interval)).await.is_some() {
        tell_systemd(&[NotifyState::Watchdog]);
    }
}

/// How many parts of a site a reload has left as they were, because the new ones would not do.
fn kept(report: &serde_json::Value) -> usize {
    let parts = report.as_array().map_or(&[][..], Vec::as_slice);
    parts.iter().filter(|part| !part.get("error").is_none_or(serde_json::Value::is_null)).count()
}
