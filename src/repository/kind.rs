//! The resource types of FHIR R4, and the syntax of ids.

use std::collections::HashSet;
use std::sync::LazyLock;

/// A resource type, as FHIR spells it.
pub(super) type Kind = &'static str;

/// FHIR R4 (4.0.1), all of them.
const NAMES: &str = "
    Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic
    Binary BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry
    ChargeItem ChargeItemDefinition Claim ClaimResponse ClinicalImpression CodeSystem Communication
    CommunicationRequest CompartmentDefinition Composition ConceptMap Condition Consent Contract Coverage
    CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric
    DeviceRequest DeviceUseStatement DiagnosticReport DocumentManifest DocumentReference EffectEvidenceSynthesis
    Encounter Endpoint EnrollmentRequest EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceVariable
    ExampleScenario ExplanationOfBenefit FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse
    HealthcareService ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation
    ImplementationGuide InsurancePlan Invoice Library Linkage List Location Measure MeasureReport Media Medication
    MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest MedicationStatement
    MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication MedicinalProductIndication
    MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured MedicinalProductPackaged
    MedicinalProductPharmaceutical MedicinalProductUndesirableEffect MessageDefinition MessageHeader
    MolecularSequence NamingSystem NutritionOrder Observation ObservationDefinition OperationDefinition
    OperationOutcome Organization OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation
    Person PlanDefinition Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse
    RelatedPerson RequestGroup ResearchDefinition ResearchElementDefinition ResearchStudy ResearchSubject
    RiskAssessment RiskEvidenceSynthesis Schedule SearchParameter ServiceRequest Slot Specimen SpecimenDefinition
    StructureDefinition StructureMap Subscription Substance SubstanceNucleicAcid SubstancePolymer SubstanceProtein
    SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification SupplyDelivery SupplyRequest Task
    TerminologyCapabilities TestReport TestScript ValueSet VerificationResult VisionPrescription
";

static KINDS: LazyLock<HashSet<Kind>> = LazyLock::new(|| NAMES.split_whitespace().collect());

/// The resource type of this name, if there is one.
pub(super) fn kind(name: &str) -> Option<Kind> {
    KINDS.get(name).copied()
}

/// All resource types, in the order of their names.
pub(super) fn kinds() -> impl Iterator<Item = Kind> {
    NAMES.split_whitespace()
}

/// FHIR R4 `id`: letters, digits, `-` and `.`, 1 to 64 of them.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// `Patient/1`, or a version of it, as its type and id.
pub(super) fn split_reference(text: &str) -> Option<(Kind, &str)> {
    let mut parts = text.split('/');
    let (kind, id) = (kind(parts.next()?)?, parts.next().filter(|id| is_id(id))?);
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => Some((kind, id)),
        (Some("_history"), Some(version), None) if is_id(version) => Some((kind, id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found() {
        assert!(kinds().all(|name| kind(name) == Some(name)));
        assert_eq!(kinds().count(), 146);
        assert_eq!(kind("Patients"), None);
    }

    #[test]
    fn references_are_a_type_and_an_id() {
        assert_eq!(split_reference("Patient/a-1"), Some(("Patient", "a-1")));
        assert_eq!(split_reference("Patient/1/_history/2"), Some(("Patient", "1")));
        for wrong in ["Patient", "Patient/", "Person/1/2", "Patients/1", "Patient/a_b", "Patient/1/_history"] {
            assert_eq!(split_reference(wrong), None, "{wrong}");
        }
    }
}
