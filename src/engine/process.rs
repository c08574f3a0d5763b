//! From an accepted message to its deliveries: read, transform, stamp, route. Pure: no store, no clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use message::condition::{Fact, Facts, Place};
use message::consent::{Confidentiality, Decision, Flags, Request};
use message::json::Value;
use message::provenance::Step;
use message::signature::Signed;
use message::{Body, Context, Finding, Format, Message, Original, Transform, TransformError, consent, fhir, hl7v2};

use super::gate::arrive::{self, Arrived};
use super::gate::{Seen, Written, people};
use super::late::{self, Event};
use super::{beside, patient, signed, valid};
use crate::config::{ChannelConfig, Content, DestinationConfig, LaneKey, Loops, RouteConfig};
use crate::store::{Lane, LaneSet, NewDelivery, NewOutput, Outcome};

/// Makes keyed hashes of patient identifiers.
pub(crate) type Hash = Arc<dyn Fn(&[u8]) -> Lane + Send + Sync>;

/// A channel with its transforms built: what [`process`] needs to know of it.
pub(crate) struct Recipe {
    /// Its file.
    pub(crate) config: ChannelConfig,
    /// Its steps, in order.
    pub(crate) transforms: Vec<Box<dyn Transform>>,
    /// What stamps every FHIR output: provenance, labels, flags.
    pub(crate) stamper: transforms::stamp::Stamper,
    /// What a transform may know, but for the time.
    pub(crate) context: Context,
    /// The destinations that its routes name.
    pub(crate) destinations: Vec<Arc<DestinationConfig>>,
    /// SHA-256 of the configuration in force, for lineage.
    pub(crate) config_hash: String,
    /// Makes lane keys out of patient identifiers.
    pub(crate) hash: Hash,
    /// The FHIR servers of the site's providers: base URL and provider's key.
    pub(crate) homes: Arc<[(String, Arc<str>)]>,
}

/// What came of a message, and how it came about.
pub(crate) struct Processed {
    /// When: the time that everything in it carries.
    pub(crate) at: Timestamp,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// What each transform did.
    pub(crate) steps: Vec<Step>,
    /// What the transforms noticed.
    pub(crate) findings: Vec<Finding>,
    /// Its event, for the order of events.
    pub(crate) event: Option<Event>,
    /// What it says of consents and identities.
    pub(crate) arrived: Arrived,
    /// What was seen of what goes where a policy is asked.
    pub(crate) seen: Option<Seen>,
}

impl Processed {
    /// What could not be processed.
    pub(crate) fn parked(at: Timestamp, outcome: Outcome) -> Self {
        Self {
            at,
            outcome,
            steps: Vec::new(),
            findings: Vec::new(),
            event: None,
            arrived: Arrived::default(),
            seen: None,
        }
    }

    /// What of it goes to one destination; everything where `None`.
    pub(crate) fn only_to(mut self, only: Option<&str>) -> Self {
        if let (Outcome::Queued { deliveries, .. }, Some(only)) = (&mut self.outcome, only) {
            deliveries.retain(|delivery| delivery.destination == only);
            if deliveries.is_empty() {
                self.outcome = Outcome::Filtered { reason: format!("no route takes it to {only}") };
            }
        }
        self
    }

    /// A transform panicked: a defect of ours, and no reason to lose or to block anything.
    pub(crate) fn broken(at: Timestamp) -> Self {
        let reason = "a transform broke off (a defect in Tributary: please report it with the message id)".to_owned();
        let outcome = Outcome::Failed { step: "transform".into(), location: "message".into(), reason };
        Self::parked(at, outcome)
    }
}

/// Why a message could not be processed: the step and the place.
pub(crate) struct Failure {
    pub(crate) step: String,
    pub(crate) error: TransformError,
}

impl Failure {
    fn parked(self, now: Timestamp) -> Processed {
        let Self { step, error: TransformError { location, reason } } = self;
        Processed::parked(now, Outcome::Failed { step, location, reason })
    }
}

/// A message's bytes, read in their format.
pub(crate) struct Read {
    /// What they say.
    pub(crate) body: Body,
    /// What was noticed in reading.
    pub(crate) findings: Vec<Finding>,
}

