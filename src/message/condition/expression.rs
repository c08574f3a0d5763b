//! What a condition says, and whether it holds.

use super::{Fact, Facts, Place};

/// A condition over places of type `P`: as parsed, or as compiled by [`Expression::try_map`].
#[derive(Clone, Debug)]
pub enum Expression<P = Place> {
    /// True if one of these is; false if there is none.
    Any(Vec<Expression<P>>),
    /// True if all of these are, also if there is none.
    All(Vec<Expression<P>>),
    /// True if this is not.
    Not(Box<Expression<P>>),
    /// One test of one place.
    Test(Test<P>),
}

/// One test of one place.
#[derive(Clone, Debug)]
pub struct Test<P = Place> {
    /// Where.
    pub place: P,
    /// What is looked at there.
    pub measure: Measure,
    /// What must be true of it.
    pub check: Check,
}

/// What of a place is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Its values.
    Value,
    /// `count(…)`: how many of them there are, `""` not counted.
    Count,
    /// `length(…)`: how long each is, in characters.
    Length,
}

/// What must be true of a value.
#[derive(Clone, Debug)]
pub enum Check {
    /// It stands there and is not `false`.
    Holds,
    /// It stands there and is not `""`.
    Valued,
    /// It is `""`: to be deleted.
    Null,
    /// It is equal.
    Equals(Literal),
    /// It is equal to one of these.
    OneOf(Vec<Literal>),
    /// It is a number, and compares so.
    Compares(Comparison, f64),
    /// The pattern is found in it.
    Matches(Pattern),
}

/// What stands on the right side of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Equal to the same text.
    Text(String),
    /// Equal to any number of that value, however written: `5`, `5.0`.
    Number(f64),
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// A regular expression of bounded size.
#[derive(Clone, Debug)]
pub struct Pattern(regex::Regex);

impl Pattern {
    /// Most bytes that a compiled expression may take.
    const SIZE: usize = 256 * 1024;

    /// Compiles `expression`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or that it is too big.
    pub fn new(expression: &str) -> Result<Self, String> {
        let mut builder = regex::RegexBuilder::new(expression);
        let built = builder.size_limit(Self::SIZE).dfa_size_limit(Self::SIZE).nest_limit(32).build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the regular expression is too big".to_owned(),
            error => {
                let text = error.to_string();
                text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
        })
    }

    /// True if it is found in `text`.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl<P> Expression<P> {
    /// True if it holds for `facts`.
    #[must_use]
    pub fn eval<F: Facts<P> + ?Sized>(&self, facts: &F) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.eval(facts)),
            Self::All(parts) => parts.iter().all(|part| part.eval(facts)),
            Self::Not(part) => !part.eval(facts),
            Self::Test(test) => test.eval(facts),
        }
    }

    /// The same condition over other places, such as compiled ones.
    ///
    /// # Errors
    ///
    /// The first that `compile` gives.
    pub fn try_map<Q, E>(&self, compile: &mut impl FnMut(&P) -> Result<Q, E>) -> Result<Expression<Q>, E> {
        Ok(match self {
            Self::Any(parts) => Expression::Any(map_all(parts, compile)?),
            Self::All(parts) => Expression::All(map_all(parts, compile)?),
            Self::Not(part) => Expression::Not(Box::new(part.try_map(compile)?)),
            Self::Test(Test { place, measure, check }) => {
                Expression::Test(Test { place: compile(place)?, measure: *measure, check: check.clone() })
            }
        })
    }

    /// All places that it looks at, in order.
    #[must_use]
    pub fn places(&self) -> Vec<&P> {
        match self {
            Self::Any(parts) | Self::All(parts) => parts.iter().flat_map(Self::places).collect(),
            Self::Not(part) => part.places(),
            Self::Test(test) => vec![&test.place],
        }
    }
}

fn map_all<P, Q, E>(
    parts: &[Expression<P>],
    compile: &mut impl FnMut(&P) -> Result<Q, E>,
) -> Result<Vec<Expression<Q>>, E> {
    parts.iter().map(|part| part.try_map(compile)).collect()
}

impl<P> Test<P> {
    fn eval<F: Facts<P> + ?Sized>(&self, facts: &F) -> bool {
        match self.measure {
            Measure::Value => facts.any(&self.place, &mut |fact| self.check.is_true_of(fact)),
            Measure::Count => self.check.is_true_of_number(count(facts, &self.place) as f64),
            Measure::Length => facts.any(&self.place, &mut |fact| {
                matches!(fact, Fact::Text(text) if self.check.is_true_of_number(text.chars().count() as f64))
            }),
        }
    }
}

fn count<P, F: Facts<P> + ?Sized>(facts: &F, place: &P) -> usize {
    let mut count = 0;
    facts.any(place, &mut |fact| {
        count += usize::from(fact != Fact::Null);
        false
    });
    count
}

impl Check {
    /// True if it is true of `fact`.
    #[must_use]
    pub fn is_true_of(&self, fact: Fact<'_>) -> bool {
        match (self, fact) {
            (Self::Null, fact) => fact == Fact::Null,
            (_, Fact::Null) => false,
            (Self::Valued, _) | (Self::Holds, Fact::Group) => true,
            (_, Fact::Group) => false,
            (Self::Holds, Fact::Text(text)) => text != "false",
            (Self::Equals(literal), Fact::Text(text)) => literal.equals(text),
            (Self::OneOf(literals), Fact::Text(text)) => literals.iter().any(|literal| literal.equals(text)),
            (Self::Compares(comparison, than), Fact::Text(text)) => {
                number(text).is_some_and(|n| comparison.holds(n, *than))
            }
            (Self::Matches(pattern), Fact::Text(text)) => pattern.is_match(text),
        }
    }

    /// True if it is true of a number that was counted.
    #[must_use]
    pub fn is_true_of_number(&self, n: f64) -> bool {
        let equals = |literal: &Literal| *literal == Literal::Number(n);
        match self {
            Self::Equals(literal) => equals(literal),
            Self::OneOf(literals) => literals.iter().any(equals),
            Self::Compares(comparison, than) => comparison.holds(n, *than),
            Self::Holds | Self::Valued | Self::Null | Self::Matches(_) => false,
        }
    }
}

impl Literal {
    /// True if `text` is equal.
    #[must_use]
    pub fn equals(&self, text: &str) -> bool {
        match self {
            Self::Text(literal) => literal == text,
            Self::Number(literal) => number(text) == Some(*literal),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|n: &f64| n.is_finite())
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}
