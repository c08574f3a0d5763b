//! What no destination could take is refused with its place.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{now, received, stamper};

#[track_caller]
fn check(resource: Value, expected: Expect) {
    let error = stamper().stamp(received(&resource), now()).unwrap_err();
    expected.assert_eq(&error.to_string());
}

fn transaction(entry: Value) -> Value {
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] })
}

#[test]
fn refuses_what_is_no_resource() {
    check(json!([1]), expect!["message: it is no FHIR resource: a JSON object is needed"]);
    check(json!({ "id": "1" }), expect!["resourceType: it is no FHIR resource: it has no resourceType"]);
    check(json!({ "resourceType": "Pa/tient" }), expect!["entry[0].resource: it is no resource of FHIR R4"]);
}

#[test]
fn refuses_bundles_that_carry_no_records() {
    check(
        json!({ "resourceType": "Bundle", "type": "history" }),
        expect!["Bundle.type: an answer of a server is no record to pass on: send the records in a collection"],
    );
    check(
        json!({ "resourceType": "Bundle", "type": "batch-response" }),
        expect!["Bundle.type: an answer of a server is no record to pass on: send the records in a collection"],
    );
    check(
        json!({ "resourceType": "Bundle" }),
        expect!["Bundle.type: it is no type of Bundle: use transaction, batch, collection, document or message"],
    );
}

#[test]
fn refuses_entries_of_another_shape() {
    check(
        json!({ "resourceType": "Bundle", "type": "collection", "entry": {} }),
        expect!["Bundle.entry: it must be an array"],
    );
    check(
        json!({ "resourceType": "Bundle", "type": "collection", "entry": [1] }),
        expect!["entry[0]: it must be an object"],
    );
    check(
        json!({ "resourceType": "Bundle", "type": "collection", "entry": [{}] }),
        expect!["entry[0].resource: each entry needs a resource"],
    );
    check(
        json!({ "resourceType": "Bundle", "type": "collection", "entry": [{ "resource": {} }] }),
        expect!["entry[0].resource: it is no resource of FHIR R4"],
    );
}

#[test]
fn refuses_requests_that_do_not_fit() {
    let patient = json!({ "resourceType": "Patient", "id": "1" });
    let with = |method: &str, url: &str| {
        transaction(json!({ "resource": patient, "request": { "method": method, "url": url } }))
    };
    check(
        transaction(json!({ "resource": patient })),
        expect!["entry[0].request.url: a transaction or batch entry needs it"],
    );
    check(
        with("POST", "Observation"),
        expect!["entry[0].request.url: it must be the type of the resource that is created"],
    );
    check(
        with("PUT", "Patient/2"),
        expect!["entry[0].request.url: it must name the id of the resource that is updated"],
    );
    check(
        with("PUT", "Observation/1"),
        expect!["entry[0].request.url: it must name the type of the resource that is updated"],
    );
    check(
        with("PUT", "Patient"),
        expect![
            "entry[0].request.url: an update needs an id or a condition, such as Patient/1 or Patient?identifier=system|value"
        ],
    );
    check(
        with("PUT", "https://emr.example.org/Patient/1"),
        expect!["entry[0].request.url: it must be relative to the server, such as Patient/1"],
    );
    check(
        with("MOVE", "Patient/1"),
        expect!["entry[0].request.method: it must be GET, HEAD, POST, PUT, DELETE or PATCH"],
    );
    check(
        transaction(json!({ "request": { "method": "PUT", "url": "Patient/1" } })),
        expect!["entry[0].resource: each entry needs a resource"],
    );
}

#[test]
fn refuses_the_same_resource_twice() {
    let patient =
        json!({ "fullUrl": "https://emr.example.org/Patient/1", "resource": { "resourceType": "Patient", "id": "1" } });
    check(
        json!({ "resourceType": "Bundle", "type": "collection", "entry": [patient, patient] }),
        expect!["entry[1].fullUrl: the same resource stands at entry[0]: send each resource once"],
    );
}

#[test]
fn refuses_meta_of_another_shape() {
    check(json!({ "resourceType": "Patient", "meta": [] }), expect!["entry[0].resource: meta must be an object"]);
    check(
        json!({ "resourceType": "Patient", "meta": { "source": 1 } }),
        expect!["entry[0].resource: meta.source must be text"],
    );
    check(
        json!({ "resourceType": "Patient", "meta": { "security": {} } }),
        expect!["entry[0].resource: meta.security and meta.tag must be lists of Codings"],
    );
    check(
        json!({ "resourceType": "Patient", "meta": { "security": ["R"] } }),
        expect!["entry[0].resource: meta.security and meta.tag must be lists of Codings"],
    );
}
