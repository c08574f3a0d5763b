//! Pure steps over a message: each a [`message::Transform`], one file or folder a transform.

pub mod hl7v2_to_fhir;
pub mod label;
pub mod script;
pub mod stamp;
mod universal;
