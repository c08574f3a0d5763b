//! What a recipient must do with what it gets, and what of that a route can see to.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channels::fhir;
use message::Sha256;
use message::fhir::{NAMESPACE, deterministic_id};
use message::json::{Value, json};

use crate::config::{DestinationConfig, OutboundKind};

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
/// What 42 CFR 2.32(a)(2) asks to be sent along.
const PART_2_STATEMENT: &str = "42 CFR part 2 prohibits unauthorized use or disclosure of these records.";
/// Labels of obligations and refrains that travel on what leaves, and ask nothing else of the engine.
const LABELS: [&str; 2] = ["NORDSCLCD", "PERSISTLABEL"];
/// What a recipient must do by an agreement with it: the label says it on everything that leaves.
const AGREED: [&str; 4] = ["DELAU", "NOINTEGRATE", "NORELINK", "NOREUSE"];
/// What a recipient may have by an agreement with it alone.
const LISTED: [&str; 4] = ["NOLIST", "NOMOU", "NOORGPOL", "NORDSCLW"];
/// What every disclosure has: its record in the log.
const RECORDED: [&str; 3] = ["AUDIT", "AUDTR", "AOD"];
const ENCRYPTED: [&str; 2] = ["ENCRYPT", "ENCRYPTT"];

/// Whether an obligation can be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Met {
    /// It can.
    Yes,
    /// Not as the route is now, but once its connection is secured.
    Later,
    /// It cannot.
    No,
}

/// What a route can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities<'a> {
    /// What leaves is a Bundle, so that it can carry labels and statements.
    bundle: bool,
    /// Both sides of the connection show a certificate, or nothing leaves the machine.
    secure: bool,
    /// There is a list of what is necessary.
    minimum: bool,
    /// What was agreed upon with the recipient: codes, each with the agreement.
    agreements: &'a BTreeMap<String, String>,
}

impl<'a> Abilities<'a> {
    pub(super) fn of(destination: &'a DestinationConfig, bundle: bool) -> Self {
        let secure = match &destination.outbound {
            OutboundKind::Fhir(fhir::OutboundConfig { url, identity_file, .. }) => {
                url.as_str().starts_with("https://") && identity_file.is_some()
            }
            OutboundKind::Mllp(_) | OutboundKind::File(_) => false,
        };
        let minimum = !destination.minimum_necessary.is_empty();
        Self { bundle, secure, minimum, agreements: &destination.agreements }
    }

    /// Whether the obligation `code` can be met. One that is not known cannot.
    pub(super) fn meets(self, code: &str) -> Met {
        match code {
            code if RECORDED.contains(&code) => Met::Yes,
            code if LABELS.contains(&code) && self.bundle => Met::Yes,
            code if ENCRYPTED.contains(&code) && self.secure => Met::Yes,
            code if ENCRYPTED.contains(&code) => Met::Later,
            "MINEC" if self.minimum && self.bundle => Met::Yes,
            code if AGREED.contains(&code) && self.bundle && self.agreements.contains_key(code) => Met::Yes,
            code if LISTED.contains(&code) && self.agreements.contains_key(code) => Met::Yes,
            _ => Met::No,
        }
    }
}

/// Puts what the obligations ask for onto the Bundle that leaves; `None` where that is nothing. `consents` are those
/// that released it.
pub(super) fn carry(content: &Value, obligations: &BTreeSet<Box<str>>, consents: &BTreeSet<String>) -> Option<Value> {
    let agreed: Vec<&str> = AGREED.into_iter().filter(|code| obligations.contains(*code)).collect();
    if !obligations.contains("NORDSCLCD") && agreed.is_empty() {
        return None;
    }
    let mut content = content.clone();
    let entries = content.get_mut("entry").and_then(Value::as_array_mut)?;
    for resource in entries.iter_mut().filter_map(|entry| entry.get_mut("resource")) {
        agreed.iter().for_each(|code| add_label(resource, ACT_CODE, code));
    }
    if !obligations.contains("NORDSCLCD") {
        return Some(content);
    }
    let mut marked = false;
    for resource in entries.iter_mut().filter_map(|entry| entry.get_mut("resource")) {
        marked |= keep_label(resource);
    }
    if marked {
        let requested = entries.iter().any(|entry| entry.get("request").is_some());
        entries.push(statement(consents, requested));
    }
    Some(content)
}

