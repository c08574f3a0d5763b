//! Tests that a site's analysts write, run without a store: `[[test]]` blocks of channels, and the cases in
//! `tests/CHANNEL/CASE/` of the site's folder.
//!
//! A case has its message, what must come of it, and a name. It goes through the channel's recipe as every message
//! does; [`compare`] finds the differences to what was expected. `tributary test` prints them, and a reload puts no
//! channel into force that has any.

mod case;
mod compare;
mod rows;
mod update;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use message::condition::{Condition, Fact, Facts, Place};
use message::hl7v2::ack::{AcknowledgmentCode, Phase};
use message::hl7v2::{self, Header};
use message::{Answer, Body, Fault, Finding, Format, Message, MessageId, Original, Sha256, fhir};
use serde::Serialize;

pub use self::rows::{RowsRun, rows_run};

use self::case::Case;
use super::process::{self, Failure, Hash, Recipe, transformed};
use super::wire::{self, WireError};
use crate::config::{ChannelConfig, ExpectedState, Site};
use crate::store::Outcome;
use channels::Acknowledge;

/// What came of one test.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The channel.
    pub channel: String,
    /// The test's name, or its folder's.
    pub name: String,
    /// Its message.
    pub message: PathBuf,
    /// What is not as it must be; none if it passed.
    pub problems: Vec<Difference>,
    /// What the transforms noticed.
    pub findings: Vec<Finding>,
    /// The file that was written anew.
    pub updated: Option<PathBuf>,
}

impl Verdict {
    /// True if all is as it must be.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }
}

/// One thing that is not as it must be. Tests are of invented messages: their values are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: `Patient.gender`, `ack`, `to`.
    pub at: String,
    /// What must be there; empty for nothing.
    pub expected: String,
    /// What is there; empty for nothing.
    pub found: String,
}

impl Difference {
    fn new(at: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { at: at.into(), expected: expected.into(), found: found.into() }
    }
}

/// Runs all tests of a channel; with `update`, writes the files of those anew that expect other content.
///
/// # Errors
///
/// [`WireError`] if the channel cannot be built.
pub fn run_tests(site: &Site, config: &ChannelConfig, update: bool) -> Result<Vec<Verdict>, WireError> {
    let cases = case::all(site, config);
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    // No store, no secret: a test's lanes are its own.
    let hash: Hash = Arc::new(|bytes| {
        let mut lane = [0; 16];
        lane.iter_mut().zip(Sha256::of(bytes).0).for_each(|(to, from)| *to = from);
        lane
    });
    let recipe = wire::recipe(site, config, &hash)?;
    Ok(cases.iter().map(|case| run(&recipe, case, update)).collect())
}

/// The first few failures of a channel's tests, for a log and an operator; `None` if all passed.
pub(super) fn failures(verdicts: &[Verdict]) -> Option<String> {
    const SHOWN: usize = 3;
    let failed: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.passed()).collect();
    let names: Vec<String> = failed.iter().take(SHOWN).map(|verdict| format!("`{}`", verdict.name)).collect();
    let more = if failed.len() > SHOWN { ", …" } else { "" };
    let count = format!("{} of its {} tests", failed.len(), verdicts.len());
    (!failed.is_empty()).then(|| format!("{count} fail: {}{more}; see `tributary test`", names.join(", ")))
}

/// What came of a case's message.
struct Made {
    ack: Option<AcknowledgmentCode>,
    /// The message after its transforms, if they could be done.
    message: Option<Message>,
    outcome: Option<Outcome>,
    /// Why it was refused at the door.
    refused: Option<Fault>,
}

