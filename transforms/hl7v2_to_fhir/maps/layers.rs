//! The same table in the guide, in ours and at a site: which rows are in force.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::Spanned;

use super::blocks;
use super::choices::Choices;
use super::csv;
use super::error::{MapError, Wrong, place};
use super::file::{CodeFile, CodesFile, RowFile, TableFile, UseFile};
use super::plan::Origin;

/// A file below `maps/`: its name there, its text, whose it is.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: Cow<'static, str>,
    pub(super) text: Cow<'static, str>,
    pub(super) origin: Origin,
}

/// What kind of table a file holds, by its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Folder {
    Segments,
    DataTypes,
    Codes,
    Messages,
    /// Rows that messages have in common.
    Blocks,
}

/// A row with the file that it stands in.
#[derive(Clone, Debug)]
pub(super) struct LayeredRow {
    pub(super) row: RowFile,
    pub(super) file: usize,
    pub(super) offset: usize,
}

/// A table after all layers.
#[derive(Debug, Default)]
pub(super) struct Layered {
    pub(super) name: String,
    pub(super) rows: Vec<LayeredRow>,
    pub(super) chain: Option<(usize, Spanned<String>)>,
    pub(super) shared: Option<(usize, Spanned<String>)>,
    pub(super) grammar: Option<(usize, Spanned<String>)>,
    pub(super) events: Vec<String>,
    pub(super) uses: Vec<(usize, UseFile)>,
    pub(super) file: usize,
    /// True if it takes nothing from the tables below.
    pub(super) replaces: bool,
    /// `from` and `to` of what it takes away from them.
    pub(super) removed: Vec<(String, String)>,
}

/// A code table after all layers.
#[derive(Debug, Default)]
pub(super) struct LayeredCodes {
    pub(super) name: String,
    pub(super) file: CodesFile,
}

/// All tables after all layers, by folder and lower-case name.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) tables: BTreeMap<(Folder, String), Layered>,
    pub(super) codes: BTreeMap<String, LayeredCodes>,
    pub(super) errors: Vec<MapError>,
}

/// Reads `sources`, lower layers first; rows that `choices` rule out are not there.
pub(super) fn read(sources: &[Source], choices: &Choices) -> Layers {
    let mut layers = Layers::default();
    for (number, source) in sources.iter().enumerate() {
        match folder_and_name(&source.name) {
            Some((Folder::Codes, name)) => layers.add_codes(source, number, name),
            Some((folder, name)) => layers.add_table(source, number, (folder, name), choices),
            None => layers.errors.push(MapError {
                file: source.name.to_string(),
                line: 1,
                column: 1,
                text: "no folder of tables holds this file".into(),
                help: Some("put it into segments/, datatypes/, codes/, messages/ or blocks/".into()),
            }),
        }
    }
    blocks::spread(&mut layers, sources);
    layers
}

/// `ours/segments/PID[Patient].toml`.
pub(super) fn folder_and_name(path: &str) -> Option<(Folder, &str)> {
    let path = path.strip_prefix("ours/").unwrap_or(path);
    let (folder, file) = path.split_once('/')?;
    let folder = match folder {
        "segments" => Folder::Segments,
        "datatypes" => Folder::DataTypes,
        "codes" => Folder::Codes,
        "messages" => Folder::Messages,
        "blocks" => Folder::Blocks,
        _ => return None,
    };
    let table = file.strip_suffix(".toml");
    let name = table.or_else(|| file.strip_suffix(".csv").filter(|_| folder == Folder::Codes));
    Some((folder, name?))
}

impl Layers {
    fn add_table(&mut self, source: &Source, number: usize, (folder, name): (Folder, &str), choices: &Choices) {
        let file: TableFile = match toml::from_str(&source.text) {
            Ok(file) => file,
            Err(error) => return self.errors.push(syntax(source, &error)),
        };
        let key = (folder, name.to_lowercase());
        let table = self.tables.entry(key).or_default();
        if file.replace {
            *table = Layered { replaces: true, ..Layered::default() };
        }
        name.clone_into(&mut table.name);
        table.file = number;
        if let Some(chain) = file.chain {
            table.chain = Some((number, chain));
        }
        if let Some(shared) = file.shared {
            table.shared = Some((number, shared));
        }
        if let Some(grammar) = file.grammar {
            table.grammar = Some((number, grammar));
        }
        table.events.extend(file.events.into_iter().map(Spanned::into_inner));
        table.uses.extend(file.uses.into_iter().map(|used| (number, used)));
        let text = |part: &Option<Spanned<String>>| part.as_ref().map_or("", |part| part.get_ref()).to_owned();
        let removed = file.row.iter().map(Spanned::get_ref).filter(|row| row.remove);
        table.removed.extend(removed.map(|row| (text(&row.from), text(&row.to))));
        for row in file.row {
            let offset = row.span().start;
            match row.get_ref().option.as_ref().map_or(Ok(true), |option| choices.allow(option)) {
                Ok(true) => put(&mut table.rows, LayeredRow { row: row.into_inner(), file: number, offset }),
                Ok(false) => {}
                Err((offset, wrong)) => self.errors.push(mistake(source, offset, wrong)),
            }
        }
    }

    fn add_codes(&mut self, source: &Source, number: usize, name: &str) {
        let read = match source.name.ends_with(".csv") {
            true => csv::codes(source),
            false => toml::from_str(&source.text).map_err(|error| syntax(source, &error)),
        };
        let file: CodesFile = match read {
            Ok(file) => file,
            Err(error) => return self.errors.push(error),
        };
        let table = self.codes.entry(name.to_lowercase()).or_default();
        if file.replace {
            table.file = CodesFile::default();
        }
        name.clone_into(&mut table.name);
        let below = &mut table.file;
        below.source = file.source.or(below.source.take());
        let system = file.system.or(below.system.take());
        below.system.clone_from(&system);
        below.otherwise = file.otherwise.or(below.otherwise.take());
        below.partial |= file.partial;
        below.codes.retain(|code| !file.codes.iter().any(|own| own.from == code.from));
        below.codes.extend(file.codes.into_iter().map(|code| CodeFile {
            system: code.system.or(system.clone()),
            file: number,
            ..code
        }));
    }
}

/// Puts one row over those of the layers below with the same `from` and `to`.
pub(super) fn put(rows: &mut Vec<LayeredRow>, new: LayeredRow) {
    let is_below = |old: &LayeredRow| old.file != new.file && same_place(&old.row, &new.row);
    let at = rows.iter().position(is_below);
    rows.retain(|old| !is_below(old));
    if !new.row.remove {
        rows.insert(at.unwrap_or(rows.len()).min(rows.len()), new);
    }
}

fn same_place(old: &RowFile, new: &RowFile) -> bool {
    let text = |part: &Option<Spanned<String>>| part.as_ref().map(|p| p.get_ref().clone());
    let whole_source = new.remove && new.to.is_none() && new.skip.is_none();
    text(&old.from) == text(&new.from)
        && text(&old.after) == text(&new.after)
        && (whole_source || text(&old.to) == text(&new.to))
}

fn syntax(source: &Source, error: &toml::de::Error) -> MapError {
    let offset = error.span().map_or(0, |span| span.start);
    mistake(source, offset, Wrong::new(error.message()))
}

/// What is wrong at `offset` of `source`.
pub(super) fn mistake(source: &Source, offset: usize, wrong: Wrong) -> MapError {
    let (line, column) = place(&source.text, offset);
    MapError { file: source.name.to_string(), line, column, text: wrong.text, help: wrong.help }
}
