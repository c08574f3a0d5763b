//! Decides what the peer is told of a message, and when: by mode, by policy, by MSH-15 and MSH-16.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use message::Answer;
use message::hl7v2::ack::{AcknowledgmentCode, Phase, Stamp, acknowledge_header};
use message::hl7v2::{AckCondition, Header};
use tokio::time::timeout;

use super::config::{AcknowledgmentMode, InboundConfig};
use crate::{Acknowledge, Clock, Ticket};

/// What the peer is told of one message.
#[derive(Default)]
pub(super) struct Reply {
    /// In the message's place in the order of the connection.
    pub(super) first: Option<Ack>,
    /// Whenever it is ready: the application acknowledgment of enhanced mode.
    pub(super) later: Option<BoxFuture<'static, Option<Ack>>>,
}

/// One acknowledgment to be written.
pub(super) struct Ack {
    pub(super) code: AcknowledgmentCode,
    pub(super) bytes: Bytes,
}

/// Builds the acknowledgments of one channel.
#[derive(Clone)]
pub(super) struct Acknowledger {
    pub(super) policy: Acknowledge,
    pub(super) mode: AcknowledgmentMode,
    pub(super) outcome_timeout: Duration,
    pub(super) clock: Clock,
    pub(super) zone: TimeZone,
    /// Begins each MSH-10 of ours, so that it is not one of an earlier run.
    run: i64,
}

impl Acknowledger {
    pub(super) fn new(config: &InboundConfig, clock: Clock, zone: TimeZone) -> Self {
        let InboundConfig { acknowledge: policy, acknowledgment_mode: mode, outcome_timeout, .. } = *config;
        let run = clock().as_millisecond();
        Self { policy, mode, outcome_timeout: outcome_timeout.0, clock, zone, run }
    }

    /// What the sender of the message with this header is told. In original mode with a policy other
    /// than `stored`, waits for the outcome.
    pub(super) async fn reply(&self, header: Header, ticket: Ticket) -> Reply {
        let Ticket { answer, outcome } = ticket;
        if !matches!(answer, Answer::Stored(_) | Answer::Duplicate(_) | Answer::Done(..)) {
            return self.refuse(&header, &answer);
        }
        match self.first_phase(&header) {
            Phase::Original if self.policy != Acknowledge::Stored => {
                let answer = self.outcome_of(answer, outcome).await;
                Reply { first: self.ack(&header, &answer, Phase::Original), later: None }
            }
            Phase::Accept => {
                let first = self.ack(&header, &answer, Phase::Accept);
                Reply { first, later: self.application_ack(header, answer, outcome) }
            }
            first => Reply { first: self.ack(&header, &answer, first), later: None },
        }
    }

    /// What the sender of a message that was not taken is told: its first acknowledgment, or the
    /// application acknowledgment if that is all that it asked for.
    pub(super) fn refuse(&self, header: &Header, answer: &Answer) -> Reply {
        let phase = self.first_phase(header);
        let first = self.ack(header, answer, phase);
        let asked_later = || (phase == Phase::Accept).then(|| self.ack(header, answer, Phase::Application)).flatten();
        Reply { first: first.or_else(asked_later), later: None }
    }

    fn first_phase(&self, header: &Header) -> Phase {
        match self.mode {
            AcknowledgmentMode::AsAsked => Phase::first(header),
            AcknowledgmentMode::Original => Phase::Original,
        }
    }

    fn application_ack(
        &self,
        header: Header,
        answer: Answer,
        outcome: Option<BoxFuture<'static, Answer>>,
    ) -> Option<BoxFuture<'static, Option<Ack>>> {
        if matches!(header.application_ack(), None | Some(AckCondition::Ne)) {
            return None;
        }
        let this = self.clone();
        Some(Box::pin(async move {
            let answer = this.outcome_of(answer, outcome).await;
            this.ack(&header, &answer, Phase::Application)
        }))
    }

    async fn outcome_of(&self, stored: Answer, outcome: Option<BoxFuture<'static, Answer>>) -> Answer {
        let Some(outcome) = outcome else { return stored };
        timeout(self.outcome_timeout, outcome).await.unwrap_or_else(|_| Answer::Unavailable {
            reason: format!("it is stored and goes on, but has no outcome after {:?}", self.outcome_timeout),
            retry_after: None,
        })
    }

    fn ack(&self, header: &Header, answer: &Answer, phase: Phase) -> Option<Ack> {
        let bytes = acknowledge_header(header, answer, phase, &self.stamp())?;
        Some(Ack { code: AcknowledgmentCode::of(answer, phase), bytes })
    }

    /// At most 20 characters of control id for the next 600 years, as versions before 2.7 want it.
    fn stamp(&self) -> Stamp {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed) & 0xFFFF_FFFF;
        Stamp { now: (self.clock)(), zone: self.zone.clone(), control_id: format!("{:011x}-{next:08x}", self.run) }
    }
}
