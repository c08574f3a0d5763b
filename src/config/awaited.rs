//! Types of other crates that are not there yet, under the names they will have.

use std::net::SocketAddr;

use serde::Deserialize;

/// `message::condition`.
pub mod condition {
    /// A condition.
    #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
    #[serde(transparent)]
    pub struct Condition(pub String);
}

/// `channels::mllp`.
pub mod mllp {
    use super::{Deserialize, SocketAddr};

    /// `[inbound.mllp]`.
    #[derive(Clone, Debug, Deserialize)]
    pub struct InboundConfig {
        /// Where to listen.
        pub listen: SocketAddr,
    }

    /// `[outbound.mllp]`.
    #[derive(Clone, Debug, Deserialize)]
    pub struct OutboundConfig {
        /// Where to connect, `host:port`.
        pub address: String,
    }
}

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
