//! `tributary consent`: what a decision rests on, what is on file, what another policy would change; and, without a
//! site, tests of folders of vectors and what is wrong with Consents, policies and label rules before they are in force.

mod answers;
mod ask;
mod embedded;
mod folder;
mod lint;
mod test;
mod unlabelled;

use std::path::PathBuf;

use message::MessageId;

use super::{Globals, Outcome};

/// Consent: explain and test decisions, look at what is on file, check Consents, policies and label rules.
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
    /// Tell why a message may, or may not, go to a destination.
    Explain {
        /// The message.
        #[arg(long, value_name = "ID")]
        message: MessageId,
        /// The destination.
        #[arg(long, value_name = "NAME")]
        to: String,
    },
    /// List the Consents on file of a patient.
    List {
        /// SYSTEM|VALUE of an identifier; without one, the Consents whose patient nobody can tell.
        #[arg(long, value_name = "SYSTEM|VALUE")]
        patient: Option<String>,
    },
    /// Show the Consents on file of a patient, in all their versions.
    Show {
        /// SYSTEM|VALUE of an identifier; without one, the Consents whose patient nobody can tell.
        #[arg(long, value_name = "SYSTEM|VALUE")]
        patient: Option<String>,
    },
    /// Decide about stored messages by another policy, without sending, and show what would change.
    #[command(after_help = "\
Example:
  tributary consent simulate --policy new/us-tpo.toml --since 7d")]
    Simulate(ask::SimulateArgs),
    /// Open one patient's record to a destination in an emergency, against or without consent.
    #[command(after_help = "\
It is written down and alarmed, and ends by itself.

Examples:
  tributary consent break-glass --patient 'urn:oid:2.16.840.1.113883.19.5.1|MRN-1' --to ed --by 'Dr Ada Example' --reason OVRER --for 2h
  tributary consent break-glass --list")]
    BreakGlass(ask::BreakGlassArgs),
    /// Tell which records go unlabelled because no value set covers their codes, by channel.
    #[command(after_help = "\
Entries whose codes arrive alone, of systems that no file of labels/ covers, or that say in words
alone what they are about: a Consent that refuses what they are about does not reach them.

Example:
  tributary consent unlabelled --channel harbor-lab --since 7d")]
    Unlabelled(unlabelled::UnlabelledArgs),
    /// Find what is wrong with Consents (.json), policies and label rules (.toml, .csv).
    Lint {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

pub(super) async fn consent(globals: &Globals, command: Consent) -> Outcome {
    match command {
        Consent::Test { folder } => test::test(globals, &folder),
        Consent::Lint { files } => lint::lint(globals, &files),
        Consent::Explain { message, to } => ask::explain(globals, message, &to).await,
        Consent::List { patient } => ask::list(globals, patient).await,
        Consent::Show { patient } => ask::show(globals, patient).await,
        Consent::Simulate(args) => ask::simulate(globals, &args).await,
        Consent::Unlabelled(args) => unlabelled::unlabelled(globals, args).await,
        Consent::BreakGlass(args) => ask::break_glass(globals, args).await,
    }
}
