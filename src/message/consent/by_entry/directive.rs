//! A patient's Consent, brought to the form in which it is weighed: R4 and R5 alike.

use std::fmt;
use std::sync::Arc;

use super::entry::Coded;
use super::policy::Effect;
use super::span::Span;
use crate::json::Text;

/// A Consent, compiled.
#[derive(Clone)]
pub struct Directive {
    /// `Consent.id`.
    pub id: Arc<str>,
    /// `Consent.meta.versionId`.
    pub version: Option<Text>,
    /// How its provisions relate.
    pub mode: Mode,
    /// Whose it is: reference and identifier; empty where it names nobody.
    pub patient: Vec<Text>,
    /// `Consent.status`.
    pub status: Status,
    /// `Consent.scope`.
    pub scope: Scope,
    /// `Consent.dateTime`.
    pub dated: Option<Span>,
    /// False if its verification was begun and never done: then its permits do not count.
    pub verified: bool,
    /// Consents with the same organisation, scope and policy replace each other.
    pub series: Text,
    /// The policies it cites.
    pub policies: Vec<Text>,
    /// The base rule that it is an exception to.
    pub base: Base,
    /// Its provisions, each after its parent; the root first.
    pub nodes: Vec<Node>,
    /// Why it cannot be weighed: places and what is wrong with them. Empty for most.
    pub faults: Vec<String>,
    /// What a privacy officer should look at, though it can be weighed.
    pub notes: Vec<String>,
}

/// Which it is, and what cannot be weighed: whose it is and what it says of them is patient data.
impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, version, mode, status, scope, faults, .. } = self;
        let mut told = f.debug_struct("Directive");
        told.field("id", id).field("version", version).field("mode", mode).field("status", status);
        told.field("scope", scope).field("faults", faults).finish_non_exhaustive()
    }
}

/// How provisions relate to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each provision is an exception to the one above (FHIR R4, made total with R5's rules).
    Tree,
    /// The children of the root are rules of their own (IHE PCF 1.1).
    Pcf,
}

/// Whether a Consent is in force, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Active,
    /// It is not, or not yet, or no longer.
    Inactive,
    /// It does not say so that it can be read.
    Unreadable,
}

/// What a Consent is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Privacy.
    Privacy,
    /// Research: governs research purposes alone.
    Research,
    /// Treatment or advance directives: never about privacy.
    Other,
    /// Nothing that is known.
    Unreadable,
}

/// The base rule of a Consent (`policyRule`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// None that can be computed.
    None,
    /// OPTIN and its like.
    Permit,
    /// OPTOUT and its like.
    Deny,
    /// EMRGONLY: permits emergencies, denies the rest.
    EmergencyOnly,
}

/// One provision. An attribute that is empty is one that was not stated.
#[derive(Clone, Default)]
pub struct Node {
    /// The provision that it stands in; none for the root.
    pub parent: Option<usize>,
    /// The provisions in it.
    pub children: Vec<usize>,
    /// Where it stands: `provision.provision[0]`.
    pub path: String,
    /// `type`.
    pub effect: Option<Effect>,
    /// `period`.
    pub period: Option<Span>,
    /// `actor`, by the side they are on.
    pub actors: Actors,
    /// `action`.
    pub actions: Vec<Coded>,
    /// `purpose`.
    pub purposes: Vec<Coded>,
    /// `securityLabel`.
    pub labels: Vec<Coded>,
    /// `class`; in R5 `resourceType`.
    pub classes: Vec<Coded>,
    /// In R5 `documentType`.
    pub documents: Vec<Coded>,
    /// `code`, each with an empty code where it is text alone.
    pub codes: Vec<Coded>,
    /// `dataPeriod`.
    pub data_period: Option<Span>,
    /// `data`.
    pub data: Vec<Data>,
}

/// Where it stands and whether it permits.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({} {:?})", self.path, self.effect)
    }
}

/// The actors of a provision, each by all its names; empty where nobody can be told by them.
#[derive(Clone, Default)]
pub struct Actors {
    /// Who receives (IRCP, PRCP, any role not known).
    pub recipient: Vec<Vec<Text>>,
    /// Who discloses (CST, performer).
    pub custodian: Vec<Vec<Text>>,
    /// Who wrote it (AUT).
    pub author: Vec<Vec<Text>>,
}

/// One item of `data`.
#[derive(Clone)]
pub struct Data {
    /// How the data lies to the instance.
    pub meaning: Meaning,
    /// The instance by all its names; empty where it cannot be told.
    pub names: Vec<Text>,
    /// True if it contains other data by itself: Encounter, EpisodeOfCare, CarePlan.
    pub container: bool,
}

/// `Consent.provision.data.meaning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The instance itself.
    Instance,
    /// It and what it refers to.
    Related,
    /// It and what refers to it.
    Dependents,
    /// What it wrote.
    AuthoredBy,
}

impl Directive {
    /// The provision at `at`; the root always exists.
    #[must_use]
    pub(super) fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at)
    }

    /// The provision at `at` and those it stands in, up to the root.
    pub(super) fn line(&self, at: usize) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.nodes.get(at), |node| self.nodes.get(node.parent?))
    }

    /// True if nothing about it stops it from being weighed.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.faults.is_empty()
    }
}
