//! Universal ids (HD.2, EI.3) as the URIs that they are, by their type (HL7 table 0301).

/// The URI that `id` is, by its type; `None` where it is not what the type says.
pub(crate) fn uri(id: &str, id_type: &str) -> Option<String> {
    let id = id.trim();
    if id.is_empty() || id.contains(char::is_whitespace) {
        return None;
    }
    match id_type.trim().to_ascii_uppercase().as_str() {
        "ISO" => is_oid(id).then(|| format!("urn:oid:{id}")),
        "UUID" | "GUID" => uuid::Uuid::parse_str(id).ok().map(|uuid| format!("urn:uuid:{uuid}")),
        "URI" | "URL" | "URN" if id.contains(':') && is_well_formed(id) => Some(id.to_owned()),
        "DNS" => Some(format!("http://{id}")),
        // Many senders leave the type out or put `L`; an OID is an OID.
        _ if is_oid(id) => Some(format!("urn:oid:{id}")),
        _ => None,
    }
}

/// `2.16.840.1.113883`: at least three arcs, the first 0, 1 or 2, no leading zeros.
pub(crate) fn is_oid(text: &str) -> bool {
    let arc =
        |arc: &str| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'));
    text.split('.').count() >= 3
        && text.starts_with(['0', '1', '2'])
        && text.get(1..2) == Some(".")
        && text.split('.').all(arc)
}

/// False for a URI without blanks that says that it is an OID or a UUID, and is none.
pub(crate) fn is_well_formed(uri: &str) -> bool {
    let whole = uri.split('#').next().unwrap_or(uri);
    match (whole.strip_prefix("urn:oid:"), whole.strip_prefix("urn:uuid:")) {
        (Some(oid), _) => is_oid(oid),
        (_, Some(uuid)) => uuid.len() == 36 && uuid::Uuid::parse_str(uuid).is_ok(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn universal_ids_become_uris_by_their_type() {
        assert_eq!(uri("2.16.840.1", "ISO").as_deref(), Some("urn:oid:2.16.840.1"));
        assert_eq!(uri("2.16.840.1", "L").as_deref(), Some("urn:oid:2.16.840.1"));
        assert_eq!(uri("2.16.840.TBD", "ISO"), None);
        assert_eq!(uri("lab.example.org", "DNS").as_deref(), Some("http://lab.example.org"));
        assert_eq!(uri("not-a-uuid", "UUID"), None);
        assert_eq!(uri("urn:oid:9.8", "URI"), None);
        assert_eq!(uri("12D3456789", "CLIA"), None);
        assert!(!is_oid("2.01.3") && !is_oid("1.2") && !is_oid("9.1.1"));
        assert!(is_well_formed("urn:oid:1.2.3#message") && !is_well_formed("urn:uuid:assigner"));
    }
}
