//! The published vectors of consent decisions, answered by the code that answers real messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use message::consent::by_entry::{Directory, Terms};
use message::consent::vectors::{Folder, run};
use serde_json::Value;

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/consent-vectors")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Each file of a folder, by its name without `.json`.
fn files(name: &str) -> BTreeMap<String, Value> {
    let entries = std::fs::read_dir(home().join(name)).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), read(&path))).collect()
}

fn folder() -> Folder {
    let consents = files("consents").into_iter().map(|(name, value)| (format!("consents/{name}.json"), value));
    Folder {
        consents: consents.collect(),
        policies: files("policies"),
        directory: Arc::new(Directory::read(&read(&home().join("directory.json"))).unwrap()),
        terms: Terms::read(&read(&home().join("terminology.json"))).unwrap(),
    }
}

#[test]
fn every_vector_that_needs_no_transform_passes() {
    let folder = folder();
    let (mut answered, mut failed) = (0, Vec::new());
    for (name, vector) in files("vectors") {
        let Some(outcome) = run(&vector, &folder) else { continue };
        answered += 1;
        if !outcome.passes() {
            failed.push(format!("{name} {}: {}", vector["title"], outcome.differs.join("; ")));
        }
    }
    assert!(failed.is_empty(), "{} of {answered} fail:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(answered, 116);
}
