//! Maps for small keys: a seeded hash that is many times quicker than the standard one.

/// Seeds every map anew, so that no sender can choose keys that all fall together.
pub(super) type Hasher = foldhash::quality::RandomState;

/// A map by such a hash.
pub(super) type Hashed<K, V> = std::collections::HashMap<K, V, Hasher>;
