//! `tributary init`, `check` and `plan`: a site's files before they run.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use serde::Serialize;

use super::connection::connect;
use super::operate::print_json;
use super::print::say;
use super::{EXIT_CONFIG, Failure, Globals, Outcome, table};
use crate::admin::Operation;
use crate::audit::{Target, observer};
use crate::config::{self, Change, DestinationConfig, Effect, Site, check as offline};
use crate::engine::{clock, outbound};

#[derive(clap::Args)]
pub(super) struct InitArgs {
    /// Where to write it: a folder that is new or empty.
    #[arg(default_value = "config")]
    dir: PathBuf,
}

#[derive(clap::Args)]
#[command(
    after_help = "All mistakes of all files at once, with file, line, column and what to do. The exit code is 78 if there
is one, 1 if a destination is not reached.

  tributary check -c /etc/tributary
  tributary check -c /etc/tributary --connect"
)]
pub(super) struct CheckArgs {
    /// Also reach every destination and the audit's repositories, without sending anything.
    #[arg(long)]
    connect: bool,
}

pub(super) fn init(args: &InitArgs) -> Outcome {
    let written = config::init(&args.dir)?;
    for file in &written {
        say!("wrote {}", file.display())?;
    }
    let dir = args.dir.display();
    say!("\nNext: tributary check -c {dir}\nThen: tributary run -c {dir}")?;
    Ok(())
}

/// What `check` prints for scripts.
#[derive(Serialize)]
struct Checked {
    /// Every mistake; none for a good configuration.
    problems: Vec<config::Problem>,
    /// With `--connect`: every destination, and all that the audit is taken to.
    destinations: Option<Vec<Probed>>,
}

/// What came of reaching for one destination.
#[derive(Serialize)]
struct Probed {
    name: String,
    /// `reached`, `not reached`, or `disabled`: not tried.
    result: &'static str,
    answer: String,
}

pub(super) async fn check(globals: &Globals, args: &CheckArgs) -> Outcome {
    let report = offline::run(&globals.config, &|name| std::env::var(name).ok());
    if !globals.json {
        say!("{}", report.render(true, std::io::stdout().is_terminal()))?;
    }
    let exit_code = report.exit_code();
    let destinations = match &report.site {
        Some(site) if args.connect => Some(probe_all(site).await),
        _ => None,
    };
    let failed = destinations.iter().flatten().any(|probed| probed.result == NOT_REACHED);
    if globals.json {
        print_json(&Checked { problems: report.problems, destinations })?;
    } else if let Some(destinations) = destinations {
        let rows = destinations.into_iter().map(|Probed { name, result, answer }| [name, result.to_owned(), answer]);
        table::print(["destination", "", "answer"], rows, "No destinations.")?;
    }
    match (exit_code == EXIT_CONFIG, failed) {
        (true, _) => Err(Failure::Config),
        (false, true) => Err(Failure::No),
        (false, false) => Ok(()),
    }
}

const NOT_REACHED: &str = "NOT reached";

/// Probes every destination and all that the audit is taken to, whatever the first says.
async fn probe_all(site: &Site) -> Vec<Probed> {
    let probes = site.destinations.values().map(probe);
    let mut probed = futures_util::future::join_all(probes).await;
    let targets = match Target::all(&site.engine.audit, &observer(&site.engine), &clock::clock()) {
        Ok(targets) => targets,
        Err(error) => {
            probed.push(Probed { name: "audit".to_owned(), result: NOT_REACHED, answer: error.to_string() });
            return probed;
        }
    };
    for target in targets {
        let name = format!("audit {}", target.name());
        let (result, answer) = match target.probe().await {
            Ok(answer) => ("reached", answer),
            Err(error) => (NOT_REACHED, error),
        };
        probed.push(Probed { name, result, answer });
    }
    probed
}

async fn probe(destination: &DestinationConfig) -> Probed {
    let probed = |result, answer| Probed { name: destination.name.clone(), result, answer };
    if !destination.enabled {
        return probed("disabled", "not tried".to_owned());
    }
    let outbound = match outbound(destination, &clock::clock()) {
        Ok(outbound) => outbound,
        Err(error) => return probed(NOT_REACHED, error.to_string()),
    };
    match outbound.probe().await {
        Ok(text) => probed("reached", text),
        Err(error) => probed(NOT_REACHED, error.to_string()),
    }
}

pub(super) async fn plan(globals: &Globals) -> Outcome {
    let changes: Vec<Change> = connect(globals).await?.call(Operation::Plan).await?;
    if globals.json {
        return print_json(&changes);
    }
    let changed = changes.iter().filter(|change| change.effect != Effect::Unchanged);
    let rows = changed.map(|change| [change.part.to_string(), change.effect.to_string()]);
    Ok(table::print(["", "a reload would"], rows, "A reload would change nothing.")?)
}
