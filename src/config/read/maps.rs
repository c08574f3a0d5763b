//! The site's own mapping tables: compiled on trial, so that their mistakes are told with all others.

use std::collections::BTreeSet;
use std::path::Path;

use transforms::hl7v2_to_fhir::{self, maps::MapError};

use crate::config::problem::{Place, Problem};

/// What is wrong in `folders` of maps.
pub(in crate::config) fn maps(folders: &BTreeSet<&Path>) -> Vec<Problem> {
    let errors = |folder: &Path| hl7v2_to_fhir::load(Some(folder)).err().unwrap_or_default();
    folders.iter().flat_map(|folder| errors(folder).into_iter().map(|error| problem(folder, error))).collect()
}

fn problem(folder: &Path, error: MapError) -> Problem {
    let place = Place { line: error.line, column: error.column };
    let file = folder.join(&error.file);
    let source = std::fs::read_to_string(&file).ok().and_then(|text| Some((place.offset_in(&text)?, text)));
    let source = source.map(|(offset, text)| (text.into(), offset..offset));
    Problem { place: Some(place), help: error.help, source, ..Problem::error(file, error.text) }
}
