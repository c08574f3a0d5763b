//! `channels/NAME.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use channels::{Acknowledge, file, http, mllp};
use jiff::tz::TimeZone;
use message::consent::{Confidentiality, Purpose};
use message::hl7v2::{Charset, CharsetOptions, Undecodable};
use serde::Deserialize;
use serde::de::IgnoredAny;
use transforms::stamp::StampOptions;

use super::document::Document;
use super::files::Part;
use super::reader::{keys_of, read};
use super::tree::Node;
use super::{Base, keys, labels, one_kind, plain_text, purpose, zone};
use crate::config::channel::{
    ChannelConfig, InboundKind, LaneKey, LateConfig, Loops, RouteConfig, TestConfig, TransformConfig, Validate,
    VerifySignatures,
};

/// The keys at the top of the file.
#[derive(Deserialize)]
#[serde(default)]
pub(in crate::config) struct Top {
    description: String,
    enabled: bool,
    provider: String,
    /// Read by [`inbound`].
    #[serde(rename = "inbound")]
    _inbound: IgnoredAny,
    purposes: Option<BTreeSet<Purpose>>,
    consents: Vec<String>,
    confidentiality: Confidentiality,
    stamp: StampOptions,
    validate: Validate,
    loops: Loops,
    verify_signatures: VerifySignatures,
    trusted_keys: Vec<PathBuf>,
    lane: LaneKey,
    late_events: LateConfig,
    #[serde(rename = "transform")]
    transforms: Vec<TransformConfig>,
    #[serde(rename = "route")]
    routes: Vec<RouteConfig>,
    #[serde(rename = "test")]
    tests: Vec<TestConfig>,
}

impl Default for Top {
    fn default() -> Self {
        Self {
            description: String::new(),
            enabled: true,
            provider: String::new(),
            _inbound: IgnoredAny,
            purposes: None,
            consents: Vec::new(),
            confidentiality: Confidentiality::default(),
            stamp: StampOptions::default(),
            validate: Validate::default(),
            loops: Loops::default(),
            verify_signatures: VerifySignatures::default(),
            trusted_keys: Vec::new(),
            lane: LaneKey::default(),
            late_events: LateConfig::default(),
            transforms: Vec::new(),
            routes: Vec::new(),
            tests: Vec::new(),
        }
    }
}

/// What every table under `[inbound]` may have, besides the protocol's own keys.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::config) struct Common {
    acknowledge: Acknowledge,
    #[serde(deserialize_with = "zone")]
    time_zone: Option<TimeZone>,
    charset: Charset,
    undecodable: Undecodable,
    plain_text: Option<String>,
}

/// Reads one channel, and reports what is wrong with it for itself.
pub(in crate::config) fn channel(part: &Part, base: &Base<'_>) -> Option<ChannelConfig> {
    let document = &part.document;
    let top = read::<Top>(document, document.root(), &[]);
    let inbound = inbound(document, base);
    check_provider(document, "provider");
    check_routes(document);
    check_references(document, base.dir);
    let (mut top, (inbound, common)) = (top?, inbound?);
    labels::check(document, &top.stamp.label);
    for transform in &mut top.transforms {
        match transform {
            TransformConfig::Hl7v2ToFhir(options) => {
                options.maps = options.maps.take().map(|maps| base.dir.join("maps").join(maps));
            }
            TransformConfig::Script(options) => {
                options.file = base.dir.join(&options.file);
                options.codes = base.dir.join(&options.codes);
            }
            TransformConfig::Label(_) => {}
        }
    }
    let key_files: Vec<PathBuf> = top.trusted_keys.iter().map(|file| base.dir.join(file)).collect();
    let beside = document.path().parent().unwrap_or(base.dir);
    for test in &mut top.tests {
        test.send = beside.join(&test.send);
        test.expect.json = test.expect.json.take().map(|json| beside.join(json));
    }
    Some(ChannelConfig {
        name: part.name.clone(),
        hash: String::new(),
        filled: document.filled(&key_files.iter().map(PathBuf::as_path).collect::<Vec<_>>()),
        file: document.path().to_owned(),
        description: top.description,
        enabled: top.enabled,
        provider: top.provider,
        inbound,
        acknowledge: common.acknowledge,
        time_zone: common.time_zone.unwrap_or_else(|| base.time_zone.clone()),
        charset: CharsetOptions { default: common.charset, undecodable: common.undecodable },
        purposes: top.purposes,
        consents: top.consents,
        confidentiality: top.confidentiality,
        stamp: top.stamp,
        validate: top.validate,
        loops: top.loops,
        verify_signatures: top.verify_signatures,
        trusted_keys: keys::trusted(document, base.dir, &top.trusted_keys, top.verify_signatures),
        lane: top.lane,
        late_events: top.late_events,
        transforms: top.transforms,
        routes: top.routes,
        tests: top.tests,
    })
}

