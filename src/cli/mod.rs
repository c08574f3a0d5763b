//! The command line. The only place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what the command line is for")]

mod audit;
mod bench;
mod breach;
mod connection;
mod consent;
mod convert;
mod coverage;
mod deliveries;
mod demo;
mod logging;
mod maps;
mod messages;
mod operate;
mod print;
mod replay;
mod repository;
mod run;
mod select;
mod send;
mod site;
mod status;
mod store;
mod table;
mod test;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::print::note;
use crate::admin::OperationError;

/// Exit code for a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// Where help lists the options that every command has.
const EVERYWHERE: &str = "Options of every command";

/// EMR-to-EHR integration engine: takes records in, keeps them, turns them into FHIR with
/// provenance and consent flags, and delivers them in patient order.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
#[command(after_help = "\
First steps:
  tributary demo                 see it all work on a sample site
  tributary init my-site         write a commented site to start from
  tributary check -c my-site     find every mistake in it
  tributary run -c my-site       start it

At 3 a.m.:
  tributary status               what is down, what waits, since when
  tributary dead list            what was refused, and the answer it got
  tributary replay --state dead --destination NAME --reason TEXT --dry-run")]
struct Cli {
    /// The site's folder.
    #[arg(short, long, global = true, help_heading = EVERYWHERE, default_value = "config", env = "TRIBUTARY_CONFIG", value_name = "DIR")]
    config: PathBuf,
    /// The data directory, instead of the one that the site names.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON for scripts instead of tables for people.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What every command knows.
#[derive(Clone)]
struct Globals {
    config: PathBuf,
    data: Option<PathBuf>,
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the site until SIGTERM; SIGHUP reloads the configuration.
    Run(run::Args),
    /// Write a commented site to start from.
    Init(site::InitArgs),
    /// Find every mistake in the configuration. Exit code 78 if there is one.
    Check(site::CheckArgs),
    /// Run the tests that the site's analysts have written. Exit code 1 if one fails.
    Test(test::Args),
    /// Show what a reload would change.
    #[command(after_help = "  tributary check && tributary plan && tributary reload")]
    Plan,
    /// Put the configuration on disk into force, channel by channel.
    #[command(
        after_help = "What has changed is drained and exchanged, the rest runs on. What does not start is rolled back, and
the exit code is 1; with a mistake in any file nothing changes, and the exit code is 78.

  tributary check && tributary plan && tributary reload"
    )]
    Reload,
    /// Run the sample site with a stand-in repository and send it messages from three EMRs.
    Demo(demo::Args),
    /// Run a stand-in FHIR R4 repository, for demos and tests.
    Repository(repository::Args),
    /// Explain and test consent decisions; look at what is on file; check policies.
    #[command(subcommand)]
    Consent(consent::Consent),
    /// Convert HL7 v2 files to FHIR and print the Bundles.
    Convert(convert::Args),
    /// Find what is wrong with FHIR files. Exit code 1 if there is an error in one.
    Validate(validate::Args),
    /// Look at the mapping tables, and compare them with HL7's guide.
    #[command(subcommand)]
    Maps(maps::Maps),
    /// Send HL7 v2 files to any MLLP receiver and show its acknowledgments.
    Send(send::Args),
    /// Show how every channel and destination stands.
    #[command(after_help = "Says what to type next where something needs a person. For scripts:

  tributary status --json | jq '.destinations[] | select(.state != \"up\")'
  tributary status --json | jq .messages.dead")]
    Status,
    /// Look at messages.
    #[command(subcommand)]
    Messages(messages::Messages),
    /// Look at dead letters.
    #[command(subcommand)]
    Dead(deliveries::Dead),
    /// List what of stored messages reached no output, and codes without a translation.
    Coverage(coverage::Args),
    /// Send stored messages through today's transforms, consent and routes again.
    Replay(replay::Args),
    /// Look at deliveries; hold, release or skip one.
    #[command(subcommand)]
    Deliveries(deliveries::Deliveries),
    /// Stop or reopen a channel's feed.
    #[command(subcommand)]
    Channels(operate::Channels),
    /// Stop or go on sending to a destination.
    #[command(subcommand)]
    Destinations(operate::Destinations),
    /// Walk from a message or delivery back to the bytes that came, and forth to every answer.
    Lineage(messages::LineageArgs),
    /// Read the audit, and prove that nothing of it was changed or is missing.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// List who got a patient's data, when, what and for which purpose (45 CFR 164.528).
    Disclosures(audit::Disclosures),
    /// Find what went out and should not have, as is known by now (45 CFR 164.400).
    #[command(subcommand)]
    Breach(breach::Breach),
    /// Read the whole store and prove that nothing is lost or altered.
    #[command(
        after_help = "Checks every checksum and every payload, counts everything again from the log and compares that with the
