//! Which events a record of the log stands for.

use message::MessageId;
use message::audit::{Event, Kind, Outcome};
use uuid::Uuid;

use crate::config::{DestinationConfig, OutboundKind, Site};
use crate::engine::{Declaration, SEVERAL};
use crate::store::{DeliveryRecord, Followed, Lane, NewDelivery, Origin, Outcome as Came, Received, Record};

/// How the engine begins the reason of what waits for consent, of what consent denies, and what a delivery rests on.
const PARKED: &str = "waits for consent: ";
const DENIED: &str = "denied by consent: ";
const PROOF: &str = " [consent: ";
/// How it names the Consents that were weighed, with their versions.
const WEIGHED: &str = "by Consent ";
/// Under which names emergencies and pauses are remembered.
const EMERGENCY: &str = "break-glass/";
const PAUSED: &str = "paused/";

/// What events are made with.
pub(super) struct Context<'a> {
    pub(super) site: &'a Site,
    /// The keyed hash of a patient's identifier.
    pub(super) hash: &'a dyn Fn(&[u8]) -> Lane,
}

/// The events of one record, in order. They are the same whenever it is read.
pub(super) fn events(followed: &Followed, context: &Context<'_>) -> Vec<Event> {
    let new = |at: &jiff::Timestamp, kind: Kind, part: u64| {
        Event::new(id(followed.sequence, part, *at, context.hash), *at, kind)
    };
    match &followed.record {
        Record::Received(received) => vec![import(new(&received.at, Kind::Import, 0), received, context)],
        Record::Processed { message, at, outcome: Came::Queued { deliveries, .. }, .. } => {
            let held =
                (0..).zip(deliveries).filter_map(|(part, delivery)| Some((part, delivery, delivery.held.as_ref()?)));
            let made = held.map(|(part, delivery, reason)| {
                let number = followed.sequence + 1 + part;
                waiting(of_new(new(at, Kind::Hold, part), *message, number, delivery, context), reason)
            });
            made.collect()
        }
        Record::Delivered { at, summary, .. } => {
            let (summary, proof) = match summary.split_once(PROOF) {
                Some((summary, proof)) => (summary, Some(proof.trim_end_matches(']'))),
                None => (summary.as_str(), None),
            };
            let decided = proof.map(|proof| {
                let event = of_delivery(new(at, Kind::Decision, 0), followed, context);
                Event { text: format!("permit: {proof}"), consents: weighed(proof), ..event }
            });
            let event = sent(of_delivery(new(at, Kind::Disclosure, 1), followed, context), context);
            decided.into_iter().chain([Event { text: summary.to_owned(), ..event }]).collect()
        }
        // Whoever answered has seen it.
        Record::Attempted { at, reason, answer: Some(_), .. } | Record::Dead { at, reason, answer: Some(_), .. } => {
            let event = sent(of_delivery(new(at, Kind::Disclosure, 0), followed, context), context);
            vec![Event { outcome: Outcome::Refused, text: reason.clone(), ..event }]
        }
        Record::Held { at, reason, .. } => {
            vec![waiting(of_delivery(new(at, Kind::Hold, 0), followed, context), reason)]
        }
        Record::Released { at, reason, .. } => {
            let event = of_delivery(new(at, Kind::Release, 0), followed, context);
            vec![Event { text: reason.clone(), ..event }]
        }
        Record::Skipped { at, reason, .. } => {
            vec![waiting(of_delivery(new(at, Kind::Skip, 0), followed, context), reason)]
        }
        Record::Replayed { message, at, job, reason, .. } => {
            let text = format!("{reason} (job {job})");
            vec![Event { message: Some(*message), text, ..new(at, Kind::Replay, 0) }]
        }
        Record::Consent { message, at, consent, .. } => {
            let subjects = hexes(&consent.subjects);
            vec![Event { message: *message, subjects, ..new(at, Kind::Consent, 0) }]
        }
        Record::Linked { message, at, subjects, .. } => {
            let text = "these identifiers are one person's".to_owned();
            vec![Event { message: *message, subjects: hexes(subjects), text, ..new(at, Kind::Identity, 0) }]
        }
        Record::Parted { message, at, subjects, others, .. } => {
            let text = "what was taken for one person is two".to_owned();
            let subjects = hexes(subjects).into_iter().chain(hexes(others)).collect();
            vec![Event { message: *message, subjects, text, ..new(at, Kind::Identity, 0) }]
        }
        Record::Act { at, act } => vec![Event {
            by: act.by.clone(),
            text: act.text.clone(),
            message: act.message,
            delivery: act.delivery,
            subjects: hexes(&act.subjects),
            sha256: act.sha256,
            ..new(at, act.kind, 0)
        }],
        Record::TurnedAway { at, channel, peer, times, addresses } => {
            let event = new(at, Kind::FailedLogin, 0);
            vec![turned_away(event, channel, peer, *times, *addresses)]
        }
        Record::Processed { .. }
        | Record::Attempted { .. }
        | Record::Dead { .. }
        | Record::Latest { .. }
        | Record::Setting { .. } => Vec::new(),
    }
}

