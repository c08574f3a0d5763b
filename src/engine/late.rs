//! Older events that arrive late: they do not roll newer states back.
//!
//! A message's event has a time (EVN-6, EVN-2, MSH-7, as the channel says). Of every resource that a message writes, the
//! time of the latest event is kept: in the log and the index ([`Record::Latest`]), and in memory for what comes often.
//! A pipeline asks and writes in the order of acceptance, under one lock for all channels, so that what is late is
//! decided in the order in which deliveries get their numbers. A late message goes on, but what is newer stays: a
//! conditional update becomes a conditional create, and what is written under its own id is left out.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use message::hl7v2::timestamp::{Dtm, Precision};
use message::{Body, Finding, FindingKind, Format, Message, MessageId, hl7v2};
use serde_json::{Value, json};

use super::process::{Processed, Recipe};
use crate::config::{LateConfig, LatePolicy};
use crate::store::{Lane, Outcome, Record, Store, StoreError};

/// How many resources are kept in memory.
const IN_MEMORY: usize = 200_000;

/// A message's event: when, and what it writes.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The first moment that its time may mean.
    from: Timestamp,
    /// The last: a mere day is not late within that day.
    until: Timestamp,
    /// What becomes of what is newer.
    policy: LatePolicy,
    /// Entries of the Bundle, and keyed hashes of what they write.
    writes: Vec<(usize, Lane)>,
}

/// The event of `message`, if its channel looks at events, its time is known and it writes something.
pub(super) fn event_of(recipe: &Recipe, message: &Message, outcome: &Outcome) -> Option<Event> {
    let config = &recipe.config.late_events;
    if config.policy == LatePolicy::Take || !matches!(outcome, Outcome::Queued { .. }) {
        return None;
    }
    let (received, Body::Fhir(bundle)) = (message.as_received()?, &message.body) else { return None };
    let (from, until) = time_of(received, config, &recipe.context.time_zone)?;
    let entries = bundle.get("entry")?.as_array()?.iter().enumerate();
    let writes: Vec<(usize, Lane)> = entries
        .filter_map(|(index, entry)| {
            let kind = entry.get("resource")?.get("resourceType")?.as_str()?;
            let request = entry.get("request")?;
            let is_put = request.get("method")?.as_str()? == "PUT";
            let url = request.get("url")?.as_str()?;
            let looked_at = is_put && config.resources.iter().any(|name| name == kind);
            looked_at.then(|| (index, (recipe.hash)(format!("resource/{url}").as_bytes())))
        })
        .collect();
    (!writes.is_empty()).then_some(Event { from, until, policy: config.policy, writes })
}

/// The first time that stands in one of the channel's places: the moments that it may mean.
fn time_of(message: &hl7v2::Message, config: &LateConfig, zone: &jiff::tz::TimeZone) -> Option<(Timestamp, Timestamp)> {
    let text = |path: &hl7v2::Path| message.get(path).map(|text| text.split('^').next().unwrap_or_default());
    config.time.iter().find_map(|path| {
        let time = Dtm::parse(text(path)?).ok()?;
        let from = time.to_timestamp(zone)?;
        let span = match time.precision() {
            Precision::Year => 366 * 24 * 3600,
            Precision::Month => 31 * 24 * 3600,
            Precision::Day => 24 * 3600,
            Precision::Hour => 3600,
            Precision::Minute => 60,
            Precision::Second => 0,
        };
        let last = jiff::SignedDuration::from_secs(span) - jiff::SignedDuration::from_micros(i64::from(span > 0));
        Some((from, from.checked_add(last).ok()?))
    })
}

/// The latest events, as far as they are in memory.
#[derive(Default)]
pub(super) struct Latest(HashMap<Lane, Timestamp>);

