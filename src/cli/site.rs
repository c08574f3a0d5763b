//! `tributary init`, `check` and `plan`: a site's files before they run.

use std::path::PathBuf;

use super::connection::{connect, load_site};
use super::operate::print_json;
use super::{EXIT_CONFIG, Failure, Globals, Outcome, table};
use crate::admin::Operation;
use crate::config::{self, Change, Effect, check as offline};
use crate::engine::{clock, outbound};

#[derive(clap::Args)]
pub(super) struct InitArgs {
    /// Where to write it: a folder that is new or empty.
    #[arg(default_value = "config")]
    dir: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct CheckArgs {
    /// Also reach every destination, without sending anything.
    #[arg(long)]
    connect: bool,
}

pub(super) fn init(args: &InitArgs) -> Outcome {
    let written = config::init(&args.dir)?;
    for file in &written {
        println!("wrote {}", file.display());
    }
    let dir = args.dir.display();
    println!("\nNext: tributary check -c {dir}\nThen: tributary run -c {dir}");
    Ok(())
}

pub(super) async fn check(globals: &Globals, args: &CheckArgs) -> Outcome {
    let report = offline::run(&globals.config, &|name| std::env::var(name).ok());
    if globals.json {
        print_json(&report.problems)?;
    } else {
        println!("{}", report.render(true, std::io::IsTerminal::is_terminal(&std::io::stdout())));
    }
    if report.exit_code() == EXIT_CONFIG {
        return Err(Failure::Config);
    }
    if args.connect { reach(globals).await } else { Ok(()) }
}

/// Probes every destination, all of them whatever the first says.
async fn reach(globals: &Globals) -> Outcome {
    let site = load_site(globals)?;
    let mut rows = Vec::new();
    let mut failed = false;
    for destination in site.destinations.values() {
        let (state, text) = match outbound(destination, &clock::clock()) {
            Ok(outbound) => match outbound.probe().await {
                Ok(text) => ("reached", text),
                Err(error) => ("NOT reached", error.to_string()),
            },
            Err(error) => ("NOT reached", error.to_string()),
        };
        failed |= state != "reached";
        rows.push([destination.name.clone(), state.to_owned(), text]);
    }
    table::print(["destination", "", "answer"], rows, "No destinations.");
    if failed { Err(Failure::No) } else { Ok(()) }
}

pub(super) async fn plan(globals: &Globals) -> Outcome {
    let changes: Vec<Change> = connect(globals).await?.call(Operation::Plan).await?;
    if globals.json {
        return print_json(&changes);
    }
    let changed = changes.iter().filter(|change| change.effect != Effect::Unchanged);
    let rows = changed.map(|change| [change.part.to_string(), change.effect.to_string()]);
    table::print(["", "a reload would"], rows, "A reload would change nothing.");
    Ok(())
}
