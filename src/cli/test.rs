//! `tributary test`: what the site's analysts say must be true.

use std::collections::BTreeSet;

use super::connection::load_site;
use super::operate::print_json;
use super::print::{self, say};
use super::{Failure, Globals, Outcome};
use crate::config::{ChannelConfig, Site};
use crate::engine::{TestDifference, Verdict, rows_run, run_tests};
use transforms::hl7v2_to_fhir::maps::Origin;

#[derive(clap::Args)]
#[command(after_help = "\
A test is a [[test]] in a channel's file, or a folder tests/CHANNEL/CASE with in.hl7 (or in.json) and expect.json,
expect.fhirpath or both. Exit code 0: all pass; 1: some fail; 78: the configuration cannot be used.")]
pub(super) struct Args {
    /// Only the tests of these channels.
    channels: Vec<String>,
    /// Only tests whose names contain this.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Write what is made into the files of tests that expect other content.
    #[arg(long)]
    update: bool,
    /// Print what the transforms noticed, too.
    #[arg(long)]
    findings: bool,
    /// Print which of the site's mapping rows no test runs.
    #[arg(long)]
    rows: bool,
    /// Print the types that scripts are written against, for editors, and run nothing.
    #[arg(long)]
    types: bool,
}

pub(super) fn test(globals: &Globals, args: &Args) -> Outcome {
    if args.types {
        return Ok(print::bytes(transforms::script::TYPES.as_bytes())?);
    }
    let site = load_site(globals)?;
    if args.rows {
        return rows(globals, &site, &args.channels);
    }
    let mut verdicts = Vec::new();
    for config in chosen(&site, &args.channels)? {
        verdicts.extend(run_tests(&site, config, args.update)?);
    }
    if let Some(part) = &args.name {
        verdicts.retain(|verdict| verdict.name.contains(part.as_str()));
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
    if globals.json {
        print_json(&verdicts)?;
    } else {
        show(&verdicts, args.findings)?;
        summary(&verdicts, failed)?;
    }
    if failed > 0 { Err(Failure::No) } else { Ok(()) }
}

/// The site's own rows, channel by channel, and those that no test runs.
fn rows(globals: &Globals, site: &Site, names: &[String]) -> Outcome {
    let mut all = Vec::new();
    for config in chosen(site, names)? {
        all.extend(rows_run(site, config, Origin::Site)?);
    }
    if globals.json {
        return print_json(&all);
    }
    for rows in &all {
        say!("{}: {} of {} rows of the site's own are run by tests", rows.channel, rows.run(), rows.rows)?;
        for row in rows.unused.iter().flat_map(|table| &table.rows) {
            say!("  not run  {}  {} to {}", row.place, row.from, row.to)?;
        }
    }
    Ok(())
}

fn chosen<'a>(site: &'a Site, names: &[String]) -> anyhow::Result<Vec<&'a ChannelConfig>> {
    if names.is_empty() {
        return Ok(site.channels.values().collect());
    }
    let known: Vec<&str> = site.channels.keys().map(String::as_str).collect();
    let find = |name: &String| {
        let found = site.channels.get(name);
        found.ok_or_else(|| anyhow::anyhow!("there is no channel `{name}`; there are {}", known.join(", ")))
    };
    names.iter().map(find).collect()
}

fn show(verdicts: &[Verdict], findings: bool) -> anyhow::Result<()> {
    let mut channel = "";
    for verdict in verdicts {
        if channel != verdict.channel {
            channel = &verdict.channel;
            say!("{channel}")?;
        }
        let mark = if verdict.passed() { "ok  " } else { "FAIL" };
        say!("  {mark}  {}", print::plain(&verdict.name))?;
        if !verdict.passed() {
            say!("        {}", verdict.message.display())?;
        }
        verdict.problems.iter().try_for_each(difference)?;
        if let Some(file) = &verdict.updated {
            say!("        wrote {}", file.display())?;
        }
        for finding in verdict.findings.iter().filter(|_| findings) {
            let (kind, location) = (finding.kind.as_str(), &finding.location);
            say!("        {kind} {location}: {}", print::plain(&finding.text))?;
        }
    }
    Ok(())
}

fn difference(difference: &TestDifference) -> anyhow::Result<()> {
    let said = |text: &str| if text.is_empty() { "nothing".to_owned() } else { print::plain(text) };
    if !difference.at.is_empty() {
        say!("        {}", print::plain(&difference.at))?;
    }
    say!("          expected  {}", said(&difference.expected))?;
    Ok(say!("          found     {}", said(&difference.found))?)
}

fn summary(verdicts: &[Verdict], failed: usize) -> anyhow::Result<()> {
    let channels: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.channel.as_str()).collect();
    let updated = verdicts.iter().filter(|verdict| verdict.updated.is_some()).count();
    match verdicts.len() {
        0 => return Ok(say!("No tests: write [[test]] blocks, or folders tests/CHANNEL/CASE.")?),
        count => say!("\n{count} tests of {} channels, {failed} failed", channels.len())?,
    }
    if updated > 0 {
        say!("{updated} files written: look at them before you keep them")?;
    }
    Ok(())
}
