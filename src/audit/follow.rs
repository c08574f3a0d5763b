//! Follows the log, and appends to the chain what it tells.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use channels::{Clock, Stop};
use jiff::Timestamp;
use message::audit::{Event, Kind, Observer};
use uuid::Uuid;

use super::derive::{self, Context};
use super::line::Place;
use super::{AuditError, Chain, Signer, Standing, folder};
use crate::config::{EngineConfig, Site};
use crate::store::{Followed, Store};

/// So many records are read at once.
const AT_ONCE: usize = 500;
/// How often the log is looked at when nothing new was in it, and after a failure.
const WAIT: Duration = Duration::from_millis(200);
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How long the same failure is not logged again, and after how long it is tried again to sign.
const QUIET: Duration = Duration::from_secs(60);
const SIGN_AGAIN: Duration = Duration::from_secs(5);
/// How long a line may wait for a signature.
const SIGN_WITHIN: Duration = Duration::from_secs(60);

/// The engine of a site, as its audit names it.
#[must_use]
pub fn observer(engine: &EngineConfig) -> Observer {
    Observer { base_uri: engine.base_uri.clone(), name: engine.name.clone(), operator: engine.operator.clone() }
}

/// Follows the log of a store.
pub struct Follower {
    store: Store,
    clock: Clock,
    dir: PathBuf,
    chain: Chain,
    /// Where the log is read next.
    mark: crate::store::Mark,
    /// When the last event of the log happened.
    last: Timestamp,
    /// When it is to be signed at the latest, and why it could not be.
    sign_at: Instant,
    unsigned: Option<String>,
    /// How far the chain may be behind while things are delivered.
    max_behind: Duration,
    /// Who is told how it stands.
    standing: Option<Arc<Standing>>,
}

impl Follower {
    /// Goes on with the chain of a data directory where it ended. From then on the store keeps what is not told yet.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if the chain or the key cannot be opened.
    pub fn open(store: &Store, engine: &EngineConfig, clock: &Clock) -> Result<Self, AuditError> {
        let dir = folder(&engine.data_dir);
        let signer = Signer::open(&engine.audit.key(&engine.data_dir))?;
        let chain = Chain::open(&dir, engine.audit.anchor.clone(), signer)?;
        store.keep_from(chain.durable());
        let (store, clock, mark, last) = (store.clone(), clock.clone(), chain.mark(), chain.last());
        let (sign_at, max_behind) = (Instant::now() + SIGN_WITHIN, engine.audit.max_behind.0);
        Ok(Self { store, clock, dir, chain, mark, last, sign_at, unsigned: None, max_behind, standing: None })
    }

    /// Follows until `stop` fires, then tells the rest. `site` is the one in force; `standing` is told of it.
    pub async fn run<F: Future<Output = Arc<Site>>>(
        mut self,
        site: impl Fn() -> F,
        standing: Arc<Standing>,
        mut stop: Stop,
    ) {
        standing.follow(self.store.next_record(), self.max_behind);
        self.standing = Some(Arc::clone(&standing));
        self.report(&standing);
        let mut said = None::<(String, Instant)>;
        let mut in_force = site().await;
        loop {
            // While something is drained and exchanged it goes on by what was in force: deliveries wait for it.
            if let Ok(now) = tokio::time::timeout(WAIT, site()).await {
                in_force = now;
            }
            let wait = match self.catch_up(&in_force).await {
                Ok(()) => {
                    self.report(&standing);
                    standing.passed();
                    said = None;
                    WAIT
                }
                Err(error) => {
                    let error = error.line();
                    standing.failed(error.clone());
                    if said.as_ref().is_none_or(|(last, at)| *last != error || at.elapsed() > QUIET) {
                        tracing::error!(error, "the audit cannot be written; nothing of it is lost");
                        said = Some((error, Instant::now()));
                    }
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.stopped() => break,
                () = standing.asked() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if let Err(error) = self.finish(&in_force).await {
            tracing::warn!(error = error.line(), "the audit's last lines are told at the next start");
        }
        self.report(&standing);
        standing.finished();
    }

    fn report(&self, standing: &Standing) {
        standing.written(self.chain.lines(), self.chain.signed(), self.unsigned.clone());
    }

    /// Tells all that the log has by now.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; what was not told is told by the next call.
    pub async fn catch_up(&mut self, site: &Site) -> Result<(), AuditError> {
        loop {
            let next = self.store.next_record();
            let tail = self.store.tail(self.mark, AT_ONCE).await?;
            let idle = tail.items.is_empty() && tail.end == self.mark;
            for damage in &tail.lost {
                tracing::error!(%damage, "part of the log cannot be read: the audit lacks what it told of");
            }
            self.tell(&tail.items, site);
            self.gaps(&tail);
            self.chain.flush()?;
            self.mark = tail.end;
            if let Some(standing) = self.standing.clone() {
                self.report(&standing);
                let told = tail.items.last().map_or(0, |followed| followed.sequence + 1);
                standing.told(if idle { u64::MAX } else { told }, next);
            }
            let now = Instant::now();
            if now >= self.sign_at || (self.unsigned.is_none() && self.chain.wants_signature()) {
                self.sign_if_possible(now)?;
            }
            if idle {
                return Ok(());
            }
        }
    }

    /// Tells all that the log has, and signs it.
    ///
    /// # Errors
    ///
    /// As [`Follower::catch_up`].
    pub async fn finish(&mut self, site: &Site) -> Result<(), AuditError> {
        self.catch_up(site).await?;
        self.sign()
    }

    /// Where its chain is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Signs, but where checkpoints cannot be written elsewhere: then lines are written on, and that is told.
    fn sign_if_possible(&mut self, now: Instant) -> Result<(), AuditError> {
        match self.sign() {
            Err(error @ AuditError::Anchor { .. }) => {
                let error = error.line();
                if self.unsigned.as_ref() != Some(&error) {
                    tracing::error!(error, "the audit is written, and cannot be signed");
                }
                (self.unsigned, self.sign_at) = (Some(error), now + SIGN_AGAIN);
                Ok(())
            }
            signed => signed,
        }
    }

    fn sign(&mut self) -> Result<(), AuditError> {
        self.chain.sign((self.clock)())?;
        (self.unsigned, self.sign_at) = (None, Instant::now() + SIGN_WITHIN);
        self.store.keep_from(self.chain.durable());
        Ok(())
    }

    fn tell(&mut self, items: &[Followed], site: &Site) {
        let store = self.store.clone();
        let context = Context { site, hash: &|bytes| store.keyed_hash(bytes) };
        for followed in items {
            let mut events = derive::events(followed, &context);
            events.extend(derive::of_setting(followed, self.last, &context));
            for (part, event) in (0..).zip(events) {
                self.last = event.at;
                let log = Place { sequence: followed.sequence, part, from: followed.from };
                self.append(log, event);
            }
        }
    }

    /// That part of the log cannot be read is an event, too.
    fn gaps(&mut self, tail: &crate::store::Tail) {
        let Some(last) = tail.items.last().filter(|_| !tail.lost.is_empty()) else { return };
        for (part, damage) in (1000..).zip(&tail.lost) {
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("tributary/audit/gap/{damage}").as_bytes());
            let event = Event { text: damage.to_string(), ..Event::new(id, self.last, Kind::Gap) };
            self.append(Place { sequence: last.sequence, part, from: last.from }, event);
        }
    }

    fn append(&mut self, log: Place, event: Event) {
        if !self.chain.has(log.sequence, log.part) {
            self.chain.append(log, event);
        }
    }
}
