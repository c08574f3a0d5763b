//! Takes denied entries out of what leaves, so that nothing in it tells of them.

use std::collections::BTreeSet;

use crate::consent::OBSERVATION_VALUE;
use crate::json::{Map, Text, Value, json};

use super::by_entry::{Notice, identifier, names, normal};
use super::high_water_mark;

const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
const EMPTY_REASON: &str = "http://terminology.hl7.org/CodeSystem/list-empty-reason";
/// How the original message is named (RFC 6920).
const ORIGINAL: &str = "ni:///";

/// Elements without which a resource says nothing about anybody: what loses one goes too.
const SUBJECTS: &[&str] = &["subject", "patient", "beneficiary", "securityContext"];
/// Elements that may be withheld but not left out.
const MANDATORY: &[&str] = &["medicationReference"];

/// What is left of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Redacted {
    /// What may go; `None` where nothing is left.
    pub rest: Option<Value>,
    /// The places, from 0, of the entries that were taken out, those that had to go with them included.
    pub removed: BTreeSet<usize>,
}

/// Takes the entries at `denied` (places among the Bundle's entries, from 0) out of `content`, with
/// all that tells of them. A resource that is no Bundle is its own entry 0.
#[must_use]
pub fn redact(content: &Value, denied: &BTreeSet<usize>, notice: Notice) -> Redacted {
    if denied.is_empty() {
        return Redacted { rest: Some(content.clone()), removed: BTreeSet::new() };
    }
    let entries = content.get("entry").and_then(Value::as_array).filter(|_| kind_of(content) == "Bundle");
    let Some(entries) = entries else {
        return Redacted { rest: None, removed: denied.clone() };
    };
    let removed = closure(entries, denied);
    let gone = Gone::of(entries, &removed);
    let kept = entries.iter().enumerate().filter(|(at, _)| !removed.contains(at));
    let rest: Vec<Value> = kept.map(|(_, entry)| gone.clean_entry(entry, notice)).collect();
    if !rest.iter().any(|entry| entry.get("resource").is_some_and(|resource| kind_of(resource) != "OperationOutcome")) {
        return Redacted { rest: None, removed };
    }
    Redacted { rest: Some(bundle(content, rest, notice)), removed }
}

/// The denied entries and those that cannot stay without them.
fn closure(entries: &[Value], denied: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut removed = denied.clone();
    // Nothing that is redacted takes the original message with it.
    removed.extend(entries.iter().enumerate().filter(|(_, entry)| is_original(entry)).map(|(at, _)| at));
    loop {
        let gone = Gone::of(entries, &removed);
        let bytes = Bytes::of(entries, &removed);
        let goes = |entry: &Value| entry.get("resource").is_some_and(|r| gone.takes(r)) || bytes.takes(entry);
        let kept = entries.iter().enumerate().filter(|(at, _)| !removed.contains(at));
        let more: Vec<usize> = kept.filter(|(_, entry)| goes(entry)).map(|(at, _)| at).collect();
        if more.is_empty() {
            return removed;
        }
        removed.extend(more);
    }
}

/// Bytes that stand in an entry of their own, by whose they are.
struct Bytes {
    /// Those of what was taken out.
    gone: BTreeSet<Text>,
    /// Those of what stays.
    kept: BTreeSet<Text>,
}

impl Bytes {
    fn of(entries: &[Value], removed: &BTreeSet<usize>) -> Self {
        let (mut gone, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for (at, entry) in entries.iter().enumerate() {
            let of = if removed.contains(&at) { &mut gone } else { &mut kept };
            let mut waiting = vec![entry];
            while let Some(value) = waiting.pop() {
                match value {
                    Value::Array(items) => waiting.extend(items),
                    Value::Object(members) => {
                        let url = members.get("url").filter(|_| members.contains_key("contentType"));
                        of.extend(url.and_then(Value::as_str).map(normal));
                        waiting.extend(members.values());
                    }
                    _ => {}
                }
            }
        }
        Self { gone, kept }
    }

    /// True for bytes of a document that was taken out, and of no other.
    fn takes(&self, entry: &Value) -> bool {
        let names = own_names(entry);
        let among = |set: &BTreeSet<Text>| names.iter().any(|name| set.contains(name) || set.contains(&normal(name)));
        entry.get("resource").is_some_and(|resource| kind_of(resource) == "Binary")
            && among(&self.gone)
            && !among(&self.kept)
    }
}

/// True for the DocumentReference of the message that the entries were made from.
fn is_original(entry: &Value) -> bool {
    let resource = entry.get("resource").unwrap_or(&Value::Null);
    let named = items(resource, "identifier").filter_map(|identifier| identifier.get("value")?.as_str());
    kind_of(resource) == "DocumentReference" && named.into_iter().any(|value| value.starts_with(ORIGINAL))
}

/// Everything that what was taken out answers to.
struct Gone {
    names: BTreeSet<Text>,
}

impl Gone {
    fn of(entries: &[Value], removed: &BTreeSet<usize>) -> Self {
        let mut names = BTreeSet::new();
        let mut shared: BTreeSet<Text> = BTreeSet::new();
        for (at, entry) in entries.iter().enumerate() {
            let own = own_names(entry);
            if removed.contains(&at) { names.extend(own) } else { shared.extend(own) }
        }
        // What also names something that stays tells nothing.
        Self { names: names.difference(&shared).cloned().collect() }
    }

