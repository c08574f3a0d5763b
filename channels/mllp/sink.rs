//! A receiver that says yes to everything: for demonstrations and as the far end of a benchmark.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use message::{Answer, MessageId};

use super::Inbound;
use crate::{ChannelError, Inbound as _, Intake, Offered, Stop, Ticket};

/// Answers every message that `inbound` reads with AA or CA and stores nothing; `seen` is shown each
/// in the order of its connection. Runs until `stop` fires.
///
/// # Errors
///
/// As [`crate::Inbound::run`].
pub async fn serve_sink(
    inbound: Inbound,
    seen: impl Fn(&Offered) + Send + Sync + 'static,
    stop: Stop,
) -> Result<(), ChannelError> {
    Box::new(inbound).run(Arc::new(Sink { seen, taken: AtomicU64::new(0) }), stop).await
}

struct Sink<F> {
    seen: F,
    taken: AtomicU64,
}

#[async_trait]
impl<F: Fn(&Offered) + Send + Sync> Intake for Sink<F> {
    async fn offer(&self, offered: Offered) -> Ticket {
        (self.seen)(&offered);
        let mut number = [0; 10];
        for (to, from) in number.iter_mut().rev().zip(self.taken.fetch_add(1, Ordering::Relaxed).to_le_bytes()) {
            *to = from;
        }
        Ticket { answer: Answer::Stored(MessageId::new(Timestamp::UNIX_EPOCH, number)), outcome: None }
    }
}
