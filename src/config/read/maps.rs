//! The site's own mapping tables: compiled on trial, so that their mistakes are told with all others, and what of them
//! is never read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use transforms::hl7v2_to_fhir::maps::MapError;
use transforms::hl7v2_to_fhir::{self, Options};

use crate::config::problem::{Place, Problem};

/// The folders of tables.
const TABLES: [&str; 5] = ["segments", "datatypes", "codes", "messages", "blocks"];

/// What is wrong in these folders, each as its channels' options have it, and what of `all`, the site's `maps/`, no
/// channel reads.
pub(in crate::config) fn maps<'a>(all: &Path, folders: impl Iterator<Item = (&'a Path, &'a Options)>) -> Vec<Problem> {
    let mut different: Vec<(&Path, &Options)> = Vec::new();
    for own in folders {
        if !different.contains(&own) {
            different.push(own);
        }
    }
    let mut errors: Vec<(&Path, MapError)> = Vec::new();
    // By folder: the files that are idle whatever its channels have chosen.
    let mut idle: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    for (folder, options) in &different {
        match hl7v2_to_fhir::load(Some(folder), options) {
            Ok(maps) => match idle.get_mut(folder) {
                Some(known) => known.retain(|name| maps.idle().contains(name)),
                None => drop(idle.insert(folder, maps.idle().to_vec())),
            },
            Err(wrong) => {
                let new = wrong.into_iter().map(|error| (*folder, error));
                for error in new {
                    if !errors.contains(&error) {
                        errors.push(error);
                    }
                }
            }
        }
    }
    let mut problems: Vec<Problem> = errors.into_iter().map(|(folder, error)| problem(folder, error)).collect();
    for (folder, names) in idle {
        problems.extend(names.iter().map(|name| no_message_reads(&folder.join(name))));
    }
    let used: BTreeSet<&Path> = different.iter().map(|(folder, _)| *folder).collect();
    problems.extend(used.iter().flat_map(|folder| strays(folder)));
    problems.extend(entries(all).into_iter().filter(|path| !used.contains(&path.as_path())).map(|path| {
        let warning = Problem::warning(path, "is not read: no channel takes it");
        Problem {
            help: Some("a channel takes a folder of tables by `hl7v2-to-fhir = { maps = \"NAME\" }`".into()),
            ..warning
        }
    }));
    problems
}

fn no_message_reads(file: &Path) -> Problem {
    let warning = Problem::warning(file, "no message goes through it: what it says changes nothing");
    let help = "compare its name with `tributary maps show SEGMENT`, or name it in `as` or `code` of a row";
    Problem { help: Some(help.into()), ..warning }
}

/// Files and folders that stand among tables and are none.
fn strays(folder: &Path) -> Vec<Problem> {
    let mut found = Vec::new();
    for path in entries(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !(path.is_dir() && TABLES.contains(&name.as_str())) {
            let warning = Problem::warning(path, "is not read: it is no folder of tables");
            found.push(Problem { help: Some(format!("tables stand in {}", TABLES.join("/, ") + "/")), ..warning });
            continue;
        }
        let is_table = |path: &PathBuf| {
            let end = path.extension().unwrap_or_default();
            path.is_file() && (end == "toml" || (end == "csv" && name == "codes"))
        };
        let others = entries(&path).into_iter().filter(|path| !is_table(path));
        found.extend(others.map(|path| {
            let warning = Problem::warning(path, "is not read: it is no table");
            Problem { help: Some("tables are files NAME.toml, codes also NAME.csv".into()), ..warning }
        }));
    }
    found
}

/// What is in a folder, by name, but for what is hidden and for notes to people.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    all.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        !(name.starts_with('.') || name.starts_with("readme") || name.ends_with(".md"))
    });
    all.sort();
    all
}

fn problem(folder: &Path, error: MapError) -> Problem {
    let place = Place { line: error.line, column: error.column };
    let file = folder.join(&error.file);
    let source = std::fs::read_to_string(&file).ok().and_then(|text| Some((place.offset_in(&text)?, text)));
    let source = source.map(|(offset, text)| (text.into(), offset..offset));
    Problem { place: Some(place), help: error.help, source, ..Problem::error(file, error.text) }
}
