//! A feed in, resolved: protocol, provider, transforms and routes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use channels::{Acknowledge, file, http, mllp};
use message::condition::Condition;
use message::consent::{Confidentiality, Purpose};
use message::hl7v2::{CharsetOptions, Path as Hl7Path};
use message::signature::TrustedKeys;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use transforms::hl7v2_to_fhir;
use transforms::script;
use transforms::stamp::StampOptions;

use super::read::one_or_many;
use super::site::Fingerprint;

/// One feed in: `channels/NAME.toml`.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    /// Its name: its file's name.
    pub name: String,
    /// SHA-256 over its file and what it refers to, in hexadecimal.
    pub hash: String,
    /// What was filled into its file.
    pub filled: Fingerprint,
    /// Its file.
    pub file: PathBuf,
    /// What it is, for people.
    pub description: String,
    /// False keeps it from starting.
    pub enabled: bool,
    /// Whose EMR sends: a key of [`Site::providers`].
    pub provider: String,
    /// Protocol and address.
    pub inbound: InboundKind,
    /// When the sender hears "accepted".
    pub acknowledge: Acknowledge,
    /// IANA zone of times that carry no offset.
    pub time_zone: jiff::tz::TimeZone,
    /// How bytes become text where MSH-18 does not say, and what becomes of bytes that are none.
    pub charset: CharsetOptions,
    /// What everything from here may be used for; `None` does not restrict it.
    pub purposes: Option<BTreeSet<Purpose>>,
    /// Fixed Consents that hold for all that comes by it: names of [`FixedConsent`](super::FixedConsent)s.
    pub consents: Vec<String>,
    /// How confidential everything from here is, at least.
    pub confidentiality: Confidentiality,
    /// How messages are stamped: their provenance, labels and flags.
    pub stamp: StampOptions,
    /// What becomes of FHIR that is not what R4 says it is.
    pub validate: Validate,
    /// What becomes of what comes back.
    pub loops: Loops,
    /// What becomes of Bundles that are not signed with a trusted key.
    pub verify_signatures: VerifySignatures,
    /// The keys whose signatures are trusted.
    pub trusted_keys: Arc<TrustedKeys>,
    /// What orders deliveries.
    pub lane: LaneKey,
    /// What becomes of older events that arrive late.
    pub late_events: LateConfig,
    /// What is done to each message, in order.
    pub transforms: Vec<TransformConfig>,
    /// Where each message goes.
    pub routes: Vec<RouteConfig>,
    /// What `tributary test` tries.
    pub tests: Vec<TestConfig>,
}

/// A channel's protocol and address: the one table under `[inbound]`.
#[derive(Clone, Debug)]
pub enum InboundKind {
    /// HL7 v2 over MLLP: `[inbound.mllp]`.
    Mllp(mllp::InboundConfig),
    /// FHIR Bundles over HTTP: `[inbound.http]`.
    Http(http::InboundConfig),
    /// A drop folder: `[inbound.file]`.
    File(file::InboundConfig),
}

impl InboundKind {
    /// Its key under `[inbound]`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Mllp(_) => "mllp",
            Self::Http(_) => "http",
            Self::File(_) => "file",
        }
    }

    /// The address it listens on, if it does.
    #[must_use]
    pub fn listen(&self) -> Option<SocketAddr> {
        match self {
            Self::Mllp(config) => Some(config.listen),
            Self::Http(config) => Some(config.listen),
            Self::File(_) => None,
        }
    }

    /// The folder it watches, if it does.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(config) => Some(&config.folder),
            Self::Mllp(_) | Self::Http(_) => None,
        }
    }
}

/// What becomes of FHIR that is not what R4 says it is, before it is queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validate {
    /// It goes on; what is wrong is kept with the message, and counted.
    #[default]
    Warn,
    /// The message is parked as `failed`, with what is wrong as the reason.
    Hold,
    /// Nobody looks.
    Off,
}

/// What becomes of what this engine made of a message of the same provider, and gets back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loops {
    /// It is parked as `failed`, and goes nowhere.
    #[default]
    Park,
    /// It goes on.
    Pass,
}

