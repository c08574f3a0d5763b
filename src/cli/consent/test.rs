//! `tributary consent test DIR`: one line a vector, what differs below it.

use std::path::Path;

use message::consent::vectors::{Outcome as Answered, run};
use message::json::{Value, json};

use super::answers::answer;
use super::folder::Suite;
use crate::cli::print::{note, say};
use crate::cli::{Failure, Globals, Outcome};

/// A vector and what came of it.
struct Line {
    id: String,
    title: String,
    answered: Answered,
}

pub(super) fn test(globals: &Globals, folder: &Path) -> Outcome {
    let suite = Suite::read(folder)?;
    for fault in &suite.faults {
        note!("warning: left out, and what names it fails: {fault}");
    }
    let lines = lines(&suite);
    let failed = lines.iter().filter(|line| !line.answered.passes()).count();
    if globals.json {
        let listed: Vec<Value> = lines.iter().map(Line::json).collect();
        say!("{:#}", Value::Array(listed))?;
    } else {
        for line in &lines {
            line.print()?;
        }
        say!("{} of {} pass", lines.len() - failed, lines.len())?;
    }
    if failed > 0 { Err(Failure::No) } else { Ok(()) }
}

fn lines(suite: &Suite) -> Vec<Line> {
    let line = |(name, vector): &(String, Result<Value, String>)| {
        let vector = match vector {
            Ok(vector) => vector,
            Err(reason) => {
                let answered = Answered::failed(&Value::Null, reason);
                return Line { id: name.clone(), title: "cannot be read".to_owned(), answered };
            }
        };
        let text = |key: &str| vector.get(key).and_then(Value::as_str).map(str::to_owned);
        let answered = run(vector, &suite.folder).unwrap_or_else(|| answer(vector, suite));
        Line { id: text("id").unwrap_or_else(|| name.clone()), title: text("title").unwrap_or_default(), answered }
    };
    suite.vectors.iter().map(line).collect()
}

impl Line {
    fn json(&self) -> Value {
        let Answered { expected, got, differs } = &self.answered;
        json!({ "id": self.id, "pass": differs.is_empty(), "expected": expected, "got": got })
    }

    fn print(&self) -> anyhow::Result<()> {
        let Answered { expected, got, differs } = &self.answered;
        let word = if differs.is_empty() { "pass" } else { "FAIL" };
        say!("{word}  {}  {}", self.id, self.title)?;
        if !differs.is_empty() {
            say!("      expected {expected}")?;
            say!("      got      {got}")?;
            for line in differs {
                say!("      differs: {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// All vectors of a folder pass; each failing one is named.
    #[track_caller]
    fn check(folder: &str, vectors: usize) {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
        let lines = lines(&Suite::read(&home).unwrap());
        let failed: Vec<String> = lines
            .iter()
            .filter(|line| !line.answered.passes())
            .map(|line| format!("{} {}: {}", line.id, line.title, line.answered.differs.join("; ")))
            .collect();
        assert!(failed.is_empty(), "{} of {} fail:\n{}", failed.len(), lines.len(), failed.join("\n"));
        assert_eq!(lines.len(), vectors);
    }

    #[test]
    fn all_published_vectors_pass() {
        check("consent-vectors", 130);
    }

    #[test]
    fn all_vectors_of_our_own_pass() {
        check("consent-rules", 384);
    }

    /// What cannot be answered fails with its reason; it neither passes nor stops the others.
    #[test]
    fn a_vector_that_is_broken_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["vectors", "consents", "policies"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let decision = |more: &str| {
            format!(r#"{{"kind":"decision","now":"2026-03-01T12:00:00Z","policy":"us-tpo","request":{{}},{more}}}"#)
        };
        let expects = r#""expected":{"message":"suppress"}"#;
        write("vectors/a-cut.json", "{\"kind\":");
        write("vectors/b-list.json", "[]");
        write("vectors/c-no-expectation.json", r#"{"kind":"label","resources":[]}"#);
        write("vectors/d-no-consent.json", &decision(&format!(r#""consents":["consents/none.json"],{expects}"#)));
        write("vectors/e-broken-consent.json", &decision(&format!(r#""consents":["consents/cut.json"],{expects}"#)));
        write("vectors/f-not-a-list.json", &decision(&format!(r#""consents":"consents/cut.json",{expects}"#)));
        write("vectors/g-good.json", &decision(&format!(r#""consents":[],"resources":[],{expects}"#)));
        write("vectors/h-broken-policy.json", &decision(expects).replace("us-tpo", "pcf"));
        write("vectors/i-other-format.json", &decision(&format!(r#""format":"consent-vector/2",{expects}"#)));
        write("consents/cut.json", "{");
        write("policies/pcf.json", "{");
        let suite = Suite::read(folder.path()).unwrap();
        assert_eq!(suite.faults.len(), 2);
        let told: Vec<String> = lines(&suite)
            .iter()
            .map(|line| {
                format!(
                    "{} {}",
                    line.id,
                    line.answered.differs.join("; ").replace(&*folder.path().to_string_lossy(), "DIR")
                )
            })
            .collect();
        expect![[r#"
            a-cut DIR/vectors/a-cut.json: EOF while parsing a value at line 1 column 8
            b-list its kind is not known
            c-no-expectation it does not say what it expects
            d-no-consent there is no Consent `consents/none.json`
            e-broken-consent there is no Consent `consents/cut.json`
            f-not-a-list `consents` must be a list
            g-good 
            h-broken-policy there is no policy `pcf`
            i-other-format its format is not consent-vector/1"#]]
        .assert_eq(&told.join("\n"));
    }

    /// With nothing but vectors and Consents, the built-in policies and terminology decide the same.
    #[test]
    fn the_built_in_files_stand_in_for_missing_ones() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consent-vectors");
        let bare = tempfile::tempdir().unwrap();
        for name in ["vectors", "consents"] {
            let to = bare.path().join(name);
            std::fs::create_dir(&to).unwrap();
            for file in std::fs::read_dir(home.join(name)).unwrap().map(|entry| entry.unwrap().path()) {
                std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
        let lines = lines(&Suite::read(bare.path()).unwrap());
        let failed: Vec<&str> = lines.iter().filter(|l| !l.answered.passes()).map(|l| l.id.as_str()).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}
