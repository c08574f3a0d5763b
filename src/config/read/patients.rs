//! `codes/patients.csv`: which identifiers are one person's, as a site knows it from elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::config::problem::{Place, Problem};

/// Longest table read, in bytes: some million identifiers.
const MAX_BYTES: u64 = 256 << 20;
/// The most mistakes of one table that are told.
const MOST_PROBLEMS: usize = 20;

/// Reads the table in the site's folder `dir`, and its text: a line `person,system,value` first, then one identifier a
/// line; those with the same `person` are one person's. Gives each person's identifiers as `SYSTEM|VALUE`. Without the
/// file there are none. No problem names a value.
pub(in crate::config) fn patients(dir: &Path, problems: &mut Vec<Problem>) -> (Vec<Vec<String>>, String) {
    let path = dir.join("codes").join("patients.csv");
    let nothing = || (Vec::new(), String::new());
    match std::fs::metadata(&path) {
        Err(_) => return nothing(),
        Ok(found) if found.len() > MAX_BYTES => {
            problems.push(Problem::error(path, format!("is longer than {MAX_BYTES} bytes")));
            return nothing();
        }
        Ok(_) => {}
    }
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::error(path, format!("cannot be read: {error}")));
            return nothing();
        }
    };
    let mut found = Vec::new();
    let persons = read(&text, &mut found);
    problems.extend(found.into_iter().take(MOST_PROBLEMS).map(|(line, what, help)| {
        let place = Some(Place { line, column: 1 });
        Problem { place, ..Problem::error(&path, what) }.help(help)
    }));
    (persons, text)
}

type Mistake = (usize, String, String);

fn read(text: &str, mistakes: &mut Vec<Mistake>) -> Vec<Vec<String>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let columns = ["person", "system", "value"];
    let named = |head: &csv::StringRecord| columns.map(|name| head.iter().position(|cell| cell == name));
    let [Some(person), Some(system), Some(value)] = reader.headers().map(named).unwrap_or_default() else {
        let what = "the first line names no columns `person`, `system` and `value`".to_owned();
        mistakes.push((1, what, "begin with the line: person,system,value".to_owned()));
        return Vec::new();
    };
    let mut persons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Whose an identifier is, and in which line that stands.
    let mut owners: HashMap<String, (String, usize)> = HashMap::new();
    let at = |position: Option<&csv::Position>| position.map_or(1, |at| usize::try_from(at.line()).unwrap_or(1));
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let help = "write one `person,system,value` a line".to_owned();
                mistakes.push((
                    at(error.position()),
                    "this line has not as many columns as the first".to_owned(),
                    help,
                ));
                break;
            }
        };
        let line = at(record.position());
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let (person, system, value) = (cell(person), cell(system), cell(value));
        let is_uri = system.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
        if person.is_empty() || value.is_empty() || !is_uri || system.contains(char::is_whitespace) {
            let help = "write it like 17,urn:oid:2.16.840.1.113883.19.5.1,0815".to_owned();
            mistakes.push((line, "a line without a person, an absolute URI and a value".to_owned(), help));
            continue;
        }
        let identifier = format!("{}|{value}", system.trim_end_matches('/'));
        match owners.get(&identifier) {
            Some((owner, first)) if owner != person => {
                let what = format!("this identifier is another person's in line {first}");
                let help = "an identifier is one person's: make them one, or take one of the two lines out".to_owned();
                mistakes.push((line, what, help));
            }
            Some(_) => {}
            None => {
                owners.insert(identifier.clone(), (person.to_owned(), line));
                persons.entry(person.to_owned()).or_default().push(identifier);
            }
        }
    }
    persons.into_values().filter(|identifiers| identifiers.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let mut mistakes = Vec::new();
        let persons = read(text, &mut mistakes).into_iter().map(|person| person.join(" = "));
        let wrong = mistakes.into_iter().map(|(line, what, _)| format!("{line}: {what}"));
        expected.assert_eq(&persons.chain(wrong).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn identifiers_with_the_same_person_are_one() {
        check(
            "person,system,value\n1,urn:a,1\n2,urn:a,2\n1,urn:b/,X\n# no one\n3,urn:a,3\n2, urn:c ,Z\n1,urn:b,X\n",
            expect![[r#"
                urn:a|1 = urn:b|X
                urn:a|2 = urn:c|Z"#]],
        );
    }

    #[test]
    fn tells_the_line_and_no_value() {
        check("a,b\n", expect!["1: the first line names no columns `person`, `system` and `value`"]);
        check(
            "person,system,value\n1,urn:a,1\n1,here,2\n,urn:a,3\n2,urn:a,1\n1,urn:a\n",
            expect![[r#"
                3: a line without a person, an absolute URI and a value
                4: a line without a person, an absolute URI and a value
                5: this identifier is another person's in line 2
                6: this line has not as many columns as the first"#]],
        );
    }
}
