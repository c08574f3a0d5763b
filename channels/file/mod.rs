//! Files in a folder: dropped there by an EMR to be taken, or written there for one to pick up.
//!
//! [`Inbound`] polls a drop folder, takes each file once, offers every message in it and moves the
//! file to `done/` or `rejected/`. [`Outbound`] writes one file a delivery, atomically.

mod config;
mod contents;
mod folder;
mod inbound;
mod name;
mod outbound;
mod pattern;
mod reason;
mod settle;
mod take;
mod template;
#[cfg(test)]
mod tests;

pub use config::{Contents, Existing, InboundConfig, Order, OutboundConfig, Ready};
pub use inbound::Inbound;
pub use outbound::Outbound;
pub use pattern::Patterns;
pub use template::{NameTemplate, SubfolderTemplate};
