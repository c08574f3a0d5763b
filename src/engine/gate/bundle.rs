//! What leaves as FHIR: as it is, or without what was denied. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use message::consent::by_entry::Notice;
use message::consent::redact;
use message::fhir;
use message::json::Value;

use super::judge::{Case, Judged};
use super::minimum::{List, prune, unlisted};
use super::obligations::carry;
use super::people::parts;
use super::told::tell;
use super::{Answer, proof, suppressed};

/// What only stands in a message because something else refers to it.
const IN_SUPPORT: [&str; 8] = [
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "Location",
    "Device",
    "HealthcareService",
    "Medication",
    "Specimen",
];

/// What of `content` may leave, which was decided to go at least in part.
pub(super) fn rendered(case: &Case<'_>, judged: &Judged, content: &Value) -> Answer {
    let denied = judged.denied();
    let consents = judged.weighed();
    let minimum = judged.obligations.contains("MINEC").then_some(&case.destination.minimum_necessary);
    if let Some(list) = minimum {
        return least(case, judged, content, list);
    }
    if denied.is_empty() {
        let bytes = carry(content, &judged.obligations, &consents).map(|content| Bytes::from(content.to_vec()));
        let proof = proof(case, judged, 0, bytes.as_deref());
        return Answer::Permit { bytes, proof };
    }
    let notice = notice(case.policy.policy.notice, content);
    let redacted = redact(content, &with_support(content, denied), notice);
    let Some(mut rest) = redacted.rest else { return suppressed(judged) };
    if notice == Notice::Label {
        tell(case, &mut rest);
    }
    let rest = carry(&rest, &judged.obligations, &consents).unwrap_or(rest);
    let bytes = Bytes::from(rest.to_vec());
    let proof = proof(case, judged, redacted.removed.len(), Some(&bytes));
    Answer::Permit { bytes: Some(bytes), proof }
}

/// As [`rendered`], of what the destination's list has alone.
fn least(case: &Case<'_>, judged: &Judged, content: &Value, list: &List) -> Answer {
    let denied = judged.denied();
    // What the list leaves out is no secret: nothing is said of it but that it is a part.
    let notice = if denied.is_empty() { Notice::None } else { notice(case.policy.policy.notice, content) };
    let beyond: BTreeSet<usize> = denied.iter().copied().chain(unlisted(content, list)).collect();
    let redacted = redact(content, &with_support(content, beyond), notice);
    let Some(mut rest) = redacted.rest else { return suppressed(judged) };
    prune(&mut rest, list);
    if notice == Notice::Label {
        tell(case, &mut rest);
    }
    let rest = carry(&rest, &judged.obligations, &judged.weighed()).unwrap_or(rest);
    let bytes = Bytes::from(rest.to_vec());
    let removed = denied.intersection(&redacted.removed).count();
    let proof = proof(case, judged, removed, Some(&bytes));
    Answer::Permit { bytes: Some(bytes), proof }
}

/// A server would not take an OperationOutcome among what it is to store: there, labels say it.
fn notice(notice: Notice, content: &Value) -> Notice {
    let stored = matches!(fhir::get_str(content, "type"), Some("transaction" | "batch" | "document" | "message"));
    if notice == Notice::Outcome && stored { Notice::Label } else { notice }
}

/// With what stands in support of the denied alone: a clinic's name can tell as much as its results.
fn with_support(content: &Value, mut denied: BTreeSet<usize>) -> BTreeSet<usize> {
    let parts = parts(content);
    let supports = |at: usize| {
        let kind = parts.get(at).and_then(|part| fhir::get_str(part.resource, "resourceType"));
        kind.is_some_and(|kind| IN_SUPPORT.contains(&kind))
    };
    let named_by: Vec<BTreeSet<usize>> = super::people::referred_by(&parts);
    loop {
        let only_denied = |at: &usize| {
            let by = named_by.get(*at).filter(|by| !by.is_empty());
            supports(*at) && !denied.contains(at) && by.is_some_and(|by| by.is_subset(&denied))
        };
        let more: Vec<usize> = (0..parts.len()).filter(only_denied).collect();
        if more.is_empty() {
            return denied;
        }
        denied.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use message::json::json;

    use super::*;

    #[test]
    fn takes_what_stands_in_support_of_the_denied_alone() {
        let by = |kind: &str, id: &str, performer: &[&str]| {
            let performers: Vec<Value> = performer.iter().map(|name| json!({ "reference": name })).collect();
            json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": { "resourceType": kind, "performer": performers } })
        };
        let bundle = json!({ "resourceType": "Bundle", "entry": [
            by("Observation", "a", &["urn:uuid:secret", "urn:uuid:both"]),
            by("Observation", "b", &["urn:uuid:both"]),
            by("PractitionerRole", "secret", &["urn:uuid:clinic"]),
            by("Practitioner", "both", &[]),
            by("Organization", "clinic", &[]),
            by("Organization", "nobodys", &[]),
        ] });
        assert_eq!(with_support(&bundle, BTreeSet::from([0])), BTreeSet::from([0, 2, 4]));
    }
}
