//! Consents that a recipient must comply with itself (CPLYCD): a person who works there is refused what the organisation
//! gets. What travels is what the Consent says of them, and nothing else. Pure.

use message::consent::CONFIDENTIALITY;
use message::consent::by_entry::{Directive, Directory, Effect, Mode, Node, Status};
use message::fhir::{NAMESPACE, deterministic_id, get_str};
use message::json::{Map, Text, Value, json};

/// What a Consent says of people, who may work for a recipient.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    id: std::sync::Arc<str>,
    body: Value,
}

/// The Consent, if it refuses somebody and may have to travel.
pub(super) fn kept(directive: &Directive, body: &Value) -> Option<Copy> {
    let names_people = directive.nodes.iter().any(|node| !node.actors.recipient.is_empty());
    let refuses = directive.nodes.iter().any(|node| node.effect != Some(Effect::Permit));
    (names_people && refuses && directive.status != Status::Inactive)
        .then(|| Copy { id: directive.id.clone(), body: body.clone() })
}

/// What of the Consents refuses `staff`, as resources to be sent; `None` where that cannot be said to somebody else.
pub(super) fn copies<'a>(
    directives: impl Iterator<Item = &'a Directive>,
    kept: &[Copy],
    staff: &[Text],
    directory: &Directory,
) -> Option<Vec<Value>> {
    let names = |node: &Node| node.actors.recipient.iter().flatten().any(|name| staff.contains(name));
    let refusing = directives.filter(|directive| directive.is_readable() && directive.status == Status::Active);
    let refusing: Vec<&Directive> = refusing.filter(|directive| directive.nodes.iter().any(names)).collect();
    let each = refusing.into_iter().map(|directive| {
        let copy = kept.iter().find(|copy| copy.id == directive.id)?;
        excerpt(directive, &copy.body, staff, directory)
    });
    each.collect::<Option<Vec<_>>>().filter(|copies| !copies.is_empty())
}

/// A Consent without what it says of others.
fn excerpt(directive: &Directive, body: &Value, staff: &[Text], directory: &Directory) -> Option<Value> {
    // Written in R5, it is not what a recipient of R4 reads.
    if get_str(body, "resourceType") != Some("Consent") || body.get("subject").is_some() {
        return None;
    }
    let version = directive.version.as_deref().unwrap_or_default();
    let name = format!("{}/{version}", directive.id);
    let mut copy = Map::new();
    copy.put("resourceType", json!("Consent"));
    copy.put("id", json!(deterministic_id(NAMESPACE, &["consent copy", &name]).to_string()));
    copy.put("meta", json!({ "security": [{ "system": CONFIDENTIALITY, "code": "N" }] }));
    copy.put("identifier", json!([{ "system": "urn:tributary:consent", "value": name }]));
    for key in ["status", "scope", "category"] {
        copy.push(key, body.get(key)?.clone());
    }
    copy.put("patient", json!({ "identifier": body.get("patient")?.get("identifier")? }));
    for key in ["dateTime", "policy", "policyRule"] {
        body.get(key).into_iter().for_each(|value| copy.push(key, value.clone()));
    }
    if directive.mode == Mode::Pcf {
        let profile = body.get("meta").and_then(|meta| meta.get("profile"))?;
        copy.get_mut("meta").and_then(Value::as_object_mut)?.put("profile", profile.clone());
    }
    if let Some(root) = body.get("provision") {
        copy.put("provision", provision(directive, 0, root, staff, directory)?);
    }
    if copy.get("policyRule").is_none() && copy.get("policy").is_none() {
        copy.put("policy", json!([{ "uri": "urn:tributary:consent-copy" }]));
    }
    Some(Value::Object(copy))
}

/// A provision with those in it that name `staff`, or lead to one that does.
fn provision(directive: &Directive, at: usize, value: &Value, staff: &[Text], directory: &Directory) -> Option<Value> {
    let node = directive.nodes.get(at)?;
    let mut rest = Map::new();
    for key in ["type", "period"] {
        value.get(key).into_iter().for_each(|value| rest.push(key, value.clone()));
    }
    if let Some(actors) = value.get("actor").and_then(Value::as_array) {
        rest.put("actor", actors.iter().map(|one| actor(one, directory)).collect::<Option<Vec<Value>>>()?);
    }
    for key in ["action", "securityLabel", "purpose", "class", "code", "dataPeriod"] {
        value.get(key).into_iter().for_each(|value| rest.push(key, value.clone()));
    }
    // A record that is named here may be one that does not go.
    if value.get("data").is_some() {
        return None;
    }
    let nested = value.get("provision").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut below = Vec::new();
    for (child, value) in node.children.iter().zip(nested) {
        if leads(directive, *child, staff) || names(node, staff) {
            below.push(provision(directive, *child, value, staff, directory)?);
        }
    }
    if !below.is_empty() {
        rest.put("provision", below);
    }
    Some(Value::Object(rest))
}

