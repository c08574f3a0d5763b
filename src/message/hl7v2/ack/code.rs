//! MSA-1, and when which code is due.

use std::fmt;
use std::str::FromStr;

use crate::Answer;
use crate::hl7v2::{AckCondition, Header};

/// MSA-1 (table 0008).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AcknowledgmentCode {
    /// Application accept.
    Aa,
    /// Application error: the content is wrong.
    Ae,
    /// Application reject: not spoken here, or not now.
    Ar,
    /// Accept acknowledgment: commit accept.
    Ca,
    /// Accept acknowledgment: commit error, it could not be stored.
    Ce,
    /// Accept acknowledgment: commit reject, not spoken here.
    Cr,
}

impl AcknowledgmentCode {
    /// As it stands in MSA-1.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Aa => "AA",
            Self::Ae => "AE",
            Self::Ar => "AR",
            Self::Ca => "CA",
            Self::Ce => "CE",
            Self::Cr => "CR",
        }
    }

    /// True for AA and CA.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Aa | Self::Ca)
    }

    /// True for the codes of an accept acknowledgment: CA, CE, CR.
    #[must_use]
    pub fn is_accept(self) -> bool {
        matches!(self, Self::Ca | Self::Ce | Self::Cr)
    }

    /// What says `answer` in `phase`.
    #[must_use]
    pub fn of(answer: &Answer, phase: Phase) -> Self {
        let accept = phase == Phase::Accept;
        match answer {
            Answer::Stored(_) | Answer::Duplicate(_) | Answer::Done(..) if accept => Self::Ca,
            Answer::Stored(_) | Answer::Duplicate(_) | Answer::Done(..) => Self::Aa,
            Answer::Unsupported(_) if accept => Self::Cr,
            Answer::Conflict { .. } | Answer::Invalid(_) | Answer::Unavailable { .. } if accept => Self::Ce,
            Answer::Conflict { .. } | Answer::Invalid(_) => Self::Ae,
            Answer::Unsupported(_) | Answer::Unavailable { .. } => Self::Ar,
        }
    }
}

impl fmt::Display for AcknowledgmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for AcknowledgmentCode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "AA" => Ok(Self::Aa),
            "AE" => Ok(Self::Ae),
            "AR" => Ok(Self::Ar),
            "CA" => Ok(Self::Ca),
            "CE" => Ok(Self::Ce),
            "CR" => Ok(Self::Cr),
            _ => Err(()),
        }
    }
}

/// Which acknowledgment of a message is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The only one of original mode: AA, AE or AR.
    Original,
    /// The first of enhanced mode, once the message is on disk: CA, CE or CR.
    Accept,
    /// The second of enhanced mode, once the message is carried out: AA, AE or AR.
    Application,
}

impl Phase {
    /// The phase of the first answer to a message: [`Phase::Accept`] in enhanced mode.
    #[must_use]
    pub fn first(header: &Header) -> Self {
        if header.is_enhanced() { Self::Accept } else { Self::Original }
    }

    /// True if the sender wants an acknowledgment with this code in this phase.
    ///
    /// Where MSH-15 or MSH-16 alone is valued, the empty one counts as `NE`. A general acknowledgment (ACK,
    /// MCF) is never answered; another response (with an MSA segment) is a message like any other, whose
    /// sender waits to hear that it was taken.
    pub(super) fn is_due(self, header: &Header, code: AcknowledgmentCode) -> bool {
        let asked = match self {
            _ if header.is_general_acknowledgment() => return false,
            Self::Original => return true,
            Self::Accept => header.accept_ack(),
            Self::Application => header.application_ack(),
        };
        match asked.unwrap_or(AckCondition::Ne) {
            AckCondition::Al => true,
            AckCondition::Ne => false,
            AckCondition::Er => !code.is_success(),
            AckCondition::Su => code.is_success(),
        }
    }
}
