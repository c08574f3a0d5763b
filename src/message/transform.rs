//! What a transform is, and what it may say.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Message;
use crate::json::Text;

/// A pure step over a message: the same message, time and tables give the same result.
///
/// It changes the message or says why it cannot; it never drops, sends or looks anything up. The
/// pipeline wraps each with its lineage stamp, so that no transform can forget it.
pub trait Transform: Send + Sync {
    /// Its name in a channel's file, such as `hl7v2-to-fhir`.
    fn name(&self) -> &str;

    /// What decides its result besides the message: the SHA-256 of its tables and options, in
    /// hexadecimal. It goes into the message's lineage.
    fn version(&self) -> &str;

    /// Does the step.
    ///
    /// # Errors
    ///
    /// [`TransformError`] with the place in the message and the reason; the message is then parked
    /// as `failed`.
    fn apply(&self, message: Message, context: &Context) -> Result<Message, TransformError>;
}

/// What a transform may know besides its message. No clock, no disk: all is passed in.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time of this run of the transforms.
    pub now: Timestamp,
    /// The provider that the channel belongs to: its key in `providers.toml`.
    pub provider: Arc<Provider>,
    /// The engine's name and version, as the assembler of what it makes: `tributary 0.1.0`.
    pub engine: Arc<str>,
    /// The site's own URI, under which its sources and the engine are named, without a final `/`.
    pub base_uri: Arc<str>,
    /// IANA zone for HL7 times without an offset, such as `America/Chicago`.
    pub time_zone: jiff::tz::TimeZone,
}

/// An organisation whose EMR sends or receives: one table of `providers.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its key in `providers.toml`; filled in from there.
    #[serde(skip)]
    pub key: Arc<str>,
    /// Its name for people.
    pub name: String,
    /// Its identifier: system URI, such as `urn:oid:2.16.840.1.113883.19.4.6`.
    pub system: Option<String>,
    /// Its identifier's value in that system, such as an NPI.
    pub value: Option<String>,
    /// True if it passes on what others wrote, so that MSH-4 is its transmitter and not its author.
    #[serde(default)]
    pub hub: bool,
    /// Namespace (HD.1, CX.4.1) to the system URI of identifiers: `{ MRN = "urn:oid:1.2.3" }`.
    #[serde(default)]
    pub systems: std::collections::BTreeMap<String, String>,
    /// What kind of organisation it is, for the rules of a policy: `provider`, `payer`, `research`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// What label rules ask of an author: `part2-program`.
    #[serde(default)]
    pub flags: std::collections::BTreeSet<String>,
    /// The organisation that it is a part of: its key.
    #[serde(default)]
    pub part_of: Option<String>,
    /// Its other names, as Consents may write them: `SYSTEM|VALUE` or `Organization/ID`.
    #[serde(default)]
    pub names: Vec<String>,
    /// Those who work for it, as Consents may name them: `SYSTEM|VALUE` or `Practitioner/ID`.
    #[serde(default)]
    pub staff: Vec<String>,
    /// The base URL of its own FHIR server, under which others name its patients.
    #[serde(default)]
    pub fhir_url: Option<String>,
}

/// Something worth an analyst's time that did not stop the message. Names places, never values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Where: `PID-10[2].1` or `entry[3].resource.code`.
    pub location: Text,
    /// What, for a person; no values of the message.
    pub text: Text,
}

/// The kinds of [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A populated field that no row of the tables takes.
    Unmapped,
    /// A code that the table has no translation for.
    Untranslated,
    /// A value that is not what its data type says, kept as far as it can be.
    Malformed,
    /// A segment where the message's grammar does not expect it.
    Unexpected,
    /// What a script of the site says.
    Noted,
    /// An older event than one that was taken before: it changes nothing there.
    Late,
    /// What was made is not what FHIR R4 says it is.
    Invalid,
    /// A record whose codes no value set of labels covers: what it is about goes unlabelled.
    Unlabelled,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Unmapped,
        Self::Untranslated,
        Self::Malformed,
        Self::Unexpected,
        Self::Noted,
        Self::Late,
        Self::Invalid,
        Self::Unlabelled,
    ];

    /// Its name: `unmapped`, `untranslated`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unmapped => "unmapped",
            Self::Untranslated => "untranslated",
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
            Self::Noted => "noted",
            Self::Late => "late",
            Self::Invalid => "invalid",
            Self::Unlabelled => "unlabelled",
        }
    }
}

/// Why a transform could not do its step. The message is parked as `failed` with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {reason}")]
pub struct TransformError {
    /// Where in the message, or `message`.
    pub location: String,
    /// What is wrong and what to do; no values of the message.
    pub reason: String,
}
