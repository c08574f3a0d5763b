//! Messages of other people, to try the conversion on: the shared corpus where it stands beside the repository or where
//! `TRIBUTARY_CORPUS` says, and what the repository itself has of them.
#![allow(clippy::expect_used, reason = "a test stops where its files cannot be read")]
#![allow(dead_code, reason = "each test binary uses what it needs")]
#![allow(clippy::print_stderr, reason = "what is not looked at is said")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use message::hl7v2::batch::Batch;
use message::hl7v2::{self, CharsetOptions};
use message::{Context, Provider};
use transforms::hl7v2_to_fhir::maps::Maps;
use transforms::hl7v2_to_fhir::{Hl7v2ToFhir, Options};

/// The shared corpus, if it is there.
pub(crate) fn shared() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("TRIBUTARY_CORPUS") {
        return Some(named.into());
    }
    let mut roots = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = roots.find_map(|root| Some(root.join("shared/corpus")).filter(|path| path.is_dir()));
    if found.is_none() {
        eprintln!("only what the repository has: there is no shared/corpus beside it, and TRIBUTARY_CORPUS names none");
    }
    found
}

/// What the repository has: the golden cases, and messages in the public domain with what others made of them.
pub(crate) fn own() -> [PathBuf; 2] {
    ["tests/golden/hl7v2-to-fhir", "tests/corpus"].map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

/// All files below `folder` whose name ends with `end`, in order.
pub(crate) fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The messages of a file, as far as they are HL7 v2; files of editors have ordinary line ends.
pub(crate) fn messages(path: &Path) -> Vec<hl7v2::Message> {
    let bytes = Bytes::from(std::fs::read(path).expect("a file"));
    let all = Batch::split(&bytes).messages.into_iter();
    all.filter_map(|bytes| Some(hl7v2::Message::read(bytes, &CharsetOptions::default()).ok()?.0)).collect()
}

pub(crate) fn context() -> Context {
    Context {
        now: "2024-02-29T12:00:00Z".parse().expect("a time"),
        provider: Arc::new(Provider { key: "st-mary".into(), name: "St Mary".into(), ..Provider::default() }),
        engine: "tributary".into(),
        base_uri: "https://tributary.example.org".into(),
        time_zone: TimeZone::UTC,
    }
}

pub(crate) fn transform() -> Hl7v2ToFhir {
    Hl7v2ToFhir::new(Arc::new(Maps::embedded().expect("our tables compile")), Options::default())
}
