//! What must hold of consent decisions whatever the consents, entries and requests: generated, not listed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use message::consent::by_entry::{
    Decision, Directive, Directory, Effect, Entry, Policy, Release, Request, Snapshot, Source, Sources, Span, Terms,
    decide,
};
use message::consent::redact;
use message::json::Value as Own;
use proptest::prelude::*;
use serde_json::{Value, json};

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

static TERMS: LazyLock<Terms> = LazyLock::new(|| Terms::shipped().unwrap());

/// All that a decision is made of, as JSON.
#[derive(Clone, Debug)]
struct Case {
    now: &'static str,
    request: Value,
    entries: Vec<Value>,
    consents: Vec<Value>,
    policy: Value,
    source: Option<Value>,
}

impl Case {
    fn decide(&self) -> Decision {
        self.decide_at(at(self.now))
    }

    fn decide_at(&self, now: i64) -> Decision {
        let directory = Arc::new(directory());
        let request = Request::read(&own(&self.request), now, &directory);
        let entries: Vec<Own> = self.entries.iter().map(own).collect();
        let resources: Vec<(Option<&_>, &Own)> = entries.iter().map(|entry| (None, entry)).collect();
        let entries = Entry::read(Sources { resources: &resources, provenance: &[], context: &[] }, &directory);
        let directives = self.consents.iter().map(|consent| Directive::read(&own(consent))).collect();
        let snapshot = Snapshot::new(directives, Source::read(self.source.as_ref().map(own).as_ref(), now));
        let policy = Policy::read("generated", &own(&self.policy)).unwrap();
        decide(&request, &entries, &snapshot, &policy, &TERMS)
    }
}

/// As the engine holds it.
fn own(value: &Value) -> Own {
    value.clone().into()
}

fn at(text: &str) -> i64 {
    Span::parse(text).unwrap().from
}

fn directory() -> Directory {
    Directory::read(&own(&json!({
        "organizations": {
            "Organization/gp": {}, "Organization/hosp": {}, "Organization/ed": { "partOf": "Organization/hosp" },
            "Organization/payer": { "type": "payer" },
        },
        "practitioners": { "Practitioner/e": { "organizations": ["Organization/ed"] } },
        "groups": { "Group/btg": ["Practitioner/e"] },
    })))
    .unwrap()
}

fn permits(decision: &Decision) -> BTreeSet<String> {
    let permitted = decision.entries.iter().filter(|verdict| verdict.effect == Effect::Permit);
    permitted.map(|verdict| verdict.reference.to_string()).collect()
}

fn pick(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(values)
}

fn coding(system: &'static str, code: &str) -> Value {
    json!({ "system": system, "code": code })
}

const PURPOSES: &[&str] =
    &["TREAT", "ETREAT", "BTG", "HPAYMT", "HOPERAT", "HRESCH", "CLINTRCH", "MLTRAINING", "PATRQT"];
const LABELS: &[&str] = &["HIV", "PSY", "SUD", "OPIOIDUD", "ETHUD", "SPI", "PSYTHPN", "42CFRPart2", "NORDSCLCD"];
const DATES: &[&str] = &["2024", "2024-06", "2025-01-10", "2025-06-01T10:00:00Z", "2026-03-01", "2027"];

fn actor() -> impl Strategy<Value = Value> {
    let who = pick(&[
        "Organization/gp",
        "Organization/hosp",
        "Organization/ed",
        "Practitioner/e",
        "Group/btg",
        "Group/other",
    ]);
    (pick(&["IRCP", "PRCP", "CST", "AUT"]), who).prop_map(|(role, who)| {
        let system = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
        json!({ "role": { "coding": [{ "system": system, "code": role }] }, "reference": { "reference": who } })
    })
}

fn period() -> impl Strategy<Value = Value> {
    (pick(DATES), pick(DATES)).prop_filter_map("ordered", |(start, end)| {
        let period = json!({ "start": start, "end": end });
        Span::of_period(&own(&period)).map(|_| period)
    })
}

