//! Ids that are the same whenever the same thing is converted again.

use sha1::{Digest as _, Sha1};
use uuid::Uuid;

/// The namespace of ids that this engine gives: UUIDv5 of the DNS name `tributary.invalid`.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x7648_13c2_947f_58ab_b45d_a281_3483_ad90);

/// The UUIDv5 of `name` in `namespace` (RFC 9562 §5.5), as `Uuid::new_v5` gives it; by the processor's own SHA-1.
#[must_use]
pub fn uuid_v5(namespace: Uuid, name: &[u8]) -> Uuid {
    let digest = Sha1::new().chain_update(namespace.as_bytes()).chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

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
    uuid_v5(namespace, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_standard() {
        for name in ["", "a", &"tributary ".repeat(20)] {
            assert_eq!(uuid_v5(NAMESPACE, name.as_bytes()), Uuid::new_v5(&NAMESPACE, name.as_bytes()));
        }
    }
}
