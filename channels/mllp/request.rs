//! What a message that leaves expects in answer, and what an answer means for it.

use bytes::Bytes;
use message::hl7v2::ack::{Acknowledgment, AcknowledgmentCode};
use message::hl7v2::{AckCondition, Header};

use super::config::{Action, OutboundConfig};
use crate::{DeliveryError, Receipt};

/// A message on its way out.
pub(super) struct Request {
    header: Header,
    /// Whether success is acknowledged at all.
    pub(super) success_is_told: bool,
    /// Whether the answer is the application acknowledgment, and CA only its forerunner.
    pub(super) application_ack_follows: bool,
}

/// What an answer means.
pub(super) enum Verdict {
    /// It is the answer.
    Answered(Result<Receipt, DeliveryError>),
    /// It cannot be told what is answered, or to which message: the connection is not to be trusted.
    Unclear(DeliveryError),
    /// It is on disk there; the application acknowledgment is still to come.
    Committed,
    /// It answers another message.
    Foreign,
}

impl Request {
    /// Reads MSH-10, MSH-15 and MSH-16 of `message`.
    ///
    /// # Errors
    ///
    /// [`DeliveryError::Refused`] if no acknowledgment could be told to be its own, for want of MSH-10.
    pub(super) fn read(message: &[u8], config: &OutboundConfig) -> Result<Self, DeliveryError> {
        let header = Header::read(message);
        if header.control_id().is_empty() {
            let summary = "not sent: MSH-10 is empty, so that no acknowledgment could be matched to the message";
            return Err(DeliveryError::Refused(Receipt { summary: summary.to_owned(), answer: Bytes::new() }));
        }
        let tells = |condition| matches!(condition, Some(AckCondition::Al | AckCondition::Su));
        let (accept, application) = (tells(header.accept_ack()), tells(header.application_ack()));
        Ok(Self {
            success_is_told: !header.is_enhanced() || accept || application,
            application_ack_follows: application && config.await_application_ack,
            header,
        })
    }

    /// What `answer`, a whole frame, means for this message.
    pub(super) fn judge(&self, answer: Bytes, config: &OutboundConfig) -> Verdict {
        let ack = match Acknowledgment::read(&answer) {
            Ok(ack) => ack,
            Err(fault) => {
                let summary = format!("unreadable acknowledgment: {fault}");
                return Verdict::Unclear(DeliveryError::Erred(Receipt { summary, answer }));
            }
        };
        if ack.control_id.is_empty() {
            let reason = format!("the acknowledgment ({}) names no message: MSA-2 is empty", ack.code);
            return Verdict::Unclear(DeliveryError::Unknown { reason });
        }
        if !ack.answers(&self.header) {
            return Verdict::Foreign;
        }
        if ack.code == AcknowledgmentCode::Ca && self.application_ack_follows {
            return Verdict::Committed;
        }
        let receipt = Receipt { summary: ack.summary(), answer };
        Verdict::Answered(match config.answers.action(ack.code) {
            Action::Delivered => Ok(receipt),
            Action::Retry => Err(DeliveryError::Erred(receipt)),
            Action::Dead => Err(DeliveryError::Refused(receipt)),
        })
    }
}
