//! Where tests are written: in a channel's file, and in folders of their own.

use std::path::{Path, PathBuf};

use message::Format;
use message::condition::Condition;

use super::Difference;
use crate::config::{ChannelConfig, ExpectedState, InboundKind, Site, TestConfig};

/// One test: a message and what must come of it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) message: PathBuf,
    pub(super) format: Format,
    pub(super) ack: Option<String>,
    pub(super) to: Vec<String>,
    pub(super) state: Option<ExpectedState>,
    pub(super) fhirpath: Vec<Condition>,
    pub(super) json: Option<PathBuf>,
    /// What is wrong with the case itself.
    pub(super) problems: Vec<Difference>,
}

/// All tests of a channel: those of its file, then its folders by name.
pub(super) fn all(site: &Site, config: &ChannelConfig) -> Vec<Case> {
    let format = match &config.inbound {
        InboundKind::Http(_) => Format::FhirJson,
        InboundKind::Mllp(_) | InboundKind::File(_) => Format::Hl7v2,
    };
    let mut cases: Vec<Case> = config.tests.iter().map(|test| of_block(test, format)).collect();
    let folder = site.dir.join("tests").join(&config.name);
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    cases.extend(folders.iter().map(|folder| of_folder(folder)));
    cases
}

/// What a file's name says of its content; `otherwise` where it says nothing.
fn format_of(file: &Path, otherwise: Format) -> Format {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Format::FhirJson,
        Some("hl7" | "er7") => Format::Hl7v2,
        _ => otherwise,
    }
}

fn of_block(test: &TestConfig, otherwise: Format) -> Case {
    let expect = test.expect.clone();
    Case {
        name: test.name.clone(),
        message: test.send.clone(),
        format: format_of(&test.send, otherwise),
        ack: expect.ack,
        to: expect.to,
        state: expect.state,
        fhirpath: expect.fhirpath,
        json: expect.json,
        problems: Vec::new(),
    }
}

/// A folder with `in.hl7` or `in.json`, and `expect.json`, `expect.fhirpath` or both.
fn of_folder(folder: &Path) -> Case {
    let (hl7, json) = (folder.join("in.hl7"), folder.join("in.json"));
    let message = if json.is_file() { json } else { hl7 };
    let (content, paths) = (folder.join("expect.json"), folder.join("expect.fhirpath"));
    let mut case = Case {
        name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        format: format_of(&message, Format::Hl7v2),
        message,
        ack: None,
        to: Vec::new(),
        state: None,
        fhirpath: Vec::new(),
        // What `--update` writes where nothing is expected yet.
        json: (content.is_file() || !paths.is_file()).then_some(content),
        problems: Vec::new(),
    };
    for (number, line) in std::fs::read_to_string(&paths).unwrap_or_default().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match Condition::parse(line) {
            Ok(condition) => case.fhirpath.push(condition),
            Err(error) => {
                let at = format!("{}:{}", paths.display(), number + 1);
                case.problems.push(Difference::new(at, line, error.to_string()));
            }
        }
    }
    case
}
