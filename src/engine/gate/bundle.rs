//! What leaves as FHIR: as it is, or without what was denied. Pure.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::tz::TimeZone;
use message::consent::by_entry::{Effect, Notice};
use message::consent::deidentify::{Pseudonyms, Rule, deidentify};
use message::consent::{elements, redact};
use message::json::Value;
use message::{Sha256, fhir};
use uuid::Uuid;

use super::carry::{Load, carry};
use super::judge::{Case, Judged};
use super::minimum::{prune, unlisted};
use super::obligations::{MASKED, NAMELESS, VISIBLE, is_beside_content};
use super::people::parts;
use super::told::tell;
use super::{Answer, cannot, proof, suppressed};
use crate::config::Deidentify;

/// What only stands in a message because something else refers to it.
const IN_SUPPORT: [&str; 10] = [
    "Binary",
    "Media",
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "Location",
    "Device",
    "HealthcareService",
    "Medication",
    "Specimen",
];

/// True where all of a content may leave as it is.
pub(super) fn is_whole(case: &Case<'_>, judged: &Judged) -> bool {
    let permitted = judged.verdicts.iter().all(|verdict| verdict.effect == Effect::Permit);
    permitted
        && !case.stamps()
        && judged.masks.is_empty()
        && judged.obligations.iter().all(|code| is_beside_content(code))
}

/// What leaves as it is.
pub(super) fn whole(case: &Case<'_>, judged: &Judged) -> Answer {
    Answer::Permit { bytes: None, proof: proof(case, judged, 0, None), nameless: false }
}

/// What of `content` may leave, which was decided to go at least in part.
pub(super) fn rendered(case: &Case<'_>, judged: &Judged, content: &Value) -> Answer {
    let denied = judged.denied();
    let policy = &case.policy.policy;
    let owes = |code: &str| judged.obligations.contains(code);
    let minimum = owes("MINEC").then_some(&case.destination.minimum_necessary);
    let how = NAMELESS.iter().find(|code| owes(code)).and(case.destination.deidentify);
    let masks = !judged.masks.is_empty() || MASKED.iter().any(|code| owes(code));
    let changed = !denied.is_empty() || minimum.is_some() || how.is_some() || masks;
    let mut rest = Cow::Borrowed(content);
    let mut removed = 0;
    if changed {
        let stored = notice(policy.notice, content);
        if masks {
            leave_out(case, judged, rest.to_mut(), stored);
        }
        let beyond = minimum.map(|list| unlisted(content, list)).unwrap_or_default();
        // What the list leaves out is no secret: nothing is said of it but that it is a part.
        let notice = if denied.is_empty() || how.is_some() { Notice::None } else { stored };
        let out = with_support(content, denied.iter().copied().chain(beyond).collect());
        let mut redacted = redact(&rest, &out, notice);
        if !policy.partial_documents {
            let hollow: BTreeSet<usize> = hollow(content, redacted.rest.as_ref().unwrap_or(&Value::Null)).collect();
            if !hollow.is_empty() && fhir::get_str(content, "type") == Some("document") {
                return cannot("a section that the document must have would be left empty");
            }
            if !hollow.is_empty() {
                redacted = redact(&rest, &out.union(&hollow).copied().collect(), notice);
            }
        }
        let Some(left) = redacted.rest else { return suppressed(judged) };
        removed = match minimum {
            Some(_) => denied.intersection(&redacted.removed).count(),
            None => redacted.removed.len(),
        };
        rest = Cow::Owned(left);
        minimum.into_iter().for_each(|list| prune(rest.to_mut(), list));
        if notice == Notice::Label {
            tell(case, rest.to_mut());
        }
    }
    if let Some(how) = how {
        match nameless(case, &rest, how) {
            Ok(left) => rest = Cow::Owned(left),
            Err(why) => return cannot(&format!("it cannot be de-identified: {why}")),
        }
    }
    let none = BTreeSet::new();
    let consents = judged.weighed();
    // A Consent's name is one that its patient can be found by.
    let consents = if how.is_some() { &none } else { &consents };
    let visible = visible(judged, content);
    let purposes = if case.stamps() { case.purposes } else { &[] };
    let load = Load { purposes, obligations: &judged.obligations, consents, copies: &judged.copies, visible: &visible };
    let carried = carry(&rest, load);
    let bytes = match carried {
        Some(carried) => Some(Bytes::from(carried.to_vec())),
        None => changed.then(|| Bytes::from(rest.to_vec())),
    };
    let proof = proof(case, judged, removed, bytes.as_deref());
    Answer::Permit { bytes, proof, nameless: how.is_some() }
}

/// The places of documents that had a section which they must have, and have nothing left in it.
fn hollow<'a>(content: &'a Value, rest: &'a Value) -> impl Iterator<Item = usize> + 'a {
    let left: Vec<&Value> = parts(rest).into_iter().map(|part| part.resource).collect();
    let each = parts(content).into_iter().enumerate();
    each.filter(move |(_, part)| {
        let after = left.iter().find(|one| is_same(one, part.resource));
        after.is_some_and(|after| {
            let before = vital(part.resource);
            before
                .iter()
                .any(|(code, entries)| *entries > 0 && vital(after).iter().any(|(own, left)| own == code && *left == 0))
        })
    })
    .map(|(at, _)| at)
}

