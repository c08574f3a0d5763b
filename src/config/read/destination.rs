//! `destinations/NAME.toml`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use channels::setting::Span;
use channels::{fhir, file, mllp};
use message::consent::Confidentiality;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::channel::check_provider;
use super::document::Document;
use super::files::Part;
use super::reader::{keys_of, read};
use super::tree::{Node, Value};
use super::{Base, is_this_machine, keys, one_kind, plain_text};
use crate::config::destination::{Deidentify, DestinationConfig, OutboundKind, PauseConfig, RetryConfig, SignConfig};

/// The keys at the top of the file.
#[derive(Deserialize)]
#[serde(default)]
pub(in crate::config) struct Top {
    description: String,
    enabled: bool,
    recipient: String,
    production: bool,
    clearance: Confidentiality,
    policy: Option<String>,
    consent_service: Option<String>,
    minimum_necessary: BTreeMap<String, Vec<String>>,
    mask: BTreeMap<String, Vec<String>>,
    deidentify: Option<Deidentify>,
    agreements: BTreeMap<String, String>,
    park_alarm: Span,
    max_park: Option<Span>,
    /// Read by [`outbound`].
    #[serde(rename = "outbound")]
    _outbound: IgnoredAny,
    retry: RetryConfig,
    pause: PauseConfig,
    rate: Option<f64>,
    min_interval: Span,
    concurrency: NonZeroUsize,
    block_lane: bool,
    sign: Option<SignConfig>,
}

impl Default for Top {
    fn default() -> Self {
        Self {
            description: String::new(),
            enabled: true,
            recipient: String::new(),
            production: false,
            clearance: Confidentiality::default(),
            policy: None,
            consent_service: None,
            minimum_necessary: BTreeMap::new(),
            mask: BTreeMap::new(),
            deidentify: None,
            agreements: BTreeMap::new(),
            park_alarm: Span(std::time::Duration::from_secs(15 * 60)),
            max_park: None,
            _outbound: IgnoredAny,
            retry: RetryConfig::default(),
            pause: PauseConfig::default(),
            rate: None,
            min_interval: Span(std::time::Duration::ZERO),
            concurrency: NonZeroUsize::MIN.saturating_add(15),
            block_lane: false,
            sign: None,
        }
    }
}

/// What every table under `[outbound]` may have, besides the protocol's own keys.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::config) struct Common {
    plain_text: Option<String>,
}

/// Reads one destination, and reports what is wrong with it for itself.
pub(in crate::config) fn destination(part: &Part, base: &Base<'_>) -> Option<DestinationConfig> {
    let document = &part.document;
    let top = read::<Top>(document, document.root(), &[]);
    let outbound = outbound(document, base);
    check_provider(document, "recipient");
    check_numbers(document);
    check_minimum(document);
    if let Some(node) = document.root().at(&["consent_service"])
        && document.root().at(&["policy"]).is_none()
    {
        let help = "add policy = \"NAME\": what the law says, and what is done where the service knows of no consent";
        document.error(node.span.clone(), "a consent service decides nothing without a policy", Some(help.to_owned()));
    }
    let (top, outbound) = (top?, outbound?);
    check_waits(document, &top.retry);
    let sign = top.sign.as_ref().and_then(|sign| keys::signing(document, base.dir, sign, &outbound));
    let files = top.sign.iter().flat_map(|sign| [Some(&sign.key), sign.certificates.as_ref()]).flatten();
    let files: Vec<PathBuf> = files.map(|file| base.dir.join(file)).collect();
    Some(DestinationConfig {
        name: part.name.clone(),
        hash: String::new(),
        filled: document.filled(&[secret_files(&outbound), files.iter().map(PathBuf::as_path).collect()].concat()),
        file: document.path().to_owned(),
        description: top.description,
        enabled: top.enabled,
        recipient: top.recipient,
        production: top.production,
        clearance: top.clearance,
        policy: top.policy,
        consent_service: top.consent_service,
        minimum_necessary: top.minimum_necessary,
        mask: top.mask,
        deidentify: top.deidentify,
        agreements: top.agreements,
        park_alarm: top.park_alarm,
        max_park: top.max_park,
        outbound,
        retry: top.retry,
        pause: top.pause,
        rate: top.rate,
        min_interval: top.min_interval,
        concurrency: top.concurrency,
        block_lane: top.block_lane,
        sign,
    })
}

