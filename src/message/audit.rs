//! What happened, for the audit: who did what with whose data, when and why. Ids, hashes and references; no clinical
//! content, and no identifier of a patient but as a keyed hash.

mod dicom;
mod r4;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{MessageId, Sha256};

/// The engine that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observer {
    /// The site's URI, under which the engine and its codes are named, without a final `/`.
    pub base_uri: String,
    /// The engine's name.
    pub name: String,
    /// The organisation that runs it; empty if that is not known.
    pub operator: String,
}

/// One event, before it is rendered for a FHIR version. [`Event::into_r4`] is R4, per IHE BALP. Its fields stand in the
/// order of RFC 8785, so that its JSON is canonical as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// Where that is reached: a URL, a host, an address.
    #[serde(default, skip_serializing_if = "is_default")]
    pub address: Option<String>,
    /// When it happened.
    pub at: Timestamp,
    /// The person who did it; empty where the engine did it by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub by: String,
    /// The inbound channel.
    #[serde(default, skip_serializing_if = "is_default")]
    pub channel: Option<String>,
    /// The Consents that a decision rests on, each as `ID/VERSION`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub consents: Vec<String>,
    /// The organisation whose data it is: who keeps what a delivery discloses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub custodian: Option<String>,
    /// The delivery.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delivery: Option<u64>,
    /// The destination.
    #[serde(default, skip_serializing_if = "is_default")]
    pub destination: Option<String>,
    /// Its id, made from what it tells of: the same event has the same id whenever it is told.
    pub id: Uuid,
    /// What happened.
    pub kind: Kind,
    /// The message.
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: Option<MessageId>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outcome: Outcome,
    /// The organisation on the other side: who sent it, who got it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub party: Option<String>,
    /// Purposes of use, codes of ActReason.
    #[serde(default, skip_serializing_if = "is_default")]
    pub purposes: Vec<String>,
    /// True if it is about several patients.
    #[serde(default, skip_serializing_if = "is_default")]
    pub several: bool,
    /// The SHA-256 of the message as it came, or of a configuration.
    #[serde(default, skip_serializing_if = "is_default", with = "digits")]
    pub sha256: Option<Sha256>,
    /// Keyed hashes of the patients' identifiers, in hexadecimal.
    #[serde(default, skip_serializing_if = "is_default")]
    pub subjects: Vec<String>,
    /// More of it, for a person.
    #[serde(default, skip_serializing_if = "is_default")]
    pub text: String,
    /// What kind of data it was, as its sender called it: `ORU^R01`, `Bundle/transaction`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub what: String,
}

impl Event {
    /// An event of which no more is said than this.
    #[must_use]
    pub fn new(id: Uuid, at: Timestamp, kind: Kind) -> Self {
        Self {
            id,
            at,
            kind,
            outcome: Outcome::default(),
            text: String::new(),
            by: String::new(),
            message: None,
            delivery: None,
            channel: None,
            custodian: None,
            several: false,
            what: String::new(),
            consents: Vec::new(),
            destination: None,
            party: None,
            address: None,
            subjects: Vec::new(),
            purposes: Vec::new(),
            sha256: None,
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A message was taken in.
    Import,
    /// A destination of another organisation got it; or got to see it, where the outcome is a failure.
    Disclosure,
    /// Whether it may go was decided by consent, law and policy.
    Decision,
    /// A named person opened a record against or without consent.
    BreakGlass,
    /// A delivery waits for a person.
    Hold,
    /// A person let a delivery go on.
    Release,
    /// A person decided that a delivery is not to be sent.
    Skip,
    /// A stored message was processed again.
    Replay,
    /// A Consent was filed.
    Consent,
    /// Identifiers became one person's, or no longer are.
    Identity,
    /// A person looked at stored content.
    View,
    /// A person looked for messages of a patient.
    Query,
    /// The store was copied, or part of it dropped.
    Store,
    /// Configuration, policies or rules changed.
    Configuration,
    /// The audit itself was read.
    AuditRead,
    /// The engine started.
    Start,
    /// The engine stopped.
    Stop,
    /// Part of the log cannot be read: what it told of is not here.
    Gap,
    /// What a named person had opened is closed again.
    BreakGlassEnd,
    /// The audit was signed up to a line: what it says then can be proven.
    Checkpoint,
    /// Consent for something ended while it was on its way.
    LateRevocation,
    /// A destination of the organisation that it came from got it; or got to see it, where the outcome is a failure.
    Transfer,
    /// Somebody did not show the credentials that a channel asks for.
    FailedLogin,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Import,
        Self::Disclosure,
        Self::Decision,
        Self::BreakGlass,
        Self::Hold,
        Self::Release,
        Self::Skip,
        Self::Replay,
        Self::Consent,
        Self::Identity,
        Self::View,
        Self::Query,
        Self::Store,
        Self::Configuration,
        Self::AuditRead,
        Self::Start,
        Self::Stop,
        Self::Gap,
        Self::BreakGlassEnd,
        Self::Checkpoint,
        Self::LateRevocation,
        Self::Transfer,
        Self::FailedLogin,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Disclosure => "disclosure",
            Self::Decision => "decision",
            Self::BreakGlass => "break-glass",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Skip => "skip",
            Self::Replay => "replay",
            Self::Consent => "consent",
            Self::Identity => "identity",
            Self::View => "view",
            Self::Query => "query",
            Self::Store => "store",
            Self::Configuration => "configuration",
            Self::AuditRead => "audit-read",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Gap => "gap",
            Self::BreakGlassEnd => "break-glass-end",
            Self::Checkpoint => "checkpoint",
            Self::LateRevocation => "late-revocation",
            Self::Transfer => "transfer",
            Self::FailedLogin => "failed-login",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("there is no such kind; write one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// How it ended (FHIR R4 AuditEvent.outcome).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it was meant: 0.
    #[default]
    Success,
    /// Refused, and nothing is amiss with the engine: 4.
    Refused,
    /// Denied, or it waits for what is not known: 8.
    Denied,
}

impl Outcome {
    /// The code of `http://terminology.hl7.org/CodeSystem/audit-event-outcome`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Success => "0",
            Self::Refused => "4",
            Self::Denied => "8",
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Serde for a digest as hexadecimal digits.
mod digits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use crate::Sha256;

    pub(super) fn serialize<S: Serializer>(digest: &Option<Sha256>, serializer: S) -> Result<S::Ok, S::Error> {
        digest.map(|digest| digest.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Sha256>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