/// Runs a channel's recipe over one message, read already or not. The same message, recipe and time
/// give the same result. `see` looks at what leaves while it is at hand.
pub(crate) fn process(
    recipe: &Recipe,
    original: &Arc<Original>,
    read: Option<Read>,
    now: Timestamp,
    see: impl FnOnce(Written) -> Option<Seen>,
) -> Processed {
    let mut read = match read.map_or_else(|| self::read(recipe, original), Ok) {
        Ok(read) => read,
        Err(failure) => return failure.parked(now),
    };
    let signed = match signed::check(recipe, original, &read.body, &mut read.findings) {
        Ok(signed) => signed,
        Err(failure) => return failure.parked(now),
    };
    beside::join(original, &mut read.body);
    if let Some(failure) = came_back(recipe, &read.body) {
        return failure.parked(now);
    }
    // What it says of consents counts, whatever becomes of the rest of it.
    let arrived = arrive::arrived(recipe, &read.body, &mut read.findings);
    match attempt(recipe, original, read, signed, now) {
        Ok((outcome, message)) => {
            let event = late::event_of(recipe, &message, &outcome);
            let Message { body, steps, findings, .. } = message;
            let seen = written(recipe, &outcome, body).and_then(see);
            Processed { at: now, outcome, steps, findings, event, arrived, seen }
        }
        Err(failure) => Processed { arrived, ..failure.parked(now) },
    }
}

/// What leaves converted to destinations with a policy.
fn written(recipe: &Recipe, outcome: &Outcome, body: Body) -> Option<Written> {
    let (Outcome::Queued { outputs, deliveries }, Body::Fhir(value)) = (outcome, body) else { return None };
    let (output, bytes) = outputs.iter().enumerate().find_map(|(at, output)| Some((at, output.bytes.as_ref()?)))?;
    let asks = |name: &str| recipe.destinations.iter().any(|d| d.name == *name && d.policy.is_some());
    let leaves = deliveries.iter().filter(|delivery| delivery.output as usize == output && delivery.held.is_none());
    let uses = leaves.filter(|delivery| asks(&delivery.destination)).count();
    (uses > 0).then(|| Written { bytes: bytes.clone(), value, uses })
}

/// A loop: what this engine made of a message of the same provider. What it says was taken when that came.
fn came_back(recipe: &Recipe, body: &Body) -> Option<Failure> {
    let Body::Fhir(resource) = body else { return None };
    let (location, hash) = recipe.stamper.came_back(resource).filter(|_| recipe.config.loops == Loops::Park)?;
    let reason = format!("it came back: this engine made it of message {} of the same provider", hash.to_ni_uri());
    Some(Failure { step: "loop".into(), error: TransformError { location, reason } })
}

fn attempt(
    recipe: &Recipe,
    original: &Arc<Original>,
    read: Read,
    signed: Option<Signed>,
    now: Timestamp,
) -> Result<(Outcome, Message), Failure> {
    let (whose, mut message) = transform(recipe, original, read, signed, now)?;
    let outcome = outcome(recipe, &whose, &mut message);
    Ok((outcome, message))
}

/// Whose a message is.
pub(crate) struct Whose {
    /// What orders its deliveries.
    lanes: LaneSet,
    /// Keyed hashes of its patients' identifiers.
    subjects: LaneSet,
}

/// Whose it is that came, and what the transforms and the stamper make of it.
pub(crate) fn transformed(
    recipe: &Recipe,
    original: &Arc<Original>,
    read_before: Option<Read>,
    now: Timestamp,
) -> Result<(Whose, Message), Failure> {
    let mut read = read_before.map_or_else(|| read(recipe, original), Ok)?;
    let signed = signed::check(recipe, original, &read.body, &mut read.findings)?;
    beside::join(original, &mut read.body);
    transform(recipe, original, read, signed, now)
}

fn transform(
    recipe: &Recipe,
    original: &Arc<Original>,
    Read { body, findings }: Read,
    signed: Option<Signed>,
    now: Timestamp,
) -> Result<(Whose, Message), Failure> {
    let context = Context { now, ..recipe.context.clone() };
    let whose = whose(recipe, &body);
    let mut message = Message::new(Arc::clone(original), body, Flags::default());
    message.findings = findings;
    if signed.is_some() {
        signed::label(recipe, &mut message, now);
    }
    for transform in &recipe.transforms {
        message = step(recipe, transform.as_ref(), message, &context)?;
    }
    let stamped = recipe.stamper.stamp(message, now);
    let message = stamped.map_err(|error| Failure { step: "stamp".into(), error })?;
    Ok((whose, message))
}

