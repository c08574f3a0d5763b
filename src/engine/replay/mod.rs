//! Replay: stored messages through today's transforms, consent and routes again.
//!
//! A [`Replayer`] works on the store and on recipes alone, so that it also works while no engine runs;
//! the deliveries that it makes leave when one does. A [job](job)'s progress is written down with every
//! message, so that it goes on after a restart, can be cancelled at any time, and taken up again.

mod difference;
mod job;
mod replayer;
mod working;

use jiff::Timestamp;
use message::MessageId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::difference::{Difference, Differences};
pub use self::job::{cancel, jobs};
pub use self::replayer::Replayer;
pub(super) use self::working::Jobs;
use crate::store::{MessageQuery, StoreError};

/// Ids that one request may name: the request is written down with every message.
const MOST_IDS: usize = 256;

/// What an operator asks to be replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayRequest {
    /// Which messages.
    pub select: MessageQuery,
    /// These messages, instead of a selection.
    pub ids: Vec<MessageId>,
    /// To this destination alone; to all that the routes name where `None`.
    pub destination: Option<String>,
    /// Who and why: kept with every message.
    pub reason: String,
    /// Messages a second, at most.
    pub rate: Option<f64>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayState {
    /// It works, or goes on when the engine starts.
    Running,
    /// All selected messages were replayed.
    Done,
    /// An operator stopped it; what was replayed stays so.
    Cancelled,
}

/// A job's progress, as the store remembers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplayProgress {
    /// Its id.
    pub job: Uuid,
    /// What was asked.
    pub request: ReplayRequest,
    /// How far it is.
    pub state: ReplayState,
    /// When it was asked for. Messages accepted later are not selected.
    pub began: Timestamp,
    /// The place of the last message that is done with: in the order of acceptance, or among the
    /// request's ids. Written in one group with what came of that message.
    pub cursor: Option<u64>,
    /// Messages replayed.
    pub replayed: u64,
    /// Of these, messages whose transforms or routes failed again.
    pub failed: u64,
    /// Messages that could not be replayed at all: damaged, or of a channel that is gone.
    pub skipped: u64,
}

/// Why a message could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration no longer has its channel.
    #[error("the configuration has no channel `{0}`: put its file back to replay its messages")]
    NoChannel(String),
    /// Its transforms have not run yet.
    #[error("its transforms have not run yet; when they do, they are today's")]
    NotYet,
    /// There is no job of that id.
    #[error("there is no replay job {0}; `tributary replay --jobs` lists them")]
    NoJob(Uuid),
    /// The job is not one that was cancelled.
    #[error("replay job {0} is {1}; only a cancelled one can be taken up again")]
    NotCancelled(Uuid, &'static str),
    /// The request names too many ids.
    #[error("at most {MOST_IDS} ids fit into one replay; select by channel, state or time, or replay in parts")]
    TooManyIds,
}

impl ReplayError {
    /// True if the message itself is the trouble: the others may fare better.
    fn is_of_the_message(&self) -> bool {
        match self {
            Self::Store(error) => {
                matches!(error, StoreError::Damaged(_) | StoreError::Unknown(_) | StoreError::Invalid(_))
            }
            Self::NoChannel(_) | Self::NotYet | Self::NoJob(_) | Self::NotCancelled(..) | Self::TooManyIds => true,
        }
    }
}