/// One attribute of a provision.
fn attribute() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        pick(PURPOSES).prop_map(|code| ("purpose", json!([coding(ACT_REASON, code)]))),
        pick(LABELS).prop_map(|code| ("securityLabel", json!([coding(ACT_CODE, code)]))),
        pick(&["N", "R", "V"]).prop_map(|code| ("securityLabel", json!([coding(CONFIDENTIALITY, code)]))),
        actor().prop_map(|actor| ("actor", json!([actor]))),
        period().prop_map(|period| ("period", period)),
        period().prop_map(|period| ("dataPeriod", period)),
        pick(&["Observation", "Condition"])
            .prop_map(|kind| ("class", json!([coding("http://hl7.org/fhir/resource-types", kind)]))),
        (
            pick(&["instance", "related", "dependents", "authoredby"]),
            pick(&["Observation/0", "Condition/1", "Organization/gp"])
        )
            .prop_map(|(meaning, who)| ("data", json!([{ "meaning": meaning, "reference": { "reference": who } }]))),
        pick(&["disclose", "use"]).prop_map(|code| {
            let system = "http://terminology.hl7.org/CodeSystem/consentaction";
            ("action", json!([{ "coding": [{ "system": system, "code": code }] }]))
        }),
    ]
}

fn provision() -> impl Strategy<Value = Value> {
    let leaf = (prop::option::weighted(0.9, pick(&["permit", "deny"])), prop::collection::vec(attribute(), 0..3))
        .prop_map(|(kind, attributes)| {
            let mut provision = json!({});
            for (key, value) in attributes {
                provision[key] = value;
            }
            if let Some(kind) = kind {
                provision["type"] = json!(kind);
            }
            provision
        });
    leaf.prop_recursive(3, 12, 3, |inner| {
        (inner.clone(), prop::collection::vec(inner, 1..3)).prop_map(|(mut outer, children)| {
            // Nothing in FHIR's JSON is empty.
            let children: Vec<Value> = children.into_iter().filter(|child| *child != json!({})).collect();
            if !children.is_empty() {
                outer["provision"] = json!(children);
            }
            outer
        })
    })
}

fn consent() -> impl Strategy<Value = Value> {
    let rule = prop::option::weighted(0.4, pick(&["OPTIN", "OPTOUT", "EMRGONLY"]));
    let organisation = pick(&["Organization/hosp", "Organization/gp"]);
    (0..1000_u32, provision(), rule, pick(&["2024-02-01", "2025-01-10", "2025-01-10T09:00:00Z", "2026-12-01"]), organisation, prop::bool::weighted(0.2), prop::bool::weighted(0.1)).prop_map(
        |(id, provision, rule, dated, organisation, pcf, unverified)| {
            let mut consent = json!({
                "resourceType": "Consent", "id": format!("c{id}"), "status": "active",
                "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
                "patient": { "reference": "Patient/1" }, "dateTime": dated,
                "organization": [{ "reference": organisation }],
            });
            if provision != json!({}) {
                consent["provision"] = provision;
            }
            if let Some(rule) = rule {
                consent["policyRule"] = json!({ "coding": [coding(ACT_CODE, rule)] });
            }
            if pcf {
                consent["meta"] = json!({ "profile": ["https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentAdvanced"] });
            }
            if unverified {
                consent["verification"] = json!([{ "verified": false }]);
            }
            consent
        },
    )
}

fn entry(at: usize) -> impl Strategy<Value = Value> {
    let labels = prop::collection::vec(pick(LABELS), 0..3);
    let level = prop::option::of(pick(&["L", "N", "R", "V"]));
    (labels, level, prop::option::of(pick(DATES)), prop::option::of(pick(&["Organization/gp", "Practitioner/e"])))
        .prop_map(move |(labels, level, dated, author)| {
            let mut security: Vec<Value> = labels.into_iter().map(|code| coding(ACT_CODE, code)).collect();
            security.extend(level.map(|level| coding(CONFIDENTIALITY, level)));
            let kind = if at == 1 { "Condition" } else { "Observation" };
            let mut entry = json!({ "resourceType": kind, "id": at.to_string() });
            if !security.is_empty() {
                entry["meta"] = json!({ "security": security });
            }
            if let Some(dated) = dated {
                entry[if at == 1 { "onsetDateTime" } else { "effectiveDateTime" }] = json!(dated);
            }
            if let Some(author) = author {
                entry[if at == 1 { "recorder" } else { "performer" }] = json!([{ "reference": author }]);
            }
            entry
        })
}

