//! A document is decided about as a whole: by the labels of all that was made from it, though its own mark tells none of
//! them. Pure.

use std::collections::BTreeMap;

use message::consent::by_entry::{Entry, normal};
use message::fhir::get_str;
use message::json::{Text, Value};

use super::people::Part;

/// Labels every document among `parts` with what the entries are labelled with that a Provenance says were made from it.
pub(super) fn enclose(parts: &[Part<'_>], entries: &mut [Entry]) {
    let is_provenance = |part: &&Part<'_>| get_str(part.resource, "resourceType") == Some("Provenance");
    // Most name what something was made from by its digest alone: it is not among the entries.
    let names_source = |entity: &Value| entity.get("what").is_some_and(|what| what.get("reference").is_some());
    if !parts.iter().any(|part| is_provenance(&part) && items(part.resource, "entity").iter().any(names_source)) {
        return;
    }
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        let kind = get_str(part.resource, "resourceType").unwrap_or_default();
        let id = get_str(part.resource, "id").map(|id| format!("{kind}/{id}"));
        places.extend(part.full_url.map(|url| normal(url).into()).into_iter().chain(id).map(|name| (name, at)));
    }
    let found =
        |reference: &Value| get_str(reference, "reference").and_then(|name| places.get(&*normal(name)).copied());
    for provenance in parts.iter().filter(is_provenance).map(|part| part.resource) {
        let sources = items(provenance, "entity").iter().filter(|entity| get_str(entity, "role") == Some("source"));
        let sources: Vec<usize> = sources.filter_map(|entity| found(entity.get("what")?)).collect();
        let made: Vec<usize> = items(provenance, "target").iter().filter_map(found).collect();
        for source in sources {
            for from in made.iter().filter(|made| **made != source) {
                let Some(inside) = entries.get(*from) else { continue };
                let (labels, level, test) = (inside.labels.clone(), inside.confidentiality, inside.test);
                let Some(whole) = entries.get_mut(source) else { continue };
                let new: Vec<Text> = labels.into_iter().filter(|label| !whole.labels.contains(label)).collect();
                whole.labels.extend(new);
                whole.confidentiality = whole.confidentiality.max(level);
                whole.test |= test;
            }
        }
    }
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use message::consent::Confidentiality;
    use std::sync::Arc;

    use message::consent::by_entry::Sources;
    use message::json::json;

    use super::super::people::parts;
    use super::*;

    #[test]
    fn a_document_is_decided_by_all_that_was_made_from_it() {
        let label = json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV" },
            { "system": message::consent::CONFIDENTIALITY, "code": "R" }]);
        let bundle = json!({ "resourceType": "Bundle", "entry": [
            { "fullUrl": "urn:uuid:d", "resource": { "resourceType": "DocumentReference", "id": "d" } },
            { "fullUrl": "urn:uuid:o", "resource": { "resourceType": "Observation", "id": "o", "meta": { "security": label } } },
            { "fullUrl": "urn:uuid:e", "resource": { "resourceType": "DocumentReference", "id": "e" } },
            { "resource": { "resourceType": "Provenance", "target": [{ "reference": "Observation/o" }, { "reference": "urn:uuid:e" }],
                "entity": [{ "role": "source", "what": { "reference": "urn:uuid:d" } }] } }
        ] });
        let parts = parts(&bundle);
        let resources: Vec<(Option<&Text>, &Value)> = parts.iter().map(|part| (part.full_url, part.resource)).collect();
        let sources = Sources { resources: &resources, provenance: &[], context: &[] };
        let mut entries = Entry::read(sources, &Arc::default());
        enclose(&parts, &mut entries);
        assert_eq!(
            (&*entries[0].labels, entries[0].confidentiality),
            (&[Text::from("HIV")][..], Some(Confidentiality::R))
        );
        assert!(entries[2].labels.is_empty(), "what was made beside it");
    }
}
