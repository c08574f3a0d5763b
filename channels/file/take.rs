//! Taking one file: read it, offer each message in it, move it on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use message::{Answer, Fault, Format, Sha256};

use super::contents::{Cut, Messages};
use super::folder::Found;
use super::inbound::Inbound;
use super::name::shown;
use super::reason::{Outcome, Reason};
use super::settle::{self, Content, Moved};
use crate::{Acknowledge, Intake, Offered, Stop, Ticket};

/// What became of a file.
pub(super) enum Taken {
    /// It has left the drop folder.
    Settled,
    /// It stays, and so do those behind it: the engine, or the folder it was to be moved to, is
    /// unavailable for now.
    Later { reason: String, retry_after: Option<Duration> },
    /// It alone stays, for a reason that lies in the file.
    Blocked(String),
    /// It was still being written, or the feed is stopping: it stays, and that is as it should be.
    Untouched,
}

/// Why an offer round ended before every message had its outcome.
enum Halted {
    Unavailable { reason: String, retry_after: Option<Duration> },
    Stopped,
}

impl From<Halted> for Taken {
    fn from(halted: Halted) -> Self {
        match halted {
            Halted::Unavailable { reason, retry_after } => Self::Later { reason, retry_after },
            Halted::Stopped => Self::Untouched,
        }
    }
}

impl Inbound {
    /// Takes one file. Whatever stops it half-way, the file stays and is taken again from its
    /// start: the engine knows the messages that it has by their ids.
    pub(super) async fn take(&self, found: &Found, intake: &dyn Intake, stop: &Stop) -> Taken {
        let _room = self.room.hold(found.stamp.len).await;
        match self.read(found).await {
            // Its sender took it back.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Taken::Untouched,
            Err(error) => Taken::Blocked(format!("cannot be read: {error}")),
            Ok(Content::Changed) => Taken::Untouched,
            Ok(Content::TooLong(bytes)) => self.reject_file(found, &[self.too_long(bytes)]).await,
            Ok(Content::Whole(messages, digest)) => self.take_messages(found, messages, digest, intake, stop).await,
        }
    }

    async fn take_messages(
        &self,
        found: &Found,
        Messages { all, problems }: Messages,
        digest: Sha256,
        intake: &dyn Intake,
        stop: &Stop,
    ) -> Taken {
        if all.is_empty() || (self.config.verify_batches && !problems.is_empty()) {
            return self.reject_file(found, &problems).await;
        }
        for problem in problems {
            tracing::warn!(channel = &*self.name, file = shown(&found.name), %problem, "taking a file with a fault");
        }
        let offers = offers(found, self.cut(found).format(), digest, all);
        match self.offer_all(offers, intake, stop.clone()).await {
            Ok(outcomes) if outcomes.iter().any(Outcome::is_refused) => self.reject(found, digest, &outcomes).await,
            Ok(outcomes) => self.finish(found, &outcomes).await,
            Err(halted) => halted.into(),
        }
    }

