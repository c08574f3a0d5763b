//! What a consent decision costs: `cargo bench -p transforms --bench consent`.

#![allow(clippy::unwrap_used, reason = "what is decided on is written here")]

use std::collections::BTreeSet;
use std::sync::Arc;

use divan::Bencher;
use message::consent::by_entry::{
    Directive, Directory, Entry, Policy, Request, Snapshot, Source, Sources, Span, Terms, decide,
};
use message::consent::redact;
use message::json::{Value, json};
use transforms::label::LabelRules;

fn main() {
    divan::main();
}

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const POLICY: &str = include_str!("../../config/policies/us-tpo.toml");

/// Twenty entries: conditions, results and medicines, some of them labelled.
fn resources() -> Vec<Value> {
    let labels = [&[][..], &["HIV"], &["PSY", "SUD"], &[]];
    (0..20_usize)
        .map(|at| {
            let security: Vec<Value> = labels
                .get(at % labels.len())
                .into_iter()
                .flat_map(|codes| codes.iter())
                .map(|code| json!({ "system": ACT_CODE, "code": code }))
                .collect();
            json!({
                "resourceType": "Observation", "id": format!("o{at}"), "meta": { "security": security },
                "status": "final", "subject": { "reference": "Patient/1" },
                "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory" }] }],
                "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7" }] },
                "effectiveDateTime": "2025-06-01", "performer": [{ "reference": "Organization/lab" }],
                "valueQuantity": { "value": 95, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL" },
            })
        })
        .collect()
}

/// Five consents of three levels each, every one in a series of its own.
fn consents() -> Vec<Value> {
    (0..5)
        .map(|at| {
            json!({
                "resourceType": "Consent", "id": format!("c{at}"), "status": "active",
                "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
                "patient": { "reference": "Patient/1" }, "dateTime": "2025-01-10",
                "organization": [{ "reference": format!("Organization/{at}") }],
                "provision": {
                    "type": "permit", "period": { "start": "2025-01-01", "end": "2030-12-31" },
                    "purpose": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT" }],
                    "provision": [
                        { "type": "deny", "securityLabel": [{ "system": ACT_CODE, "code": "HIV" }], "provision": [
                            { "type": "permit", "actor": [{
                                "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP" }] },
                                "reference": { "reference": "Practitioner/a" },
                            }] },
                        ] },
                        { "type": "deny", "dataPeriod": { "start": "2019", "end": "2020" } },
                        { "type": "deny", "code": [{ "coding": [{ "system": "http://loinc.org", "code": "56888-1" }] }] },
                    ],
                },
            })
        })
        .collect()
}

struct Case {
    resources: Vec<Value>,
    directory: Arc<Directory>,
    request: Request,
    snapshot: Snapshot,
    policy: Policy,
    terms: Terms,
}

impl Case {
    fn new() -> Self {
        let directory = Arc::new(Directory::default());
        let request = json!({
            "actions": ["disclose", "access"], "purpose": ["TREAT"], "custodian": "Organization/hosp",
            "recipient": { "organization": "Organization/gp" },
            "patient": { "reference": "Patient/1", "match": "certain" },
        });
        let policy: serde_json::Value = toml::from_str(POLICY).unwrap();
        Self {
            resources: resources(),
            request: Request::read(&request, Span::parse("2026-03-01T12:00:00Z").unwrap().from, &directory),
            directory,
            snapshot: Snapshot::new(consents().iter().map(Directive::read).collect(), Source::Fresh),
            policy: Policy::read("us-tpo", &policy.into()).unwrap(),
            terms: Terms::shipped().unwrap(),
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let resources: Vec<(Option<&_>, &Value)> = self.resources.iter().map(|resource| (None, resource)).collect();
        Entry::read(Sources { resources: &resources, provenance: &[], context: &[] }, &self.directory)
    }
}

/// A decision for 20 entries with five consents.
#[divan::bench]
fn decision(bencher: Bencher<'_, '_>) {
    let case = Case::new();
    let entries = case.entries();
    bencher.bench_local(|| decide(&case.request, &entries, &case.snapshot, &case.policy, &case.terms));
}

/// Reading what a decision needs to know of 20 entries.
#[divan::bench]
fn entries(bencher: Bencher<'_, '_>) {
    let case = Case::new();
    bencher.bench_local(|| case.entries());
}

/// Compiling a Consent: once when it arrives.
#[divan::bench]
fn compile(bencher: Bencher<'_, '_>) {
    let consents = consents();
    bencher.bench_local(|| consents.first().map(Directive::read));
}

/// The labels of 20 entries by the shipped value sets.
#[divan::bench]
fn labels(bencher: Bencher<'_, '_>) {
    let case = Case::new();
    let (rules, entries, flags) = (LabelRules::shipped().unwrap(), case.entries(), BTreeSet::new());
    bencher.bench_local(|| rules.labels(&entries, &case.directory, &flags));
}

/// Taking five of 20 entries out of a Bundle.
#[divan::bench]
fn redaction(bencher: Bencher<'_, '_>) {
    let entries: Vec<Value> = resources().into_iter().map(|resource| json!({ "resource": resource })).collect();
    let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": entries });
    let denied = BTreeSet::from([1, 5, 9, 13, 17]);
    bencher.bench_local(|| redact(&bundle, &denied, message::consent::by_entry::Notice::Label));
}
