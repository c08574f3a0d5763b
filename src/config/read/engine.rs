//! `tributary.toml` and `providers.toml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use channels::setting::Span;
use message::Provider;

use super::destination::{certificates, is_clear};
use super::document::Document;
use super::plain_text;
use super::reader::read;
use super::tree::Node;
use crate::config::site::{EngineConfig, key_of};

/// The least that the audit may be behind.
const LEAST_BEHIND: std::time::Duration = std::time::Duration::from_secs(1);

/// Reads `tributary.toml`. `data_dir` is used in place of the file's own, if given.
pub(in crate::config) fn engine(document: &Document, dir: &Path, data_dir: Option<&Path>) -> Option<EngineConfig> {
    let engine = read::<EngineConfig>(document, document.root(), &[]);
    check(document);
    check_audit(document, dir);
    let mut engine = engine?;
    engine.data_dir = data_dir.map_or_else(|| dir.join(&engine.data_dir), Path::to_owned);
    engine.admin.socket = engine.data_dir.join(&engine.admin.socket);
    let audit = &mut engine.audit;
    let mut files = vec![&mut audit.key, &mut audit.anchor, &mut audit.anchors];
    if let Some(repository) = &mut audit.repository {
        files.extend([&mut repository.ca_file, &mut repository.identity_file]);
    }
    if let Some(syslog) = &mut audit.syslog {
        syslog.ca_file = dir.join(&syslog.ca_file);
        files.push(&mut syslog.identity_file);
    }
    for path in files.into_iter().flatten() {
        *path = dir.join(&*path);
    }
    Some(engine)
}

fn check(document: &Document) {
    let text_at = |path: &[&str]| document.root().at(path).and_then(|node| Some((node, node.text()?)));
    if let Some((node, uri)) = text_at(&["base_uri"]) {
        let scheme = uri.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty());
        if !scheme || uri.ends_with('/') || uri.contains(char::is_whitespace) {
            let help = "write it like \"https://ehr.example.org/tributary\", without a final `/`".to_owned();
            document.error(node.span.clone(), "this is no absolute URI to build others on", Some(help));
        }
    }
    if let Some((node, filter)) = text_at(&["log", "level"])
        && tracing_subscriber::EnvFilter::builder().parse(filter).is_err()
    {
        let help =
            "write a level (error, warn, info, debug, trace) or a filter like \"warn,tributary=debug\"".to_owned();
        document.error(node.span.clone(), "this is no log filter", Some(help));
    }
    if let Some((node, key)) = text_at(&["store", "encryption_key"])
        && key_of(key).is_none()
    {
        let help = "make one with `openssl rand -hex 32 > store.key`, and write \"${file:store.key}\"".to_owned();
        document.error(node.span.clone(), "this is no key of 64 hexadecimal digits", Some(help));
    }
    if let Some((node, span)) = text_at(&["audit", "max_behind"])
        && span.parse::<Span>().is_ok_and(|span| span.0 < LEAST_BEHIND)
    {
        let help = "write \"1s\" or more: the audit is always a little behind".to_owned();
        document.error(node.span.clone(), "nothing would ever be delivered", Some(help));
    }
    if let Some((node, address)) = text_at(&["admin", "listen"])
        && address.parse::<std::net::SocketAddr>().is_ok_and(|address| !address.ip().is_loopback())
    {
        let help =
            "write \"127.0.0.1:PORT\", and reach it from elsewhere through a proxy that asks who it is".to_owned();
        document.error(node.span.clone(), "the admin port must be on a loopback address", Some(help));
    }
}

/// Certificates must be there, and what tells of patients does not leave in the clear.
fn check_audit(document: &Document, dir: &Path) {
    let table = |key| document.root().at(&["audit", key]);
    for table in [table("repository"), table("syslog")].into_iter().flatten() {
        certificates(document, table, dir);
    }
    let Some(repository) = table("repository") else { return };
    if repository.at(&["url"]).and_then(Node::text).is_some_and(is_clear) {
        let reason = repository.at(&["plain_text"]).and_then(Node::text);
        plain_text(document, repository, reason, "the audit leaves", "use https://, ");
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Reads `providers.toml`: what is right of it.
pub(in crate::config) fn providers(document: &Document) -> BTreeMap<String, Arc<Provider>> {
    let mut providers = BTreeMap::new();
    for entry in document.root().entries() {
        let Some(mut provider) = read::<Provider>(document, &entry.node, &[]) else { continue };
        if provider.system.is_some() != provider.value.is_some() {
            let missing = if provider.system.is_some() { "value" } else { "system" };
            let help = "an identifier is a `system` (a URI) and a `value` in it".to_owned();
            document.missing(entry.node.span.clone(), format!("`{missing}` is missing in [{}]", entry.key), Some(help));
        }
        provider.key = entry.key.as_str().into();
        providers.insert(entry.key.clone(), Arc::new(provider));
    }
    providers
}
