//! A site's configuration, checked and resolved: what the engine is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use channels::setting::{Size, Span};
use message::Provider;
use message::consent::{Confidentiality, Purpose};
use serde::Deserialize;

use super::awaited::condition::Condition;
use super::awaited::{fhir, file, http, mllp};

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
    /// SHA-256 over all files and what they refer to, in hexadecimal: it goes into lineage.
    pub hash: String,
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
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            base_uri: String::from("urn:tributary"),
            name: String::from("tributary"),
            operator: String::new(),
            grace: Span(Duration::from_secs(30)),
            admin: AdminConfig::default(),
            log: LogConfig::default(),
            store: StoreConfig::default(),
            limits: LimitsConfig::default(),
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

/// One feed in: `channels/NAME.toml`.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// Its name: its file's name.
    pub name: String,
    /// SHA-256 over its file and what it refers to, in hexadecimal.
    pub hash: String,
    /// Its file.
    pub file: PathBuf,
    /// What it is, for people.
    pub description: String,
    /// False keeps it from starting.
    pub enabled: bool,
    /// Whose EMR sends: a key of [`Site::providers`].
    pub provider: String,
    /// Protocol and address.
    pub inbound: InboundKind,
    /// When the sender hears "accepted".
    pub acknowledge: Acknowledge,
    /// IANA zone of times that carry no offset.
    pub time_zone: jiff::tz::TimeZone,
    /// MSH-18 of messages that do not say it, such as `8859/1`.
    pub charset: String,
    /// What becomes of a message with bytes that are no text in its charset.
    pub undecodable: Undecodable,
    /// What everything from here may be used for; `None` does not restrict it.
    pub purposes: Option<BTreeSet<Purpose>>,
    /// How confidential everything from here is, at least.
    pub confidentiality: Confidentiality,
    /// What orders deliveries.
    pub lane: LaneKey,
    /// What is done to each message, in order.
    pub transforms: Vec<TransformConfig>,
    /// Where each message goes.
    pub routes: Vec<RouteConfig>,
    /// What `tributary test` tries.
    pub tests: Vec<TestConfig>,
}

/// A channel's protocol and address: the one table under `[inbound]`.
#[derive(Clone, Debug)]
pub enum InboundKind {
    /// HL7 v2 over MLLP: `[inbound.mllp]`.
    Mllp(mllp::InboundConfig),
    /// FHIR Bundles over HTTP: `[inbound.http]`.
    Http(http::InboundConfig),
    /// A drop folder: `[inbound.file]`.
    File(file::InboundConfig),
}

impl InboundKind {
    /// Its key under `[inbound]`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Mllp(_) => "mllp",
            Self::Http(_) => "http",
            Self::File(_) => "file",
        }
    }

    /// The address it listens on, if it does.
    #[must_use]
    pub fn listen(&self) -> Option<SocketAddr> {
        match self {
            Self::Mllp(config) => Some(config.listen),
            Self::Http(config) => Some(config.listen),
            Self::File(_) => None,
        }
    }

    /// The folder it watches, if it does.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(config) => Some(&config.folder),
            Self::Mllp(_) | Self::Http(_) => None,
        }
    }
}

/// When a sender hears "accepted".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acknowledge {
    /// Once the message is on disk.
    #[default]
    Stored,
    /// Once its transforms have run and its deliveries are queued.
    Processed,
    /// Once every destination has taken it.
    Delivered,
}

/// What becomes of a message with bytes that are no text in its charset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undecodable {
    /// It is refused, with the place.
    #[default]
    Refuse,
    /// It is taken; each place is a finding, and the bytes stand as U+FFFD in what is made of it.
    Flag,
}

/// What orders the deliveries of a channel: those of one lane to one destination leave one at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaneKey {
    /// The patient's identifier.
    #[default]
    Patient,
    /// The channel: all its messages in one order.
    Channel,
    /// Nothing: each delivery for itself.
    None,
}

/// One step: `[[transform]]`, named by its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransformConfig {
    /// HL7 v2 to FHIR R4 by the mapping tables.
    #[serde(rename = "hl7v2-to-fhir")]
    Hl7v2ToFhir(Hl7v2ToFhirConfig),
}

/// Options of `hl7v2-to-fhir`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hl7v2ToFhirConfig {
    /// Folder of the site's own rows over the built-in tables: `maps/NAME` in the site's folder,
    /// written as `NAME`.
    pub maps: Option<PathBuf>,
}

/// One way from a channel to destinations: `[[route]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RouteConfig {
    /// What it is, for people and for the "filtered" reason; may be empty.
    #[serde(default)]
    pub name: String,
    /// Names of destinations; at least one.
    pub to: Vec<String>,
    /// What the recipient will use it for; all of them must be allowed.
    pub purpose: BTreeSet<Purpose>,
    /// What a message must be like to take it; `None` takes all.
    pub when: Option<Condition>,
    /// What leaves.
    #[serde(default)]
    pub content: Content,
}

/// What of a message leaves by a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// What the transforms made of it.
    #[default]
    Converted,
    /// The bytes as they came.
    Original,
}

/// What `tributary test` tries: `[[test]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TestConfig {
    /// A sentence that says what must be true.
    pub name: String,
    /// The file to send; relative to the channel's file.
    pub send: PathBuf,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expectation,
}

