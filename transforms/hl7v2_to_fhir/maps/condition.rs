//! `when` and `{…}`: conditions and places, from text to their compiled form.

use regex::Regex;

use super::error::Wrong;
use super::plan::{Operand, Order, Piece, Place, Test};

/// What names mean in the table at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// The segment of the table, such as `PID`, whose fields are its own.
    pub(super) segment: Option<&'a str>,
    /// The data type of the table, such as `XPN`, whose components are counted from the slice at hand.
    pub(super) data_type: Option<&'a str>,
}

/// Reads `OBX-2 in ['ST', 'TX'] and not OBX-11 valued`.
pub(super) fn read(text: &str, scope: Scope<'_>) -> Result<Test, Wrong> {
    let mut reader = Reader { rest: text, scope };
    let test = reader.any()?;
    if reader.rest.trim().is_empty() { Ok(test) } else { Err(reader.expected("`and`, `or` or the end")) }
}

/// Reads `{XTN.6} {XTN.7}`.
pub(super) fn template(text: &str, scope: Scope<'_>) -> Result<Vec<Piece>, Wrong> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        if !before.is_empty() {
            pieces.push(Piece::Literal(before.to_owned()));
        }
        let (place_text, tail) = after.split_once('}').ok_or_else(|| Wrong::new("`{` without `}`"))?;
        pieces.push(Piece::Place(place(place_text, scope)?));
        rest = tail;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    Ok(pieces)
}

/// Reads `PID-3[1].4`, `XPN.2`, `PV1` or `XPN`.
pub(super) fn place(text: &str, scope: Scope<'_>) -> Result<Place, Wrong> {
    let wrong = || Wrong::new(format!("`{text}` is no place; write it like PID-3.4 or XPN.2"));
    let end = text.find(['-', '.']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end).ok_or_else(wrong)?;
    let is_name = (2..=3).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !is_name {
        return Err(wrong());
    }
    let mut numbers = Numbers { rest };
    if scope.data_type == Some(name) {
        let part = numbers.next('.').ok_or_else(wrong)?;
        let sub = numbers.next('.').ok_or_else(wrong)?;
        return if numbers.rest.is_empty() { Ok(Place::Part { part, sub }) } else { Err(wrong()) };
    }
    if name.len() != 3 {
        return Err(wrong());
    }
    if rest.is_empty() {
        return Ok(Place::Segment(name.to_owned()));
    }
    let field = numbers.next('-').filter(|n| *n > 0).ok_or_else(wrong)?;
    let repetition = numbers.bracket().ok_or_else(wrong)?;
    let component = numbers.next('.').ok_or_else(wrong)?;
    let subcomponent = numbers.next('.').ok_or_else(wrong)?;
    let segment = (scope.segment != Some(name)).then(|| name.to_owned());
    if numbers.rest.is_empty() {
        Ok(Place::Field { segment, field, repetition, component, subcomponent })
    } else {
        Err(wrong())
    }
}

struct Numbers<'a> {
    rest: &'a str,
}

impl Numbers<'_> {
    /// Takes `mark` and a number; 0 where there is no mark, `None` where there is no number.
    fn next(&mut self, mark: char) -> Option<u16> {
        let Some(after) = self.rest.strip_prefix(mark) else { return Some(0) };
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, rest) = after.split_at_checked(end)?;
        self.rest = rest;
        number.parse().ok().filter(|n| *n > 0)
    }

    /// Takes `[2]`, if there.
    fn bracket(&mut self) -> Option<Option<u16>> {
        let Some(after) = self.rest.strip_prefix('[') else { return Some(None) };
        let (number, rest) = after.split_once(']')?;
        self.rest = rest;
        number.parse().ok().filter(|n| *n > 0).map(Some)
    }
}

struct Reader<'a> {
    rest: &'a str,
    scope: Scope<'a>,
}

impl<'a> Reader<'a> {
    fn any(&mut self) -> Result<Test, Wrong> {
        let mut tests = vec![self.all()?];
        while self.word("or") {
            tests.push(self.all()?);
        }
        Ok(if tests.len() == 1 { tests.swap_remove(0) } else { Test::Any(tests) })
    }

    fn all(&mut self) -> Result<Test, Wrong> {
        let mut tests = vec![self.term()?];
        while self.word("and") {
            tests.push(self.term()?);
        }
        Ok(if tests.len() == 1 { tests.swap_remove(0) } else { Test::All(tests) })
    }

