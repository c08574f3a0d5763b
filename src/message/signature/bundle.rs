//! `Bundle.signature` (FHIR R4 Bundle, Signature).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::rand::SecureRandom;

use super::canonical::canonical_json;
use super::keys::{SigningKey, TrustedKeys};
use super::{SignatureFault, jws};
use crate::json::{Map, Value, json};

/// Canonical JSON of the whole Bundle but for its signature.
const CANONICAL: &str = "http://hl7.org/fhir/canonicalization/json";
/// The same without the Bundle's own id and `meta`, which a server may write.
const DOCUMENT: &str = "http://hl7.org/fhir/canonicalization/json#document";
const JOSE: &str = "application/jose";

/// Whose signature a Bundle carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The key's name.
    pub kid: String,
}

/// Signs `bundle` as it stands, by the software called `engine`: replaces its signature by ours, a detached JWS of the
/// kind "source signature".
///
/// # Errors
///
/// [`SignatureFault`] if it is no Bundle, or cannot be brought into canonical form.
pub fn sign(
    bundle: &mut Value,
    key: &SigningKey,
    engine: &str,
    when: Timestamp,
    random: &dyn SecureRandom,
) -> Result<(), SignatureFault> {
    let Some(members) = bundle.as_object_mut().filter(|members| is_bundle(members)) else {
        return Err(SignatureFault::Unknown("only a Bundle has a place for one".to_owned()));
    };
    members.shift_remove("signature");
    let jws = jws::sign(key, &canonical_json(bundle)?, random)?;
    let signature = json!({
        "type": [{
            "system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.14", "display": "Source Signature",
        }],
        "when": when.to_string(),
        "who": { "type": "Device", "identifier": { "value": key.kid() }, "display": engine },
        "targetFormat": format!("application/fhir+json;canonicalization={CANONICAL}"),
        "sigFormat": JOSE,
        "data": STANDARD.encode(jws),
    });
    bundle.as_object_mut().into_iter().for_each(|members| members.put("signature", signature.clone()));
    Ok(())
}

/// Whose signature `resource` carries, by `keys`. Certificates must be valid at `at`.
///
/// # Errors
///
/// [`SignatureFault`] if it carries none, none that is understood or trusted, or one of something else.
pub fn verify(resource: &Value, keys: &TrustedKeys, at: Timestamp) -> Result<Signed, SignatureFault> {
    let members = resource.as_object().filter(|members| is_bundle(members)).ok_or(SignatureFault::Missing)?;
    let signature =
        members.get("signature").filter(|signature| signature.is_object()).ok_or(SignatureFault::Missing)?;
    let text = |key: &str| signature.get(key).and_then(Value::as_str);
    let unknown = |what: &str| SignatureFault::Unknown(what.to_owned());
    if text("sigFormat").is_some_and(|format| !format.eq_ignore_ascii_case(JOSE)) {
        return Err(unknown("its sigFormat must be application/jose"));
    }
    let canonicalization = text("targetFormat").and_then(|format| format.split_once("canonicalization="));
    let canonicalization = canonicalization.map_or(CANONICAL, |(_, uri)| uri.trim().trim_matches('"'));
    let left_out: &[&str] = match canonicalization {
        CANONICAL => &["signature"],
        DOCUMENT => &["signature", "id", "meta"],
        _ => return Err(unknown("its canonicalization must be FHIR's json or json#document")),
    };
    let jws = text("data").and_then(|data| STANDARD.decode(data.split_whitespace().collect::<String>()).ok());
    let jws = jws.and_then(|jws| String::from_utf8(jws).ok()).ok_or_else(|| unknown("its data is no JWS in base64"))?;
    let kept = members.iter().filter(|(key, _)| !left_out.contains(&key.as_str()));
    let signed: Map = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    let kid = jws::verify(&jws, &canonical_json(&Value::Object(signed))?, keys, at)?;
    Ok(Signed { kid })
}

fn is_bundle(members: &Map) -> bool {
    members.get("resourceType").and_then(Value::as_str) == Some("Bundle")
}