fn case() -> impl Strategy<Value = Case> {
    let defaults = prop_oneof![
        Just(json!({ "*": "deny" })),
        Just(json!({ "TREAT": "permit", "HPAYMT": "permit", "HOPERAT": "permit", "*": "deny" })),
        Just(json!({ "*": "park" })),
    ];
    let recipient = prop_oneof![
        Just(json!({ "organization": "Organization/gp" })),
        Just(json!({ "organization": "Organization/hosp" })),
        Just(json!({ "organization": "Organization/ed", "practitioner": "Practitioner/e" })),
    ];
    let entries = (entry(0), entry(1), entry(2)).prop_map(|(a, b, c)| vec![a, b, c]);
    let request = (prop::collection::btree_set(pick(PURPOSES), 1..3), recipient, any::<bool>());
    (request, entries, prop::collection::vec(consent(), 0..4), defaults).prop_map(|((purposes, recipient, emergency), entries, consents, default)| {
        let mut request = json!({
            "actions": ["disclose", "access"], "purpose": purposes, "custodian": "Organization/hosp", "recipient": recipient,
            "patient": { "reference": "Patient/1", "match": "certain" },
        });
        if emergency {
            request["emergency"] = json!({ "declared": true, "reason": "OVRER", "by": "Practitioner/e" });
        }
        // Consents by the same id would be versions of one.
        let consents = consents.into_iter().enumerate().map(|(at, mut consent)| {
            consent["id"] = json!(format!("c{at}"));
            consent
        });
        Case {
            now: "2026-03-01T12:00:00Z",
            request,
            entries,
            consents: consents.collect(),
            policy: json!({
                "default": default,
                "break_glass": { "purposes": ["ETREAT", "BTG"], "max_hours": 24, "when_unavailable": true, "never": ["PSYTHPN"] },
                "mandatory_deny": [
                    { "id": "part2", "label": ["42CFRPart2"], "unless": "explicit-permit", "emergency_exempt": true },
                    { "id": "notes", "label": ["PSYTHPN"], "unless": "explicit-permit-naming-label" },
                ],
            }),
            source: None,
        }
    })
}

