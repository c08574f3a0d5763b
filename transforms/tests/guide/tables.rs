//! The guide's CSV files as rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One row of a segment's or a data type's table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The table, such as `PID[Patient]`.
    pub(crate) table: String,
    /// The field or component, such as `PID-3` or `CX.4`; empty where the row has none.
    pub(crate) from: String,
    /// HL7's data type of it.
    pub(crate) kind: String,
    /// The condition, in the guide's words.
    pub(crate) when: String,
    /// What else is said of the condition, in words.
    pub(crate) narrative: String,
    pub(crate) to: String,
    /// FHIR's data type of the target.
    pub(crate) fhir: String,
    pub(crate) data_type: String,
    pub(crate) vocabulary: String,
    pub(crate) assignment: String,
}

/// All tables, by their names in lower case.
#[derive(Debug)]
pub(crate) struct Guide {
    pub(crate) segments: BTreeMap<String, Vec<Row>>,
    pub(crate) data_types: BTreeMap<String, Vec<Row>>,
    /// Code and what it may become.
    pub(crate) codes: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Guide {
    pub(crate) fn read(mappings: &Path) -> Self {
        let rows = |kind: &str| {
            let all = csv_files(&mappings.join(kind)).into_iter().map(|path| rows_of(&path));
            all.map(|(name, rows)| (name.to_lowercase(), rows)).collect()
        };
        let codes = csv_files(&mappings.join("codesystems")).into_iter().map(|path| codes_of(&path));
        Self {
            segments: rows("segments"),
            data_types: rows("datatypes"),
            codes: codes.map(|(name, codes)| (plain(&name), codes)).collect(),
        }
    }

    pub(crate) fn data_type(&self, name: &str) -> Option<&[Row]> {
        self.data_types.get(&name.replace(' ', "").to_lowercase()).map(Vec::as_slice)
    }

    pub(crate) fn vocabulary(&self, name: &str) -> Option<&BTreeMap<String, Vec<String>>> {
        self.codes.get(&plain(name))
    }

    /// The data types of the components of `kind`, from any of its tables; none for a primitive.
    pub(crate) fn components(&self, kind: &str) -> Vec<String> {
        let of_kind = |name: &&String| name.starts_with(&format!("{}[", kind.to_lowercase()));
        let mut found: Vec<String> = Vec::new();
        for name in self.data_types.keys().filter(of_kind) {
            for row in &self.data_types[name] {
                let number = row.from.rsplit_once('.').and_then(|(_, number)| number.parse::<usize>().ok());
                let Some(number) = number.filter(|number| (1..60).contains(number)) else { continue };
                found.resize(found.len().max(number), "ST".to_owned());
                if !row.kind.is_empty() {
                    found[number - 1].clone_from(&row.kind);
                }
            }
        }
        if found.len() > 1 { found } else { Vec::new() }
    }
}

fn csv_files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the guide's tables").map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "csv"));
    paths.sort();
    paths
}

/// `HL7 Segment - FHIR R4_ PID[Patient] - PID.csv` is `PID[Patient]`.
fn name_of(path: &Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let name = name.split_once("_ ").map_or(name.clone(), |(_, rest)| rest.to_owned());
    name.rsplit_once(" - ").map_or(name.clone(), |(first, _)| first.to_owned())
}

/// Records without the two headers; cells beyond the end are empty.
fn records(path: &Path) -> impl Iterator<Item = Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(path).expect("a table");
    let records: Vec<_> = reader.records().map(|record| record.expect("CSV")).collect();
    records.into_iter().skip(2).map(|record| {
        let mut cells: Vec<String> = record.iter().map(single_spaced).collect();
        cells.resize(cells.len().max(20), String::new());
        cells
    })
}

fn rows_of(path: &Path) -> (String, Vec<Row>) {
    let name = name_of(path);
    let own = name.split('[').next().unwrap_or_default().to_owned();
    let row = |cells: Vec<String>| {
        let number: String = {
            let digits: Vec<char> = cells[1].chars().rev().take_while(char::is_ascii_digit).collect();
            digits.into_iter().rev().collect()
        };
        let is_segment = cells[1].contains('-') || (own.len() == 3 && cells[1].is_empty());
        let mark = if is_segment { '-' } else { '.' };
        // Some tables name the fields of others, by mistake.
        let from = if number.is_empty() { cells[1].clone() } else { format!("{own}{mark}{number}") };
        Row {
            table: name.clone(),
            from,
            kind: cells[3].to_uppercase(),
            when: cells[6].clone(),
            narrative: cells[8].clone(),
            to: if cells[9].is_empty() { format!("?{}", cells[10]) } else { cells[9].clone() },
            fhir: cells[11].clone(),
            data_type: cells[14].clone(),
            vocabulary: cells[15].clone(),
            assignment: cells[16].clone(),
        }
    };
    let rows = records(path).map(row).collect();
    (name, rows)
}

fn codes_of(path: &Path) -> (String, BTreeMap<String, Vec<String>>) {
    let mut codes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cells in records(path) {
        // What has blanks is a remark.
        if !cells[0].is_empty() {
            let made = codes.entry(cells[0].clone()).or_default();
            made.extend(Some(cells[6].clone()).filter(|code| !code.is_empty() && !code.contains(' ')));
        }
    }
    (name_of(path), codes)
}

fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '/')).flat_map(char::to_lowercase).collect()
}
