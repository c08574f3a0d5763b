//! `when` and `{…}`: conditions and places, from text to their compiled form.

use message::condition::{self, Condition, Expression};

use super::error::Wrong;
use super::plan::{Piece, Place, Test};

/// What names mean in the table at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// The segment of the table, such as `PID`, whose fields are its own.
    pub(super) segment: Option<&'a str>,
    /// The data type of the table, such as `XPN`, whose components are counted from the slice at hand.
    pub(super) data_type: Option<&'a str>,
}

/// Compiles `OBX-2 in ['ST', 'TX'] and not OBX-11 valued`; with the offset of what is wrong.
pub(super) fn read(text: &str, scope: Scope<'_>) -> Result<Test, (usize, Wrong)> {
    let condition = Condition::parse(text).map_err(|error| (error.offset, Wrong::new(error.message)))?;
    compile(condition.expression(), scope).map_err(|wrong| (0, wrong))
}

fn compile(expression: &Expression, scope: Scope<'_>) -> Result<Test, Wrong> {
    let all = |parts: &[Expression]| parts.iter().map(|part| compile(part, scope)).collect::<Result<Vec<_>, _>>();
    Ok(match expression {
        Expression::Any(parts) => Test::Any(all(parts)?),
        Expression::All(parts) => Test::All(all(parts)?),
        Expression::Not(part) => Test::Not(Box::new(compile(part, scope)?)),
        Expression::Test(test) => {
            Test::One { place: compile_place(&test.place, scope)?, measure: test.measure, check: test.check.clone() }
        }
    })
}

fn compile_place(place: &condition::Place, scope: Scope<'_>) -> Result<Place, Wrong> {
    let narrow = |number: Option<usize>| u16::try_from(number.unwrap_or(0)).unwrap_or(u16::MAX);
    match place {
        condition::Place::Component(path) if scope.data_type == Some(path.data_type.as_str()) => {
            Ok(Place::Part { part: narrow(path.component), sub: narrow(path.subcomponent) })
        }
        condition::Place::Component(path) => {
            Err(Wrong::new(format!("{} is not the data type of this table", path.data_type)))
        }
        condition::Place::Hl7v2(path) => Ok(match path.field {
            None => Place::Segment(path.segment.clone()),
            Some(field) => Place::Field {
                segment: (scope.segment != Some(path.segment.as_str())).then(|| path.segment.clone()),
                field: narrow(Some(field)),
                repetition: path.repetition.map(|number| narrow(Some(number))),
                component: narrow(path.component),
                subcomponent: narrow(path.subcomponent),
            },
        }),
        condition::Place::Fhir(_) => Err(Wrong::new("a table's conditions look at the message, not at resources")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const PID: Scope<'_> = Scope { segment: Some("PID"), data_type: None };

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match read(text, PID) {
            Ok(test) => format!("{test:?}"),
            Err((offset, wrong)) => format!("{offset}: {}", wrong.text),
        };
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn compiles_conditions_of_this_segment_and_of_others() {
        check("PID-13.2 valued", "place: Field { segment: None, field: 13");
        check("not PV1-45 valued and count(PID-11) > 1", "All([Not(One { place: Field { segment: Some(\"PV1\")");
        check("PV1 valued", "Segment(\"PV1\")");
        check("XPN.1 valued", "XPN is not the data type of this table");
        check("Patient.active", "not at resources");
    }
}
