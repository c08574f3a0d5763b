//! The site's own mapping tables: compiled on trial, so that their mistakes are told with all others.

use std::path::Path;

use transforms::hl7v2_to_fhir::{self, Options, maps::MapError};

use crate::config::problem::{Place, Problem};

/// What is wrong in folders of maps, each as a channel with its options has it; once for the same.
pub(in crate::config) fn maps<'a>(folders: impl Iterator<Item = (&'a Path, &'a Options)>) -> Vec<Problem> {
    let mut different: Vec<(&Path, &Options)> = Vec::new();
    for own in folders {
        if !different.contains(&own) {
            different.push(own);
        }
    }
    let mut errors: Vec<(&Path, MapError)> = Vec::new();
    for (folder, options) in different {
        for error in hl7v2_to_fhir::load(Some(folder), options).err().unwrap_or_default() {
            if !errors.contains(&(folder, error.clone())) {
                errors.push((folder, error));
            }
        }
    }
    errors.into_iter().map(|(folder, error)| problem(folder, error)).collect()
}

fn problem(folder: &Path, error: MapError) -> Problem {
    let place = Place { line: error.line, column: error.column };
    let file = folder.join(&error.file);
    let source = std::fs::read_to_string(&file).ok().and_then(|text| Some((place.offset_in(&text)?, text)));
    let source = source.map(|(offset, text)| (text.into(), offset..offset));
    Problem { place: Some(place), help: error.help, source, ..Problem::error(file, error.text) }
}
