//! The published vectors of consent decisions, answered by the code that answers real messages.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::expect;
use message::consent::by_entry::{Directory, Terms};
use message::consent::vectors::{Folder, explained, run};
use message::json::Value;

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/consent-vectors")
}

/// The vectors of our own.
fn own() -> PathBuf {
    home().join("../consent-rules")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap().into()
}

/// Each file of a folder, by its name without `.json`.
fn files(folder: PathBuf) -> BTreeMap<String, Value> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), read(&path))).collect()
}

/// The Consents and the directory of `suite`, and what is published for all.
fn folder(suite: &Path) -> Folder {
    let consents =
        files(suite.join("consents")).into_iter().map(|(name, value)| (format!("consents/{name}.json"), value));
    Folder {
        consents: consents.collect(),
        policies: files(home().join("policies")),
        directory: Arc::new(Directory::read(&read(&suite.join("directory.json"))).unwrap()),
        terms: Terms::read(&read(&home().join("terminology.json"))).unwrap(),
    }
}

/// All vectors of `suite` that need no transform pass.
#[track_caller]
fn check(suite: &Path, vectors: usize) {
    let folder = folder(suite);
    let (mut answered, mut failed) = (0, Vec::new());
    for (name, vector) in files(suite.join("vectors")) {
        let Some(outcome) = run(&vector, &folder) else { continue };
        answered += 1;
        if !outcome.passes() {
            failed.push(format!("{name} {}: {}", vector["title"], outcome.differs.join("; ")));
        }
    }
    assert!(failed.is_empty(), "{} of {answered} fail:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(answered, vectors);
}

#[test]
fn every_published_vector_that_needs_no_transform_passes() {
    check(&home(), 116);
}

#[test]
fn every_vector_of_our_own_that_needs_no_transform_passes() {
    check(&own(), 336);
}

/// What a privacy officer reads.
#[test]
fn a_denial_is_explained() {
    let vectors = files(home().join("vectors"));
    let told = explained(&vectors["CV-018"], &folder(&home())).unwrap();
    expect![[r#"
        deny Observation/o1 for TREAT (layer 8: consent:emergency-only-hosp)
          by Consent/emergency-only-hosp, read as tree
          provision: provision > provision.provision[0]
          which asks for: custodian Organization/org-hosp
          would let it go: Consent/emergency-only-hosp replaced by one of the same series that permits it
          would let it go: provision.provision[0].provision[0]: custodian Organization/org-hosp, purpose ETREAT
          would let it go: a declared emergency, by a named person with a reason"#]]
    .assert_eq(&told[0].to_string());
    let told = explained(&vectors["CV-067"], &folder(&home())).unwrap();
    expect![[r#"
        deny Condition/c1 for TREAT (layer 4: mandatory-deny:part2)
          label: SUD
          law: 42 CFR 2.13, 2.31, 2.33
          would let it go: a Consent that permits it"#]]
    .assert_eq(&told[0].to_string());
    let told = explained(&vectors["CV-088"], &folder(&home())).unwrap();
    expect![[r#"
        park Observation/o1 for TREAT (layer 3: uncomputable-consent)
          by Consent/paper-only, read as tree
          would let it go: a person codes the Consent, or it is made inactive"#]]
    .assert_eq(&told[0].to_string());
}
