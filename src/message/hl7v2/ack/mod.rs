//! Acknowledgments: what we answer to any bytes, and what others answer to us.
//!
//! HL7 v2.5.1 §2.9.2 (original mode) and §2.9.3 (enhanced mode). An acknowledgment that comes in is
//! never acknowledged.

mod build;
mod code;
mod error;
mod read;
#[cfg(test)]
mod tests;

pub use build::{Stamp, acknowledge, acknowledge_header};
pub use code::{AcknowledgmentCode, Phase};
pub use read::Acknowledgment;