fn outbound(document: &Document, base: &Base<'_>) -> Option<OutboundKind> {
    let (kind, table) = one_kind(document, "outbound", &["fhir", "mllp", "file"])?;
    let common_keys = keys_of::<Common>();
    let (outbound, keys) = match kind {
        "fhir" => (read(document, table, common_keys).map(OutboundKind::Fhir), keys_of::<fhir::OutboundConfig>()),
        "mllp" => (read(document, table, common_keys).map(OutboundKind::Mllp), keys_of::<mllp::OutboundConfig>()),
        _ => (read(document, table, common_keys).map(OutboundKind::File), keys_of::<file::OutboundConfig>()),
    };
    let common = read::<Common>(document, table, keys);
    certificates(document, table, base.dir);
    let (mut outbound, common) = (outbound?, common?);
    let reason = common.plain_text.as_deref();
    match &mut outbound {
        OutboundKind::Fhir(config) => {
            if table.at(&["url"]).and_then(Node::text).is_some_and(is_clear) {
                plain_text(document, table, reason, "messages leave", "use https://, ");
            }
            let from_dir = |file: Option<PathBuf>| file.map(|file| base.dir.join(file));
            config.ca_file = from_dir(config.ca_file.take());
            config.identity_file = from_dir(config.identity_file.take());
        }
        OutboundKind::Mllp(config) if !is_this_machine(host_of(config.address.as_str())) => {
            plain_text(document, table, reason, "messages leave", "send through a tunnel on 127.0.0.1, ");
        }
        OutboundKind::Mllp(_) => {}
        OutboundKind::File(config) => config.folder = base.data_dir.join(&config.folder),
    }
    Some(outbound)
}

/// What the destination reads besides its own file.
fn secret_files(outbound: &OutboundKind) -> Vec<&Path> {
    match outbound {
        OutboundKind::Fhir(config) => {
            config.ca_file.iter().chain(&config.identity_file).map(PathBuf::as_path).collect()
        }
        OutboundKind::Mllp(_) | OutboundKind::File(_) => Vec::new(),
    }
}

/// Certificates and keys that are named must be there.
pub(super) fn certificates(document: &Document, table: &Node, dir: &Path) {
    for node in ["ca_file", "identity_file"].iter().filter_map(|key| table.at(&[key])) {
        let file = node.text().map(|name| dir.join(name)).filter(|file| !file.is_file());
        if let Some(file) = file {
            let help = format!("it is looked for at {}", file.display());
            document.error(node.span.clone(), "there is no such file", Some(help));
        }
    }
}

/// True if requests to `url` could be read on the way.
pub(super) fn is_clear(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !url.host_str().is_some_and(is_this_machine))
}

/// The host of `host:port`.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

fn check_numbers(document: &Document) {
    let check = |path: &[&str], right: fn(f64) -> bool, what: &str| {
        let Some(node) = document.root().at(path) else { return };
        if number(node).is_some_and(|number| !right(number)) {
            document.error(node.span.clone(), format!("`{}` must be {what}", path.last().unwrap_or(&"")), None);
        }
    };
    check(&["retry", "factor"], |factor| factor.is_finite() && factor >= 1.0, "1 or more");
    check(&["retry", "jitter"], |jitter| (0.0..=1.0).contains(&jitter), "between 0 and 1");
    check(&["rate"], |rate| rate.is_finite() && rate > 0.0, "more than 0");
}

#[allow(clippy::cast_precision_loss, reason = "only compared with 0 and 1")]
fn number(node: &Node) -> Option<f64> {
    match node.value {
        Value::Integer(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => None,
    }
}

/// A list of what is necessary, or of what is masked, names resource types; an empty one says nothing of them.
fn check_minimum(document: &Document) {
    let lists =
        [["minimum_necessary"], ["mask"]].map(|key| document.root().at(&key).map(Node::entries).unwrap_or_default());
    for entry in lists.into_iter().flatten() {
        let is_type = entry.key.starts_with(|c: char| c.is_ascii_uppercase());
        if !is_type || !entry.key.chars().all(|c| c.is_ascii_alphabetic()) {
            let help = "write it like Patient = [\"identifier\", \"birthDate\"], or Claim = [\"*\"]".to_owned();
            document.error(entry.span.clone(), "this is no FHIR resource type", Some(help));
        }
    }
}

fn check_waits(document: &Document, retry: &RetryConfig) {
    let Some(node) = document.root().at(&["retry"]).filter(|_| retry.first > retry.max_delay) else { return };
    let place = node.at(&["max_delay"]).or_else(|| node.at(&["first"])).unwrap_or(node);
    let message = format!("the longest wait ({:?}) is shorter than the first ({:?})", retry.max_delay, retry.first);
    document.error(place.span.clone(), message, None);
}
