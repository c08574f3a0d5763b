//! What a channel chooses where HL7's guide leaves a choice.

use serde::{Deserialize, Serialize};

/// What a channel chooses: `hl7v2-to-fhir = { … }`. Rows of the tables ask for a choice by its name:
/// `option = { next_of_kin = "contact" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The structure to read messages by, such as `ADT_A01`, whatever they say of themselves.
    pub structure: Option<String>,
    /// What NK1 becomes.
    pub next_of_kin: NextOfKin,
    /// What says the status of an Encounter.
    pub encounter_status: EncounterStatus,
    /// Whether a result has a ServiceRequest beside its DiagnosticReport.
    pub service_requests: ServiceRequests,
    /// Which component of a CX says the system of the number.
    pub identifier_system: IdentifierSystem,
    /// What the assigning authority of a number becomes, beside the number's system.
    pub assigners: Assigners,
    /// What PID-10 and PID-22 become.
    pub race_and_ethnicity: RaceAndEthnicity,
    /// Where the documents and images of results stand (OBX-2 ED, RP).
    pub attachments: Attachments,
    /// What OBX-4 says of how results stand together.
    pub observation_groups: ObservationGroups,
    /// What a Z segment without a row becomes.
    pub z_segments: ZSegments,
}

/// What NK1 becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextOfKin {
    /// A RelatedPerson, and a contact of the Patient.
    #[default]
    Both,
    /// A RelatedPerson; employers and the like a contact, for they are no persons.
    RelatedPerson,
    /// A contact of the Patient.
    Contact,
}

/// What says the status of an Encounter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncounterStatus {
    /// The trigger event where it changes the state of a visit, else PV1.
    #[default]
    Event,
    /// PV1-45 and PV1-2 alone.
    Visit,
}

/// Whether a result has a ServiceRequest beside its DiagnosticReport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceRequests {
    /// Where the message has ORC.
    #[default]
    Ordered,
    /// Also without one, from OBR alone.
    Always,
    /// Results speak of no order.
    Never,
}

/// Which component of a CX says the system of the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentifierSystem {
    /// CX.4, else CX.6.
    #[default]
    AssigningAuthority,
    /// CX.6, else CX.4.
    AssigningFacility,
}

/// What the assigning authority of a number becomes, beside the number's system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assigners {
    /// An Organization that the identifier refers to, as the guide has it.
    #[default]
    Organization,
    /// Its name.
    Display,
}

/// What PID-10 (race) and PID-22 (ethnic group) become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RaceAndEthnicity {
    /// The extensions of US Core.
    #[default]
    UsCore,
    /// Nothing: they are on the coverage report, for a site's rows.
    Report,
}

/// Where the documents and images of results stand (OBX-2 ED, RP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attachments {
    /// In their Observations, by the extension that the guide names: R4 has no value for them.
    #[default]
    Observation,
    /// And in the report's `presentedForm`, where viewers look for them. The data is there twice.
    Both,
}

/// What OBX-4 says of how results stand together, besides its extension of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObservationGroups {
    /// A result with dots (`1.2`) is a member of the one above it (`1`). Results that the sender groups, by dots or by
    /// OG.2, with no result above them, are members of an Observation that is made of the group.
    #[default]
    Hierarchy,
    /// And all that merely have the same sub-id, where an order has several.
    Panels,
    /// Nothing.
    Extension,
}

/// What a Z segment without a row becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZSegments {
    /// A Basic resource of its own.
    #[default]
    Basic,
    /// An extension of the MessageHeader.
    Extension,
    /// Nothing: it is on the coverage report.
    Report,
}