/// What becomes of Bundles that are not signed with a trusted key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifySignatures {
    /// Nobody looks.
    #[default]
    Off,
    /// They go on; what is wrong is kept with the message, and counted.
    Warn,
    /// The message is parked as `failed`, with what is wrong as the reason.
    Require,
}

/// What orders the deliveries of a channel: those of one lane to one destination leave one at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaneKey {
    /// The patient's identifier.
    #[default]
    Patient,
    /// The channel: all its messages in one order.
    Channel,
    /// Nothing: each delivery for itself.
    None,
}

/// What becomes of older events that arrive late: `[late_events]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LateConfig {
    /// Whether what a newer event wrote stays.
    pub policy: LatePolicy,
    /// Where the time of a message's event stands: the first of these that has one.
    #[serde(deserialize_with = "paths")]
    pub time: Vec<Hl7Path>,
    /// The types of resources whose events are told apart.
    #[serde(deserialize_with = "resource_types")]
    pub resources: Vec<String>,
}

impl Default for LateConfig {
    fn default() -> Self {
        let path = |field| Hl7Path {
            segment: if field == 7 { "MSH" } else { "EVN" }.to_owned(),
            occurrence: None,
            field: Some(field),
            repetition: None,
            component: None,
            subcomponent: None,
        };
        Self {
            policy: LatePolicy::default(),
            time: vec![path(6), path(2), path(7)],
            resources: LATE_RESOURCES.map(str::to_owned).to_vec(),
        }
    }
}

/// What has a state that an older message must not bring back.
const LATE_RESOURCES: [&str; 15] = [
    "Patient",
    "RelatedPerson",
    "Encounter",
    "Account",
    "Coverage",
    "Appointment",
    "Condition",
    "AllergyIntolerance",
    "ServiceRequest",
    "DiagnosticReport",
    "Observation",
    "Specimen",
    "Immunization",
    "MedicationRequest",
    "DocumentReference",
];

/// Whether what a newer event wrote stays when an older one comes late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatePolicy {
    /// It stays; the late message writes only what is not there yet.
    #[default]
    HoldBack,
    /// It is written over, and a finding says so.
    Note,
    /// Events are not told apart.
    Take,
}

fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hl7Path>, D::Error> {
    let paths: Vec<String> = one_or_many(deserializer)?;
    paths.iter().map(|path| path.parse().map_err(D::Error::custom)).collect()
}

fn resource_types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names: Vec<String> = one_or_many(deserializer)?;
    match names.iter().find(|name| message::fhir::definitions::types().id(name).is_none()) {
        Some(name) => Err(D::Error::custom(format!("R4 has no resource `{name}`; write it like \"Encounter\""))),
        None => Ok(names),
    }
}

/// One step: `[[transform]]`, named by its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransformConfig {
    /// HL7 v2 to FHIR R4 by the mapping tables.
    #[serde(rename = "hl7v2-to-fhir")]
    Hl7v2ToFhir(Hl7v2ToFhirConfig),
    /// JavaScript of the site's own.
    #[serde(rename = "script")]
    Script(ScriptConfig),
    /// Sensitivity labels by the site's value sets: `label = {}`.
    #[serde(rename = "label")]
    Label(LabelConfig),
}

/// Options of `label`: there are none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LabelConfig {}

/// Options of `hl7v2-to-fhir`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Hl7v2ToFhirFile")]
pub struct Hl7v2ToFhirConfig {
    /// Folder of the site's own rows over the built-in tables: `maps/NAME` in the site's folder,
    /// written as `NAME`.
    pub maps: Option<PathBuf>,
    /// What the transform itself is told.
    pub options: hl7v2_to_fhir::Options,
}

/// [`Hl7v2ToFhirConfig`] as it is written: the transform's own keys stand beside ours.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Hl7v2ToFhirFile {
    maps: Option<PathBuf>,
    structure: Option<String>,
    next_of_kin: hl7v2_to_fhir::NextOfKin,
    encounter_status: hl7v2_to_fhir::EncounterStatus,
    service_requests: hl7v2_to_fhir::ServiceRequests,
    identifier_system: hl7v2_to_fhir::IdentifierSystem,
    assigners: hl7v2_to_fhir::Assigners,
    race_and_ethnicity: hl7v2_to_fhir::RaceAndEthnicity,
    attachments: hl7v2_to_fhir::Attachments,
    observation_groups: hl7v2_to_fhir::ObservationGroups,
    z_segments: hl7v2_to_fhir::ZSegments,
}

