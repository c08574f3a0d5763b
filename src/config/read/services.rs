//! `services.toml`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use channels::lookup::LookupConfig;
use serde::Deserialize;

use super::destination::{certificates, is_clear};
use super::document::Document;
use super::nearest;
use super::plain_text;
use super::reader::{keys_of, read};
use super::tree::{Node, Value};
use crate::config::services::{IdentityConfig, KeepConfig, ServicesConfig};

/// What every service may have, besides its own keys.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Common {
    plain_text: Option<String>,
}

/// Reads `services.toml`, and reports what is wrong with it. Files are relative to `dir`.
pub(in crate::config) fn services(document: &Document, dir: &Path) -> ServicesConfig {
    let mut services = ServicesConfig::default();
    for entry in document.root().entries() {
        match entry.key.as_str() {
            "identity" => {
                let keep_keys = keys_of::<KeepConfig>();
                let lookup = lookup(document, &entry.node, dir, keep_keys);
                let also = [keys_of::<LookupConfig>(), keys_of::<Common>()].concat();
                let keep = read::<KeepConfig>(document, &entry.node, &also);
                services.identity = lookup.zip(keep).map(|(lookup, keep)| Arc::new(IdentityConfig { lookup, keep }));
            }
            "consent" if matches!(entry.node.value, Value::Table { .. }) => {
                for named in entry.node.entries() {
                    let Some(lookup) = lookup(document, &named.node, dir, &[]) else { continue };
                    services.consent.insert(named.key.clone(), Arc::new(lookup));
                }
            }
            "consent" => {
                let help = "write a table [consent.NAME] for each service".to_owned();
                document.error(entry.span.clone(), "`consent` must be a table", Some(help));
            }
            key => {
                let help = nearest::help(key, &["consent", "identity"]);
                document.error(entry.span.clone(), format!("unknown kind of service `{key}`"), Some(help));
            }
        }
    }
    services
}

/// The names of the decision services.
pub(super) fn names(document: &Document) -> Vec<&str> {
    let tables = document.root().at(&["consent"]).map(Node::entries).unwrap_or_default();
    tables.iter().map(|entry| entry.key.as_str()).collect()
}

fn lookup(document: &Document, table: &Node, dir: &Path, also: &[&str]) -> Option<LookupConfig> {
    let also = [also, keys_of::<Common>()].concat();
    let lookup = read::<LookupConfig>(document, table, &also);
    let common = read::<Common>(document, table, &[keys_of::<LookupConfig>(), keys_of::<KeepConfig>()].concat());
    certificates(document, table, dir);
    if table.at(&["url"]).and_then(Node::text).is_some_and(is_clear) {
        let reason = common.and_then(|common| common.plain_text);
        plain_text(document, table, reason.as_deref(), "who the patients are leaves", "use https://, ");
    }
    let mut lookup = lookup?;
    let from_dir = |file: Option<PathBuf>| file.map(|file| dir.join(file));
    lookup.ca_file = from_dir(lookup.ca_file.take());
    lookup.identity_file = from_dir(lookup.identity_file.take());
    Some(lookup)
}
