//! `hl7v2-to-fhir`: an HL7 v2 message becomes a transaction Bundle, by tables.
pub mod maps;
