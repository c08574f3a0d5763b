//! A folder of vectors, read from disk; what it lacks is built in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use message::consent::by_entry::{Directory, Terms};
use message::consent::vectors::Folder;
use message::json::Value;
use transforms::label::LabelRules;

use super::embedded;

/// How deep folders of Consents may be nested.
const MAX_DEPTH: usize = 4;

/// A folder of vectors with all that they may name.
pub(super) struct Suite {
    /// By the file's name without its extension; why, where it cannot be read.
    pub(super) vectors: Vec<(String, Result<Value, String>)>,
    /// What else of the folder cannot be read: files, each with the reason.
    pub(super) faults: Vec<String>,
    pub(super) folder: Folder,
    pub(super) rules: LabelRules,
}

impl Suite {
    pub(super) fn read(home: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(home.is_dir(), "there is no folder {}", home.display());
        let place = if home.join("vectors").is_dir() { home.join("vectors") } else { home.to_owned() };
        let mut vectors = Vec::new();
        for path in files(&place, 1)?.into_iter().filter(|path| is(path, "json")) {
            let value = json(&path).map_err(|error| format!("{error:#}"));
            // Without a folder of their own, vectors stand beside other files.
            if place != home || value.as_ref().is_ok_and(|value| value.get("kind").is_some()) {
                vectors.push((stem(&path), value));
            }
        }
        anyhow::ensure!(!vectors.is_empty(), "there are no vectors in {}", place.display());
        let (mut consents, mut faults) = (BTreeMap::new(), Vec::new());
        for path in files(&home.join("consents"), MAX_DEPTH)?.into_iter().filter(|path| is(path, "json")) {
            let name = path.strip_prefix(home).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            match json(&path) {
                Ok(consent) => _ = consents.insert(name, consent),
                Err(error) => faults.push(format!("{error:#}")),
            }
        }
        let policies = policies(home, &mut faults)?;
        let directory = optional(&home.join("directory.json"))?.map_or_else(embedded::directory, Ok)?;
        let terms = match optional(&home.join("terminology.json"))? {
            Some(terms) => Terms::read(&terms)?,
            None => Terms::shipped()?,
        };
        let folder = Folder { consents, policies, directory: Arc::new(Directory::read(&directory)?), terms };
        Ok(Self { vectors, faults, folder, rules: rules(home)? })
    }
}

/// The policies of the folder over the built-in ones. For one that cannot be read nothing stands in.
fn policies(home: &Path, faults: &mut Vec<String>) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut policies: BTreeMap<String, Value> = embedded::policies()?.into_iter().collect();
    for path in files(&home.join("policies"), 1)? {
        let policy = if is(&path, "json") {
            json(&path)
        } else if is(&path, "toml") {
            toml_file(&path)
        } else {
            continue;
        };
        match policy {
            Ok(policy) => _ = policies.insert(stem(&path), policy),
            Err(error) => {
                policies.remove(&stem(&path));
                faults.push(format!("{error:#}"));
            }
        }
    }
    Ok(policies)
}

/// The label rules of the folder, or the built-in ones.
fn rules(home: &Path) -> anyhow::Result<LabelRules> {
    let mut rules = LabelRules::default();
    let mut found = false;
    if let Some(value) = optional(&home.join("label-rules.json"))? {
        rules.add(&value).context("label-rules.json")?;
        found = true;
    }
    for path in files(&home.join("labels"), 1)? {
        if is(&path, "toml") {
            rules.add_toml(&text(&path)?).with_context(|| path.display().to_string())?;
            found = true;
        } else if is(&path, "csv") {
            rules.add_csv(&stem(&path), &text(&path)?)?;
            found = true;
        }
    }
    Ok(if found { rules } else { LabelRules::shipped()? })
}

/// The files in `folder` and its sub-folders, sorted; none if it is not there.
fn files(folder: &Path, depth: usize) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let (Some(deeper), true) = (depth.checked_sub(1), folder.is_dir()) else { return Ok(found) };
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path, deeper)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn json(path: &Path) -> anyhow::Result<Value> {
    let value: serde_json::Value = serde_json::from_str(&text(path)?).with_context(|| path.display().to_string())?;
    Ok(value.into())
}

fn toml_file(path: &Path) -> anyhow::Result<Value> {
    let value: serde_json::Value = toml::from_str(&text(path)?).with_context(|| path.display().to_string())?;
    Ok(value.into())
}

fn optional(path: &Path) -> anyhow::Result<Option<Value>> {
    if path.is_file() { json(path).map(Some) } else { Ok(None) }
}