fn names(node: &Node, staff: &[Text]) -> bool {
    node.actors.recipient.iter().flatten().any(|name| staff.contains(name))
}

/// True if the provision at `at`, or one in it, names `staff`.
fn leads(directive: &Directive, at: usize, staff: &[Text]) -> bool {
    let node = directive.nodes.get(at);
    node.is_some_and(|node| names(node, staff) || node.children.iter().any(|child| leads(directive, *child, staff)))
}

/// An actor by an identifier: a reference means somebody else elsewhere.
fn actor(value: &Value, directory: &Directory) -> Option<Value> {
    let reference = value.get("reference")?;
    let own = reference.get("identifier").filter(|identifier| get_str(identifier, "value").is_some()).cloned();
    let known = || {
        let name = message::consent::by_entry::normal(get_str(reference, "reference")?);
        let party = directory.party(std::slice::from_ref(&name));
        let (system, value) = party.own.iter().find_map(|own| own.rsplit_once('|'))?;
        Some(json!({ "system": system, "value": value }))
    };
    let identifier = own.or_else(known)?;
    Some(json!({ "role": value.get("role")?, "reference": { "identifier": identifier } }))
}

#[cfg(test)]
mod tests {
    use message::consent::by_entry::Directory;

    use super::*;

    fn consent(provision: Value) -> Value {
        json!({
            "resourceType": "Consent", "id": "c1", "status": "active", "scope": { "coding": [{ "code": "patient-privacy" }] },
            "category": [{ "text": "x" }], "patient": { "reference": "Patient/7", "identifier": { "system": "urn:x", "value": "MRN-1" } },
            "sourceAttachment": { "title": "secret" }, "policyRule": { "coding": [{ "system": super::super::carry::ACT_CODE, "code": "OPTIN" }] },
            "provision": provision,
        })
    }

    fn actor_of(value: &str) -> Value {
        json!([{ "role": { "coding": [{ "code": "IRCP" }] }, "reference": { "reference": value } }])
    }

    fn copied(body: &Value) -> Option<Vec<Value>> {
        let directory = json!({ "organizations": { "Organization/h": {} }, "practitioners": {
            "Practitioner/x": { "organizations": ["Organization/h"], "identifier": ["urn:npi|1"] },
            "Practitioner/y": { "organizations": ["Organization/other"], "identifier": ["urn:npi|2"] } } });
        let directory = Directory::read(&directory).unwrap();
        let mut directive = Directive::read(body);
        directive.faults.clear();
        let kept: Vec<Copy> = kept(&directive, body).into_iter().collect();
        copies([&directive].into_iter(), &kept, &directory.staff(&["Organization/h".into()]), &directory)
    }

    #[test]
    fn what_a_consent_says_of_others_does_not_travel() {
        let refused = |who: &str, label: &str| json!({ "type": "deny", "actor": actor_of(who), "securityLabel": [{ "code": label }] });
        let body = consent(
            json!({ "type": "permit", "provision": [refused("Practitioner/x", "HIV"), refused("Practitioner/y", "PSY")] }),
        );
        let copies = copied(&body).unwrap();
        let text = copies[0].to_string();
        assert!(text.contains("\"value\":\"1\"") && text.contains("HIV") && text.contains("MRN-1"), "{text}");
        assert!(
            !text.contains("PSY")
                && !text.contains("Patient/7")
                && !text.contains("secret")
                && !text.contains("Practitioner/"),
            "{text}"
        );
        assert_eq!(copies[0]["provision"]["provision"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_said_to_somebody_else_does_not_travel() {
        let by_record = json!({ "type": "deny", "actor": actor_of("Practitioner/x"), "data": [{ "meaning": "instance", "reference": { "reference": "Observation/1" } }] });
        assert!(copied(&consent(json!({ "type": "permit", "provision": [by_record] }))).is_none());
        assert!(
            copied(&consent(json!({ "type": "deny", "actor": actor_of("Practitioner/y") }))).is_none(),
            "nobody who works there"
        );
    }
}
