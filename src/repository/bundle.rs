//! Transaction and batch Bundles, and their answers (FHIR R4 §3.1.0.11).

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::Repository;
use super::behave::Fate;
use super::entry::Entry;
use super::outcome::Refusal;
use super::store::instant;
use super::transaction::{Done, etag};

impl Repository {
    /// Carries out a transaction Bundle as a whole, or each entry of a batch Bundle by itself.
    ///
    /// # Errors
    ///
    /// What is wrong with the Bundle; of a batch's entries the answer tells.
    pub(super) fn process(&self, bundle: Value, fate: &Fate) -> Result<Value, Refusal> {
        let Value::Object(mut bundle) = bundle else {
            return Err(Refusal::invalid("a Bundle is a JSON object"));
        };
        if bundle.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
            return Err(Refusal::invalid("only a Bundle can be posted to the base").at(|| "resourceType".to_owned()));
        }
        let entries = match bundle.remove("entry") {
            None => Vec::new(),
            Some(Value::Array(entries)) if !entries.is_empty() => entries,
            Some(_) => {
                return Err(
                    Refusal::invalid("the entries are no list, or an empty one").at(|| "Bundle.entry".to_owned())
                );
            }
        };
        match bundle.get("type").and_then(Value::as_str) {
            Some("transaction") => self.transaction(entries, fate),
            Some("batch") => Ok(answer("batch-response", self.batch(entries, fate))),
            _ => Err(Refusal::invalid("only a transaction or a batch can be posted to the base")
                .at(|| "Bundle.type".to_owned())),
        }
    }

    fn transaction(&self, entries: Vec<Value>, fate: &Fate) -> Result<Value, Refusal> {
        let entries = entries.into_iter().enumerate().map(|(index, entry)| Entry::of_bundle(index, entry));
        let done = self.transact(entries.collect::<Result<_, _>>()?, fate)?;
        Ok(answer("transaction-response", done.into_iter().map(entry_of).collect()))
    }

    fn batch(&self, entries: Vec<Value>, fate: &Fate) -> Vec<Value> {
        let carry_out = |(index, entry)| {
            let entry = Entry::of_bundle(index, entry)?;
            self.transact(vec![entry], fate).map(|done| done.into_iter().next())
        };
        let answered = entries.into_iter().enumerate().map(carry_out);
        answered
            .map(|result| match result {
                Ok(done) => done.map(entry_of).unwrap_or_default(),
                Err(refusal) => {
                    json!({ "response": { "status": status(refusal.status), "outcome": refusal.to_outcome() } })
                }
            })
            .collect()
    }
}

fn answer(kind: &str, entries: Vec<Value>) -> Value {
    let mut bundle = json!({ "resourceType": "Bundle", "type": kind });
    if let (Some(bundle), false) = (bundle.as_object_mut(), entries.is_empty()) {
        bundle.insert("entry".to_owned(), Value::from(entries));
    }
    bundle
}

fn entry_of(done: Done) -> Value {
    let mut response = Map::new();
    response.insert("status".to_owned(), Value::from(status(done.status)));
    if let Some(written) = done.written {
        let (number, at) = (written.version.number, written.version.at);
        response
            .insert("location".to_owned(), Value::from(format!("{}/{}/_history/{number}", written.kind, written.id)));
        response.insert("etag".to_owned(), Value::from(etag(number)));
        response.insert("lastModified".to_owned(), Value::from(instant(at)));
    }
    let mut entry = Map::new();
    if let Some(body) = done.body {
        entry.insert("resource".to_owned(), body);
    }
    entry.insert("response".to_owned(), Value::Object(response));
    Value::Object(entry)
}

/// `201 Created`.
fn status(status: StatusCode) -> String {
    status.to_string()
}
