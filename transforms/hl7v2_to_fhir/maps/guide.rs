//! Our tables against the CSV files of HL7's v2-to-FHIR guide: is every row there, or listed with a reason?

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::Options;
use super::TABLES;
use super::choices::Choices;
use super::file::{CodeFile, RowFile};
use super::layers::{self, Folder, Layered, Layers, Source};
use super::plan::Origin;

/// What a file of the guide holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuideKind {
    /// `messages/`: what the segments of a message become.
    Message,
    /// `segments/`: what the fields of a segment become.
    Segment,
    /// `datatypes/`: what the components of a data type become.
    DataType,
    /// `codesystems/`: what codes become.
    Code,
}

/// A file of the guide.
#[derive(Clone, Debug)]
pub struct GuideFile {
    /// What it holds.
    pub kind: GuideKind,
    /// Its name, such as `HL7 Segment - FHIR R4_ PID[Patient] - PID.csv`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// How a table of the guide stands here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableCheck {
    /// What it is.
    pub kind: GuideKind,
    /// `PID[Patient]`.
    pub table: String,
    /// Rows that are in our table of the guide.
    pub covered: usize,
    /// Of those, rows in place of which `ours/` has decided something else.
    pub decided: usize,
    /// Rows that NOT-MAPPED.md lists.
    pub listed: usize,
    /// Rows that are nowhere: line of the file, source and target.
    pub missing: Vec<(u64, String, String)>,
}

/// Compares the embedded tables with `files`.
///
/// # Errors
///
/// A file that is no CSV: its name, and why.
pub fn check(files: &[GuideFile]) -> Result<Vec<TableCheck>, String> {
    let sources = super::embedded();
    let (ours, guide): (Vec<Source>, Vec<Source>) =
        sources.into_iter().partition(|source| source.origin == Origin::Ours);
    let choices = Choices::of(&Options::default());
    let tables =
        Tables { guide: layers::read(&guide, &choices), ours: layers::read(&ours, &choices), listed: Listed::read() };
    files.iter().map(|file| tables.check(file)).collect()
}

struct Tables {
    guide: Layers,
    ours: Layers,
    listed: Listed,
}

/// A row of the guide: where it stands, what it comes from and what it becomes.
struct GuideRow {
    line: u64,
    from: String,
    /// Without blanks; empty where the guide gives none.
    to: String,
    is_conditional: bool,
}

impl Tables {
    fn check(&self, file: &GuideFile) -> Result<TableCheck, String> {
        let table = table_name(&file.name).to_owned();
        let records = records(&file.text).map_err(|error| format!("{}: {error}", file.name))?;
        let mut check = TableCheck { kind: file.kind, table, covered: 0, decided: 0, listed: 0, missing: Vec::new() };
        match file.kind {
            GuideKind::Code => self.codes(&records, &mut check),
            GuideKind::Message => self.rows(Folder::Messages, message_rows(&records), &mut check),
            GuideKind::Segment => self.rows(Folder::Segments, field_rows(&records, &check.table, '-'), &mut check),
            GuideKind::DataType => self.rows(Folder::DataTypes, field_rows(&records, &check.table, '.'), &mut check),
        }
        Ok(check)
    }

    fn rows(&self, folder: Folder, rows: Vec<GuideRow>, check: &mut TableCheck) {
        let key = (folder, check.table.to_lowercase());
        let own = self.ours.tables.get(&key);
        let own_key = |row: &RowFile| (text(&row.from), squeezed(&text(&row.to)));
        // How many rows of ours there are for a row of the guide, and whether one has a condition.
        let mut there: HashMap<(String, String), (usize, bool, bool)> = HashMap::new();
        let table = self.guide.tables.get(&key);
        for row in table.iter().flat_map(|table| &table.rows).map(|layered| &layered.row) {
            let said = row.guide.clone().unwrap_or_else(|| squeezed(&text(&row.to)));
            let found = there.entry((text(&row.from), said)).or_default();
            found.0 += 1;
            found.1 |= row.when.is_some();
            found.2 |= own.is_some_and(|own| is_decided(own, own_key(row)));
        }
        let segments: HashSet<String> = table.map(segments_of).unwrap_or_default();
        for row in rows {
            let entry = (row.from.clone(), row.to.clone());
            let is_named =
                row.to.is_empty() && (there.keys().any(|(from, _)| *from == row.from) || segments.contains(&row.from));
            match there
                .get_mut(&entry)
                .filter(|(left, conditional, decided)| *left > 0 && (*conditional || *decided || !row.is_conditional))
            {
                Some((left, _, decided)) => {
                    *left -= 1;
                    check.covered += 1;
                    check.decided += usize::from(*decided);
                }
                None if self.listed.has(&key.1, &row) => check.listed += 1,
                None if is_named => check.covered += 1,
                None => check.missing.push((row.line, row.from, row.to)),
            }
        }
    }

