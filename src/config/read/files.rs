//! The files of a site's folder.

use std::io;
use std::path::{Path, PathBuf};

use super::document::Document;
use super::fill::Fill;
use super::nearest;
use crate::config::problem::{Place, Problem};

/// Longest file read, in bytes: a configuration of this size is a mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Everything that a site's folder holds, parsed.
pub(in crate::config) struct Files {
    /// `tributary.toml`.
    pub(in crate::config) engine: Option<Document>,
    /// `providers.toml`.
    pub(in crate::config) providers: Option<Document>,
    /// `services.toml`.
    pub(in crate::config) services: Option<Document>,
    /// `channels/*.toml`, by name.
    pub(in crate::config) channels: Vec<Part>,
    /// `destinations/*.toml`, by name.
    pub(in crate::config) destinations: Vec<Part>,
    /// `policies/*.toml`, by name.
    pub(in crate::config) policies: Vec<Part>,
    /// `labels/*.toml`, by name.
    pub(in crate::config) labels: Vec<Part>,
    /// `labels/*.csv`: path and text.
    pub(in crate::config) label_sets: Vec<(PathBuf, String)>,
    /// What is wrong with the folder itself.
    pub(in crate::config) problems: Vec<Problem>,
}

/// One channel's or destination's file.
pub(in crate::config) struct Part {
    /// Its name: the file's, without `.toml`.
    pub(in crate::config) name: String,
    /// The file.
    pub(in crate::config) document: Document,
}

/// Reads the site's folder `fill.dir`.
pub(in crate::config) fn read_folder(fill: &Fill<'_>) -> Files {
    let dir = fill.dir;
    let mut problems = Vec::new();
    let engine = document(dir.join("tributary.toml"), fill, &mut problems);
    let providers = dir.join("providers.toml").exists().then(|| dir.join("providers.toml"));
    let providers = providers.and_then(|path| document(path, fill, &mut problems));
    let services = dir.join("services.toml").exists().then(|| dir.join("services.toml"));
    let services = services.and_then(|path| document(path, fill, &mut problems));
    let channels = parts(&dir.join("channels"), fill, &mut problems);
    let destinations = parts(&dir.join("destinations"), fill, &mut problems);
    let policies = parts(&dir.join("policies"), fill, &mut problems);
    let (labels, label_sets) = labels(&dir.join("labels"), fill, &mut problems);
    strays(dir, &mut problems);
    Files { engine, providers, services, channels, destinations, policies, labels, label_sets, problems }
}

/// Label rules in TOML, and value sets in CSV beside them.
fn labels(folder: &Path, fill: &Fill<'_>, problems: &mut Vec<Problem>) -> (Vec<Part>, Vec<(PathBuf, String)>) {
    let sets = code_sets_in(folder);
    let mut others = Vec::new();
    let parts = parts(folder, fill, &mut others);
    problems.extend(others.into_iter().filter(|problem| !sets.contains(&problem.file)));
    let mut texts = Vec::with_capacity(sets.len());
    for path in sets {
        match read_text(&path) {
            Ok(text) => texts.push((path, text)),
            Err(problem) => problems.push(*problem),
        }
    }
    (parts, texts)
}

