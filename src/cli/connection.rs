//! Whom a command talks to: the running engine, or the store itself where none is up.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::print::note;
use super::{Failure, Globals, logging};
use crate::admin::{Desk, Operation, OperationError, client::Client, perform};
use crate::config::{self, LogConfig, Overrides, Site};
use crate::engine::clock;
use crate::store::{Store, StoreError, StoreOptions};

/// An open way to carry operations out.
pub(super) enum Connection {
    /// An engine is up.
    Live(Client),
    /// None is: the store is open here.
    Offline(Box<Desk>),
}

impl Connection {
    /// Has an operation carried out.
    pub(super) async fn call<T: DeserializeOwned>(&self, operation: Operation) -> Result<T, OperationError> {
        match self {
            Self::Live(client) => client.call(&operation).await,
            Self::Offline(desk) => {
                let answer = perform(desk, operation).await?;
                serde_json::from_value(answer).map_err(OperationError::failed)
            }
        }
    }
}

/// Reads the site, printing every mistake in it.
pub(super) fn load_site(globals: &Globals) -> Result<Site, Failure> {
    config::load_with(&globals.config, &overrides(globals), &variable).map_err(|problems| {
        let report = config::check::Report { site: None, problems };
        note!("{}", report.render(true, std::io::stderr().is_terminal()));
        Failure::Config
    })
}

fn overrides(globals: &Globals) -> Overrides {
    Overrides { data_dir: globals.data.clone() }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where the engine of a site answers operators.
pub(super) fn socket(site: &Site) -> PathBuf {
    site.engine.admin.socket.clone()
}

/// How the site's store is opened.
pub(super) fn store_options(site: &Site) -> StoreOptions {
    let config = &site.engine.store;
    let mut options = StoreOptions::new(site.engine.data_dir.clone());
    options.segment_bytes = config.segment.0;
    options.big_threshold = config.big_threshold.as_usize();
    options.duplicate_window = config.duplicate_window.0;
    options.keep = config.keep.0;
    options.min_free_bytes = config.min_free.0;
    options.ballast_bytes = config.ballast.0;
    options.encryption_key = config.key();
    options.in_flight_bytes = site.engine.limits.max_bytes_in_flight.as_usize();
    options
}

/// Opens the site's store, telling the operator what was found damaged.
pub(super) fn open_store(site: &Site) -> Result<Store, StoreError> {
    let (store, report) = Store::open(store_options(site), clock::now())?;
    if let Some(why) = &report.rebuilt {
        tracing::warn!(why, records = report.replayed, "the index was built again from the log");
    }
    if report.torn_bytes > 0 {
        tracing::info!(bytes = report.torn_bytes, "the log's unfinished end was cut: none of it had been answered for");
    }
    for damage in &report.damages {
        tracing::error!(%damage, "the log is damaged there: kept aside, the rest is whole; run `tributary verify`");
    }
    Ok(store)
}

/// Talks to the running engine, or opens the store.
pub(super) async fn connect(globals: &Globals) -> Result<Connection, Failure> {
    // An engine that runs is reached whatever has happened to its files meanwhile.
    if let Some(socket) = config::admin_socket(&globals.config, &overrides(globals), &variable)
        && let Some(client) = Client::connect(&socket).await?
    {
        return Ok(Connection::Live(client));
    }
    let site = load_site(globals)?;
    if !site.engine.data_dir.exists() {
        let dir = site.engine.data_dir.display();
        return Err(
            anyhow::anyhow!("no engine is running, and there is no store at {dir}: `tributary run` makes one").into()
        );
    }
    // What is found damaged at opening must be seen.
    logging::start(&LogConfig { level: "warn".to_owned(), ..LogConfig::default() });
    let store = open_store(&site).context("no engine answers, and its store cannot be opened")?;
    Ok(Connection::Offline(Box::new(Desk::Store(store, Box::new(site)))))
}
