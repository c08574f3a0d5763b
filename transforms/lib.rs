//! Pure steps over a message: each a [`message::Transform`], one file or folder a transform.

pub mod hl7v2_to_fhir;
pub mod r4;
//! Pure steps over a message: HL7 v2 to FHIR by mapping tables, labels, provenance.

pub mod stamp;