fn run(recipe: &Recipe, case: &Case, update: bool) -> Verdict {
    let mut verdict = Verdict {
        channel: recipe.config.name.clone(),
        name: case.name.clone(),
        message: case.message.clone(),
        problems: case.problems.clone(),
        findings: Vec::new(),
        updated: None,
    };
    let bytes = match std::fs::read(&case.message) {
        Ok(bytes) => Bytes::from(as_sent(bytes, case.format)),
        Err(error) => {
            verdict.problems.push(Difference::new("message", "a file that can be read", error.to_string()));
            return verdict;
        }
    };
    let mut made = make(recipe, case, bytes);
    if let Some(message) = &mut made.message {
        verdict.findings = std::mem::take(&mut message.findings);
    }
    if update
        && let Some(file) = &case.json
        && let Some(Body::Fhir(bundle)) = made.message.as_ref().map(|message| &message.body)
    {
        match update::write(file, &bundle.clone().into()) {
            Ok(written) => verdict.updated = written.then(|| file.clone()),
            Err(error) => verdict.problems.push(Difference::new(file.display().to_string(), "", error)),
        }
    }
    verdict.problems.extend(check(case, &made));
    verdict
}

/// The lines of an HL7 v2 file that an editor has written end as HL7 wants it.
fn as_sent(bytes: Vec<u8>, format: Format) -> Vec<u8> {
    if format != Format::Hl7v2 || !bytes.contains(&b'\n') {
        return bytes;
    }
    let mut out = Vec::with_capacity(bytes.len());
    for (i, b) in bytes.iter().enumerate() {
        match b {
            b'\n' if i > 0 && bytes.get(i - 1) == Some(&b'\r') => {}
            b'\n' => out.push(b'\r'),
            b => out.push(*b),
        }
    }
    out
}

/// The message through the channel, as a sender would have it.
fn make(recipe: &Recipe, case: &Case, bytes: Bytes) -> Made {
    let id = MessageId(uuid::Uuid::nil());
    let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 20_000);
    let header = (case.format == Format::Hl7v2).then(|| Header::read(&bytes));
    let ack = |answer: &Answer| header.as_ref().map(|header| AcknowledgmentCode::of(answer, Phase::first(header)));
    if let Err(fault) = at_the_door(recipe, case.format, &bytes, header.as_ref()) {
        let answer =
            if fault.is_unsupported() { Answer::Unsupported(fault.clone()) } else { Answer::Invalid(fault.clone()) };
        return Made { ack: ack(&answer), message: None, outcome: None, refused: Some(fault) };
    }
    let original = Arc::new(Original {
        id,
        channel: recipe.config.name.as_str().into(),
        received: now,
        peer: "test".into(),
        format: case.format,
        sha256: Sha256::of(&bytes),
        bytes,
        beside: bytes::Bytes::new(),
        control_id: header.as_ref().map(|header| header.control_id().as_ref().into()),
    });
    let (message, outcome) = match transformed(recipe, &original, None, now) {
        Ok((whose, mut message)) => {
            let outcome = process::outcome(recipe, &whose, &mut message);
            (Some(message), outcome)
        }
        Err(Failure { step, error }) => {
            (None, Outcome::Failed { step, location: error.location, reason: error.reason })
        }
    };
    let answer = match &outcome {
        _ if recipe.config.acknowledge == Acknowledge::Stored => Answer::Stored(id),
        Outcome::Failed { location, reason, .. } => Answer::Invalid(Fault::new(207, location.clone(), reason.clone())),
        Outcome::Queued { .. } | Outcome::Filtered { .. } => Answer::Done(id, None),
    };
    Made { ack: ack(&answer), message, outcome: Some(outcome), refused: None }
}

/// What is asked of a message before it is stored.
fn at_the_door(recipe: &Recipe, format: Format, bytes: &Bytes, header: Option<&Header>) -> Result<(), Fault> {
    header.map_or(Ok(()), hl7v2::check)?;
    match format {
        Format::Hl7v2 => hl7v2::Message::read(bytes.clone(), &recipe.config.charset).map(|_| ()),
        Format::FhirJson => fhir::read(bytes, &fhir::Limits::default()).map(|_| ()),
    }
}

