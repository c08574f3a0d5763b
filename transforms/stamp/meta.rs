//! The stamps in a resource's `meta`: `source`, `security` and `tag`, changed in place.
//!
//! What the sender wrote there stays; labels are added and raised, never lowered (DS4P: the highest
//! protection applies).

use std::collections::BTreeSet;

use message::consent::{ACT_REASON, CONFIDENTIALITY, Confidentiality, Flags, OBSERVATION_VALUE, Purpose, common};
use message::json::{Map, Text, Value};

use super::bundle::{kind_of, objects, text};
use super::labels::Labels;

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
/// The system of MSH-11.1 as a tag.
pub(super) const PROCESSING_ID: &str = "http://terminology.hl7.org/CodeSystem/v2-0103";
/// The system of MSH-11.2 as a tag.
pub(super) const PROCESSING_MODE: &str = "http://terminology.hl7.org/CodeSystem/v2-0207";
/// The label of test data (ActReason).
const TEST: &str = "HTEST";

/// What all resources of a message are stamped with.
#[derive(Clone, Copy)]
pub(super) struct Stamps<'a> {
    /// `meta.source`: the sending system and the message.
    pub(super) source: &'a Text,
    /// `meta.tag`: system and code.
    pub(super) tags: &'a [(&'static str, Text)],
    /// At least this confidential.
    pub(super) level: Confidentiality,
    /// Labels of the whole that a resource without its own confidentiality takes on.
    pub(super) inherited: &'a [Value],
    /// The only purposes of use that channel and message leave.
    pub(super) purposes: Option<&'a BTreeSet<Purpose>>,
    /// It is test data.
    pub(super) test: bool,
    /// What was done to the data: codes of v3-ObservationValue, such as `MAPPED`.
    pub(super) integrity: &'a [&'static str],
}

/// Stamps `resource`, with `labels` of its own besides, and adds to `flags` what its labels say then.
///
/// # Errors
///
/// What is wrong with its `meta`, if that is not what FHIR R4 Meta is.
pub(super) fn stamp(
    resource: &mut Map,
    stamps: Stamps<'_>,
    labels: &[&Labels],
    flags: &mut Flags,
) -> Result<(), &'static str> {
    let level = stated(resource).map_or(stamps.level, |level| level.max(stamps.level));
    let stamps = Stamps { level, ..stamps };
    let meta = meta_of(resource)?;
    match meta.get_mut("source") {
        Some(source @ (Value::String(_) | Value::Array(_))) => *source = Value::from(stamps.source.clone()),
        Some(_) => return Err("meta.source must be text"),
        None => {
            meta.put("source", stamps.source.clone());
        }
    }
    secure(list_at(meta, "security")?, stamps, labels, flags);
    if !stamps.tags.is_empty() {
        let tags = list_at(meta, "tag")?;
        for (system, code) in stamps.tags.iter().filter(|(_, code)| !code.is_empty()) {
            if !tags.iter().any(|tag| is(tag, system, code)) {
                tags.push(coding(system, code.clone()));
            }
        }
    }
    Ok(())
}

/// How confidential a document says that it is, besides its `meta`: Composition.confidentiality,
/// DocumentReference.securityLabel.
pub(super) fn stated(resource: &Map) -> Option<Confidentiality> {
    let codings = objects(resource, "securityLabel").flat_map(|label| objects(label, "coding"));
    let labelled = codings.filter(|coding| text(coding, "system") == Some(CONFIDENTIALITY));
    let codes = labelled.filter_map(|coding| text(coding, "code")).chain(text(resource, "confidentiality"));
    codes.filter_map(Confidentiality::from_code).max()
}

/// The `meta.source` that somebody else wrote; some servers write a list of them.
pub(super) fn former_sources<'a>(resource: &'a Map, ours: &'a str) -> impl Iterator<Item = &'a Text> {
    let source = resource.get("meta").and_then(|meta| meta.get("source"));
    let many = source.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |source: &'a Value| if let Value::String(text) = source { Some(text) } else { None };
    let sources = source.and_then(text).into_iter().chain(many.iter().filter_map(text));
    sources.filter(move |source| *source != ours)
}

/// How confidential `resource` is said to be, and its ActCode labels.
pub(super) fn labels_of(resource: &Map) -> Labels {
    let mut labels = Labels { level: stated(resource), ..Labels::default() };
    for label in security_of(resource) {
        match system_of(label) {
            CONFIDENTIALITY => {
                let level = Confidentiality::from_code(code_of(label)).unwrap_or(Confidentiality::R);
                labels.level = labels.level.max(Some(level));
            }
            ACT_CODE => labels.add_code(code_of(label)),
            _ => {}
        }
    }
    labels
}