    fn codes(&self, records: &[(u64, Vec<String>)], check: &mut TableCheck) {
        let key = check.table.to_lowercase();
        let codes = |layers: &Layers| layers.codes.get(&key).map(|table| table.file.codes.clone()).unwrap_or_default();
        let (guide, own): (Vec<CodeFile>, Vec<CodeFile>) = (codes(&self.guide), codes(&self.ours));
        let mut without_source = self.listed.no_source.get(&key).copied().unwrap_or(0);
        for (line, cells) in records {
            let (from, to) = (cell(cells, 0).to_owned(), squeezed(cell(cells, 6)));
            let is_it = |code: &&CodeFile| code.from == from;
            let said = |code: &CodeFile| squeezed(code.to.as_deref().unwrap_or_default()) == to;
            let row = GuideRow { line: *line, from: from.clone(), to: to.clone(), is_conditional: false };
            if from.is_empty() && without_source > 0 {
                without_source -= 1;
                check.listed += 1;
            } else if guide.iter().filter(is_it).any(said) {
                check.covered += 1;
                check.decided += usize::from(own.iter().any(|code| is_it(&code) && !said(code)));
            } else if self.listed.has(&key, &row) {
                check.listed += 1;
            } else {
                check.missing.push((row.line, row.from, row.to));
            }
        }
    }
}

fn text(part: &Option<toml::Spanned<String>>) -> String {
    part.as_ref().map(|part| part.get_ref().clone()).unwrap_or_default()
}

/// True if `ours/` has something else, or nothing, in place of a row.
fn is_decided(own: &Layered, key: (String, String)) -> bool {
    // `remove` without `to` speaks of all rows of its source; layering has taken those rows out.
    own.replaces
        || own.removed.contains(&key)
        || own.removed.contains(&(key.0.clone(), String::new()))
        || own.rows.iter().any(|layered| (text(&layered.row.from), squeezed(&text(&layered.row.to))) == key)
}

/// The paths of all segments of a message's grammar.
fn segments_of(table: &Layered) -> HashSet<String> {
    let nodes =
        table.grammar.as_ref().and_then(|(_, text)| super::grammar::read(text.get_ref()).ok()).unwrap_or_default();
    let leaves = (1..nodes.len()).filter_map(|i| Some((i, nodes.get(i).filter(|node| !node.is_group)?)));
    let path = |(i, node): (usize, &super::plan::Node)| match super::structure::group_path(&nodes, i) {
        groups if groups.is_empty() => node.name.clone(),
        groups => format!("{groups}.{}", node.name),
    };
    leaves.map(path).collect()
}

// ---- the guide's files -----------------------------------------------------------------------

/// `PID[Patient]` of `HL7 Segment - FHIR R4_ PID[Patient] - PID.csv`.
fn table_name(file: &str) -> &str {
    let name = file.split_once("_ ").map_or(file, |(_, name)| name);
    name.rsplit_once(" - ").map_or(name, |(name, _)| name)
}

/// The rows below the two heads, with their lines; those without any text are none.
fn records(text: &str) -> Result<Vec<(u64, Vec<String>)>, csv::Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut out = Vec::new();
    for record in reader.records().skip(2) {
        let record = record?;
        if record.iter().any(|cell| !cell.trim().is_empty()) {
            let line = record.position().map_or(0, csv::Position::line);
            out.push((line, record.iter().map(|cell| cell.trim().to_owned()).collect()));
        }
    }
    Ok(out)
}

