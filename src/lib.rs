//! Tributary: an EMR-to-EHR integration engine.

pub mod config;
pub mod repository;
pub mod store;
