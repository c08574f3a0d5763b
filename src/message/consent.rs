//! What a message may be used for, and whether a recipient may have it.
//!
//! Three layers, each its own file: [`Purpose`], the codes and how they lie within each other;
//! [`Flags`], what a message's source and channel say of its use; [`decide`], the pure function that
//! weighs a recipient's [`Request`] against them, called again immediately before every attempt.
//!
//! [`by_entry`] is the full model: patients' Consents, the law and the site's policy, decided entry by
//! entry; [`redact`] takes out what was denied, [`elements`] single elements, [`deidentify`] whatever tells whose it
//! is; [`high_water_mark`] labels what is left, [`external`] reads the answers of a decision service. [`vectors`] proves it all on published test vectors.

pub mod arrival;
pub mod by_entry;
mod decision;
pub mod deidentify;
pub mod elements;
pub mod external;
mod flags;
mod marks;
mod purpose;
mod redaction;
pub mod vectors;

pub use decision::{Decision, Evidence, Explanation, Layer, Line, Request, decide, explain};
pub use flags::{CONFIDENTIALITY, Confidentiality, Flags, REFRAIN};
pub use marks::{conducted, high_water_mark};
pub use purpose::{ACT_REASON, OBSERVATION_VALUE, Purpose, common};
pub use redaction::{Redacted, redact};
