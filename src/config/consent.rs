//! What consent is decided by: the site's policies, its label rules, and who belongs to whom.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use message::consent::by_entry::{Directory, Policy, Terms};
use transforms::label::LabelRules;

/// What consent is decided by: `policies/`, `labels/`, and the organisations of `providers.toml`.
#[derive(Clone, Default)]
pub struct ConsentConfig {
    /// The policies, by name: `policies/NAME.toml`.
    pub policies: BTreeMap<String, Arc<PolicyConfig>>,
    /// What calls for which labels: `labels/`, or what comes with the engine.
    pub labels: Arc<LabelRules>,
    /// Who belongs to whom.
    pub directory: Arc<Directory>,
    /// How codes lie within each other.
    pub terms: Arc<Terms>,
    /// SHA-256 over all of it, in hexadecimal.
    pub hash: String,
}

/// A policy and the digest of its file, for the proof of a decision.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// What it says.
    pub policy: Policy,
    /// SHA-256 of its file, in hexadecimal.
    pub hash: String,
}

/// Names alone: value sets and directories are long.
impl fmt::Debug for ConsentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.policies.keys().collect();
        f.debug_struct("ConsentConfig").field("policies", &names).finish_non_exhaustive()
    }
}