/// Labels a resource, once.
pub(super) fn add_label(resource: &mut Value, system: &str, code: &str) {
    let Some(members) = resource.as_object_mut() else { return };
    if !members.contains_key("meta") {
        members.insert("meta", json!({}));
    }
    let Some(meta) = members.get_mut("meta").and_then(Value::as_object_mut) else { return };
    if !meta.contains_key("security") {
        meta.insert("security", json!([]));
    }
    let Some(labels) = meta.get_mut("security").and_then(Value::as_array_mut) else { return };
    let label = json!({ "system": system, "code": code });
    if !labels.contains(&label) {
        labels.push(label);
    }
}

/// A record of a Part 2 program says that it may not be passed on. True if it is one.
fn keep_label(resource: &mut Value) -> bool {
    let security = resource.get_mut("meta").and_then(|meta| meta.get_mut("security")).and_then(Value::as_array_mut);
    let Some(security) = security else { return false };
    let has = |code: &str| security.iter().any(|label| label.get("code").and_then(Value::as_str) == Some(code));
    let (is_one, says_so) = (has("42CFRPart2"), has("NORDSCLCD"));
    if is_one && !says_so {
        security.push(json!({ "system": ACT_CODE, "code": "NORDSCLCD" }));
    }
    is_one
}

/// The statement of 42 CFR 2.32 with the consents that released the records, as an entry of its own: the same for the same
/// consents, so that a server keeps it once.
fn statement(consents: &BTreeSet<String>, requested: bool) -> Value {
    let listed: Vec<&str> = consents.iter().map(String::as_str).collect();
    let scope = if listed.is_empty() {
        "the law, without a consent".to_owned()
    } else {
        format!("Consent {}", listed.join(", "))
    };
    let text = format!("{PART_2_STATEMENT} Released by {scope}.");
    let (system, value) = ("urn:ietf:rfc:3986", format!("urn:sha-256:{}", Sha256::of(text.as_bytes())));
    let resource = json!({
        "resourceType": "DocumentReference",
        "identifier": [{ "system": system, "value": value }],
        "status": "current",
        "description": text,
        "content": [{ "attachment": { "contentType": "text/plain", "data": STANDARD.encode(text.as_bytes()) } }],
    });
    let full_url = format!("urn:uuid:{}", deterministic_id(NAMESPACE, &[&value]));
    if requested {
        let query = format!("identifier={system}%7C{value}");
        let request = json!({ "method": "POST", "url": "DocumentReference", "ifNoneExist": query });
        json!({ "fullUrl": full_url, "resource": resource, "request": request })
    } else {
        json!({ "fullUrl": full_url, "resource": resource })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_agreed_upon_is_said_on_everything() {
        let bundle = json!({ "resourceType": "Bundle", "entry": [{ "resource": { "resourceType": "Patient" } }] });
        let owed = BTreeSet::from(["NOREUSE".into(), "AUDIT".into()]);
        let carried = carry(&bundle, &owed, &BTreeSet::new()).unwrap();
        let labels = &carried["entry"][0]["resource"]["meta"]["security"];
        assert_eq!(*labels, json!([{ "system": ACT_CODE, "code": "NOREUSE" }]));
        assert_eq!(carry(&carried, &owed, &BTreeSet::new()).unwrap(), carried, "once");
    }

    #[test]
    fn a_part_2_record_leaves_with_its_label_and_the_statement() {
        let part2 = json!({ "resource": { "resourceType": "Condition", "meta": { "security": [{ "system": ACT_CODE, "code": "42CFRPart2" }] } }, "request": { "method": "POST", "url": "Condition" } });
        let other =
            json!({ "resource": { "resourceType": "Patient" }, "request": { "method": "POST", "url": "Patient" } });
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [part2, other] });
        let carried =
            carry(&bundle, &BTreeSet::from(["NORDSCLCD".into()]), &BTreeSet::from(["c1/3".to_owned()])).unwrap();
        let entries = carried["entry"].as_array().unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0]["resource"]["meta"]["security"][1]["code"], "NORDSCLCD");
        let statement = entries[2]["resource"]["description"].as_str().unwrap();
        assert!(
            statement.starts_with("42 CFR part 2 prohibits") && statement.ends_with("Consent c1/3."),
            "{statement}"
        );
        assert!(carry(&bundle, &BTreeSet::new(), &BTreeSet::new()).is_none());
    }
}
