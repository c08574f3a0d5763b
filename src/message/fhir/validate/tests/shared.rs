//! What several objects share in memory is validated as if each had its own.

use serde_json::{Value, json};

use super::super::*;
use crate::json::{Map, Value as Json};

/// A Bundle of Patients that share `part`, as their `name`.
fn told_of_shared(name: &str, part: Value) -> Vec<String> {
    let mut part = Json::from(part);
    part.share();
    let patient = |_| {
        let mut patient = Json::from(json!({ "resourceType": "Patient" }));
        patient.as_object_mut().unwrap().insert(name, part.clone());
        Json::from(Map::from_iter([("resource", patient)]))
    };
    let mut bundle = Json::from(json!({ "resourceType": "Bundle", "type": "collection" }));
    let entries: Vec<_> = (0..3).map(patient).collect();
    bundle.as_object_mut().unwrap().insert("entry", entries);
    let issues = validate(&bundle, &Options::default());
    // What was found the first time must not hide anything the second.
    assert_eq!(validate(&bundle, &Options::default()), issues);
    issues.into_iter().map(|issue| issue.location).collect()
}

/// What objects share is looked at once if it is valid; else it is told wherever it stands.
#[test]
fn tells_of_what_objects_share_in_each_of_them() {
    let none: [&str; 0] = [];
    assert_eq!(told_of_shared("meta", json!({ "source": "urn:a" })), none);
    let each = ["source", "source", "source"].map(|name| name.to_owned());
    let told = told_of_shared("meta", json!({ "source": "a b" }));
    let ends = told.iter().map(|location| location.rsplit('.').next().unwrap().to_owned());
    assert_eq!(ends.collect::<Vec<_>>(), each);
    // A reference means what is around it.
    let told = told_of_shared("managingOrganization", json!({ "reference": "#nobody" }));
    assert_eq!(told.len(), 3);
}

/// As one type it is valid, and as another not.
#[test]
fn what_is_shared_is_valid_as_what_it_stands_for() {
    let mut shared = Json::from(json!({ "system": "urn:a", "code": "x" }));
    shared.share();
    let patient = |name: &str| {
        let mut patient = Json::from(json!({ "resourceType": "Patient" }));
        let list = if name == "identifier" {
            vec![shared.clone()].into()
        } else {
            Json::from(Map::from_iter([("tag", vec![shared.clone()])]))
        };
        patient.as_object_mut().unwrap().insert(name, list);
        validate(&patient, &Options::default()).len()
    };
    assert_eq!((patient("meta"), patient("identifier"), patient("meta")), (0, 1, 0));
}

/// A resource that Bundles share, with a `meta` of its own in each, is valid where its references are to what they may
/// be to.
#[test]
fn what_is_shared_is_valid_where_its_references_are() {
    let resource = json!({
        "resourceType": "Practitioner",
        "identifier": [{ "value": "1", "assigner": { "reference": "urn:uuid:6147ad3c-5e64-5cdd-9792-2d8140eefab7" } }],
    });
    let mut resource = Json::from(resource);
    resource.share();
    let told = |other: &str, source: &str| {
        let mut own = resource.clone();
        own.as_object_mut().unwrap().put_at(1, "meta", Json::from(json!({ "source": source })));
        let other = json!({
            "fullUrl": "urn:uuid:6147ad3c-5e64-5cdd-9792-2d8140eefab7", "resource": { "resourceType": other },
        });
        let mut bundle = Json::from(json!({ "resourceType": "Bundle", "type": "collection" }));
        let entries = vec![Json::from(Map::from_iter([("resource", own)])), Json::from(other)];
        bundle.as_object_mut().unwrap().insert("entry", entries);
        let issues = validate(&bundle, &Options::default());
        let own = issues.into_iter().filter(|issue| issue.location.starts_with("Bundle.entry[0]"));
        own.map(|issue| issue.location).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    for _ in 0..2 {
        assert_eq!(told("Organization", "urn:a"), none);
        assert_eq!(told("Patient", "urn:a"), ["Bundle.entry[0].resource.identifier[0].assigner"]);
        assert_eq!(told("Organization", "a b"), ["Bundle.entry[0].resource.meta.source"]);
    }
    // Elsewhere the same reference leads nowhere.
    let mut alone = Json::from(json!({ "resourceType": "Bundle", "type": "collection" }));
    alone.as_object_mut().unwrap().insert("entry", vec![Json::from(Map::from_iter([("resource", resource)]))]);
    let issues = validate(&alone, &Options::default());
    assert!(issues.iter().any(|issue| issue.kind == IssueType::NotFound));
}
