//! Vectors that need the transforms: labels, and what HL7 v2 becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use message::consent::arrival::{Arrival, Reading, arrivals};
use message::consent::by_entry::{Coded, Directive, Entry, Scope, Sources, Status};
use message::consent::vectors::{Kind, Outcome};
use message::consent::{CONFIDENTIALITY, Flags, high_water_mark};
use message::hl7v2::{self, CharsetOptions};
use message::json::{Map, Value, json};
use message::{Body, Context, Format, Message, MessageId, Original, Provider, Sha256, Transform as _, fhir};
use transforms::hl7v2_to_fhir::{self, Hl7v2ToFhir, Options};
use transforms::label::add_labels;
use transforms::stamp::{StampOptions, Stamper};

use super::folder::Suite;
use crate::engine::ENGINE;

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// Answers a vector about labels or about HL7 v2.
pub(super) fn answer(vector: &Value, suite: &Suite) -> Outcome {
    let got = match Kind::of(vector) {
        Some(Kind::Label) => Ok(labels(vector, suite)),
        Some(Kind::V2) => v2(vector),
        _ => Err("its kind is not known".to_owned()),
    };
    match got {
        Ok(got) => Outcome::of(vector.get("expected").unwrap_or(&Value::Null), got),
        Err(reason) => Outcome::failed(vector, &reason),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `SYSTEM|CODE` of the labels of a resource.
fn labels_of(resource: &Value) -> BTreeSet<String> {
    let labels = resource.get("meta").map(|meta| list(meta, "security")).unwrap_or_default();
    labels.iter().map(|label| format!("{}|{}", text(label, "system"), text(label, "code"))).collect()
}

/// The labels of each resource, and of the Bundle around them.
fn labels(vector: &Value, suite: &Suite) -> Value {
    let context = list(vector, "context_resources");
    let mut resources: Vec<Value> = list(vector, "resources").iter().chain(context).cloned().collect();
    let listed: Vec<(Option<&_>, &Value)> = resources.iter().map(|resource| (None, resource)).collect();
    let sources = Sources { resources: &listed, provenance: list(vector, "provenance"), context: &[] };
    let entries = Entry::read(sources, &suite.folder.directory);
    let labels = suite.rules.labels(&entries, &suite.folder.directory, &BTreeSet::new());
    for (resource, labels) in resources.iter_mut().zip(&labels) {
        if let Some(members) = resource.as_object_mut() {
            add_labels(members, labels, ENGINE);
        }
    }
    resources.truncate(list(vector, "resources").len());
    let mark = high_water_mark(resources.iter());
    let told = resources.iter().map(|resource| {
        (format!("{}/{}", text(resource, "resourceType"), text(resource, "id")), json!(labels_of(resource)))
    });
    let level = mark.iter().find(|label| text(label, "system") == CONFIDENTIALITY).map(|label| text(label, "code"));
    json!({ "labels": told.collect::<Map>(), "bundle_confidentiality": level })
}

/// What an HL7 v2 message becomes, in the words of `expected`.
fn v2(vector: &Value) -> Result<Value, String> {
    let bytes = Bytes::from(vector.get("message").and_then(Value::as_str).ok_or("it has no message")?.to_owned());
    let (read, _) =
        hl7v2::Message::read(bytes.clone(), &CharsetOptions::default()).map_err(|fault| fault.to_string())?;
    let nothing = Value::Null;
    let expected = vector.get("expected").unwrap_or(&nothing);
    let mut got = Map::new();
    if expected.get("consent").is_some() || expected.get("effect").is_some() {
        let consent = consent(&read);
        if let Some(wanted) = expected.get("consent").and_then(Value::as_object) {
            let told =
                wanted.keys().map(|path| (path.clone(), consent.as_ref().map_or(Value::Null, |c| told(c, path))));
            got.insert("consent".to_owned(), Value::Object(told.collect()));
        }
        if expected.get("effect").is_some() {
            got.insert("effect".to_owned(), json!(consent.as_ref().map(effect)));
        }
    }
    if ["labels", "provenance", "observation_performer", "meta"].iter().any(|key| expected.get(*key).is_some()) {
        let bundle = Converted::of(&bytes, read)?;
        bundle.tell(expected, &mut got);
    }
    Ok(Value::Object(got))
}

/// The first Consent that a message says.
fn consent(message: &hl7v2::Message) -> Option<Value> {
    let reading = Reading { zone: &TimeZone::UTC, accept_verbal: false, system: &str::to_owned };
    arrivals(message, &reading).into_iter().find_map(|arrival| match arrival {
        Arrival::Consent(consent) | Arrival::Rescinded(consent) | Arrival::Treatment(consent) => Some(consent),
        Arrival::Bypassed => None,
    })
}

fn effect(consent: &Value) -> &'static str {
    let directive = Directive::read(consent);
    if directive.scope == Scope::Other {
        "ignored"
    } else if directive.status == Status::Inactive {
        "inactive"
    } else if directive.is_readable() {
        "computable"
    } else {
        "uncomputable-consent"
    }
}

/// What stands at a path such as `provision.provision[0].securityLabel`, in one word.
fn told(consent: &Value, path: &str) -> Value {
    if path == "computable" {
        return json!(effect(consent) != "uncomputable-consent");
    }
    let found = fhir::get(consent, path).or_else(|| fhir::get(consent, &format!("{path}[0]")));
    match found {
        None => Value::Null,
        Some(Value::Array(items)) => items.first().map_or(Value::Null, |first| word(first, path)),
        Some(value) => word(value, path),
    }
}

fn word(value: &Value, path: &str) -> Value {
    if let Some(coding) = value.get("coding").and_then(Value::as_array).and_then(|codings| codings.first()) {
        return json!(text(coding, "code"));
    }
    if value.get("value").is_some() {
        return json!(format!("{}|{}", text(value, "system"), text(value, "value")));
    }
    if let Some(coded) = Coded::of(value) {
        return json!(format!("{}|{}", coded.system, coded.code));
    }
    if path.ends_with("eriod") && value.is_object() {
        return json!(format!("{}/{}", text(value, "start"), text(value, "end")));
    }
    value.clone()
}

/// A message as a stamped Bundle.
struct Converted {
    bundle: Value,
    /// `ni:` URI and control id of the message.
    original: (String, String),
}

impl Converted {
    fn of(bytes: &Bytes, read: hl7v2::Message) -> Result<Self, String> {
        let maps = hl7v2_to_fhir::load(None, &Options::default())
            .map_err(|_| "the built-in maps cannot be read".to_owned())?;
        let provider = Provider { key: "sender".into(), name: "Sender".into(), ..Provider::default() };
        let context = Context {
            now: Timestamp::UNIX_EPOCH,
            provider: Arc::new(provider),
            engine: ENGINE.into(),
            base_uri: "urn:tributary".into(),
            time_zone: TimeZone::UTC,
        };
        let header = read.segment("MSH").map(|msh| msh.field(10).value().into_owned()).unwrap_or_default();
        let sha256 = Sha256::of(bytes);
        let original = Original {
            id: MessageId(uuid::Uuid::nil()),
            channel: "vectors".into(),
            received: context.now,
            peer: "".into(),
            format: Format::Hl7v2,
            sha256,
            bytes: bytes.clone(),
            beside: bytes::Bytes::new(),
            control_id: Some(header.as_str().into()),
        };
        let mut message = Message::new(Arc::new(original), Body::Hl7v2(read), Flags::default());
        message = Hl7v2ToFhir::new(maps, Options::default()).apply(message, &context).map_err(|e| e.to_string())?;
        message.steps.push(message::provenance::Step {
            transform: "hl7v2-to-fhir".into(),
            version: String::new(),
            config: String::new(),
            at: context.now,
        });
        let stamper = Stamper::new(&context, Flags::default(), &StampOptions::default()).map_err(|e| e.to_string())?;
        let message = stamper.stamp(message, context.now).map_err(|error| error.to_string())?;
        let Body::Fhir(bundle) = message.body else { return Err("it is no FHIR".to_owned()) };
        Ok(Self { bundle, original: (sha256.to_ni_uri(), header) })
    }

    fn resources(&self) -> impl Iterator<Item = &Value> {
        fhir::resources(&self.bundle)
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.resources().filter(move |resource| text(resource, "resourceType") == kind)
    }

    fn tell(&self, expected: &Value, got: &mut Map) {
        if let Some(wanted) = expected.get("labels").and_then(Value::as_object) {
            let told = wanted.keys().map(|kind| (kind.clone(), self.labels(kind)));
            got.insert("labels".to_owned(), Value::Object(told.collect()));
        }
        if expected.get("observation_performer").is_some() {
            let performers = self.of_kind("Observation").flat_map(|observation| list(observation, "performer"));
            got.insert("observation_performer".to_owned(), performers.map(|p| json!(self.party(p))).collect::<Value>());
        }
        if let Some(wanted) = expected.get("provenance").and_then(Value::as_object) {
            let told = wanted.iter().map(|(kind, wanted)| (kind.clone(), self.provenance(kind, wanted)));
            got.insert("provenance".to_owned(), Value::Object(told.collect()));
        }
        if let Some(wanted) = expected.get("meta") {
            got.insert("meta".to_owned(), self.meta(wanted));
        }
    }

    /// The ActCode and Confidentiality labels that all resources of a type have; null where they differ.
    fn labels(&self, kind: &str) -> Value {
        let handling = |label: &String| label.starts_with(CONFIDENTIALITY) || label.starts_with(ACT_CODE);
        let sets: BTreeSet<Vec<String>> =
            self.of_kind(kind).map(|resource| labels_of(resource).into_iter().filter(handling).collect()).collect();
        if sets.len() == 1 { json!(sets.into_iter().next()) } else { Value::Null }
    }

    /// `Practitioner:T9` for whom a reference names.
    fn party(&self, reference: &Value) -> String {
        let url = text(reference, "reference");
        let entries = list(&self.bundle, "entry").iter();
        let target =
            entries.filter(|entry| text(entry, "fullUrl") == url && !url.is_empty()).find_map(|e| e.get("resource"));
        if let Some(target) = target {
            if let Some(person) = target.get("practitioner").or_else(|| target.get("organization")) {
                return self.party(person);
            }
            let kind = text(target, "resourceType");
            let id = list(target, "identifier").first().map(|identifier| text(identifier, "value")).unwrap_or_default();
            let device = list(target, "deviceName").first().map(|name| text(name, "name"));
            let name = device.unwrap_or(if id.is_empty() { text(target, "name") } else { id });
            let name = if ENGINE.starts_with(name) && kind == "Device" { "engine" } else { name };
            return format!("{kind}:{name}");
        }
        let identifier = reference.get("identifier").unwrap_or(&Value::Null);
        let value = text(identifier, "value");
        let (uri, control_id) = &self.original;
        let name = if value == uri { control_id.as_str() } else { value.rsplit('/').next().unwrap_or_default() };
        format!("{}:{name}", text(reference, "type"))
    }

    /// The Provenance of a kind, with what is expected of it: roles that it does not mention are left out.
    fn provenance(&self, kind: &str, wanted: &Value) -> Value {
        let activity = |provenance: &Value| -> BTreeSet<String> {
            let codings = provenance.get("activity").map(|activity| list(activity, "coding")).unwrap_or_default();
            codings.iter().map(|coding| format!("{}|{}", text(coding, "system"), text(coding, "code"))).collect()
        };
        let has = |provenance: &Value, part: &str| activity(provenance).iter().any(|coding| coding.contains(part));
        let found = self.of_kind("Provenance").find(|provenance| match kind {
            "source" => provenance.get("activity").is_none(),
            "transformation" => has(provenance, "v2-fhir-transformation"),
            _ => has(provenance, "v3-DataOperation"),
        });
        let Some(found) = found else { return Value::Null };
        let mut told = Map::new();
        for (key, wanted) in wanted.as_object().into_iter().flatten() {
            let value = match key.as_str() {
                "agent" => {
                    let roles: BTreeSet<&str> =
                        wanted.as_array().into_iter().flatten().filter_map(|pair| pair.get(0)?.as_str()).collect();
                    let agents = list(found, "agent").iter().map(|agent| {
                        let codings = agent.get("type").map(|role| list(role, "coding")).unwrap_or_default();
                        let role = codings.first().map(|coding| text(coding, "code")).unwrap_or_default();
                        (role, self.party(agent.get("who").unwrap_or(&Value::Null)))
                    });
                    agents.filter(|(role, _)| roles.contains(role)).map(|pair| json!(pair)).collect()
                }
                "entity" => list(found, "entity")
                    .iter()
                    .map(|entity| json!([text(entity, "role"), self.party(entity.get("what").unwrap_or(&Value::Null))]))
                    .collect(),
                "occurred" => json!(text(found, "occurredDateTime")),
                "activity" => {
                    let own = activity(found);
                    let listed = wanted.as_str().filter(|wanted| own.contains(*wanted));
                    listed.map_or_else(|| json!(own), |listed| json!(listed))
                }
                _ => json!(offset(text(found, key))),
            };
            told.insert(key.clone(), value);
        }
        Value::Object(told)
    }

    /// What every clinical resource's `meta` says.
    fn meta(&self, wanted: &Value) -> Value {
        let clinical: Vec<&Value> =
            ["Observation", "DiagnosticReport"].iter().flat_map(|kind| self.of_kind(kind)).collect();
        let metas = || clinical.iter().filter_map(|resource| resource.get("meta"));
        let mut told: BTreeMap<&str, Value> = BTreeMap::new();
        if let Some(part) = wanted.get("source_contains").and_then(Value::as_str) {
            let all = !clinical.is_empty() && metas().all(|meta| text(meta, "source").contains(part));
            told.insert(
                "source_contains",
                if all { json!(part) } else { json!(metas().map(|m| text(m, "source")).collect::<Vec<_>>()) },
            );
        }
        if wanted.get("tag").is_some() {
            let tags: BTreeSet<String> = metas()
                .flat_map(|meta| list(meta, "tag"))
                .map(|tag| format!("{}|{}", text(tag, "system"), text(tag, "code")))
                .collect();
            told.insert("tag", json!(tags));
        }
        json!(told)
    }
}

/// An instant in UTC with its offset written out.
fn offset(instant: &str) -> String {
    instant.strip_suffix('Z').map_or_else(|| instant.to_owned(), |bare| format!("{bare}+00:00"))
}
