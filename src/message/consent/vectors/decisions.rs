//! Vectors that ask for a decision, once or in the course of time.

use crate::json::{Map, Value, json};

use super::{Folder, Outcome, differences};
use crate::consent::by_entry::{
    Decision, Directive, Entry, Explanation, Micros, Policy, Request, Snapshot, Source, Sources, Span, decide, explain,
};

/// One decision.
pub(super) fn decision(vector: &Value, folder: &Folder) -> Result<Value, String> {
    let now = instant(vector.get("now"))?;
    let named = list(vector, "consents").iter();
    let consents = named.map(|path| consent(path, folder)).collect::<Result<Vec<_>, _>>()?;
    let patches: Vec<&Value> = vector.get("policy_overrides").into_iter().collect();
    let policy = policy(vector, folder, &patches)?;
    let request = vector.get("request").unwrap_or(&Value::Null);
    Ok(shown(&decided(vector, folder, request, &policy, &consents, now)))
}

/// One decision, explained.
pub(super) fn explained(vector: &Value, folder: &Folder) -> Result<Vec<Explanation>, String> {
    let now = instant(vector.get("now"))?;
    let consents = list(vector, "consents").iter().map(|path| consent(path, folder)).collect::<Result<Vec<_>, _>>()?;
    let patches: Vec<&Value> = vector.get("policy_overrides").into_iter().collect();
    let policy = policy(vector, folder, &patches)?;
    let request = Request::read(vector.get("request").unwrap_or(&Value::Null), now, &folder.directory);
    let (entries, snapshot) = on_hand(vector, folder, &consents, now);
    let decision = decide(&request, &entries, &snapshot, &policy, &folder.terms);
    Ok(explain(&decision, &request, &snapshot, &policy, &folder.terms))
}

/// The decision at each step that asks for one.
pub(super) fn timeline(vector: &Value, folder: &Folder) -> Result<Value, String> {
    let mut on_file: Vec<Value> = Vec::new();
    for path in list(vector, "consents") {
        put(&mut on_file, consent(path, folder)?);
    }
    let mut patches: Vec<&Value> = vector.get("policy_overrides").into_iter().collect();
    let mut steps = Vec::new();
    for step in list(vector, "steps") {
        let now = instant(step.get("at"))?;
        if let Some(path) = step.get("put_consent") {
            put(&mut on_file, consent(path, folder)?);
        }
        patches.extend(step.get("policy_overrides"));
        let policy = policy(vector, folder, &patches)?;
        let Some(attempt) = step.get("attempt") else {
            steps.push(Value::Null);
            continue;
        };
        let mut around = vector.clone();
        let mut request = vector.get("request").cloned().unwrap_or(Value::Null);
        // What the attempt states of the request itself, and what it patches.
        let stated = ["actions", "purpose", "patient", "custodian", "recipient", "emergency", "phase"];
        for key in stated.into_iter().filter(|key| attempt.get(*key).is_some()) {
            merge(&mut request, &json!({ key: attempt.get(key) }));
        }
        if let Some(patch) = attempt.get("request") {
            merge(&mut request, patch);
        }
        for key in ["consent_source", "resources", "provenance", "context_resources"] {
            for holder in [step, attempt] {
                if let (Some(value), Some(members)) = (holder.get(key), around.as_object_mut()) {
                    members.insert(key.to_owned(), value.clone());
                }
            }
        }
        steps.push(shown(&decided(&around, folder, &request, &policy, &on_file, now)));
    }
    Ok(json!({ "steps": steps }))
}

/// Compares each step of a timeline with what it expects.
pub(super) fn compare_steps(vector: &Value, got: Value) -> Outcome {
    let steps = list(vector, "steps");
    let expected: Vec<Value> = steps.iter().map(|step| step.get("expected").cloned().unwrap_or(Value::Null)).collect();
    let nothing = Vec::new();
    let found = got.get("steps").and_then(Value::as_array).unwrap_or(&nothing);
    let mut differs = Vec::new();
    if expected.iter().all(Value::is_null) {
        differs.push("it expects nothing".to_owned());
    }
    for (number, (expected, found)) in expected.iter().zip(found).enumerate().filter(|(_, (e, _))| !e.is_null()) {
        let number = number + 1;
        differs.extend(differences(expected, found).into_iter().map(|line| format!("step {number}: {line}")));
    }
    Outcome { expected: json!({ "steps": expected }), got, differs }
}

