//! A site, checked and resolved: what the engine is built from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use channels::setting::{Secret, Size, Span};
use jiff::tz::TimeZone;
use message::{Provider, Sha256};
use serde::Deserialize;

use super::audit::AuditConfig;
use super::channel::ChannelConfig;
use super::consent::ConsentConfig;
use super::destination::DestinationConfig;
use super::problem::Problem;
use super::read::zone;

/// A whole site: everything that its folder says.
#[derive(Clone, Debug)]
pub struct Site {
    /// The folder it was read from.
    pub dir: PathBuf,
    /// The engine's own settings: `tributary.toml`.
    pub engine: EngineConfig,
    /// The organisations, by key: `providers.toml`.
    pub providers: BTreeMap<String, Arc<Provider>>,
    /// The feeds in, by name: `channels/NAME.toml`.
    pub channels: BTreeMap<String, ChannelConfig>,
    /// The ways out, by name: `destinations/NAME.toml`.
    pub destinations: BTreeMap<String, DestinationConfig>,
    /// What consent is decided by: `policies/` and `labels/`.
    pub consent: Arc<ConsentConfig>,
    /// SHA-256 over all files and what they refer to, in hexadecimal: it goes into lineage.
    pub hash: String,
    /// What somebody should look at, though the site can run.
    pub warnings: Vec<Problem>,
}

/// The digest of what `${env:}` and `${file:}` gave a file, and of certificates that it names, so that a
/// changed secret is a change.
/// It is no part of any hash that is shown, and does not print.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub(super) Sha256);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The engine's own settings: `tributary.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct EngineConfig {
    /// Where the store lives and where relative drop folders are; relative to the site's folder.
    pub data_dir: PathBuf,
    /// The site's own URI, under which its sources and the engine are named, without a final `/`.
    pub base_uri: String,
    /// This engine's name, for people and for Provenance: `tributary-1`.
    pub name: String,
    /// The organisation that runs it, for Provenance and CapabilityStatement.
    pub operator: String,
    /// IANA zone of times that carry no offset, for channels that name none.
    #[serde(deserialize_with = "zone")]
    pub time_zone: TimeZone,
    /// How long a stop may wait for what is in hand before it aborts; all accepted is on disk.
    pub grace: Span,
    /// Where operators and metrics reach it.
    pub admin: AdminConfig,
    /// How it logs.
    pub log: LogConfig,
    /// How it stores.
    pub store: StoreConfig,
    /// How much it takes in hand at once.
    pub limits: LimitsConfig,
    /// How its audit is proven, and where else it goes.
    pub audit: AuditConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            base_uri: String::from("urn:tributary"),
            name: String::from("tributary"),
            operator: String::new(),
            time_zone: TimeZone::UTC,
            grace: Span(Duration::from_secs(30)),
            admin: AdminConfig::default(),
            log: LogConfig::default(),
            store: StoreConfig::default(),
            limits: LimitsConfig::default(),
            audit: AuditConfig::default(),
        }
    }
}

/// `[admin]`: where operators and metrics reach the engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AdminConfig {
    /// Loopback address of `/metrics`, `/health` and `/ready`. `None` opens no port.
    pub listen: Option<SocketAddr>,
    /// The local socket that the command line talks to; relative to the data directory.
    pub socket: PathBuf,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: None, socket: PathBuf::from("tributary.sock") }
    }
}

/// `[log]`: how the engine logs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// What to log, as a `tracing` filter: `info`, `warn,tributary::engine=debug`.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: String::from("info") }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[store]`: how the engine stores.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StoreConfig {
    /// Size of one preallocated segment of the log.
    pub segment: Size,
    /// Payloads from this size on get a file of their own, so that they do not make others wait.
    pub big_threshold: Size,
    /// How long a control id is remembered for duplicate checks.
    pub duplicate_window: Span,
    /// How long finished messages are kept.
    pub keep: Span,
    /// Intake says "unavailable" when the disk has less than this left.
    pub min_free: Size,
    /// A file that is deleted to make room to reopen after the disk was full.
    pub ballast: Size,
    /// 64 hexadecimal digits (AES-256): payloads and records are encrypted at rest with them.
    pub encryption_key: Option<Secret>,
}

impl StoreConfig {
    /// The key's thirty-two bytes; `None` where there is no key, or it is none.
    #[must_use]
    pub fn key(&self) -> Option<[u8; 32]> {
        key_of(self.encryption_key.as_ref()?.reveal())
    }
}

/// Sixty-four hexadecimal digits as bytes.
pub(super) fn key_of(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair.first()? * 16 + pair.get(1)?).ok()).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

impl Default for StoreConfig {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            segment: Size(64 << 20),
            big_threshold: Size(512 << 10),
            duplicate_window: Span(Duration::from_secs(7 * DAY)),
            keep: Span(Duration::from_secs(30 * DAY)),
            min_free: Size(512 << 20),
            ballast: Size(64 << 20),
            encryption_key: None,
        }
    }
}

/// `[limits]`: how much the engine takes in hand at once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Bytes of messages in memory, over all channels and destinations; more wait at the door.
    pub max_bytes_in_flight: Size,
    /// Messages whose transforms run at the same time. `None`: one for each core.
    pub transforms: Option<NonZeroUsize>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { max_bytes_in_flight: Size(256 << 20), transforms: None }
    }
}
