//! The guide's conditions (its ANTLR column), decided of a message as they are read.

/// Where a condition looks.
pub(crate) trait Place {
    /// The text at `PID-3`, `PID-3.1` or `CX.4`; empty where nothing stands.
    fn text(&self, path: &str) -> String;
    /// How many repetitions the field has.
    fn count(&self, path: &str) -> usize;
}

/// Whether `condition` holds; `None` where it cannot be read. `subject` is what it speaks of without naming it.
pub(crate) fn holds(condition: &str, subject: &str, place: &dyn Place) -> Option<bool> {
    let mut reader = Reader { tokens: tokens(condition)?, at: 0, subject: subject.to_owned(), place };
    let holds = reader.either()?;
    // `NOT VALUED ERROR`: a remark.
    (reader.at == reader.tokens.len() || reader.is("ERROR")).then_some(holds)
}

/// The literals that conditions compare paths with.
pub(crate) fn literals(condition: &str) -> Vec<(String, String)> {
    let (mut found, mut path) = (Vec::new(), String::new());
    for token in tokens(condition).unwrap_or_default() {
        if is_path(&token) {
            path = token;
        } else if let Some(text) = token.strip_prefix('"') {
            found.push((path.clone(), text.to_owned()));
        }
    }
    found
}

/// Words; literals begin with `"`.
fn tokens(text: &str) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' | '\'' | '“' => {
                let inner = &rest[first.len_utf8()..];
                let close = inner.find(['"', '\'', '”'])?;
                out.push(format!("\"{}", &inner[..close]));
                rest = inner[close..].chars().next().map_or("", |c| &inner[close + c.len_utf8()..]).trim_start();
                continue;
            }
            '(' | ')' | ',' | '=' | '>' | '<' => 1,
            _ => rest.find([' ', '(', ')', ',', '=', '>', '<', '"']).unwrap_or(rest.len()).max(1),
        };
        out.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Some(out)
}

/// `PID`, `PID-3`, `CX.4`, `HD-3`, `PL3.`.
fn is_path(token: &str) -> bool {
    let head = token.split(['-', '.']).next().unwrap_or_default();
    let has_number = token.len() > head.len() && token.ends_with(|c: char| c.is_ascii_digit());
    let is_name = (2..=3).contains(&head.len()) && head.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let is_segment = head.len() == 3 && token == head && head.ends_with(|c: char| c.is_ascii_uppercase());
    is_name && (has_number || is_segment) && !["AND", "NOT", "LST"].contains(&token)
}

struct Reader<'a> {
    tokens: Vec<String>,
    at: usize,
    /// What was spoken of last.
    subject: String,
    place: &'a dyn Place,
}

impl Reader<'_> {
    fn is(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.eq_ignore_ascii_case(word))
    }

    fn take(&mut self, word: &str) -> bool {
        let is = self.is(word);
        self.at += usize::from(is);
        is
    }

    fn either(&mut self) -> Option<bool> {
        let mut holds = self.both()?;
        while self.take("OR") {
            let other = self.both()?;
            holds |= other;
        }
        Some(holds)
    }

    fn both(&mut self) -> Option<bool> {
        let mut holds = self.term()?;
        while self.take("AND") || self.tokens.get(self.at).is_some_and(|token| is_path(token)) {
            let other = self.term()?;
            holds &= other;
        }
        Some(holds)
    }

    fn term(&mut self) -> Option<bool> {
        while self.take("IF") {}
        if self.take("(") {
            let holds = self.either()?;
            self.take(")");
            return Some(holds);
        }
        let mut paths = Vec::new();
        let mut all = true;
        while let Some(path) = self.tokens.get(self.at).filter(|token| is_path(token)).cloned() {
            paths.push(path);
            self.at += 1;
            // `PL.1 AND PL.2 NOT VALUED`: both share what follows.
            let next_is_path = self.tokens.get(self.at + 1).is_some_and(|token| is_path(token));
            if !((self.is("AND") || self.is("OR")) && next_is_path) {
                break;
            }
            all = self.is("AND");
            self.at += 1;
        }
        if paths.is_empty() {
            paths.push(self.subject.clone());
        }
        self.subject = paths.last().cloned().unwrap_or_default();
        let test = self.test()?;
        let mut results = paths.iter().map(|path| test.holds(path, self.place));
        Some(if all { results.all(|holds| holds) } else { results.any(|holds| holds) })
    }

    fn test(&mut self) -> Option<Test> {
        for word in ["IS", "ARE", "AREA", "DOES"] {
            self.take(word);
        }
        let not = self.take("NOT");
        self.take("IS");
        if self.take("EXIST") || self.take("VALUED") || self.take("VALUE") {
            return Some(Test::Valued(!not));
        }
        if self.take("EMPTY") {
            return Some(Test::Valued(not));
        }
        self.take("LST.COUNT");
        if self.tokens[self.at - 1].eq_ignore_ascii_case("LST.COUNT") || self.take("COUNT") {
            return Some(Test::Count(self.comparison()?));
        }
        if self.take("LENGTH") {
            return Some(Test::Length(self.comparison()?));
        }
        if self.take("IN") {
            if !self.take("(") {
                return None;
            }
            let mut all = Vec::new();
            while let Some(token) = self.tokens.get(self.at) {
                all.extend(token.strip_prefix('"').map(str::to_owned));
                self.at += 1;
                if self.tokens[self.at - 1] == ")" {
                    break;
                }
            }
            return Some(Test::In(all, !not));
        }
        for word in ["EQUALS", "EQUAL", "=", "TO"] {
            self.take(word);
        }
        let literal = self.tokens.get(self.at).and_then(|token| token.strip_prefix('"')).map(str::to_owned);
        if let Some(literal) = literal {
            self.at += 1;
            return Some(Test::In(vec![literal], !not));
        }
        // A segment alone: it is there.
        Some(Test::Valued(true)).filter(|_| !not && (self.at == self.tokens.len() || self.is("AND")))
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let mut words = Vec::new();
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            if let Ok(number) = token.parse() {
                return Some(Comparison { words: words.join(" "), number });
            }
            words.push(token.to_uppercase());
        }
        None
    }
}

enum Test {
    Valued(bool),
    In(Vec<String>, bool),
    Count(Comparison),
    Length(Comparison),
}

struct Comparison {
    words: String,
    number: usize,
}

impl Comparison {
    fn holds(&self, of: usize) -> bool {
        match self.words.as_str() {
            "GREATER THAN" | ">" => of > self.number,
            "LESS THAN OR EQUALS" => of <= self.number,
            _ => of == self.number,
        }
    }
}

impl Test {
    fn holds(&self, path: &str, place: &dyn Place) -> bool {
        let text = place.text(path);
        match self {
            Test::Valued(valued) => super::segment::is_valued(&text) == *valued,
            Test::In(all, is_in) => {
                let first = text.split(['^', '&']).next().unwrap_or_default();
                all.iter().any(|literal| literal == first) == *is_in
            }
            Test::Count(comparison) => comparison.holds(place.count(path)),
            Test::Length(comparison) => comparison.holds(text.chars().count()),
        }
    }
}
