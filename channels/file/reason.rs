//! Why a file was rejected, for the person who finds it: `NAME.reason.json`.

use jiff::Timestamp;
use message::{Fault, MessageId, Sha256};
use serde::Serialize;

/// What became of one message of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was taken.
    Stored(MessageId),
    /// It had been taken before.
    Duplicate(MessageId),
    /// It was refused; `kept` if it is nevertheless stored, for an operator to look at.
    Refused { fault: Fault, kept: Option<MessageId> },
}

impl Outcome {
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// The whole account. It carries ids and places, no value of any message.
#[derive(Serialize)]
pub(super) struct Reason<'a> {
    pub(super) summary: String,
    pub(super) file: &'a str,
    pub(super) channel: &'a str,
    pub(super) rejected: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) faults: Vec<Refusal<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) messages: Vec<Line<'a>>,
}

/// One message's line in the account.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// Its place in the file, from 1.
    index: usize,
    outcome: &'static str,
    /// Its id in the engine, where it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageId>,
    #[serde(flatten)]
    refusal: Option<Refusal<'a>>,
}

#[derive(Serialize)]
pub(super) struct Refusal<'a> {
    /// HL7 table 0357.
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
    text: &'a str,
}

impl<'a> Reason<'a> {
    /// A file that was refused as a whole: no message of it was offered.
    pub(super) fn of_file(file: &'a str, channel: &'a str, now: Timestamp, faults: &'a [Fault]) -> Self {
        let first = faults.first().map_or("it holds no message", |fault| &fault.text);
        let summary = format!("the file was refused, and no message of it was taken: {first}");
        let faults = faults.iter().map(Refusal::from).collect();
        Self { summary, file, channel, rejected: now, sha256: None, faults, messages: Vec::new() }
    }

    /// A file of whose messages at least one was refused.
    pub(super) fn of_messages(
        file: &'a str,
        channel: &'a str,
        now: Timestamp,
        sha256: Sha256,
        outcomes: &'a [Outcome],
    ) -> Self {
        let refused = outcomes.iter().filter(|outcome| outcome.is_refused()).count();
        let summary = match (refused, outcomes.len()) {
            (_, 1) => "its message was refused".to_owned(),
            (refused, all) if refused == all => format!("all {all} messages were refused"),
            (refused, all) => format!(
                "{refused} of {all} messages refused; the others are taken: correct the refused ones and drop the file again"
            ),
        };
        let messages = outcomes.iter().zip(1..).map(|(outcome, index)| Line::new(index, outcome)).collect();
        Self { summary, file, channel, rejected: now, sha256: Some(sha256.to_string()), faults: Vec::new(), messages }
    }

    /// As JSON, indented: for eyes as well as for scripts.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Strings and numbers alone: this cannot fail.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_else(|_| self.summary.clone().into_bytes());
        json.push(b'\n');
        json
    }
}

impl<'a> Line<'a> {
    fn new(index: usize, outcome: &'a Outcome) -> Self {
        let (outcome, message, refusal) = match outcome {
            Outcome::Stored(id) => ("stored", Some(*id), None),
            Outcome::Duplicate(id) => ("stored before", Some(*id), None),
            Outcome::Refused { fault, kept } => ("refused", *kept, Some(fault.into())),
        };
        Self { index, outcome, message, refusal }
    }
}

impl<'a> From<&'a Fault> for Refusal<'a> {
    fn from(fault: &'a Fault) -> Self {
        Self { code: fault.code, location: fault.location.as_deref(), text: &fault.text }
    }
}
