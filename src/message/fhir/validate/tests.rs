use serde_json::json;

use super::*;

/// `location text (rule)` of each issue.
fn told(resource: Value) -> Vec<String> {
    validate(&resource, &Options::default()).iter().map(ToString::to_string).collect()
}

#[test]
fn a_valid_patient_has_no_issue() {
    let patient = json!({ "resourceType": "Patient", "id": "p1", "active": true, "gender": "female",
        "name": [{ "family": "Test", "given": ["Ann", null], "_given": [null, { "extension": [
            { "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown" }] }] }],
        "birthDate": "1970-02", "_birthDate": { "id": "b" } });
    assert_eq!(told(patient), [] as [String; 0]);
}
