//! Codes of a site as CSV: `from,to,display,system`, one code a line.

use super::error::{MapError, Wrong};
use super::file::{CodeFile, CodesFile};
use super::layers::{Source, mistake};

/// Reads `codes/NAME.csv`. The first line names the columns: `from` is needed, the others may be
/// left out; `to` empty says that there is no translation.
pub(super) fn codes(source: &Source) -> Result<CodesFile, MapError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(source.text.as_bytes());
    let wrong =
        |offset: u64, text: String| mistake(source, usize::try_from(offset).unwrap_or(usize::MAX), Wrong::new(text));
    let unreadable =
        |error: &csv::Error| wrong(error.position().map_or(0, csv::Position::byte), format!("this is no CSV: {error}"));
    let head = reader.headers().map_err(|error| unreadable(&error))?.clone();
    let column =
        |name: &str| head.iter().position(|cell| cell.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let known = ["from", "to", "display", "system"].map(column);
    let [Some(from), to, display, system] = known else {
        return Err(wrong(0, "the first line needs a column `from`; the others are `to`, `display`, `system`".into()));
    };
    let mut file = CodesFile::default();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(&error))?;
        let cell =
            |at: Option<usize>| at.and_then(|at| record.get(at)).filter(|text| !text.is_empty()).map(str::to_owned);
        let Some(code) = cell(Some(from)) else {
            let at = record.position().map_or(0, csv::Position::byte);
            return Err(wrong(at, "a line without a code in `from`".into()));
        };
        file.codes.push(CodeFile { from: code, to: cell(to), display: cell(display), system: cell(system), file: 0 });
    }
    Ok(file)
}