/// Adds to `flags` what the labels of `resource` say as it stands, and of all that is in it if it is
/// a Bundle.
pub(super) fn read(resource: &Map, flags: &mut Flags) {
    if kind_of(resource) == "Bundle" {
        let resources = objects(resource, "entry").filter_map(|entry| entry.get("resource")?.as_object());
        resources.for_each(|resource| read(resource, flags));
    }
    if let Some(level) = stated(resource) {
        flags.raise(level);
    }
    for label in security_of(resource) {
        match (system_of(label), code_of(label)) {
            (CONFIDENTIALITY, code) => flags.raise(Confidentiality::from_code(code).unwrap_or(Confidentiality::R)),
            (ACT_CODE, code) => flags.refrain(code),
            _ => {}
        }
    }
    let purposes = purposes_of(security_of(resource));
    if !purposes.is_empty() {
        flags.restrict(&purposes);
    }
    flags.test_data |= says_test(resource);
}

/// The `meta` of resources that come with none and have no labels of their own: worked out once.
pub(super) struct Fresh {
    meta: Value,
    flags: Flags,
}

impl Fresh {
    pub(super) fn new(stamps: Stamps<'_>, labels: &Labels) -> Result<Self, &'static str> {
        let (mut resource, mut flags) = (Map::new(), Flags::default());
        stamp(&mut resource, stamps, &[labels], &mut flags)?;
        let mut meta = resource.get_mut("meta").map(Value::take).unwrap_or_default();
        // It is the same in every entry, and a third of the Bundle's text.
        meta.share();
        Ok(Self { meta, flags })
    }

    /// Stamps `resource`, if it comes with no `meta` and says nothing of its confidentiality.
    pub(super) fn stamp(&self, resource: &mut Map, flags: &mut Flags) -> bool {
        let plain = !resource.contains_key("meta") && stated(resource).is_none();
        if plain {
            insert_meta(resource, self.meta.clone());
            flags.add(&self.flags);
        }
        plain
    }
}

/// True if a label or tag says that this is test data: `HTEST`, or a processing id other than `P`.
pub(super) fn says_test(resource: &Map) -> bool {
    let Some(meta) = resource.get("meta").and_then(Value::as_object) else { return false };
    let tagged = objects(meta, "tag")
        .filter(|tag| text(tag, "system") == Some(PROCESSING_ID))
        .any(|tag| text(tag, "code").is_some_and(|code| !code.eq_ignore_ascii_case("P")));
    tagged || security_of(resource).any(|label| is(label, ACT_REASON, TEST))
}

/// The labels of `resource`; of what is no list of labels, none.
pub(super) fn security_of(resource: &Map) -> impl Iterator<Item = &Value> {
    let security = resource.get("meta").and_then(|meta| meta.get("security")).and_then(Value::as_array);
    security.map(Vec::as_slice).unwrap_or_default().iter()
}

/// The purposes of use that `labels` restrict their data to; empty where they restrict nothing.
pub(super) fn purposes_of<'a>(labels: impl Iterator<Item = &'a Value>) -> BTreeSet<Purpose> {
    let codes = labels.filter(|label| system_of(label) == ACT_REASON).map(code_of).filter(|code| *code != TEST);
    codes.filter_map(|code| Purpose::try_from(code.to_owned()).ok()).collect()
}

/// Brings the labels in order: one confidentiality, then ActCode, ActReason, ObservationValue and the
/// rest, each sorted by code.
fn secure(security: &mut Vec<Value>, stamps: Stamps<'_>, labels: &[&Labels], flags: &mut Flags) {
    if !security.iter().any(|label| system_of(label) == CONFIDENTIALITY) {
        security.extend_from_slice(stamps.inherited);
    }
    let least = labels.iter().filter_map(|labels| labels.level).fold(stamps.level, Confidentiality::max);
    let level = one_confidentiality(security, least);
    flags.raise(level);
    security.extend(labels.iter().flat_map(|labels| &labels.codes).map(|code| coding(ACT_CODE, code.as_str())));
    if let Some(purposes) = restrict(security, stamps.purposes) {
        flags.restrict(&purposes);
    }
    if stamps.test {
        security.push(coding(ACT_REASON, TEST));
    }
    let asserted = labels.iter().flat_map(|labels| &labels.assertions).chain(stamps.integrity);
    security.extend(asserted.map(|code| coding(OBSERVATION_VALUE, Text::new_static(code))));
    security.iter().filter(|label| system_of(label) == ACT_CODE).for_each(|label| flags.refrain(code_of(label)));
    if security.len() > 1 {
        security.sort_by(|a, b| order_of(a).cmp(&order_of(b)));
        security.dedup_by(says_no_more);
    }
}

