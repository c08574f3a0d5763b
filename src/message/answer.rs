//! The engine's answer to a sender, before a channel puts it into its protocol's words.

use std::time::Duration;

use crate::MessageId;

/// What the engine says of an offered message. Each channel says it in its own protocol's words:
/// MLLP by MSA-1, HTTP by status, files by the folder that they are moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// On disk, and answered for: AA or CA, 202.
    Stored(MessageId),
    /// The same bytes under the same control id came before and are on disk: the earlier answer, again.
    Duplicate(MessageId),
    /// Carried out as far as the channel's `acknowledge` policy asks, with what the destination
    /// answered (MSA-3 text or a response body), if anything.
    Done(MessageId, Option<bytes::Bytes>),
    /// The control id was used before for other bytes. Both are kept; AE or CE, 409.
    Conflict {
        /// The message that now holds these bytes, parked for an operator.
        id: MessageId,
        /// The one that used the control id first.
        earlier: MessageId,
    },
    /// What we do not speak: MSH-9, MSH-11 or MSH-12. AR or CR, 415.
    Unsupported(Fault),
    /// Its content is wrong. AE or CE, 400 or 422.
    Invalid(Fault),
    /// We cannot take it now: AR or CE, 503 or 429 with `Retry-After`. The sender should try again.
    Unavailable {
        /// Why, without patient data, such as `"the disk is nearly full"`.
        reason: String,
        /// When trying again makes sense.
        retry_after: Option<Duration>,
    },
}

/// What is wrong with a message, and where. Carries no value of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HL7 table 0357, such as `100` (segment sequence error), `101` (required field missing),
    /// `200` (unsupported message type), `207` (application internal error).
    pub code: u16,
    /// Where: `MSH-9.1`, `PID[1]-3[2].4`, `entry[3].resource`, or a byte offset.
    pub location: Option<String>,
    /// What is wrong and what to do about it, for a person.
    pub text: String,
}

impl Fault {
    /// A fault at `location` with an error code of HL7 table 0357.
    pub fn new(code: u16, location: impl Into<Option<String>>, text: impl Into<String>) -> Self {
        Self { code, location: location.into(), text: text.into() }
    }

    /// True for what we do not speak, false for wrong content: HL7 v2.5.1 §2.9.2.2 rejects (AR) a
    /// message for its MSH-9, MSH-11 or MSH-12, and calls all else an error (AE).
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        let of_header = |place: &str| {
            ["MSH-9", "MSH-11", "MSH-12"].into_iter().any(|field| {
                place.strip_prefix(field).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
            })
        };
        matches!(self.code, 200..=203) || self.location.as_deref().is_some_and(of_header)
    }
}

/// [`Answer::Unsupported`] or [`Answer::Invalid`], as [`Fault::is_unsupported`] says.
impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        if fault.is_unsupported() { Self::Unsupported(fault) } else { Self::Invalid(fault) }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{location}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
