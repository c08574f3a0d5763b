//! The whole pure path of one message, from its bytes to the body that leaves, and what a destination's policy adds to it:
//! `cargo bench -p transforms --bench path`.
//!
//! With the allocator of the program, so that the numbers are the program's own.

use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, black_box};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use message::consent::Flags;
use message::consent::by_entry::{
    Directive, Directory, Entry, Policy, Request, Snapshot, Source, Sources, Span, Terms, decide,
};
use message::json::{Value, json};
use message::provenance::Step;
use message::{Body, Context, Format, Message, MessageId, Original, Provider, Sha256, Transform as _, fhir, hl7v2};
use transforms::hl7v2_to_fhir::{self, Hl7v2ToFhir, Options};
use transforms::label::LabelRules;
use transforms::stamp::{StampOptions, Stamper};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// A message of about 1 KB, or a report of about 10 KB with 40 results.
#[derive(Clone, Copy, Debug)]
enum What {
    Adt,
    Oru,
}

/// How far along the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Read,
    Converted,
    Stamped,
    Written,
    /// What left is looked at, labelled and decided about, as before an attempt where there is a policy.
    Decided,
    /// As well, of what was read again from its bytes: a later attempt.
    Again,
}

#[divan::bench(args = [Until::Read, Until::Converted, Until::Stamped, Until::Written, Until::Decided, Until::Again])]
fn adt(bencher: Bencher<'_, '_>, until: Until) {
    run(bencher, What::Adt, until);
}

#[divan::bench(args = [Until::Read, Until::Converted, Until::Stamped, Until::Written, Until::Decided, Until::Again])]
fn oru(bencher: Bencher<'_, '_>, until: Until) {
    run(bencher, What::Oru, until);
}

fn run(bencher: Bencher<'_, '_>, what: What, until: Until) {
    let bytes = Bytes::from(text(what));
    let context = context();
    let Ok(maps) = hl7v2_to_fhir::load(None, &Options::default()) else { return };
    let transform = Hl7v2ToFhir::new(maps, Options::default());
    let Ok(stamper) = Stamper::new(&context, Flags::default(), &StampOptions::default()) else { return };
    let Some(consent) = Consent::new() else { return };
    let path = Path { transform, stamper, context, consent };
    bencher.bench_local(|| path.walk(black_box(&bytes), until));
}

struct Path {
    transform: Hl7v2ToFhir,
    stamper: Stamper,
    context: Context,
    consent: Consent,
}

/// What a decision is taken by.
struct Consent {
    rules: LabelRules,
    directory: Arc<Directory>,
    request: Request,
    snapshot: Snapshot,
    policy: Policy,
    terms: Terms,
}

impl Consent {
    fn new() -> Option<Self> {
        let directory = Arc::new(Directory::default());
        let request = json!({
            "actions": ["disclose", "access"], "purpose": ["TREAT"], "custodian": "Organization/st-mary",
            "recipient": { "organization": "Organization/region" },
            "patient": { "reference": "Patient/1", "match": "certain" },
        });
        let coding = |system: &str, code: &str| json!({ "coding": [{ "system": system, "code": code }] });
        let (act_code, scope) =
            ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "http://terminology.hl7.org/CodeSystem/consentscope");
        let consent = json!({
            "resourceType": "Consent", "id": "c", "status": "active", "scope": coding(scope, "patient-privacy"),
            "patient": { "reference": "Patient/1" }, "dateTime": "2025-01-10", "policyRule": coding(act_code, "OPTIN"),
            "provision": { "provision": [{ "type": "deny", "securityLabel": [{ "system": act_code, "code": "HIV" }] }] },
        });
        let policy: serde_json::Value = toml::from_str(include_str!("../../config/policies/us-tpo.toml")).ok()?;
        Some(Self {
            rules: LabelRules::shipped().ok()?,
            request: Request::read(&request, Span::parse("2026-03-01T12:00:00Z")?.from, &directory),
            directory,
            snapshot: Snapshot::new(vec![Directive::read(&consent)], Source::Fresh),
            policy: Policy::read("us-tpo", &policy.into()).ok()?,
            terms: Terms::shipped().ok()?,
        })
    }

    fn decide(&self, content: &Value) -> Option<usize> {
        let entries = content.get("entry")?.as_array()?;
        let resources: Vec<(Option<&_>, &Value)> = entries
            .iter()
            .filter_map(|entry| Some((entry.get("fullUrl").and_then(Value::as_text), entry.get("resource")?)))
            .collect();
        let mut entries = Entry::read(Sources { resources: &resources, ..Sources::default() }, &self.directory);
        let labels = self.rules.called_for(&entries, &self.directory, &std::collections::BTreeSet::new());
        for (entry, labels) in entries.iter_mut().zip(labels) {
            entry.labels.extend(labels.codes);
        }
        Some(decide(&self.request, &entries, &self.snapshot, &self.policy, &self.terms).entries.len())
    }
}

