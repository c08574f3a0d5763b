//! What a message may be used for, and whether a recipient may have it.
//!
//! Three layers, each its own file: [`Purpose`], the codes and how they lie within each other;
//! [`Flags`], what a message's source and channel say of its use; [`decide`], the pure function that
//! weighs a recipient's [`Request`] against them, called again immediately before every attempt.

mod decision;
mod flags;
mod purpose;

pub use decision::{Decision, Evidence, Explanation, Layer, Line, Request, decide, explain};
pub use flags::{CONFIDENTIALITY, Confidentiality, Flags, REFRAIN};
pub use purpose::{ACT_REASON, Purpose, common};
