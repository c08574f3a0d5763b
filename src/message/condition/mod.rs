//! `when`: the one small language of conditions, for routes, maps and tests.
//!
//! ```text
//! MSH-9.1 in ['ADT', 'ORU'] and not (PV1-2 = 'P' or PID-30 valued)
//! count(PID-11) > 1 and length(PID-7) > 8 and PID-5[1].1 matches '^Z'
//! CX.5 = 'MR' and CX.4.2 is null
//! Patient.identifier.where(system = 'urn:oid:1.2.3').exists() and Encounter.status != 'finished'
//! ```
//!
//! A **place** is an HL7 path (`PID-3[1].4`), a component of the value at hand for data type maps (`CWE.1`), or a
//! path of FHIRPath's simple kind: child steps, `[n]`, `where()`, `exists()`, `empty()`, `count()`, `first()`, `last()`,
//! `all()`, `not()`, `ofType()`, `resolve()` within the Bundle, `extension('url')`, and of texts `contains()`,
//! `startsWith()`, `endsWith()`, `matches()`, `length()`. Where a place has several values, one that passes is enough: every segment and repetition
//! counts unless the path names one, and a resource type counts for every entry of a Bundle.
//!
//! A **test** is `=`, `!=` (no value is equal), `in […]`, `not in […]`, `<`, `<=`, `>`, `>=` (numbers),
//! `matches '…'` (a regular expression, found anywhere), `valued`, `not valued`, `is null` (HL7's `""`) or
//! `is not null`. Text stands in quotes, single or double, doubled within; a number compares as a number.
//! A path on resources alone holds where something stands that is not `false`. Conditions join by `and`, `or`,
//! `not` and parentheses; `true` and `false` stand for themselves.

mod expression;
mod facts;
mod parse;
mod place;

pub use expression::{Check, Comparison, Expression, Literal, Measure, Pattern, Test};
pub use facts::{Fact, Facts};
pub use parse::ConditionError;
pub use place::{ComponentPath, FhirPath, Place, Step, is_data_type};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A condition of the configuration, parsed and checked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    text: String,
    expression: Expression,
}

impl Condition {
    /// Parses a condition.
    ///
    /// # Errors
    ///
    /// [`ConditionError`] with the offset in `text` and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        Ok(Self { text: text.to_owned(), expression: parse::parse(text)? })
    }

    /// True if it holds for `facts`. Never fails: what is not there has no value.
    #[must_use]
    pub fn eval(&self, facts: &impl Facts) -> bool {
        self.expression.eval(facts)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says, to be compiled further.
    #[must_use]
    pub fn expression(&self) -> &Expression {
        &self.expression
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Condition {
    type Error = ConditionError;

    fn try_from(text: String) -> Result<Self, ConditionError> {
        Self::parse(&text)
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.text
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.text)
    }
}

#[cfg(test)]
mod tests;
