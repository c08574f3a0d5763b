//! Consent as HL7 v2 says it: CON and ARV segments become FHIR Consents.
//!
//! What a code list can say becomes a rule; what only a person can read becomes a Consent without
//! rules, which holds what it might govern until somebody has coded it.

mod arv;
mod con;

use crate::json::{Map, Value, json};
use jiff::tz::TimeZone;

use super::by_entry::{ACT_CODE, Span};
use crate::hl7v2::timestamp::Dtm;
use crate::hl7v2::{Message, Segment};

/// How a channel's consents are read.
#[derive(Clone)]
pub struct Reading<'a> {
    /// The zone of times that carry no offset.
    pub zone: &'a TimeZone,
    /// True if what was said and not written down permits (CON-10 V, T). What it refuses always counts.
    pub accept_verbal: bool,
    /// The system URI of identifiers of an assigning authority, by its namespace.
    pub system: &'a dyn Fn(&str) -> String,
}

/// What a message says of consent.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// A Consent to keep, in place of one with the same identifier.
    Consent(Value),
    /// The Consent with this identifier (`SYSTEM|VALUE`) is inactive from now on. Where there is none,
    /// the patient's permits are suspended and someone must look.
    Rescinded(Value),
    /// A consent to a procedure: it says nothing of privacy, and is not kept.
    Treatment(Value),
    /// Somebody opened a record without consent: evidence for the audit, no consent.
    Bypassed,
}

/// What `message` says of consent, in order.
#[must_use]
pub fn arrivals(message: &Message, reading: &Reading<'_>) -> Vec<Arrival> {
    let mut found: Vec<Arrival> =
        message.segments_named("CON").filter_map(|con| con::arrival(message, &con, reading)).collect();
    found.extend(arv::arrivals(message, reading));
    found
}

/// The parts that every Consent made here has.
fn frame(message: &Message, reading: &Reading<'_>, status: &str, decided: Option<String>) -> Map {
    let mut consent = Map::new();
    consent.insert("resourceType".to_owned(), json!("Consent"));
    consent.insert("status".to_owned(), json!(status));
    consent.insert("scope".to_owned(), scope("patient-privacy"));
    consent.insert("category".to_owned(), json!([base_rule("IDSCL")]));
    if let Some(patient) = patient(message, reading) {
        consent.insert("patient".to_owned(), json!({ "identifier": patient }));
    }
    if let Some(decided) = decided {
        consent.insert("dateTime".to_owned(), json!(decided));
    }
    consent
}

fn scope(code: &str) -> Value {
    json!({ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": code }] })
}

fn base_rule(code: &str) -> Value {
    json!({ "coding": [{ "system": ACT_CODE, "code": code }] })
}

/// PID-3, the first with a value: its authority and value.
fn patient(message: &Message, reading: &Reading<'_>) -> Option<Value> {
    let pid = message.segment("PID")?;
    let repetitions = pid.field(3).repetitions().find(|id| id.component(1).is_valued())?;
    let namespace = repetitions.component(4).subcomponent(1).value().trim().to_owned();
    Some(named(&namespace, repetitions.component(1).value().trim(), reading))
}

/// An identifier of `namespace`.
fn named(namespace: &str, value: &str, reading: &Reading<'_>) -> Value {
    if namespace.is_empty() {
        json!({ "value": value })
    } else {
        json!({ "system": (reading.system)(namespace), "value": value })
    }
}

/// The code in a field, its first component.
fn code(segment: &Segment<'_>, field: usize) -> String {
    let component = segment.field(field).component(1);
    if component.is_valued() { component.value().trim().to_owned() } else { String::new() }
}

/// A time as FHIR's dateTime; `None` for what is none.
fn time(segment: &Segment<'_>, field: usize, reading: &Reading<'_>) -> Option<String> {
    time_of(&code(segment, field), reading)
}

fn time_of(text: &str, reading: &Reading<'_>) -> Option<String> {
    let time = Dtm::parse(text).ok()?.to_fhir_date_time(reading.zone);
    Span::parse(&time).map(|_| time)
}

/// When the message says that it happened: EVN-2, else MSH-7.
fn said_at(message: &Message, reading: &Reading<'_>) -> Option<String> {
    let of = |name: &str, field| message.segment(name).and_then(|segment| time(&segment, field, reading));
    of("EVN", 2).or_else(|| of("MSH", 7))
}

#[cfg(test)]
mod tests;
