//! All that comes of the HL7 v2 messages of the shared corpus is valid FHIR R4, by our own validator.
#![allow(clippy::expect_used, reason = "a test stops where its files cannot be read")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod corpus;

use std::sync::Arc;

use bytes::Bytes;
use message::consent::Flags;
use message::fhir::validate::{Options as Told, validate};
use message::hl7v2::batch::Batch;
use message::hl7v2::{self, CharsetOptions};
use message::{Body, Format, Message, MessageId, Original, Sha256, Transform as _, fhir};
use transforms::stamp::{StampOptions, Stamper};

/// The corpus is no part of this repository: without it there is nothing to do.
#[test]
fn all_that_the_corpus_becomes_is_valid() {
    let Some(root) = corpus::shared() else { return };
    let paths = ["hl7v2", "hl7v2-fields"].map(|folder| corpus::files(&root.join(folder), "")).concat();
    let (context, transform) = (corpus::context(), corpus::transform());
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
                beside: bytes::Bytes::new(),
                control_id: None,
            };
            let message = Message::new(Arc::new(original), Body::Hl7v2(read), Flags::default());
            let Ok(message) = transform.apply(message, &context) else { continue };
            let Ok(message) = stamper.stamp(message, context.now) else { continue };
            let Body::Fhir(bundle) = &message.body else { continue };
            converted += 1;
            // What leaves is text: it says the same, and each element once.
            let text = fhir::read(&message.body.to_bytes(), &fhir::Limits::default());
            match text {
                Ok(text) if text == *bundle => {}
                Ok(_) => invalid.push(format!("{}: its text says otherwise", path.display())),
                Err(fault) => invalid.push(format!("{}: {fault}", path.display())),
            }
            let first = validate(bundle, &Told::default()).into_iter().find(|issue| issue.is_error());
            invalid.extend(first.map(|issue| format!("{}: {issue}", path.display())));
        }
    }
    assert!(converted > 800, "only {converted} were converted");
    assert!(invalid.is_empty(), "{} of {converted} are invalid: {invalid:#?}", invalid.len());
    eprintln!("all {converted} are valid");
}
