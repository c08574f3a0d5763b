//! What the answer to a transaction or batch says of each entry.
//!
//! The rule for a batch: entries that were taken are never sent again. If some were not, the rest are
//! all of those, in their order. While one among them may pass, the rest are tried again, whole, and
//! what is refused for good is refused again at no harm; once all are refused for good, they are
//! kept as the dead letter. So no entry is lost, and none taken twice.

use std::borrow::Cow;

use reqwest::StatusCode;
use serde::{Deserialize, Deserializer};

use super::answer::{Answer, status_line};
use super::bundle;
use super::operation_outcome::Issues;
use super::request::{Expects, Request};
use super::verdict::{broken_promise, is_blank, may_pass};
use crate::{DeliveryError, Receipt};

/// A transaction-response or batch-response (FHIR R4 §3.1.0.11.5), or an OperationOutcome.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, rename = "resourceType")]
    resource_type: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    response: EntryResponse,
}

#[derive(Default, Deserialize)]
struct EntryResponse {
    #[serde(default)]
    status: Status,
    #[serde(default)]
    outcome: Option<Issues>,
}

/// `Bundle.entry.response.status`: a status code, and maybe a reason phrase behind it.
#[derive(Clone, Copy, Default)]
struct Status(Option<StatusCode>);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Status;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a status like \"201 Created\"")
            }

            fn visit_str<E>(self, text: &str) -> Result<Status, E> {
                let code = text.split(' ').next().unwrap_or_default();
                Ok(Status(StatusCode::from_bytes(code.as_bytes()).ok()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// What became of one entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    /// Not taken, but may be later; or it is not said.
    MayPass,
    Refused,
}

impl Entry {
    fn fate(&self) -> Fate {
        match self.response.status.0 {
            None => Fate::MayPass,
            Some(status) if status.is_success() || status == StatusCode::NOT_MODIFIED => Fate::Taken,
            Some(status) if may_pass(status, self.response.outcome.as_ref()) => Fate::MayPass,
            Some(_) => Fate::Refused,
        }
    }

    /// `entry[3] 422 invalid`
    fn print(&self, index: usize) -> String {
        let status =
            self.response.status.0.map_or_else(|| "no status".to_owned(), |status| status.as_u16().to_string());
        let codes = self.response.outcome.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("entry[{index}] {status} {codes}").trim_end().to_owned()
    }
}

/// What became of `request`, which has `count` entries.
pub(super) fn judge(request: &Request, count: usize, answer: Answer) -> Result<Receipt, DeliveryError> {
    if is_blank(&answer.body) {
        return Err(broken_promise(answer, "it has no body, where the outcome of each entry should be"));
    }
    let Ok(response) = serde_json::from_slice::<Response<'_>>(&answer.body) else {
        let what = format!("it is {}, where the outcome of each entry should be", answer.media);
        return Err(broken_promise(answer, &what));
    };
    if response.resource_type == "OperationOutcome" {
        return outcome_instead(answer);
    }
    let kinds = ["transaction-response", "batch-response"];
    if response.resource_type != "Bundle" || !response.kind.as_deref().is_some_and(|kind| kinds.contains(&kind)) {
        return Err(broken_promise(answer, "it is another resource than the outcome of each entry"));
    }
    if response.entry.len() != count {
        let what = format!("it has {} outcomes for {count} entries", response.entry.len());
        return Err(broken_promise(answer, &what));
    }
    let fates: Vec<Fate> = response.entry.iter().map(Entry::fate).collect();
    let summary = summary(answer.status, &response.entry, &fates);
    conclude(request, &fates, answer.receipt(summary))
}

fn conclude(request: &Request, fates: &[Fate], receipt: Receipt) -> Result<Receipt, DeliveryError> {
    if fates.iter().all(|fate| *fate == Fate::Taken) {
        return Ok(receipt);
    }
    let refused = !fates.contains(&Fate::MayPass);
    let some_taken = fates.contains(&Fate::Taken);
    let rest = match request.expects {
        Expects::Batch(_) if some_taken => {
            bundle::with_entries(&request.body, |index| fates.get(index) != Some(&Fate::Taken))
        }
        _ => None,
    };
    Err(match rest {
        Some(rest) => DeliveryError::Partly { receipt, rest, refused },
        None if refused => DeliveryError::Refused(receipt),
        None => DeliveryError::Erred(receipt),
    })
}

/// Good news about the whole is how another engine says that it has it and will see to it.
fn outcome_instead(answer: Answer) -> Result<Receipt, DeliveryError> {
    let issues = Issues::read(&answer.body).unwrap_or_default();
    if issues.is_good_news() {
        let summary = format!("{}: {issues}", answer.status_line());
        return Ok(answer.receipt(summary));
    }
    Err(broken_promise(answer, &format!("it is an OperationOutcome ({issues}), not the outcome of each entry")))
}

/// `200 OK, 12 entries`, or `200 OK, 10 of 12 entries taken; entry[3] 422 invalid; entry[7] 503`.
fn summary(status: StatusCode, entries: &[Entry], fates: &[Fate]) -> String {
    /// Failed entries that are told of one by one.
    const TOLD: usize = 5;
    let status = status_line(status);
    let failed = entries.iter().zip(fates).enumerate().filter(|(_, (_, fate))| **fate != Fate::Taken);
    let told: Vec<String> = failed.clone().take(TOLD).map(|(index, (entry, _))| entry.print(index)).collect();
    let (count, failed) = (entries.len(), failed.count());
    match failed {
        0 if count == 1 => format!("{status}, 1 entry"),
        0 => format!("{status}, {count} entries"),
        _ if failed > TOLD => format!("{status}, {} of {count} entries taken; {}; …", count - failed, told.join("; ")),
        _ => format!("{status}, {} of {count} entries taken; {}", count - failed, told.join("; ")),
    }
}
