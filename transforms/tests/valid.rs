//! All that comes of the HL7 v2 messages of the shared corpus is valid FHIR R4, by our own validator.
#![allow(clippy::expect_used, reason = "a test stops where its files cannot be read")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use message::consent::Flags;
use message::fhir::validate::{Options as Told, validate};
use message::hl7v2::batch::Batch;
use message::hl7v2::{self, CharsetOptions};
use message::{Body, Context, Format, Message, MessageId, Original, Provider, Sha256, Transform as _};
use transforms::hl7v2_to_fhir::maps::Maps;
use transforms::hl7v2_to_fhir::{Hl7v2ToFhir, Options};
use transforms::stamp::{StampOptions, Stamper};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
    found.sort();
}

/// The corpus is no part of this repository: without it there is nothing to do.
#[test]
fn all_that_the_corpus_becomes_is_valid() {
    let roots = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let Some(corpus) = roots.map(|root| root.join("shared/corpus")).find(|path| path.is_dir()) else {
        return eprintln!("skipped: there is no shared/corpus beside the repository");
    };
    let mut paths = Vec::new();
    ["hl7v2", "hl7v2-fields"].iter().for_each(|folder| files(&corpus.join(folder), &mut paths));
    let context = Context {
        now: "2024-02-29T12:00:00Z".parse().expect("a time"),
        provider: Arc::new(Provider { key: "st-mary".into(), name: "St Mary".into(), ..Provider::default() }),
        engine: "tributary".into(),
        base_uri: "https://tributary.example.org".into(),
        time_zone: TimeZone::UTC,
    };
    let transform = Hl7v2ToFhir::new(Arc::new(Maps::embedded().expect("our tables compile")), Options::default());
    let stamper = Stamper::new(&context, Flags::default(), &StampOptions::default()).expect("a stamper");
    let (mut converted, mut invalid) = (0, Vec::new());
    for path in paths {
        let bytes = Bytes::from(std::fs::read(&path).expect("a file"));
        for bytes in Batch::split(&bytes).messages {
            let Ok((read, _)) = hl7v2::Message::read(bytes.clone(), &CharsetOptions::default()) else { continue };
            let original = Original {
                id: MessageId(uuid::Uuid::nil()),
                channel: "in".into(),
                received: context.now,
                peer: "".into(),
                format: Format::Hl7v2,
                sha256: Sha256::of(&bytes),
                bytes,
                control_id: None,
            };
            let message = Message::new(Arc::new(original), Body::Hl7v2(read), Flags::default());
            let Ok(message) = transform.apply(message, &context) else { continue };
            let Ok(message) = stamper.stamp(message, context.now) else { continue };
            let Body::Fhir(bundle) = &message.body else { continue };
            converted += 1;
            let first = validate(bundle, &Told::default()).into_iter().find(|issue| issue.is_error());
            invalid.extend(first.map(|issue| format!("{}: {issue}", path.display())));
        }
    }
    assert!(converted > 800, "only {converted} were converted");
    assert!(invalid.is_empty(), "{} of {converted} are invalid: {invalid:#?}", invalid.len());
    eprintln!("all {converted} are valid");
}
