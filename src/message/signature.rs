//! Signatures of Bundles: a detached JWS (RFC 7515, appendix F) over the canonical JSON of what is signed (RFC 8785),
//! in `Bundle.signature` (FHIR R4 Signature). What leaves is signed, what arrives is verified. Pure: keys, times and
//! random numbers are passed in.

mod bundle;
mod canonical;
mod chain;
mod jws;
mod keys;
#[cfg(test)]
mod tests;

pub use bundle::{Signed, sign, verify};
pub use canonical::canonical_json;
pub use keys::{KeyError, SigningKey, TrustedKeys};

/// Why a signature is not taken. Names keys, never content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// There is none.
    #[error("it carries no signature")]
    Missing,
    /// It is not one that is understood.
    #[error("its signature is not understood: {0}")]
    Unknown(String),
    /// It was made with a key that is not trusted.
    #[error("its signature was made with a key that is not among the trusted ones: {0}")]
    Untrusted(String),
    /// The content is not what was signed, or somebody else signed it.
    #[error("its signature does not fit its content: it was changed after it was signed, or not signed with key {0}")]
    Broken(String),
}
