//! FHIR R4 as JSON: [`json::Value`](crate::json::Value) with what every part needs of it.
//!
//! [`read()`] takes what comes in and names the place of what is no FHIR; what it gives back keeps everything, also
//! unknown elements and the digits of decimals. The rest are small questions about resources.

mod check;
pub mod definitions;
mod id;
mod outcome;
mod read;
mod resource_type;
pub mod validate;
mod walk;
mod xhtml;
pub mod xml;

use crate::json::{Map as Object, Value};

pub use check::check;
pub use id::{NAMESPACE, deterministic_id, uuid_v5};
pub use outcome::{Severity, fault_outcome, issue_type, operation_outcome, outcome_summary};
pub use read::{Limits, parse, read};
pub use resource_type::is_resource_type;
pub use walk::{Identifier, for_each_reference, for_each_reference_mut, get, get_str, patient_identifiers, resources};

#[cfg(test)]
mod tests;
