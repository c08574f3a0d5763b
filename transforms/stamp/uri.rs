//! Percent-encoding for the URIs that stamps are made of.

/// `text` with everything but RFC 3986's unreserved characters percent-encoded, in UTF-8.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text, b"");
    out
}

/// Appends `text`, percent-encoded but for unreserved characters and those in `also`.
fn encode_into(out: &mut String, text: &str, also: &[u8]) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// `identifier=system|value` as a search (FHIR R4 §3.1.1.4.11): what separates tokens is escaped
/// within them, then all is percent-encoded.
pub(super) fn identifier_query(system: &str, value: &str) -> String {
    let mut out = String::with_capacity(16 + system.len() + value.len());
    out.push_str("identifier=");
    encode_into(&mut out, &escape_token(system), b":/");
    out.push_str("%7C");
    encode_into(&mut out, &escape_token(value), b":/");
    out
}

/// Backslashes before `$`, `,`, `|` and `\` (FHIR R4 §3.1.1.5.1).
fn escape_token(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '$' | ',' | '|' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_unreserved_characters_only() {
        assert_eq!(encode("ST MARY/A~1-é"), "ST%20MARY%2FA~1-%C3%A9");
    }

    #[test]
    fn escapes_what_separates_tokens() {
        assert_eq!(identifier_query("urn:oid:1.2", "A|1,2 &"), "identifier=urn:oid:1.2%7CA%5C%7C1%5C%2C2%20%26");
    }
}
