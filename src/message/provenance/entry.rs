//! One entry of the chain of custody: who did what to which resources, from which message.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use crate::json::Text;

/// A Provenance before it is rendered for a FHIR version.
///
/// It is immutable once sent: a correction is a new one. Its id is derived from what it is about, so
/// that the same message gives the same Provenance.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// Its id.
    pub id: Uuid,
    /// What was made or changed.
    pub targets: Vec<Reference>,
    /// When it happened, as a FHIR dateTime of whatever precision is known.
    pub occurred: Option<Text>,
    /// When it was recorded.
    pub recorded: Timestamp,
    /// What was applied: URIs with the hashes of mappings, rules and configuration.
    pub policy: Vec<Text>,
    /// What happened.
    pub activity: Option<Activity>,
    /// Why: systems and codes, as the sender coded them or as purposes of use.
    pub reasons: Vec<(Text, Text)>,
    /// Where it happened.
    pub location: Option<Reference>,
    /// Who took part, at least one.
    pub agents: Vec<Agent>,
    /// What it was made from: URIs, the original bytes first.
    pub sources: Vec<Text>,
    /// Which records it made new versions of.
    pub revisions: Vec<Reference>,
    /// What was derived from something larger that is not told of: an opaque URI.
    pub derived_from: Option<Text>,
}

/// One participant (FHIR R4 Provenance.agent).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agent {
    /// In what role.
    pub role: Role,
    /// Who.
    pub who: Reference,
    /// For whom: the organisation behind a person or a device.
    pub on_behalf_of: Option<Reference>,
}

/// The part that somebody played (`http://terminology.hl7.org/CodeSystem/provenance-participant-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Made the content.
    Author,
    /// Sent this copy.
    Transmitter,
    /// Answers for keeping it.
    Custodian,
    /// A device that put it together from what others wrote.
    Assembler,
    /// Entered it for somebody else.
    Enterer,
    /// Checked it.
    Verifier,
    /// Carried out what it tells of.
    Performer,
    /// Told of it.
    Informant,
    /// Confirmed it by signature.
    Attester,
    /// Answers for it before the law.
    Legal,
}

impl Role {
    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Transmitter => "transmitter",
            Self::Custodian => "custodian",
            Self::Assembler => "assembler",
            Self::Enterer => "enterer",
            Self::Verifier => "verifier",
            Self::Performer => "performer",
            Self::Informant => "informant",
            Self::Attester => "attester",
            Self::Legal => "legal",
        }
    }
}

/// What happened (FHIR R4 Provenance.activity).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activity {
    /// HL7 v2 became FHIR, as the v2-to-FHIR guide tells it.
    V2ToFhir,
    /// An event in a record's life, a code of ISO 21089: `receive`, `transform`, `merge`, `link`.
    Lifecycle(&'static str),
    /// An operation on data, a code of v3-DataOperation: `CREATE`, `UPDATE`, `CANCEL`, `NULLIFY`.
    Operation(&'static str),
    /// What a security service does to data, a code of v3-ActCode: `LABEL`, `REDACT`.
    Act(&'static str),
}

/// Who or what is meant.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A resource in the same Bundle or at the destination.
    Literal {
        /// Where it is: `Type/id`, or an entry's `fullUrl`.
        reference: Text,
        /// For people.
        display: Option<Text>,
    },
    /// Known by an identifier: not resolved yet, never guessed.
    Logical {
        /// The resource type, such as `Organization`; `None` where it may be of any.
        kind: Option<&'static str>,
        /// The identifier's system.
        system: Option<Text>,
        /// The identifier's value.
        value: Text,
        /// For people.
        display: Option<Text>,
    },
    /// Known by name alone.
    Named {
        /// The resource type, such as `Practitioner`; `None` where it may be of any.
        kind: Option<&'static str>,
        /// The name as the sender wrote it.
        display: Text,
    },
    /// Nobody said: an explicit unknown.
    Unknown,
}

impl Reference {
    /// The resource at `reference`.
    #[must_use]
    pub fn to(reference: impl Into<Text>) -> Self {
        Self::Literal { reference: reference.into(), display: None }
    }

    /// True if it means a person or a device, as far as it says: what acts for somebody.
    #[must_use]
    pub fn acts_for_somebody(&self) -> bool {
        let kind = match self {
            Self::Literal { reference, .. } => reference.split_once('/').map(|(kind, _)| kind),
            Self::Logical { kind, .. } | Self::Named { kind, .. } => *kind,
            Self::Unknown => None,
        };
        matches!(kind, Some("Practitioner" | "PractitionerRole" | "Device"))
    }

    /// What a URI identifies.
    #[must_use]
    pub fn uri(kind: impl Into<Option<&'static str>>, uri: impl Into<Text>, display: Option<Text>) -> Self {
        Self::Logical {
            kind: kind.into(),
            system: Some(Text::new_static("urn:ietf:rfc:3986")),
            value: uri.into(),
            display,
        }
    }
}

/// Prints the kind only: people are named in it.
impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal { .. } => "Literal",
            Self::Logical { .. } => "Logical",
            Self::Named { .. } => "Named",
            Self::Unknown => "Unknown",
        })
    }
}
