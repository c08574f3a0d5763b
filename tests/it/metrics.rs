//! What `/metrics` counts, as Prometheus reads it.

use std::collections::BTreeMap;

use crate::kit::hl7::update;
use crate::kit::mllp::Sender;
use crate::kit::{HTTP_IN, MLLP_IN, NEVER, QUICK, Reply, Sink, Site, TO_OUT, http, wait_until};

/// Every sample, by name and labels, in the text format of OpenMetrics.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn what_came_went_and_waits_is_counted_by_channel_and_destination() {
    let mut first = true;
    let sink = Sink::start(move |_, _| Reply::Code(if std::mem::take(&mut first) { "AE" } else { "AA" }));
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("[outbound.fhir]\nurl = \"http://{gone}\"\n{NEVER}");
    let (site, port) = Site::new().admin();
    let site = site
        .channel("in", &format!("{MLLP_IN}{TO_OUT}"))
        .channel("web", &format!("{HTTP_IN}[[route]]\nto = \"away\"\npurpose = \"TREAT\"\n"))
        .destination("out", &format!("{}{QUICK}", sink.outbound("")))
        .destination("away", &away);
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("P1", "C1", "Ada"));
    sender.accepted(&update("P1", "C1", "Ada"));
    sender.accepted(&update("P2", "C2", "Ben"));
    sender.send(b"no message at all");
    let web = running.address("web");
    assert_eq!(http::post(web, "", &http::bundle("B1", "P1", "Ada")).status, 202);
    assert_eq!(http::post(web, "", b"{").status, 400);
    running.wait_deliveries("out", &[("delivered", 2)]);
    wait_until("the one that is away was tried", || {
        read(port)["tributary_deliveries_retried_total{destination=\"away\"}"] >= 1.0
    });
    let seen = read(port);
    for (sample, value) in [
        ("tributary_messages_received_total{channel=\"in\"}", 4.0),
        ("tributary_messages_acknowledged_total{channel=\"in\",answer=\"stored\"}", 2.0),
        ("tributary_messages_acknowledged_total{channel=\"in\",answer=\"duplicate\"}", 1.0),
        ("tributary_messages_acknowledged_total{channel=\"in\",answer=\"invalid\"}", 1.0),
        ("tributary_answers_total{channel=\"in\",code=\"AA\"}", 3.0),
        ("tributary_answers_total{channel=\"in\",code=\"AE\"}", 1.0),
        ("tributary_answers_total{channel=\"in\",code=\"AR\"}", 0.0),
        ("tributary_answers_total{channel=\"web\",code=\"202\"}", 1.0),
        ("tributary_answers_total{channel=\"web\",code=\"400\"}", 1.0),
        ("tributary_feed_events_total{channel=\"in\",event=\"connections\"}", 1.0),
        ("tributary_feed_events_total{channel=\"in\",event=\"refused_connections\"}", 0.0),
        ("tributary_feed_events_total{channel=\"web\",event=\"connections\"}", 2.0),
        ("tributary_messages_transformed_total{channel=\"in\",outcome=\"queued\"}", 2.0),
        ("tributary_deliveries_delivered_total{destination=\"out\"}", 2.0),
        ("tributary_deliveries_retried_total{destination=\"out\"}", 1.0),
        ("tributary_queue_depth{destination=\"out\",state=\"queued\"}", 0.0),
        ("tributary_queue_depth{destination=\"away\",state=\"queued\"}", 1.0),
        ("tributary_acknowledge_seconds_count{channel=\"in\"}", 4.0),
        ("tributary_delivery_seconds_count{destination=\"out\"}", 2.0),
    ] {
        assert_eq!(seen.get(sample), Some(&value), "{sample}");
    }
    wait_until("the oldest is looked at", || {
        read(port)["tributary_queue_oldest_age_seconds{destination=\"away\"}"] > 0.0
    });
    assert!(seen["tributary_store_syncs_total"] >= 3.0);
}

fn read(admin: std::net::SocketAddr) -> BTreeMap<String, f64> {
    let answer = http::get(admin, "/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.body.trim_end().ends_with("# EOF"), "OpenMetrics ends with its mark");
    samples(&answer.body)
}
