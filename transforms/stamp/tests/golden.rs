//! Whole Bundles, before and after: `golden/CASE/in.json` (and `in.hl7` where it was converted) and
//! `golden/CASE/out.json`. `UPDATE_EXPECT=1` writes what comes out.

use std::fs;
use std::path::Path;

use expect_test::expect_file;
use serde_json::Value;

use super::{converted, received, stamped, stamper};

#[track_caller]
fn check(case: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stamp/golden").join(case);
    let bundle: Value = serde_json::from_str(&fs::read_to_string(folder.join("in.json")).unwrap()).unwrap();
    let message = match fs::read_to_string(folder.join("in.hl7")) {
        Ok(text) => converted(&text, bundle),
        Err(_) => received(&bundle),
    };
    let (bundle, _) = stamped(&stamper(), message);
    let text = serde_json::to_string_pretty(&bundle).unwrap() + "\n";
    expect_file![folder.join("out.json")].assert_eq(&text);
}

#[test]
fn makes_a_collection_into_a_transaction() {
    check("collection");
}

#[test]
fn makes_plain_creates_of_a_transaction_repeatable() {
    check("transaction");
}

#[test]
fn keeps_the_message_header_of_a_message() {
    check("message");
}

#[test]
fn keeps_the_composition_of_a_document() {
    check("document");
}

#[test]
fn wraps_a_single_resource() {
    check("single-resource");
}

#[test]
fn lets_no_entry_of_a_batch_depend_on_another() {
    check("batch");
}

/// The consent vectors' CV-100, CV-101 and CV-104 in one message.
#[test]
fn tells_orders_apart() {
    check("oru-r01");
}

#[test]
fn tells_of_a_merge() {
    check("adt-a40");
}