index. Works beside a running engine, and takes as long as reading the log does. The exit code is 1 if
something is wrong; what, and where, is printed."
    )]
    Verify,
    /// Maintain the store.
    #[command(subcommand)]
    Store(store::Store),
    /// Measure this machine and the engine on it, against the bare disk and the bare loopback.
    Bench(bench::Args),
    /// Print shell completions.
    #[command(after_help = "Examples:
  tributary completions bash > /etc/bash_completion.d/tributary
  tributary completions zsh > \"${fpath[1]}/_tributary\"
  tributary completions fish > ~/.config/fish/completions/tributary.fish")]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Why a command failed, as an exit code.
enum Failure {
    /// Anything: 1.
    Error(anyhow::Error),
    /// The configuration cannot be used: 78. It has been printed.
    Config,
    /// The command did its work and the answer is "no": 1, with nothing more to say.
    No,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

type Outcome = Result<(), Failure>;

/// Runs the command line that this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { config, data, json, command } = Cli::parse();
    let globals = Globals { config, data, json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(dispatch(&globals, command));
    // Blocking work that is still under way is on disk already.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No) => ExitCode::FAILURE,
        Err(Failure::Config) => ExitCode::from(EXIT_CONFIG),
        // Whoever read our output has read enough.
        Err(Failure::Error(error)) if error.downcast_ref().is_some_and(print::OutputError::is_closed) => {
            ExitCode::SUCCESS
        }
        Err(Failure::Error(error)) if error.downcast_ref().is_some_and(|error: &OperationError| error.config) => {
            note!("{error}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(Failure::Error(error)) => {
            note!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each said once.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.contains(&cause) {
        true => said,
        false if said.is_empty() => cause,
        false => format!("{said}: {cause}"),
    })
}

async fn dispatch(globals: &Globals, command: Command) -> Outcome {
    match command {
        Command::Run(args) => run::run(globals, args).await,
        Command::Init(args) => site::init(&args),
        Command::Check(args) => site::check(globals, &args).await,
        Command::Test(args) => test::test(globals, &args),
        Command::Plan => site::plan(globals).await,
        Command::Reload => operate::reload(globals).await,
        Command::Demo(args) => demo::demo(globals, args).await,
        Command::Repository(args) => repository::repository(args).await,
        Command::Consent(command) => consent::consent(globals, command).await,
        Command::Convert(args) => convert::convert(globals, &args),
        Command::Validate(args) => validate::validate(globals, &args),
        Command::Maps(command) => maps::maps(globals, &command),
        Command::Send(args) => send::send(globals, args).await,
        Command::Status => status::status(globals).await,
        Command::Messages(command) => messages::messages(globals, command).await,
        Command::Dead(command) => deliveries::dead(globals, command).await,
        Command::Coverage(args) => coverage::coverage(globals, args).await,
        Command::Replay(args) => replay::replay(globals, args).await,
        Command::Deliveries(command) => deliveries::deliveries(globals, command).await,
        Command::Channels(command) => operate::channels(globals, command).await,
        Command::Destinations(command) => operate::destinations(globals, command).await,
        Command::Lineage(args) => messages::lineage(globals, args).await,
        Command::Audit(command) => audit::audit(globals, command).await,
        Command::Disclosures(args) => audit::disclosures(globals, args).await,
        Command::Breach(command) => breach::breach(globals, command).await,
        Command::Verify => store::verify(globals).await,
        Command::Store(command) => store::store(globals, command).await,
        Command::Bench(args) => bench::bench(globals, args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tributary", &mut script);
            Ok(print::bytes(&script)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn tells_a_cause_once() {
        let error = anyhow::anyhow!("port in use")
            .context("cannot listen on 1: port in use")
            .context("st-mary: cannot listen on 1");
        assert_eq!(told(&error), "st-mary: cannot listen on 1: cannot listen on 1: port in use");
        let error = anyhow::anyhow!("cannot listen on 1").context("st-mary: cannot listen on 1");
        assert_eq!(told(&error), "st-mary: cannot listen on 1");
    }
}
