//! The tables in force, for people: every row with where it comes from.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;
use toml::Spanned;

use crate::hl7v2_to_fhir::Options;

use super::choices::Choices;
use super::error::{MapError, place};
use super::layers::{self, Folder, Layered, LayeredCodes, LayeredRow, Source};
use super::plan::{Origin, RowPlace};

/// A table in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its folder and name: `segments/PID[Patient]`.
    pub table: String,
    /// Its rows, in the order in which they run.
    pub rows: Vec<ShownRow>,
}

/// A row in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownRow {
    /// The field, the component, the segment in its group, or the code.
    pub from: String,
    /// The element, the resource, or the translation.
    pub to: String,
    /// How: the table, code table, fixed value or conversion, and the condition.
    pub how: String,
    /// What the row says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whose row it is.
    pub origin: Origin,
    /// File and line.
    pub place: String,
}

/// All tables for `name`, with those of the folder `site` over ours, as a channel with `options` has
/// them. `name` is a segment (`PID`), a data type (`CX`), a structure or event (`ADT_A01`,
/// `ADT^A04`), a code table (`AdministrativeSex`), or one table (`PID[Patient]`).
///
/// # Errors
///
/// What is wrong with the site's files.
pub fn show(site: Option<&Path>, options: &Options, name: &str) -> Result<Vec<Shown>, Vec<MapError>> {
    let sources = super::with_site(super::read_site(site)?);
    let layers = layers::read(&sources, &Choices::of(options));
    if !layers.errors.is_empty() {
        return Err(layers.errors);
    }
    let named = |own: &str| {
        let own_base = own.split('[').next().unwrap_or(own);
        own.eq_ignore_ascii_case(name) || own_base.eq_ignore_ascii_case(name)
    };
    let is_asked = |table: &Layered| named(&table.name) || table.events.iter().any(|event| event == name);
    let tables = layers.tables.iter().filter(|(_, table)| is_asked(table));
    let mut shown: Vec<_> = tables.map(|((folder, _), table)| of_table(*folder, table, &sources)).collect();
    shown.extend(layers.codes.values().filter(|codes| named(&codes.name)).map(|codes| of_codes(codes, &sources)));
    Ok(shown)
}

/// The rows of segments and data types that are written in files of `origin`, and not at one of the places `used`:
/// those that no conversion has run.
///
/// # Errors
///
/// What is wrong with the site's files.
pub fn not_among<S: std::hash::BuildHasher>(
    used: &HashSet<RowPlace, S>,
    origin: Origin,
    site: Option<&Path>,
    options: &Options,
) -> Result<(usize, Vec<Shown>), Vec<MapError>> {
    let sources = super::with_site(super::read_site(site)?);
    let layers = layers::read(&sources, &Choices::of(options));
    let (mut count, mut unused) = (0, Vec::new());
    for ((folder, _), table) in &layers.tables {
        if !matches!(folder, Folder::Segments | Folder::DataTypes) {
            continue;
        }
        let of_origin = |row: &&LayeredRow| sources.get(row.file).is_some_and(|source| source.origin == origin);
        let is_unused = |row: &&LayeredRow| !used.contains(&RowPlace::new(row.file, row.offset));
        count += table.rows.iter().filter(of_origin).count();
        let rows: Vec<_> =
            table.rows.iter().filter(of_origin).filter(is_unused).map(|row| of_row(row, &sources)).collect();
        if !rows.is_empty() {
            unused.push(Shown { rows, ..of_table(*folder, table, &sources) });
        }
    }
    Ok((count, unused))
}

fn of_table(folder: Folder, table: &Layered, sources: &[Source]) -> Shown {
    let folder = match folder {
        Folder::Segments => "segments",
        Folder::DataTypes => "datatypes",
        Folder::Codes => "codes",
        Folder::Messages => "messages",
        Folder::Blocks => "blocks",
    };
    let rows = table.rows.iter().map(|row| of_row(row, sources)).collect();
    Shown { table: format!("{folder}/{}", table.name), rows }
}

fn of_row(layered: &LayeredRow, sources: &[Source]) -> ShownRow {
    let row = &layered.row;
    let text = |part: &Option<Spanned<String>>| part.as_ref().map(|part| part.get_ref().clone());
    let said = [
        ("after ", text(&row.after)),
        ("as ", text(&row.table)),
        ("code ", text(&row.code)),
        ("= ", text(&row.fixed)),
        ("value ", text(&row.value)),
        ("convert ", text(&row.convert)),
        ("absent ", text(&row.absent)),
        ("skip: ", text(&row.skip)),
        ("when ", text(&row.when)),
    ];
    let mut how: Vec<_> = said.into_iter().filter_map(|(word, text)| Some(format!("{word}{}", text?))).collect();
    how.extend(row.link.iter().map(|link| format!("link {}", link.get_ref())));
    let (origin, place) = whence(layered.file, layered.offset, sources);
    ShownRow {
        from: text(&row.from).unwrap_or_default(),
        to: text(&row.to).unwrap_or_default(),
        how: how.join("; "),
        note: row.note.clone(),
        origin,
        place,
    }
}

fn of_codes(codes: &LayeredCodes, sources: &[Source]) -> Shown {
    let rows = codes.file.codes.iter().map(|code| {
        let (origin, place) = whence(code.file, usize::MAX, sources);
        let how = [&code.display, &code.system].into_iter().flatten().cloned().collect::<Vec<_>>().join("; ");
        ShownRow { from: code.from.clone(), to: code.to.clone().unwrap_or_default(), how, note: None, origin, place }
    });
    Shown { table: format!("codes/{}", codes.name), rows: rows.collect() }
}

fn whence(file: usize, offset: usize, sources: &[Source]) -> (Origin, String) {
    let Some(source) = sources.get(file) else { return (Origin::Ours, String::new()) };
    let place = match source.text.get(..offset) {
        Some(_) => format!("{}:{}", source.name, place(&source.text, offset).0),
        None => source.name.to_string(),
    };
    (source.origin, place)
}