fn cell(cells: &[String], number: usize) -> &str {
    cells.get(number).map_or("", String::as_str)
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

fn field_rows(records: &[(u64, Vec<String>)], table: &str, mark: char) -> Vec<GuideRow> {
    let kind = table.split('[').next().unwrap_or(table);
    let row = |(line, cells): &(u64, Vec<String>)| {
        let to = squeezed(if cell(cells, 9).is_empty() { cell(cells, 10) } else { cell(cells, 9) });
        let from = source(cell(cells, 1), kind, mark);
        let is_conditional = !cell(cells, 6).is_empty();
        (!(from.is_empty() && to.is_empty())).then_some(GuideRow { line: *line, from, to, is_conditional })
    };
    records.iter().filter_map(row).collect()
}

/// `PID-3` or `CX.4`: the number under the table's own name, for some files have another's.
fn source(identifier: &str, kind: &str, mark: char) -> String {
    // Misprint: the total daily dose stands in RXO's map as RXE-19.
    if (kind, identifier) == ("RXO", "RXE-19") {
        return "RXO-23".to_owned();
    }
    let digits = identifier.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let is_field =
        mark == '.' || identifier.split_once('-').is_some_and(|(name, rest)| name.len() == 3 && rest == digits);
    match digits {
        "" if mark == '.' && !identifier.is_empty() => kind.to_owned(),
        digits if !digits.is_empty() && is_field => format!("{kind}{mark}{digits}"),
        _ => String::new(),
    }
}

/// The rows of a message, each with its segment in its groups.
fn message_rows(records: &[(u64, Vec<String>)]) -> Vec<GuideRow> {
    let (mut groups, mut rows) = (Vec::<String>::new(), Vec::new());
    for (line, cells) in records {
        let marks = squeezed(cell(cells, 2));
        let all = |of: &str| !marks.is_empty() && marks.chars().all(|c| of.contains(c));
        if all("[{<") {
            groups.push(group_name(cell(cells, 3)));
        } else if all("]}>") {
            groups.pop();
        } else if let Some(segment) = segment_in(&marks).filter(|_| !cell(cells, 1).starts_with('/')) {
            let from = groups.iter().map(String::as_str).chain([segment]).collect::<Vec<_>>().join(".");
            let is_conditional = !cell(cells, 6).is_empty();
            rows.push(GuideRow { line: *line, from, to: squeezed(cell(cells, 9)), is_conditional });
        }
    }
    rows
}

/// `PATIENT_VISIT` of `--- PATIENT VISIT begin`.
fn group_name(title: &str) -> String {
    let title = title.trim_start_matches('-').trim_start();
    let end = title.find(" begin").unwrap_or(title.len());
    let name = title.get(..end).unwrap_or(title).trim_end().replace(' ', "_");
    if name.is_empty() { "GROUP".to_owned() } else { name }
}

fn segment_in(marks: &str) -> Option<&str> {
    let is_segment = |text: &&str| {
        text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    (0..marks.len()).filter_map(|at| marks.get(at..at + 3)).find(is_segment)
}

// ---- NOT-MAPPED.md ---------------------------------------------------------------------------

/// What NOT-MAPPED.md lists, by lower-case table.
#[derive(Default)]
struct Listed {
    said: HashSet<(String, String, String)>,
    no_target: HashSet<(String, String)>,
    no_source: HashMap<String, usize>,
}

impl Listed {
    fn read() -> Self {
        let text = TABLES.get_file("NOT-MAPPED.md").and_then(|file| file.contents_utf8()).unwrap_or_default();
        let (mut out, mut section) = (Self::default(), "");
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("## ") {
                section = head;
            }
            let Some(cells) = cells_of(line) else { continue };
            let [table, rest @ ..] = cells.as_slice() else { continue };
            let table = table.to_lowercase();
            match (section, rest) {
                ("Rows that cannot be said", [from, to, reason]) if !reason.is_empty() => {
                    out.said.insert((table, from.clone(), to.clone()));
                }
                ("Sources to which the guide gives no target", [sources]) => {
                    out.no_target.extend(sources.split(", ").map(|source| (table.clone(), source.to_owned())));
                }
                ("Target codes without a source code", [count]) => {
                    out.no_source.insert(table, count.parse().unwrap_or(0));
                }
                _ => {}
            }
        }
        out
    }

    fn has(&self, table: &str, row: &GuideRow) -> bool {
        let said = (table.to_owned(), row.from.clone(), row.to.clone());
        self.said.contains(&said)
            || (row.to.is_empty() && self.no_target.contains(&(table.to_owned(), row.from.clone())))
    }
}

/// The cells of `| a | b \| c |`; heads and rules are read like any other and match nothing.
fn cells_of(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let inner = inner.replace("\\|", "\u{1}");
    Some(inner.split(" | ").map(|cell| cell.trim().replace('\u{1}', "|")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HL7 v2\nSort Order,Identifier\n";

    #[track_caller]
    fn check_file(kind: GuideKind, name: &str, rows: &str, expected: (usize, usize, &[(&str, &str)])) {
        let file = GuideFile { kind, name: name.into(), text: format!("{HEAD}{rows}") };
        let found = check(&[file]).expect("CSV").remove(0);
        let missing: Vec<_> = found.missing.iter().map(|(_, from, to)| (from.as_str(), to.as_str())).collect();
        assert_eq!((found.covered, found.listed, missing.as_slice()), expected, "{found:?}");
    }

    #[test]
    fn a_row_is_there_or_listed_or_missing() {
        let name = "HL7 Segment - FHIR R4_ PID[Patient] - PID.csv";
        check_file(GuideKind::Segment, name, "1,PID-8,,,,,,,,gender\n", (1, 0, &[]));
        check_file(GuideKind::Segment, name, "1,PID-31,,,,,,,,,extension??-identityUnknown\n", (0, 1, &[]));
        check_file(GuideKind::Segment, name, "1,PID-99,,,,,,,,gender\n", (0, 0, &[("PID-99", "gender")]));
        let name = "HL7 Message - FHIR R4_ ADT_A01 - Sheet1.csv";
        check_file(GuideKind::Message, name, "1,ADT_A01.PID,PID,,,,,,,Patient[1]\n", (1, 0, &[]));
        check_file(
            GuideKind::Message,
            name,
            "1,,[{,--- INSURANCE begin\n2,A.IN1,IN1,,,,,,,Group[1]\n",
            (0, 0, &[("INSURANCE.IN1", "Group[1]")]),
        );
        let name = "HL7 Concept Map_ AdministrativeSex - Sheet1.csv";
        check_file(GuideKind::Code, name, "F,,,,,,female\nQ,,,,,,female\n", (1, 0, &[("Q", "female")]));
    }
}