impl Latest {
    /// Decides of each message, in order, what of it is late, and keeps its time. Gives the records that must be in
    /// one group with what came of the messages. The caller holds the lock until they are written.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot say what is kept; nothing has changed then.
    pub(super) async fn settle(
        &mut self,
        store: &Store,
        done: &mut [(MessageId, Processed)],
    ) -> Result<Vec<Record>, StoreError> {
        let events = done.iter().filter_map(|(_, processed)| processed.event.as_ref());
        self.load(store, events.flat_map(|event| &event.writes).map(|(_, lane)| *lane).collect()).await?;
        let mut records = Vec::new();
        for (id, processed) in done.iter_mut() {
            let Some(event) = processed.event.take() else { continue };
            let late = self.late(&event);
            records.extend(self.keep(*id, &event));
            hold_back(processed, &event, &late);
        }
        Ok(records)
    }

    /// Keeps the time of what an event writes, where it is the latest; gives the record that says so.
    pub(super) fn keep(&mut self, message: MessageId, event: &Event) -> Option<Record> {
        let mut newer = Vec::new();
        for (_, lane) in &event.writes {
            if self.0.get(lane).is_none_or(|before| *before < event.from) {
                self.0.insert(*lane, event.from);
                newer.push(*lane);
            }
        }
        (!newer.is_empty()).then_some(Record::Latest { message, event: event.from, resources: newer })
    }

    /// As it would be settled now, but nothing is kept: for messages that may be sent again.
    ///
    /// # Errors
    ///
    /// As [`Latest::settle`].
    pub(super) async fn apply(&mut self, store: &Store, processed: &mut Processed) -> Result<(), StoreError> {
        let Some(event) = processed.event.clone() else { return Ok(()) };
        self.load(store, event.writes.iter().map(|(_, lane)| *lane).collect()).await?;
        let late = self.late(&event);
        hold_back(processed, &event, &late);
        Ok(())
    }

    /// The entries that write what a newer event has written.
    fn late(&self, event: &Event) -> HashSet<usize> {
        let is_late = |lane: &Lane| self.0.get(lane).is_some_and(|latest| event.until < *latest);
        event.writes.iter().filter(|(_, lane)| is_late(lane)).map(|(index, _)| *index).collect()
    }

    /// Reads what is not in memory.
    async fn load(&mut self, store: &Store, mut lanes: Vec<Lane>) -> Result<(), StoreError> {
        if self.0.len() > IN_MEMORY {
            // Whatever was settled before is in the store by now.
            self.0.clear();
        }
        lanes.retain(|lane| !self.0.contains_key(lane));
        lanes.sort_unstable();
        lanes.dedup();
        if lanes.is_empty() {
            return Ok(());
        }
        let found = store.latest(lanes.clone()).await?;
        self.0.extend(lanes.into_iter().zip(found).filter_map(|(lane, event)| Some((lane, event?))));
        Ok(())
    }
}

/// Leaves what is newer as it is, and says so.
fn hold_back(processed: &mut Processed, event: &Event, late: &HashSet<usize>) {
    if late.is_empty() {
        return;
    }
    let mut sorted: Vec<&usize> = late.iter().collect();
    sorted.sort_unstable();
    let text = match event.policy {
        LatePolicy::HoldBack => "a newer event was taken before: what it wrote stays",
        LatePolicy::Note | LatePolicy::Take => "a newer event was taken before: it is written over all the same",
    };
    processed.findings.extend(sorted.iter().map(|index| Finding {
        kind: FindingKind::Late,
        location: format!("entry[{index}].resource").into(),
        text: text.into(),
    }));
    let Outcome::Queued { outputs, .. } = &mut processed.outcome else { return };
    if event.policy != LatePolicy::HoldBack {
        return;
    }
    for output in outputs.iter_mut().filter(|output| output.format == Format::FhirJson) {
        let Some(bytes) = &output.bytes else { continue };
        if let Ok(mut bundle) = serde_json::from_slice::<Value>(bytes) {
            without(&mut bundle, late);
            output.bytes = Some(bundle.to_string().into());
            output.transaction = None;
        }
    }
}