    fn term(&mut self) -> Result<Test, Wrong> {
        if self.word("not") {
            return Ok(Test::Not(Box::new(self.term()?)));
        }
        if self.sign("(") {
            let inner = self.any()?;
            return if self.sign(")") { Ok(inner) } else { Err(self.expected("`)`")) };
        }
        for (name, make) in [("count", Test::Count as fn(_, _, _) -> _), ("length", Test::Length as fn(_, _, _) -> _)] {
            if self.word(name) {
                return self.measured(make);
            }
        }
        let place = self.place()?;
        self.test(place)
    }

    fn measured(&mut self, make: fn(Place, Order, usize) -> Test) -> Result<Test, Wrong> {
        if !self.sign("(") {
            return Err(self.expected("`(`"));
        }
        let place = self.place()?;
        if !self.sign(")") {
            return Err(self.expected("`)`"));
        }
        let orders = [
            ("<=", Order::LessOrEqual),
            (">=", Order::GreaterOrEqual),
            ("!=", Order::NotEqual),
            ("<", Order::Less),
            (">", Order::Greater),
            ("=", Order::Equal),
        ];
        let order = orders.into_iter().find(|(sign, _)| self.sign(sign)).map(|(_, order)| order);
        let order = order.ok_or_else(|| self.expected("a comparison such as `>`"))?;
        let digits = self.take_while(|c| c.is_ascii_digit());
        let number = digits.parse().map_err(|_| self.expected("a number"))?;
        Ok(make(place, order, number))
    }

    fn test(&mut self, place: Place) -> Result<Test, Wrong> {
        if self.word("valued") {
            return Ok(Test::Valued(place));
        }
        if self.word("numeric") {
            return Ok(Test::Numeric(place));
        }
        if self.word("matches") {
            let pattern = self.literal()?;
            let regex = Regex::new(&pattern).map_err(|e| Wrong::new(format!("`{pattern}` is no pattern: {e}")))?;
            return Ok(Test::Matches(place, regex));
        }
        if self.sign("!=") {
            return Ok(Test::Not(Box::new(Test::Equals(place, self.operand()?))));
        }
        if self.sign("=") {
            return Ok(Test::Equals(place, self.operand()?));
        }
        if self.word("in") {
            return Ok(Test::In(place, self.list()?));
        }
        Err(self.expected("`valued`, `numeric`, `=`, `!=`, `in` or `matches`"))
    }

    fn list(&mut self) -> Result<Vec<String>, Wrong> {
        if !self.sign("[") {
            return Err(self.expected("`[`"));
        }
        let mut values = vec![self.literal()?];
        while self.sign(",") {
            values.push(self.literal()?);
        }
        if self.sign("]") { Ok(values) } else { Err(self.expected("`]`")) }
    }

    fn operand(&mut self) -> Result<Operand, Wrong> {
        if self.rest.trim_start().starts_with(['\'', '"']) {
            self.literal().map(Operand::Literal)
        } else {
            self.place().map(Operand::Place)
        }
    }

    fn place(&mut self) -> Result<Place, Wrong> {
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '[' | ']'));
        place(text, self.scope)
    }

    fn literal(&mut self) -> Result<String, Wrong> {
        let rest = self.rest.trim_start();
        let quote =
            rest.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(|| self.expected("a text in quotes"))?;
        let (text, after) =
            rest.get(1..).and_then(|r| r.split_once(quote)).ok_or_else(|| self.expected("a closing quote"))?;
        self.rest = after;
        Ok(text.to_owned())
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest.trim_start();
        let (taken, after) = rest.split_at_checked(rest.find(|c| !keep(c)).unwrap_or(rest.len())).unwrap_or((rest, ""));
        self.rest = after;
        taken
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = self.rest.trim_start().strip_prefix(sign);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn word(&mut self, word: &str) -> bool {
        let after = self.rest.trim_start().strip_prefix(word);
        let ends = |rest: &&str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        match after.filter(ends) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expected(&self, what: &str) -> Wrong {
        let found = self.rest.trim();
        let found = if found.is_empty() { "the end" } else { found };
        Wrong::new(format!("{what} is expected at `{found}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: Scope<'_> = Scope { segment: Some("PID"), data_type: None };

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match read(text, PID) {
            Ok(test) => format!("{test:?}"),
            Err(wrong) => wrong.text,
        };
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn reads_conditions_and_says_what_is_missing() {
        check("PID-13.2 valued", "Valued(Field { segment: None, field: 13");
        check("not PV1-45 valued and count(PID-11) > 1", "All([Not(Valued(Field { segment: Some(\"PV1\")");
        check("PID-8 in ['F', 'M'] or PID-8 = 'O'", "Any([In(");
        check("PID-8", "`valued`, `numeric`, `=`, `!=`, `in` or `matches` is expected at `the end`");
        check("PID-8 = F", "is no place");
        check("PID-8 = 'F' PID-7 valued", "`and`, `or` or the end");
    }
}
