//! The stand-in for the regional repository: a small, strict FHIR R4 server in memory, for demos, tests and benches.
//!
//! It takes transaction and batch Bundles, conditional writes, reads and a few searches, and says no
//! to whatever a strict server would: dangling references, overlapping entries, malformed ids. Its
//! [`Behaviour`] makes it slow, failing, full or rude, to see what the engine makes of that. It is no
//! product: nothing is kept when it ends, and anyone who reaches it may write.

mod behave;
mod bundle;
mod capability;
mod content;
mod discard;
mod entry;
mod http;
mod kind;
mod outcome;
mod plan;
mod read;
mod search;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use channels::Clock;
use channels::setting::Size;
use serde_json::Value;

pub use behave::{Behaviour, DropAfter};
pub use serve::serve;

use behave::Switches;
use store::Store;

/// How the repository is set up; also its command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Most resources held; one more is answered 507.
    #[arg(long, value_name = "COUNT", default_value_t = 500_000)]
    pub max_resources: usize,
    /// Longest request body taken; a longer one is answered 413.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub max_body: Size,
    /// Most connections at once; others wait.
    #[arg(long, value_name = "COUNT", default_value_t = 1024)]
    pub max_connections: usize,
    /// Take references to resources that are not there.
    #[arg(long)]
    pub lenient_references: bool,
    /// Answer as if everything was written, but check little and keep nothing: a fast peer for benches.
    #[arg(long)]
    pub discard: bool,
    /// How it misbehaves from the start; `POST /$behave` changes it.
    #[command(flatten)]
    pub behaviour: Behaviour,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_resources: 500_000,
            max_body: Size(64 << 20),
            max_connections: 1024,
            lenient_references: false,
            discard: false,
            behaviour: Behaviour::default(),
        }
    }
}

/// A repository. Clones are the same one, so that a test can look into what it serves.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

/// Is shown the body of every write that was carried out, before its answer leaves.
pub type Seen = Arc<dyn Fn(&Bytes) + Send + Sync>;

struct Inner {
    config: Config,
    clock: Clock,
    seen: Seen,
    switches: Switches,
    store: RwLock<Store>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({:?})", self.counts())
    }
}

impl Repository {
    /// An empty one.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Self {
        Self::watched(config, clock, Arc::new(|_| {}))
    }

    /// An empty one that shows `seen` what it takes.
    #[must_use]
    pub fn watched(config: Config, clock: Clock, seen: Seen) -> Self {
        let switches = Switches::new(config.behaviour.clone());
        let store = RwLock::new(Store::new(config.max_resources));
        Self(Arc::new(Inner { config, clock, seen, switches, store }))
    }

    /// All resources of a type, such as `"Patient"`, in the order they were first written, deleted
    /// ones left out. Each has its `id`, `meta.versionId` and `meta.lastUpdated`.
    #[must_use]
    pub fn resources(&self, resource_type: &str) -> Vec<Value> {
        let Some(kind) = kind::kind(resource_type) else { return Vec::new() };
        let store = self.store();
        store.all(kind).into_iter().filter_map(|id| store.current(kind, id)).map(|version| version.render()).collect()
    }

    /// One resource as it stands.
    #[must_use]
    pub fn resource(&self, resource_type: &str, id: &str) -> Option<Value> {
        self.store().current(kind::kind(resource_type)?, id).map(store::Version::render)
    }

    /// How many resources there are of each type, deleted ones left out.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.store().counts()
    }

    /// How many versions were ever written: it stands still when what is sent changes nothing.
    #[must_use]
    pub fn versions(&self) -> u64 {
        self.store().versions()
    }

    /// How many requests have come, those to `/$behave` and `/$counts` left out.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.switches.requests()
    }

    /// Changes how it misbehaves, from the next request on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.0.switches.set(behaviour);
    }

    fn store(&self) -> std::sync::RwLockReadGuard<'_, Store> {
        self.0.store.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn store_mut(&self) -> std::sync::RwLockWriteGuard<'_, Store> {
        self.0.store.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
