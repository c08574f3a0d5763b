//! What a request's head must say before its body is read.

use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderName, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};

use bytes::Bytes;
use message::fhir;
use message::json::json;

use super::outcome::Outcome;
use crate::Credentials;

/// FHIR R4 §3.1.0.15: the client's own name for its request.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest `X-Request-Id` taken, in bytes.
const MAX_REQUEST_ID: usize = 200;

/// Checks that the client shows `credentials`, if any are asked.
pub(super) fn authorize(headers: &HeaderMap, credentials: Option<&Credentials>) -> Result<(), Outcome> {
    match credentials {
        Some(credentials) if !credentials.admits(headers.get(AUTHORIZATION)) => {
            let challenge = format!("{} realm=\"fhir\"", credentials.scheme());
            let text =
                format!("this channel asks for HTTP {} credentials, and these are not them", credentials.scheme());
            Err(Outcome::error(StatusCode::UNAUTHORIZED, "login", text).with(WWW_AUTHENTICATE, challenge))
        }
        _ => Ok(()),
    }
}

/// Checks that the body is FHIR R4 in JSON, not compressed.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Outcome> {
    let text_of = |name| headers.get(name).map_or(Ok(""), |value| value.to_str());
    if !text_of(CONTENT_ENCODING).is_ok_and(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity")) {
        return Err(unsupported("send the body as it is: Content-Encoding is not taken"));
    }
    if text_of(CONTENT_TYPE).is_ok_and(is_fhir_json) {
        return Ok(());
    }
    Err(unsupported("send FHIR R4 in JSON, in UTF-8, with Content-Type: application/fhir+json"))
}

/// The client's own name for its request, if it gives one.
pub(super) fn request_id(headers: &HeaderMap) -> Result<Option<String>, Outcome> {
    let Some(value) = headers.get(X_REQUEST_ID) else { return Ok(None) };
    match value.to_str() {
        Ok(id) if (1..=MAX_REQUEST_ID).contains(&id.len()) => Ok(Some(id.to_owned())),
        _ => {
            let text = format!("X-Request-Id is 1 to {MAX_REQUEST_ID} visible characters of ASCII");
            Err(Outcome::error(StatusCode::BAD_REQUEST, "value", text))
        }
    }
}

/// FHIR R4 Provenance §6.3.4.6: a Provenance of what the request creates.
const X_PROVENANCE: HeaderName = HeaderName::from_static("x-provenance");

/// Longest `X-Provenance` taken, in bytes.
const MAX_PROVENANCE: usize = 16 << 10;

/// The Provenance beside the body; empty if there is none. It must be R4 but for its target, which is all of the body.
pub(super) fn provenance(headers: &HeaderMap) -> Result<Bytes, Outcome> {
    let mut given = headers.get_all(X_PROVENANCE).iter();
    let Some(value) = given.next() else { return Ok(Bytes::new()) };
    let refused = |code, text: String| Err(Outcome::error(StatusCode::BAD_REQUEST, code, text));
    if given.next().is_some() {
        return refused("invalid", "X-Provenance is one Provenance: send more as entries of the Bundle".to_owned());
    }
    let bytes = value.as_bytes();
    if bytes.len() > MAX_PROVENANCE {
        let text = format!("X-Provenance is longer than {MAX_PROVENANCE} bytes: send it as an entry of the Bundle");
        return refused("too-long", text);
    }
    let read = fhir::read(bytes, &fhir::Limits::default());
    let mut resource = match read {
        Ok(resource) if fhir::get_str(&resource, "resourceType") == Some("Provenance") => resource,
        Ok(_) => return refused("structure", "X-Provenance is no Provenance".to_owned()),
        Err(fault) => return refused("structure", format!("X-Provenance cannot be read: {fault}")),
    };
    if resource.get("target").is_some() {
        let text = "X-Provenance has no target: that is what the request writes; send others as entries of the Bundle";
        return refused("invalid", text.to_owned());
    }
    if let Some(members) = resource.as_object_mut() {
        members.insert("target", json!([{ "display": "what the request writes" }]));
    }
    let issues = fhir::validate::validate(&resource, &fhir::validate::Options::default());
    match issues.into_iter().find(fhir::validate::Issue::is_error) {
        Some(issue) => refused("invariant", format!("X-Provenance is not valid: {}: {}", issue.location, issue.text)),
        None => Ok(Bytes::copy_from_slice(bytes)),
    }
}

/// True if the client sends its body only once it is asked to (RFC 9110 §10.1.1).
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn unsupported(text: &'static str) -> Outcome {
    Outcome::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text)
}

/// `application/fhir+json` or `application/json`; a `charset` must be UTF-8, a `fhirVersion` 4.
fn is_fhir_json(media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let json = ["application/fhir+json", "application/json"].iter().any(|known| essence.eq_ignore_ascii_case(known));
    json && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "charset" => ["utf-8", "utf8"].iter().any(|known| value.eq_ignore_ascii_case(known)),
            "fhirversion" => value == "4" || value.starts_with("4."),
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(media_type: &str, taken: bool) {
        assert_eq!(is_fhir_json(media_type), taken, "{media_type}");
    }

    #[test]
    fn takes_fhir_r4_in_json_alone() {
        check("application/fhir+json", true);
        check("application/json", true);
        check("Application/FHIR+JSON; charset=UTF-8; fhirVersion=4.0", true);
        check("application/fhir+json;charset=\"utf-8\"", true);
        check("application/fhir+json; profile=\"http://example.org/p\"", true);
        check("application/fhir+json; charset=iso-8859-1", false);
        check("application/fhir+json; fhirVersion=3.0", false);
        check("application/fhir+json; fhirVersion=40", false);
        check("application/fhir+xml", false);
        check("text/plain", false);
        check("", false);
    }
}
