//! Delivers messages over MLLP, and takes no acknowledgment for another's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use message::Format;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client::{Client, ClientError};
use super::config::OutboundConfig;
use super::pool::Pool;
use super::request::{Request, Verdict};
use crate::{DeliveryError, Outgoing, Receipt};

/// So many acknowledgments of other messages are passed over while waiting for one's own.
const MAX_FOREIGN: usize = 8;

/// One MLLP receiver.
pub struct Outbound {
    name: Arc<str>,
    config: OutboundConfig,
    pool: Pool,
    slots: Semaphore,
}

impl Outbound {
    /// The destination `name`; nothing is connected yet.
    #[must_use]
    pub fn new(name: Arc<str>, config: OutboundConfig) -> Self {
        let pool = Pool::new(config.idle_close.0);
        let slots = Semaphore::new(config.connections.get().min(Semaphore::MAX_PERMITS));
        Self { name, config, pool, slots }
    }

    /// How many unused connections are kept.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.pool.len()
    }

    async fn connect(&self) -> Result<Client, DeliveryError> {
        let address = self.config.address.as_str();
        let client = Client::connect(address, self.config.client()).await.map_err(delivery_error)?;
        tracing::debug!(destination = %self.name, peer = address, "connected");
        Ok(client)
    }

    /// Sends `message` and returns the connection that it left by. If a kept one turns out to be dead
    /// before the message has left whole, it goes by a new one.
    async fn send(&self, message: &[u8]) -> Result<Client, DeliveryError> {
        if let Some(mut client) = self.pool.take() {
            match client.send(message).await {
                Ok(()) => return Ok(client),
                Err(ClientError::NotSent(_)) => {}
                Err(error) => return Err(delivery_error(error)),
            }
        }
        let mut client = self.connect().await?;
        client.send(message).await.map_err(delivery_error)?;
        Ok(client)
    }

    /// Waits for the answer to `request`. The connection is kept only if nothing was odd about it.
    async fn answer(&self, mut client: Client, request: &Request) -> Result<Receipt, DeliveryError> {
        if !request.success_is_told {
            client.finish().await.map_err(delivery_error)?;
        }
        let (mut since, mut before) = (Instant::now(), Before::default());
        loop {
            let left = self.config.ack_timeout.0.saturating_sub(since.elapsed());
            let frame = match client.receive_within(left).await {
                Ok(frame) => frame,
                Err(_) if !request.success_is_told && client.has_ended() => return Ok(taken_in_silence()),
                Err(error) => return Err(before.explain(delivery_error(error))),
            };
            match request.judge(frame, &self.config) {
                Verdict::Answered(outcome) => {
                    if self.config.reuse && request.success_is_told && before.foreign == 0 {
                        self.pool.put(client);
                    }
                    return outcome;
                }
                Verdict::Unclear(error) => return Err(error),
                Verdict::Committed => {
                    before.committed = true;
                    since = Instant::now();
                }
                Verdict::Foreign if before.foreign < MAX_FOREIGN => {
                    before.foreign += 1;
                    tracing::warn!(
                        destination = %self.name, peer = %self.config.address,
                        "passed over an acknowledgment whose MSA-2 is not the MSH-10 of the message sent"
                    );
                }
                Verdict::Foreign => {
                    let reason = "no acknowledgment of its own".to_owned();
                    return Err(before.explain(DeliveryError::Unknown { reason }));
                }
            }
        }
    }
}

/// What came before the answer.
#[derive(Default)]
struct Before {
    foreign: usize,
    committed: bool,
}

impl Before {
    fn explain(&self, error: DeliveryError) -> DeliveryError {
        let DeliveryError::Unknown { mut reason } = error else { return error };
        if self.committed {
            reason.push_str(", after CA");
        }
        if self.foreign > 0 {
            reason.push_str(&format!(", after {} of other messages", self.foreign));
        }
        DeliveryError::Unknown { reason }
    }
}

#[async_trait]
impl crate::Outbound for Outbound {
    async fn deliver(&self, outgoing: &Outgoing) -> Result<Receipt, DeliveryError> {
        if outgoing.format != Format::Hl7v2 {
            return Err(not_sent("MLLP carries HL7 v2 only; convert the message before this destination"));
        }
        let request = Request::read(&outgoing.bytes, &self.config)?;
        // Never closed; and if it were, going on without a permit would do no harm.
        let _slot = self.slots.acquire().await;
        let client = self.send(&outgoing.bytes).await?;
        self.answer(client, &request).await
    }

    async fn probe(&self) -> Result<String, DeliveryError> {
        let started = Instant::now();
        drop(self.connect().await?);
        let took = Duration::from_millis(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
        Ok(format!("connected to {} in {took:?}", self.config.address))
    }
}

fn not_sent(why: &str) -> DeliveryError {
    DeliveryError::Refused(Receipt { summary: format!("not sent: {why}"), answer: bytes::Bytes::new() })
}

/// The message asked for no acknowledgment of success, and the peer closed without one of failure.
fn taken_in_silence() -> Receipt {
    let summary = "sent whole; MSH-15 and MSH-16 ask for no acknowledgment of success".to_owned();
    Receipt { summary, answer: bytes::Bytes::new() }
}

fn delivery_error(error: ClientError) -> DeliveryError {
    match error {
        ClientError::Unreachable { address, source } => DeliveryError::Unavailable {
            reason: format!("cannot connect to {address}: {source}"),
            retry_after: None,
            down: true,
        },
        ClientError::NotSent(source) => DeliveryError::Unavailable {
            reason: format!("the message was not sent whole: {source}"),
            retry_after: None,
            down: false,
        },
        ClientError::Unframable { .. } => not_sent(&error.to_string()),
        ClientError::NoAnswer { .. } => DeliveryError::Unknown { reason: error.to_string() },
    }
}
