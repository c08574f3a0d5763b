//! How the audit stands: how far it is written and signed, and how far it has got elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

/// How long somebody waits for the audit to be told.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the audit stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditStatus {
    /// Lines of the chain.
    pub lines: u64,
    /// The last line that a checkpoint vouches for.
    pub signed: u64,
    /// Why it cannot be written or signed, while it cannot: nothing of it is lost.
    pub error: Option<String>,
    /// For so many seconds the chain has not told all that the log had then.
    #[serde(default)]
    pub behind_seconds: f64,
    /// Why nothing is delivered, while that is so: what cannot be audited is not disclosed.
    #[serde(default)]
    pub hindrance: Option<String>,
    /// Where else it goes.
    pub targets: Vec<TargetStatus>,
}

/// How far the audit has got at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// `repository`, `syslog` or `anchors`.
    pub name: String,
    /// `up`, or `down` since the last attempt failed.
    pub state: String,
    /// The last line that is there; at `anchors`, that a checkpoint there vouches for.
    pub sent: u64,
    /// Lines that are not there yet.
    pub waiting: u64,
    /// When the first of what waits happened, where something waits.
    pub oldest: Option<Timestamp>,
    /// Lines that it refused for good: they are kept aside.
    pub refused: u64,
    /// Lines and checkpoints taken since the engine started.
    pub taken: u64,
    /// Attempts that failed since then.
    pub failures: u64,
    /// Why the last attempt failed, while it is down.
    pub error: Option<String>,
}

/// What those who write, send and ask share.
#[derive(Debug)]
pub struct Standing {
    known: Mutex<AuditStatus>,
    /// Lines of the chain; [`u64::MAX`] once no more are to come.
    lines: watch::Sender<u64>,
    /// How often the log was read to its end.
    passes: watch::Sender<u64>,
    /// Somebody waits for that.
    asked: Notify,
    /// Whether deliveries may leave.
    pace: Mutex<Pace>,
}

/// How the chain keeps pace with the log; nothing is asked of it before that is followed.
#[derive(Debug, Default)]
struct Pace {
    followed: bool,
    /// How far it may stay behind.
    most: Duration,
    /// When it was last known to have told all that the log had at an earlier look, and how far the log was then: the
    /// number that its next record got.
    since: Option<Instant>,
    until: u64,
    /// Why it cannot be written, while it cannot.
    failed: Option<String>,
    /// What was said last of whether deliveries may leave.
    is_hindering: bool,
}

impl Pace {
    fn behind(&self) -> Duration {
        self.since.filter(|_| self.followed).map(|since| since.elapsed()).unwrap_or_default()
    }

    fn hindrance(&self) -> Option<String> {
        match &self.failed {
            _ if !self.followed => None,
            Some(error) => Some(format!("the audit cannot be written: {error}")),
            None if self.behind() > self.most => {
                Some(format!("the audit is more than {} s behind what happens", self.most.as_secs_f64()))
            }
            None => None,
        }
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            lines: watch::channel(0).0,
            passes: watch::channel(0).0,
            asked: Notify::new(),
            pace: Mutex::default(),
        }
    }
}

impl Standing {
    /// How it stands at this moment.
    #[must_use]
    pub fn status(&self) -> AuditStatus {
        let mut status = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for target in &mut status.targets {
            target.waiting = status.lines.saturating_sub(target.sent);
            target.oldest = target.oldest.filter(|_| target.waiting > 0);
        }
        let pace = self.pace();
        (status.behind_seconds, status.hindrance) = (pace.behind().as_secs_f64(), pace.hindrance());
        status
    }

    /// Why nothing may be delivered now: the audit cannot be written, or is further behind than it may be. Whoever asks
    /// first after that has changed has it logged.
    #[must_use]
    pub fn hindrance(&self) -> Option<String> {
        let mut pace = self.pace();
        let hindrance = pace.hindrance();
        let was_hindering = std::mem::replace(&mut pace.is_hindering, hindrance.is_some());
        match &hindrance {
            Some(why) if !was_hindering => {
                tracing::error!(why, "deliveries wait: nothing leaves that cannot be audited")
            }
            None if was_hindering => tracing::info!("the audit is written again: deliveries go on"),
            _ => {}
        }
        hindrance
    }

    /// From now on the log is followed, whose next record gets the number `next`. The chain may be `most` behind.
    pub(super) fn follow(&self, next: u64, most: Duration) {
        let mut pace = self.pace();
        *pace = Pace { followed: true, most, since: Some(Instant::now()), until: next, ..std::mem::take(&mut pace) };
    }

    /// The chain has told all before record `told`; the log's next record gets the number `next`.
    pub(super) fn told(&self, told: u64, next: u64) {
        let mut pace = self.pace();
        pace.failed = None;
        if told >= pace.until {
            (pace.since, pace.until) = (Some(Instant::now()), next);
        }
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once all that the log has by now is told; after a while at the latest, where it cannot be.
    pub async fn caught_up(&self) {
        let mut passes = self.passes.subscribe();
        // The one that is under way may have read on before this.
        let enough = *passes.borrow_and_update() + 2;
        let waited = async {
            while *passes.borrow_and_update() < enough {
                self.asked.notify_one();
                if passes.changed().await.is_err() {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(PATIENCE, waited).await);
    }

    /// The log was read to its end.
    pub(super) fn passed(&self) {
        self.passes.send_modify(|passes| *passes += 1);
    }

    /// Returns when somebody waits for the log to be read.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The chain is this long, and signed so far; `unsigned` says why it cannot be signed now, where it cannot.
    pub(super) fn written(&self, lines: u64, signed: u64, unsigned: Option<String>) {
        self.change(|status| (status.lines, status.signed, status.error) = (lines, signed, unsigned));
        self.lines.send_if_modified(|known| std::mem::replace(known, lines) != lines);
    }

    /// The chain cannot be written.
    pub(super) fn failed(&self, error: String) {
        self.pace().failed = Some(error.clone());
        self.change(|status| status.error = Some(error));
    }

    /// No more lines are to come.
    pub(super) fn finished(&self) {
        self.lines.send_replace(u64::MAX);
    }

    /// Hears of new lines.
    pub(super) fn lines(&self) -> watch::Receiver<u64> {
        self.lines.subscribe()
    }

    /// One target, from now on.
    pub(super) fn target(&self, name: &str, change: impl FnOnce(&mut TargetStatus)) {
        self.change(|status| {
            let place = status.targets.partition_point(|target| target.name.as_str() < name);
            if status.targets.get(place).is_none_or(|target| target.name != name) {
                let new = TargetStatus { name: name.to_owned(), state: "up".to_owned(), ..TargetStatus::default() };
                status.targets.insert(place, new);
            }
            if let Some(target) = status.targets.get_mut(place) {
                change(target);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut AuditStatus)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
