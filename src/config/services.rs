//! Who is asked before something leaves: `services.toml`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use channels::lookup::LookupConfig;
use channels::setting::Span;
use serde::Deserialize;

/// The services that the engine asks: `services.toml`.
#[derive(Clone, Debug, Default)]
pub struct ServicesConfig {
    /// External decision services, by name: `[consent.NAME]`. A destination names its own.
    pub consent: BTreeMap<String, Arc<LookupConfig>>,
    /// The patient identity manager: `[identity]`.
    pub identity: Option<Arc<IdentityConfig>>,
}

/// A patient identity manager (IHE PIXm ITI-83): `[identity]` in `services.toml`.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// Where it is asked: its FHIR base.
    pub lookup: LookupConfig,
    /// How long its answers are kept.
    pub keep: KeepConfig,
}

/// How long what an identity manager says is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct KeepConfig {
    /// So long it is not asked again.
    pub cache: Span,
    /// So long an answer may be used while it cannot be asked.
    pub max_stale: Span,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self { cache: Span(Duration::from_secs(60)), max_stale: Span(Duration::from_secs(15 * 60)) }
    }
}
