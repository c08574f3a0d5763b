//! A way out, resolved: protocol, recipient, and how deliveries are tried.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use channels::setting::Span;
use channels::{fhir, file, mllp};
use message::consent::Confidentiality;
use message::signature::SigningKey;
use serde::Deserialize;

use super::site::Fingerprint;

/// One way out: `destinations/NAME.toml`.
#[derive(Clone, Debug)]
pub struct DestinationConfig {
    /// Its name: its file's name.
    pub name: String,
    /// SHA-256 over its file and what it refers to, in hexadecimal.
    pub hash: String,
    /// What was filled into its file.
    pub filled: Fingerprint,
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
    /// The policy by which patients' consents are decided for it: a key of [`Site::consent`]. Without one, what a
    /// message's source and channel say of its use decides alone.
    pub policy: Option<String>,
    /// The external decision service that is asked about it: a key of [`ServicesConfig::consent`](super::ServicesConfig).
    pub consent_service: Option<String>,
    /// What of each resource type is necessary there, where a policy asks for the minimum (MINEC): elements, or `*`.
    pub minimum_necessary: BTreeMap<String, Vec<String>>,
    /// What of each resource type is masked there, where something asks for that (MASK, REDACT): elements.
    pub mask: BTreeMap<String, Vec<String>>,
    /// How what leaves is de-identified, where something asks for that; it cannot be where `None`.
    pub deidentify: Option<Deidentify>,
    /// What was agreed upon with the recipient: codes of obligations, each with the agreement's name.
    pub agreements: BTreeMap<String, String>,
    /// After how long something that waits for consent is told of as an alarm.
    pub park_alarm: Span,
    /// After how long something that waits for consent becomes a dead letter, with its reason; never where `None`.
    pub max_park: Option<Span>,
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
    /// The key that signs what leaves; nothing is signed where `None`.
    pub sign: Option<Arc<SigningKey>>,
}

/// How what leaves is de-identified: `deidentify = "…"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deidentify {
    /// By the Safe Harbor rule (45 CFR 164.514(b)(2)): nobody can be told by it, nor told to be the same as before.
    SafeHarbor,
    /// The same, but that each person has a lasting pseudonym at this destination.
    Pseudonyms,
}

/// What signs the Bundles that leave: `sign = { key = "…", kid = "…" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignConfig {
    /// The private key's file, PKCS#8 in PEM; relative to the site's folder.
    pub key: PathBuf,
    /// What receivers know the key as.
    pub kid: String,
    /// The key's certificate and those that it leads to, in PEM; they go with each signature (`x5c`).
    pub certificates: Option<PathBuf>,
}

/// A destination's protocol and address: the one table under `[outbound]`.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one for each destination, and it is not moved about")]
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

    /// The folder it writes to, if it does.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(config) => Some(&config.folder),
            Self::Fhir(_) | Self::Mllp(_) => None,
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
