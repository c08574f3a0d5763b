//! What a replay would change: a comparison that sends nothing.

use jiff::Timestamp;
use message::MessageId;
use serde::{Deserialize, Serialize};

use super::{ReplayError, ReplayRequest, Replayer};
use crate::engine::settle;
use crate::store::{NewOutput, Outcome, State};

/// What a replay of one message would change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// The message.
    pub message: MessageId,
    /// Destinations that would get it now, and did not before.
    pub added: Vec<String>,
    /// Destinations that got it before, and would not now.
    pub removed: Vec<String>,
    /// Destinations that would be kept waiting, and why: `heart-registry: …`.
    #[serde(default)]
    pub held: Vec<String>,
    /// Why it would fail, be filtered or not be replayed at all, where that is so.
    pub outcome: Option<String>,
    /// A unified diff of what went out before and what would go out now; empty where they are the same.
    pub diff: String,
}

/// What a replay of the first messages of a selection would change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Differences {
    /// One for each message that was compared.
    pub compared: Vec<Difference>,
    /// True if the selection has more messages.
    pub more: bool,
}

/// Where a message would go, and as what.
#[derive(Default)]
struct Would {
    outputs: Vec<NewOutput>,
    to: Vec<String>,
    held: Vec<String>,
    /// Why it would go nowhere.
    outcome: Option<String>,
}

impl Would {
    fn of(outcome: Outcome) -> Self {
        let nowhere = |why| Self { outcome: Some(why), ..Self::default() };
        match outcome {
            Outcome::Queued { outputs, deliveries } => {
                let held =
                    deliveries.iter().filter_map(|it| Some(format!("{}: {}", it.destination, it.held.as_ref()?)));
                let held = held.collect();
                Self { outputs, held, to: deliveries.into_iter().map(|it| it.destination).collect(), outcome: None }
            }
            Outcome::Filtered { reason } => nowhere(format!("filtered: {reason}")),
            Outcome::Failed { step, location, reason } => nowhere(format!("failed in {step} at {location}: {reason}")),
        }
    }
}

impl Replayer {
    /// What a replay would change, for up to `limit` of the messages that `request` selects.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if the store cannot be read. A single message that cannot be is told of in its place.
    pub async fn differences(&self, request: &ReplayRequest, limit: usize) -> Result<Differences, ReplayError> {
        let (mut compared, mut cursor, began) = (Vec::new(), None, (self.clock)());
        loop {
            let page = self.select(request, cursor, began).await?;
            for chosen in page.items {
                if compared.len() >= limit {
                    return Ok(Differences { compared, more: true });
                }
                compared.push(self.told_difference(chosen.id, request.destination.as_deref(), began).await?);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(Differences { compared, more: false }),
            }
        }
    }

    async fn told_difference(
        &self,
        id: MessageId,
        only: Option<&str>,
        now: Timestamp,
    ) -> Result<Difference, ReplayError> {
        match self.difference(id, only, now).await {
            Err(error) if error.is_of_the_message() => {
                let outcome = Some(format!("left out: {error}"));
                let (added, removed, held) = Default::default();
                Ok(Difference { message: id, added, removed, held, outcome, diff: String::new() })
            }
            told => told,
        }
    }

    async fn difference(&self, id: MessageId, only: Option<&str>, now: Timestamp) -> Result<Difference, ReplayError> {
        // As of then, so that the difference is that of the recipes.
        let outcome = match self.as_it_went_out(id).await? {
            Some((processed, _)) => processed.only_to(only).outcome,
            None => self.process_at(id, only, now).await?.outcome,
        };
        let before = self.outputs_before(id).await?.unwrap_or_default();
        let would = Would::of(outcome);
        let known = settle::deliveries_of(&self.store, id).await?.into_iter();
        let to_before: Vec<String> = known.filter(|it| it.state != State::Skipped).map(|it| it.destination).collect();
        let concerned = |name: &&String| only.is_none_or(|only| only == name.as_str());
        let mut removed: Vec<String> =
            to_before.iter().filter(concerned).filter(|name| !would.to.contains(name)).cloned().collect();
        removed.sort();
        removed.dedup();
        Ok(Difference {
            message: id,
            added: would.to.iter().filter(|name| !to_before.contains(name)).cloned().collect(),
            removed,
            held: would.held,
            outcome: would.outcome,
            diff: diff(&rendered(&before), &rendered(&would.outputs)),
        })
    }
}

/// Renderings as text that a person can compare: JSON on many lines, a segment on each.
fn rendered(outputs: &[NewOutput]) -> String {
    let one = |output: &NewOutput| match &output.bytes {
        None => "(the original bytes)\n".to_owned(),
        Some(bytes) => match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(resource) => format!("{resource:#}\n"),
            Err(_) => String::from_utf8_lossy(bytes).replace('\r', "\n"),
        },
    };
    outputs.iter().map(one).collect()
}

fn diff(before: &str, now: &str) -> String {
    if before == now {
        return String::new();
    }
    similar::TextDiff::from_lines(before, now)
        .unified_diff()
        .context_radius(2)
        .header("sent before", "would be sent now")
        .to_string()
}
