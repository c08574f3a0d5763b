//! Types of other crates that are not there yet, under the names they will have.

use serde::Deserialize;

/// `channels::fhir`.
pub mod fhir {
    use super::Deserialize;

    /// `[outbound.fhir]`.
    #[derive(Clone, Debug, Deserialize)]
    pub struct OutboundConfig {
        /// The server's base URL.
        pub url: String,
    }
}
