//! What consent is decided by: the site's policies, its label rules, and who belongs to whom.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use message::consent::by_entry::{Directive, Directory, Policy, Terms};
use transforms::label::LabelRules;

use super::services::ServicesConfig;

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
    /// Who is asked before something leaves: `services.toml`.
    pub services: ServicesConfig,
    /// Identifiers (`SYSTEM|VALUE`) that are one person's: `codes/patients.csv`.
    pub patients: Vec<Vec<String>>,
    /// Fixed Consents: `consents/*.json`.
    pub fixed: Vec<FixedConsent>,
    /// SHA-256 over all of it, in hexadecimal.
    pub hash: String,
}

/// A Consent that a site has on file from the start: `consents/NAME.json`.
#[derive(Clone)]
pub struct FixedConsent {
    /// Its name: its file's name.
    pub name: String,
    /// It, compiled; its version is the beginning of the file's SHA-256.
    pub directive: Directive,
    /// Whose it is, as `SYSTEM|VALUE`; of everyone in the channels that name it where it names nobody.
    pub patients: Vec<String>,
}

/// Its name: whose it is tells who they are.
impl fmt::Debug for FixedConsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedConsent").field("name", &self.name).finish_non_exhaustive()
    }
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
