//! What travels with what leaves, because the recipient must do something with it: labels, the statement of 42 CFR 2.32,
//! visible marks, Consents. Pure.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use message::Sha256;
use message::consent::{ACT_REASON, CONFIDENTIALITY, Confidentiality, OBSERVATION_VALUE};
use message::fhir::{NAMESPACE, deterministic_id, get_str};
use message::json::{Text, Value, json};

use super::obligations::{AGREED, VISIBLE};

pub(super) const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
/// What 42 CFR 2.32(a)(2) asks to be sent along.
const PART_2_STATEMENT: &str = "42 CFR part 2 prohibits unauthorized use or disclosure of these records.";

/// What an obligation may ask to be sent along.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    /// What it was released for, where that is to be said.
    pub(super) purposes: &'a [String],
    pub(super) obligations: &'a BTreeSet<Text>,
    /// The Consents that released it.
    pub(super) consents: &'a BTreeSet<String>,
    /// Those that the recipient must comply with itself.
    pub(super) copies: &'a [Value],
    /// The places of what is to be marked visibly; the rest of what leaves is not.
    pub(super) visible: &'a dyn Fn(&Value) -> bool,
}

/// Puts what the obligations ask for onto the Bundle that leaves; `None` where that is nothing.
pub(super) fn carry(content: &Value, load: Load<'_>) -> Option<Value> {
    let owes = |code: &str| load.obligations.contains(code);
    let agreed: Vec<&str> = AGREED.into_iter().filter(|code| owes(code)).collect();
    let marks: Vec<&str> = VISIBLE.into_iter().filter(|code| owes(code)).collect();
    let complies = owes("CPLYCD") && !load.copies.is_empty();
    if !owes("NORDSCLCD") && agreed.is_empty() && marks.is_empty() && !complies && load.purposes.is_empty() {
        return None;
    }
    let mut content = content.clone();
    let entries = content.get_mut("entry").and_then(Value::as_array_mut)?;
    for resource in entries.iter_mut().filter_map(|entry| entry.get_mut("resource")) {
        agreed.iter().for_each(|code| add_label(resource, ACT_CODE, code));
        if is_record(resource) {
            load.purposes.iter().for_each(|code| add_purpose(resource, code));
        }
        if complies {
            add_label(resource, ACT_CODE, "CPLYCD");
        }
        if !marks.is_empty() && (load.visible)(resource) {
            marks.iter().for_each(|code| add_label(resource, ACT_CODE, code));
            mark(resource, &marks);
        }
    }
    let requested = entries.iter().any(|entry| entry.get("request").is_some());
    if owes("NORDSCLCD") {
        let mut marked = false;
        for resource in entries.iter_mut().filter_map(|entry| entry.get_mut("resource")) {
            marked |= keep_label(resource);
        }
        if marked {
            entries.push(statement(load.consents, requested));
        }
    }
    if complies {
        entries.extend(load.copies.iter().map(|copy| travelling(copy, requested)));
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

/// True for a record that has labels: what stands for the engine and its partners in every Bundle has none.
fn is_record(resource: &Value) -> bool {
    resource.get("meta").is_some_and(|meta| meta.get("security").is_some())
}

/// Says for what a resource was released, before the labels of what was done to it.
fn add_purpose(resource: &mut Value, code: &str) {
    let Some(labels) = resource.get_mut("meta").and_then(|meta| meta.get_mut("security")?.as_array_mut()) else {
        return;
    };
    let of = |label: &Value, system: &str| get_str(label, "system") == Some(system);
    if labels.iter().any(|label| of(label, ACT_REASON) && get_str(label, "code") == Some(code)) {
        return;
    }
    let at = labels.iter().position(|label| of(label, OBSERVATION_VALUE)).unwrap_or(labels.len());
    labels.insert(at, json!({ "system": ACT_REASON, "code": code }));
}

/// Marks the narrative of a resource, for whoever reads it: what was there stands within, as it was.
fn mark(resource: &mut Value, marks: &[&str]) {
    const XHTML: &str = "http://www.w3.org/1999/xhtml";
    let level = level_of(resource);
    let controlled = if marks.contains(&"CUIMark") { "CUI. " } else { "" };
    let text =
        format!("{controlled}Privacy mark: confidentiality {}. Handle it as its security labels say.", level.code());
    let Some(members) = resource.as_object_mut() else { return };
    let narrative = members.get("text").and_then(|text| Some((get_str(text, "status")?, get_str(text, "div")?)));
    let (status, within) = narrative
        .map_or(("additional", ""), |(status, div)| (if status == "empty" { "additional" } else { status }, div));
    let narrative = json!({ "status": status, "div": format!("<div xmlns=\"{XHTML}\"><p>{text}</p>{within}</div>") });
    if members.get("text").is_some() {
        members.insert("text", narrative);
    } else {
        let at = members
            .keys()
            .take_while(|key| matches!(key.as_str(), "resourceType" | "id" | "meta" | "implicitRules" | "language"))
            .count();
        members.put_at(at, "text", narrative);
    }
}

fn level_of(resource: &Value) -> Confidentiality {
    let labels =
        resource.get("meta").and_then(|meta| meta.get("security")?.as_array()).map(Vec::as_slice).unwrap_or_default();
    let levels = labels.iter().filter(|label| get_str(label, "system") == Some(CONFIDENTIALITY));
    levels.filter_map(|label| Confidentiality::from_code(get_str(label, "code")?)).max().unwrap_or_default()
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

/// The statement of 42 CFR 2.32, with the scope of the consents that released the records.
pub(super) fn part_2(consents: &BTreeSet<String>) -> String {
    let listed: Vec<&str> = consents.iter().map(String::as_str).collect();
    let scope = if listed.is_empty() {
        "the law, without a consent".to_owned()
    } else {
        format!("Consent {}", listed.join(", "))
    };
    format!("{PART_2_STATEMENT} Released by {scope}.")
}

/// The statement as an entry of its own: the same for the same consents, so that a server keeps it once.
fn statement(consents: &BTreeSet<String>, requested: bool) -> Value {
    let text = part_2(consents);
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

/// A Consent that travels, as an entry of its own: the same for the same version.
fn travelling(copy: &Value, requested: bool) -> Value {
    let id = get_str(copy, "id").unwrap_or_default();
    let full_url = format!("urn:uuid:{id}");
    if requested {
        let request = json!({ "method": "PUT", "url": format!("Consent/{id}") });
        json!({ "fullUrl": full_url, "resource": copy, "request": request })
    } else {
        json!({ "fullUrl": full_url, "resource": copy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load<'a>(obligations: &'a BTreeSet<Text>, consents: &'a BTreeSet<String>) -> Load<'a> {
        Load { purposes: &[], obligations, consents, copies: &[], visible: &|_| true }
    }

    #[test]
    fn what_was_agreed_upon_is_said_on_everything() {
        let bundle = json!({ "resourceType": "Bundle", "entry": [{ "resource": { "resourceType": "Patient" } }] });
        let (owed, none) = (BTreeSet::from(["NOREUSE".into(), "AUDIT".into()]), BTreeSet::new());
        let carried = carry(&bundle, load(&owed, &none)).unwrap();
        let labels = &carried["entry"][0]["resource"]["meta"]["security"];
        assert_eq!(*labels, json!([{ "system": ACT_CODE, "code": "NOREUSE" }]));
        assert_eq!(carry(&carried, load(&owed, &none)).unwrap(), carried, "once");
    }

    #[test]
    fn a_record_says_for_what_it_was_released_once_and_in_its_place() {
        let label = |system: &str, code: &str| json!({ "system": system, "code": code });
        let (normal, mapped) = (label(CONFIDENTIALITY, "N"), label(OBSERVATION_VALUE, "MAPPED"));
        let record = json!({ "resourceType": "Patient", "meta": { "security": [normal, mapped] } });
        let actor = json!({ "resourceType": "Device" });
        let bundle = json!({ "resourceType": "Bundle", "entry": [{ "resource": record }, { "resource": actor }] });
        let (nothing, nobody, purposes) = (BTreeSet::new(), BTreeSet::new(), ["HRESCH".to_owned()]);
        let load = |purposes| Load { purposes, ..load(&nothing, &nobody) };
        let carried = carry(&bundle, load(&purposes)).unwrap();
        assert_eq!(
            carried["entry"][0]["resource"]["meta"]["security"],
            json!([normal, label(ACT_REASON, "HRESCH"), mapped])
        );
        assert_eq!(carried["entry"][1]["resource"], actor);
        assert_eq!(carry(&carried, load(&purposes)).unwrap(), carried, "once");
        assert!(carry(&bundle, load(&[])).is_none());
    }

    #[test]
    fn a_part_2_record_leaves_with_its_label_and_the_statement() {
        let part2 = json!({ "resource": { "resourceType": "Condition", "meta": { "security": [{ "system": ACT_CODE, "code": "42CFRPart2" }] } }, "request": { "method": "POST", "url": "Condition" } });
        let other =
            json!({ "resource": { "resourceType": "Patient" }, "request": { "method": "POST", "url": "Patient" } });
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [part2, other] });
        let (owed, consents) = (BTreeSet::from(["NORDSCLCD".into()]), BTreeSet::from(["c1/3".to_owned()]));
        let carried = carry(&bundle, load(&owed, &consents)).unwrap();
        let entries = carried["entry"].as_array().unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0]["resource"]["meta"]["security"][1]["code"], "NORDSCLCD");
        let statement = entries[2]["resource"]["description"].as_str().unwrap();
        assert!(
            statement.starts_with("42 CFR part 2 prohibits") && statement.ends_with("Consent c1/3."),
            "{statement}"
        );
        assert!(carry(&bundle, load(&BTreeSet::new(), &BTreeSet::new())).is_none());
    }

    #[test]
    fn a_mark_stands_before_what_people_read() {
        let restricted = json!({ "security": [{ "system": CONFIDENTIALITY, "code": "R" }] });
        let note = json!({ "resourceType": "Composition", "meta": restricted, "status": "final",
            "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Note</div>" } });
        let plain = json!({ "resourceType": "Patient", "gender": "female" });
        let bundle = json!({ "resourceType": "Bundle", "entry": [{ "resource": note }, { "resource": plain }] });
        let owed = BTreeSet::from(["PRIVMARK".into()]);
        let carried = carry(&bundle, load(&owed, &BTreeSet::new())).unwrap();
        let div = |at: usize| carried["entry"][at]["resource"]["text"]["div"].as_str().unwrap();
        assert!(
            div(0).contains("<p>Privacy mark: confidentiality R.") && div(0).ends_with(">Note</div></div>"),
            "{}",
            div(0)
        );
        assert!(div(1).contains("confidentiality N"), "{}", div(1));
        assert_eq!(carried["entry"][1]["resource"]["text"]["status"], "additional");
        assert_eq!(carried["entry"][1]["resource"]["meta"]["security"][0]["code"], "PRIVMARK");
        let issues = message::fhir::validate::validate(
            &carried["entry"][1]["resource"],
            &message::fhir::validate::Options::default(),
        );
        assert!(issues.is_empty(), "{issues:?}");
    }
}
