//! What a conversion asks of R4's types for every value of a message, looked up once.

use std::sync::LazyLock;

use message::fhir::definitions::{Element, TypeId, types};

use super::rules::{self, Rule};

/// An element that a conversion writes by name; `None` only if R4 did not have it.
pub(super) type Place = Option<&'static Element>;

/// Types and elements that the engine itself writes, and what it does with each type.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) bundle: Option<TypeId>,
    pub(super) coding: Option<TypeId>,
    pub(super) coding_system: Place,
    pub(super) coding_code: Place,
    pub(super) coding_display: Place,
    pub(super) concept: Option<TypeId>,
    pub(super) concept_coding: Place,
    pub(super) concept_text: Place,
    pub(super) identifier_system: Place,
    pub(super) organization_alias: Place,
    /// The extensions of a primitive.
    pub(super) primitive_extension: Place,
    pub(super) extension_url: Place,
    pub(super) extension_code: Place,
    /// By type.
    kinds: Vec<KnownKind>,
}

/// What a conversion does with the resources of one type.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KnownKind {
    pub(super) name: &'static str,
    /// Names the patient that the resource is about.
    pub(super) about: Place,
    /// The same identifier or the same natural key means the same thing twice.
    pub(super) is_merged: bool,
    /// The same identifier means the same thing twice.
    pub(super) is_one_number: bool,
    /// Any identifier in common means the same thing twice.
    pub(super) is_one_by_any: bool,
    /// An identifier makes it the same one in the next message.
    pub(super) is_by_identifier: bool,
    /// The server may have it already, under an id of its own: it is found by its identifier.
    pub(super) is_searched: bool,
    /// One number can be on several resources, told apart by their code.
    pub(super) is_with_code: bool,
    /// Stands for something elsewhere when all that is known is a number.
    pub(super) is_logical: bool,
    /// What sees to R4's rules for its elements.
    pub(super) rule: Option<Rule>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(Known::find);

/// What is known of R4's types.
pub(super) fn known() -> &'static Known {
    &KNOWN
}

const LOGICAL: [&str; 5] = ["Procedure", "ServiceRequest", "Specimen", "Condition", "Encounter"];

const MERGED: [&str; 6] = ["Practitioner", "PractitionerRole", "Organization", "Location", "Device", "RelatedPerson"];

const ONE_NUMBER: [&str; 4] = ["Patient", "Encounter", "Account", "Specimen"];

const ONE_BY_ANY: [&str; 4] = ["Practitioner", "Organization", "Device", "RelatedPerson"];

/// What others write as well, and every message about it names by the same number. All else has the
/// id that its identifier makes: a search by one of several numbers finds two things one day, and a
/// strict server then refuses the whole message.
const SEARCHED: [&str; 3] = ["Patient", "Encounter", "Account"];

const BY_IDENTIFIER: [&str; 18] = [
    "Patient",
    "Encounter",
    "Practitioner",
    "Organization",
    "Device",
    "Account",
    "Specimen",
    "ServiceRequest",
    "DiagnosticReport",
    "Condition",
    "Procedure",
    "Observation",
    "Immunization",
    "MedicationRequest",
    "Appointment",
    "DocumentReference",
    "EpisodeOfCare",
    "CareTeam",
];

const WITH_CODE: [&str; 3] = ["ServiceRequest", "DiagnosticReport", "Observation"];

/// Elements that name the patient a resource is about, the best first.
const SUBJECTS: [&str; 3] = ["subject", "patient", "beneficiary"];

/// Types that are about no patient, whatever elements they have.
const ABOUT_NONE: [&str; 4] = ["Provenance", "Device", "Bundle", "MessageHeader"];

impl Known {
    fn find() -> Self {
        let kind = |name: &str| types().id(name);
        let place = |owner: &str, name: &str| kind(owner).and_then(|id| types().get(id).element(name));
        let ids: Vec<TypeId> = types().names().filter_map(kind).collect();
        let mut kinds = vec![KnownKind::default(); ids.iter().map(|id| usize::from(id.0) + 1).max().unwrap_or(0)];
        for id in ids {
            if let Some(slot) = kinds.get_mut(usize::from(id.0)) {
                *slot = KnownKind::of(id);
            }
        }
        Self {
            bundle: kind("Bundle"),
            coding: kind("Coding"),
            coding_system: place("Coding", "system"),
            coding_code: place("Coding", "code"),
            coding_display: place("Coding", "display"),
            concept: kind("CodeableConcept"),
            concept_coding: place("CodeableConcept", "coding"),
            concept_text: place("CodeableConcept", "text"),
            identifier_system: place("Identifier", "system"),
            organization_alias: place("Organization", "alias"),
            primitive_extension: place("Element", "extension"),
            extension_url: place("Extension", "url"),
            extension_code: place("Extension", "valueCode"),
            kinds,
        }
    }

    /// What is done with resources of type `id`.
    pub(super) fn kind(&self, id: TypeId) -> KnownKind {
        self.kinds.get(usize::from(id.0)).copied().unwrap_or_default()
    }
}

impl KnownKind {
    fn of(id: TypeId) -> Self {
        let kind = types().get(id);
        let name = kind.name.as_str();
        let about = SUBJECTS.into_iter().find_map(|subject| kind.element(subject));
        Self {
            name,
            about: about.filter(|_| !ABOUT_NONE.contains(&name)),
            is_merged: MERGED.contains(&name),
            is_one_number: ONE_NUMBER.contains(&name),
            is_one_by_any: ONE_BY_ANY.contains(&name),
            is_by_identifier: BY_IDENTIFIER.contains(&name),
            is_searched: SEARCHED.contains(&name),
            is_with_code: WITH_CODE.contains(&name),
            is_logical: LOGICAL.contains(&name),
            rule: rules::of(name),
        }
    }
}