/// Every provision of a Consent, root first.
fn provisions(value: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    if let Some(list) = value.get_mut("provision").and_then(Value::as_array_mut) {
        found.extend(list.iter_mut());
    }
    found
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Adding a denial to the root never permits more.
    #[test]
    fn another_denial_permits_no_more(mut case in case(), which in 0..4_usize, attributes in prop::collection::vec(attribute(), 0..2)) {
        let before = permits(&case.decide());
        let Some(consent) = case.consents.get_mut(which) else { return Ok(()) };
        if consent.get("provision").is_none() { return Ok(()) }
        let mut denial = json!({ "type": "deny" });
        for (key, value) in attributes {
            denial[key] = value;
        }
        let root = &mut consent["provision"];
        // As an exception to a permit; below a denial it would be no new denial.
        if root.get("type") != Some(&json!("permit")) { return Ok(()) }
        let mut children = root.get("provision").and_then(Value::as_array).cloned().unwrap_or_default();
        children.push(denial);
        root["provision"] = json!(children);
        let after = permits(&case.decide());
        prop_assert!(after.is_subset(&before), "{after:?} of {before:?}");
    }

    /// One more sensitivity label never permits more.
    #[test]
    fn another_label_permits_no_more(mut case in case(), which in 0..3_usize, label in pick(&["HIV", "PSY", "ETHUD", "SDV"])) {
        // A label that a permit asks for can only be judged with it: start from one that has labels.
        let has = |entry: &Value| entry["meta"]["security"].as_array().is_some_and(|labels| labels.iter().any(|l| l["system"] == ACT_CODE && !matches!(l["code"].as_str(), Some("42CFRPart2" | "NORDSCLCD"))));
        if !has(&case.entries[which]) { return Ok(()) }
        let before = permits(&case.decide());
        case.entries[which]["meta"]["security"].as_array_mut().unwrap().push(coding(ACT_CODE, label));
        let after = permits(&case.decide());
        prop_assert!(after.is_subset(&before), "{after:?} of {before:?}");
    }

    /// What is not known never permits more: without its date or its author.
    #[test]
    fn a_fact_less_permits_no_more(mut case in case(), which in 0..3_usize, author in any::<bool>()) {
        let before = permits(&case.decide());
        let keys = if author { ["recorder", "performer"] } else { ["onsetDateTime", "effectiveDateTime"] };
        for key in keys {
            case.entries[which].as_object_mut().unwrap().remove(key);
        }
        let after = permits(&case.decide());
        prop_assert!(after.is_subset(&before), "{after:?} of {before:?}");
    }

    /// The order of consents, of siblings and of entries changes nothing.
    #[test]
    fn order_changes_nothing(mut case in case()) {
        let before = case.decide();
        case.consents.reverse();
        for consent in &mut case.consents {
            if let Some(root) = consent.get_mut("provision") {
                if let Some(list) = root.get_mut("provision").and_then(Value::as_array_mut) { list.reverse(); }
                for child in provisions(root) {
                    if let Some(list) = child.get_mut("provision").and_then(Value::as_array_mut) { list.reverse(); }
                }
            }
        }
        case.entries.reverse();
        for entry in &mut case.entries {
            if let Some(labels) = entry.get_mut("meta").and_then(|meta| meta["security"].as_array_mut()) { labels.reverse(); }
        }
        let after = case.decide();
        prop_assert_eq!(before.message, after.message);
        prop_assert_eq!(&before.obligations, &after.obligations);
        let told = |decision: &Decision| decision.entries.iter().map(|v| (v.reference.clone(), v.effect, v.basis.to_string())).collect::<BTreeSet<_>>();
        prop_assert_eq!(told(&before), told(&after));
    }

    /// Any single input that cannot be had holds everything, but for a declared emergency.
    #[test]
    fn what_cannot_be_known_is_held(mut case in case(), which in 0..4_usize) {
        case.request.as_object_mut().unwrap().remove("emergency");
        match which {
            0 => case.source = Some(json!({ "state": "unavailable" })),
            1 => case.source = Some(json!({ "state": "cached", "age_seconds": 901 })),
            2 => case.request["patient"]["match"] = json!("ambiguous"),
            _ => case.source = Some(json!({ "state": "no idea" })),
        }
        let decision = case.decide();
        prop_assert_eq!(decision.message, Release::Park);
        prop_assert!(decision.entries.iter().all(|verdict| verdict.effect == Effect::Park && verdict.layer == 1));
    }

    /// An identity that is not certain is held, emergency or not.
    #[test]
    fn an_emergency_never_opens_an_uncertain_identity(mut case in case()) {
        case.request["emergency"] = json!({ "declared": true, "reason": "OVRER", "by": "Practitioner/e" });
        case.request["patient"]["match"] = json!("ambiguous");
        prop_assert_eq!(case.decide().message, Release::Park);
    }

    /// A Consent that cannot be computed holds what it might govern.
    #[test]
    fn what_cannot_be_computed_is_held(mut case in case(), which in 0..4_usize) {
        case.request.as_object_mut().unwrap().remove("emergency");
        let Some(consent) = case.consents.get_mut(which) else { return Ok(()) };
        let counts = Directive::read(&own(consent));
        let now = at(case.now);
        if counts.dated.is_none_or(|d| d.from > now) || counts.nodes[0].period.is_some_and(|p| !p.holds(now)) { return Ok(()) }
        consent["category"] = json!([]);
        let decision = case.decide();
        prop_assert!(decision.entries.iter().all(|verdict| verdict.effect != Effect::Permit), "{decision:?}");
    }

    /// A decision holds until the instant that it names.
    #[test]
    fn a_decision_holds_until_it_says(case in case(), share in 0.0..1.0_f64) {
        let now = at(case.now);
        let first = case.decide_at(now);
        let until = first.valid_until.unwrap_or(now + 400 * 86_400_000_000);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a share of some days")]
        let later = now + ((until - 1 - now) as f64 * share) as i64;
        // The emergency goes on: it is declared anew with each request here.
        if case.request.get("emergency").is_some() { return Ok(()) }
        let second = case.decide_at(later);
        prop_assert_eq!(first.message, second.message);
        prop_assert_eq!(first.entries, second.entries);
    }

    /// Nothing panics and nothing is permitted by a Consent that is not one.
    #[test]
    fn any_json_is_read(text in "\\PC{0,60}", mut case in case()) {
        case.request.as_object_mut().unwrap().remove("emergency");
        case.policy["default"] = json!({ "*": "deny" });
        case.consents = vec![json!({ "resourceType": "Consent", "status": "active", "patient": { "reference": "Patient/1" }, "provision": { "type": text } })];
        prop_assert!(permits(&case.decide()).is_empty() || text == "permit");
    }
}