    /// Offers in order, each when the one before it is answered, and then waits for what
    /// `acknowledge` waits for.
    async fn offer_all(
        &self,
        offers: impl Iterator<Item = Offered> + Send,
        intake: &dyn Intake,
        mut stop: Stop,
    ) -> Result<Vec<Outcome>, Halted> {
        let mut outcomes = Vec::new();
        let mut waiting: Vec<(usize, BoxFuture<'static, Answer>)> = Vec::new();
        for (index, offered) in offers.enumerate() {
            if stop.is_stopped() {
                return Err(Halted::Stopped);
            }
            let Ticket { answer, outcome } = intake.offer(offered).await;
            outcomes.push(read_answer(answer)?);
            if let Some(outcome) = outcome.filter(|_| self.config.acknowledge != Acknowledge::Stored) {
                waiting.push((index, outcome));
            }
        }
        for (index, answer) in waiting {
            let answer = stop.or(answer).await.ok_or(Halted::Stopped)?;
            if let Some(outcome) = outcomes.get_mut(index) {
                *outcome = later_outcome(outcome, read_answer(answer)?);
            }
        }
        Ok(outcomes)
    }

    fn too_long(&self, bytes: u64) -> Fault {
        let limit = self.config.max_file_bytes.0;
        Fault::new(207, None, format!("the file is {bytes} bytes long; this channel takes {limit} (max_file_bytes)"))
    }

    fn cut(&self, found: &Found) -> Cut {
        Cut::of(&found.name, self.config.format)
    }

    async fn read(&self, found: &Found) -> std::io::Result<Content<Messages>> {
        let (cut, found, limit) = (self.cut(found), found.clone(), self.config.max_file_bytes.0);
        self.in_folder(move |folder| {
            let content = settle::read(folder, &found, limit)?;
            Ok(content.map(|bytes| cut.messages(&bytes)))
        })
        .await
    }

    async fn finish(&self, found: &Found, outcomes: &[Outcome]) -> Taken {
        let (file, now, done) = (found.clone(), (self.clock)(), self.done.clone());
        let moved = self.in_folder(move |folder| settle::move_to(&done, folder, &file, now)).await;
        let before = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Duplicate(_))).count();
        let taken = self.settled(found, &self.done, moved);
        if matches!(taken, Taken::Settled) {
            let (messages, file) = (outcomes.len(), shown(&found.name));
            tracing::info!(channel = &*self.name, file, messages, before, "took a file");
        }
        taken
    }

    async fn reject(&self, found: &Found, digest: Sha256, outcomes: &[Outcome]) -> Taken {
        let (file, now) = (shown(&found.name), (self.clock)());
        self.reject_with(found, &Reason::of_messages(&file, &self.name, now, digest, outcomes)).await
    }

    async fn reject_file(&self, found: &Found, faults: &[Fault]) -> Taken {
        let (file, now) = (shown(&found.name), (self.clock)());
        self.reject_with(found, &Reason::of_file(&file, &self.name, now, faults)).await
    }

    async fn reject_with(&self, found: &Found, reason: &Reason<'_>) -> Taken {
        let (file, now, rejected, json) = (found.clone(), reason.rejected, self.rejected.clone(), reason.to_json());
        let moved = self.in_folder(move |folder| settle::reject_to(&rejected, folder, &file, now, &json)).await;
        let taken = self.settled(found, &self.rejected, moved);
        if matches!(taken, Taken::Settled) {
            tracing::warn!(channel = &*self.name, file = reason.file, reason = reason.summary, "rejected a file");
        }
        taken
    }

    fn settled(&self, found: &Found, target: &Path, moved: std::io::Result<Moved>) -> Taken {
        match moved {
            Ok(Moved::To(_)) => Taken::Settled,
            Ok(Moved::Changed) => Taken::Blocked("it was replaced while it was being taken; it is taken again".into()),
            Err(error) => {
                let (file, target) = (shown(&found.name), target.display());
                Taken::Later { reason: format!("cannot move {file} to {target}: {error}"), retry_after: None }
            }
        }
    }

    /// Runs `work` on the drop folder where it may block.
    pub(super) async fn in_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        let folder: PathBuf = self.config.folder.clone();
        tokio::task::spawn_blocking(move || work(&folder)).await.map_err(std::io::Error::other)?
    }
}

/// The messages of a file as the engine is to know them: by the file's name and digest and their
/// place in it, so that the same file taken again gives the same ids.
fn offers(found: &Found, format: Format, digest: Sha256, messages: Vec<Bytes>) -> impl Iterator<Item = Offered> + Send {
    let peer: Arc<str> = shown(&found.name).into();
    messages.into_iter().zip(1..).map(move |(bytes, index)| Offered {
        format,
        bytes,
        beside: Bytes::new(),
        peer: peer.clone(),
        transport_id: Some(format!("{peer}#{index}@{digest}")),
    })
}

fn read_answer(answer: Answer) -> Result<Outcome, Halted> {
    match answer {
        Answer::Stored(id) | Answer::Done(id, _) => Ok(Outcome::Stored(id)),
        Answer::Duplicate(id) => Ok(Outcome::Duplicate(id)),
        Answer::Conflict { id, earlier } => {
            let text = format!("its control id was used before, by message {earlier}, for other content");
            Ok(Outcome::Refused { fault: Fault::new(205, None, text), kept: Some(id) })
        }
        Answer::Unsupported(fault) | Answer::Invalid(fault) => Ok(Outcome::Refused { fault, kept: None }),
        Answer::Unavailable { reason, retry_after } => Err(Halted::Unavailable { reason, retry_after }),
    }
}

/// What a message's outcome is after more has become of it: it stays stored, whatever that is.
fn later_outcome(stored: &Outcome, later: Outcome) -> Outcome {
    match (stored, later) {
        (Outcome::Stored(id) | Outcome::Duplicate(id), Outcome::Refused { fault, .. }) => {
            Outcome::Refused { fault, kept: Some(*id) }
        }
        (stored, _) => stored.clone(),
    }
}
