//! Whether a resource is what FHIR R4 says it is, by the table of [`definitions`](super::definitions).
//!
//! Checked are elements, cardinalities, types and formats of values, required value sets, choices, references with
//! what they are to, and those invariants that [`invariants`] lists. Profiles, and value sets that no list can hold, are not.

mod bundle;
mod date;
mod format;
mod invariants;
mod issue;
mod narrative;
mod path;
mod reference;
mod requests;
mod scope;
mod special;
mod walk;

use std::cmp::Ordering;

use crate::fhir::Value;

pub use invariants::checked as invariants;
pub use issue::{Issue, IssueType, outcome};

/// True unless the date or time `later` is before `earlier`, as far as both say (per-1).
#[must_use]
pub fn is_in_order(earlier: &str, later: &str) -> bool {
    let (Some(earlier), Some(later)) = (date::Date::parse(earlier), date::Date::parse(later)) else { return true };
    earlier.compare(later) != Some(Ordering::Greater)
}

/// How much is looked at and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most objects and lists within each other; what is deeper is an issue, and not looked at.
    pub depth: usize,
    /// Most issues that are told; 0 tells none.
    pub issues: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { depth: 64, issues: 100 }
    }
}

/// What is wrong with `resource`, in its order; nothing if it is valid R4. Texts and locations carry no values.
///
/// Takes time in proportion to the resource, and stops after [`Options::issues`]; the last one then says so.
#[must_use]
pub fn validate(resource: &Value, options: &Options) -> Vec<Issue> {
    let mut walk = walk::Walk::new(options);
    walk.root(resource);
    walk.told()
}

#[cfg(test)]
mod tests;