    fn has(&self, name: &str) -> bool {
        !name.is_empty() && (self.names.contains(name) || self.names.contains(&normal(name)))
    }

    /// True if `reference`, an object, names something that is gone.
    fn is_named_by(&self, reference: &Value) -> bool {
        let by_identifier = || identifier(reference).is_some_and(|name| self.names.contains(&name));
        names(reference).iter().any(|name| self.names.contains(name)) || by_identifier()
    }

    /// True if `resource` cannot stay: it is about what is gone and nothing else, or contains it.
    fn takes(&self, resource: &Value) -> bool {
        let about = SUBJECTS.iter().filter_map(|element| resource.get(*element)).any(|value| self.is_named_by(value));
        let targets: Vec<&Value> = items(resource, "target").collect();
        let only_target = kind_of(resource) == "Provenance"
            && !targets.is_empty()
            && targets.iter().all(|target| self.is_named_by(target));
        let inner = ["contained", "entry", "parameter"].iter().flat_map(|key| items(resource, key));
        about || only_target || inner.into_iter().any(|inner| self.is_within(inner))
    }

    /// True if `value` is, or holds, a resource that is gone.
    fn is_within(&self, value: &Value) -> bool {
        let mut waiting = vec![value];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Array(items) => waiting.extend(items),
                Value::Object(members) => {
                    let as_entry = json!({ "resource": value, "fullUrl": members.get("fullUrl") });
                    if own_names(&as_entry).iter().any(|name| self.names.contains(name)) {
                        return true;
                    }
                    waiting.extend(members.values());
                }
                _ => {}
            }
        }
        false
    }

    /// An entry that stays, without a trace of what is gone.
    fn clean_entry(&self, entry: &Value, notice: Notice) -> Value {
        let mut entry = entry.clone();
        let Some(members) = entry.as_object_mut() else { return entry };
        members.shift_remove("link");
        if let Some(resource) = members.get_mut("resource") {
            self.clean(resource, notice);
        }
        entry
    }

    fn clean(&self, resource: &mut Value, notice: Notice) {
        let mut touched = false;
        if let Some(members) = resource.as_object_mut() {
            touched = self.clean_members(members, notice, true);
        }
        let is_composition = kind_of(resource) == "Composition";
        if is_composition {
            touched |= drop_narrative(resource);
        }
        if !touched {
            return;
        }
        let kind = kind_of(resource).to_owned();
        let Some(members) = resource.as_object_mut() else { return };
        members.shift_remove("text");
        if kind == "DiagnosticReport" {
            for element in ["conclusion", "_conclusion", "conclusionCode", "presentedForm", "media"] {
                members.shift_remove(element);
            }
        }
        if kind == "List" && !members.contains_key("entry") {
            members.insert("emptyReason".to_owned(), empty_reason(notice));
        }
        items_mut(members, "section").for_each(|section| explain_empty(section, notice));
        if notice == Notice::Label {
            label(members);
        }
    }

    /// Takes out references to what is gone; true if there were any.
    fn clean_members(&self, members: &mut Map, notice: Notice, top: bool) -> bool {
        let mut touched = false;
        let keys: Vec<Text> = members.keys().cloned().collect();
        for key in keys {
            let Some(value) = members.get_mut(&key) else { continue };
            match value {
                Value::Array(items) => {
                    let before = items.len();
                    let mut inside = false;
                    items.retain_mut(|item| {
                        if self.is_gone(item) {
                            return false;
                        }
                        let lost = item.as_object_mut().is_some_and(|m| self.clean_members(m, notice, false));
                        inside |= lost;
                        // A part that lost what it was about is dropped whole, but for sections.
                        !lost || key == "section" || key == "contained" || item_stands(item, &key)
                    });
                    touched |= inside || items.len() != before;
                    if items.is_empty() && before > 0 {
                        members.shift_remove(&key);
                    }
                }
                Value::Object(_) | Value::String(_) if self.is_gone(value) => {
                    touched = true;
                    if top && MANDATORY.contains(&key.as_str()) {
                        let reason = if notice == Notice::None { "unknown" } else { "masked" };
                        *value = json!({ "extension": [{ "url": ABSENT, "valueCode": reason }] });
                    } else {
                        members.shift_remove(&key);
                    }
                }
                Value::Object(inner) => {
                    let lost = self.clean_members(inner, notice, false);
                    touched |= lost;
                    if lost && inner.is_empty() {
                        members.shift_remove(&key);
                    }
                }
                _ => {}
            }
        }
        touched
    }

    /// True if `value` is a reference, an identifier or a URL of what is gone.
    fn is_gone(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => (text.contains('/') || text.starts_with("urn:")) && self.has(text),
            Value::Object(_) => self.is_named_by(value),
            _ => false,
        }
    }
}

