//! The tables of HL7's v2-to-FHIR guide, read from its own CSV files and applied in the plainest way: what a message
//! must become by them. It knows nothing of `maps/`, so that neither can hide a mistake of the other.
#![allow(dead_code, reason = "each test binary uses what it needs")]

pub(crate) mod condition;
pub(crate) mod decided;
pub(crate) mod demand;
pub(crate) mod found;
pub(crate) mod invent;
pub(crate) mod segment;
pub(crate) mod tables;
