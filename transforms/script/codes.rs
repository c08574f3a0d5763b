//! The site's code sets: CSV files that scripts look codes up in.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use message::Sha256;

use super::ScriptError;

/// Most bytes of all code sets together.
const MOST_BYTES: u64 = 64 << 20;

/// All code sets of a site, by the names of their files: `codes/wards.csv` is `wards`.
///
/// The first line names the columns, the first column holds the code. UTF-8, fields in quotes where they hold commas.
#[derive(Debug)]
pub struct CodeSets {
    sets: BTreeMap<String, CodeSet>,
    version: String,
}

impl Default for CodeSets {
    /// None.
    fn default() -> Self {
        Self { sets: BTreeMap::new(), version: Sha256::of(b"").to_string() }
    }
}

#[derive(Debug)]
struct CodeSet {
    columns: Vec<String>,
    rows: HashMap<String, Vec<String>>,
}

impl CodeSets {
    /// Reads every CSV file in `folder`; none where there is no such folder.
    ///
    /// # Errors
    ///
    /// Every mistake of every file, with its line: no head, a row of another length, a code twice, no UTF-8.
    pub fn load(folder: &Path) -> Result<Self, Vec<ScriptError>> {
        let mut files: Vec<_> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => Vec::new(),
        };
        files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
        files.sort();
        let (mut sets, mut errors, mut hashed, mut bytes) = (BTreeMap::new(), Vec::new(), Vec::new(), 0);
        for file in files {
            bytes += std::fs::metadata(&file).map_or(0, |data| data.len());
            if bytes > MOST_BYTES {
                errors.push(ScriptError::of_file(&file, "all code sets together have at most 64 MiB"));
                break;
            }
            match std::fs::read(&file) {
                Ok(text) => {
                    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    hashed.extend_from_slice(format!("{name}\n{}\n", Sha256::of(&text)).as_bytes());
                    match read(&file, &text) {
                        Ok(set) => drop(sets.insert(name, set)),
                        Err(error) => errors.push(error),
                    }
                }
                Err(error) => errors.push(ScriptError::of_file(&file, format!("cannot be read: {error}"))),
            }
        }
        if errors.is_empty() { Ok(Self { sets, version: Sha256::of(&hashed).to_string() }) } else { Err(errors) }
    }

    /// The SHA-256 of all of them.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The row of `code` in `set`: each column with its value. `None` if it has no such row.
    ///
    /// # Errors
    ///
    /// For a person, if there is no such set.
    pub(super) fn row(&self, set: &str, code: &str) -> Result<Option<impl Iterator<Item = (&str, &str)>>, String> {
        let Some(found) = self.sets.get(set) else {
            let known: Vec<&str> = self.sets.keys().map(String::as_str).collect();
            let known =
                if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
            return Err(format!("lookup() knows no such code set; {known}"));
        };
        let row = found.rows.get(code);
        Ok(row.map(|row| found.columns.iter().map(String::as_str).zip(row.iter().map(String::as_str))))
    }
}

fn read(file: &Path, text: &[u8]) -> Result<CodeSet, ScriptError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let wrong = |line: u64, text: String| {
        let line = usize::try_from(line).unwrap_or(1).max(1);
        ScriptError { file: file.to_owned(), line, column: 1, text }
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text);
    let of_csv = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        wrong(line, format!("this is no CSV line like the first: {}", error.kind_in_words()))
    };
    let columns: Vec<String> = reader.headers().map_err(of_csv)?.iter().map(str::to_owned).collect();
    if columns.first().is_none_or(String::is_empty) {
        return Err(wrong(1, "the first line names the columns, and the first column is the code".to_owned()));
    }
    let mut rows = HashMap::new();
    for row in reader.records() {
        let row = row.map_err(of_csv)?;
        let code = row.get(0).unwrap_or_default().to_owned();
        let line = row.position().map_or(1, csv::Position::line);
        if rows.insert(code, row.iter().map(str::to_owned).collect()).is_some() {
            return Err(wrong(line, "the code stands in an earlier line already".to_owned()));
        }
    }
    Ok(CodeSet { columns, rows })
}

/// What is wrong with a line, without its content.
trait InWords {
    fn kind_in_words(&self) -> String;
}

impl InWords for csv::Error {
    fn kind_in_words(&self) -> String {
        match self.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} fields in place of {expected_len}")
            }
            csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
            _ => "it cannot be read".to_owned(),
        }
    }
}
