//! Tributary: an EMR-to-EHR integration engine.
//!
//! Records in, on disk before they are acknowledged, to FHIR with provenance and consent flags, out in
//! patient order. The program is [`cli`]; what it runs is [`engine`] on a [`store`], as [`config`] says.

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod engine;
pub mod repository;
pub mod store;
