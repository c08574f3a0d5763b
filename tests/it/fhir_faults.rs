//! What a FHIR server may do wrong, and what becomes of the delivery.

use serde_json::{Value, json};

use crate::kit::hl7::update;
use crate::kit::http::Server;
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, NEVER, QUICK, Running, Site, wait_until};

const PROBES: &str = "[pause]\nprobe_interval = \"100ms\"\n";

fn send(running: &Running<'_>, control_id: &str) {
    Sender::connect(running.address("in")).accepted(&update("P1", control_id, "Ada"));
}

/// One message to a repository that misbehaves for a while: it arrives, and is there once.
#[track_caller]
fn check_arrives(behaviour: Value, retry: &str, attempts: u64) {
    let fhir = Fhir::start();
    fhir.behave(behaviour);
    let site = Site::convert(&format!("{}{retry}{PROBES}", fhir.outbound("")));
    let running = site.start();
    send(&running, "C1");
    running.wait_deliveries("out", &[("delivered", 1)]);
    assert_eq!(site.delivery("C1")["attempts"], attempts);
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Ada"));
    assert_eq!(fhir.repository.resources("Patient").len(), 1);
}

#[test]
fn service_unavailable_is_tried_again_when_the_server_says() {
    check_arrives(json!({ "fail": 503, "retry_after": 1, "times": 2 }), NEVER, 3);
}

#[test]
fn too_many_requests_is_tried_again_when_the_server_says() {
    check_arrives(json!({ "fail": 429, "retry_after": 1, "times": 2 }), NEVER, 3);
}

#[test]
fn a_server_error_is_tried_again() {
    check_arrives(json!({ "fail": 500, "times": 2 }), QUICK, 3);
}

#[test]
fn a_full_server_is_tried_again() {
    check_arrives(json!({ "full": true, "times": 2 }), QUICK, 3);
}

#[test]
fn an_answer_that_got_lost_does_no_harm() {
    check_arrives(json!({ "drop_after": "stored", "times": 2 }), QUICK, 3);
}

#[test]
fn a_server_that_answers_too_late_is_unknown_and_the_rule_decides() {
    let fhir = Fhir::start();
    fhir.behave(json!({ "latency": "30s" }));
    let out = format!("{}[retry]\non_unknown = \"hold\"\n", fhir.outbound("answer_timeout = \"3s\""));
    let site = Site::convert(&out);
    let running = site.start();
    send(&running, "C1");
    running.wait_deliveries("out", &[("held", 1)]);
    fhir.behave(json!({}));
    let id = site.delivery("C1")["id"].to_string();
    site.cli(&["deliveries", "release", &id, "--reason", "the server is quick again"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
}

#[test]
fn refused_credentials_stop_the_destination_and_keep_the_queue() {
    let fhir = Fhir::start();
    fhir.behave(json!({ "unauthorized": true }));
    let site = Site::convert(&format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    for n in 1..=3 {
        send(&running, &format!("C{n}"));
    }
    running.wait_state("out", "stopped");
    assert!(running.destination("out").reason.is_some());
    wait_until("the alarm is in the log", || site.logs().contains("is stopped until an operator resumes it"));
    running.wait_deliveries("out", &[("queued", 3)]);
    running.terminate();
    fhir.behave(json!({}));
    let running = site.start();
    running.wait_state("out", "stopped");
    running.wait_deliveries("out", &[("queued", 3)]);
    let asked = fhir.repository.requests();
    assert!(asked <= 16, "it was not asked over and over: {asked}");
    site.cli(&["destinations", "resume", "out"]);
    running.wait_deliveries("out", &[("delivered", 3)]);
    running.wait_state("out", "up");
}

#[test]
fn a_refused_transaction_is_a_dead_letter_with_its_outcome() {
    let fhir = Fhir::start();
    fhir.behave(json!({ "refuse": ["Encounter"] }));
    let site = Site::convert(&format!("{}{QUICK}", fhir.outbound("")));
    let running = site.start();
    send(&running, "C1");
    running.wait_deliveries("out", &[("dead", 1)]);
    let delivery = site.delivery("C1");
    assert_eq!(delivery["attempts"], 1);
    let shown = site.json(&["dead", "show", &delivery["id"].to_string()]);
    assert!(shown["answer"].as_str().unwrap().contains("OperationOutcome"), "{shown:#}");
    assert!(fhir.repository.resources("Patient").is_empty(), "all or nothing");
}

/// What a server says to a batch: `last` of its last entry, and that it took all others.
fn batch_response(request: &Value, last: &str) -> Value {
    let count = request["entry"].as_array().unwrap().len();
    let status = |n| if n + 1 == count { last } else { "200" };
    let entries: Vec<Value> = (0..count).map(|n| json!({ "response": { "status": status(n) } })).collect();
    json!({ "resourceType": "Bundle", "type": "batch-response", "entry": entries })
}

#[test]
fn of_a_batch_only_what_was_not_taken_is_tried_again() {
    let server = Server::start(|request, before| {
        (200, String::new(), batch_response(request, if before == 0 { "503" } else { "201" }))
    });
    let site =
        Site::convert(&format!("[outbound.fhir]\nurl = \"http://{}\"\nmode = \"batch\"\n{QUICK}", server.address));
    let running = site.start();
    send(&running, "C1");
    running.wait_deliveries("out", &[("delivered", 1)]);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let first = requests[0]["entry"].as_array().unwrap();
    assert!(first.len() > 1);
    assert_eq!(requests[1]["entry"], json!([first.last().unwrap()]));
}

#[test]
fn of_a_batch_what_was_refused_is_the_dead_letter_over_a_restart() {
    let server = Server::start(|request, before| {
        (200, String::new(), batch_response(request, if before == 0 { "422" } else { "201" }))
    });
    let site =
        Site::convert(&format!("[outbound.fhir]\nurl = \"http://{}\"\nmode = \"batch\"\n{QUICK}", server.address));
    let running = site.start();
    send(&running, "C1");
    running.wait_deliveries("out", &[("dead", 1)]);
    running.kill();
    let running = site.start();
    site.cli(&["deliveries", "release", &site.delivery("C1")["id"].to_string(), "--reason", "corrected"]);
    running.wait_deliveries("out", &[("delivered", 1)]);
    let requests = server.requests();
    let first = requests[0]["entry"].as_array().unwrap();
    assert_eq!(requests[1]["entry"], json!([first.last().unwrap()]));
    running.terminate();
    site.verify();
}
