//! Messages through conversion, labels and stamps, and what is asked of the Provenance that they leave with.
#![allow(clippy::print_stderr, reason = "how much was looked at is of interest")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests, too, fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use jiff::Timestamp;
use message::consent::Flags;
use message::consent::by_entry::Directory;
use message::hl7v2::{self, CharsetOptions};
use message::provenance::Step;
use message::{Body, Context, Format, Message, MessageId, Original, Provider, Sha256, Transform};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use transforms::hl7v2_to_fhir::Hl7v2ToFhir;
use transforms::label::{LabelRules, LabelSensitivity};
use transforms::stamp::{StampOptions, Stamper};

use crate::corpus;

/// The engine, as it names itself.
pub(crate) const ENGINE: &str = "tributary 0.1.0";

/// What a channel makes of messages.
pub(crate) struct Pipeline {
    context: Context,
    transforms: Vec<Box<dyn Transform>>,
    stamper: Stamper,
}

impl Pipeline {
    /// A channel of `provider` that converts HL7 v2, and labels.
    pub(crate) fn new(provider: Provider) -> Self {
        let context = Context {
            now: "2026-03-01T18:00:01.25Z".parse().expect("a time"),
            engine: ENGINE.into(),
            provider: Arc::new(provider),
            ..corpus::context()
        };
        let stamper = Stamper::new(&context, Flags::default(), &StampOptions::default()).expect("a stamper");
        let (rules, directory) = (LabelRules::shipped().expect("rules"), Directory::default());
        let labels = LabelSensitivity::new(Arc::new(rules), Arc::new(directory), BTreeSet::new());
        Self { context, stamper, transforms: vec![Box::new(Shared), Box::new(labels)] }
    }

    /// What became of `bytes`, accepted and processed at `now`, as the engine does it; `None` where they are no message.
    pub(crate) fn run(&self, bytes: &[u8], now: Timestamp) -> Option<(Value, Message)> {
        let bytes = Bytes::copy_from_slice(bytes);
        let is_fhir = bytes.first() == Some(&b'{');
        let (body, control_id) = if is_fhir {
            let resource: Value = serde_json::from_slice(&bytes).ok()?;
            let id = resource.pointer("/identifier/value").and_then(Value::as_str).map(str::to_owned);
            (Body::Fhir(resource.into()), id)
        } else {
            let (read, _) = hl7v2::Message::read(bytes.clone(), &CharsetOptions::default()).ok()?;
            (Body::Hl7v2(read), Some(hl7v2::Header::read(&bytes).control_id().into_owned()))
        };
        let original = Original {
            id: MessageId::new(now, [7; 10]),
            channel: if self.context.provider.hub { "hub".into() } else { "in".into() },
            received: self.context.now,
            peer: "test".into(),
            format: if is_fhir { Format::FhirJson } else { Format::Hl7v2 },
            sha256: Sha256::of(&bytes),
            bytes,
            beside: bytes::Bytes::new(),
            control_id: control_id.filter(|id| !id.is_empty()).map(Arc::from),
        };
        let context = Context { now, ..self.context.clone() };
        let mut message = Message::new(Arc::new(original), body, Flags::default());
        for transform in self.transforms.iter().filter(|step| !is_fhir || step.name() != CONVERSION) {
            message.changed = true;
            message = transform.apply(message, &context).ok()?;
            if message.changed {
                message.steps.push(Step {
                    transform: transform.name().to_owned(),
                    version: transform.version().to_owned(),
                    config: "aa07".to_owned(),
                    at: now,
                });
            }
        }
        let message = self.stamper.stamp(message, now).ok()?;
        let Body::Fhir(bundle) = &message.body else { return None };
        Some((bundle.clone().into(), message))
    }

    /// As [`Pipeline::run`], when it was received.
    pub(crate) fn now(&self, bytes: &[u8]) -> Option<(Value, Message)> {
        self.run(bytes, self.context.now)
    }
}

const CONVERSION: &str = "hl7v2-to-fhir";
static CONVERTER: LazyLock<Hl7v2ToFhir> = LazyLock::new(corpus::transform);

/// The conversion, compiled once for all tests.
struct Shared;

impl Transform for Shared {
    fn name(&self) -> &str {
        CONVERTER.name()
    }

    fn version(&self) -> &str {
        CONVERTER.version()
    }

    fn apply(&self, message: Message, context: &Context) -> Result<Message, message::TransformError> {
        CONVERTER.apply(message, context)
    }
}

