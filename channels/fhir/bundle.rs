//! Reading what is to be sent as far as sending must know it, and changing it without rewriting it.
//!
//! What leaves are the bytes that came, but for a replaced `type` or left-out entries: decimals,
//! extensions and the order of members stay as they are.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The outline of a resource.
#[derive(Deserialize)]
pub(super) struct Outline<'a> {
    #[serde(borrow, rename = "resourceType")]
    pub(super) resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    entry: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    identifier: Option<&'a RawValue>,
}

/// `Bundle.identifier`.
#[derive(Deserialize)]
pub(super) struct Identifier {
    pub(super) system: Option<String>,
    pub(super) value: String,
}

impl<'a> Outline<'a> {
    /// That of `bytes`; `None` if they are no resource in JSON.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// `Bundle.type`, if this is a Bundle that has one.
    pub(super) fn bundle_type(&self) -> Option<&'a str> {
        let kind = self.kind.filter(|_| self.resource_type == "Bundle")?;
        kind.get().strip_prefix('"')?.strip_suffix('"')
    }

    /// `Bundle.identifier`, if this is a Bundle with one that has a value.
    pub(super) fn bundle_identifier(&self) -> Option<Identifier> {
        let identifier = self.identifier.filter(|_| self.resource_type == "Bundle")?;
        serde_json::from_str(identifier.get()).ok()
    }

    /// How many entries it has.
    pub(super) fn entries(&self) -> usize {
        self.entry.len()
    }
}

/// The Bundle `bytes`, whose outline this is, with `Bundle.type` set to `kind`.
pub(super) fn with_type(bytes: &Bytes, outline: &Outline<'_>, kind: &str) -> Bytes {
    match outline.kind.and_then(|old| range_of(bytes, old)) {
        Some(_) if outline.bundle_type() == Some(kind) => bytes.clone(),
        Some(range) => splice(bytes, [(range, format!("\"{kind}\""))]),
        None => bytes.clone(),
    }
}

/// The batch `bytes` with only the entries whose index `keep` takes, byte for byte; `None` if `bytes`
/// are no Bundle with such entries.
pub(super) fn with_entries(bytes: &Bytes, keep: impl Fn(usize) -> bool) -> Option<Bytes> {
    let outline = Outline::read(bytes)?;
    let first = range_of(bytes, outline.entry.first()?)?;
    let last = range_of(bytes, outline.entry.last()?)?;
    let kept = outline.entry.iter().enumerate().filter(|(index, _)| keep(*index)).map(|(_, entry)| entry.get());
    let kept = kept.collect::<Vec<_>>().join(",");
    Some(splice(bytes, [(first.start..last.end, kept)]))
}

