//! The mapping tables: read from TOML, layered, checked against R4, compiled once.
//!
//! Three layers, later ones over earlier ones row by row: the guide's tables (`segments/`,
//! `datatypes/`, `codes/`, `messages/`), our decisions (`ours/`), a site's `maps/` folder. A channel's
//! [`Options`] choose between rows ([`choices`](self)); [`show()`] tells what is in force and from where.

mod blocks;
mod choices;
mod compile;
mod condition;
mod csv;
mod dispatch;
mod error;
mod file;
mod grammar;
pub mod guide;
mod idle;
mod layers;
mod path;
pub(super) mod plan;
mod show;
mod structure;

use std::borrow::Cow;
use std::path::Path;

use include_dir::{Dir, DirEntry, include_dir};
use message::Sha256;

pub use error::MapError;
pub use plan::{Origin, RowPlace};
pub use show::{Shown, ShownRow, not_among, show};

pub(super) use compile::hl7_table_uri;
pub(super) use path::{EACH, SHARED};

use choices::Choices;
use layers::Source;
use plan::Plan;

use super::Options;

static TABLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/maps");

/// All mapping tables, compiled: share one behind an [`std::sync::Arc`] between channels.
#[derive(Debug)]
pub struct Maps {
    pub(super) plan: Plan,
    version: String,
    idle: Vec<String>,
}

impl Maps {
    /// The tables that come with the program.
    ///
    /// # Errors
    ///
    /// None in a released program: a test loads them. The type says so all the same.
    pub fn embedded() -> Result<Self, Vec<MapError>> {
        Self::from_sources(&embedded(), &Options::default())
    }

    /// Our tables with those of a site over them: files by name below its `maps/` folder, such as
    /// `segments/PID[Patient].toml`, with their text; as a channel with `options` has them.
    ///
    /// # Errors
    ///
    /// All mistakes of all files, each with its place.
    pub fn with_site(files: Vec<(String, String)>, options: &Options) -> Result<Self, Vec<MapError>> {
        Self::from_sources(&with_site(files), options)
    }

    /// Our tables with those of the folder `site_dir` over them, as a channel with `options` has them.
    ///
    /// # Errors
    ///
    /// All mistakes of all files, each with its place; also files that cannot be read.
    pub fn load(site_dir: Option<&Path>, options: &Options) -> Result<Self, Vec<MapError>> {
        Self::with_site(read_site(site_dir)?, options)
    }

    /// The SHA-256 of all tables, in hexadecimal.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The site's files that no message goes through, by their names below its folder: what they say changes nothing.
    #[must_use]
    pub fn idle(&self) -> &[String] {
        &self.idle
    }

    fn from_sources(sources: &[Source], options: &Options) -> Result<Self, Vec<MapError>> {
        let layers = layers::read(sources, &Choices::of(options));
        let idle = idle::of(&layers, sources);
        let plan = compile::compile(layers, sources)?;
        let mut all = String::new();
        for source in sources {
            all.push_str(&source.name);
            all.push('\0');
            all.push_str(&source.text);
            all.push('\0');
        }
        Ok(Self { plan, version: Sha256::of(all.as_bytes()).to_string(), idle })
    }
}

/// Our tables with the files of a site over them.
fn with_site(files: Vec<(String, String)>) -> Vec<Source> {
    let site = files.into_iter().map(|(name, text)| Source {
        name: Cow::Owned(name),
        text: Cow::Owned(text),
        origin: Origin::Site,
    });
    let mut sources = embedded();
    sources.extend(site);
    sources
}

/// The files of a site's folder, by name.
fn read_site(site_dir: Option<&Path>) -> Result<Vec<(String, String)>, Vec<MapError>> {
    let mut files = Vec::new();
    for folder in ["segments", "datatypes", "codes", "messages", "blocks"] {
        let Some(site_dir) = site_dir else { continue };
        read_folder(&site_dir.join(folder), folder, &mut files).map_err(|error| vec![error])?;
    }
    files.sort();
    Ok(files)
}

/// The guide's tables, then ours.
fn embedded() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&TABLES, &mut sources);
    sources.sort_by(|a, b| (a.origin != Origin::Guide, &a.name).cmp(&(b.origin != Origin::Guide, &b.name)));
    sources
}

fn collect(dir: &Dir<'static>, sources: &mut Vec<Source>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => collect(dir, sources),
            DirEntry::File(file) => {
                let name = file.path().to_str().filter(|name| name.ends_with(".toml"));
                if let (Some(name), Some(text)) = (name, file.contents_utf8()) {
                    let origin = if name.starts_with("ours/") { Origin::Ours } else { Origin::Guide };
                    sources.push(Source { name: Cow::Borrowed(name), text: Cow::Borrowed(text), origin });
                }
            }
        }
    }
}

fn read_folder(path: &Path, folder: &str, files: &mut Vec<(String, String)>) -> Result<(), MapError> {
    let wrong = |file: String, error: std::io::Error| MapError {
        file,
        line: 1,
        column: 1,
        text: format!("cannot be read: {error}"),
        help: None,
    };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(wrong(folder.to_owned(), error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| wrong(folder.to_owned(), error))?;
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if name.ends_with(".toml") || (folder == "codes" && name.ends_with(".csv")) {
            let text = std::fs::read_to_string(entry.path()).map_err(|error| wrong(name.clone(), error))?;
            files.push((name, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_tables_compile() {
        let errors = Maps::embedded().err().unwrap_or_default();
        let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{}", shown.join("\n"));
    }
}