/// A Bundle of resources that refer to each other, each with a string of its own in every place.
fn bundle() -> impl Strategy<Value = (Value, BTreeSet<usize>)> {
    let links = prop::collection::vec((0..6_usize, 0..6_usize), 0..8);
    (links, prop::collection::btree_set(0..6_usize, 1..4)).prop_map(|(links, denied)| {
        let kinds = ["Condition", "Encounter", "Observation", "DiagnosticReport", "Composition", "List"];
        let mut entries: Vec<Value> = kinds
            .iter()
            .enumerate()
            .map(|(at, kind)| {
                json!({
                    "fullUrl": format!("urn:uuid:canary-url-{at}"),
                    "resource": {
                        "resourceType": kind, "id": format!("canary-id-{at}"),
                        "identifier": [{ "system": "urn:x", "value": format!("canary-value-{at}") }],
                        "text": { "status": "generated", "div": format!("<div>canary-text-{at}</div>") },
                        "note": [{ "text": format!("canary-note-{at}") }],
                    },
                })
            })
            .collect();
        for (from, to) in links.into_iter().filter(|(from, to)| from != to) {
            let kind = kinds[to];
            let display = format!("canary-note-{to}");
            let by_id = json!({ "reference": format!("{kind}/canary-id-{to}"), "display": display });
            let by_url = json!({ "reference": format!("urn:uuid:canary-url-{to}"), "display": display });
            let by_value = json!({ "identifier": { "system": "urn:x", "value": format!("canary-value-{to}") }, "display": display });
            let narrative = format!("<div>about canary-note-{to}</div>");
            let resource = &mut entries[from]["resource"];
            resource["text"]["div"] = json!(narrative);
            match kinds[from] {
                "Condition" => resource["evidence"] = json!([{ "detail": [by_id] }]),
                "Encounter" => resource["diagnosis"] = json!([{ "condition": by_url, "rank": 1 }]),
                "Observation" => resource["hasMember"] = json!([by_id, by_value]),
                "DiagnosticReport" => {
                    resource["result"] = json!([by_url]);
                    resource["conclusion"] = json!(format!("because of canary-note-{to}"));
                }
                "Composition" => {
                    let section = json!({ "title": "x", "text": { "div": narrative }, "entry": [by_id] });
                    resource["section"] = json!([{ "title": "outer", "section": [section] }]);
                }
                _ => resource["entry"] = json!([{ "item": by_value }]),
            }
        }
        (json!({ "resourceType": "Bundle", "type": "searchset", "total": 6, "link": [{ "relation": "next", "url": "x?after=canary-id-0" }], "entry": entries }), denied)
    })
}

proptest! {
    #![proptest_config(config())]

    /// No string that is a removed entry's own is left anywhere.
    #[test]
    fn no_string_of_a_removed_entry_is_left((bundle, denied) in bundle()) {
        for notice in [message::consent::by_entry::Notice::Label, message::consent::by_entry::Notice::None] {
            let redacted = redact(&own(&bundle), &denied, notice);
            prop_assert!(redacted.removed.is_superset(&denied));
            let Some(rest) = redacted.rest.map(Value::from) else { continue };
            let text = rest.to_string();
            for at in &redacted.removed {
                for part in ["url", "id", "value", "text", "note"] {
                    let canary = format!("canary-{part}-{at}");
                    prop_assert!(!text.contains(&canary), "{canary} in {text}");
                }
            }
            prop_assert_eq!(rest["total"].as_u64(), Some(6 - redacted.removed.len() as u64));
        }
    }
}
