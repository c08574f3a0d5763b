//! What is asked of others before something leaves: what a decision service says of consent, and which identifiers an
//! identity manager, or the site's own table, holds for one person's.
//!
//! A service that does not answer makes what would ask it wait, never go. It is spared meanwhile, tried now and then,
//! and all that waits is decided about again once it is back.

mod breaker;
mod consult;
mod fixed;
mod identity;
mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub(super) use self::consult::{Question, SOON};
pub(super) use self::identity::Identified;

use self::breaker::{Breaker, Turn};
use self::consult::ConsentService;
use self::fixed::Fixed;
use self::identity::Identities;
use super::super::process::Hash;
use crate::config::{ConsentConfig, Site};

/// Everyone that is asked.
pub(super) struct Services {
    consent: BTreeMap<String, ConsentService>,
    identities: Identities,
    fixed: Fixed,
    back: Arc<Back>,
}

/// That a service answers again: what it was asked in vain is decided about again.
#[derive(Default)]
pub(super) struct Back {
    /// How often that was so.
    pub(super) times: AtomicU64,
    /// Told each time.
    pub(super) told: Notify,
}

/// How a service that is asked stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// `consent` or `identity`.
    pub kind: String,
    /// Its name in `services.toml`.
    pub name: String,
    /// False while it does not answer.
    pub up: bool,
    /// Questions that it answered.
    pub answered: u64,
    /// Questions in vain.
    pub in_vain: u64,
    /// Answers that were used again.
    pub kept: u64,
    /// Of these, those that were used because no new one came.
    pub stale: u64,
}

impl Services {
    /// Those that the site names. One whose certificates cannot be read never answers. `back` is told when one answers
    /// again.
    pub(super) fn new(rules: &ConsentConfig, hash: &Hash, back: Arc<Back>) -> Self {
        let consent = rules.services.consent.iter();
        let consent = consent.map(|(name, config)| (name.clone(), ConsentService::new(name, config)));
        let (identities, fixed) = (Identities::new(rules, hash), Fixed::new(rules, hash));
        Self { consent: consent.collect(), identities, fixed, back }
    }

    /// The decision service of this name.
    pub(super) fn consent(&self, name: &str) -> Option<&ConsentService> {
        self.consent.get(name)
    }

    /// Who is who.
    pub(super) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The Consents that are on file from the start.
    pub(super) fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    fn breakers(&self) -> impl Iterator<Item = (Option<&str>, &Breaker)> {
        let consent = self.consent.iter().map(|(name, service)| (Some(name.as_str()), service.breaker()));
        consent.chain(self.identities.breaker().map(|breaker| (None, breaker)))
    }

    /// When the next of those that are down is to be tried.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.breakers().filter_map(|(_, breaker)| breaker.next_try()).min()
    }

    /// The destinations of `site` of which something that waits is to try a service that is down and due, one list a
    /// service.
    pub(super) fn to_try<'a>(&self, site: &'a Site, now: Instant) -> Vec<Vec<&'a str>> {
        let mut lists = Vec::new();
        for (name, breaker) in self.breakers().filter(|(_, breaker)| breaker.next_try().is_some_and(|at| at <= now)) {
            breaker.postpone(now);
            let asks = |one: &&crate::config::DestinationConfig| match name {
                Some(name) => one.consent_service.as_deref() == Some(name),
                None => one.policy.is_some(),
            };
            lists.push(site.destinations.values().filter(asks).map(|one| one.name.as_str()).collect());
        }
        lists
    }

    /// Says that a question was answered.
    fn answered(&self, kind: &'static str, name: &str, turn: Turn<'_>) {
        if turn.answered() {
            tracing::info!(kind, service = name, "it answers again");
            self.back.times.fetch_add(1, Ordering::AcqRel);
            self.back.told.notify_one();
        }
    }

    /// How each stands.
    pub(super) fn status(&self) -> Vec<ServiceStatus> {
        let consent = self.consent.values().map(ConsentService::status);
        consent.chain(self.identities.status()).collect()
    }
}

/// Says that a question was not answered.
fn in_vain(kind: &'static str, name: &str, turn: Turn<'_>, reason: &str) {
    if turn.in_vain(Instant::now()) {
        tracing::error!(kind, service = name, reason, "it does not answer: what would ask it waits");
    }
}
