//! `tributary consent test DIR`: one line a vector, what differs below it.

use std::path::Path;

use message::consent::vectors::{Outcome as Answered, run};
use message::json::{Value, json};

use super::answers::answer;
use super::folder::Suite;
use crate::cli::print::say;
use crate::cli::{Failure, Globals, Outcome};

/// A vector and what came of it.
struct Line {
    id: String,
    title: String,
    answered: Answered,
}

pub(super) fn test(globals: &Globals, folder: &Path) -> Outcome {
    let lines = lines(&Suite::read(folder)?);
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
    let line = |(name, vector): &(String, Value)| {
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
    use super::*;

    /// The published vectors, each failing one named.
    #[test]
    fn all_published_vectors_pass() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consent-vectors");
        let lines = lines(&Suite::read(&home).unwrap());
        let failed: Vec<String> = lines
            .iter()
            .filter(|line| !line.answered.passes())
            .map(|line| format!("{} {}: {}", line.id, line.title, line.answered.differs.join("; ")))
            .collect();
        assert!(failed.is_empty(), "{} of {} fail:\n{}", failed.len(), lines.len(), failed.join("\n"));
        assert_eq!(lines.len(), 130);
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