impl Path {
    fn walk(&self, bytes: &Bytes, until: Until) -> Option<usize> {
        let (body, _) = hl7v2::Message::read(bytes.clone(), &hl7v2::CharsetOptions::default()).ok()?;
        let mut message = Message::new(original(bytes.clone()), Body::Hl7v2(body), Flags::default());
        if until >= Until::Converted {
            message = self.transform.apply(message, &self.context).ok()?;
            message.steps.push(Step {
                transform: self.transform.name().to_owned(),
                version: self.transform.version().to_owned(),
                config: String::new(),
                at: self.context.now,
            });
        }
        if until >= Until::Stamped {
            message = self.stamper.stamp(message, self.context.now).ok()?;
        }
        match until {
            Until::Read | Until::Converted | Until::Stamped => Some(message.findings.len()),
            Until::Written => Some(message.body.to_bytes().len()),
            Until::Decided => {
                let bytes = message.body.to_bytes();
                let Body::Fhir(content) = &message.body else { return None };
                Some(bytes.len() + self.consent.decide(content)?)
            }
            Until::Again => {
                let content = fhir::read(&message.body.to_bytes(), &fhir::Limits::default()).ok()?;
                self.consent.decide(&content)
            }
        }
    }
}

fn text(what: What) -> String {
    match what {
        What::Adt => include_str!("adt-a01.hl7").replace('\n', "\r"),
        What::Oru => {
            let mut text = include_str!("oru-r01.hl7").replace('\n', "\r");
            for i in 1..=40 {
                text.push_str(&format!(
                    "OBX|{i}|NM|{:05}-7^Analyte number {i} in serum or plasma^LN^L{i}^Analyte {i}^99LAB||{}.{:02}|\
                     mmol/L^millimole per liter^UCUM|3.5-5.1|{}|||F|||20240131081500-0600||4711^Okonkwo^Ada^^^^MD^^HOSP|\
                     PHOT^Photometry^99LAB\r",
                    10_000 + i,
                    i % 90,
                    i % 100,
                    if i % 5 == 0 { "H" } else { "N" }
                ));
            }
            text
        }
    }
}

fn original(bytes: Bytes) -> Arc<Original> {
    Arc::new(Original {
        id: MessageId::new(Timestamp::UNIX_EPOCH, [7; 10]),
        channel: Arc::from("in"),
        received: Timestamp::UNIX_EPOCH,
        peer: Arc::from("bench"),
        format: Format::Hl7v2,
        sha256: Sha256::of(&bytes),
        bytes,
        beside: bytes::Bytes::new(),
        control_id: Some(Arc::from("M1")),
    })
}

fn context() -> Context {
    Context {
        now: Timestamp::UNIX_EPOCH,
        provider: Arc::new(Provider {
            key: Arc::from("st-mary"),
            name: "St Mary's Hospital".to_owned(),
            system: Some("urn:oid:2.999.7".to_owned()),
            value: Some("st-mary".to_owned()),
            ..Provider::default()
        }),
        engine: Arc::from("tributary 0.1.0"),
        base_uri: Arc::from("https://tributary.example.org"),
        time_zone: TimeZone::UTC,
    }
}
