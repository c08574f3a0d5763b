//! Raises the security labels of each entry to what its codes, its author's program and its context
//! call for. Pure; labels are added and never taken away.
//!
//! [`LabelRules`] are value sets and author flags, from TOML, JSON and CSV; [`LabelRules::labels`] says
//! what each entry is to be labelled with and by which rule; [`LabelSensitivity`] does it to a message.

mod apply;
mod keep;
mod rules;
#[cfg(test)]
mod tests;
mod transform;

pub(crate) use apply::is_classified;
pub use apply::{Labels, add_labels};
pub(crate) use keep::keep_labels;
pub use rules::{LabelRules, RuleError};
pub use transform::LabelSensitivity;
