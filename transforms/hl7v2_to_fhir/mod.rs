//! `hl7v2-to-fhir`: an HL7 v2 message becomes a FHIR R4 transaction Bundle, by tables.
//!
//! [`maps`] holds the tables, compiled once. A conversion reads the message into segments and
//! fields (`source`), puts the segments into the groups of their structure (`groups`), runs each
//! through its rows into a tree of resources (`run`, `tree`), finds out which of them are the same
//! and how the next message will find them (`identity`), completes what R4 requires (`required`),
//! sets aside what it forbids (`rules`) and writes the Bundle (`bundle`). What no row took is reported (`coverage`).
//! What texts became that come in message after message is kept for the next (`kept`), and changes nothing of it.

mod bundle;
mod coverage;
mod groups;
mod hashed;
mod identity;
mod kept;
mod known;
pub mod maps;
mod options;
mod required;
mod rules;
mod run;
mod source;
mod tree;
mod values;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use message::json::Value;
use message::{Body, Context, Finding, FindingKind, Message, Sha256, Transform, TransformError, hl7v2};

pub use options::{
    Assigners, Attachments, EncounterStatus, IdentifierSystem, NextOfKin, ObservationGroups, Options, RaceAndEthnicity,
    ServiceRequests, ZSegments,
};

use kept::Kept;
use maps::RowPlace;
use maps::plan::MessagePlan;
use maps::{MapError, Maps};
use run::Run;
use source::Source;

/// The transform.
#[derive(Debug)]
pub struct Hl7v2ToFhir {
    maps: Arc<Maps>,
    options: Options,
    version: String,
    /// Of which tables anything is kept.
    apart: Arc<[bool]>,
    /// What is kept from message to message, as often as conversions have run at once: each has one for itself while it
    /// runs.
    #[expect(clippy::vec_box, reason = "conversions have it in a box")]
    kept: Mutex<Vec<Box<Kept>>>,
}

impl Hl7v2ToFhir {
    /// With `maps`, for a channel with `options`.
    #[must_use]
    pub fn new(maps: Arc<Maps>, options: Options) -> Self {
        let said = serde_json::to_string(&options).unwrap_or_default();
        let version = Sha256::of(format!("{}\n{said}", maps.version()).as_bytes()).to_string();
        let apart = kept::apart(&maps.plan);
        Self { maps, options, version, apart, kept: Mutex::new(Vec::new()) }
    }

    /// Converts one message; gives the Bundle and what there is to report of it.
    #[must_use]
    pub fn convert(&self, message: &hl7v2::Message, context: &Context) -> (Value, Vec<Finding>) {
        let mut run = self.run(message, context, None);
        let bundle = bundle::of(&mut run);
        if let Some(kept) = run.tree.kept.take() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
        (bundle, run.findings)
    }

    /// What was kept, for a conversion in `context` by the common delimiters.
    fn kept(&self, message: &hl7v2::Message, context: &Context) -> Option<Box<Kept>> {
        let common = hl7v2::Delimiters { truncation: message.delimiters().truncation, ..hl7v2::Delimiters::default() };
        if message.delimiters() != common {
            return None;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let kept = kept.and_then(|kept| kept.ready(context));
        Some(kept.unwrap_or_else(|| Box::new(Kept::new(Arc::clone(&self.apart), context))))
    }

    /// The rows of segments and data types that a conversion runs: what a test of it covers.
    #[must_use]
    pub fn rows_run(&self, message: &hl7v2::Message, context: &Context) -> HashSet<RowPlace> {
        self.run(message, context, Some(HashSet::new())).used.unwrap_or_default()
    }

    /// Runs all rows over the message, noting which where `used` is given.
    fn run<'a>(
        &'a self,
        message: &'a hl7v2::Message,
        context: &'a Context,
        used: Option<HashSet<RowPlace>>,
    ) -> Run<'a> {
        let source = Source::new(message);
        let (structure, unknown) = self.structure(&source);
        let mut run = Run::new(&self.maps.plan, structure, source, context);
        run.z_segments = self.options.z_segments;
        run.observation_groups = self.options.observation_groups;
        run.tree.kept = if used.is_none() { self.kept(message, context) } else { None };
        run.used = used;
        if unknown {
            let text = "there is no table for the message structure; its segments are read in order".into();
            run.findings.push(Finding { kind: FindingKind::Unexpected, location: "MSH-9".into(), text });
        }
        run.segments();
        coverage::report(&mut run);
        run
    }

    /// The plan by MSH-9: the event's own structure, else what MSH-9.3 says, else any; true for any.
    fn structure(&self, source: &Source<'_>) -> (&MessagePlan, bool) {
        let plan = &self.maps.plan;
        let field = source.segments.first().map_or("", |header| source.field(*header, 9));
        let part = |n| source.repetitions(field).next().map_or("", |slice| source.part(slice, n).text);
        let event = format!("{}^{}", part(1), part(2));
        // Versions 2.1 and 2.2 say the event in EVN-1, and acknowledgments may say no event at all.
        let event = if part(2).is_empty() { format!("{event}{}", event_of(source)) } else { event };
        let named_alone = if part(2).is_empty() { part(1) } else { "" };
        let names = [self.options.structure.as_deref().unwrap_or_default(), &event, part(3), named_alone];
        let found = names.into_iter().find_map(|name| plan.structures.get(name));
        let any = plan.messages.get(plan.any).or(plan.messages.first()).unwrap_or(&plan.empty);
        match found.and_then(|index| plan.messages.get(*index)) {
            Some(found) => (found, false),
            None => (any, true),
        }
    }
}

/// EVN-1.
fn event_of<'a>(source: &Source<'a>) -> &'a str {
    source.segments.iter().find(|segment| segment.name == "EVN").map_or("", |event| source.first_leaf(*event, 1))
}

impl Transform for Hl7v2ToFhir {
    fn name(&self) -> &str {
        "hl7v2-to-fhir"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn apply(&self, mut message: Message, context: &Context) -> Result<Message, TransformError> {
        let Body::Hl7v2(source) = &message.body else {
            return Err(TransformError {
                location: "message".into(),
                reason: "it is no HL7 v2 message; take hl7v2-to-fhir out of this channel".into(),
            });
        };
        let (bundle, findings) = self.convert(source, context);
        message.body = Body::Fhir(bundle);
        message.findings.extend(findings);
        Ok(message)
    }
}

/// The tables with those of `site` over them, as a channel with `options` has them; for [`Hl7v2ToFhir::new`].
///
/// # Errors
///
/// All mistakes of all files, each with its place.
pub fn load(site: Option<&std::path::Path>, options: &Options) -> Result<Arc<Maps>, Vec<MapError>> {
    Maps::load(site, options).map(Arc::new)
}
