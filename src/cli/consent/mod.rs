//! `tributary consent`: consent decisions without a running engine. Tests folders of vectors, and finds
//! what is wrong with Consents, policies and label rules before they are in force.

mod answers;
mod embedded;
mod folder;
mod lint;
mod test;

use std::path::PathBuf;

use super::{Globals, Outcome};

/// Consent: test decisions, check Consents, policies and label rules.
#[derive(clap::Subcommand)]
pub(super) enum Consent {
    /// Answer a folder of test vectors (consent-vector/1). Exit code 1 if one fails.
    #[command(after_help = "\
The folder holds vectors/ and consents/, and where it has them policies/, terminology.json,
directory.json and label-rules.json; the built-in ones stand in for what is missing.

Example:
  tributary consent test tests/consent-vectors")]
    Test {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Find what is wrong with Consents (.json), policies and label rules (.toml, .csv).
    Lint {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

pub(super) fn consent(globals: &Globals, command: &Consent) -> Outcome {
    match command {
        Consent::Test { folder } => test::test(globals, folder),
        Consent::Lint { files } => lint::lint(globals, files),
    }
}
