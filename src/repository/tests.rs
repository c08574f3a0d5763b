//! The repository over a real socket.

use std::future::Future;
use std::sync::Arc;

use channels::Stopper;
use channels::setting::Size;
use expect_test::{Expect, expect};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Behaviour, Config, Repository, serve};

struct Server {
    repository: Repository,
    base: String,
    client: Client,
}

/// Serves a repository while `test` runs.
async fn with<F: Future<Output = ()>>(config: Config, test: impl FnOnce(Server) -> F) {
    // Whichever test comes first installs it.
    rustls::crypto::ring::default_provider().install_default().ok();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let repository = Repository::new(config, Arc::new(|| "2026-11-24T10:15:00.120Z".parse().unwrap()));
    let (stopper, stop) = Stopper::new();
    let server = Server { repository: repository.clone(), base, client: Client::new() };
    let testing = async {
        test(server).await;
        stopper.stop();
    };
    tokio::join!(serve(listener, repository, stop), testing).0.unwrap();
}

impl Server {
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/fhir+json").body(body.to_string());
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        told(self.ask(Method::GET, path, &[], None).await).await
    }

    async fn put(&self, path: &str, body: Value) -> String {
        told(self.ask(Method::PUT, path, &[], Some(&body)).await).await
    }

    async fn post(&self, path: &str, body: Value) -> String {
        told(self.ask(Method::POST, path, &[], Some(&body)).await).await
    }

    async fn transaction(&self, entries: Value) -> String {
        self.post("/", json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })).await
    }

    async fn behave(&self, behaviour: Value) {
        assert_eq!(self.ask(Method::POST, "/$behave", &[], Some(&behaviour)).await.status(), 200);
    }
}

/// The status, and the outcome's place and text, the entries' statuses or the resource itself.
async fn told(response: Response) -> String {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
    format!("{status} {}", summary(&body))
}

fn summary(body: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    match (body["resourceType"].as_str(), body["type"].as_str()) {
        (Some("OperationOutcome"), _) => {
            let issue = &body["issue"][0];
            format!("{} {}: {}", text(&issue["code"]), text(&issue["expression"][0]), text(&issue["diagnostics"]))
        }
        (Some("Bundle"), Some("searchset" | "history")) => {
            let entries = body["entry"].as_array().into_iter().flatten();
            let ids: Vec<_> = entries.map(|entry| text(&entry["resource"]["id"])).collect();
            format!("{} of {}", ids.join(" "), body["total"])
        }
        (Some("Bundle"), _) => {
            let entries = body["entry"].as_array().into_iter().flatten();
            let line = |entry: &Value| {
                let response = &entry["response"];
                let outcome = response.get("outcome").map(|outcome| format!(" {}", summary(outcome)));
                format!(
                    "\n{} {}{}",
                    text(&response["status"]),
                    text(&response["location"]),
                    outcome.unwrap_or_default()
                )
            };
            format!("{}{}", text(&body["type"]), entries.map(line).collect::<String>())
        }
        (Some(_), _) => body.to_string(),
        (None, _) => String::new(),
    }
}

fn patient(mrn: &str) -> Value {
    json!({ "resourceType": "Patient", "identifier": [{ "system": "urn:mrn", "value": mrn }], "active": true })
}

fn observation(subject: &str) -> Value {
    json!({ "resourceType": "Observation", "status": "final", "subject": { "reference": subject } })
}

/// A transaction of a patient and an observation of it, as a converter sends it.
fn admission() -> Value {
    json!([
        { "fullUrl": "urn:uuid:1", "resource": patient("1"), "request": { "method": "PUT", "url": "Patient?identifier=urn:mrn|1" } },
        { "fullUrl": "urn:uuid:2", "resource": with_id(observation("urn:uuid:1"), "o-1"),
          "request": { "method": "PUT", "url": "Observation/o-1" } },
    ])
}

fn with_id(mut resource: Value, id: &str) -> Value {
    resource["id"] = json!(id);
    resource
}

fn entry(resource: Value, method: &str, url: &str) -> Value {
    json!({ "resource": resource, "request": { "method": method, "url": url } })
}

