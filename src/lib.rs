//! Tributary: an EMR-to-EHR integration engine.

pub mod repository;
pub mod store;
