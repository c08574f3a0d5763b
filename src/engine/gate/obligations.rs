//! What a recipient must do with what it gets, and what of that a route can see to.

use std::collections::BTreeSet;

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
pub(super) struct Abilities {
    /// What leaves is a Bundle, so that it can carry labels and statements.
    bundle: bool,
    /// Both sides of the connection show a certificate, or nothing leaves the machine.
    secure: bool,
}

impl Abilities {
    pub(super) fn of(destination: &DestinationConfig, bundle: bool) -> Self {
        let secure = match &destination.outbound {
            OutboundKind::Fhir(fhir::OutboundConfig { url, identity_file, .. }) => {
                url.as_str().starts_with("https://") && identity_file.is_some()
            }
            OutboundKind::Mllp(_) | OutboundKind::File(_) => false,
        };
        Self { bundle, secure }
    }

    /// Whether the obligation `code` can be met. One that is not known cannot.
    pub(super) fn meets(self, code: &str) -> Met {
        match code {
            code if RECORDED.contains(&code) => Met::Yes,
            code if LABELS.contains(&code) && self.bundle => Met::Yes,
            code if ENCRYPTED.contains(&code) && self.secure => Met::Yes,
            code if ENCRYPTED.contains(&code) => Met::Later,
            _ => Met::No,
        }
    }
}

/// Puts what the obligations ask for onto the Bundle that leaves; `None` where that is nothing. `consents` are those
/// that released it.
pub(super) fn carry(content: &Value, obligations: &BTreeSet<Box<str>>, consents: &BTreeSet<String>) -> Option<Value> {
    if !obligations.contains("NORDSCLCD") {
        return None;
    }
    let mut content = content.clone();
    let entries = content.get_mut("entry").and_then(Value::as_array_mut)?;
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