/// What must come of a test's message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Expectation {
    /// MSA-1 of the answer.
    pub ack: Option<String>,
    /// A destination that a route must take it to.
    pub to: Option<String>,
    /// What must be true of the converted content.
    pub fhirpath: Option<String>,
}

/// One way out: `destinations/NAME.toml`.
#[derive(Clone, Debug)]
pub struct DestinationConfig {
    /// Its name: its file's name.
    pub name: String,
    /// SHA-256 over its file and what it refers to, in hexadecimal.
    pub hash: String,
    /// Its file.
    pub file: PathBuf,
    /// What it is, for people.
    pub description: String,
    /// False keeps its deliveries in the queue.
    pub enabled: bool,
    /// Who gets it: a key of [`Site::providers`].
    pub recipient: String,
    /// True for a destination that real care depends on: test data never goes there.
    pub production: bool,
    /// The highest confidentiality that it may be sent.
    pub clearance: Confidentiality,
    /// Protocol and address.
    pub outbound: OutboundKind,
    /// When and how often a delivery is tried again.
    pub retry: RetryConfig,
    /// When the whole destination pauses.
    pub pause: PauseConfig,
    /// Attempts a second, at most; `None` does not limit them.
    pub rate: Option<f64>,
    /// Time between the starts of two attempts, at least.
    pub min_interval: Span,
    /// Lanes that are under way at the same time.
    pub concurrency: NonZeroUsize,
    /// True keeps a lane waiting behind a dead letter; false lets it go on.
    pub block_lane: bool,
}

/// A destination's protocol and address: the one table under `[outbound]`.
#[derive(Clone, Debug)]
pub enum OutboundKind {
    /// A FHIR server: `[outbound.fhir]`.
    Fhir(fhir::OutboundConfig),
    /// An MLLP receiver: `[outbound.mllp]`.
    Mllp(mllp::OutboundConfig),
    /// A folder: `[outbound.file]`.
    File(file::OutboundConfig),
}

impl OutboundKind {
    /// Its key under `[outbound]`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Fhir(_) => "fhir",
            Self::Mllp(_) => "mllp",
            Self::File(_) => "file",
        }
    }
}

/// `[retry]`: when and how often a delivery is tried again.
///
/// The wait after attempt *n* is `first * factor^(n-1)`, at most `max_delay`, spread by `jitter`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct RetryConfig {
    /// Wait after the first attempt.
    pub first: Span,
    /// What each further wait is multiplied by; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max_delay: Span,
    /// How far a wait is spread: `0.2` makes it 80 to 120 per cent. From 0 to 1.
    pub jitter: f64,
    /// How many attempts, by what went wrong.
    pub attempts: Attempts,
    /// What to do when it is unknown whether the destination took the message.
    pub on_unknown: OnUnknown,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            first: Span(Duration::from_secs(1)),
            factor: 2.0,
            max_delay: Span(Duration::from_secs(5 * 60)),
            jitter: 0.2,
            attempts: Attempts::default(),
            on_unknown: OnUnknown::default(),
        }
    }
}

/// `[retry.attempts]`: how many attempts of a delivery may fail in one way before it is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Attempts {
    /// The destination was down or too busy.
    pub unavailable: Budget,
    /// It read the message and could not process it now (AE, CE).
    pub erred: Budget,
    /// It may or may not have taken it, where [`OnUnknown::Retry`] is chosen.
    pub unknown: Budget,
}

impl Default for Attempts {
    fn default() -> Self {
        let ten = Budget::AtMost(NonZeroU32::MIN.saturating_add(9));
        Self { unavailable: Budget::Unlimited, erred: ten, unknown: ten }
    }
}

/// A number of attempts: `10` or `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Until it is delivered.
    Unlimited,
    /// This many, the first included.
    AtMost(NonZeroU32),
}

impl Budget {
    /// True if after `attempts` there may be another.
    #[must_use]
    pub fn allows_after(self, attempts: u32) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(most) => attempts < most.get(),
        }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Budget;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of attempts from 1 on, or \"unlimited\"")
            }

            fn visit_i64<E: serde::de::Error>(self, attempts: i64) -> Result<Budget, E> {
                let attempts = u32::try_from(attempts).ok().and_then(NonZeroU32::new);
                attempts.map(Budget::AtMost).ok_or_else(|| E::custom("attempts must be 1 or more"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Budget, E> {
                match text {
                    "unlimited" => Ok(Budget::Unlimited),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What to do when it is unknown whether the destination took a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnknown {
    /// Send it again: the destination may get it twice.
    #[default]
    Retry,
    /// Make it a dead letter: an operator looks.
    Dead,
    /// Hold it: an operator releases or skips it.
    Hold,
}

/// `[pause]`: when the whole destination pauses, and how it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PauseConfig {
    /// Attempts in a row, over all lanes, that find it down.
    pub after: NonZeroU32,
    /// Time between probes while it is paused.
    pub probe_interval: Span,
}

impl Default for PauseConfig {
    fn default() -> Self {
        Self { after: NonZeroU32::MIN.saturating_add(4), probe_interval: Span(Duration::from_secs(10)) }
    }
}
