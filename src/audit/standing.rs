//! How the audit stands: how far it is written and signed, and how far it has got elsewhere.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

/// How long somebody waits for the audit to be told.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// How the audit stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditStatus {
    /// Lines of the chain.
    pub lines: u64,
    /// The last line that a checkpoint vouches for.
    pub signed: u64,
    /// Why it cannot be written, while it cannot: nothing of it is lost.
    pub error: Option<String>,
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
}

impl Default for Standing {
    fn default() -> Self {
        Self { known: Mutex::default(), lines: watch::channel(0).0, passes: watch::channel(0).0, asked: Notify::new() }
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
        status
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

    /// The chain is this long, and signed so far.
    pub(super) fn written(&self, lines: u64, signed: u64) {
        self.change(|status| (status.lines, status.signed, status.error) = (lines, signed, None));
        self.lines.send_if_modified(|known| std::mem::replace(known, lines) != lines);
    }

    /// The chain cannot be written.
    pub(super) fn failed(&self, error: String) {
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
