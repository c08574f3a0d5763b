//! `[audit]`: how the audit is proven, and where else it goes.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use channels::fhir::{self, BaseUrl, Headers};
use channels::setting::Span;
use channels::{Credentials, syslog};
use serde::Deserialize;

/// `[audit]`: how the audit is proven, and where else it goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuditConfig {
    /// How far the audit may be behind what happens while things are delivered. Past that, and while it cannot be
    /// written, deliveries wait.
    pub max_behind: Span,
    /// The Ed25519 key that checkpoints are signed with, PKCS#8 in PEM; made if it is not there. `None` is
    /// `audit.key` in the data directory.
    pub key: Option<PathBuf>,
    /// A file that checkpoints are written to as well, best on another machine's disk: who rewrites the whole chain
    /// does not get at it. Nothing is signed while it cannot be written.
    pub anchor: Option<PathBuf>,
    /// A folder that each checkpoint is dropped into as a file of its own, best on another machine. It may be away for a
    /// while: what it lacks is dropped when it is back.
    pub anchors: Option<PathBuf>,
    /// An Audit Record Repository that takes FHIR: `[audit.repository]`.
    pub repository: Option<AuditRepositoryConfig>,
    /// One that takes syslog over TLS: `[audit.syslog]`.
    pub syslog: Option<syslog::Config>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            max_behind: Span(Duration::from_secs(10)),
            key: None,
            anchor: None,
            anchors: None,
            repository: None,
            syslog: None,
        }
    }
}

impl AuditConfig {
    /// Where the key is.
    #[must_use]
    pub fn key(&self, data_dir: &Path) -> PathBuf {
        self.key.clone().unwrap_or_else(|| data_dir.join("audit.key"))
    }
}

/// `[audit.repository]`: an Audit Record Repository that takes FHIR (IHE ITI-20, RESTful ATNA).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditRepositoryConfig {
    /// Its base, such as `"https://arr.example.org/fhir"`.
    pub url: BaseUrl,
    /// How an event gets there once, however often it is sent.
    #[serde(default)]
    pub by: By,
    /// Most events in one request.
    #[serde(default = "batch")]
    pub batch: NonZeroUsize,
    /// What we show the repository: basic or bearer.
    #[serde(default)]
    pub auth: Option<Credentials>,
    /// More headers for every request.
    #[serde(default)]
    pub headers: Headers,
    /// Longest time to connect, TLS handshake included.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// Longest time from sending to the answer's last byte.
    #[serde(default = "answer_timeout")]
    pub answer_timeout: Span,
    /// Certificates, in PEM, of the authorities trusted for it, in place of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its private key, in PEM, for a repository that asks for one.
    #[serde(default)]
    pub identity_file: Option<PathBuf>,
    /// Why it may be reached in clear text, though it is another machine.
    #[serde(default)]
    pub plain_text: Option<String>,
}

fn batch() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(99)
}

fn connect_timeout() -> Span {
    Span(Duration::from_secs(10))
}

fn answer_timeout() -> Span {
    Span(Duration::from_secs(60))
}

/// How an event gets to a repository once, however often it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// POST, as ITI-20 has it, if nothing with its tag is there (conditional create).
    #[default]
    Create,
    /// PUT under its own id.
    Update,
}

impl AuditRepositoryConfig {
    /// As the FHIR channel is told of it.
    #[must_use]
    pub fn outbound(&self) -> fhir::OutboundConfig {
        fhir::OutboundConfig {
            auth: self.auth.clone(),
            headers: self.headers.clone(),
            connect_timeout: self.connect_timeout,
            answer_timeout: self.answer_timeout,
            ca_file: self.ca_file.clone(),
            identity_file: self.identity_file.clone(),
            ..fhir::OutboundConfig::batches(self.url.clone())
        }
    }
}
