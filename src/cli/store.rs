//! `tributary verify` and `tributary store`: proving and maintaining what is on disk.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;

use super::connection::{connect, load_site, store_options};
use super::operate::print_json;
use super::print::say;
use super::{Failure, Globals, Outcome, table};
use crate::admin::Operation;
use crate::store::{PruneReport, Store as Stored, VerifyReport};

#[derive(Subcommand)]
#[command(after_help = "  tributary store backup /var/backups/tributary/2026-01-31
  tributary store prune --before 7d          open messages, dead letters and failed ones are kept
  tributary store rebuild                    with the engine stopped; the log has everything")]
pub(super) enum Store {
    /// Build the index again from the log. The engine must be stopped.
    Rebuild,
    /// Drop messages that ended before a time, and free their space.
    Prune {
        /// A time (2026-01-31), or how long ago (30d).
        #[arg(long, value_parser = super::select::moment)]
        before: Timestamp,
    },
    /// Write a copy to a new folder; also while the engine runs.
    Backup {
        /// A folder that does not exist yet.
        to: PathBuf,
    },
}

pub(super) async fn verify(globals: &Globals) -> Outcome {
    let report: VerifyReport = connect(globals).await?.call(Operation::Verify).await?;
    if globals.json {
        print_json(&report)?;
    } else {
        let states: Vec<String> = report.messages.iter().map(|(state, n)| format!("{n} {state}")).collect();
        let accepted: u64 = report.messages.values().sum();
        say!("{accepted} accepted = {}", if states.is_empty() { "0".to_owned() } else { states.join(" + ") })?;
        say!("{} records in {} groups read, {} payloads checked", report.records, report.groups, report.payloads)?;
        report.damages.iter().try_for_each(|damage| say!("damaged: {damage}"))?;
        report.mismatches.iter().try_for_each(|mismatch| say!("the index is wrong: {mismatch}"))?;
        say!("{}", if report.is_clean() { "clean: nothing is lost or altered" } else { "NOT clean" })?;
    }
    if report.is_clean() { Ok(()) } else { Err(Failure::No) }
}

pub(super) async fn store(globals: &Globals, command: Store) -> Outcome {
    match command {
        Store::Rebuild => rebuild(globals),
        Store::Prune { before } => {
            let report: PruneReport = connect(globals).await?.call(Operation::Prune { before }).await?;
            if globals.json {
                return print_json(&report);
            }
            let PruneReport { segments, dropped, carried } = report;
            say!(
                "{dropped} messages dropped with {segments} segments of the log; {carried} open ones carried forward"
            )?;
            Ok(())
        }
        Store::Backup { to } => {
            // The engine has its own working directory.
            let to = std::path::absolute(&to)?;
            let report: serde_json::Value = connect(globals).await?.call(Operation::Backup { to: to.clone() }).await?;
            if globals.json {
                return print_json(&report);
            }
            let bytes = report.get("bytes").and_then(serde_json::Value::as_u64).unwrap_or(0);
            say!("{} written to {}; it opens as a data directory", table::size(bytes), to.display())?;
            Ok(())
        }
    }
}

fn rebuild(globals: &Globals) -> Outcome {
    let site = load_site(globals)?;
    let report = Stored::rebuild(&store_options(&site))?;
    let messages: u64 = report.counts.messages.values().flat_map(|states| states.values()).sum();
    if globals.json {
        return print_json(
            &serde_json::json!({ "messages": messages, "records": report.found.replayed, "damages": report.found.damages }),
        );
    }
    report.found.damages.iter().try_for_each(|damage| say!("damaged: {damage}"))?;
    say!("the index is built again: {} records, {messages} messages", report.found.replayed)?;
    Ok(())
}