fn is_same(one: &Value, other: &Value) -> bool {
    let composition = |value: &Value| fhir::get_str(value, "resourceType") == Some("Composition");
    composition(one) && composition(other) && one.get("id") == other.get("id") && one.get("date") == other.get("date")
}

/// The sections of a document that say what nobody should treat somebody without (LOINC: allergies, medicines, problems),
/// each with how much is in it.
fn vital(document: &Value) -> Vec<(&str, usize)> {
    const VITAL: [&str; 3] = ["10160-0", "11450-4", "48765-2"];
    let items = |value: &'_ Value, key: &str| value.get(key).and_then(Value::as_array).map_or(0, Vec::len);
    let sections = document.get("section").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let coded = sections.iter().filter_map(|section| {
        let codes = section.get("code")?.get("coding")?.as_array()?;
        let code = codes.iter().filter_map(|coding| fhir::get_str(coding, "code")).find(|code| VITAL.contains(code))?;
        Some((code, items(section, "entry") + items(section, "section")))
    });
    coded.collect()
}

/// Leaves out what is masked: elements that a label covers, and those that the destination lists.
fn leave_out(case: &Case<'_>, judged: &Judged, rest: &mut Value, notice: Notice) {
    let Some(entries) = rest.get_mut("entry").and_then(Value::as_array_mut) else { return };
    for (at, resource) in
        entries.iter_mut().enumerate().filter_map(|(at, entry)| Some((at, entry.get_mut("resource")?)))
    {
        if let Some(labels) = judged.masks.get(&at) {
            elements::mask(resource, &labels.keys().cloned().collect(), notice);
        }
        let codes = judged.owed.get(&at);
        let asked = |code: &str| codes.is_some_and(|codes| codes.contains(code));
        let listed = fhir::get_str(resource, "resourceType").and_then(|kind| case.destination.mask.get(kind)).cloned();
        let (Some(listed), Some(members)) = (listed, resource.as_object_mut()) else { continue };
        for (code, done) in [("MASK", "MASKED"), ("REDACT", "REDACTED")] {
            if asked(code) {
                elements::leave_out_named(members, &listed, done, notice);
            }
        }
    }
    if !judged.masks.is_empty() {
        elements::hush(rest);
    }
}

/// Whether a resource that leaves is one that is to be marked visibly.
fn visible<'a>(judged: &'a Judged, content: &'a Value) -> impl Fn(&Value) -> bool + 'a {
    let marked: BTreeSet<&str> = parts(content)
        .into_iter()
        .enumerate()
        .filter(|(at, _)| judged.owed.get(at).is_some_and(|codes| VISIBLE.iter().any(|code| codes.contains(*code))))
        .filter_map(|(_, part)| fhir::get_str(part.resource, "id"))
        .collect();
    // What has no id cannot be told from others: it is marked with them.
    move |resource: &Value| fhir::get_str(resource, "id").is_none_or(|id| marked.contains(id))
}

/// What of it tells nobody whom it is about. Names are new for each content, so that the same is sent again at every attempt;
/// a pseudonym is the same for the same person at the same destination. Neither can be found out without the store's key.
fn nameless(case: &Case<'_>, rest: &Value, how: Deidentify) -> Result<Value, &'static str> {
    let of = |parts: &[&[u8]]| Uuid::from_bytes((case.hash)(&parts.join(&b'\n')));
    let destination = case.destination.name.as_bytes();
    let content = Sha256::of(&rest.to_vec());
    let rename = |name: &str| valid(of(&[b"name", destination, &content.0, name.as_bytes()]));
    let pseudonym = |identifier: &str| valid(of(&[b"pseudonym", destination, identifier.as_bytes()]));
    let system = format!("urn:tributary:pseudonym:{}", case.destination.name);
    let year =
        jiff::Timestamp::from_microsecond(case.now).map(|now| now.to_zoned(TimeZone::UTC).year()).unwrap_or_default();
    let lasting: Pseudonyms<'_> = (&system, &pseudonym);
    let pseudonym = (how == Deidentify::Pseudonyms).then_some(lasting);
    deidentify(rest, &Rule { year, rename: &rename, pseudonym })
}

/// A number as a UUID that is one (RFC 9562, version 8).
fn valid(number: Uuid) -> Uuid {
    uuid::Builder::from_custom_bytes(number.into_bytes()).into_uuid()
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
    fn a_document_without_what_it_must_have_is_told() {
        let document = |entries: Value| {
            json!({ "resourceType": "Bundle", "entry": [{ "resource": { "resourceType": "Composition", "section": [
            { "code": { "coding": [{ "code": "48765-2" }] }, "entry": entries }, { "code": { "coding": [{ "code": "8716-3" }] } }
        ] } }] })
        };
        let full = document(json!([{ "reference": "a" }, { "reference": "b" }]));
        assert_eq!(hollow(&full, &document(json!([{ "reference": "a" }]))).count(), 0);
        assert_eq!(hollow(&full, &document(json!([]))).collect::<Vec<_>>(), [0]);
        assert_eq!(hollow(&document(json!([])), &document(json!([]))).count(), 0, "it was empty before");
    }

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
