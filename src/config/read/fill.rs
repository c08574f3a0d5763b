//! What `${env:NAME}` and `${file:PATH}` stand for.

use std::path::Path;

/// Longest file that may be filled in, in bytes: tokens, keys and certificates are far below.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Where the values come from.
pub(in crate::config) struct Fill<'a> {
    /// The site's folder: relative paths begin there.
    pub(in crate::config) dir: &'a Path,
    /// The environment.
    pub(in crate::config) env: &'a dyn Fn(&str) -> Option<String>,
}

/// Why something could not be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct Unfilled {
    /// What is wrong; never a value.
    pub(in crate::config) message: String,
    /// What to do.
    pub(in crate::config) help: String,
}

impl Fill<'_> {
    /// `text` with everything filled in, or `None` if there is nothing to fill in.
    ///
    /// `$${` stands for a literal `${`. What was filled in is not looked at again.
    ///
    /// # Errors
    ///
    /// Everything that could not be filled in.
    pub(in crate::config) fn fill(&self, text: &str) -> Result<Option<String>, Vec<Unfilled>> {
        if !text.contains("${") {
            return Ok(None);
        }
        let mut filled = String::with_capacity(text.len());
        let mut unfilled = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                filled.extend([before, "${"]);
                rest = after;
                continue;
            }
            let Some((what, after)) = after.split_once('}') else {
                let message = "`${` without its `}`".to_owned();
                unfilled.push(Unfilled { message, help: "close it, or write `$${` for a literal `${`".into() });
                break;
            };
            match self.value_of(what) {
                Ok(value) => filled.extend([before, &value]),
                Err(error) => unfilled.push(error),
            }
            rest = after;
        }
        filled.push_str(rest);
        if unfilled.is_empty() { Ok(Some(filled)) } else { Err(unfilled) }
    }

    fn value_of(&self, what: &str) -> Result<String, Unfilled> {
        match what.split_once(':') {
            Some(("env", name)) => (self.env)(name).ok_or_else(|| Unfilled {
                message: format!("the environment has no `{name}`"),
                help: format!("set it where tributary is started: Environment={name}=… in the systemd unit"),
            }),
            Some(("file", path)) => self.file(path),
            _ => Err(Unfilled {
                message: format!("`${{{what}}}` is unknown"),
                help: "there are `${env:NAME}` and `${file:PATH}`; write `$${` for a literal `${`".into(),
            }),
        }
    }

    /// The file's text without the line end at its end.
    fn file(&self, path: &str) -> Result<String, Unfilled> {
        let whole = self.dir.join(path);
        let unreadable = |why: &dyn std::fmt::Display| Unfilled {
            message: format!("cannot read the file `{path}`: {why}"),
            help: format!(
                "it is looked for at {}; the user that runs tributary must be able to read it",
                whole.display()
            ),
        };
        let found = std::fs::metadata(&whole).map_err(|error| unreadable(&error))?;
        if !found.is_file() {
            return Err(unreadable(&"it is no file"));
        }
        if found.len() > MAX_FILE_BYTES {
            return Err(unreadable(&format_args!("it is longer than {MAX_FILE_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(&whole).map_err(|error| unreadable(&error))?;
        Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, &[&str]>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "s3cret\r\n").unwrap();
        let env = |name: &str| (name == "HOST").then(|| "emr.example".to_owned());
        let filled = Fill { dir: dir.path(), env: &env }.fill(text);
        let messages = |unfilled: &Vec<Unfilled>| unfilled.iter().map(|one| one.message.clone()).collect::<Vec<_>>();
        match (&filled, expected) {
            (Err(unfilled), Err(expected)) => assert_eq!(messages(unfilled), expected),
            _ => assert_eq!(filled.as_ref().map(Option::as_deref).map_err(messages), expected.map_err(|_| vec![])),
        }
    }

    #[test]
    fn leaves_alone_what_has_nothing_to_fill_in() {
        check("plain $5 {text}", Ok(None));
    }

    #[test]
    fn fills_in_the_environment_and_files() {
        check("http://${env:HOST}:80/?t=${file:token}!", Ok(Some("http://emr.example:80/?t=s3cret!")));
    }

    #[test]
    fn writes_a_literal_when_the_dollar_is_doubled() {
        check("$${env:HOST} ${env:HOST}", Ok(Some("${env:HOST} emr.example")));
    }

    #[test]
    fn names_what_is_missing() {
        check("${env:PORT}", Err(&["the environment has no `PORT`"]));
        check("${vault:x}", Err(&["`${vault:x}` is unknown"]));
        check("${env:PORT}${x}", Err(&["the environment has no `PORT`", "`${x}` is unknown"]));
        check("${env:HOST", Err(&["`${` without its `}`"]));
        check("${file:.}", Err(&["cannot read the file `.`: it is no file"]));
    }
}
