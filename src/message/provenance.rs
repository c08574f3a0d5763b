//! Who did what to a message: the lineage that the engine keeps around every transform, and the
//! FHIR Provenance that travels with the data.

mod entry;
mod r4;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use entry::{Activity, Agent, Provenance, Reference, Role};
pub use r4::source_entity;

/// One transform's stamp, written by the engine around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The transform's name, such as `hl7v2-to-fhir`.
    pub transform: String,
    /// The hash of its tables and options.
    pub version: String,
    /// The hash of the configuration that was in force.
    pub config: String,
    /// When it ran.
    pub at: Timestamp,
}
