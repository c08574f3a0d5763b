//! The parser: recursive descent over the text, of bounded depth and length.

use std::fmt;

use super::facts::is_choice;
use super::place::is_data_type;
use super::{Check, Comparison, ComponentPath, Expression, FhirPath, Literal, Measure, Pattern, Place, Step, Test};

/// Longest condition, in bytes.
const LONGEST: usize = 4096;
/// Most parentheses and `not`s within each other.
const DEEPEST: usize = 32;

/// How FHIRPath asks for the length of a text.
const LENGTH: &str = ".length()";

/// What is wrong with a condition, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// Byte offset in the condition's text.
    pub offset: usize,
    /// What is wrong and what to write.
    pub message: String,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at character {})", self.message, self.offset + 1)
    }
}

impl std::error::Error for ConditionError {}

type Parsed<T> = Result<T, ConditionError>;

pub(super) fn parse(text: &str) -> Parsed<Expression> {
    if text.len() > LONGEST {
        let message = format!("a condition has at most {LONGEST} characters");
        return Err(ConditionError { offset: LONGEST, message });
    }
    let mut parser = Parser { text, at: 0, depth: 0, relative: false };
    let expression = parser.alternatives()?;
    match parser.peek_word() {
        "" if parser.rest().is_empty() => Ok(expression),
        word => Err(parser.wrong(advice(word, parser.rest(), "`and`, `or` or the end is expected here"))),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Within `where(…)`, where paths begin at an item.
    relative: bool,
}

impl<'a> Parser<'a> {
    fn alternatives(&mut self) -> Parsed<Expression> {
        let first = self.conjunction()?;
        let mut parts = vec![first];
        while self.word("or") {
            parts.push(self.conjunction()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    fn conjunction(&mut self) -> Parsed<Expression> {
        let first = self.negation()?;
        let mut parts = vec![first];
        while self.word("and") {
            parts.push(self.negation()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn negation(&mut self) -> Parsed<Expression> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(format!("at most {DEEPEST} parentheses and `not`s stand within each other")));
        }
        let expression = if self.word("not") {
            Expression::Not(Box::new(self.negation()?))
        } else if self.mark("(") {
            let inner = self.alternatives()?;
            self.expect(")", "a `)` is missing")?;
            inner
        } else if self.word("true") {
            Expression::All(Vec::new())
        } else if self.word("false") {
            Expression::Any(Vec::new())
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn test(&mut self) -> Parsed<Expression> {
        let (measure, place) = self.operand()?;
        let start = self.at;
        let (check, negated) = self.check(&place)?;
        if measure != Measure::Value && !check.is_of_numbers() {
            return Err(self.wrong_at(start, "a count or length is compared with numbers: `> 1`, `= 8`, `in [8, 14]`"));
        }
        let test = Expression::Test(Test { place, measure, check });
        Ok(if negated { Expression::Not(Box::new(test)) } else { test })
    }

    fn operand(&mut self) -> Parsed<(Measure, Place)> {
        for (name, measure) in [("count", Measure::Count), ("length", Measure::Length)] {
            let rest = self.rest();
            if rest.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('(')) {
                self.at = self.text.len() - rest.len() + name.len();
                self.expect("(", "a `(` is missing")?;
                let place = self.place()?;
                self.expect(")", "a `)` is missing")?;
                return Ok((measure, place));
            }
        }
        let place = self.place()?;
        let measure =
            if matches!(place, Place::Fhir(_)) && self.mark(LENGTH) { Measure::Length } else { Measure::Value };
        Ok((measure, place))
    }

    /// What is tested, and whether the test is negated.
    fn check(&mut self, place: &Place) -> Parsed<(Check, bool)> {
        if let Some(comparison) = self.comparison() {
            return Ok((Check::Compares(comparison, self.number()?), false));
        }
        if self.mark("!=") {
            return Ok((Check::Equals(self.literal()?), true));
        }
        if self.rest().starts_with("==") || self.rest().starts_with("=~") {
            return Err(self.wrong(advice(self.rest().get(..2).unwrap_or_default(), "", "")));
        }
        if self.mark("=") {
            return Ok((Check::Equals(self.literal()?), false));
        }
        if self.word("is") {
            let negated = self.word("not");
            return if self.word("null") {
                Ok((Check::Null, negated))
            } else {
                Err(self.wrong("`null` is expected after `is`"))
            };
        }
        let start = self.at;
        let negated = self.word("not");
        if self.word("valued") {
            return Ok((Check::Valued, negated));
        }
        if self.word("in") {
            return Ok((Check::OneOf(self.list()?), negated));
        }
        if self.word("matches") {
            return Ok((Check::Matches(self.pattern()?), negated));
        }
        self.at = start;
        let ends = matches!(self.peek_word(), "and" | "or") || self.rest().is_empty() || self.rest().starts_with(')');
        match place {
            Place::Fhir(_) if ends => Ok((Check::Holds, false)),
            _ if ends => Err(self.wrong("a test is missing; to ask whether a value stands there, write `valued`")),
            _ => {
                let word = self.peek_word();
                Err(self.wrong(advice(
                    word,
                    self.rest(),
                    "one of =, !=, <, <=, >, >=, in, matches, valued, is null is expected here",
                )))
            }
        }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        use Comparison::{AtLeast, AtMost, Greater, Less};
        let marks = [("<=", AtMost), ("<", Less), (">=", AtLeast), (">", Greater)];
        marks.into_iter().find(|(mark, _)| self.mark(mark)).map(|(_, comparison)| comparison)
    }

    fn number(&mut self) -> Parsed<f64> {
        let start = self.at;
        match self.literal() {
            Ok(Literal::Number(number)) => Ok(number),
            _ => Err(self.wrong_at(start, "`<`, `<=`, `>` and `>=` compare with a number, written without quotes")),
        }
    }

    fn list(&mut self) -> Parsed<Vec<Literal>> {
        // FHIRPath writes a list as `('A' | 'B')`.
        let (between, end) = if self.mark("(") {
            ("|", ")")
        } else {
            self.expect("[", "a list is expected, such as ['A', 'B']")?;
            (",", "]")
        };
        let mut items = Vec::new();
        loop {
            if self.mark(end) && !items.is_empty() {
                return Ok(items);
            }
            items.push(self.literal()?);
            if !self.mark(between) {
                self.expect(end, &format!("a `{between}` or `{end}` is missing in the list"))?;
                return Ok(items);
            }
        }
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        let start = self.at;
        match self.literal()? {
            Literal::Text(text) => Pattern::new(&text).map_err(|reason| self.wrong_at(start, reason)),
            Literal::Number(_) => Err(self.wrong_at(start, "a regular expression stands in quotes")),
        }
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let rest = self.rest();
        let start = self.text.len() - rest.len();
        match rest.bytes().next() {
            Some(quote @ (b'\'' | b'"')) => self.quoted(start, char::from(quote)).map(Literal::Text),
            Some(b'-' | b'0'..=b'9') => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-+.".contains(c))).unwrap_or(rest.len());
                let (number, _) = rest.split_at(end);
                let parsed =
                    number.parse().map_err(|_| self.wrong_at(start, "this is no number; text stands in quotes"))?;
                self.at = start + end;
                Ok(Literal::Number(parsed))
            }
            _ => match self.peek_word() {
                word @ ("true" | "false") => {
                    self.at = start + word.len();
                    Ok(Literal::Text(word.to_owned()))
                }
                "" => Err(self.wrong("a value is expected here: text in quotes, or a number")),
                word => Err(self.wrong(format!("text stands in quotes: '{word}'"))),
            },
        }
    }

    /// A text in quotes; the quote itself is doubled within.
    fn quoted(&mut self, start: usize, quote: char) -> Parsed<String> {
        let mut out = String::new();
        let mut rest = self.text.get(start + 1..).unwrap_or_default();
        loop {
            let Some((part, after)) = rest.split_once(quote) else {
                return Err(self.wrong_at(start, format!("the closing {quote} is missing")));
            };
            out.push_str(part);
            match after.strip_prefix(quote) {
                Some(more) => {
                    out.push(quote);
                    rest = more;
                }
                None => {
                    self.at = self.text.len() - after.len();
                    return Ok(out);
                }
            }
        }
    }

    fn place(&mut self) -> Parsed<Place> {
        let rest = self.rest();
        let start = self.text.len() - rest.len();
        let name_end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '$').unwrap_or(rest.len());
        let (name, _) = rest.split_at(name_end);
        let upper = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.wrong_at(start, "a path is expected here, such as PID-8, CX.4 or Patient.gender"));
        }
        let of_hl7 = name.len() == 3 && rest.get(3..4) == Some("-");
        if !upper && of_hl7 {
            return Err(
                self.wrong_at(start, format!("segments are written in capitals: {}", name.to_ascii_uppercase()))
            );
        }
        if !upper {
            return self.fhir_path(start).map(Place::Fhir);
        }
        if self.relative {
            return Err(self.wrong_at(start, "within where(), paths begin at each item: where(use = 'official')"));
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-.[]".contains(c))).unwrap_or(rest.len());
        let (path, _) = rest.split_at(end);
        self.at = start + end;
        if is_data_type(name) {
            return component_path(name, path).map(Place::Component).ok_or_else(|| {
                self.wrong_at(start, format!("`{path}` is no component; write it like {name}.1 or {name}.1.2"))
            });
        }
        path.parse().map(Place::Hl7v2).map_err(|reason: String| self.wrong_at(start, reason))
    }

    fn fhir_path(&mut self, start: usize) -> Parsed<FhirPath> {
        self.at = start;
        let first = self.identifier()?;
        let mut path = FhirPath { resource_type: None, steps: Vec::new() };
        match first {
            "$this" if self.relative => {}
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => path.resource_type = Some(name.to_owned()),
            name => self.named_step(name, start, &mut path.steps)?,
        }
        while !self.rest().starts_with(LENGTH) {
            let ended = path.steps.last().is_some_and(Step::is_last);
            let turns = path.steps.last().is_some_and(|step| !matches!(step, Step::Count));
            if ended && !(turns && self.rest().starts_with(".not()")) {
                break;
            }
            if let Some(rest) = self.rest().strip_prefix('[') {
                path.steps.push(Step::Index(self.index(rest)?));
            } else if self.text.get(self.at..).is_some_and(|rest| rest.starts_with('.')) {
                self.at += 1;
                let at = self.at;
                let name = self.identifier()?;
                self.named_step(name, at, &mut path.steps)?;
            } else {
                break;
            }
        }
        Ok(path)
    }

    fn identifier(&mut self) -> Parsed<&'a str> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_$".contains(c)).unwrap_or(rest.len());
        let (name, _) = rest.split_at(end);
        if name.is_empty() {
            return Err(self.wrong("the name of an element is expected here"));
        }
        self.at += end;
        Ok(name)
    }

    fn index(&mut self, rest: &str) -> Parsed<usize> {
        let start = self.text.len() - rest.len();
        let parsed = rest.split_once(']').and_then(|(number, after)| Some((number.trim().parse().ok()?, after)));
        let (number, after) = parsed.ok_or_else(|| self.wrong_at(start, "a number and `]` are expected here"))?;
        self.at = self.text.len() - after.len();
        Ok(number)
    }

    /// An element, or one of the functions.
    fn named_step(&mut self, name: &str, start: usize, steps: &mut Vec<Step>) -> Parsed<()> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with('(')) {
            steps.push(Step::Child(name.to_owned()));
            return Ok(());
        }
        self.at += 1;
        match name {
            "where" => steps.push(self.filter()?),
            "exists" if !self.rest().starts_with(')') => steps.extend([self.filter()?, Step::Exists]),
            "exists" => steps.push(Step::Exists),
            "empty" => steps.push(Step::Empty),
            "count" => steps.push(Step::Count),
            "first" => steps.push(Step::Index(0)),
            "last" => steps.push(Step::Last),
            "not" if !steps.is_empty() => steps.push(Step::Not),
            "all" => steps.push(Step::All(Box::new(self.criteria()?))),
            "resolve" => steps.push(Step::Resolve),
            "ofType" | "as" => self.of_type(steps)?,
            "contains" | "startsWith" | "endsWith" | "matches" => {
                steps.extend([Step::Where(Box::new(self.text_test(name)?)), Step::Exists]);
            }
            "extension" => steps.extend([Step::Child(name.to_owned()), self.extension_url()?]),
            _ => {
                let known = "where(), exists(), empty(), count(), first(), last(), all(), not(), ofType(), resolve(), \
                             extension(), contains(), startsWith(), endsWith(), matches() and length() are known";
                return Err(self.wrong_at(start, format!("`{name}()` is not known here; {known}")));
            }
        }
        self.expect(")", "a `)` is missing").map(|_| ())
    }

    fn filter(&mut self) -> Parsed<Step> {
        self.criteria().map(|condition| Step::Where(Box::new(condition)))
    }

    /// A condition on each item.
    fn criteria(&mut self) -> Parsed<Expression> {
        let outer = std::mem::replace(&mut self.relative, true);
        let condition = self.alternatives()?;
        self.relative = outer;
        Ok(condition)
    }

    /// `value.ofType(Quantity)` is what JSON has as `valueQuantity`; of resources, those of the type.
    fn of_type(&mut self, steps: &mut Vec<Step>) -> Parsed<()> {
        self.mark("FHIR.");
        let blanks = self.text.len() - self.rest().len();
        self.at = blanks;
        let name = self.identifier()?.to_owned();
        match steps.last_mut() {
            Some(Step::Child(element)) if is_choice(element) => {
                let (first, rest) = name.split_at(1);
                *element = format!("{element}{}{rest}", first.to_ascii_uppercase());
            }
            _ => steps.push(Step::OfType(name)),
        }
        Ok(())
    }

    /// `startsWith('…')` and its like: what they find, by a regular expression.
    fn text_test(&mut self, function: &str) -> Parsed<Expression> {
        let start = self.at;
        let pattern = match (function, self.literal()?) {
            ("matches", Literal::Text(text)) => text,
            ("startsWith", Literal::Text(text)) => format!("^(?:{})", regex::escape(&text)),
            ("endsWith", Literal::Text(text)) => format!("(?:{})$", regex::escape(&text)),
            (_, Literal::Text(text)) => regex::escape(&text),
            (_, Literal::Number(_)) => return Err(self.wrong_at(start, "text stands in quotes here")),
        };
        let pattern = Pattern::new(&pattern).map_err(|reason| self.wrong_at(start, reason))?;
        Ok(of_item(None, Check::Matches(pattern)))
    }

    fn extension_url(&mut self) -> Parsed<Step> {
        let check = Check::Equals(self.literal()?);
        Ok(Step::Where(Box::new(of_item(Some("url"), check))))
    }

    /// What is left, blanks skipped.
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default().trim_start()
    }

    fn peek_word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// Takes this word if it comes next, whole.
    fn word(&mut self, word: &str) -> bool {
        self.peek_word() == word && self.mark(word)
    }

    /// Takes these characters if they come next.
    fn mark(&mut self, mark: &str) -> bool {
        let after = self.rest().strip_prefix(mark);
        if let Some(after) = after {
            self.at = self.text.len() - after.len();
        }
        after.is_some()
    }

    fn expect(&mut self, mark: &str, otherwise: &str) -> Parsed<()> {
        if self.mark(mark) { Ok(()) } else { Err(self.wrong(otherwise)) }
    }

    fn wrong(&self, message: impl Into<String>) -> ConditionError {
        ConditionError { offset: self.text.len() - self.rest().len(), message: message.into() }
    }

    fn wrong_at(&self, offset: usize, message: impl Into<String>) -> ConditionError {
        let blanks = self.text.get(offset..).map_or(0, |rest| rest.len() - rest.trim_start().len());
        ConditionError { offset: offset + blanks, message: message.into() }
    }
}

