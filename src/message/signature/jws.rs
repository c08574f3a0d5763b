//! A detached JWS in compact form: `BASE64URL(header)..BASE64URL(signature)` (RFC 7515, appendix F).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom;
use serde::Deserialize;

use super::SignatureFault;
use super::keys::{Algorithm, SigningKey, TrustedKeys};

/// Signs `payload`, and returns the JWS without it.
pub(super) fn sign(key: &SigningKey, payload: &[u8], random: &dyn SecureRandom) -> Result<String, SignatureFault> {
    let header = serde_json::json!({ "alg": key.algorithm().name(), "kid": key.kid() }).to_string();
    let header = URL_SAFE_NO_PAD.encode(header);
    let signature = key.sign(&input(&header, payload), random)?;
    Ok(format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The name of the key with which the detached `jws` signs `payload`.
pub(super) fn verify(jws: &str, payload: &[u8], keys: &TrustedKeys) -> Result<String, SignatureFault> {
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
    crit: Option<serde_json::Value>,
}