fn decided(
    vector: &Value,
    folder: &Folder,
    request: &Value,
    policy: &Policy,
    consents: &[Value],
    now: Micros,
) -> Decision {
    let request = Request::read(request, now, &folder.directory);
    let (entries, snapshot) = on_hand(vector, folder, consents, now);
    decide(&request, &entries, &snapshot, policy, &folder.terms)
}

/// The entries and the Consents.
fn on_hand(vector: &Value, folder: &Folder, consents: &[Value], now: Micros) -> (Vec<Entry>, Snapshot) {
    let bare = |resource| (None, resource);
    let resources: Vec<(Option<&_>, &Value)> = list(vector, "resources").iter().map(bare).collect();
    let sources = Sources {
        resources: &resources,
        provenance: list(vector, "provenance"),
        context: list(vector, "context_resources"),
    };
    let entries = Entry::read(sources, &folder.directory);
    let source = Source::read(vector.get("consent_source"), now);
    (entries, Snapshot::new(consents.iter().map(Directive::read).collect(), source))
}

/// A decision in the shape of `expected`.
pub(super) fn shown(decision: &Decision) -> Value {
    let resources: Map = decision
        .entries
        .iter()
        .map(|verdict| {
            let shown = json!({ "decision": verdict.effect.code(), "basis": verdict.basis.to_string() });
            (verdict.reference.to_string(), shown)
        })
        .collect();
    let mut shown = json!({ "message": decision.message.code(), "resources": resources });
    if let (false, Some(members)) = (decision.obligations.is_empty(), shown.as_object_mut()) {
        members.insert("obligations".to_owned(), json!(decision.obligations));
    }
    shown
}

/// The policy that a vector names, with its overrides.
pub(super) fn policy(vector: &Value, folder: &Folder, patches: &[&Value]) -> Result<Policy, String> {
    let name = vector.get("policy").and_then(Value::as_str).ok_or("it names no policy")?;
    let mut value = folder.policies.get(name).cloned().ok_or_else(|| format!("there is no policy `{name}`"))?;
    patches.iter().for_each(|patch| merge(&mut value, patch));
    Policy::read(name, &value).map_err(|error| error.to_string())
}

pub(super) fn consent(path: &Value, folder: &Folder) -> Result<Value, String> {
    if path.is_object() {
        return Ok(path.clone());
    }
    let path = path.as_str().ok_or("a Consent must be named by its path")?;
    folder.consents.get(path).cloned().ok_or_else(|| format!("there is no Consent `{path}`"))
}

/// Creates or replaces by id.
fn put(on_file: &mut Vec<Value>, consent: Value) {
    on_file.retain(|before| before.get("id") != consent.get("id"));
    on_file.push(consent);
}

pub(super) fn instant(value: Option<&Value>) -> Result<Micros, String> {
    let span = value.and_then(Value::as_str).and_then(Span::parse);
    span.map(|span| span.from).ok_or_else(|| "it does not say when".to_owned())
}

/// True to the format in what would otherwise be passed over.
pub(super) fn is_well_formed(vector: &Value) -> Result<(), String> {
    let lists = ["consents", "resources", "provenance", "context_resources", "steps"];
    let broken = lists.into_iter().find(|key| vector.get(*key).is_some_and(|value| !value.is_array()));
    match (broken, vector.get("format").and_then(Value::as_str)) {
        (Some(key), _) => Err(format!("`{key}` must be a list")),
        (None, Some("consent-vector/1") | None) => Ok(()),
        (None, Some(_)) => Err("its format is not consent-vector/1".to_owned()),
    }
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(members) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            members.shift_remove(key);
        } else {
            if !members.contains_key(key) {
                members.insert(key.clone(), Value::Null);
            }
            if let Some(member) = members.get_mut(key) {
                merge(member, value);
            }
        }
    }
}
