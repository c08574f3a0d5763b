//! Which values are not to be shown.

use std::ops::Range;

use super::tree::{Node, Value};

/// Adds the places of values whose key sounds like a secret, wherever it stands: also a mistyped
/// or misplaced one must not be shown.
pub(super) fn suspects(node: &Node, within: bool, spans: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Table { entries, .. } => {
            entries.iter().for_each(|entry| suspects(&entry.node, within || sounds_secret(&entry.key), spans));
        }
        Value::Array(nodes) => nodes.iter().for_each(|node| suspects(node, within, spans)),
        _ if within => spans.push(node.span.clone()),
        _ => {}
    }
}

/// True if a value under `key` is most likely a secret.
pub(in crate::config) fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    let words = ["password", "passwd", "secret", "token", "bearer", "credential", "api_key", "passphrase"];
    key == "auth" || words.iter().any(|word| key.contains(word) || strsim::damerau_levenshtein(word, &key) <= 1)
}
