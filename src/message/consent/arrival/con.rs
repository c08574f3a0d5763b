//! CON, the consent segment (HL7 v2.6 and later, chapter 9).

use crate::json::{Map, Value, json};

use super::{Arrival, Reading, base_rule, code, frame, named, said_at, time};
use crate::consent::by_entry::ACT_CODE;
use crate::hl7v2::{Message, Segment};

const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// What CON-2 (table 0496) is a consent to, as far as privacy is concerned.
enum About {
    /// Release of information.
    Release,
    /// Release to family and friends.
    Family,
    /// Disclosure of an HIV test.
    Hiv,
    /// The patient asks for a restriction.
    Restriction,
    /// A privacy notice was given: permits nothing.
    Notice,
    /// Something about privacy that only a person can read.
    Unclear,
    /// A procedure or something else: no privacy consent.
    Nothing,
}

impl About {
    fn of(code: &str) -> Self {
        match code {
            "001" => Self::Release,
            "041" => Self::Family,
            "057" => Self::Hiv,
            "110" => Self::Restriction,
            "003" => Self::Notice,
            "099" | "103" | "109" | "" => Self::Unclear,
            code if code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) => Self::Nothing,
            // A code of the site's own may be about privacy.
            _ => Self::Unclear,
        }
    }
}

/// What one CON segment says.
pub(super) fn arrival(message: &Message, con: &Segment<'_>, reading: &Reading<'_>) -> Option<Arrival> {
    let about = About::of(&code(con, 2));
    let status = code(con, 11);
    if matches!(about, About::Nothing) {
        return None;
    }
    if status == "B" {
        return Some(Arrival::Bypassed);
    }
    let identifier = identifier(con, reading);
    if status == "X" {
        let decided = decided(message, con, reading);
        let mut consent = frame(message, reading, "inactive", decided);
        insert_identifier(&mut consent, identifier);
        return Some(Arrival::Rescinded(Value::Object(consent)));
    }
    let fhir_status = match status.as_str() {
        "P" => "proposed",
        _ => "active",
    };
    let mut consent = frame(message, reading, fhir_status, decided(message, con, reading));
    insert_identifier(&mut consent, identifier);
    if let Some(rule) = rule(con, &about, &status, reading) {
        let (base, mut provision) = rule;
        if let Some(base) = base {
            consent.insert("policyRule".to_owned(), base_rule(base));
        }
        let period = period(con, reading);
        if !period.is_empty() {
            provision.insert("period".to_owned(), Value::Object(period));
        }
        if !provision.is_empty() {
            consent.insert("provision".to_owned(), Value::Object(provision));
        }
    }
    Some(Arrival::Consent(Value::Object(consent)))
}

/// The base rule and the root of what can be computed; `None` where a person must code it.
fn rule(con: &Segment<'_>, about: &About, status: &str, reading: &Reading<'_>) -> Option<(Option<&'static str>, Map)> {
    let permits = match status {
        "A" => true,
        "R" => false,
        // Active with limits that are not known, or nothing that is known.
        _ => return None,
    };
    let limited = con.field(9).is_valued();
    let incompetent = code(con, 16) == "N" && is_subject(con);
    let by_practitioner = matches!(code(con, 25).as_str(), "6" | "7");
    let spoken = matches!(code(con, 10).as_str(), "V" | "T");
    if limited || incompetent || by_practitioner || (permits && spoken && !reading.accept_verbal) {
        return None;
    }
    let effect = if permits { "permit" } else { "deny" };
    let coding = |system: &str, code: &str| json!([{ "system": system, "code": code }]);
    let mut root = Map::new();
    root.insert("type".to_owned(), json!(effect));
    let base = match about {
        About::Release => Some(if permits { "OPTIN" } else { "OPTOUT" }),
        About::Family => {
            root.insert("purpose".to_owned(), coding(ACT_REASON, "FAMRQT"));
            None
        }
        About::Hiv => {
            root.insert("securityLabel".to_owned(), coding(ACT_CODE, "HIV"));
            None
        }
        // What it restricts is in words; a request that was refused restricts nothing.
        About::Restriction | About::Unclear | About::Nothing => return None,
        // A notice that was given or declined says nothing of what may be done.
        About::Notice => return None,
    };
    Some((base, root))
}

/// True if the one who consents is the patient (CON-25 `1`, or nobody else named).
fn is_subject(con: &Segment<'_>) -> bool {
    matches!(code(con, 25).as_str(), "" | "1" | "SEL")
}

/// CON-13, else CON-12, else when the message was sent.
fn decided(message: &Message, con: &Segment<'_>, reading: &Reading<'_>) -> Option<String> {
    [13, 12].into_iter().find_map(|field| time(con, field, reading)).or_else(|| said_at(message, reading))
}

/// CON-14 and CON-15.
fn period(con: &Segment<'_>, reading: &Reading<'_>) -> Map {
    let ends = [("start", 14), ("end", 15)].into_iter();
    ends.filter_map(|(key, field)| Some((key.to_owned(), json!(time(con, field, reading)?)))).collect()
}

/// CON-4, an entity identifier.
fn identifier(con: &Segment<'_>, reading: &Reading<'_>) -> Option<Value> {
    let field = con.field(4);
    let part = |n| field.component(n).value().trim().to_owned();
    field.component(1).is_valued().then(|| named(&part(2), &part(1), reading))
}

fn insert_identifier(consent: &mut Map, identifier: Option<Value>) {
    if let Some(identifier) = identifier {
        consent.shift_insert(1, "identifier".to_owned(), json!([identifier]));
    }
}
