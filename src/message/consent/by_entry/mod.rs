//! Consent, decided entry by entry: who may have which part of a record, for what, and why.
//!
//! [`decide`] is one pure function over what was looked up beforehand: a [`Request`], the [`Entry`]s,
//! a [`Snapshot`] of the patient's Consents, the site's [`Policy`], and [`Terms`], how codes lie within
//! each other. Ten layers are asked in order and the first that answers decides:
//!
//! 1. what cannot be known waits: an uncertain identity, consents that cannot be had or are too old;
//! 2. test data never reaches production;
//! 3. purposes that the data is labelled for; then a Consent that cannot be computed waits for a person;
//! 4. what the law forbids, unless it is lifted as the law says;
//! 5. what the law demands;
//! 6. what the patient permits;
//! 7. a declared emergency;
//! 8. what the patient refuses;
//! 9. labels that forbid passing data on without consent;
//! 10. the policy's default.
//!
//! An entry is decided once for every purpose of the request and every sensitivity label on it, and all
//! must permit. A fact that is not known counts for nothing in a permit and against the data in a
//! denial; what nobody can decide waits and is never sent.

mod authors;
mod dated;
mod decide;
mod directive;
mod directory;
mod entry;
mod explain;
mod links;
mod lists;
mod matching;
mod notes;
mod policy;
mod read;
mod reading;
mod reference;
mod request;
mod snapshot;
mod span;
mod systems;
mod terms;
mod valid_until;
mod verdict;
mod weigh;

pub use decide::{decide, release};
pub use directive::{Actors, Base, Data, Directive, Meaning, Mode, Node, Scope, Status};
pub use directory::{Directory, DirectoryError, Party};
pub use entry::{Coded, Entry, Inner, Sources};
pub use explain::{Explanation, explain};
pub use policy::{BreakGlass, Effect, Lift, Notice, Policy, PolicyError, Rule, When};
pub use reference::{changed, identifier, names, normal};
pub use request::{Emergency, OVERRIDE_REASONS, Request};
pub use snapshot::{Snapshot, Source};
pub use span::{Micros, Span};
pub use terms::{ACT_CODE, LabelKind, Terms, TermsError};
pub use verdict::{Basis, Decision, Release, Verdict};