/// What a setting tells of, which carries no time of its own: `at` is that of what was told before it.
pub(super) fn of_setting(followed: &Followed, at: jiff::Timestamp, context: &Context<'_>) -> Option<Event> {
    let Record::Setting { key, value } = &followed.record else { return None };
    let new = |at, kind| Event::new(id(followed.sequence, 0, at, context.hash), at, kind);
    let text = |begun: &str, over: &str| {
        let told = if value.is_some() { begun } else { over };
        format!("{key} {told}")
    };
    if key.starts_with(EMERGENCY) {
        let declared = value.as_deref().and_then(|value| serde_json::from_str::<Declaration>(value).ok());
        let Some(Declaration { subjects, destination, by, reason, at, until, ended_by, .. }) = declared else {
            return Some(Event { text: text("cannot be read", "is over"), ..new(at, Kind::BreakGlassEnd) });
        };
        let (event, by, text) = match ended_by {
            Some(by) => (new(until, Kind::BreakGlassEnd), by, format!("{key} is over")),
            None => (new(at, Kind::BreakGlass), by, format!("{key} begins, reason {reason}, until {until}")),
        };
        let party = context.site.destinations.get(&destination).map(|destination| destination.recipient.clone());
        let purposes = vec!["BTG".to_owned(), reason];
        return Some(Event {
            by,
            text,
            party,
            destination: Some(destination),
            subjects: hexes(&subjects),
            purposes,
            ..event
        });
    }
    key.starts_with(PAUSED).then(|| Event { text: text("is paused", "goes on"), ..new(at, Kind::Configuration) })
}

/// The same for the same part of the same record of this store, and of no other: a repository keeps the events of
/// many. After a store was restored from a copy, other things happen under the same numbers, at other times.
fn id(sequence: u64, part: u64, at: jiff::Timestamp, hash: &dyn Fn(&[u8]) -> Lane) -> Uuid {
    let of = format!("tributary/audit/{sequence}/{part}/{}", at.as_microsecond());
    uuid::Builder::from_custom_bytes(hash(of.as_bytes())).into_uuid()
}

fn import(event: Event, received: &Received, context: &Context<'_>) -> Event {
    let provider = context.site.channels.get(&received.channel).map(|channel| channel.provider.clone());
    // Identifiers are searched for with their authority, and without.
    let identifiers = received.search.iter().filter(|key| key.contains('|'));
    let subjects: Vec<Lane> = identifiers.map(|key| (context.hash)(key.as_bytes())).collect();
    Event {
        message: Some(received.id),
        channel: Some(received.channel.clone()),
        party: provider,
        address: Some(received.peer.clone()),
        subjects: hexes(&subjects),
        sha256: Some(received.sha256),
        text: received.kind.clone(),
        what: received.kind.clone(),
        ..event
    }
}

