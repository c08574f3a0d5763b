//! `tributary run`: the site, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use channels::{Stop, Stopper};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::connection::{load_site, open_store, socket};
use super::{Globals, Outcome, logging};
use crate::admin::{Desk, Operation, Source, perform, server};
use crate::config::{Overrides, Site};
use crate::engine::{Engine, clock};

#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(globals: &Globals, Args {}: Args) -> Outcome {
    let site = load_site(globals)?;
    logging::start(&site.engine.log);
    let grace = site.engine.grace.0;
    let running = start(site, globals).await?;
    running.until_told(grace).await?;
    Ok(())
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
    let socket = socket(&site);
    let admin = site.engine.admin.clone();
    let store = open_store(&site).context("the store cannot be opened")?;
    let engine = Engine::start(site, store, clock::clock()).await?;
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
    doors.spawn(tell_systemd(stop));
    Ok(Running { engine, desk, doors, stopper })
}

impl Running {
    /// Works until SIGTERM or SIGINT; SIGHUP reloads.
    async fn until_told(self, grace: Duration) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => self.reload().await,
            }
        }
        tracing::info!("stopping: nothing new is read, what is in hand is finished");
        self.stop(grace).await;
        Ok(())
    }

    async fn reload(&self) {
        drop(sd_notify::notify(false, &[sd_notify::NotifyState::Reloading]));
        match perform(&self.desk, Operation::Reload).await {
            Ok(_) => tracing::info!("reloaded"),
            Err(error) => tracing::error!(%error, "not reloaded: the old configuration goes on"),
        }
        drop(sd_notify::notify(false, &[sd_notify::NotifyState::Ready]));
    }

    /// Ends everything in order, within `grace`.
    pub(super) async fn stop(mut self, grace: Duration) {
        drop(sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]));
        self.engine.stop(grace).await;
        self.stopper.stop();
        let doors = async { while self.doors.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(1), doors).await.is_err() {
            self.doors.shutdown().await;
        }
        if let Err(error) = self.engine.store().clone().close().await {
            tracing::warn!(%error, "the store did not close cleanly: nothing is lost");
        }
        tracing::info!("stopped");
    }
}

/// Tells systemd that the engine is ready, and keeps its watchdog fed.
async fn tell_systemd(mut stop: Stop) {
    // Without systemd there is nobody to tell.
    drop(sd_notify::notify(false, &[sd_notify::NotifyState::Ready]));
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return;
    }
    let interval = Duration::from_micros(micros) / 2;
    while stop.or(tokio::time::sleep(interval)).await.is_some() {
        drop(sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]));
    }
}
