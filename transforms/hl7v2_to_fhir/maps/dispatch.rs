//! Rows that hang on what one field says, OBX-5's on OBX-2 above all: sorted by its value once, so that a
//! message asks only those that can hold.

use std::collections::BTreeSet;

use message::condition::{Check, Fact, Literal, Measure};

use super::plan::{ByValue, PartRows, Place, Row, Test};
use crate::hl7v2_to_fhir::hashed::Hashed;

/// Sorting is worth its while from so many rows on.
const ROWS: usize = 3;

/// Sorts the rows `all` of one field, if many of them ask first what another field, or this one, says.
pub(super) fn sort(rows: &[Row], part: &mut PartRows) {
    let asking = || part.all.iter().filter_map(|at| rows.get(usize::from(*at))?.when.as_ref());
    let fields: BTreeSet<u16> = asking().flat_map(asked).collect();
    let sorted = fields.into_iter().filter_map(|field| by_value(rows, &part.all, field));
    let least = sorted.min_by_key(|sorted| sorted.other.len());
    part.by_value = least.filter(|sorted| sorted.other.len() + ROWS <= part.all.len());
}

/// The rows that can hold for each value of `field` that they name, and for any other.
fn by_value(rows: &[Row], all: &[u16], field: u16) -> Option<ByValue> {
    let tests = all.iter().filter_map(|at| Some((*at, rows.get(usize::from(*at))?.when.as_ref())));
    let tests: Vec<_> = tests.collect();
    let named: BTreeSet<&str> =
        tests.iter().filter_map(|(_, test)| *test).flat_map(|test| texts(test, field)).collect();
    let left = |value: Asked<'_>| -> Vec<u16> {
        let can = |test: &Option<&Test>| test.is_none_or(|test| decide(test, field, value) != Known::No);
        tests.iter().filter(|(_, test)| can(test)).map(|(at, _)| *at).collect()
    };
    let of: Hashed<Box<str>, Vec<u16>> =
        named.into_iter().map(|value| (Box::from(value), left(Asked::Text(value)))).collect();
    (!of.is_empty()).then(|| ByValue { field, of, other: left(Asked::Other) })
}

/// What a field says when rows are sorted.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// This.
    Text(&'a str),
    /// Nothing, or what no row names.
    Other,
}

/// What is known of a test by one field alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It does not hold, and deciding it counts no value as used.
    No,
    /// It holds, and that counts no value as used.
    Yes,
    /// The message decides.
    Open,
}

fn decide(test: &Test, field: u16, value: Asked<'_>) -> Known {
    match test {
        Test::One { place, measure: Measure::Value, check } if is_field(place, field) => decide_one(check, value),
        Test::One { .. } => Known::Open,
        Test::Not(inner) => match decide(inner, field, value) {
            Known::No => Known::Yes,
            Known::Yes => Known::No,
            Known::Open => Known::Open,
        },
        // In order, as a message decides them: what comes before may count values as used.
        Test::All(tests) => first_but(tests, Known::Yes, field, value),
        Test::Any(tests) => first_but(tests, Known::No, field, value),
    }
}

/// What is known of the first of `tests` that is not `passing`.
fn first_but(tests: &[Test], passing: Known, field: u16, value: Asked<'_>) -> Known {
    let all = tests.iter().map(|test| decide(test, field, value));
    all.into_iter().find(|known| *known != passing).unwrap_or(passing)
}

fn decide_one(check: &Check, value: Asked<'_>) -> Known {
    let is_text = |literal: &Literal| matches!(literal, Literal::Text(_));
    let fails = match (check, value) {
        (Check::Valued | Check::Holds, Asked::Text(_)) => return Known::Yes,
        (Check::Valued | Check::Holds | Check::Null, _) => false,
        (_, Asked::Text(text)) => !check.is_true_of(Fact::Text(text)),
        (Check::Equals(literal), Asked::Other) => is_text(literal),
        (Check::OneOf(literals), Asked::Other) => literals.iter().all(is_text),
        (Check::Compares(..) | Check::Matches(_), Asked::Other) => false,
    };
    if fails { Known::No } else { Known::Open }
}

/// The fields of the segment at hand whose values `test` compares.
fn asked(test: &Test) -> Vec<u16> {
    match test {
        Test::One { place: Place::Field { segment: None, field, .. }, .. } => vec![*field],
        Test::One { .. } => Vec::new(),
        Test::Not(inner) => asked(inner),
        Test::All(tests) | Test::Any(tests) => tests.iter().flat_map(asked).collect(),
    }
}

/// The texts that `test` compares `of` with.
fn texts(test: &Test, of: u16) -> Vec<&str> {
    fn text(literal: &Literal) -> Option<&str> {
        if let Literal::Text(text) = literal { Some(text) } else { None }
    }
    match test {
        Test::One { place, check, .. } if is_field(place, of) => match check {
            Check::Equals(literal) => text(literal).into_iter().collect(),
            Check::OneOf(literals) => literals.iter().filter_map(text).collect(),
            _ => Vec::new(),
        },
        Test::One { .. } => Vec::new(),
        Test::Not(inner) => texts(inner, of),
        Test::All(tests) | Test::Any(tests) => tests.iter().flat_map(|test| texts(test, of)).collect(),
    }
}

/// True for the first value of `field` of the segment at hand.
fn is_field(place: &Place, of: u16) -> bool {
    matches!(place, Place::Field { segment: None, field, repetition: None, component: 0, subcomponent: 0 } if *field == of)
}

#[cfg(test)]
mod tests {
    use message::fhir::definitions::{Kind, types};

    use super::super::condition::{self, Scope};
    use super::super::path;
    use super::super::plan::{Action, From, RowPlace};
    use super::*;

    fn row(when: &str) -> Row {
        let scope = Scope { segment: Some("OBX"), data_type: None };
        let base = Kind::Complex(types().id("Observation").expect("a type"));
        Row {
            from: From { part: 5, ..From::default() },
            when: Some(condition::read(when, scope).map_err(|(_, wrong)| wrong.text).expect("a condition")),
            target: path::read("valueString", base).map_err(|wrong| wrong.text).expect("a path"),
            action: Action::Skip,
            codes: None,
            null: None,
            alone: false,
            at: RowPlace::default(),
        }
    }

    /// Which rows are left for a value of OBX-2.
    #[track_caller]
    fn check(value: &str, expected: &[u16]) {
        let rows = [
            "OBX-2 = 'NM' and OBX-5 valued",
            "OBX-2 in ['ST', 'TX'] or not OBX-2 valued",
            // OBX-8 is looked at first, and counts as used where it is `H`.
            "OBX-8 = 'H' and OBX-2 = 'NM'",
            "OBX-2 = 'SN'",
            "OBX-2 = 'CE'",
            "OBX-2 = 'DT' and not OBX-5 matches '^9'",
        ]
        .map(row);
        let mut part = PartRows { all: (0..6).collect(), by_value: None };
        sort(&rows, &mut part);
        let sorted = part.by_value.expect("most rows ask for OBX-2");
        assert_eq!(sorted.field, 2);
        assert_eq!(sorted.of.get(value).unwrap_or(&sorted.other), expected, "{value}");
    }

    #[test]
    fn a_value_leaves_the_rows_that_can_hold() {
        check("NM", &[0, 2]);
        check("TX", &[1, 2]);
        check("SN", &[2, 3]);
    }

    #[test]
    fn what_no_row_names_leaves_those_that_ask_for_something_else() {
        check("ZZ", &[1, 2]);
        check("", &[1, 2]);
    }
}