/// RFC 3881 §5.1.4: one is a minor failure (4), an excess of them a serious one (8).
fn turned_away(event: Event, channel: &str, peer: &str, times: u64, addresses: u64) -> Event {
    let (outcome, text) = match times {
        1 => (Outcome::Refused, "credentials refused".to_owned()),
        _ => (
            Outcome::Denied,
            format!("credentials refused {times} times, from {addresses} addresses; this is the last"),
        ),
    };
    Event { outcome, text, channel: Some(channel.to_owned()), address: Some(peer.to_owned()), ..event }
}

/// An event of a delivery that was just made.
fn of_new(event: Event, message: MessageId, id: u64, delivery: &NewDelivery, context: &Context<'_>) -> Event {
    let event = Event { message: Some(message), delivery: Some(id), ..event };
    routed(event, &delivery.destination, &delivery.subjects, &delivery.purposes, context)
}

/// An event of a delivery.
fn of_delivery(event: Event, followed: &Followed, context: &Context<'_>) -> Event {
    let Some(DeliveryRecord { id, message, destination, subjects, purposes, .. }) = &followed.delivery else {
        return event;
    };
    let origin = followed.origin.as_ref();
    let event = Event {
        message: Some(*message),
        delivery: Some(*id),
        channel: origin.map(|Origin { channel, .. }| channel.clone()),
        sha256: origin.map(|origin| origin.sha256),
        what: origin.map(|origin| origin.kind.clone()).unwrap_or_default(),
        custodian: origin.and_then(|origin| context.site.channels.get(&origin.channel)).map(|it| it.provider.clone()),
        ..event
    };
    routed(event, destination, subjects, purposes, context)
}

fn routed(event: Event, name: &str, subjects: &[Lane], purposes: &[String], context: &Context<'_>) -> Event {
    let destination = context.site.destinations.get(name);
    // What stands among them for there being several is nobody.
    let several = (context.hash)(SEVERAL);
    let people: Vec<Lane> = subjects.iter().filter(|subject| **subject != several).copied().collect();
    Event {
        several: people.len() < subjects.len(),
        destination: Some(name.to_owned()),
        party: destination.map(|destination| destination.recipient.clone()),
        address: destination.map(address),
        subjects: hexes(&people),
        purposes: purposes.to_vec(),
        ..event
    }
}

/// What was sent: within one organisation it is no disclosure.
fn sent(event: Event, context: &Context<'_>) -> Event {
    let from = event.channel.as_ref().and_then(|name| context.site.channels.get(name)).map(|channel| &channel.provider);
    let is_within = from.is_some() && from == event.party.as_ref();
    Event { kind: if is_within { Kind::Transfer } else { event.kind }, ..event }
}

/// One that is not sent, or not now: by a decision, or by a person.
fn waiting(event: Event, reason: &str) -> Event {
    let text = reason.to_owned();
    if reason.starts_with(PARKED) || reason.starts_with(DENIED) {
        return Event { kind: Kind::Decision, outcome: Outcome::Denied, consents: weighed(reason), text, ..event };
    }
    Event { text, ..event }
}

/// The Consents that a decision names, each as `ID/VERSION`.
fn weighed(text: &str) -> Vec<String> {
    let listed = text.split("; ").find_map(|part| part.strip_prefix(WEIGHED)).unwrap_or_default();
    listed.split(", ").filter(|consent| !consent.is_empty()).map(str::to_owned).collect()
}

/// Where a destination is reached.
fn address(destination: &DestinationConfig) -> String {
    match &destination.outbound {
        OutboundKind::Fhir(config) => config.url.as_str().to_owned(),
        OutboundKind::Mllp(config) => config.address.to_string(),
        OutboundKind::File(config) => format!("file://{}", config.folder.display()),
    }
}

fn hexes(subjects: &[Lane]) -> Vec<String> {
    subjects.iter().map(hex).collect()
}

/// A keyed hash in hexadecimal.
pub(crate) fn hex(subject: &Lane) -> String {
    subject.iter().map(|byte| format!("{byte:02x}")).collect()
}
