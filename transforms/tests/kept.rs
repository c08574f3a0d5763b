//! What a conversion keeps from message to message changes nothing: after whatever messages, each becomes what it becomes
//! of a transform that has seen no other.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops where its files cannot be read")]

mod corpus;

use std::sync::Arc;

use bytes::Bytes;
use message::fhir::validate::{self, validate};
use message::hl7v2::{self, CharsetOptions};
use message::{Context, Provider};
use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use transforms::hl7v2_to_fhir::maps::Maps;
use transforms::hl7v2_to_fhir::{Hl7v2ToFhir, Options};

/// Messages of the repository, and some of the shared corpus, none of them long.
fn messages() -> Vec<Bytes> {
    let own = corpus::own().into_iter().flat_map(|folder| corpus::files(&folder, ".hl7"));
    let shared = corpus::shared().into_iter().flat_map(|root| corpus::files(&root.join("hl7v2"), ".hl7").into_iter());
    let all = own.chain(shared.step_by(3)).flat_map(|path| corpus::messages(&path));
    all.map(|message| message.bytes().clone()).filter(|bytes| bytes.len() < 6_000).collect()
}

fn read(bytes: &Bytes) -> Option<hl7v2::Message> {
    Some(hl7v2::Message::read(bytes.clone(), &CharsetOptions::default()).ok()?.0)
}

/// Converts `bytes` by a transform that has seen others, and by one that has seen none.
#[track_caller]
fn check(used: &Hl7v2ToFhir, maps: &Arc<Maps>, context: &Context, bytes: &Bytes) {
    let Some(message) = read(bytes) else { return };
    let (bundle, findings) = used.convert(&message, context);
    let (expected, told) = Hl7v2ToFhir::new(Arc::clone(maps), Options::default()).convert(&message, context);
    assert_eq!(bundle.to_string(), expected.to_string());
    assert_eq!(findings, told);
    // What is kept was looked at before; that must hide nothing.
    let issues = |bundle| validate(bundle, &validate::Options::default());
    let alone: serde_json::Value = serde_json::from_str(&expected.to_string()).expect("JSON");
    assert_eq!(issues(&bundle), issues(&alone.into()));
}

fn maps() -> Arc<Maps> {
    Arc::new(Maps::embedded().expect("our tables compile"))
}

#[test]
fn a_message_becomes_the_same_after_any_others() {
    let (maps, context, messages) = (maps(), corpus::context(), messages());
    let used = Hl7v2ToFhir::new(Arc::clone(&maps), Options::default());
    // Twice until all is kept that recurs, and once more in another order.
    messages.iter().chain(&messages).for_each(|bytes| check(&used, &maps, &context, bytes));
    messages.iter().rev().for_each(|bytes| check(&used, &maps, &context, bytes));
    let least = if corpus::shared().is_some() { 50 } else { 25 };
    assert!(messages.len() > least, "only {} messages", messages.len());
}

/// Conversions that run at once have each what is kept for themselves.
#[test]
fn messages_that_are_converted_at_once_become_the_same() {
    let (maps, context, messages) = (maps(), corpus::context(), messages());
    let used = Hl7v2ToFhir::new(Arc::clone(&maps), Options::default());
    std::thread::scope(|threads| {
        for first in 0..3 {
            let (used, maps, context, messages) = (&used, &maps, &context, &messages);
            threads.spawn(move || {
                let some = messages.iter().skip(first).step_by(2).take(24);
                some.clone().chain(some).for_each(|bytes| check(used, maps, context, bytes));
            });
        }
    });
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| *b == b'|').collect()
}

/// `bytes` with some fields as segments of the same name have them in `other`, or as others of its own are.
fn mixed(bytes: &Bytes, other: &Bytes, random: &mut TestRng) -> Bytes {
    let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\r').map(<[u8]>::to_vec).collect();
    let others: Vec<&[u8]> = other.split(|b| *b == b'\r').collect();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..lines.len());
        let line = lines[at].clone();
        if line.len() < 4 || line.starts_with(b"MSH") {
            continue;
        }
        let mut own = fields(&line);
        let alike: Vec<_> = others.iter().filter(|other| other.get(..4) == line.get(..4)).collect();
        let from = if alike.is_empty() { line.as_slice() } else { alike[random.random_range(0..alike.len())] };
        let field = random.random_range(1..own.len());
        let theirs = fields(from);
        if let Some(text) = theirs.get(if alike.is_empty() { random.random_range(1..own.len()) } else { field }) {
            own[field] = text;
        }
        lines[at] = own.join(&b'|');
    }
    lines.join(&b'\r').into()
}

#[test]
fn a_message_becomes_the_same_after_others_with_some_of_its_fields() {
    let (maps, context, messages) = (maps(), corpus::context(), messages());
    let used = Hl7v2ToFhir::new(Arc::clone(&maps), Options::default());
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for _ in 0..600 {
        let [one, other] = [(); 2].map(|()| &messages[random.random_range(0..messages.len())]);
        let bytes = mixed(one, other, &mut random);
        check(&used, &maps, &context, &bytes);
    }
}

/// The same transform for another provider, and for other delimiters.
#[test]
fn what_is_kept_is_of_one_provider_and_its_delimiters() {
    let (maps, messages) = (maps(), messages());
    let used = Hl7v2ToFhir::new(Arc::clone(&maps), Options::default());
    let ours = corpus::context();
    let systems = [("STMARY", "urn:oid:2.999.1"), ("ST-MARY", "urn:oid:2.999.2"), ("L", "urn:oid:2.999.3")];
    let systems = systems.map(|(name, system)| (name.to_owned(), system.to_owned())).into();
    let provider = Provider { key: "elsewhere".into(), systems, ..Provider::default() };
    let theirs = Context { provider: Arc::new(provider), ..ours.clone() };
    for bytes in messages.iter().take(24) {
        // `^` is declared in MSH-2, and so another sign is once it is replaced everywhere.
        let other = Bytes::from(String::from_utf8_lossy(bytes).replace('^', "$"));
        for _ in 0..3 {
            check(&used, &maps, &ours, bytes);
            check(&used, &maps, &theirs, bytes);
            check(&used, &maps, &theirs, bytes);
            check(&used, &maps, &theirs, &other);
        }
    }
}
