//! A detached JWS in compact form: `BASE64URL(header)..BASE64URL(signature)` (RFC 7515, appendix F).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SecureRandom;
use serde::Deserialize;

use super::keys::{Algorithm, SigningKey, TrustedKeys};
use super::{SignatureFault, chain};

/// Signs `payload`, and returns the JWS without it.
pub(super) fn sign(key: &SigningKey, payload: &[u8], random: &dyn SecureRandom) -> Result<String, SignatureFault> {
    let mut header = serde_json::json!({ "alg": key.algorithm().name(), "kid": key.kid() });
    if let (Some(header), false) = (header.as_object_mut(), key.chain().is_empty()) {
        header.insert("x5c".to_owned(), key.chain().into());
    }
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let signature = key.sign(&input(&header, payload), random)?;
    Ok(format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The name of the key with which the detached `jws` signs `payload`: one that is trusted, or that of a certificate
/// which leads to one that is, at `at`.
pub(super) fn verify(jws: &str, payload: &[u8], keys: &TrustedKeys, at: Timestamp) -> Result<String, SignatureFault> {
    let unknown = |what: &str| SignatureFault::Unknown(what.to_owned());
    let parts: Vec<&str> = jws.trim().split('.').collect();
    let [header, "", signature] = parts.as_slice() else {
        return Err(unknown("it is no detached JWS in compact form (HEADER..SIGNATURE)"));
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('='));
    let read = decode(header).ok().and_then(|bytes| serde_json::from_slice::<Header>(&bytes).ok());
    let read = read.ok_or_else(|| unknown("its header is no JSON of a JWS"))?;
    if read.crit.is_some() {
        return Err(unknown("its header has critical extensions, and none is known here"));
    }
    let algorithm =
        Algorithm::from_name(&read.alg).ok_or_else(|| unknown("its algorithm must be EdDSA, ES256, ES384 or RS256"))?;
    let signature = decode(signature).map_err(|_| unknown("its last part is no base64url"))?;
    let is_by_chain = !keys.anchors().is_empty() && !keys.knows(read.kid.as_deref());
    if let Some(x5c) = read.x5c.filter(|_| is_by_chain) {
        let signer = chain::signer(&x5c, keys.anchors(), at)?;
        return chain::verify(signer, algorithm, &input(header, payload), &signature);
    }
    keys.verify(read.kid.as_deref(), algorithm, &input(header, payload), &signature)
}

/// What is signed: the header and the payload, both in base64url, and a point between them (RFC 7515 §5.1).
fn input(header: &str, payload: &[u8]) -> Vec<u8> {
    format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload)).into_bytes()
}

/// What is read of a header (RFC 7515 §4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    x5c: Option<Vec<String>>,
    crit: Option<serde_json::Value>,
}