/// A Bundle of `kind` with `resource` as its only entry: a PUT to its id, or a POST if it has none.
pub(super) fn wrap(resource: &Bytes, outline: &Outline<'_>, kind: &str) -> Bytes {
    let resource_type = &outline.resource_type;
    let (method, url) = match &outline.id {
        Some(id) => ("PUT", format!("{resource_type}/{id}")),
        None => ("POST", resource_type.to_string()),
    };
    let head = format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"resource":"#);
    let tail = format!(r#","request":{{"method":"{method}","url":"{url}"}}}}]}}"#);
    Bytes::from([head.as_bytes(), resource, tail.as_bytes()].concat())
}

/// Where `part`, which was read out of `whole`, stands in it.
fn range_of(whole: &[u8], part: &RawValue) -> Option<Range<usize>> {
    let start = part.get().as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let range = start..start.checked_add(part.get().len())?;
    (range.end <= whole.len()).then_some(range)
}

/// `bytes` with each range, in ascending order, replaced by its text.
fn splice<const N: usize>(bytes: &[u8], replacements: [(Range<usize>, String); N]) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let mut from = 0;
    for (range, text) in replacements {
        out.extend_from_slice(bytes.get(from..range.start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    const BATCH: &str = r#" {"type" : "batch", "entry": [ {"a":1.00}, {"b":"é"} ,{"c":[]}], "x": {"type":"y"}, "resourceType":"Bundle"}"#;

    #[track_caller]
    fn check_type(bundle: &str, kind: &str, expected: Expect) {
        let bytes = Bytes::from(bundle.to_owned());
        let changed = with_type(&bytes, &Outline::read(&bytes).unwrap(), kind);
        expected.assert_eq(std::str::from_utf8(&changed).unwrap());
    }

    #[track_caller]
    fn check_entries(keep: &[usize], expected: Expect) {
        let rest = with_entries(&Bytes::from(BATCH), |index| keep.contains(&index)).unwrap();
        expected.assert_eq(std::str::from_utf8(&rest).unwrap());
    }

    #[track_caller]
    fn check_wrapped(resource: &str, expected: Expect) {
        let bytes = Bytes::from(resource.to_owned());
        let bundle = wrap(&bytes, &Outline::read(&bytes).unwrap(), "transaction");
        serde_json::from_slice::<serde_json::Value>(&bundle).unwrap();
        expected.assert_eq(std::str::from_utf8(&bundle).unwrap());
    }

    #[test]
    fn changes_the_type_and_nothing_else() {
        check_type(
            BATCH,
            "transaction",
            expect![[
                r#" {"type" : "transaction", "entry": [ {"a":1.00}, {"b":"é"} ,{"c":[]}], "x": {"type":"y"}, "resourceType":"Bundle"}"#
            ]],
        );
        check_type(
            BATCH,
            "batch",
            expect![[
                r#" {"type" : "batch", "entry": [ {"a":1.00}, {"b":"é"} ,{"c":[]}], "x": {"type":"y"}, "resourceType":"Bundle"}"#
            ]],
        );
    }

    #[test]
    fn leaves_entries_out_and_the_others_as_they_are() {
        check_entries(
            &[0, 2],
            expect![[
                r#" {"type" : "batch", "entry": [ {"a":1.00},{"c":[]}], "x": {"type":"y"}, "resourceType":"Bundle"}"#
            ]],
        );
        check_entries(
            &[1],
            expect![[r#" {"type" : "batch", "entry": [ {"b":"é"}], "x": {"type":"y"}, "resourceType":"Bundle"}"#]],
        );
        check_entries(
            &[0, 1, 2],
            expect![[
                r#" {"type" : "batch", "entry": [ {"a":1.00},{"b":"é"},{"c":[]}], "x": {"type":"y"}, "resourceType":"Bundle"}"#
            ]],
        );
    }

    #[test]
    fn wraps_a_resource() {
        check_wrapped(
            r#"{"resourceType":"Patient","id":"a.1","multipleBirthInteger":0}"#,
            expect![[
                r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient","id":"a.1","multipleBirthInteger":0},"request":{"method":"PUT","url":"Patient/a.1"}}]}"#
            ]],
        );
        check_wrapped(
            r#"{"resourceType":"Encounter","type":[{"text":"x"}]}"#,
            expect![[
                r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Encounter","type":[{"text":"x"}]},"request":{"method":"POST","url":"Encounter"}}]}"#
            ]],
        );
    }

    #[test]
    fn reads_no_outline_of_what_is_no_resource() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"resourceType\":1}",
            "{\"resourceType\":\"Bundle\",\"entry\":{}}",
            "{\"resourceType\":\"List\"} x",
        ] {
            assert!(Outline::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    proptest! {
        /// Whatever is in the entries, those kept are equal to what they were.
        #[test]
        fn what_is_left_is_equal(texts in prop::collection::vec(".*", 1..6), keep: u8) {
            let entry: Vec<_> = texts.iter().map(|text| serde_json::json!({ "resource": { "text": text } })).collect();
            let bundle = serde_json::json!({ "resourceType": "Bundle", "entry": entry, "type": "batch" });
            let kept = |index: usize| keep & (1 << index) != 0;
            let rest = with_entries(&Bytes::from(bundle.to_string()), kept).unwrap();
            let rest: serde_json::Value = serde_json::from_slice(&rest).unwrap();
            let expected: Vec<_> = entry.into_iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, entry)| entry).collect();
            prop_assert_eq!(&rest["entry"], &serde_json::Value::from(expected));
            prop_assert_eq!(&rest["type"], "batch");
        }
    }
}