/// Names a provider that must be there: `provider` here, `recipient` in a destination.
pub(super) fn check_provider(document: &Document, key: &str) {
    if document.root().at(&[key]).is_none() {
        let help = format!("add {key} = \"KEY\", a key of providers.toml");
        document.missing(document.root().span.clone(), format!("`{key}` is missing"), Some(help));
    }
}

fn inbound(document: &Document, base: &Base<'_>) -> Option<(InboundKind, Common)> {
    let (kind, table) = one_kind(document, "inbound", &["mllp", "http", "file"])?;
    let common_keys = keys_of::<Common>();
    let (inbound, keys) = match kind {
        "mllp" => (read(document, table, common_keys).map(InboundKind::Mllp), keys_of::<mllp::InboundConfig>()),
        "http" => (read(document, table, common_keys).map(InboundKind::Http), keys_of::<http::InboundConfig>()),
        _ => (read(document, table, common_keys).map(InboundKind::File), keys_of::<file::InboundConfig>()),
    };
    let common = read::<Common>(document, table, keys);
    let (mut inbound, common) = (inbound?, common?);
    if inbound.listen().is_some_and(|address| !address.ip().is_loopback()) {
        plain_text(document, table, common.plain_text.as_deref(), "messages arrive", "listen on 127.0.0.1, ");
    }
    if let InboundKind::File(config) = &mut inbound {
        config.folder = base.data_dir.join(&config.folder);
    }
    Some((inbound, common))
}

fn check_routes(document: &Document) {
    let root = document.root();
    root.at(&["purposes"]).into_iter().for_each(|purposes| purpose::check(document, purposes));
    let Some(routes) = root.at(&["route"]) else {
        let help = "add a [[route]] with `to` and `purpose`; without one, every message ends as filtered".to_owned();
        return document.warning(root.span.clone(), "no route leads out of this channel", Some(help));
    };
    for route in routes.elements() {
        for key in ["to", "purpose"] {
            match route.at(&[key]) {
                None => document.missing(route.span.clone(), format!("`{key}` is missing in [[route]]"), None),
                Some(list) if list.elements().is_empty() => {
                    document.error(list.span.clone(), format!("`{key}` is empty"), None);
                }
                Some(_) => {}
            }
        }
        route.at(&["purpose"]).into_iter().for_each(|purposes| purpose::check(document, purposes));
    }
}

/// What the file refers to must be there: folders of maps, scripts, messages of tests.
fn check_references(document: &Document, dir: &Path) {
    let root = document.root();
    let all = |key: &str| root.at(&[key]).map(Node::elements).unwrap_or_default().iter();
    for maps in all("transform").filter_map(|transform| transform.at(&["hl7v2-to-fhir", "maps"])) {
        let folder = maps.text().map(|name| dir.join("maps").join(name));
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let help = format!("make the folder {} for the site's own rows, or leave `maps` out", folder.display());
            document.error(maps.span.clone(), "there is no such folder of maps", Some(help));
        }
    }
    for script in all("transform").filter_map(|transform| transform.at(&["script", "file"])) {
        let file = script.text().map(|name| dir.join(name));
        if let Some(file) = file.filter(|file| !file.is_file()) {
            let help = format!("it is looked for at {}", file.display());
            document.error(script.span.clone(), "there is no such script", Some(help));
        }
    }
    let beside = document.path().parent().unwrap_or(dir);
    for send in all("test").filter_map(|test| test.at(&["send"])) {
        let file = send.text().map(|name| beside.join(name));
        if let Some(file) = file.filter(|file| !file.is_file()) {
            let help = format!("it is looked for at {}", file.display());
            document.error(send.span.clone(), "there is no such file", Some(help));
        }
    }
}