fn check(case: &Case, made: &Made) -> Vec<Difference> {
    let mut found = Vec::new();
    let ack = made.ack.as_ref().map(ToString::to_string).unwrap_or_default();
    if let Some(expected) = case.ack.as_ref().filter(|expected| **expected != ack) {
        let why = made.refused.as_ref().map(|fault| format!(" ({fault})")).unwrap_or_default();
        found.push(Difference::new("ack", expected, format!("{ack}{why}")));
    }
    if let Some(fault) = made.refused.as_ref().filter(|_| case.ack.is_none()) {
        found.push(Difference::new("ack", "accepted", format!("{ack} ({fault})")));
    }
    check_state(case, made, &mut found);
    let Some(message) = &made.message else {
        if !(case.fhirpath.is_empty() && case.json.is_none()) && found.is_empty() {
            found.push(Difference::new("content", "something to look at", "nothing was made"));
        }
        return found;
    };
    for condition in case.fhirpath.iter().filter(|condition| !condition.eval(message)) {
        found.push(Difference::new("", condition.text(), values_of(condition, message)));
    }
    if let Some(file) = &case.json {
        match (update::read(file), &message.body) {
            (Ok(expected), Body::Fhir(bundle)) => found.extend(compare::differences(&expected, &bundle.clone().into())),
            (Ok(_), Body::Hl7v2(_)) => {
                found.push(Difference::new("content", "FHIR", "HL7 v2: no transform converts it"))
            }
            (Err(error), _) => found.push(Difference::new(file.display().to_string(), "", error)),
        }
    }
    found
}

fn check_state(case: &Case, made: &Made, found: &mut Vec<Difference>) {
    let (state, why, destinations) = match &made.outcome {
        None => return,
        Some(Outcome::Queued { deliveries, .. }) => {
            let to: Vec<&str> = deliveries.iter().map(|delivery| delivery.destination.as_str()).collect();
            (ExpectedState::Queued, String::new(), to)
        }
        Some(Outcome::Filtered { reason }) => (ExpectedState::Filtered, format!("filtered: {reason}"), Vec::new()),
        Some(Outcome::Failed { step, location, reason }) => {
            (ExpectedState::Failed, format!("failed in {step} at {location}: {reason}"), Vec::new())
        }
    };
    let said = if why.is_empty() { "queued".to_owned() } else { why };
    let wrong = match case.state {
        Some(expected) => expected != state,
        None => state == ExpectedState::Failed,
    };
    if wrong {
        let expected = match case.state {
            Some(ExpectedState::Queued) => "queued",
            Some(ExpectedState::Filtered) => "filtered",
            Some(ExpectedState::Failed) => "failed",
            None => "not failed",
        };
        found.push(Difference::new("state", expected, said));
    }
    for to in case.to.iter().filter(|to| !destinations.contains(&to.as_str())) {
        found.push(Difference::new("to", to, destinations.join(", ")));
    }
}

/// What stands at the places that a condition looks at.
fn values_of(condition: &Condition, message: &Message) -> String {
    let mut said = Vec::new();
    for place in condition.expression().places() {
        let mut values = Vec::new();
        message.any(place, &mut |fact| {
            values.push(match fact {
                Fact::Text(text) => text.to_owned(),
                Fact::Null => "\"\"".to_owned(),
                Fact::Group => "(an element)".to_owned(),
            });
            false
        });
        let values = if values.is_empty() { "nothing".to_owned() } else { values.join(", ") };
        said.push(format!("{} is {values}", name_of(place)));
    }
    said.join("; ")
}

/// A place, near enough to how it is written.
fn name_of(place: &Place) -> String {
    use message::condition::Step;
    let mut out = String::new();
    match place {
        Place::Hl7v2(path) => return path.to_string(),
        Place::Component(path) => return path.data_type.clone(),
        Place::Fhir(path) => {
            out.push_str(path.resource_type.as_deref().unwrap_or("$this"));
            for step in &path.steps {
                match step {
                    Step::Child(name) => out.push_str(&format!(".{name}")),
                    Step::Index(n) => out.push_str(&format!("[{n}]")),
                    Step::Last => out.push_str(".last()"),
                    Step::OfType(name) => out.push_str(&format!(".ofType({name})")),
                    Step::Resolve => out.push_str(".resolve()"),
                    Step::Where(_) => out.push_str(".where(…)"),
                    Step::All(_) => out.push_str(".all(…)"),
                    Step::Not => out.push_str(".not()"),
                    Step::Exists => out.push_str(".exists()"),
                    Step::Empty => out.push_str(".empty()"),
                    Step::Count => out.push_str(".count()"),
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