fn document(path: PathBuf, fill: &Fill<'_>, problems: &mut Vec<Problem>) -> Option<Document> {
    match read_text(&path) {
        Ok(text) => Some(Document::parse(path, text, fill)),
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

fn read_text(path: &Path) -> Result<String, Box<Problem>> {
    let unreadable = |error: io::Error| {
        Box::new(match error.kind() {
            io::ErrorKind::NotFound if path.ends_with("tributary.toml") => {
                let dir = path.parent().unwrap_or(path).display();
                Problem::error(path, "there is no such file")
                    .help(format!("`tributary init {dir}` writes a site to begin with"))
            }
            _ => Problem::error(path, format!("cannot be read: {error}")),
        })
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        let message = format!("is longer than {MAX_FILE_BYTES} bytes: no configuration is");
        return Err(Box::new(Problem::error(path, message)));
    }
    String::from_utf8(std::fs::read(path).map_err(unreadable)?).map_err(|error| {
        let right = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let place = Some(Place::of(&text, right));
        Box::new(Problem { place, ..Problem::error(path, "is not UTF-8 from here on").help("save it as UTF-8") })
    })
}

fn parts(folder: &Path, fill: &Fill<'_>, problems: &mut Vec<Problem>) -> Vec<Part> {
    let mut parts = Vec::new();
    for name in names_in(folder, problems) {
        let path = folder.join(&name);
        if name.starts_with('.') {
            continue;
        }
        let Some(stem) = name.strip_suffix(".toml").filter(|_| path.is_file()) else {
            problems.push(Problem::warning(path, "is not read: only files that end in .toml are"));
            continue;
        };
        if !is_name(stem) {
            let help = "use small letters, digits, `-` and `_`, and begin with a letter or digit";
            problems.push(Problem::error(path, format!("`{stem}` cannot be a name")).help(help));
            continue;
        }
        parts.extend(document(path, fill, problems).map(|document| Part { name: stem.to_owned(), document }));
    }
    parts
}

/// The Consents in `folder`, each with its name.
pub(super) fn consents_in(folder: &Path, problems: &mut Vec<Problem>) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for name in names_in(folder, problems).into_iter().filter(|name| !name.starts_with('.')) {
        let path = folder.join(&name);
        match name.strip_suffix(".json").filter(|stem| path.is_file() && is_name(stem)) {
            Some(stem) => found.push((stem.to_owned(), path)),
            None => {
                let help = "use small letters, digits, `-` and `_`, begin with a letter or digit, end in .json";
                problems.push(Problem::warning(path, "is not read").help(help));
            }
        }
    }
    found
}

/// The names in `folder`, sorted; none if it is not there.
fn names_in(folder: &Path, problems: &mut Vec<Problem>) -> Vec<String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Problem::error(folder, format!("cannot be read: {error}")));
            return Vec::new();
        }
    };
    let name = |entry: io::Result<std::fs::DirEntry>| Some(entry.ok()?.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = entries.filter_map(name).collect();
    names.sort();
    names
}

/// True if `name` can go into a URI, a metric and a file name as it is.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 64 && name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '-' || c == '_')
}

/// Warns of what looks as if it were meant to be read.
fn strays(dir: &Path, problems: &mut Vec<Problem>) {
    const KNOWN: [&str; 12] = [
        "tributary.toml",
        "providers.toml",
        "channels",
        "destinations",
        "maps",
        "scripts",
        "codes",
        "tests",
        "policies",
        "labels",
        "consents",
        "services.toml",
    ];
    for name in names_in(dir, problems).into_iter().filter(|name| !KNOWN.contains(&name.as_str())) {
        let meant = nearest::nearest(&name, KNOWN.into_iter());
        if meant.is_some() || name.ends_with(".toml") {
            let help = meant.map_or("channels and destinations have folders of their own".into(), |known| {
                format!("did you mean `{known}`?")
            });
            problems.push(Problem::warning(dir.join(&name), "is not read").help(help));
        }
    }
}

/// How deep folders of maps may be nested: `maps/SITE/codes/x.toml` is two below its site.
const MAX_DEPTH: usize = 8;

/// The tables (TOML, and CSV of codes) in a folder of maps and its sub-folders, in the order of their paths.
pub(in crate::config) fn tables_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    tables_below(folder, MAX_DEPTH, &mut found);
    found.sort();
    found
}

/// The CSV files of a folder of code sets, in the order of their names.
pub(in crate::config) fn code_sets_in(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|found| found == "csv")).collect();
    found.sort();
    found
}

fn tables_below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Some(deeper) = depth.checked_sub(1) else { return };
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            tables_below(&path, deeper, found);
        } else if path.extension().is_some_and(|extension| extension == "toml" || extension == "csv") {
            found.push(path);
        }
    }
}
