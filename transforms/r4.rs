//! The table of FHIR R4's types, which lives with FHIR itself.

pub use message::fhir::definitions::{Element, Kind, Primitive, Type, TypeId, Types, primitive, types};
