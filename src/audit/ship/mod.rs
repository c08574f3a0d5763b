//! Takes the audit elsewhere: to Audit Record Repositories, by FHIR or syslog (IHE ITI-20), and its checkpoints to a
//! folder of another machine.
//!
//! The chain is the queue. How far a place has got is in a file beside it (`sent-NAME.json`), written once the place
//! has said that it has it: after a crash what was not noted is sent again, and a repository knows it by its id. Nothing is
//! skipped. What a repository refuses for good, while it takes others, is noted in `refused-NAME.jsonl`.

mod cursor;
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use channels::{Clock, Stop};

use self::cursor::{Cursor, Reached, Refused};
pub use self::target::Target;
use self::target::{Failure, Item};
use super::standing::Standing;
use super::tail::{Tail, signed};
use super::{AuditError, observer};
use crate::config::EngineConfig;

/// How often the chain is looked at when nothing was heard of it.
const LOOK: Duration = Duration::from_secs(1);
/// The wait after the first failure, doubled with each further one, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long the end may take: what is not sent by then is sent at the next start.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
/// Most checkpoints at once.
const CHECKPOINTS: usize = 100;

/// Takes the audit to one place.
pub struct Shipper {
    dir: PathBuf,
    target: Target,
    standing: Arc<Standing>,
    cursor: Cursor,
    tail: Tail,
    /// What was read and is not sent yet.
    pending: Vec<Item>,
}

/// All that a site has its audit taken to.
///
/// # Errors
///
/// [`AuditError`] if a certificate or a cursor cannot be read.
pub fn shippers(engine: &EngineConfig, standing: &Arc<Standing>, clock: &Clock) -> Result<Vec<Shipper>, AuditError> {
    let dir = super::folder(&engine.data_dir);
    let targets = Target::all(&engine.audit, &observer(engine), clock)?;
    targets.into_iter().map(|target| Shipper::new(dir.clone(), target, Arc::clone(standing))).collect()
}

impl Shipper {
    fn new(dir: PathBuf, target: Target, standing: Arc<Standing>) -> Result<Self, AuditError> {
        let cursor = Cursor::open(&dir, target.name())?;
        let refused = cursor.refused()?;
        standing.target(target.name(), |status| (status.sent, status.refused) = (cursor.sent(), refused));
        let tail = Tail::after(&dir, cursor.line);
        Ok(Self { dir, target, standing, cursor, tail, pending: Vec::new() })
    }

    /// Works until `stop` fires and the last lines are told, or for a little while after that.
    pub async fn run(mut self, mut stop: Stop) {
        let mut lines = self.standing.lines();
        let mut failures = 0;
        while !stop.is_stopped() {
            match stop.or(self.step()).await {
                None => break,
                Some(Ok(true)) => failures = 0,
                Some(Ok(false)) => {
                    failures = 0;
                    let heard = tokio::time::timeout(LOOK, lines.changed());
                    if stop.or(heard).await.is_none() {
                        break;
                    }
                }
                Some(Err(failure)) => {
                    failures += 1;
                    self.failed(&failure, failures);
                    if stop.or(tokio::time::sleep(wait(failures, failure.retry_after))).await.is_none() {
                        break;
                    }
                }
            }
        }
        let rest = async {
            drop(lines.wait_for(|lines| *lines == u64::MAX).await);
            while let Ok(true) = self.step().await {}
        };
        if tokio::time::timeout(FINISH_WITHIN, rest).await.is_err() {
            tracing::info!(target = self.target.name(), "the audit's last lines are sent at the next start");
        }
    }

    /// Sends the next batch; false if there is none.
    async fn step(&mut self) -> Result<bool, Failure> {
        self.load()?;
        let Some(last) = self.pending.last() else { return Ok(false) };
        let reached = last.reached();
        let refused = self.target.send(&self.pending).await?;
        let (count, taken) = (refused.len() as u64, (self.pending.len() - refused.len()) as u64);
        self.note(refused, reached).await?;
        self.pending.clear();
        let sent = self.cursor.sent();
        self.standing.target(self.target.name(), |status| {
            (status.sent, status.state, status.error, status.oldest) = (sent, "up".to_owned(), None, None);
            (status.taken, status.refused) = (status.taken + taken, status.refused + count);
        });
        Ok(true)
    }

    /// Reads on, up to a batch: lines while there are any, then checkpoints. What was refused alone gets company by
    /// this, so that it can be told from a place that refuses everything.
    fn load(&mut self) -> Result<(), AuditError> {
        if self.target.takes_lines() && self.pending.iter().all(|item| matches!(item, Item::Line(_))) {
            if self.cursor.is_stale(&self.dir)? {
                let (target, line) = (self.target.name(), self.cursor.line);
                tracing::warn!(
                    target,
                    line,
                    "the audit's chain is another than was sent: it is sent from there on again"
                );
                self.tail = Tail::after(&self.dir, line);
            }
            let room = self.target.batch().saturating_sub(self.pending.len());
            self.pending.extend(self.tail.read(room)?.into_iter().map(|told| Item::Line(Box::new(told))));
        }
        if self.pending.is_empty() {
            let signed = signed(&self.dir, self.cursor.checkpoints, CHECKPOINTS)?.into_iter();
            self.pending.extend(signed.map(|(text, checkpoint, end)| Item::Checkpoint { text, checkpoint, end }));
        }
        let oldest = self.pending.first().and_then(Item::at);
        self.standing.target(self.target.name(), |status| status.oldest = oldest);
        Ok(())
    }

    /// Notes on disk what was sent and what was refused. The disk takes its time, and messages go on meanwhile.
    async fn note(&mut self, refused: Vec<Refused>, reached: Reached) -> Result<(), Failure> {
        for Refused { line, reason, .. } in &refused {
            let target = self.target.name();
            tracing::error!(target, line, reason, "a line of the audit is refused for good: it is kept aside");
        }
        let cursor = self.cursor.at(reached);
        let noted = tokio::task::spawn_blocking(move || {
            cursor.put_aside(&refused)?;
            cursor.save().map(|()| cursor)
        });
        let noted = noted.await.map_err(|error| AuditError::Key(error.to_string()))?;
        self.cursor = noted?;
        Ok(())
    }

    fn failed(&mut self, failure: &Failure, failures: u32) {
        let (target, error) = (self.target.name(), &failure.reason);
        match failures {
            1 => tracing::error!(target, error, "the audit cannot be sent: it waits, and nothing is lost"),
            _ => tracing::debug!(target, error, failures, "the audit cannot be sent yet"),
        }
        self.standing.target(target, |status| {
            (status.state, status.error) = ("down".to_owned(), Some(error.clone()));
            status.failures += 1;
        });
    }
}

/// How long to wait after so many failures, or as long as the other side asks for.
fn wait(failures: u32, asked: Option<Duration>) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16));
    asked.unwrap_or_default().max(doubled).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_heed_the_other_side() {
        let seconds = |failures, asked| wait(failures, asked).as_secs_f64();
        let asked = Some(Duration::from_secs(7));
        assert_eq!(
            [seconds(1, None), seconds(2, None), seconds(5, None), seconds(500, None), seconds(1, asked)],
            [0.5, 1.0, 8.0, 60.0, 7.0]
        );
    }
}