/// Leaves the highest confidentiality alone, and that at least `least`.
fn one_confidentiality(security: &mut Vec<Value>, least: Confidentiality) -> Confidentiality {
    let mut highest: Option<(Confidentiality, Value)> = None;
    let mut least = least;
    security.retain_mut(|label| {
        if system_of(label) != CONFIDENTIALITY {
            return true;
        }
        let Some(level) = Confidentiality::from_code(code_of(label)) else {
            least = least.max(Confidentiality::R);
            by_information(label);
            return true;
        };
        if highest.as_ref().is_none_or(|(before, _)| *before < level) {
            highest = Some((level, label.take()));
        }
        false
    });
    let own = highest.as_ref().map_or(Confidentiality::N, |(level, _)| *level);
    let raised = least > own;
    let level = if raised { least } else { own };
    let label = highest.filter(|_| !raised).map_or_else(|| coding(CONFIDENTIALITY, level.code()), |(_, label)| label);
    security.push(label);
    level
}

/// Codes that the Confidentiality system had for kinds of information (v3 before 2010, and the
/// v2-to-FHIR guide's map of table 0177) become what ActCode calls them.
fn by_information(label: &mut Value) {
    let code = match code_of(label) {
        "ETH" => "ETH",
        "HIV" => "HIV",
        "PSY" => "PSY",
        "SDV" => "SDV",
        "C" => "CEL",
        "T" => "TBOO",
        _ => return,
    };
    *label = coding(ACT_CODE, code);
}

/// Narrows the purposes among `security` to those that `allowed` leaves too; returns what is left,
/// `None` where nothing restricts them.
fn restrict(security: &mut Vec<Value>, allowed: Option<&BTreeSet<Purpose>>) -> Option<BTreeSet<Purpose>> {
    let own = purposes_of(security.iter());
    let left = match (own.is_empty(), allowed) {
        (true, None) => return None,
        (true, Some(allowed)) => allowed.clone(),
        (false, None) => return Some(own),
        (false, Some(allowed)) => common(&own, allowed),
    };
    // "None at all" cannot be said in labels: the sender's stay, and the flags hold the message.
    if left.is_empty() || left == own {
        return Some(left);
    }
    let is_left = |label: &Value| left.iter().any(|purpose| purpose.code() == code_of(label));
    security.retain(|label| system_of(label) != ACT_REASON || code_of(label) == TEST || is_left(label));
    security
        .extend(left.iter().filter(|purpose| !own.contains(purpose)).map(|p| coding(ACT_REASON, Text::new(p.code()))));
    Some(left)
}

fn order_of(label: &Value) -> (u8, &str, &str) {
    let system = system_of(label);
    let rank = match system {
        CONFIDENTIALITY => 0,
        ACT_CODE => 1,
        ACT_REASON => 2,
        OBSERVATION_VALUE => 3,
        _ => 4,
    };
    (rank, system, code_of(label))
}

/// True if `later` is the same label as `earlier` and has no member that `earlier` lacks; what it
/// has more is taken over where `earlier` says nothing else.
fn says_no_more(later: &mut Value, earlier: &mut Value) -> bool {
    let (Some(later_members), Some(earlier_members)) = (later.as_object(), earlier.as_object()) else {
        return later == earlier;
    };
    if order_of(later) != order_of(earlier) || code_of(later).is_empty() {
        return later == earlier;
    }
    if later_members.is_within(earlier_members) {
        return true;
    }
    let replaces = earlier_members.is_within(later_members);
    if replaces {
        std::mem::swap(later, earlier);
    }
    replaces
}

/// `meta`, made right after `id` where it is missing.
fn meta_of(resource: &mut Map) -> Result<&mut Map, &'static str> {
    if !resource.contains_key("meta") {
        insert_meta(resource, Value::Object(Map::with_capacity(3)));
    }
    resource.get_mut("meta").and_then(Value::as_object_mut).ok_or("meta must be an object")
}

fn insert_meta(resource: &mut Map, meta: Value) {
    let at = resource.keys().take(2).take_while(|key| matches!(key.as_str(), "resourceType" | "id")).count();
    resource.put_at(at, "meta", meta);
}

/// The array of objects at `key`, made where it is missing.
fn list_at<'a>(meta: &'a mut Map, key: &'static str) -> Result<&'a mut Vec<Value>, &'static str> {
    if !meta.contains_key(key) {
        meta.put(key, Value::Array(Vec::new()));
    }
    let list = meta.get_mut(key).and_then(Value::as_array_mut);
    list.filter(|list| list.iter().all(Value::is_object)).ok_or("meta.security and meta.tag must be lists of Codings")
}

fn coding(system: &'static str, code: impl Into<Text>) -> Value {
    Value::object([("system", Value::fixed(system)), ("code", Value::String(code.into()))])
}

fn is(label: &Value, system: &str, code: &str) -> bool {
    system_of(label) == system && code_of(label) == code
}

fn system_of(label: &Value) -> &str {
    label.get("system").and_then(Value::as_str).unwrap_or_default()
}

fn code_of(label: &Value) -> &str {
    label.get("code").and_then(Value::as_str).unwrap_or_default()
}