/// A Bundle that leaves what the `late` entries write as it is, wherever it is there already.
fn without(bundle: &mut Value, late: &HashSet<usize>) {
    let Some(entries) = bundle.get_mut("entry").and_then(Value::as_array_mut) else { return };
    let mut index = 0;
    let mut left_out: HashMap<String, String> = HashMap::new();
    entries.retain_mut(|entry| {
        let is_late = late.contains(&index);
        index += 1;
        let Some(url) = entry.pointer("/request/url").and_then(Value::as_str).map(str::to_owned) else { return true };
        if !is_late {
            return true;
        }
        match url.split_once('?') {
            // FHIR R4 §3.1.0.8.1, conditional create: what is found stays, and references to the entry mean it.
            Some((kind, query)) => {
                let request = json!({ "method": "POST", "url": kind, "ifNoneExist": query });
                if let Some(members) = entry.as_object_mut() {
                    members.insert("request".to_owned(), request);
                }
                true
            }
            None => {
                let full_url = entry.get("fullUrl").and_then(Value::as_str);
                left_out.extend(full_url.map(|full_url| (full_url.to_owned(), url)));
                false
            }
        }
    });
    if !left_out.is_empty() {
        entries.iter_mut().for_each(|entry| refer(entry, &left_out));
    }
}

/// References to what is left out go to where it is.
fn refer(value: &mut Value, left_out: &HashMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "reference" => {
                        if let Some(url) = left_out.get(text.as_str()) {
                            text.clone_from(url);
                        }
                    }
                    member => refer(member, left_out),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, left_out)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newer_stays_and_is_still_referred_to() {
        let mut bundle = json!({ "entry": [
            { "fullUrl": "urn:uuid:1", "resource": { "resourceType": "Patient" },
              "request": { "method": "PUT", "url": "Patient?identifier=a|1" } },
            { "fullUrl": "urn:uuid:2", "resource": { "resourceType": "Observation" },
              "request": { "method": "PUT", "url": "Observation/2" } },
            { "fullUrl": "urn:uuid:3", "resource": { "resourceType": "DiagnosticReport",
              "subject": { "reference": "urn:uuid:1" }, "result": [{ "reference": "urn:uuid:2" }] },
              "request": { "method": "PUT", "url": "DiagnosticReport/3" } },
        ] });
        without(&mut bundle, &HashSet::from([0, 1]));
        let expected = json!({ "entry": [
            { "fullUrl": "urn:uuid:1", "resource": { "resourceType": "Patient" },
              "request": { "method": "POST", "url": "Patient", "ifNoneExist": "identifier=a|1" } },
            { "fullUrl": "urn:uuid:3", "resource": { "resourceType": "DiagnosticReport",
              "subject": { "reference": "urn:uuid:1" }, "result": [{ "reference": "Observation/2" }] },
              "request": { "method": "PUT", "url": "DiagnosticReport/3" } },
        ] });
        assert_eq!(bundle, expected);
    }

    #[track_caller]
    fn check_time(evn: &str, expected: Option<(&str, &str)>) {
        let text = format!("MSH|^~\\&|A|B|C|D|20260131080000||ADT^A08|1|P|2.5\r{evn}\r");
        let message = hl7v2::Message::index(text.clone().into(), text.into()).unwrap();
        let found = time_of(&message, &LateConfig::default(), &jiff::tz::TimeZone::UTC);
        let expected = expected.map(|(from, until)| (from.parse().unwrap(), until.parse().unwrap()));
        assert_eq!(found, expected);
    }

    #[test]
    fn an_events_time_is_where_the_channel_says() {
        let at = |time: &'static str| Some((time, time));
        check_time("EVN||20260131090000||||20260131070000+0000", at("2026-01-31T07:00:00Z"));
        check_time("EVN||20260131090000", at("2026-01-31T09:00:00Z"));
        check_time("PID|1", at("2026-01-31T08:00:00Z"));
        // As far as it is known: a day is not before a time of that day.
        check_time("EVN||20260131", Some(("2026-01-31T00:00:00Z", "2026-01-31T23:59:59.999999Z")));
        check_time("EVN||soon", at("2026-01-31T08:00:00Z"));
    }
}
