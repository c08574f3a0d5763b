//! Keys that sign what leaves, and keys whose signatures are trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::signature::{SigningKey, TrustedKeys};
use ring::rand::SystemRandom;

use super::document::Document;
use super::tree::Node;
use crate::config::channel::VerifySignatures;
use crate::config::destination::{OutboundKind, SignConfig};

/// Reads the key that signs what goes to a destination, and reports what is wrong with it.
pub(super) fn signing(
    document: &Document,
    dir: &Path,
    sign: &SignConfig,
    outbound: &OutboundKind,
) -> Option<Arc<SigningKey>> {
    let node = document.root().at(&["sign"])?;
    for key in ["key", "kid"] {
        if node.at(&[key]).and_then(Node::text).is_none_or(str::is_empty) {
            document.missing(node.span.clone(), format!("`{key}` is missing in `sign`"), None);
        }
    }
    if matches!(outbound, OutboundKind::Mllp(_)) {
        let help = "leave `sign` out, or send FHIR: [outbound.fhir] or [outbound.file]".to_owned();
        document.error(node.span.clone(), "HL7 v2 has no place for a signature", Some(help));
    }
    let place = node.at(&["key"]).filter(|key| key.text().is_some_and(|file| !file.is_empty()))?;
    let file = dir.join(&sign.key);
    let read = std::fs::read_to_string(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()));
    let key = read.and_then(|pem| {
        SigningKey::read(&pem, &sign.kid, &SystemRandom::new()).map_err(|error| format!("{}: {error}", file.display()))
    });
    let key = match &sign.certificates {
        None => key,
        Some(certificates) => key.and_then(|key| {
            let file = dir.join(certificates);
            let named = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
            let pem = std::fs::read_to_string(&file).map_err(|error| named(&error))?;
            key.with_certificates(&pem).map_err(|error| named(&error))
        }),
    };
    match key {
        Ok(key) => Some(Arc::new(key)),
        Err(help) => {
            document.error(place.span.clone(), "this is no key to sign with", Some(help));
            None
        }
    }
}

/// Reads the keys whose signatures a channel trusts, and reports what is wrong with them.
pub(super) fn trusted(
    document: &Document,
    dir: &Path,
    files: &[PathBuf],
    verify: VerifySignatures,
) -> Arc<TrustedKeys> {
    let mut keys = TrustedKeys::default();
    let listed = document.root().at(&["trusted_keys"]).map(Node::elements).unwrap_or_default();
    for (place, file) in listed.iter().zip(files) {
        let file = dir.join(file);
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let read =
            std::fs::read_to_string(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()));
        let added =
            read.and_then(|text| keys.add(&name, &text).map_err(|error| format!("{}: {error}", file.display())));
        if let Err(help) = added {
            document.error(place.span.clone(), "this is no key to trust", Some(help));
        }
    }
    if verify != VerifySignatures::Off && files.is_empty() {
        let place = document.root().at(&["verify_signatures"]).unwrap_or(document.root());
        let help = "name the senders' public keys: trusted_keys = [\"keys/partner.jwks.json\"]".to_owned();
        document.missing(place.span.clone(), "signatures cannot be verified without `trusted_keys`", Some(help));
    }
    Arc::new(keys)
}
