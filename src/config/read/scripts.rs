//! The site's scripts and code sets: compiled and read on trial, so that their mistakes are told with all others.

use std::sync::Arc;

use transforms::script::{CodeSets, Script, ScriptError};

use crate::config::channel::ScriptConfig;
use crate::config::problem::{Place, Problem};

/// What is wrong in `scripts` and in the code sets that they use. Scripts that are not there are told elsewhere.
pub(in crate::config) fn scripts(scripts: &[&ScriptConfig]) -> Vec<Problem> {
    let Some(first) = scripts.first() else { return Vec::new() };
    let codes = match CodeSets::load(&first.codes) {
        Ok(codes) => Arc::new(codes),
        Err(errors) => return errors.into_iter().map(problem).collect(),
    };
    let mut tried: Vec<&ScriptConfig> = Vec::new();
    let mut problems = Vec::new();
    for script in scripts.iter().filter(|script| script.file.is_file()) {
        if !tried.contains(script) {
            tried.push(script);
            let loaded = Script::load(&script.file, Arc::clone(&codes), script.options.clone());
            problems.extend(loaded.err().map(problem));
        }
    }
    problems
}

fn problem(error: ScriptError) -> Problem {
    let place = Place { line: error.line, column: error.column };
    let source = std::fs::read_to_string(&error.file).ok().and_then(|text| Some((place.offset_in(&text)?, text)));
    let source = source.map(|(offset, text)| (text.into(), offset..offset));
    Problem { place: Some(place), source, ..Problem::error(error.file, error.text) }
}
