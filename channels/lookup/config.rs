//! The settings of a service that is asked.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::Credentials;
use crate::fhir::{BaseUrl, Headers};
use crate::setting::{Size, Span};

/// A service that answers questions over HTTP: a table in `services.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupConfig {
    /// Where it is asked, such as `"https://consent.example.org/cds-services/patient-consent-consult"`.
    pub url: BaseUrl,
    /// What we show it: basic or bearer.
    #[serde(default)]
    pub auth: Option<Credentials>,
    /// More headers for every question.
    #[serde(default)]
    pub headers: Headers,
    /// Longest time to connect, TLS handshake included.
    #[serde(default = "two_seconds")]
    pub connect_timeout: Span,
    /// Longest time from asking to the answer's last byte.
    #[serde(default = "two_seconds")]
    pub answer_timeout: Span,
    /// How often a question is put, one after the other, before there is no answer.
    #[serde(default = "two")]
    pub tries: NonZeroU32,
    /// Most questions at once; others wait for one to be answered.
    #[serde(default = "connections")]
    pub connections: NonZeroUsize,
    /// Longest answer read, in bytes.
    #[serde(default = "max_answer_bytes")]
    pub max_answer_bytes: Size,
    /// Certificates, in PEM, of the authorities trusted for this service, in place of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its private key, in PEM, for services that ask for one.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
}

fn two_seconds() -> Span {
    Span(Duration::from_secs(2))
}

fn two() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(1)
}

fn connections() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(15)
}

fn max_answer_bytes() -> Size {
    Size(1 << 20)
}
