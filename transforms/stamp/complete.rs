//! Completes Provenance that a conversion made, or that came without saying what it is about. What came with its
//! targets stays as it is.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use message::Sha256;
use message::json::{Map, Value};
use message::provenance::{Reference, Role, source_entity};

use super::bundle::{Bundle, objects, text};
use super::events::activity_of;

/// The types of entries, by what refers to them.
type Kinds<'a> = HashMap<&'a str, &'a str, foldhash::quality::RandomState>;

/// What the conversion of an HL7 v2 message leaves to be said of it.
#[derive(Clone, Copy)]
pub(super) struct Converted<'a> {
    /// The hash of the message's bytes.
    pub(super) hash: &'a Sha256,
    /// MSH-9.2.
    pub(super) trigger: &'a str,
    /// The organisation that sent it.
    pub(super) sender: &'a Reference,
}

/// A Provenance that names no target, as it comes beside what it is about, is about all of it: `targets`. Returns how
/// many say that something happened later, by more than `skew`, than it was recorded.
pub(super) fn complete(
    bundle: &mut Bundle,
    targets: &[Reference],
    converted: Option<Converted<'_>>,
    skew: SignedDuration,
) -> usize {
    let mut ahead = 0;
    let told = bundle.entries.iter_mut().enumerate().filter(|(_, entry)| entry.kind() == "Provenance");
    let told = told.filter_map(|(i, entry)| Some((i, std::mem::take(entry.record_mut()?))));
    let mut told: Vec<(usize, Map)> = told.collect();
    let kinds = if converted.is_some() && !told.is_empty() { kinds(bundle) } else { Kinds::default() };
    for (_, provenance) in &mut told {
        if !provenance.contains_key("target") {
            let references = targets.iter().cloned().map(Reference::into_r4).collect();
            provenance.put("target", Value::Array(references));
        }
        if let Some(converted) = converted {
            converted.complete(provenance, bundle, &kinds);
        }
        let instant = |key| text(provenance, key).and_then(|time| time.parse::<Timestamp>().ok());
        let (occurred, recorded) = (instant("occurredDateTime"), instant("recorded"));
        ahead += usize::from(occurred.zip(recorded).is_some_and(|(o, r)| o.duration_since(r) > skew));
    }
    for (i, provenance) in told {
        if let Some(place) = bundle.entries.get_mut(i).and_then(|entry| entry.record_mut()) {
            *place = provenance;
        }
    }
    ahead
}

fn kinds(bundle: &Bundle) -> Kinds<'_> {
    let mut kinds = Kinds::with_capacity_and_hasher(2 * bundle.entries.len(), Default::default());
    for entry in &bundle.entries {
        let names = [entry.full_url(), entry.url()].into_iter().flatten();
        kinds.extend(names.map(|name| (name, entry.kind())));
    }
    kinds
}

impl Converted<'_> {
    fn complete(&self, provenance: &mut Map, bundle: &Bundle, kinds: &Kinds<'_>) {
        if !provenance.contains_key("entity") {
            provenance.put("entity", vec![source_entity(self.hash.to_ni_uri().into())]);
        }
        if says_event(provenance) {
            self.tell_event(provenance, bundle);
        }
        let Some(Value::Array(agents)) = provenance.get_mut("agent") else { return };
        for agent in agents.iter_mut().filter_map(Value::as_object_mut) {
            let kind =
                agent.get("who").and_then(Value::as_object).and_then(|who| kind_of(who, kinds)).map(str::to_owned);
            let acts = matches!(kind.as_deref(), Some("Practitioner" | "PractitionerRole" | "Device"));
            // EVN-5 has no role in the v2-to-FHIR guide; who is named in its place is the sender.
            let role = if acts { Role::Enterer } else { Role::Author };
            if !agent.contains_key("type") {
                agent.shift_insert(0, "type", role.into_r4());
            }
            if acts && !agent.contains_key("onBehalfOf") {
                agent.put("onBehalfOf", self.sender.clone().into_r4());
            }
        }
    }

    /// The guide says of an event what it is called, and of the message that it is about; what it did, and to which
    /// records, is told by EVN-1.
    fn tell_event(&self, provenance: &mut Map, bundle: &Bundle) {
        let Value::Object(activity) = activity_of(self.trigger).into_r4() else { return };
        let told = activity.get("coding").and_then(Value::as_array).and_then(|codings| codings.first()).cloned();
        let coding = provenance.get_mut("activity").and_then(|activity| activity.get_mut("coding"));
        let coding = match coding {
            Some(Value::Array(codings)) => codings.first_mut().and_then(Value::as_object_mut),
            Some(Value::Object(coding)) => Some(coding),
            _ => None,
        };
        if let (Some(coding), Some(Value::Object(told))) = (coding, told)
            && !coding.contains_key("code")
        {
            for (n, (key, value)) in told.iter().enumerate() {
                coding.shift_insert(n, key.clone(), value.clone());
            }
        }
        let about = bundle.records().filter(|(_, entry, _)| matches!(entry.kind(), "Patient" | "Encounter"));
        let about: Vec<Reference> = about.filter_map(|(_, entry, _)| bundle.reference_to(entry)).collect();
        let Some(Value::Array(targets)) = provenance.get_mut("target") else { return };
        for target in about.into_iter().map(Reference::into_r4) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
}

/// True for what the guide makes of EVN: it says `event - ADT^A01`.
fn says_event(provenance: &Map) -> bool {
    let codings = objects(provenance, "activity").flat_map(|activity| objects(activity, "coding"));
    codings.filter_map(|coding| text(coding, "display")).any(|display| display.starts_with("event - "))
}

/// The type of what a reference means: as it says, or as the entry is that it leads to.
fn kind_of<'a>(reference: &'a Map, kinds: &Kinds<'a>) -> Option<&'a str> {
    text(reference, "type").or_else(|| {
        let to = text(reference, "reference")?;
        kinds.get(to).copied().or_else(|| Some(to.split_once('/')?.0))
    })
}
