//! What is asked: who wants the data, for what, about whom, when.

use std::fmt;
use std::sync::Arc;

use crate::consent::ACT_REASON;
use crate::json::{Text, Value};

use super::directory::{Directory, Party};
use super::entry::Coded;
use super::reference::{identifier, names, normal};
use super::span::{Micros, Span};

/// The reasons that open a record against or without consent (v3-ActReason, overrides).
pub const OVERRIDE_REASONS: &[&str] = &["OVRER", "OVRPS", "OVRTPS", "OVRPJ", "OVRINCOMP"];

/// A request to release data, all looked up beforehand.
#[derive(Clone)]
pub struct Request {
    /// The instant of the decision.
    pub now: Micros,
    /// consentaction codes that the release asserts: `disclose`, `access`, `collect`, `use`, `correct`.
    pub actions: Vec<Text>,
    /// ActReason codes, or `SYSTEM|CODE` of others; all must be permitted.
    pub purposes: Vec<Text>,
    /// Whose data it is: every reference and identifier of the person, linked identities included.
    pub patient: Vec<Text>,
    /// True if it is certain who that is.
    pub identified: bool,
    /// Who is to have it.
    pub recipient: Party,
    /// What kinds of organisation the recipient is: what a permit of the law is given to.
    pub recipient_kinds: Vec<Text>,
    /// What kinds of organisation the recipient may be: what the law withholds data from.
    pub recipient_may_be: Vec<Text>,
    /// True if the recipient is the patient.
    pub recipient_is_patient: bool,
    /// True if a person, not an organisation as a whole, is to have it.
    pub named_person: bool,
    /// Those who work for the recipient, where it is an organisation as a whole.
    pub staff: Vec<Text>,
    /// True unless the destination is one for tests.
    pub production: bool,
    /// Who discloses it: the data's custodian.
    pub custodian: Party,
    /// A declared emergency.
    pub emergency: Option<Emergency>,
    /// Who belongs to whom, to tell other parties apart.
    pub directory: Arc<Directory>,
}

/// What is asked, not of whom.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, actions, purposes, identified, production, .. } = self;
        let mut told = f.debug_struct("Request");
        told.field("now", now).field("actions", actions).field("purposes", purposes);
        told.field("identified", identified).field("production", production).finish_non_exhaustive()
    }
}

/// A declaration that opens a record in an emergency (break-glass).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emergency {
    /// An [`OVERRIDE_REASONS`] code.
    pub reason: Option<Text>,
    /// True if a person is named.
    pub by_person: bool,
    /// When it began; now where it is not said.
    pub at: Option<Micros>,
    /// When it ends, where it is said.
    pub until: Option<Micros>,
    /// True if it says something that is not understood: then it opens nothing.
    pub obscure: bool,
}

impl Request {
    /// Reads `{actions, purpose, patient, custodian, recipient, emergency}`. What is missing is not
    /// filled in: it is unknown, and decided so.
    #[must_use]
    pub fn read(value: &Value, now: Micros, directory: &Arc<Directory>) -> Self {
        let patient_value = value.get("patient").unwrap_or(&Value::Null);
        let patient = people(patient_value);
        let recipient_value = value.get("recipient").unwrap_or(&Value::Null);
        let of = |key: &str| recipient_value.get(key).map(all_names).unwrap_or_default();
        let (organisation, person) = (of("organization"), of("person"));
        let people = [of("practitioner"), person.clone(), of("device")].concat();
        let other = ["reference", "identifier", "group", "groups"].map(of).concat();
        let all = [organisation.clone(), people.clone(), other].concat();
        let recipient = directory.party(&all);
        let stated_kind = text(recipient_value, "type").into_iter();
        let stated_kind: Vec<Text> = stated_kind.map(Text::from).collect();
        let known_kinds = all.iter().filter_map(|name| directory.nearest_kind(name)).map(Text::from);
        let recipient_kinds = stated_kind.iter().cloned().chain(known_kinds).collect();
        let recipient_may_be = stated_kind.into_iter().chain(directory.kinds(&recipient)).collect();
        let named_person = !people.is_empty();
        Self {
            now,
            actions: texts(value.get("actions")),
            purposes: texts(value.get("purpose")).into_iter().map(plain_purpose).collect(),
            identified: !patient.is_empty() && text(patient_value, "match").as_deref() == Some("certain"),
            recipient_is_patient: person.iter().any(|name| patient.contains(name)),
            recipient_kinds,
            recipient_may_be,
            staff: if named_person { Vec::new() } else { directory.staff(&recipient.sure) },
            named_person,
            production: !matches!(
                text(recipient_value, "destination").as_deref(),
                Some("test" | "testing" | "sandbox")
            ),
            custodian: directory.party(&value.get("custodian").map(all_names).unwrap_or_default()),
            emergency: emergency(value.get("emergency"), &people),
            directory: Arc::clone(directory),
            patient,
            recipient,
        }
    }
}

/// Every name of a patient: its reference, its identifiers, those of linked identities.
fn people(patient: &Value) -> Vec<Text> {
    match patient {
        Value::Object(members) => {
            let stated = members.iter().filter(|(key, _)| *key != "match").flat_map(|(key, value)| match value {
                Value::Object(_) if key == "identifier" => identifier(value).into_iter().collect(),
                value => all_names(value),
            });
            stated.collect()
        }
        value => all_names(value),
    }
}

/// The names in a text, a Reference, an Identifier, an object of the site's own, or a list of them.
fn all_names(value: &Value) -> Vec<Text> {
    match value {
        Value::String(text) if text.contains('|') && !text.contains('?') => vec![text.as_str().into()],
        Value::String(text) if !text.is_empty() => vec![normal(text)],
        Value::Array(list) => list.iter().flat_map(all_names).collect(),
        Value::Object(members) if members.contains_key("value") => identifier(value).into_iter().collect(),
        Value::Object(_) => names(value),
        _ => Vec::new(),
    }
}

fn emergency(value: Option<&Value>, people: &[Text]) -> Option<Emergency> {
    let members = value?.as_object()?;
    if members.get("declared") != Some(&Value::Bool(true)) {
        return None;
    }
    let mut emergency = Emergency { by_person: !people.is_empty(), ..Emergency::default() };
    for (key, value) in members {
        let time = || value.as_str().and_then(Span::parse).map(|span| span.from);
        match key.as_str() {
            "declared" => {}
            "reason" => {
                let code = value.as_str().map(|reason| reason.rsplit('|').next().unwrap_or_default());
                emergency.reason = code.map(str::trim).filter(|code| !code.is_empty()).map(Text::from);
            }
            "by" => emergency.by_person |= !all_names(value).is_empty(),
            "at" | "start" | "declared_at" => {
                emergency.at = time();
                emergency.obscure |= emergency.at.is_none();
            }
            "until" | "end" | "expires" => {
                emergency.until = time();
                emergency.obscure |= emergency.until.is_none();
            }
            _ => emergency.obscure = true,
        }
    }
    Some(emergency)
}

/// A purpose with its system, as the code alone where that is v3-ActReason.
fn plain_purpose(purpose: Text) -> Text {
    match purpose.rsplit_once('|').map(|(system, code)| Coded::new(system, code)) {
        Some(Coded { system, code }) if &*system == ACT_REASON || system.is_empty() => code,
        Some(Coded { system, code }) => format!("{system}|{code}").into(),
        None => purpose,
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn texts(value: Option<&Value>) -> Vec<Text> {
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(Text::from).collect(),
        Some(Value::String(text)) => vec![text.as_str().into()],
        _ => Vec::new(),
    }
}
