//! One name for each code system: what it was called before HL7 Terminology, and its OID, are the same system.

use crate::consent::{ACT_REASON, CONFIDENTIALITY};
use crate::json::Text;

use super::terms::ACT_CODE;

/// Other names of code systems, each with the name that is used here.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("http://hl7.org/fhir/consentaction", "http://terminology.hl7.org/CodeSystem/consentaction"),
    ("http://hl7.org/fhir/consentscope", "http://terminology.hl7.org/CodeSystem/consentscope"),
    ("http://hl7.org/fhir/v3/ActCode", ACT_CODE),
    ("http://hl7.org/fhir/v3/ActReason", ACT_REASON),
    ("http://hl7.org/fhir/v3/Confidentiality", CONFIDENTIALITY),
    ("http://hl7.org/fhir/v3/ObservationValue", "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"),
    ("http://hl7.org/fhir/v3/ParticipationType", "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"),
    ("http://hl7.org/fhir/v3/RoleClass", "http://terminology.hl7.org/CodeSystem/v3-RoleClass"),
    ("urn:oid:2.16.840.1.113883.12.292", "http://hl7.org/fhir/sid/cvx"),
    ("urn:oid:2.16.840.1.113883.5.1063", "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"),
    ("urn:oid:2.16.840.1.113883.5.25", CONFIDENTIALITY),
    ("urn:oid:2.16.840.1.113883.5.4", ACT_CODE),
    ("urn:oid:2.16.840.1.113883.5.8", ACT_REASON),
    ("urn:oid:2.16.840.1.113883.6.1", "http://loinc.org"),
    ("urn:oid:2.16.840.1.113883.6.103", "http://hl7.org/fhir/sid/icd-9-cm"),
    ("urn:oid:2.16.840.1.113883.6.12", "http://www.ama-assn.org/go/cpt"),
    ("urn:oid:2.16.840.1.113883.6.3", "http://hl7.org/fhir/sid/icd-10"),
    ("urn:oid:2.16.840.1.113883.6.69", "http://hl7.org/fhir/sid/ndc"),
    ("urn:oid:2.16.840.1.113883.6.88", "http://www.nlm.nih.gov/research/umls/rxnorm"),
    ("urn:oid:2.16.840.1.113883.6.90", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("urn:oid:2.16.840.1.113883.6.96", "http://snomed.info/sct"),
];

/// As [`canonical`], of a text that needs no new memory where that is its name already.
pub(super) fn canonical_text(system: &Text) -> Text {
    let name = canonical(system);
    if name.len() == system.len() && name == system { system.clone() } else { name.into() }
}

/// How all of [`OTHER_NAMES`] begin.
const BEGINNINGS: [&str; 2] = ["http://hl7.org/fhir/", "urn:oid:2.16.840.1.113883."];

/// The name of `system` that is used here, without a trailing slash.
pub(super) fn canonical(system: &str) -> &str {
    let bare = system.trim().trim_end_matches('/');
    if !BEGINNINGS.iter().any(|beginning| bare.starts_with(beginning)) {
        return bare;
    }
    let at = OTHER_NAMES.binary_search_by_key(&bare, |(other, _)| other);
    at.ok().and_then(|at| OTHER_NAMES.get(at)).map_or(bare, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_one_name() {
        assert!(OTHER_NAMES.is_sorted());
        assert!(OTHER_NAMES.iter().all(|(other, _)| BEGINNINGS.iter().any(|beginning| other.starts_with(beginning))));
        assert_eq!(canonical("urn:oid:2.16.840.1.113883.6.1"), "http://loinc.org");
        assert_eq!(canonical("http://loinc.org/"), "http://loinc.org");
        assert_eq!(canonical("http://hl7.org/fhir/v3/ActCode"), ACT_CODE);
        assert_eq!(canonical("urn:site:codes"), "urn:site:codes");
        assert!(OTHER_NAMES.iter().all(|(_, name)| canonical(name) == *name));
    }
}