/// Reads the original bytes in their format.
fn read(recipe: &Recipe, original: &Original) -> Result<Read, Failure> {
    let failed = |fault: message::Fault| Failure {
        step: "read".into(),
        error: TransformError { location: fault.location.unwrap_or_else(|| "message".into()), reason: fault.text },
    };
    match original.format {
        Format::Hl7v2 => {
            let charset = &recipe.config.charset;
            let (message, findings) = hl7v2::Message::read(original.bytes.clone(), charset).map_err(failed)?;
            Ok(Read { body: Body::Hl7v2(message), findings })
        }
        Format::FhirJson => {
            let resource = fhir::read(&original.bytes, &fhir::Limits::default()).map_err(failed)?;
            Ok(Read { body: Body::Fhir(resource), findings: Vec::new() })
        }
    }
}

/// One transform with its lineage stamp. What changed nothing leaves none.
fn step(
    recipe: &Recipe,
    transform: &dyn Transform,
    mut message: Message,
    context: &Context,
) -> Result<Message, Failure> {
    let failed = |error| Failure { step: transform.name().to_owned(), error };
    message.changed = true;
    let mut message = transform.apply(message, context).map_err(failed)?;
    if !message.changed {
        return Ok(message);
    }
    message.steps.push(Step {
        transform: transform.name().to_owned(),
        version: transform.version().to_owned(),
        config: recipe.config_hash.clone(),
        at: context.now,
    });
    Ok(message)
}

/// What comes of a stamped message: parked by the validator, or on its routes.
pub(crate) fn outcome(recipe: &Recipe, whose: &Whose, message: &mut Message) -> Outcome {
    valid::check(recipe.config.validate, message).unwrap_or_else(|| route(recipe, whose, message))
}

/// Evaluates all conditions, then makes the deliveries of the routes that take the message.
fn route(recipe: &Recipe, whose: &Whose, message: &Message) -> Outcome {
    let facts = RouteFacts { received: message.as_received(), body: &message.body };
    let taken: Vec<&RouteConfig> =
        recipe.config.routes.iter().filter(|route| route.when.as_ref().is_none_or(|when| when.eval(&facts))).collect();
    if taken.is_empty() {
        let reason = match recipe.config.routes.len() {
            0 => "the channel has no route".to_owned(),
            n => format!("none of the channel's {n} routes takes it"),
        };
        return Outcome::Filtered { reason };
    }
    let mut outputs = Outputs::default();
    let mut deliveries = Vec::new();
    for route in taken {
        for name in &route.to {
            let Some(destination) = recipe.destinations.iter().find(|d| d.name == *name) else { continue };
            deliveries.push(NewDelivery {
                destination: name.clone(),
                output: outputs.index_of(route.content, message),
                lanes: whose.lanes.clone(),
                subjects: whose.subjects.clone(),
                purposes: route.purpose.iter().map(|purpose| purpose.code().to_owned()).collect(),
                held: match decide(destination, &route.purpose, &message.flags) {
                    Decision::Permit => None,
                    Decision::Hold { reason } => Some(reason),
                },
            });
        }
    }
    Outcome::Queued { outputs: outputs.made, deliveries }
}

/// Whether `destination` may have what carries `flags`, for `purposes`: asked here for display, and
/// again immediately before every attempt. Where it has a policy, that is asked as well.
pub(crate) fn decide(
    destination: &DestinationConfig,
    purposes: &BTreeSet<consent::Purpose>,
    flags: &Flags,
) -> Decision {
    explain(destination, purposes, flags).decision
}

/// As [`decide`], with what each layer said.
pub(crate) fn explain(
    destination: &DestinationConfig,
    purposes: &BTreeSet<consent::Purpose>,
    flags: &Flags,
) -> consent::Explanation {
    let request = Request {
        recipient: &destination.recipient,
        purposes,
        production: destination.production,
        clearance: destination.clearance,
    };
    if destination.policy.is_none() {
        return consent::explain(&request, flags);
    }
    // How confidential each entry is, and whether a label forbids passing it on, is the policy's to weigh.
    let clear = Flags { confidentiality: Confidentiality::U, refrain: BTreeSet::new(), ..flags.clone() };
    consent::explain(&request, &clear)
}

