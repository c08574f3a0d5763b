//! Vectors about the answers of an external decision service.

use std::sync::Arc;

use crate::json::{Value, json};

use super::Folder;
use super::decisions::{consent, instant, list, policy, shown};
use crate::consent::by_entry::{Directive, Entry, Request, Snapshot, Source, Sources, decide};
use crate::consent::external::Answer;

/// The decision that follows from the service's `response`.
pub(super) fn external(vector: &Value, folder: &Folder) -> Result<Value, String> {
    let patches: Vec<&Value> = vector.get("policy_overrides").into_iter().collect();
    let policy = policy(vector, folder, &patches)?;
    let purpose = purposes(vector);
    // Without a request of its own, a vector is about an ordinary one.
    let asked = json!({
        "actions": ["disclose", "access"],
        "purpose": purpose,
        "patient": { "reference": "Patient/pat-1", "match": "certain" },
        "recipient": { "organization": recipient(vector) },
    });
    let now = instant(vector.get("now")).unwrap_or(0);
    let request = Request::read(vector.get("decision_request").unwrap_or(&asked), now, &folder.directory);
    let resources: Vec<(Option<&_>, &Value)> =
        list(vector, "resources").iter().map(|resource| (None, resource)).collect();
    let sources = Sources { resources: &resources, provenance: list(vector, "provenance"), context: &[] };
    let entries = Entry::read(sources, &folder.directory);
    let refused = vector.get("status").or_else(|| vector.get("http_status")).and_then(Value::as_u64);
    let answer = match refused {
        Some(status) if !(200..300).contains(&status) => Answer::Invalid,
        _ => Answer::read(vector.get("response").unwrap_or(&Value::Null)),
    };
    let on_file = list(vector, "consents").iter().map(|path| Ok(Directive::read(&consent(path, folder)?)));
    let on_file = on_file.collect::<Result<Vec<_>, String>>()?;
    let snapshot = Snapshot::new(on_file, Source::Fresh).answered(Arc::new(answer));
    Ok(shown(&decide(&request, &entries, &snapshot, &policy, &folder.terms)))
}

/// Whom the service was asked about.
fn recipient(vector: &Value) -> Value {
    let context = vector.get("request").and_then(|request| request.get("context"));
    let actor = context.and_then(|context| context.get("actor")).cloned();
    actor.unwrap_or_else(|| json!("Organization/recipient"))
}

fn purposes(vector: &Value) -> Value {
    if let Some(one) = vector.get("policy_purpose") {
        return json!([one]);
    }
    let context = vector.get("request").and_then(|request| request.get("context"));
    let asked = context.and_then(|context| context.get("purposeOfUse")).cloned();
    let direct = vector.get("request").and_then(|request| request.get("purpose")).cloned();
    asked.or(direct).unwrap_or_else(|| json!(["TREAT"]))
}