/// A provider that writes what it sends.
pub(crate) fn hospital() -> Provider {
    Provider {
        key: "st-mary".into(),
        name: "St Mary's Hospital".to_owned(),
        system: Some("urn:oid:2.999.7".to_owned()),
        value: Some("st-mary".to_owned()),
        systems: BTreeMap::from([("RIVERSIDE".to_owned(), "urn:oid:2.999.1".to_owned())]),
        ..Provider::default()
    }
}

/// A provider that passes on what others wrote.
pub(crate) fn hub() -> Provider {
    Provider { hub: true, ..hospital() }
}

/// The messages of the corpora, as many as there are, and the repository's own examples.
pub(crate) fn corpora() -> Vec<Vec<u8>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/messages");
    let shared = corpus::shared().into_iter().flat_map(|root| [root.join("hl7v2"), root.join("hl7v2-fields")]);
    let folders = corpus::own().into_iter().chain([examples.clone()]).chain(shared);
    let files = folders
        .flat_map(|folder| corpus::files(&folder, ""))
        .filter(|path| path.extension().is_none_or(|end| end != "json" && end != "toml" && end != "md"));
    let hl7v2 = files.flat_map(|path| corpus::messages(&path)).map(|message| message.bytes().to_vec());
    let fhir = corpus::files(&examples, ".json").into_iter().map(|path| std::fs::read(path).expect("a file"));
    hl7v2.chain(fhir).collect()
}

/// The resources of `bundle` with type `kind`.
pub(crate) fn resources<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    list(bundle, "entry").map(|entry| &entry["resource"]).filter(|resource| resource["resourceType"] == kind).collect()
}

/// The items at `key`.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The codes of a concept at `key`.
pub(crate) fn codes<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    let concept = value.get(key).unwrap_or(&Value::Null);
    list(concept, "coding").filter_map(|coding| coding["code"].as_str()).collect()
}

/// The agents of `provenance` in `role`.
pub(crate) fn agents<'a>(provenance: &'a Value, role: &str) -> Vec<&'a Value> {
    list(provenance, "agent").filter(|agent| codes(agent, "type").contains(&role)).collect()
}

/// The Provenances of the entry at `place` of `bundle`.
pub(crate) fn of_entry(bundle: &Value, place: usize) -> Vec<&Value> {
    let entry = &bundle["entry"][place];
    let names = [&entry["fullUrl"], &entry["request"]["url"]];
    let is_about = |provenance: &&Value| {
        list(provenance, "target")
            .any(|target| target["reference"].is_string() && names.contains(&&target["reference"]))
    };
    resources(bundle, "Provenance").into_iter().filter(is_about).collect()
}

/// The places of the entries of type `kind`; of all that are about patients and their care where it is empty.
pub(crate) fn places(bundle: &Value, kind: &str) -> Vec<usize> {
    let entries = list(bundle, "entry").enumerate().filter(|(_, entry)| {
        let own = entry["resource"]["resourceType"].as_str().unwrap_or_default();
        let ours = entry["resource"]["meta"]["source"] == "https://tributary.example.org";
        if kind.is_empty() { own != "Provenance" && !own.is_empty() && !ours } else { own == kind }
    });
    entries.map(|(place, _)| place).collect()
}

/// `system-tail|code` of every label of `resource`.
pub(crate) fn labels(resource: &Value) -> BTreeSet<String> {
    let security = resource.pointer("/meta/security").and_then(Value::as_array).into_iter().flatten();
    let text = |label: &Value, key: &str| label[key].as_str().unwrap_or_default().to_owned();
    let short = |system: String| system.rsplit('/').next().unwrap_or_default().trim_start_matches("v3-").to_owned();
    security.map(|label| format!("{}|{}", short(text(label, "system")), text(label, "code"))).collect()
}

/// The messages of the corpora and generated ones, as they leave a hospital's channel and a hub's.
pub(crate) static STAMPED: LazyLock<Vec<(Value, Message)>> = LazyLock::new(|| {
    let messages: Vec<Vec<u8>> = corpora().into_iter().chain(some_generated().map(String::into_bytes)).collect();
    let pipelines = [Pipeline::new(hospital()), Pipeline::new(hub())];
    let both = messages.iter().enumerate().flat_map(|(n, bytes)| {
        // The corpora are large, and much in them is alike: a hub sends every fourth.
        let pipelines = pipelines.iter().filter(move |pipeline| !pipeline.context.provider.hub || n % 4 == 0);
        pipelines.filter_map(move |pipeline| pipeline.now(bytes))
    });
    let stamped: Vec<(Value, Message)> = both.collect();
    assert!(stamped.len() > 200, "only {} were stamped", stamped.len());
    eprintln!("{} stamped of {} messages", stamped.len(), messages.len());
    stamped
});

