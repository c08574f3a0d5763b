//! Declared emergencies: who opened whose record to whom, why, and until when.

use jiff::Timestamp;
use message::consent::by_entry::{Emergency, OVERRIDE_REASONS};
use serde::{Deserialize, Serialize};

use crate::store::Lane;

/// Under which names the store remembers them.
pub(crate) const PREFIX: &str = "break-glass/";

/// A named person opens one patient's record to one destination, for a time (break-glass).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// Its number.
    pub id: uuid::Uuid,
    /// Whose record: keyed hashes of identifiers.
    pub subjects: Vec<Lane>,
    /// To which destination.
    pub destination: String,
    /// Who declares it.
    pub by: String,
    /// Why: an ActReason code of overrides, such as `OVRER`.
    pub reason: String,
    /// From when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who ended it, once it is over and that is written down; empty where it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
}

impl Declaration {
    /// What is wrong with it, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.by.trim().is_empty() {
            return Some("a person must be named who declares it".to_owned());
        }
        if !OVERRIDE_REASONS.contains(&self.reason.as_str()) {
            return Some(format!("the reason must be one of {}", OVERRIDE_REASONS.join(", ")));
        }
        (self.until <= self.at).then(|| "it is over before it begins".to_owned())
    }

    /// Whether it opens data of a patient with `subjects` to `destination` at `now`.
    pub(super) fn opens(&self, subjects: &[Lane], destination: &str, now: Timestamp) -> bool {
        let about = || self.subjects.iter().any(|subject| subjects.contains(subject));
        self.destination == destination && self.at <= now && now < self.until && about()
    }

    /// It, as a decision asks for it.
    pub(super) fn emergency(&self) -> Emergency {
        Emergency {
            reason: Some(self.reason.as_str().into()),
            by_person: true,
            at: Some(self.at.as_microsecond()),
            until: Some(self.until.as_microsecond()),
            obscure: false,
        }
    }
}
