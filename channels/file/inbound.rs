//! The feed: polls its folder, and takes what is whole.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::folder::{self, Found, Watch};
use super::name::shown;
use super::take::Taken;
use super::{Contents, InboundConfig, Patterns, settle};
use crate::setting::Size;
use crate::{ChannelError, Clock, Intake, Stop};

/// How long the feed rests when the engine has no room and does not say for how long.
const REST: Duration = Duration::from_secs(5);

/// A drop folder.
pub struct Inbound {
    pub(super) name: Arc<str>,
    pub(super) config: InboundConfig,
    pub(super) clock: Clock,
    pub(super) done: PathBuf,
    pub(super) rejected: PathBuf,
    pub(super) room: Room,
    pattern: Patterns,
    watch: Watch,
    troubles: Troubles,
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file::Inbound({} in {})", self.name, self.config.folder.display())
    }
}

impl Inbound {
    /// Opens the drop folder of the channel `name`: makes it, `done` and `rejected` where they are
    /// not there, and sees to it that files can be moved between them.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if they cannot, or if two of the three are the same.
    pub fn open(name: Arc<str>, config: InboundConfig, clock: Clock) -> Result<Self, ChannelError> {
        let (done, rejected) = (config.folder.join(&config.done), config.folder.join(&config.rejected));
        for target in [&done, &rejected] {
            prepare(&config.folder, target)?;
        }
        let pattern = match &config.pattern {
            Some(pattern) => pattern.clone(),
            None => default_pattern(config.format)?,
        };
        let (watch, room) = (Watch::new(&config), Room::new(config.max_bytes_in_flight));
        Ok(Self { name, config, clock, done, rejected, room, pattern, watch, troubles: Troubles::default() })
    }

    /// Reads the folder once and takes what is whole. Returns how long to wait before the next time.
    async fn poll(&mut self, intake: &dyn Intake, stop: &Stop) -> Duration {
        let found = match self.list().await {
            Ok(found) => found,
            Err(error) => {
                self.troubles.folder(&self.name, format!("cannot read the drop folder: {error}"));
                return self.config.every.0;
            }
        };
        self.troubles.keep(&found);
        let mut ready = self.watch.ready(found, Instant::now());
        // What stays put must not keep the others from being taken.
        ready.sort_by_key(|file| self.troubles.is_blocked(file));
        let is_more = ready.len() > self.config.max_files_per_poll.get();
        ready.truncate(self.config.max_files_per_poll.get());
        match self.take_all(ready, intake, stop).await {
            Round { rest: Some(rest), .. } => rest,
            Round { settled, .. } if settled && is_more => Duration::ZERO,
            Round { .. } => self.config.every.0,
        }
    }

    async fn take_all(&mut self, files: Vec<Found>, intake: &dyn Intake, stop: &Stop) -> Round {
        let halted = AtomicBool::new(false);
        let taking = files.into_iter().map(|found| self.take_unless(&halted, found, intake, stop)).collect::<Vec<_>>();
        let taken: Vec<_> = stream::iter(taking).buffered(self.config.files_at_once.get()).collect().await;
        let mut round = Round::default();
        for (found, taken) in taken {
            match taken {
                Taken::Blocked(reason) => self.troubles.file(&self.name, &found, reason),
                Taken::Later { reason, retry_after } => {
                    self.troubles.folder(&self.name, reason);
                    round.rest = round.rest.max(Some(retry_after.unwrap_or(REST).max(self.config.every.0)));
                }
                Taken::Settled => {
                    round.settled = true;
                    self.troubles.folder_is_well(&self.name);
                }
                Taken::Untouched => {}
            }
        }
        round
    }

    /// Once one file has to wait, those behind it wait too: their order is kept, and they would
    /// fare no better.
    async fn take_unless(&self, halted: &AtomicBool, found: Found, intake: &dyn Intake, stop: &Stop) -> (Found, Taken) {
        if halted.load(Ordering::Relaxed) || stop.is_stopped() {
            return (found, Taken::Untouched);
        }
        let taken = self.take(&found, intake, stop).await;
        if matches!(taken, Taken::Later { .. }) {
            halted.store(true, Ordering::Relaxed);
        }
        (found, taken)
    }

