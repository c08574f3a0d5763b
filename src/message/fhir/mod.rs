//! FHIR R4 as JSON: `serde_json::Value` with what every part needs of it.
