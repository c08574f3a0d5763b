//! HL7 v2 over MLLP, in and out.
//!
//! [`Inbound`] listens and acknowledges, [`Outbound`] delivers and reads acknowledgments, over the
//! same [`Deframer`]. [`Client`] and [`serve_sink`] are the two ends on their own, for `send`,
//! `bench` and demonstrations. No patient data is logged: sizes, counts, codes and addresses only.

mod acknowledger;
mod budget;
mod client;
mod config;
mod conversation;
mod counts;
mod frame;
mod inbound;
mod outbound;
mod pool;
mod reader;
mod request;
mod seats;
mod sink;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientConfig, ClientError};
pub use config::{AcknowledgmentMode, Action, Address, Answers, InboundConfig, OutboundConfig};
pub use counts::Counts;
pub use frame::{Block, CR, Deframer, FS, Noise, VT};
pub use inbound::Inbound;
pub use outbound::Outbound;
pub use sink::serve_sink;
