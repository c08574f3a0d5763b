//! The destination: a pool of connections to one FHIR server.

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::Answer;
use super::config::OutboundConfig;
use super::request::{Expects, Request};
use super::{http_client, probe, transport, verdict};
use crate::{ChannelError, Clock, DeliveryError, Outgoing, Receipt};

/// FHIR R4 §3.1.0.15: our name for a request, the same over all attempts.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// FHIR R4 §3.1.0.8.1: create only if a search finds nothing.
const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");

const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json");

/// A FHIR server as a destination.
pub struct Outbound {
    client: Client,
    config: OutboundConfig,
    /// One permit a connection.
    connections: Semaphore,
    clock: Clock,
}

impl Outbound {
    /// A destination with these settings; nothing is connected yet. Reads `ca_file` and
    /// `identity_file`.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if a certificate or key cannot be read or is none.
    pub fn new(config: OutboundConfig, clock: Clock) -> Result<Self, ChannelError> {
        let builder = Client::builder()
            .default_headers(http_client::headers(&config.headers, FHIR_JSON, config.auth.as_ref()))
            .connect_timeout(config.connect_timeout.0)
            .timeout(config.answer_timeout.0)
            .pool_idle_timeout(config.idle_timeout.0)
            .pool_max_idle_per_host(config.connections.get());
        let (ca, identity) = (config.ca_file.as_deref(), config.identity_file.as_deref());
        let client = http_client::client(builder, &config.url, ca, identity)?;
        let connections = Semaphore::new(config.connections.get().min(Semaphore::MAX_PERMITS));
        Ok(Self { client, config, connections, clock })
    }

    /// Waits until a connection is free.
    async fn connection(&self) -> Result<SemaphorePermit<'_>, DeliveryError> {
        // Nobody closes it.
        self.connections.acquire().await.map_err(|_| DeliveryError::Unavailable {
            reason: "the destination is being closed".to_owned(),
            retry_after: None,
            down: false,
        })
    }

    fn prepare(&self, request: &Request, outgoing: &Outgoing) -> RequestBuilder {
        let mut prepared = self
            .client
            .request(request.method.clone(), request.url.clone())
            .header(CONTENT_TYPE, FHIR_JSON)
            .header(X_REQUEST_ID, request_id(outgoing, &request.body));
        if request.expects != Expects::Reply {
            prepared = prepared.header(PREFER, self.config.prefer.header());
        }
        if let Some(search) = &request.if_none_exist {
            prepared = prepared.header(IF_NONE_EXIST, search);
        }
        prepared.body(request.body.clone())
    }

    /// Sends `request` and reads its answer.
    async fn exchange(&self, request: RequestBuilder) -> Result<Answer, DeliveryError> {
        let response = request.send().await.map_err(|error| transport::failure(&error))?;
        Ok(Answer::read(response, self.config.max_answer_bytes.as_usize(), (self.clock)()).await)
    }
}

#[async_trait]
impl crate::Outbound for Outbound {
    async fn deliver(&self, outgoing: &Outgoing) -> Result<Receipt, DeliveryError> {
        let request = Request::new(outgoing, &self.config).map_err(DeliveryError::Refused)?;
        let _connection = self.connection().await?;
        let answer = self.exchange(self.prepare(&request, outgoing)).await?;
        verdict::judge(&request, answer, self.config.accept_empty)
    }

    async fn probe(&self) -> Result<String, DeliveryError> {
        let _connection = self.connection().await?;
        let answer = self.exchange(self.client.get(self.config.url.join(&["metadata"]))).await?;
        probe::report(answer, self.config.mode)
    }
}

/// What goes with every request.
/// Message, delivery and a checksum of what is sent, but for its signature: the same over all attempts, yet another one for
/// the rest of a batch, which a server that knows the name would else take for sent already.
fn request_id(outgoing: &Outgoing, body: &Bytes) -> String {
    let checksum = outgoing.unsigned.unwrap_or_else(|| crc32c::crc32c(body));
    format!("{}-{}-{checksum:08x}", outgoing.message, outgoing.delivery)
}
