//! The example messages are what they say they are, and go through the sample site's transforms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use message::consent::Flags;
use message::hl7v2::batch::Batch;
use message::hl7v2::{self, Header};
use message::{Body, Context, Format, Message, MessageId, Original, Sha256, Transform};
use serde_json::Value;
use transforms::hl7v2_to_fhir::{self, Hl7v2ToFhir};

use crate::config::{ChannelConfig, Site, TransformConfig, load};

fn examples(extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/messages");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

#[test]
fn hl7_examples_are_as_they_go_over_the_wire() {
    for file in examples("hl7") {
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes.ends_with(b"\r") && !bytes.contains(&b'\n'), "{}: segments end in CR", file.display());
    }
}

#[test]
fn hl7_examples_become_bundles_of_their_patients() {
    let site = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), &|_| None).unwrap();
    let steps: BTreeMap<_, _> = site.channels.values().map(|channel| (&channel.name, steps(channel))).collect();
    for file in examples("hl7") {
        let adt = file.file_name().unwrap().to_string_lossy().starts_with("adt-");
        let channel = &site.channels[if adt { "st-mary-adt" } else { "harbor-lab" }];
        for bytes in Batch::split(&Bytes::from(std::fs::read(&file).unwrap())).messages {
            let Body::Fhir(bundle) = convert(&site, channel, &steps[&channel.name], &bytes).body else {
                panic!("not converted")
            };
            let bundle = Value::from(bundle);
            let types: Vec<_> = resources(&bundle).map(|resource| &resource["resourceType"]).collect();
            assert!(types.iter().any(|of| *of == "Patient"), "{}: {types:?}", file.display());
        }
    }
}

fn steps(channel: &ChannelConfig) -> Vec<Hl7v2ToFhir> {
    let step = |transform: &TransformConfig| match transform {
        TransformConfig::Hl7v2ToFhir(config) => {
            let maps = hl7v2_to_fhir::load(config.maps.as_deref(), &config.options).unwrap();
            Some(Hl7v2ToFhir::new(maps, config.options.clone()))
        }
        TransformConfig::Script(_) | TransformConfig::Label(_) => None,
    };
    channel.transforms.iter().filter_map(step).collect()
}

/// As the sample site's channel does it.
fn convert(site: &Site, channel: &ChannelConfig, steps: &[Hl7v2ToFhir], bytes: &Bytes) -> Message {
    let (read, findings) = hl7v2::Message::read(bytes.clone(), &channel.charset).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    let original = Original {
        id: MessageId::new(Timestamp::UNIX_EPOCH, [0; 10]),
        channel: channel.name.as_str().into(),
        received: Timestamp::UNIX_EPOCH,
        peer: "127.0.0.1".into(),
        format: Format::Hl7v2,
        bytes: bytes.clone(),
        sha256: Sha256::of(bytes),
        beside: bytes::Bytes::new(),
        control_id: Some(Header::read(bytes).control_id().into()),
    };
    let context = Context {
        now: Timestamp::UNIX_EPOCH,
        provider: Arc::clone(&site.providers[&channel.provider]),
        engine: "tributary".into(),
        base_uri: site.engine.base_uri.as_str().into(),
        time_zone: channel.time_zone.clone(),
    };
    let message = Message::new(Arc::new(original), Body::Hl7v2(read), Flags::default());
    steps.iter().fold(message, |message, step| step.apply(message, &context).unwrap())
}

fn resources(bundle: &Value) -> impl Iterator<Item = &Value> {
    bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"])
}

#[test]
fn references_within_example_bundles_resolve() {
    let files = examples("json");
    assert_eq!(files.len(), 3);
    for file in files {
        let bundle: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let names: Vec<_> =
            bundle["entry"].as_array().unwrap().iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
        let mut references = Vec::new();
        resources(&bundle).for_each(|resource| collect(resource, &mut references));
        let resolves = |to: &&str| names.iter().any(|name| name == to || name.ends_with(&format!("/{to}")));
        assert!(!references.is_empty() && references.iter().all(resolves), "{}: {references:?}", file.display());
    }
}

fn collect<'v>(value: &'v Value, references: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("reference").and_then(Value::as_str));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, references)),
        _ => {}
    }
}

/// What an editor knows of scripts in the example is what `tributary test --types` prints today.
#[test]
fn the_example_describes_scripts_as_they_are() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/site-three-emrs/scripts/tributary.d.ts");
    assert_eq!(std::fs::read_to_string(file).unwrap(), transforms::script::TYPES);
}
