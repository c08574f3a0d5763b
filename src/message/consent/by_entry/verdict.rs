//! What a decision says: of a message, of each of its entries, and what that rests on.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::policy::Effect;
use super::span::Micros;
use crate::json::Text;

/// What is decided for a message and for each of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of the message.
    pub message: Release,
    /// What is decided for each entry, in their order.
    pub entries: Vec<Verdict>,
    /// What the recipient must do with what it gets: ActCode codes.
    pub obligations: BTreeSet<Text>,
    /// The first instant at which the answer may be another without anything new being known.
    pub valid_until: Option<Micros>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// All of it may go.
    Deliver,
    /// Some of it may go; the rest is removed.
    DeliverRedacted,
    /// Nothing may go.
    Suppress,
    /// It waits.
    Park,
}

impl Release {
    /// `deliver`, `deliver-redacted`, `suppress` or `park`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::DeliverRedacted => "deliver-redacted",
            Self::Suppress => "suppress",
            Self::Park => "park",
        }
    }
}

/// What is decided for an entry, and by what.
#[derive(Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The entry.
    pub reference: Text,
    /// What is decided.
    pub effect: Effect,
    /// By what.
    pub basis: Basis,
    /// The layer that answered, 1 to 10.
    pub layer: u8,
    /// The purpose that it was decided for.
    pub purpose: Text,
    /// The sensitivity label that it was decided for.
    pub label: Option<Text>,
    /// The provision that decided, where a Consent did: `provision.provision[0]`, or `policyRule`.
    pub path: Option<Text>,
}

/// Without the entry's name, which may be an identifier.
impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reference: _, effect, basis, layer, purpose, label, path } = self;
        let mut told = f.debug_struct("Verdict");
        told.field("effect", effect).field("basis", basis).field("layer", layer).field("purpose", purpose);
        told.field("label", label).field("path", path).finish_non_exhaustive()
    }
}

/// What a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It is not certain whose data it is.
    PatientIdentity,
    /// The source of consents does not answer, or gives no sense.
    ServiceUnavailable,
    /// The consents on hand are too old.
    CacheStale,
    /// It is test data, and the destination is for production.
    TestData,
    /// The data is labelled for other purposes.
    DataPurposeConflict,
    /// A Consent that would count cannot be computed.
    Uncomputable(Arc<str>),
    /// The law forbids it: the rule's id.
    MandatoryDeny(Arc<str>),
    /// The law demands it: the rule's id.
    MandatoryPermit(Arc<str>),
    /// The patient says so: the Consent's id.
    Consent(Arc<str>),
    /// A declared emergency.
    BreakGlass,
    /// A label forbids passing it on without consent.
    Refrain(&'static str),
    /// Nobody says anything: the policy's default.
    Default,
    /// Nobody says anything, and the policy waits for somebody who does.
    ConsentUnknown,
    /// No purpose was given.
    PurposeUnknown,
    /// A decision service says so: its evidence.
    External(Arc<str>),
    /// A recipient must do something that the route cannot: the obligation.
    Obligation(Arc<str>),
    /// It is more confidential than the destination is cleared for.
    Clearance,
}

impl std::fmt::Display for Basis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PatientIdentity => f.write_str("patient-identity"),
            Self::ServiceUnavailable => f.write_str("consent-service-unavailable"),
            Self::CacheStale => f.write_str("consent-cache-stale"),
            Self::TestData => f.write_str("test-data"),
            Self::DataPurposeConflict => f.write_str("data-purpose-conflict"),
            Self::Uncomputable(_) => f.write_str("uncomputable-consent"),
            Self::MandatoryDeny(id) => write!(f, "mandatory-deny:{id}"),
            Self::MandatoryPermit(id) => write!(f, "mandatory-permit:{id}"),
            Self::Consent(id) => write!(f, "consent:{id}"),
            Self::BreakGlass => f.write_str("break-glass"),
            Self::Refrain(code) => write!(f, "refrain:{code}"),
            Self::Default => f.write_str("default"),
            Self::ConsentUnknown => f.write_str("consent-unknown"),
            Self::PurposeUnknown => f.write_str("purpose-unknown"),
            Self::External(evidence) => write!(f, "external:{evidence}"),
            Self::Obligation(code) => write!(f, "obligation:{code}"),
            Self::Clearance => f.write_str("clearance"),
        }
    }
}
