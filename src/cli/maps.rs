//! `tributary maps`: the mapping tables for people: what is in force, and what the guide has besides.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use transforms::hl7v2_to_fhir::Options;
use transforms::hl7v2_to_fhir::maps::guide::{GuideFile, GuideKind, TableCheck, check};
use transforms::hl7v2_to_fhir::maps::{self, Origin, Shown};

use super::connection::load_site;
use super::print::{note, say};
use super::{Failure, Globals, Outcome, table};
use crate::config::TransformConfig;

/// Look at the mapping tables.
#[derive(clap::Subcommand)]
pub(super) enum Maps {
    /// Show the rows in force for a segment, a data type, a message or codes, and whose each row is.
    #[command(after_help = "Examples:
  tributary maps show PID
  tributary maps show CX --channel st-mary-adt
  tributary maps show ADT^A04
  tributary maps show AdministrativeSex --maps config/maps/st-mary")]
    Show(ShowArgs),
    /// Compare the built-in tables with the CSV files of HL7's v2-to-FHIR guide.
    Check(CheckArgs),
}

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// A segment, data type, structure, event or code table, or one table: `PID[Patient]`.
    name: String,
    /// As this channel of the site has them.
    #[arg(long, value_name = "CHANNEL", conflicts_with = "maps")]
    channel: Option<String>,
    /// With the tables of this folder over the built-in ones.
    #[arg(long, value_name = "DIR")]
    maps: Option<PathBuf>,
    /// With a choice, such as `next_of_kin=contact`; may be said several times.
    #[arg(long = "option", value_name = "NAME=VALUE", conflicts_with = "channel")]
    options: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct CheckArgs {
    /// The guide's folder: `mappings` with messages, segments, datatypes and codesystems in it.
    #[arg(long, value_name = "DIR")]
    against: PathBuf,
}

pub(super) fn maps(globals: &Globals, command: &Maps) -> Outcome {
    match command {
        Maps::Show(args) => show(globals, args),
        Maps::Check(args) => against_guide(globals, &args.against),
    }
}

/// Reads `NAME=VALUE` as options of the transform.
pub(super) fn options(said: &[String]) -> anyhow::Result<Options> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').with_context(|| format!("`{text}` is not NAME=VALUE"))?;
        Ok((name.trim().to_owned(), Value::String(value.trim().to_owned())))
    };
    let options = said.iter().map(pair).collect::<anyhow::Result<Map<_, _>>>()?;
    serde_json::from_value(Value::Object(options)).context("there is no such option")
}

fn show(globals: &Globals, args: &ShowArgs) -> Outcome {
    let (folder, options) = match &args.channel {
        Some(name) => of_channel(globals, name)?,
        None => (args.maps.clone(), options(&args.options)?),
    };
    let shown = maps::show(folder.as_deref(), &options, &args.name).map_err(|errors| {
        errors.iter().for_each(|error| note!("error: {error}"));
        Failure::Config
    })?;
    if shown.is_empty() {
        return Err(anyhow::anyhow!("there is no table for `{}`", args.name).into());
    }
    if globals.json {
        return Ok(say!("{:#}", json!(shown))?);
    }
    for table in &shown {
        print(table)?;
    }
    Ok(())
}

/// The folder of maps and the options of a channel of the site.
fn of_channel(globals: &Globals, name: &str) -> Result<(Option<PathBuf>, Options), Failure> {
    let site = load_site(globals)?;
    let channel = site.channels.get(name).with_context(|| format!("there is no channel `{name}`"))?;
    let conversion = channel.transforms.iter().find_map(|transform| match transform {
        TransformConfig::Hl7v2ToFhir(config) => Some(config),
        TransformConfig::Script(_) | TransformConfig::Label(_) => None,
    });
    let config = conversion.with_context(|| format!("`{name}` converts nothing"))?;
    Ok((config.maps.clone(), config.options.clone()))
}

fn print(shown: &Shown) -> anyhow::Result<()> {
    say!("{}", shown.table)?;
    let rows = shown.rows.iter().map(|row| {
        let origin = match row.origin {
            Origin::Guide => "guide",
            Origin::Ours => "ours",
            Origin::Site => "site",
        };
        [row.from.clone(), row.to.clone(), origin.to_owned(), row.place.clone(), row.how.clone()]
    });
    table::print(["from", "to", "origin", "place", "how"], rows, "no rows are in force")?;
    Ok(say!()?)
}

fn against_guide(globals: &Globals, dir: &Path) -> Outcome {
    let files = guide_files(dir)?;
    let checks = check(&files).map_err(|error| anyhow::anyhow!(error))?;
    let missing: usize = checks.iter().map(|check| check.missing.len()).sum();
    if globals.json {
        say!("{:#}", json!({ "tables": checks, "missing": missing }))?;
    } else {
        print_checks(&checks)?;
    }
    if missing > 0 { Err(Failure::No) } else { Ok(()) }
}

fn print_checks(checks: &[TableCheck]) -> anyhow::Result<()> {
    let kind = |check: &TableCheck| match check.kind {
        GuideKind::Message => "message",
        GuideKind::Segment => "segment",
        GuideKind::DataType => "data type",
        GuideKind::Code => "codes",
    };
    let number = |n: usize| n.to_string();
    let row = |name: String, checks: &[&TableCheck], kind: &str| {
        let sum = |of: &dyn Fn(&TableCheck) -> usize| number(checks.iter().map(|check| of(check)).sum());
        [
            sum(&|check| check.covered),
            sum(&|check| check.decided),
            sum(&|check| check.listed),
            sum(&|check| check.missing.len()),
            kind.to_owned(),
            name,
        ]
    };
    let each = checks.iter().map(|check| row(check.table.clone(), &[check], kind(check)));
    let kinds = [GuideKind::Message, GuideKind::Segment, GuideKind::DataType, GuideKind::Code];
    let sums = kinds.iter().filter_map(|of| {
        let own: Vec<_> = checks.iter().filter(|check| check.kind == *of).collect();
        let first = own.first()?;
        Some(row(format!("{} tables", own.len()), &own, kind(first)))
    });
    let all = std::iter::once(row(format!("{} tables", checks.len()), &checks.iter().collect::<Vec<_>>(), "all"));
    let head = ["covered", "decided", "listed", "missing", "kind", "table"];
    table::print(head, each.chain(sums).chain(all), "there is no table of the guide in this folder")?;
    for check in checks {
        for (line, from, to) in &check.missing {
            say!("missing: {} line {line}: {from} -> {to}", check.table)?;
        }
    }
    Ok(())
}

/// All tables of the guide in `dir`, or in `mappings` below it.
fn guide_files(dir: &Path) -> anyhow::Result<Vec<GuideFile>> {
    let below = dir.join("mappings");
    let dir = if below.is_dir() { below } else { dir.to_owned() };
    let kinds = [
        ("messages", GuideKind::Message),
        ("segments", GuideKind::Segment),
        ("datatypes", GuideKind::DataType),
        ("codesystems", GuideKind::Code),
    ];
    let mut files = Vec::new();
    for (folder, kind) in kinds {
        let folder = dir.join(folder);
        let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "csv")) {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push(GuideFile { kind, name, text: String::from_utf8_lossy(&bytes).into_owned() });
        }
    }
    Ok(files)
}
