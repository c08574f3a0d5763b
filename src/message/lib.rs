//! What every part of Tributary speaks: messages, HL7 v2, FHIR, provenance and consent.
//!
//! Everything here is a plain function or value: no socket, disk, clock or randomness. Times, ids
//! and random bytes are passed in.

pub mod answer;
pub mod audit;
pub mod condition;
pub mod consent;
pub mod fhir;
pub mod hl7v2;
pub mod id;
pub mod json;
mod original;
pub mod provenance;
pub mod signature;
mod transform;

pub use answer::{Answer, Fault};
pub use id::{MessageId, NotSha256, Sha256};
pub use original::{Body, Format, Message, Original};
pub use transform::{Context, Finding, FindingKind, Provider, Transform, TransformError};