/// The renderings that a message's routes ask for, each made once.
#[derive(Default)]
struct Outputs {
    made: Vec<NewOutput>,
    converted: Option<u32>,
    original: Option<u32>,
}

impl Outputs {
    fn index_of(&mut self, content: Content, message: &Message) -> u32 {
        // HL7 v2 that no transform touched leaves as it came.
        let untouched = matches!(&message.body, Body::Hl7v2(body) if *body.bytes() == message.original.bytes);
        let as_it_came = content == Content::Original || untouched;
        let slot = if as_it_came { &mut self.original } else { &mut self.converted };
        if let Some(index) = *slot {
            return index;
        }
        let index = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        *slot = Some(index);
        self.made.push(NewOutput {
            format: if as_it_came { message.original.format } else { message.body.format() },
            flags: message.flags.clone(),
            bytes: (!as_it_came).then(|| message.body.to_bytes()),
            transaction: if as_it_came { None } else { entries_of_transaction(&message.body) },
        });
        index
    }
}

/// How many entries a Bundle of type `transaction` has.
fn entries_of_transaction(body: &Body) -> Option<usize> {
    let Body::Fhir(bundle) = body else { return None };
    let is = |name: &str, text: &str| bundle.get(name).and_then(Value::as_str) == Some(text);
    let is_transaction = is("resourceType", "Bundle") && is("type", "transaction");
    is_transaction.then(|| bundle.get("entry").and_then(Value::as_array).map_or(0, Vec::len))
}

/// The lanes of a message, and the patients that it is about. That they are several is said with them: what one of them
/// permits is nothing that another does.
fn whose(recipe: &Recipe, came: &Body) -> Whose {
    let (provider, hash) = (&recipe.context.provider, &recipe.hash);
    let (patients, mut subjects, are_several) = match came {
        Body::Hl7v2(message) => {
            let patients = arrive::lanes(hash, &patient::of_hl7v2(message, provider));
            (patients.clone(), patients, patient::are_several(message, provider))
        }
        Body::Fhir(resource) => {
            let (subjects, are_several) = people::subjects(resource, provider, hash);
            (arrive::lanes(hash, &patient::of_fhir(resource, provider)), subjects, are_several)
        }
    };
    if are_several {
        subjects.push(several(hash));
    }
    Whose { lanes: lanes(recipe, &patients), subjects }
}

/// The lane that stands among the subjects of a message about several patients.
pub(super) fn several(hash: &Hash) -> Lane {
    hash(SEVERAL)
}

/// What that lane is a hash of.
pub(crate) const SEVERAL: &[u8] = b"several patients";

/// The lanes of a message: its patients', by their identifiers in order, or its channel's where it has no patient.
fn lanes(recipe: &Recipe, patients: &[Lane]) -> LaneSet {
    let hash = |text: &str| (recipe.hash)(text.as_bytes());
    let channel = || vec![hash(&format!("channel/{}", recipe.config.name))];
    match recipe.config.lane {
        LaneKey::None => Vec::new(),
        LaneKey::Channel => channel(),
        LaneKey::Patient => {
            let lanes: BTreeSet<Lane> = patients.iter().take(patient::MOST_LANES).copied().collect();
            if lanes.is_empty() { channel() } else { lanes.into_iter().collect() }
        }
    }
}

/// What a route's condition sees: HL7 paths of what came, FHIRPath of what it became.
struct RouteFacts<'a> {
    received: Option<&'a hl7v2::Message>,
    body: &'a Body,
}

impl Facts for RouteFacts<'_> {
    fn any(&self, place: &Place, test: &mut dyn FnMut(Fact<'_>) -> bool) -> bool {
        match (place, self.received, self.body) {
            (Place::Hl7v2(_), Some(message), _) => message.any(place, test),
            (Place::Fhir(_), _, Body::Fhir(resource)) => resource.any(place, test),
            _ => false,
        }
    }
}
