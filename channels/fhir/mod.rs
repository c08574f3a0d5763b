//! FHIR out, over HTTP: Bundles to a server's base, and what its answers mean.
//!
//! A delivery is one request. Trying again is the queue's work: this channel says which of the
//! queue's next steps an answer calls for. `docs/fhir-channels.md` has the tables.

mod answer;
mod bundle;
mod client;
mod config;
mod entries;
pub(crate) mod http_client;
mod operation_outcome;
mod probe;
mod request;
mod resource;
mod retry_after;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod transport;
mod verdict;

pub use client::Outbound;
pub use config::{BaseUrl, Headers, MessageEndpoint, Mode, OutboundConfig, Prefer};