    async fn list(&self) -> std::io::Result<Vec<Found>> {
        let (pattern, markers) = (self.pattern.clone(), self.watch.markers());
        self.in_folder(move |folder| folder::list(folder, |name| pattern.matches(name) || markers.matches(name))).await
    }
}

/// What one round over the folder came to.
#[derive(Default)]
struct Round {
    /// How long the feed as a whole must rest, if it must.
    rest: Option<Duration>,
    /// True if a file has left the folder.
    settled: bool,
}

#[async_trait]
impl crate::Inbound for Inbound {
    fn bound(&self) -> String {
        self.config.folder.display().to_string()
    }

    async fn run(mut self: Box<Self>, intake: Arc<dyn Intake>, mut stop: Stop) -> Result<(), ChannelError> {
        while !stop.is_stopped() {
            let wait = self.poll(&*intake, &stop).await;
            stop.or(tokio::time::sleep(wait)).await;
        }
        Ok(())
    }
}

fn prepare(folder: &Path, target: &Path) -> Result<(), ChannelError> {
    if folder == target {
        let what = format!("files done or rejected cannot stay in the drop folder {}", folder.display());
        return Err(ChannelError { what, source: None });
    }
    settle::prepare(folder, target).map_err(|error| ChannelError {
        what: format!("cannot move files from {} to {}: both must be writable", folder.display(), target.display()),
        source: Some(error),
    })
}

fn default_pattern(format: Option<Contents>) -> Result<Patterns, ChannelError> {
    let globs: &[&str] = match format {
        None => &["*.hl7", "*.er7", "*.json", "*.ndjson", "*.jsonl"],
        Some(Contents::Hl7v2) => &["*.hl7", "*.er7"],
        Some(Contents::Fhir) => &["*.json", "*.ndjson", "*.jsonl"],
    };
    Patterns::new(globs.iter().map(ToString::to_string).collect()).map_err(|what| ChannelError { what, source: None })
}

/// Memory for files in flight, in KiB.
pub(super) struct Room {
    left: Semaphore,
    all: u32,
}

impl Room {
    fn new(bytes: Size) -> Self {
        let all = kibibytes(bytes.0);
        Self { left: Semaphore::new(all as usize), all }
    }

    /// Waits until there is room for a file of `bytes`; one larger than all room has it alone.
    pub(super) async fn hold(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        // It fails only when closed, and this one never is.
        self.left.acquire_many(kibibytes(bytes).min(self.all)).await.ok()
    }
}

fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4)
}

/// What has been said about the folder and its files, so that it is said once.
#[derive(Default)]
struct Troubles {
    folder: Option<String>,
    files: HashMap<OsString, String>,
}

impl Troubles {
    fn folder(&mut self, channel: &str, reason: String) {
        if self.folder.as_ref() != Some(&reason) {
            tracing::warn!(channel, reason, "files wait in the drop folder; trying again");
            self.folder = Some(reason);
        }
    }

    fn folder_is_well(&mut self, channel: &str) {
        if self.folder.take().is_some() {
            tracing::info!(channel, "taking files again");
        }
    }

    fn file(&mut self, channel: &str, found: &Found, reason: String) {
        if self.files.get(&found.name) != Some(&reason) {
            tracing::warn!(channel, file = shown(&found.name), reason, "a file stays in the drop folder; trying again");
            self.files.insert(found.name.clone(), reason);
        }
    }

    fn is_blocked(&self, found: &Found) -> bool {
        self.files.contains_key(&found.name)
    }

    /// Forgets files that are gone.
    fn keep(&mut self, found: &[Found]) {
        if !self.files.is_empty() {
            let there: std::collections::HashSet<_> = found.iter().map(|file| &file.name).collect();
            self.files.retain(|name, _| there.contains(name));
        }
    }
}
