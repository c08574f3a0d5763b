//! What is counted: Prometheus families, by channel and destination; never by patient.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use channels::Tally;
use message::{Answer, Finding, FindingKind};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::attempt::{Attempt, End};
use super::gate::ServiceStatus;
use super::health::Health;
use crate::audit::AuditStatus;
use crate::store::{Outcome, State, Store};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Channel {
    channel: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelAnswer {
    channel: String,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelCode {
    channel: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelEvent {
    channel: String,
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelOutcome {
    channel: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelFinding {
    channel: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelState {
    channel: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Destination {
    destination: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationState {
    destination: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    kind: String,
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceOutcome {
    kind: String,
    service: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Target {
    target: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All that the engine counts, and where `/metrics` reads it.
pub struct Metrics {
    registry: Registry,
    received: Family<Channel, Counter>,
    answers: Family<ChannelAnswer, Counter>,
    answer_seconds: Histograms<Channel>,
    feeds: Mutex<BTreeMap<String, Arc<dyn Tally>>>,
    codes: Family<ChannelCode, Counter>,
    events: Family<ChannelEvent, Counter>,
    outcomes: Family<ChannelOutcome, Counter>,
    invalid: Family<Channel, Counter>,
    findings: Family<ChannelFinding, Counter>,
    delivered: Family<Destination, Counter>,
    retried: Family<Destination, Counter>,
    dead: Family<Destination, Counter>,
    held: Family<Destination, Counter>,
    suppressed: Family<Destination, Counter>,
    attempt_seconds: Histograms<Destination>,
    delivery_seconds: Histograms<Destination>,
    in_flight: Family<Destination, Gauge>,
    health: Family<DestinationState, Gauge>,
    depth: Family<DestinationState, Gauge>,
    oldest: Family<Destination, Gauge<f64, AtomicU64>>,
    messages: Family<ChannelState, Gauge>,
    service_up: Family<Service, Gauge>,
    service_answers: Family<ServiceOutcome, Counter>,
    store_groups: Counter,
    store_syncs: Counter,
    store_records: Counter,
    store_log_bytes: Gauge,
    store_free_bytes: Gauge,
    audit_lines: Gauge,
    audit_signed: Gauge,
    audit_failing: Gauge,
    audit_behind: Gauge<f64, AtomicU64>,
    audit_hinders: Gauge,
    audit_waiting: Family<Target, Gauge>,
    audit_oldest: Family<Target, Gauge<f64, AtomicU64>>,
    audit_taken: Family<Target, Counter>,
    audit_failures: Family<Target, Counter>,
    audit_refused: Family<Target, Gauge>,
}

/// The states of a destination.
const HEALTH: [&str; 3] = ["up", "down", "stopped"];
/// The states of a delivery.
const DELIVERY_STATES: [State; 5] = [State::Queued, State::Held, State::Delivered, State::Dead, State::Skipped];

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 20))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tributary");
        macro_rules! family {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        macro_rules! histogram {
            ($name:literal, $help:literal) => {{
                let metric = Family::new_with_constructor(seconds as fn() -> Histogram);
                registry.register_with_unit($name, $help, Unit::Seconds, metric.clone());
                metric
            }};
        }
        Self {
            received: family!("messages_received", "Messages offered by senders", Family::default()),
            answers: family!("messages_acknowledged", "Answers given to senders, by kind", Family::default()),
            answer_seconds: histogram!("acknowledge", "From offer to answer"),
            feeds: Mutex::default(),
            codes: family!("answers", "Answers written, by acknowledgment code or HTTP status", Family::default()),
            events: family!("feed_events", "What happened to a feed's connections and on its wire", Family::default()),
            outcomes: family!("messages_transformed", "What came of transforms and routes", Family::default()),
            invalid: family!("messages_invalid", "Messages that became FHIR that is not valid R4", Family::default()),
            findings: family!(
                "findings",
                "What transforms noticed, by kind: fields that reached no output, codes without a translation",
                Family::default()
            ),
            delivered: family!("deliveries_delivered", "Deliveries taken", Family::default()),
            retried: family!("deliveries_retried", "Attempts that failed and are made again", Family::default()),
            dead: family!("deliveries_dead", "Deliveries that became dead letters", Family::default()),
            held: family!("deliveries_held", "Deliveries that were held", Family::default()),
            suppressed: family!("deliveries_suppressed", "Deliveries that consent denied", Family::default()),
            attempt_seconds: histogram!("attempt", "One attempt at the destination"),
            delivery_seconds: histogram!("delivery", "From queued to delivered"),
            in_flight: family!("deliveries_in_flight", "Attempts under way", Family::default()),
            health: family!("destination_state", "1 for the state that a destination is in", Family::default()),
            depth: family!("queue_depth", "Deliveries by destination and state", Family::default()),
            oldest: family!("queue_oldest_age_seconds", "Age of the oldest queued delivery", Family::default()),
            messages: family!("messages", "Messages by state", Family::default()),
            service_up: family!("service_up", "1 while a service that is asked answers", Family::default()),
            service_answers: family!(
                "service_answers",
                "Questions to services, by what came of them: answered, in-vain, kept (an answer used again), stale \
                 (of these, for want of a new one)",
                Family::default()
            ),
            store_groups: family!("store_groups", "Groups written to the log", Counter::default()),
            store_syncs: family!("store_syncs", "fdatasync calls on the log", Counter::default()),
            store_records: family!("store_records", "Records written to the log", Counter::default()),
            store_log_bytes: family!("store_log_bytes", "Size of the log on disk", Gauge::default()),
            audit_lines: family!("audit_lines", "Lines of the audit", Gauge::default()),
            audit_signed: family!("audit_signed", "The last line of the audit that is signed", Gauge::default()),
            audit_failing: family!("audit_failing", "1 while the audit cannot be written or signed", Gauge::default()),
            audit_behind: family!("audit_behind_seconds", "How far the audit is behind the log", Gauge::default()),
            audit_hinders: family!(
                "audit_stops_deliveries",
                "1 while nothing is delivered because the audit cannot be written or is too far behind",
                Gauge::default()
            ),
            audit_waiting: family!("audit_waiting", "Lines of the audit that a target lacks", Family::default()),
            audit_oldest: family!("audit_oldest_age_seconds", "Age of the first line that waits", Family::default()),
            audit_taken: family!("audit_taken", "Lines and checkpoints that a target took", Family::default()),
            audit_failures: family!("audit_failures", "Attempts to send the audit that failed", Family::default()),
            audit_refused: family!("audit_refused", "Lines that a target refused for good", Family::default()),
            store_free_bytes: family!("store_free_bytes", "Free space on the store's disk", Gauge::default()),
            registry,
        }
    }
}

impl Metrics {
    pub(super) fn acknowledged(&self, channel: &str, answer: &Answer, took: Duration) {
        let channel = channel.to_owned();
        let kind = match answer {
            Answer::Stored(_) | Answer::Done(..) => "stored",
            Answer::Duplicate(_) => "duplicate",
            Answer::Conflict { .. } => "conflict",
            Answer::Unsupported(_) => "unsupported",
            Answer::Invalid(_) => "invalid",
            Answer::Unavailable { .. } => "unavailable",
        };
        let label = Channel { channel: channel.clone() };
        self.received.get_or_create(&label).inc();
        self.answer_seconds.get_or_create(&label).observe(took.as_secs_f64());
        self.answers.get_or_create(&ChannelAnswer { channel, answer: kind }).inc();
    }

    pub(super) fn processed(&self, channel: &str, outcome: &Outcome) {
        let kind = match outcome {
            Outcome::Queued { deliveries, .. } => {
                for held in deliveries.iter().filter(|delivery| delivery.held.is_some()) {
                    self.held.get_or_create(&Destination { destination: held.destination.clone() }).inc();
                }
                "queued"
            }
            Outcome::Filtered { .. } => "filtered",
            Outcome::Failed { .. } => "failed",
        };
        self.outcomes.get_or_create(&ChannelOutcome { channel: channel.to_owned(), outcome: kind }).inc();
    }

    /// Counts what transforms noticed in a message, and the message if the validator found something in it.
    pub(super) fn noticed(&self, channel: &str, findings: &[Finding]) {
        if findings.iter().any(|finding| finding.kind == FindingKind::Invalid) {
            self.invalid.get_or_create(&Channel { channel: channel.to_owned() }).inc();
        }
        for kind in FindingKind::ALL {
            let count = findings.iter().filter(|finding| finding.kind == kind).count() as u64;
            if count > 0 {
                let label = ChannelFinding { channel: channel.to_owned(), kind: kind.as_str() };
                self.findings.get_or_create(&label).inc_by(count);
            }
        }
    }

    pub(super) fn attempted(&self, destination: &str, attempt: &Attempt) {
        let label = Destination { destination: destination.to_owned() };
        let counter = match attempt.end {
            End::Delivered => &self.delivered,
            End::Again { .. } | End::Stopped { .. } | End::Unread => &self.retried,
            End::Dead { .. } => &self.dead,
            End::Held | End::Parked { .. } => &self.held,
            End::Suppressed => &self.suppressed,
            End::Gone => return,
        };
        counter.get_or_create(&label).inc();
        if !attempt.took.is_zero() {
            self.attempt_seconds.get_or_create(&label).observe(attempt.took.as_secs_f64());
        }
        if let Some(age) = attempt.age {
            self.delivery_seconds.get_or_create(&label).observe(age.as_secs_f64());
        }
    }

    /// What a dispatcher keeps the number of its attempts under way in.
    pub(super) fn in_flight(&self, destination: &str) -> Gauge {
        self.in_flight.get_or_create(&Destination { destination: destination.to_owned() }).clone()
    }

    pub(super) fn health(&self, destination: &str, health: &Health) {
        let destination = destination.to_owned();
        for state in HEALTH {
            let label = DestinationState { destination: destination.clone(), state };
            self.health.get_or_create(&label).set(i64::from(health.describe().0 == state));
        }
    }

    /// Begins a channel's counters at zero, so that the first message counts as a rise.
    pub(super) fn introduce_channel(&self, channel: &str) {
        let channel = channel.to_owned();
        self.received.get_or_create(&Channel { channel: channel.clone() }).inc_by(0);
        self.invalid.get_or_create(&Channel { channel: channel.clone() }).inc_by(0);
        for answer in ["stored", "duplicate", "conflict", "unsupported", "invalid", "unavailable"] {
            self.answers.get_or_create(&ChannelAnswer { channel: channel.clone(), answer }).inc_by(0);
        }
        for outcome in ["queued", "filtered", "failed"] {
            self.outcomes.get_or_create(&ChannelOutcome { channel: channel.clone(), outcome }).inc_by(0);
        }
        for kind in FindingKind::ALL {
            self.findings.get_or_create(&ChannelFinding { channel: channel.clone(), kind: kind.as_str() }).inc_by(0);
        }
    }

    /// Takes over what a channel's feed counts, from now on: its counters begin with its opening.
    pub(super) fn introduce_feed(&self, channel: &str, tally: Option<Arc<dyn Tally>>) {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        match tally {
            Some(tally) => feeds.insert(channel.to_owned(), tally),
            None => feeds.remove(channel),
        };
    }

    fn read_feeds(&self) {
        for (channel, tally) in self.feeds.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (code, count) in tally.answers() {
                let label = ChannelCode { channel: channel.clone(), code };
                self.codes.get_or_create(&label).inner().store(count, Ordering::Relaxed);
            }
            for (event, count) in tally.events() {
                let label = ChannelEvent { channel: channel.clone(), event };
                self.events.get_or_create(&label).inner().store(count, Ordering::Relaxed);
            }
        }
    }

    fn read_audit(&self, audit: &AuditStatus, now: jiff::Timestamp) {
        let clamp = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.audit_lines.set(clamp(audit.lines));
        self.audit_signed.set(clamp(audit.signed));
        self.audit_failing.set(i64::from(audit.error.is_some()));
        self.audit_behind.set(audit.behind_seconds);
        self.audit_hinders.set(i64::from(audit.hindrance.is_some()));
        for status in &audit.targets {
            let label = Target { target: status.name.clone() };
            let age = status.oldest.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
            self.audit_waiting.get_or_create(&label).set(clamp(status.waiting));
            self.audit_oldest.get_or_create(&label).set(age.max(0.0));
            self.audit_taken.get_or_create(&label).inner().store(status.taken, Ordering::Relaxed);
            self.audit_failures.get_or_create(&label).inner().store(status.failures, Ordering::Relaxed);
            self.audit_refused.get_or_create(&label).set(clamp(status.refused));
        }
    }

    /// Begins a destination's counters at zero.
    pub(super) fn introduce_destination(&self, destination: &str) {
        let label = Destination { destination: destination.to_owned() };
        for counters in [&self.delivered, &self.retried, &self.dead, &self.held, &self.suppressed] {
            counters.get_or_create(&label).inc_by(0);
        }
        self.oldest.get_or_create(&label).set(0.0);
        for state in DELIVERY_STATES {
            let label = DestinationState { destination: destination.to_owned(), state: state.as_str() };
            self.depth.get_or_create(&label).set(0);
        }
    }

    /// A destination is gone, and its health with it.
    pub(super) fn forget_destination(&self, destination: &str) {
        self.in_flight.remove(&Destination { destination: destination.to_owned() });
        for state in HEALTH {
            self.health.remove(&DestinationState { destination: destination.to_owned(), state });
        }
    }

    /// Takes over how the services stand that are asked before something leaves.
    pub fn services(&self, services: &[ServiceStatus]) {
        self.service_up.clear();
        for one in services {
            let (kind, service) = (one.kind.clone(), one.name.clone());
            self.service_up
                .get_or_create(&Service { kind: kind.clone(), service: service.clone() })
                .set(i64::from(one.up));
            let outcomes =
                [("answered", one.answered), ("in-vain", one.in_vain), ("kept", one.kept), ("stale", one.stale)];
            for (outcome, count) in outcomes {
                let label = ServiceOutcome { kind: kind.clone(), service: service.clone(), outcome };
                self.service_answers.get_or_create(&label).inner().store(count, Ordering::Relaxed);
            }
        }
    }

    /// Takes the store's numbers over and renders everything in the OpenMetrics text format.
    ///
    /// # Errors
    ///
    /// None in practice: writing to a string does not fail.
    pub fn render(&self, store: &Store, audit: &AuditStatus, now: jiff::Timestamp) -> Result<String, std::fmt::Error> {
        self.read_feeds();
        self.read_audit(audit, now);
        let clamp = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let counts = store.counts();
        for (destination, states) in &counts.deliveries {
            for state in DELIVERY_STATES {
                let label = DestinationState { destination: destination.clone(), state: state.as_str() };
                self.depth.get_or_create(&label).set(clamp(states.get(&state).copied().unwrap_or(0)));
            }
            let age = counts.oldest.get(destination).map_or(0.0, |since| now.duration_since(*since).as_secs_f64());
            self.oldest.get_or_create(&Destination { destination: destination.clone() }).set(age.max(0.0));
        }
        for (channel, states) in &counts.messages {
            for state in State::ALL {
                let label = ChannelState { channel: channel.clone(), state: state.as_str() };
                self.messages.get_or_create(&label).set(clamp(states.get(&state).copied().unwrap_or(0)));
            }
        }
        let metrics = store.metrics();
        self.store_groups.inner().store(metrics.groups, Ordering::Relaxed);
        self.store_syncs.inner().store(metrics.syncs, Ordering::Relaxed);
        self.store_records.inner().store(metrics.records, Ordering::Relaxed);
        self.store_log_bytes.set(clamp(counts.log_bytes));
        self.store_free_bytes.set(clamp(counts.free_bytes));
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
