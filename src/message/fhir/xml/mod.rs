//! FHIR XML (FHIR R4 §2.6.1), read and written by the table of [`definitions`](super::definitions).
//!
//! Between JSON and XML nothing is lost: what the other form has no place for is refused, with its place. That is
//! everything that R4 does not know. Comments of XML have no place in JSON: they are counted.

mod decode;
mod members;
mod narrative;
mod read;
mod trail;
mod write;

pub use read::{Read, read};
pub use write::write;

/// The namespace of FHIR.
const FHIR: &str = "http://hl7.org/fhir";

#[cfg(test)]
mod tests;
