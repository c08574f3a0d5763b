//! Tributary: an EMR-to-EHR integration engine.

pub mod store;
