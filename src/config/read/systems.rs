//! `codes/systems.csv`: what the names of assigning authorities and coding systems stand for, for all
//! providers of the site.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::problem::{Place, Problem};

/// Reads the table in the site's folder `dir`: a line `name,system` first, then one name a line with
/// its URI. A name is a namespace (HD.1), an OID or another universal id (HD.2), or a coding system
/// (CWE.3). Without the file there are none.
pub(in crate::config) fn systems(dir: &Path, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let path = dir.join("codes").join("systems.csv");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            problems.push(Problem::error(path, format!("cannot be read: {error}")));
            return BTreeMap::new();
        }
    };
    let mut add = |line: usize, text: String, help: &str| {
        let place = Place { line, column: 1 };
        problems.push(Problem { place: Some(place), ..Problem::error(&path, text) }.help(help));
    };
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let named = |head: &csv::StringRecord| ["name", "system"].map(|name| head.iter().position(|cell| cell == name));
    let [Some(name), Some(system)] = reader.headers().map(named).unwrap_or_default() else {
        add(1, "the first line names no columns `name` and `system`".into(), "begin with the line: name,system");
        return BTreeMap::new();
    };
    let mut systems = BTreeMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(1, csv::Position::line);
                add(
                    usize::try_from(line).unwrap_or(1),
                    format!("this is no CSV: {error}"),
                    "write one `name,system` a line",
                );
                break;
            }
        };
        let line = record.position().map_or(1, |position| usize::try_from(position.line()).unwrap_or(1));
        let (name, system) = (record.get(name).unwrap_or_default(), record.get(system).unwrap_or_default());
        let is_uri = system.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
        if name.is_empty() || !is_uri || system.contains(char::is_whitespace) {
            let help = "write it like ST-MARY,urn:oid:2.16.840.1.113883.19.5.1";
            add(line, "a line without a name and an absolute URI".into(), help);
        } else if systems.insert(name.to_owned(), system.to_owned()).is_some() {
            add(line, format!("`{name}` stands here twice"), "keep one of the two lines");
        }
    }
    systems
}
