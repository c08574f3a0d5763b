//! The switches that make it slow, failing, full or rude.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use channels::setting::Span;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::outcome::Refusal;

/// How it misbehaves; by default, not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Wait so long before each answer.
    #[arg(long, value_name = "TIME", value_parser = |text: &str| Span::try_from(text.to_owned()))]
    pub latency: Option<Span>,
    /// Answer with this status, such as 503, and do nothing.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(400..600))]
    pub fail: Option<u16>,
    /// Ask for another try after so many seconds, with every failure.
    #[arg(long, value_name = "SECONDS")]
    pub retry_after: Option<u32>,
    /// Answer 401 to everything.
    #[arg(long)]
    pub unauthorized: bool,
    /// Answer 507 to every write.
    #[arg(long)]
    pub full: bool,
    /// Close the connection without an answer: once the request is read, or once it is carried out.
    #[arg(long, value_name = "WHEN")]
    pub drop_after: Option<DropAfter>,
    /// Fail or drop only every so-many-th request.
    #[arg(long, value_name = "COUNT")]
    pub every: Option<NonZeroU64>,
    /// Fail or drop only so many times, and then be well.
    #[arg(long, value_name = "COUNT")]
    pub times: Option<u64>,
    /// Answer 422 to resources of this type; may be given more than once.
    #[arg(long, value_name = "TYPE")]
    pub refuse: Vec<String>,
}

/// When a connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DropAfter {
    /// The request is read, and nothing is done.
    Read,
    /// The request is carried out, but its sender does not hear of it.
    Stored,
}

/// What is in store for one request.
pub(super) struct Fate {
    pub(super) behaviour: Arc<Behaviour>,
    /// True if this is one of those that fail.
    strikes: bool,
}

impl Fate {
    pub(super) fn drops(&self, after: DropAfter) -> bool {
        self.strikes && self.behaviour.drop_after == Some(after)
    }

    /// The failure that it is to answer with, if any.
    pub(super) fn failure(&self, is_write: bool) -> Option<Refusal> {
        let behaviour = self.strikes.then_some(&*self.behaviour)?;
        let refusal = if behaviour.unauthorized {
            Refusal::new(StatusCode::UNAUTHORIZED, "login", "the credentials are not taken (--unauthorized)")
        } else if behaviour.full && is_write {
            Refusal::new(StatusCode::INSUFFICIENT_STORAGE, "no-store", "the repository is full (--full)")
        } else {
            let status = StatusCode::from_u16(behaviour.fail?).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Refusal::new(status, "transient", "the repository fails as it was told to (--fail)")
        };
        Some(refusal.retry_after(behaviour.retry_after))
    }

    /// # Errors
    ///
    /// 422 if resources of this type are refused.
    pub(super) fn check(&self, kind: Kind) -> Result<(), Refusal> {
        if self.behaviour.refuse.iter().any(|refused| refused == kind) {
            let text = format!("resources of type {kind} are refused (--refuse)");
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "business-rule", text));
        }
        Ok(())
    }
}

/// The behaviour in force, and how many requests have met it.
pub(super) struct Switches {
    behaviour: ArcSwap<Behaviour>,
    /// Since the behaviour was set.
    met: AtomicU64,
    requests: AtomicU64,
}

impl Switches {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self { behaviour: ArcSwap::from_pointee(behaviour), met: AtomicU64::new(0), requests: AtomicU64::new(0) }
    }

    pub(super) fn set(&self, behaviour: Behaviour) {
        self.met.store(0, Ordering::Relaxed);
        self.behaviour.store(Arc::new(behaviour));
    }

    pub(super) fn get(&self) -> Arc<Behaviour> {
        self.behaviour.load_full()
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The fate of the request that has just come.
    pub(super) fn next(&self) -> Fate {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let behaviour = self.get();
        let number = self.met.fetch_add(1, Ordering::Relaxed) + 1;
        let every = behaviour.every.map_or(1, NonZeroU64::get);
        let strikes = number.is_multiple_of(every) && behaviour.times.is_none_or(|times| number / every <= times);
        Fate { behaviour, strikes }
    }
}