impl From<Hl7v2ToFhirFile> for Hl7v2ToFhirConfig {
    fn from(file: Hl7v2ToFhirFile) -> Self {
        let options = hl7v2_to_fhir::Options {
            structure: file.structure,
            next_of_kin: file.next_of_kin,
            encounter_status: file.encounter_status,
            service_requests: file.service_requests,
            identifier_system: file.identifier_system,
            assigners: file.assigners,
            race_and_ethnicity: file.race_and_ethnicity,
            attachments: file.attachments,
            observation_groups: file.observation_groups,
            z_segments: file.z_segments,
        };
        Self { maps: file.maps, options }
    }
}

/// Options of `script`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "ScriptFile")]
pub struct ScriptConfig {
    /// The file; relative to the site's folder.
    pub file: PathBuf,
    /// The folder of the site's code sets: `codes` in the site's folder.
    pub codes: PathBuf,
    /// What the transform itself is told.
    pub options: script::Options,
}

/// [`ScriptConfig`] as it is written.
#[derive(Deserialize)]
struct ScriptFile {
    file: PathBuf,
    #[serde(default = "most_steps")]
    max_steps: u32,
    #[serde(default = "most_memory")]
    max_memory: u32,
}

fn most_steps() -> u32 {
    script::Options::default().max_steps
}

fn most_memory() -> u32 {
    script::Options::default().max_memory
}

impl From<ScriptFile> for ScriptConfig {
    fn from(ScriptFile { file, max_steps, max_memory }: ScriptFile) -> Self {
        Self { file, codes: PathBuf::from("codes"), options: script::Options { max_steps, max_memory } }
    }
}

/// One way from a channel to destinations: `[[route]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RouteConfig {
    /// What it is, for people and for the "filtered" reason; may be empty.
    #[serde(default)]
    pub name: String,
    /// Names of destinations; at least one.
    #[serde(deserialize_with = "one_or_many")]
    pub to: Vec<String>,
    /// What the recipient will use it for; all of them must be allowed.
    #[serde(deserialize_with = "one_or_many")]
    pub purpose: BTreeSet<Purpose>,
    /// Whether what leaves is labelled with `purpose`; see [`RouteConfig::stamps_purpose`].
    pub stamp_purpose: Option<bool>,
    /// What a message must be like to take it; `None` takes all.
    pub when: Option<Condition>,
    /// What leaves.
    #[serde(default)]
    pub content: Content,
}

impl RouteConfig {
    /// Whether what leaves says for what it was released. Unless the file says so, not where that is treatment: the label
    /// would forbid its recipient the payment for it and its own operations.
    #[must_use]
    pub fn stamps_purpose(&self) -> bool {
        self.stamp_purpose.unwrap_or_else(|| !self.purpose.iter().any(|purpose| purpose.code() == "TREAT"))
    }
}

/// What of a message leaves by a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// What the transforms made of it.
    #[default]
    Converted,
    /// The bytes as they came.
    Original,
}

/// What `tributary test` tries: `[[test]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TestConfig {
    /// A sentence that says what must be true.
    pub name: String,
    /// The file to send; relative to the channel's file.
    pub send: PathBuf,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expectation,
}

/// What must come of a test's message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Expectation {
    /// MSA-1 of the answer.
    pub ack: Option<String>,
    /// Destinations that routes must take it to.
    #[serde(deserialize_with = "one_or_many")]
    pub to: Vec<String>,
    /// What must come of it: `queued`, `filtered` or `failed`. Without it, a message that fails fails the test.
    pub state: Option<ExpectedState>,
    /// What must be true of the message and of what became of it: conditions.
    #[serde(deserialize_with = "one_or_many")]
    pub fhirpath: Vec<Condition>,
    /// A file with what must be in the converted content; relative to the channel's file.
    pub json: Option<PathBuf>,
}

/// What must come of a test's message as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedState {
    /// A route takes it, even if it is then held.
    Queued,
    /// No route takes it.
    Filtered,
    /// A transform cannot be done.
    Failed,
}