/// As many generated messages as a test has time for, the same in every run; every third is test data (MSH-11).
pub(crate) fn some_generated() -> impl Iterator<Item = String> {
    let mut runner = TestRunner::deterministic();
    let messages = generated();
    (0..200).map(move |n| {
        let text = messages.new_tree(&mut runner).expect("a message").current();
        if n % 3 == 0 { text.replacen("|P|2.5.1", "|T|2.5.1", 1) } else { text }
    })
}

fn maybe(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(values)
}

const PEOPLE: &[&str] =
    &["", "T9^Entry^Tom", "V9^Verify^Vic", "D1^Who^Doctor^^^^^^RIVERSIDE", "^Only^Name", "T9^Entry^Tom~D1^Who^Doctor"];
const LABS: &[&str] = &["", "North Lab^^^^^^^^^N1", "South Lab^^^^^RIVERSIDE^^^^S2", "Central Laboratory"];

/// Messages of several kinds with any of the fields that say who did what.
pub(crate) fn generated() -> impl Strategy<Value = String> {
    let order = (maybe(&["NW", "RE", "CA", "DC", "HD", "RL", "XO", ""]), [maybe(PEOPLE), maybe(PEOPLE), maybe(PEOPLE)]);
    let result = (maybe(&["F", "C", "D", "W", "P"]), maybe(PEOPLE), maybe(&["", "DEV7^^2.999.5^ISO"]), maybe(LABS));
    let vaccine = (maybe(&["00", "01", "07", ""]), maybe(PEOPLE), maybe(&["A", "D", "U", ""]));
    let document = ([maybe(PEOPLE), maybe(PEOPLE), maybe(PEOPLE)], maybe(&["T01", "T08", "T11", "T02"]));
    let event = (maybe(&["A01", "A08", "A11", "A23", "A40"]), maybe(PEOPLE), maybe(&["", "20260301115500+0000"]));
    prop_oneof![
        (order, prop::collection::vec(result, 1..5)).prop_map(|((control, people), results)| {
            let mut text = header("ORU^R01^ORU_R01");
            text += &format!("ORC|{control}|PL1|FL1||||||20260301|{}|{}|{}\r", people[0], people[1], people[2]);
            text += "OBR|1|PL1|FL1|2345-7^Glucose^LN|||20260301113000+0000\r";
            for (i, (status, person, device, lab)) in results.iter().enumerate() {
                let n = i + 1;
                text += &format!("OBX|{n}|NM|{n}-1^Test {n}^LN||{n}|mg/dL|||||{status}|||20260301113000+0000||");
                text += &format!("{person}||{device}|||||{lab}\r");
            }
            text
        }),
        vaccine.prop_map(|(note, person, action)| {
            let given =
                format!("RXA|0|1|20260301||08^HepB^CVX|1|mL||{note}^Note^NIP001|{person}{}{action}\r", "|".repeat(11));
            header("VXU^V04^VXU_V04") + "ORC|RE||V1\r" + &given
        }),
        document.prop_map(|(people, trigger)| {
            let txa = format!("TXA|1|CN|TX|20260301|{}||||{}|{}", people[0], people[1], people[2]);
            header(&format!("MDM^{trigger}^MDM_T02")) + &txa + "||DOC1^EMR|DOC0^EMR\rOBX|1|TX|1^Note^L||Text||||||F\r"
        }),
        event.prop_map(|(trigger, person, occurred)| {
            let other = if trigger == "A40" { "MRG|P-2002^^^RIVERSIDE^MR\r" } else { "PV1|1|I\r" };
            let evn = format!("EVN|{trigger}|20260301120000+0000||01|{person}|{occurred}\r");
            let head = header(&format!("ADT^{trigger}"));
            let (msh, pid) = head.split_once('\r').expect("a segment");
            format!("{msh}\r{evn}{pid}{other}")
        }),
    ]
}

fn header(kind: &str) -> String {
    format!(
        "MSH|^~\\&|LIS|CENTRAL|ENGINE|EHR|20260301120000+0000||{kind}|MSG1|P|2.5.1\r\
         PID|1||P-1001^^^RIVERSIDE^MR||Quill^Wren||19800101|F\r"
    )
}
