//! CON, the consent segment (HL7 v2.6 and later, chapter 9).

use crate::json::{Map, Value, json};

use super::{Arrival, Reading, base_rule, code, frame, named, said_at, scope, time};
use crate::consent::ACT_REASON;
use crate::consent::by_entry::ACT_CODE;
use crate::hl7v2::{Message, Segment};

/// Where the way in which a consent was given stands (CON-10, table 0497).
const MODE: &str = "urn:hl7-org:v2:CON-10";
const MODES: &str = "http://terminology.hl7.org/CodeSystem/v2-0497";

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
    /// A procedure: a consent to treatment, which says nothing of privacy.
    Treatment,
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
            code if code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) => Self::Treatment,
            // A code of the site's own may be about privacy.
            _ => Self::Unclear,
        }
    }
}

/// What one CON segment says.
pub(super) fn arrival(message: &Message, con: &Segment<'_>, reading: &Reading<'_>) -> Option<Arrival> {
    let about = About::of(&code(con, 2));
    let status = code(con, 11);
    if status == "B" && !matches!(about, About::Treatment) {
        return Some(Arrival::Bypassed);
    }
    let identifier = identifier(con, reading);
    if status == "X" && !matches!(about, About::Treatment) {
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
    insert_origin(&mut consent, con);
    if matches!(about, About::Treatment) {
        consent.insert("scope".to_owned(), scope("treatment"));
        return Some(Arrival::Treatment(Value::Object(consent)));
    }
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
    // A notice that was given says which, and nothing of what may be done.
    if matches!(about, About::Notice) {
        return Some((Some("NOPP"), Map::new()));
    }
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
        // Without limits in words (CON-9) all is to be withheld; what a refused request means, a person must tell.
        About::Restriction if permits => {
            root.insert("type".to_owned(), json!("deny"));
            Some("OPTOUT")
        }
        About::Restriction | About::Unclear | About::Treatment | About::Notice => return None,
    };
    Some((base, root))
}

/// On which form (CON-3), in what way (CON-10), and by whom (CON-24, CON-25) it was given.
fn insert_origin(consent: &mut Map, con: &Segment<'_>) {
    let form = code(con, 3);
    if !form.is_empty() {
        consent.insert("sourceReference".to_owned(), json!({ "identifier": { "value": form } }));
    }
    let mode = code(con, 10);
    if !mode.is_empty() {
        let mode = json!({ "system": MODES, "code": mode });
        consent.insert("extension".to_owned(), json!([{ "url": MODE, "valueCoding": mode }]));
    }
    let name = con.field(24);
    let part = |n: usize| name.component(n).value().trim().to_owned();
    let (family, given) = (name.component(1).subcomponent(1).value().trim().to_owned(), part(2));
    let name = [given, family].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let performer = match consent.get("patient").cloned() {
        Some(patient) if matches!(code(con, 25).as_str(), "1" | "SEL") => patient,
        _ if !name.is_empty() => json!({ "display": name }),
        _ => return,
    };
    consent.insert("performer".to_owned(), json!([performer]));
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