#[tokio::test]
async fn a_transaction_writes_all_and_its_references_resolve() {
    with(Config::default(), async |server| {
        let answer = server.transaction(admission()).await;
        expect![[r#"
            200 transaction-response
            201 Created Patient/1/_history/1
            201 Created Observation/o-1/_history/1"#]]
        .assert_eq(&answer);
        let observation = server.repository.resource("Observation", "o-1").unwrap();
        assert_eq!(observation["subject"]["reference"], "Patient/1");
        assert_eq!(observation["meta"], json!({ "versionId": "1", "lastUpdated": "2026-11-24T10:15:00.120Z" }));
    })
    .await;
}

#[tokio::test]
async fn sending_a_transaction_twice_changes_nothing() {
    with(Config::default(), async |server| {
        server.transaction(admission()).await;
        let (versions, patients) = (server.repository.versions(), server.repository.resources("Patient"));
        let answer = server.transaction(admission()).await;
        expect![[r#"
            200 transaction-response
            200 OK Patient/1/_history/1
            200 OK Observation/o-1/_history/1"#]]
        .assert_eq(&answer);
        assert_eq!(server.repository.versions(), versions);
        assert_eq!(server.repository.resources("Patient"), patients);
    })
    .await;
}

#[tokio::test]
async fn one_wrong_entry_leaves_nothing_behind() {
    with(Config::default(), async |server| {
        let mut entries = admission();
        entries[1]["resource"]["subject"]["reference"] = json!("Patient/none");
        expect![
            "400 not-found Bundle.entry[1].resource.subject.reference: there is no Patient/none, here or in the request"
        ]
        .assert_eq(&server.transaction(entries).await);
        assert!(server.repository.counts().is_empty());
    })
    .await;
}

#[track_caller]
fn check_refused(entries: Value, expected: Expect) -> impl Future<Output = ()> {
    with(Config::default(), async move |server| {
        server.put("/Patient/p", with_id(patient("p"), "p")).await;
        expected.assert_eq(&server.transaction(entries).await);
        assert_eq!(server.repository.versions(), 1);
    })
}

#[tokio::test]
async fn references_must_lead_somewhere() {
    let put = |reference| json!([entry(observation(reference), "POST", "Observation")]);
    check_refused(
        put("urn:uuid:9"),
        expect![
            "400 not-found Bundle.entry[0].resource.subject.reference: no entry has the fullUrl that this refers to"
        ],
    )
    .await;
    check_refused(put("Patients/1"), expect!["400 invalid Bundle.entry[0].resource.subject.reference: the reference is neither `Type/id`, `Type?query`, `#id` nor a URL"]).await;
    check_refused(
        put("#c"),
        expect!["400 invalid Bundle.entry[0].resource.subject.reference: no resource of this id is contained"],
    )
    .await;
    check_refused(
        put("Patient?identifier=urn:mrn|none"),
        expect![
            "412 conflict Bundle.entry[0].resource.subject.reference: `Patient?identifier=urn:mrn|none` finds nothing"
        ],
    )
    .await;
}

#[tokio::test]
async fn entries_must_not_overlap() {
    let put = || entry(with_id(patient("1"), "1"), "PUT", "Patient/1");
    check_refused(
        json!([put(), put()]),
        expect!["400 invalid Bundle.entry[1].request: two entries are about Patient/1"],
    )
    .await;
    let conditional = || entry(patient("1"), "PUT", "Patient?identifier=urn:mrn|1");
    check_refused(
        json!([conditional(), conditional()]),
        expect!["400 invalid Bundle.entry[1].request: two entries have the condition `Patient?identifier=urn:mrn|1`"],
    )
    .await;
    let mut named = [entry(patient("1"), "POST", "Patient"), entry(patient("2"), "POST", "Patient")];
    named.iter_mut().for_each(|entry| entry["fullUrl"] = json!("urn:uuid:1"));
    check_refused(json!(named), expect!["400 invalid Bundle.entry[1].fullUrl: two entries have this fullUrl (bdl-7)"])
        .await;
}

#[tokio::test]
async fn entries_must_be_well_formed() {
    check_refused(
        json!([{ "resource": patient("1") }]),
        expect!["400 invalid Bundle.entry[0].request: an entry of a transaction or batch has a request (bdl-3)"],
    )
    .await;
    check_refused(
        json!([entry(patient("1"), "PUT", "Patient/1")]),
        expect!["400 invalid Bundle.entry[0].resource.id: the resource's id must be `1`, as the URL says"],
    )
    .await;
    check_refused(json!([entry(patient("1"), "POST", "Observation")]), expect!["400 invalid Bundle.entry[0].resource.resourceType: the resource is of type Patient, and the URL says Observation"]).await;
    check_refused(
        json!([entry(with_id(patient("1"), "a_b"), "POST", "Patient")]),
        expect!["400 invalid Bundle.entry[0].resource.id: the id is not 1 to 64 of A-Z a-z 0-9 - ."],
    )
    .await;
    check_refused(
        json!([entry(patient("1"), "POST", "Patients")]),
        expect!["404 not-found Bundle.entry[0].request: `Patients` is no resource type of FHIR R4"],
    )
    .await;
    check_refused(
        json!([entry(patient("1"), "PATCH", "Patient/1")]),
        expect!["405 not-supported Bundle.entry[0].request: PATCH of `Patient/1` is not supported here"],
    )
    .await;
    check_refused(
        json!([entry(patient("1"), "PUT", "Patient?birthdate=2000")]),
        expect![
            "400 invalid Bundle.entry[0].request: the search parameter `birthdate` of Patient is not supported here"
        ],
    )
    .await;
    let empty = |value: Value| {
        json!([entry(json!({ "resourceType": "Patient", "name": [{ "given": value }] }), "POST", "Patient")])
    };
    check_refused(empty(json!([])), expect!["400 invalid Bundle.entry[0].resource.name[0].given: an array is empty"])
        .await;
    check_refused(empty(json!("")), expect!["400 invalid Bundle.entry[0].resource.name[0].given: a string is empty"])
        .await;
    check_refused(
        empty(Value::Null),
        expect![
            "400 invalid Bundle.entry[0].resource.name[0].given: null stands for nothing here; leave the element out"
        ],
    )
    .await;
}

#[tokio::test]
async fn a_conditional_reference_finds_what_is_there_and_what_is_written() {
    with(Config::default(), async |server| {
        let reference = || observation("Patient?identifier=urn:mrn|1");
        let entries = json!([entry(reference(), "POST", "Observation"), entry(patient("1"), "POST", "Patient")]);
        server.transaction(entries).await;
        server.transaction(json!([entry(reference(), "POST", "Observation")])).await;
        let patient = server.repository.resources("Patient")[0]["id"].clone();
        let observations = server.repository.resources("Observation");
        assert_eq!(observations.len(), 2);
        for observation in observations {
            assert_eq!(observation["subject"]["reference"], format!("Patient/{}", patient.as_str().unwrap()));
        }
    })
    .await;
}

#[tokio::test]
async fn references_beside_a_restful_full_url_are_relative_to_it() {
    with(Config::default(), async |server| {
        let mut entries = json!([
            entry(with_id(observation("Patient/p"), "o"), "POST", "Observation"),
            entry(with_id(patient("1"), "p"), "POST", "Patient"),
        ]);
        entries[0]["fullUrl"] = json!("http://emr/fhir/Observation/o");
        entries[1]["fullUrl"] = json!("http://emr/fhir/Patient/p");
        server.transaction(entries).await;
        let patient = server.repository.resources("Patient")[0]["id"].as_str().unwrap().to_owned();
        assert_ne!(patient, "p");
        assert_eq!(server.repository.resources("Observation")[0]["subject"]["reference"], format!("Patient/{patient}"));
    })
    .await;
}

#[tokio::test]
async fn lenient_references_may_lead_nowhere() {
    with(Config { lenient_references: true, ..Config::default() }, async |server| {
        let answer = server.transaction(json!([entry(observation("Patient/none"), "POST", "Observation")])).await;
        assert!(answer.starts_with("200"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_batch_carries_out_each_entry_by_itself() {
    with(Config::default(), async |server| {
        let entries = json!([
            entry(observation("Patient/none"), "POST", "Observation"),
            entry(with_id(patient("1"), "1"), "PUT", "Patient/1"),
            { "request": { "method": "GET", "url": "Patient/1" } },
            { "request": { "method": "DELETE", "url": "Patient/none" } },
        ]);
        let answer = server.post("/", json!({ "resourceType": "Bundle", "type": "batch", "entry": entries })).await;
        expect![[r#"
            200 batch-response
            400 Bad Request - not-found Bundle.entry[0].resource.subject.reference: there is no Patient/none, here or in the request
            201 Created Patient/1/_history/1
            200 OK Patient/1/_history/1
            204 No Content -"#]]
        .assert_eq(&answer);
    })
    .await;
}

#[tokio::test]
async fn a_conditional_create_creates_once() {
    with(Config::default(), async |server| {
        let condition = [("if-none-exist", "identifier=urn:mrn|1")];
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let response = server.ask(Method::POST, "/Patient", &condition, Some(&patient("1"))).await;
            let location = response.headers()["location"].to_str().unwrap().to_owned();
            statuses.push((response.status().as_u16(), location.replace(&server.base, "")));
        }
        assert_eq!(statuses, [(201, "/Patient/1/_history/1".to_owned()), (200, "/Patient/1/_history/1".to_owned())]);
        server.post("/Patient", patient("1")).await;
        let response = server.ask(Method::POST, "/Patient", &condition, Some(&patient("1"))).await;
        expect!["412 conflict -: `Patient?identifier=urn:mrn|1` finds more than one"].assert_eq(&told(response).await);
    })
    .await;
}

#[tokio::test]
async fn a_resource_has_versions_until_it_is_deleted_and_after() {
    with(Config::default(), async |server| {
        server.put("/Patient/p", with_id(patient("1"), "p")).await;
        let second = server.ask(Method::PUT, "/Patient/p", &[("if-match", "W/\"1\"")], Some(&with_id(patient("2"), "p"))).await;
        assert_eq!((second.status().as_u16(), &second.headers()["etag"]), (200, &"W/\"2\"".parse().unwrap()));
        assert_eq!(second.headers()["last-modified"], "Tue, 24 Nov 2026 10:15:00 GMT");
        expect!["412 conflict -: the resource is not at version W/\"1\""].assert_eq(
            &told(server.ask(Method::PUT, "/Patient/p", &[("if-match", "W/\"1\"")], Some(&with_id(patient("3"), "p"))).await).await,
        );
        expect![[r#"200 {"resourceType":"Patient","id":"p","meta":{"versionId":"1","lastUpdated":"2026-11-24T10:15:00.120Z"},"identifier":[{"system":"urn:mrn","value":"1"}],"active":true}"#]]
            .assert_eq(&server.get("/Patient/p/_history/1").await);
        assert_eq!(server.ask(Method::DELETE, "/Patient/p", &[], None).await.status(), 204);
        assert_eq!(server.ask(Method::DELETE, "/Patient/p", &[], None).await.status(), 204);
        expect!["410 deleted -: Patient/p is deleted"].assert_eq(&server.get("/Patient/p").await);
        expect!["200 - p p of 3"].assert_eq(&server.get("/Patient/p/_history").await);
        expect!["200  of 0"].assert_eq(&server.get("/Patient?identifier=2").await);
        expect!["404 not-found -: there is no Patient/q, or not in this version"].assert_eq(&server.get("/Patient/q").await);
    })
    .await;
}

#[tokio::test]
async fn searches_find_by_what_converters_and_demos_need() {
    with(Config::default(), async |server| {
        let named = json!({ "resourceType": "Patient", "id": "p", "name": [{ "family": "Lindqvist" }],
            "identifier": [{ "system": "urn:mrn", "value": "1,2" }, { "value": "bare" }] });
        server.put("/Patient/p", named).await;
        server.put("/Patient/q", with_id(patient("2"), "q")).await;
        server.put("/Observation/o", with_id(observation("Patient/p"), "o")).await;
        let provenance =
            json!({ "resourceType": "Provenance", "id": "v", "target": [{ "reference": "Observation/o" }] });
        server.put("/Provenance/v", provenance).await;
        for (search, found) in [
            ("/Patient", "p q of 2"),
            ("/Patient?_id=q,p,none", "p q of 2"),
            ("/Patient?identifier=urn:mrn|1%5C,2", "p of 1"),
            ("/Patient?identifier=|bare", "p of 1"),
            ("/Patient?identifier=2", "q of 1"),
            ("/Patient?identifier=urn:other|2", " of 0"),
            ("/Patient?family=LIND", "p of 1"),
            ("/Patient?family=lind&_id=q", " of 0"),
            ("/Observation?patient=p", "o of 1"),
            ("/Observation?patient=Patient/p", "o of 1"),
            ("/Observation?subject=Patient/q", " of 0"),
            ("/Provenance?target=Observation/o", "v of 1"),
            ("/Patient?_count=1", "p of 2"),
            ("/Patient?_count=1&_offset=1", "q of 2"),
        ] {
            assert_eq!(server.get(search).await, format!("200 {found}"), "{search}");
        }
        let page: Value =
            reqwest::get(format!("{}/Patient?_count=1", server.base)).await.unwrap().json().await.unwrap();
        let base = server.base.trim_end_matches('/');
        assert_eq!(page["entry"][0]["fullUrl"], format!("{base}/Patient/p"));
        assert_eq!(page["link"][1]["url"], format!("{base}/Patient?_count=1&_offset=1"));
        expect!["400 invalid -: the search parameter `name` of Patient is not supported here"]
            .assert_eq(&server.get("/Patient?name=x").await);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_fhir_is_refused_without_repeating_it() {
    with(Config { max_body: Size(1000), ..Config::default() }, async |server| {
        let post = async |media_type: &str, body: String| {
            let request = server.client.post(&server.base).header("content-type", media_type.to_owned()).body(body);
            told(request.send().await.unwrap()).await
        };
        expect!["400 invalid -: the body is no JSON: line 1, column 2"]
            .assert_eq(&post("application/fhir+json", "{secret".into()).await);
        expect!["415 not-supported -: the Content-Type must be application/fhir+json"]
            .assert_eq(&post("text/plain", "{}".into()).await);
        expect!["413 too-long -: the body is longer than 1000 bytes"]
            .assert_eq(&post("application/json", " ".repeat(1001)).await);
        expect!["400 invalid resourceType: only a Bundle can be posted to the base"]
            .assert_eq(&post("application/json", "{}".into()).await);
        expect!["404 not-found -: `Nothing` is no resource type of FHIR R4"].assert_eq(&server.get("/Nothing/1").await);
    })
    .await;
}

#[tokio::test]
async fn a_full_repository_takes_no_more_and_still_updates() {
    with(Config { max_resources: 1, ..Config::default() }, async |server| {
        server.put("/Patient/p", with_id(patient("1"), "p")).await;
        expect!["507 no-store -: the repository holds as many resources as it may (1)"]
            .assert_eq(&server.post("/Patient", patient("2")).await);
        assert!(server.put("/Patient/p", with_id(patient("3"), "p")).await.starts_with("200"));
    })
    .await;
}

#[tokio::test]
async fn it_fails_as_it_is_told_and_recovers() {
    with(Config::default(), async |server| {
        server.behave(json!({ "fail": 503, "retry_after": 7, "times": 1 })).await;
        let failed = server.ask(Method::POST, "/Patient", &[], Some(&patient("1"))).await;
        assert_eq!((failed.status().as_u16(), &failed.headers()["retry-after"]), (503, &"7".parse().unwrap()));
        assert!(server.post("/Patient", patient("1")).await.starts_with("201"));

        server.behave(json!({ "fail": 500, "every": 2 })).await;
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(server.ask(Method::GET, "/metadata", &[], None).await.status().as_u16());
        }
        assert_eq!(statuses, [200, 500, 200, 500]);

        server.behave(json!({ "full": true })).await;
        assert!(server.post("/Patient", patient("2")).await.starts_with("507"));
        assert!(server.get("/Patient").await.starts_with("200"));

        server.behave(json!({ "unauthorized": true })).await;
        assert!(server.get("/Patient").await.starts_with("401"));

        server.behave(json!({ "refuse": ["Observation"] })).await;
        let entries =
            json!([entry(patient("3"), "POST", "Patient"), entry(observation("Patient/1"), "POST", "Observation")]);
        expect!["422 business-rule Bundle.entry[1].resource: resources of type Observation are refused (--refuse)"]
            .assert_eq(&server.transaction(entries).await);

        let wrong = server.ask(Method::POST, "/$behave", &[], Some(&json!({ "slow": true }))).await;
        assert_eq!(wrong.status(), 400);
        assert_eq!(server.repository.resources("Patient").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_connection_tells_nothing_of_what_was_done() {
    with(Config::default(), async |server| {
        for (when, kept) in [("read", 0), ("stored", 1)] {
            server.behave(json!({ "drop_after": when, "times": 1 })).await;
            let body = patient("1").to_string();
            let request = server.client.post(format!("{}/Patient", server.base)).body(body);
            let answer = request.header("content-type", "application/fhir+json").send().await;
            assert!(answer.is_err(), "{answer:?}");
            assert_eq!(server.repository.resources("Patient").len(), kept);
        }
    })
    .await;
}

#[tokio::test]
async fn latency_holds_an_answer_back() {
    let behaviour = Behaviour { latency: Some("30ms".to_owned().try_into().unwrap()), ..Behaviour::default() };
    with(Config { behaviour, ..Config::default() }, async |server| {
        let start = std::time::Instant::now();
        server.get("/metadata").await;
        assert!(start.elapsed().as_millis() >= 30);
    })
    .await;
}

#[tokio::test]
async fn metadata_says_what_it_can_do() {
    with(Config::default(), async |server| {
        let statement = server.ask(Method::GET, "/metadata", &[], None).await;
        assert_eq!(statement.headers()["content-type"], "application/fhir+json; charset=utf-8");
        let statement: Value = serde_json::from_str(&statement.text().await.unwrap()).unwrap();
        assert_eq!(statement["fhirVersion"], "4.0.1");
        assert_eq!(statement["rest"][0]["interaction"], json!([{ "code": "transaction" }, { "code": "batch" }]));
    })
    .await;
}

#[tokio::test]
async fn what_is_discarded_is_answered_and_not_kept() {
    with(Config { discard: true, ..Config::default() }, async |server| {
        expect![[r#"
            200 transaction-response
            200 OK Patient/1/_history/1
            200 OK Observation/o-1/_history/1"#]]
        .assert_eq(&server.transaction(admission()).await);
        assert!(server.repository.counts().is_empty());
        assert_eq!(server.repository.requests(), 1);
    })
    .await;
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    with(Config::default(), async |server| {
        let body = r#"{"resourceType":"Observation","id":"o","valueQuantity":{"value":0.010}}"#;
        let request = server.client.put(format!("{}/Observation/o", server.base)).body(body);
        request.header("content-type", "application/fhir+json").send().await.unwrap();
        assert_eq!(
            server.repository.resource("Observation", "o").unwrap()["valueQuantity"].to_string(),
            r#"{"value":0.010}"#
        );
    })
    .await;
}

#[tokio::test]
async fn entries_of_a_stored_bundle_refer_to_each_other() {
    with(Config::default(), async |server| {
        let observation = json!({ "resourceType": "Observation", "contained": [with_id(patient("1"), "c")],
            "status": "final", "subject": { "reference": "#c" }, "performer": [{ "reference": "urn:uuid:1" }] });
        let document =
            json!({ "resourceType": "Bundle", "type": "collection", "entry": [{ "resource": observation }] });
        expect!["201 collection\n- -"].assert_eq(&server.post("/Bundle", document).await);
    })
    .await;
}
