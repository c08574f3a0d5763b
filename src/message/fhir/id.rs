//! Ids that are the same whenever the same thing is converted again.

use uuid::Uuid;

/// The namespace of ids that this engine gives: UUIDv5 of the DNS name `tributary.invalid`.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x7648_13c2_947f_58ab_b45d_a281_3483_ad90);

/// A UUIDv5 of `parts` in `namespace`: the same parts give the same id, and no two lists of parts the same name.
#[must_use]
pub fn deterministic_id(namespace: Uuid, parts: &[&str]) -> Uuid {
    let mut name = String::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        // The length before each part keeps `["a", "bc"]` and `["ab", "c"]` apart.
        name.push_str(&part.len().to_string());
        name.push(':');
        name.push_str(part);
    }
    Uuid::new_v5(&namespace, name.as_bytes())
}
