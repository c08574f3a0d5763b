//! Pure steps over a message: HL7 v2 to FHIR by mapping tables, labels, provenance.

pub mod stamp;
