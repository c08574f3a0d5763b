//! FHIR in, over HTTP: clients post Bundles, and are answered once they are on disk.
//!
//! The channel frames bytes under limits and offers them; what is and is no FHIR, and what came
//! before, the engine says. `docs/fhir-channels.md` has the tables of settings and statuses.

mod answer;
mod body;
mod capability;
mod config;
mod counts;
mod outcome;
mod request;
mod routes;
mod server;
#[cfg(test)]
mod tests;

pub use config::{BasePath, InboundConfig};
pub use server::Inbound;