/// True for a part that means something without the reference that it lost: a performer with a role
/// does not, an agent who acted for someone does.
fn item_stands(item: &Value, key: &str) -> bool {
    key == "agent" && item.get("who").is_some()
        || key == "entity" && item.get("what").is_some_and(|what| what.get("identifier").is_some())
}

/// Every name of an entry's resource.
fn own_names(entry: &Value) -> Vec<Text> {
    let resource = entry.get("resource").unwrap_or(&Value::Null);
    let kind = kind_of(resource);
    let id = resource.get("id").and_then(Value::as_str).filter(|id| !id.is_empty() && !kind.is_empty());
    let by_id = id.map(|id| format!("{kind}/{id}").into());
    let full_url = entry.get("fullUrl").and_then(Value::as_str).map(Text::from);
    let request = entry.get("request").and_then(|request| request.get("url")?.as_str());
    let url = request.filter(|url| url.contains('/') || url.contains('?')).map(normal);
    let business = items(resource, "identifier").filter(|_| !kind.is_empty()).filter_map(identifier);
    by_id.into_iter().chain(full_url).chain(url).chain(business).filter(|name| !name.is_empty()).collect()
}

/// The Bundle around what is left.
fn bundle(content: &Value, mut rest: Vec<Value>, notice: Notice) -> Value {
    let mut bundle = content.clone();
    let Some(members) = bundle.as_object_mut() else { return bundle };
    // Page links, counts and signatures tell of what was there.
    members.shift_remove("link");
    members.shift_remove("signature");
    if members.contains_key("total") {
        let included = |entry: &&Value| {
            entry.get("search").and_then(|s| s.get("mode")?.as_str()).is_some_and(|mode| mode != "match")
        };
        let total = rest.iter().filter(|entry| !included(entry)).count();
        members.insert("total".to_owned(), json!(total));
    }
    let marked = members.get("meta").and_then(|meta| meta.get("security")).is_some();
    if marked {
        let mark = high_water_mark(rest.iter().filter_map(|entry| entry.get("resource")));
        if let Some(Value::Object(meta)) = members.get_mut("meta") {
            meta.insert("security".to_owned(), Value::Array(mark));
        }
    }
    match notice {
        Notice::None => {}
        Notice::Label => label(members),
        Notice::Outcome => rest.push(json!({
            "resource": {
                "resourceType": "OperationOutcome",
                "issue": [{ "severity": "information", "code": "suppressed" }],
            },
            "search": { "mode": "outcome" },
        })),
    }
    members.insert("entry".to_owned(), Value::Array(rest));
    bundle
}

/// Labels what lost something `REDACTED`.
fn label(members: &mut Map) {
    if !members.contains_key("meta") {
        let at = members.keys().take(2).take_while(|key| matches!(key.as_str(), "resourceType" | "id")).count();
        members.shift_insert(at, "meta".to_owned(), json!({}));
    }
    let Some(Value::Object(meta)) = members.get_mut("meta") else { return };
    if !meta.contains_key("security") {
        meta.insert("security", json!([]));
    }
    let Some(security) = meta.get_mut("security") else { return };
    let redacted = json!({ "system": OBSERVATION_VALUE, "code": "REDACTED" });
    if let Some(labels) = security.as_array_mut().filter(|labels| !labels.contains(&redacted)) {
        labels.push(redacted);
    }
}

/// Takes the narrative out of a Composition and all its sections; true if there was any.
fn drop_narrative(value: &mut Value) -> bool {
    let Some(members) = value.as_object_mut() else { return false };
    let had = members.shift_remove("text").is_some();
    items_mut(members, "section").fold(had, |had, section| drop_narrative(section) | had)
}

/// A section that lost all it had says that something is withheld, never that there is nothing.
fn explain_empty(section: &mut Value, notice: Notice) {
    let Some(members) = section.as_object_mut() else { return };
    items_mut(members, "section").for_each(|inner| explain_empty(inner, notice));
    let has = |key: &str| members.contains_key(key);
    if !has("entry") && !has("section") && !has("text") && !has("emptyReason") {
        members.insert("emptyReason".to_owned(), empty_reason(notice));
    }
}

fn empty_reason(notice: Notice) -> Value {
    let code = if notice == Notice::None { "unavailable" } else { "withheld" };
    json!({ "coding": [{ "system": EMPTY_REASON, "code": code }] })
}

fn kind_of(resource: &Value) -> &str {
    resource.get("resourceType").and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let found = value.get(key);
    let one = found.filter(|found| found.is_object());
    found.and_then(Value::as_array).into_iter().flatten().chain(one)
}

fn items_mut<'a>(members: &'a mut Map, key: &str) -> impl Iterator<Item = &'a mut Value> {
    members.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}
