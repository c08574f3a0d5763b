//! The analyst's work list: what of stored messages reached no output, and which codes had no translation.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use message::hl7v2::{self, CharsetOptions};
use message::{Finding, FindingKind, Format, MessageId};
use serde::{Deserialize, Serialize};

use super::operation::OperationError;
use crate::store::{MessageQuery, Record, Store};

/// Messages that are asked for at once.
const PAGE: usize = 256;

/// What the messages that were looked at lack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// How many messages were looked at.
    pub messages: u64,
    /// True if there are more than were to be looked at.
    pub more: bool,
    /// How many values of HL7 v2 they have.
    pub values: u64,
    /// How many of them reached no output, or only without a translation.
    pub lacking: u64,
    /// What is to be done, the most frequent first.
    pub items: Vec<CoverageItem>,
}

impl Coverage {
    /// How many of a hundred values reached an output whole; 100 where there is none.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.values == 0 {
            return 100.0;
        }
        100.0 * (self.values.saturating_sub(self.lacking)) as f64 / self.values as f64
    }
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageItem {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Where, whichever the segment and the repetition: `PID-10.1`.
    pub location: String,
    /// What, for a person.
    pub text: String,
    /// How often.
    pub count: u64,
    /// In how many messages.
    pub messages: u64,
    /// One of them.
    pub example: MessageId,
}

/// What of the messages that `query` selects, at most `limit` of them, is lacking.
///
/// # Errors
///
/// [`OperationError`] if the store cannot be read. A message whose records are damaged is passed over.
pub(super) async fn of_messages(
    store: &Store,
    mut query: MessageQuery,
    limit: usize,
) -> Result<Coverage, OperationError> {
    let mut counted = Counted::default();
    query.newest_first = true;
    query.limit = PAGE;
    loop {
        let page = store.messages(&query).await.map_err(OperationError::failed)?;
        for message in page.items {
            if counted.coverage.messages as usize >= limit {
                counted.coverage.more = true;
                return Ok(counted.finish());
            }
            let id = message.received.id;
            let Ok(history) = store.history(id).await else { continue };
            let last = history.into_iter().rev().find_map(|entry| match entry.record {
                Record::Processed { findings, .. } => Some(findings),
                _ => None,
            });
            let Some(findings) = last else { continue };
            let bytes = match message.received.format {
                Format::Hl7v2 => store.payload(id).await.unwrap_or_default(),
                Format::FhirJson => Bytes::new(),
            };
            counted.add(id, &findings, values_in(bytes));
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(counted.finish());
        }
    }
}

#[derive(Default)]
struct Counted {
    coverage: Coverage,
    items: BTreeMap<(&'static str, String, String), CoverageItem>,
}

impl Counted {
    fn add(&mut self, id: MessageId, findings: &[Finding], values: u64) {
        self.coverage.messages += 1;
        self.coverage.values += values;
        let mut seen = HashSet::new();
        for finding in findings {
            if matches!(finding.kind, FindingKind::Unmapped | FindingKind::Untranslated) {
                self.coverage.lacking += 1;
            }
            let key = (finding.kind.as_str(), anywhere(&finding.location), finding.text.to_string());
            let first = seen.insert(key.clone());
            let location = key.1.clone();
            let item = self.items.entry(key).or_insert_with(|| CoverageItem {
                kind: finding.kind,
                location,
                text: finding.text.to_string(),
                count: 0,
                messages: 0,
                example: id,
            });
            item.count += 1;
            item.messages += u64::from(first);
        }
    }

    fn finish(self) -> Coverage {
        let mut items: Vec<CoverageItem> = self.items.into_values().collect();
        items.sort_by(|a, b| (b.messages, b.count, &a.location).cmp(&(a.messages, a.count, &b.location)));
        Coverage { items, ..self.coverage }
    }
}

/// `OBX-5.2` for `OBX[7]-5[1].2`.
fn anywhere(location: &str) -> String {
    let mut out = String::with_capacity(location.len());
    let mut depth = 0_u32;
    for c in location.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// How many values an HL7 v2 message has, MSH-1 and MSH-2 not counted.
fn values_in(bytes: Bytes) -> u64 {
    let Ok((message, _)) = hl7v2::Message::read(bytes, &CharsetOptions::default()) else { return 0 };
    let mut count = 0;
    for segment in message.segments() {
        for (_, field) in segment.fields().filter(|(number, _)| segment.name() != "MSH" || *number > 2) {
            for component in field.repetitions().flat_map(|repetition| repetition.components().collect::<Vec<_>>()) {
                count += component.subcomponents().filter(|sub| sub.is_valued()).count() as u64;
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: FindingKind, location: &str) -> Finding {
        Finding { kind, location: location.into(), text: "no row of the tables takes the value".into() }
    }

    #[test]
    fn a_place_is_the_same_in_every_segment_and_repetition() {
        assert_eq!(anywhere("OBX[7]-5[2].2"), "OBX-5.2");
        assert_eq!(anywhere("PID-10"), "PID-10");
        assert_eq!(anywhere("entry[3].resource.code"), "entry.resource.code");
    }

    #[test]
    fn counts_by_place_and_gives_an_example() {
        let (one, two) = (MessageId(uuid::Uuid::from_u128(1)), MessageId(uuid::Uuid::from_u128(2)));
        let mut counted = Counted::default();
        let twice = [finding(FindingKind::Unmapped, "OBX-5.2"), finding(FindingKind::Unmapped, "OBX[2]-5.2")];
        counted.add(one, &twice, 10);
        counted.add(two, &[finding(FindingKind::Unmapped, "OBX-5.2"), finding(FindingKind::Untranslated, "PID-8")], 10);
        let coverage = counted.finish();
        let items: Vec<_> =
            coverage.items.iter().map(|i| (i.location.as_str(), i.count, i.messages, i.example)).collect();
        assert_eq!(items, [("OBX-5.2", 3, 2, one), ("PID-8", 1, 1, two)]);
        assert_eq!((coverage.values, coverage.lacking, coverage.percent()), (20, 4, 80.0));
    }

    #[test]
    fn counts_the_values_of_a_message() {
        let text = "MSH|^~\\&|A||||||ADT^A01|1|P|2.5\rPID|1||4711^^^X&Y~\"\"||Doe^Ann\r";
        assert_eq!(values_in(Bytes::from_static(text.as_bytes())), 6 + 1 + 3 + 2);
        assert_eq!(values_in(Bytes::from_static(b"no message")), 0);
    }
}
