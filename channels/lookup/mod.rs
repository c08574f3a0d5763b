//! A service that is asked a question over HTTP and answers in JSON: who a patient is, what they consent to.
//!
//! A question waits for its answer, a few seconds at most, and changes nothing at the service: it may be put twice.
//! What the answer means is the asker's to say.

mod cache_control;
mod config;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::sync::Semaphore;

pub use self::cache_control::Keep;
pub use self::config::LookupConfig;
use crate::ChannelError;
use crate::fhir::{http_client, transport};

/// A service, as its settings say.
pub struct Lookup {
    client: Client,
    config: LookupConfig,
    /// One permit a question.
    connections: Semaphore,
}

/// What a service answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The HTTP status: 200 to 499, and none that asks for another try.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    /// How long it may be kept.
    pub keep: Keep,
}

/// No answer came: the service cannot be reached, took too long, or says that it cannot answer now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

impl Lookup {
    /// A service with these settings; nothing is connected yet. Reads `ca_file` and `identity_file`.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if a certificate or key cannot be read or is none.
    pub fn new(config: LookupConfig) -> Result<Self, ChannelError> {
        let builder = Client::builder()
            .default_headers(http_client::headers(
                &config.headers,
                HeaderValue::from_static("application/fhir+json, application/json"),
                config.auth.as_ref(),
            ))
            .connect_timeout(config.connect_timeout.0)
            .timeout(config.answer_timeout.0)
            .pool_idle_timeout(Duration::from_secs(15));
        let (ca, identity) = (config.ca_file.as_deref(), config.identity_file.as_deref());
        let client = http_client::client(builder, &config.url, ca, identity)?;
        let connections = Semaphore::new(config.connections.get().min(Semaphore::MAX_PERMITS));
        Ok(Self { client, config, connections })
    }

    /// Posts `question`, JSON, to the service's URL.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`] after `tries`.
    pub async fn post(&self, question: &serde_json::Value) -> Result<Answered, NoAnswer> {
        let body = Bytes::from(question.to_string());
        let json = HeaderValue::from_static("application/json");
        let request = || self.client.post(self.config.url.root().clone()).header(CONTENT_TYPE, &json);
        self.ask(|| request().body(body.clone())).await
    }

    /// Gets `segments` under the service's URL, with a query.
    ///
    /// # Errors
    ///
    /// [`NoAnswer`] after `tries`.
    pub async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Answered, NoAnswer> {
        self.ask(|| self.client.get(self.config.url.join(segments)).query(query)).await
    }

    async fn ask(&self, request: impl Fn() -> RequestBuilder) -> Result<Answered, NoAnswer> {
        // Nobody closes it.
        let _turn = self.connections.acquire().await.map_err(|_| NoAnswer("it is being closed".to_owned()))?;
        let mut last = NoAnswer("it was not asked".to_owned());
        for _ in 0..self.config.tries.get() {
            match self.once(request()).await {
                Ok(answered) => return Ok(answered),
                Err(failed) => last = failed,
            }
        }
        Err(last)
    }

    async fn once(&self, request: RequestBuilder) -> Result<Answered, NoAnswer> {
        let lost = |error: &reqwest::Error| NoAnswer(transport::reason(error));
        let response = request.send().await.map_err(|error| lost(&error))?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(NoAnswer(format!("it answered HTTP {}", status.as_u16())));
        }
        let keep = keep(response.headers());
        let body = self.body(response).await?;
        Ok(Answered { status: status.as_u16(), body, keep })
    }

    /// The body, up to `max_answer_bytes`.
    async fn body(&self, mut response: Response) -> Result<Bytes, NoAnswer> {
        let most = self.config.max_answer_bytes.as_usize();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| NoAnswer(transport::reason(&error)))? {
            if body.len() + chunk.len() > most {
                return Err(NoAnswer(format!("its answer is longer than {most} bytes (max_answer_bytes)")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// What goes with every question.
fn keep(headers: &HeaderMap) -> Keep {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let said: Vec<String> = headers.get_all(CACHE_CONTROL).iter().map(text).collect();
    let age = headers.get(AGE).map(text).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    Keep::read(&said.join(","), Duration::from_secs(age))
}

#[cfg(test)]
mod tests;
