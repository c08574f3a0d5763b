//! `script`: what tables cannot say, in JavaScript (QuickJS).
//!
//! A script defines `transform(message, bundle, context)`. It reads the HL7 v2 message as it came, changes the
//! Bundle or returns another, looks codes up in the site's CSV files ([`CodeSets`]) and has no I/O. It is compiled
//! and tried when it is loaded; every message finds it as if it were the first, in a sandbox of its own with bounded
//! memory, stack and steps (`sandbox`), so the same message gives the same result. Numbers that FHIR knows as
//! decimals keep their digits (`decimals`). What it says (`log`, `note`, `throw`) is kept without what came from the
//! message (`told`). `tributary.d.ts` describes all of it to an editor.

mod codes;
mod decimals;
mod fields;
mod sandbox;
#[cfg(test)]
mod tests;
mod told;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::label::keep_labels;
use message::{Body, Context, Message, Sha256, Transform, TransformError};
use serde::{Deserialize, Serialize};

pub use codes::CodeSets;

/// The types that scripts are written against, for editors.
pub const TYPES: &str = include_str!("tributary.d.ts");
/// Longest script, in bytes.
const LONGEST: u64 = 1 << 20;

/// What a channel chooses besides the file: `script = { file = "…", … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How many steps one message may take, in units of ten thousand loop turns and calls.
    pub max_steps: u32,
    /// How much memory a script may take besides what the message itself takes, in MiB.
    pub max_memory: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_steps: 2_000, max_memory: 64 }
    }
}

/// What is wrong with a script or a code set, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {text}", file.display())]
pub struct ScriptError {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub text: String,
}

impl ScriptError {
    fn of_file(file: &Path, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, text: text.into() }
    }
}

/// The transform.
#[derive(Debug)]
pub struct Script {
    /// The file's name, for places.
    name: String,
    source: String,
    codes: Arc<CodeSets>,
    options: Options,
    version: String,
}

impl Script {
    /// Reads, compiles and tries the script in `file`.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] with the place of the first mistake.
    pub fn load(file: &Path, codes: Arc<CodeSets>, options: Options) -> Result<Self, ScriptError> {
        let size =
            std::fs::metadata(file).map_err(|error| ScriptError::of_file(file, format!("cannot be read: {error}")))?;
        if size.len() > LONGEST {
            return Err(ScriptError::of_file(file, "a script has at most 1 MiB"));
        }
        let source = std::fs::read_to_string(file)
            .map_err(|error| ScriptError::of_file(file, format!("cannot be read: {error}")))?;
        Self::new(file, source, codes, options)
    }

    /// Compiles and tries a script that is in memory; `file` names it.
    ///
    /// # Errors
    ///
    /// As [`Script::load`].
    pub fn new(file: &Path, source: String, codes: Arc<CodeSets>, options: Options) -> Result<Self, ScriptError> {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let said = serde_json::to_string(&options).unwrap_or_default();
        let version = Sha256::of(format!("{}\n{said}\n{source}", codes.version()).as_bytes()).to_string();
        let script = Self { name, source, codes, options, version };
        match sandbox::check(&script) {
            Ok(()) => Ok(script),
            Err(fault) => {
                let (line, column) = fault.place.unwrap_or((1, 1));
                Err(ScriptError { file: file.to_owned(), line, column, text: fault.text })
            }
        }
    }
}

impl Transform for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn apply(&self, mut message: Message, context: &Context) -> Result<Message, TransformError> {
        let bundle = match &message.body {
            Body::Fhir(bundle) => Some(bundle),
            Body::Hl7v2(_) => None,
        };
        let done = sandbox::run(self, message.as_received(), bundle, &message.original.channel, context)?;
        message.changed = match (&message.body, &done.bundle) {
            (Body::Fhir(before), Some(after)) => before != after,
            (Body::Hl7v2(_), Some(_)) => true,
            (_, None) => false,
        };
        if let Some(mut bundle) = done.bundle {
            if let Body::Fhir(before) = &message.body {
                keep_labels(before, &mut bundle);
            }
            message.body = Body::Fhir(bundle);
        }
        message.findings.extend(done.notes);
        Ok(message)
    }
}