/// A test of the item at hand, or of an element of it.
fn of_item(element: Option<&str>, check: Check) -> Expression {
    let steps = element.map(|name| Step::Child(name.to_owned())).into_iter().collect();
    let place = Place::Fhir(FhirPath { resource_type: None, steps });
    Expression::Test(Test { place, measure: Measure::Value, check })
}

impl Check {
    fn is_of_numbers(&self) -> bool {
        match self {
            Self::Compares(..) | Self::Equals(Literal::Number(_)) => true,
            Self::OneOf(literals) => literals.iter().all(|literal| matches!(literal, Literal::Number(_))),
            _ => false,
        }
    }
}

/// `CX`, `CX.4` or `CX.4.2`.
fn component_path(data_type: &str, path: &str) -> Option<ComponentPath> {
    let mut numbers = path.strip_prefix(data_type)?.split('.');
    if !numbers.next()?.is_empty() {
        return None;
    }
    let mut next = || numbers.next().map(|n| n.parse().ok().filter(|n| *n > 0)).map_or(Some(None), |n| n.map(Some));
    let path = ComponentPath { data_type: data_type.to_owned(), component: next()?, subcomponent: next()? };
    numbers.next().is_none().then_some(path)
}

/// What to write for a word of another language, or else what is expected.
fn advice(word: &str, rest: &str, expected: &str) -> String {
    let mark: String = rest.chars().take_while(|c| "&|!~".contains(*c)).collect();
    let found = if word.is_empty() { mark.as_str() } else { word };
    let instead = match found.to_ascii_lowercase().as_str() {
        "==" | "eq" | "equals" | "equal" | "like" => "=",
        "ne" | "<>" => "!=",
        "=~" | "regex" | "match" | "contains" | "startswith" | "endswith" => "matches '…'",
        "&&" | "&" | "and" => "and",
        "||" | "|" | "or" => "or",
        "!" | "not" => "not",
        "exists" | "present" | "valued" | "populated" => "valued",
        "null" | "empty" => "is null` (for `\"\"`) or `not valued",
        "in" => "in ['…', '…']",
        "matches" => "matches '…'",
        "lt" => "<",
        "gt" => ">",
        _ => found,
    };
    if instead == found {
        return expected.to_owned();
    }
    format!("`{found}` is not known here; did you mean `{instead}`?")
}
