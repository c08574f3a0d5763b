//! ARV, the access restriction segment (HL7 v2.6 and later): after PID it restricts the person, after
//! PV1 the data of that encounter.

use crate::json::{Map, Value, json};

use super::{Arrival, Reading, base_rule, code, frame, named, said_at, time_of};
use crate::consent::CONFIDENTIALITY;
use crate::consent::by_entry::ACT_CODE;
use crate::hl7v2::{Message, Segment};

/// What a code of table 0717 restricts.
enum Restricts {
    /// Data with this label.
    Label(&'static str, &'static str),
    /// Everything.
    All,
    /// Nothing.
    Nothing,
    /// It is a base rule.
    Base(&'static str),
    /// It is a label of the data, no consent.
    LabelsOnly,
    /// Only a person can tell.
    Unclear,
}

impl Restricts {
    fn of(code: &str) -> Self {
        match code {
            "HIV" => Self::Label(ACT_CODE, "HIV"),
            "STD" => Self::Label(ACT_CODE, "STD"),
            "PSY" => Self::Label(ACT_CODE, "PSY"),
            "DRG" => Self::Label(ACT_CODE, "SUD"),
            "SMD" => Self::Label(CONFIDENTIALITY, "R"),
            "DEM" => Self::Label(ACT_CODE, "DEMO"),
            "LOC" => Self::Label(ACT_CODE, "PATLOC"),
            "PID-7" => Self::Label(ACT_CODE, "DOB"),
            "PID-17" => Self::Label(ACT_CODE, "REL"),
            "ALL" => Self::All,
            "NO" => Self::Nothing,
            "OI" | "OPTIN" => Self::Base("OPTIN"),
            "OO" | "OPTOUT" => Self::Base("OPTOUT"),
            "OPTINR" => Self::Base("OPTINR"),
            "OPTOUTE" => Self::Base("OPTOUTE"),
            "EMRGONLY" => Self::Base("EMRGONLY"),
            "42CFRPart2" | "HIPAASelfPay" | "HIPAAPsyNotes" => Self::LabelsOnly,
            _ => Self::Unclear,
        }
    }
}

/// The Consents that the ARV segments of `message` become: one for the person, one for each encounter.
pub(super) fn arrivals(message: &Message, reading: &Reading<'_>) -> Vec<Arrival> {
    let mut sets: Vec<(Option<Value>, Vec<Segment<'_>>)> = Vec::new();
    let mut about: Option<Value> = None;
    for segment in message.segments() {
        match segment.name() {
            "PID" => about = None,
            "PV1" => about = Some(encounter(&segment, reading)),
            "ARV" => match sets.iter_mut().find(|(set, _)| *set == about) {
                Some((_, segments)) => segments.push(segment),
                None => sets.push((about.clone(), vec![segment])),
            },
            _ => {}
        }
    }
    sets.into_iter().filter_map(|(about, segments)| consent(message, about.as_ref(), &segments, reading)).collect()
}

/// PV1-19, the encounter that data belongs to.
fn encounter(pv1: &Segment<'_>, reading: &Reading<'_>) -> Value {
    let visit = pv1.field(19);
    if !visit.component(1).is_valued() {
        return Value::Null;
    }
    let namespace = visit.component(4).value().trim().to_owned();
    named(&namespace, visit.component(1).value().trim(), reading)
}

fn consent(
    message: &Message,
    encounter: Option<&Value>,
    segments: &[Segment<'_>],
    reading: &Reading<'_>,
) -> Option<Arrival> {
    let (mut base, mut ended) = (None::<&str>, false);
    let mut rules: Vec<Value> = Vec::new();
    // A restriction of an encounter that is not named cannot be computed.
    let mut clear = encounter.is_none_or(|encounter| !encounter.is_null());
    let mut says = false;
    for arv in segments {
        let action = code(arv, 2);
        if action == "X" {
            continue;
        }
        let restrictions: Vec<String> = arv
            .field(3)
            .repetitions()
            .filter(|item| item.component(1).is_valued())
            .map(|item| item.component(1).value().trim().to_owned())
            .collect();
        if restrictions.is_empty() {
            // Words alone; nothing at all says nothing.
            let words = arv.field(5).is_valued();
            clear &= !words;
            says |= words;
        }
        for restriction in &restrictions {
            let label = match Restricts::of(restriction) {
                Restricts::Nothing | Restricts::LabelsOnly => continue,
                Restricts::Label(system, label) => Some((system, label)),
                Restricts::All => None,
                Restricts::Base(_) if action == "D" => {
                    (says, ended) = (true, true);
                    continue;
                }
                Restricts::Base(rule) => {
                    says = true;
                    // Where it says two things, the narrower holds.
                    base = base.into_iter().chain([rule]).max_by_key(|rule| narrowness(rule));
                    continue;
                }
                Restricts::Unclear => {
                    says = true;
                    clear = false;
                    continue;
                }
            };
            says = true;
            rules.push(provision(message, arv, label, encounter, &action, reading));
        }
    }
    if !says {
        return None;
    }
    // A base rule that was taken back leaves nothing.
    let over = ended && base.is_none() && rules.is_empty() && clear;
    let mut consent = frame(message, reading, if over { "inactive" } else { "active" }, said_at(message, reading));
    // What a sender says next of the same person or encounter takes the place of what it said before.
    let mut key = named("ARV", &set_key(message, encounter), reading);
    if let (Some(members), Some(about)) = (key.as_object_mut(), encounter.filter(|about| !about.is_null())) {
        members.insert("assigner".to_owned(), json!({ "identifier": about }));
    }
    consent.shift_insert(1, "identifier".to_owned(), json!([key]));
    // A series of its own: what it does not restrict takes back nothing that was refused otherwise.
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let series: String = set_key(message, encounter).chars().map(plain).collect();
    consent.insert("policy".to_owned(), json!([{ "uri": format!("urn:hl7-org:v2:ARV:{series}") }]));
    if clear {
        consent.insert("policyRule".to_owned(), base_rule(base.unwrap_or("OPTIN")));
        if !rules.is_empty() {
            consent.insert("provision".to_owned(), json!({ "provision": rules }));
        }
    }
    Some(Arrival::Consent(Value::Object(consent)))
}

/// How little a base rule permits.
fn narrowness(rule: &str) -> u8 {
    match rule {
        "OPTIN" | "OPTINR" => 0,
        "EMRGONLY" => 1,
        _ => 2,
    }
}

/// What is the same for all that a sender says of one person or encounter.
fn set_key(message: &Message, encounter: Option<&Value>) -> String {
    let header = message.segment("MSH");
    let sender = header.map(|msh| format!("{}/{}", code(&msh, 4), code(&msh, 3))).unwrap_or_default();
    let visit = encounter.and_then(|encounter| encounter.get("value")?.as_str()).unwrap_or("person");
    format!("{sender}/{visit}")
}

fn provision(
    message: &Message,
    arv: &Segment<'_>,
    label: Option<(&str, &str)>,
    encounter: Option<&Value>,
    action: &str,
    reading: &Reading<'_>,
) -> Value {
    let mut rule = Map::new();
    rule.insert("type".to_owned(), json!("deny"));
    let period = period(message, arv, action, reading);
    if !period.is_empty() {
        rule.insert("period".to_owned(), Value::Object(period));
    }
    if let Some((system, code)) = label {
        rule.insert("securityLabel".to_owned(), json!([{ "system": system, "code": code }]));
    }
    if let Some(encounter) = encounter.filter(|encounter| !encounter.is_null()) {
        let reference = json!({ "type": "Encounter", "identifier": encounter });
        rule.insert("data".to_owned(), json!([{ "meaning": "related", "reference": reference }]));
    }
    Value::Object(rule)
}

/// ARV-6, ended by action D.
fn period(message: &Message, arv: &Segment<'_>, action: &str, reading: &Reading<'_>) -> Map {
    let range = arv.field(6);
    let part = |n| time_of(range.component(n).value().trim(), reading);
    let end = if action == "D" { said_at(message, reading) } else { part(2) };
    let ends = [("start", part(1)), ("end", end)];
    ends.into_iter().filter_map(|(key, time)| Some((key.to_owned(), json!(time?)))).collect()
}
