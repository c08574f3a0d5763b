//! The destination: a pool of connections to one FHIR server.

use std::error::Error as _;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, redirect, retry};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::Answer;
use super::config::OutboundConfig;
use super::request::{Expects, Request};
use super::{probe, tls, transport, verdict};
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
            .user_agent(concat!("tributary/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(&config))
            .connect_timeout(config.connect_timeout.0)
            .timeout(config.answer_timeout.0)
            .pool_idle_timeout(config.idle_timeout.0)
            .pool_max_idle_per_host(config.connections.get())
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy();
        let (ca, identity) = (config.ca_file.as_deref(), config.identity_file.as_deref());
        let client =
            tls::configure(builder, config.url.is_secure(), ca, identity)?.build().map_err(|error| ChannelError {
                what: format!("cannot set up TLS for {:?}: look at `ca_file` and `identity_file`", config.url),
                source: error.source().map(|source| io::Error::other(source.to_string())),
            })?;
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
fn headers(config: &OutboundConfig) -> HeaderMap {
    let mut headers = config.headers.map().clone();
    headers.insert(ACCEPT, FHIR_JSON);
    if let Some(auth) = &config.auth {
        headers.insert(AUTHORIZATION, auth.authorization().clone());
    }
    headers
}

/// Message, delivery and a checksum of what is sent: the same over all attempts, yet another one for
/// the rest of a batch, which a server that knows the name would else take for sent already.
fn request_id(outgoing: &Outgoing, body: &Bytes) -> String {
    format!("{}-{}-{:08x}", outgoing.message, outgoing.delivery, crc32c::crc32c(body))
}
