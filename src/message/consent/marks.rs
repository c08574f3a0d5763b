//! What an envelope may say of what is in it, and what a document says to what is in it.

use crate::json::{Value, json};

use super::{ACT_REASON, CONFIDENTIALITY, Confidentiality};

/// The labels of a Bundle, MessageHeader, DocumentReference or List around `resources`: their highest
/// confidentiality, N where none says any, and `HTEST`. Nothing of what they are about: an envelope is
/// read by more eyes than its content.
#[must_use]
pub fn high_water_mark<'a>(resources: impl Iterator<Item = &'a Value>) -> Vec<Value> {
    let (mut level, mut test) = (None, false);
    for resource in resources {
        let mut own = None;
        let labels = resource.get("meta").and_then(|meta| meta.get("security")).and_then(Value::as_array);
        for label in labels.into_iter().flatten() {
            let part = |key: &str| label.get(key).and_then(Value::as_str).unwrap_or_default();
            match part("system").trim_end_matches('/') {
                CONFIDENTIALITY => {
                    own = own.max(Some(Confidentiality::from_code(part("code")).unwrap_or(Confidentiality::V)))
                }
                ACT_REASON => test |= part("code") == "HTEST",
                _ => {}
            }
        }
        level = level.max(own.or(Some(Confidentiality::N)));
    }
    let level = level.unwrap_or_default();
    let mut mark = vec![json!({ "system": CONFIDENTIALITY, "code": level.code() })];
    if test {
        mark.push(json!({ "system": ACT_REASON, "code": "HTEST" }));
    }
    mark
}

/// How confidential the entries of a document's section are (C-CDA context conduction): as the entry
/// says, else its section, else the document; N where none says. A code that is no level is taken as R.
#[must_use]
pub fn conducted(document: Option<&str>, section: Option<&str>, entry: Option<&str>) -> Confidentiality {
    let level = |code: &str| Confidentiality::from_code(code).unwrap_or(Confidentiality::R);
    entry.or(section).or(document).map_or(Confidentiality::N, level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_it_nearer_than_its_section_and_its_document() {
        assert_eq!(conducted(Some("R"), None, None), Confidentiality::R);
        assert_eq!(conducted(Some("R"), Some("N"), None), Confidentiality::N);
        assert_eq!(conducted(Some("N"), Some("R"), Some("V")), Confidentiality::V);
        assert_eq!(conducted(Some("secret"), None, None), Confidentiality::R);
        assert_eq!(conducted(None, None, None), Confidentiality::N);
    }
}
