//! `when` and `{…}` at work: places found in the message, tests decided.

use std::borrow::Cow;

use smol_str::ToSmolStr as _;

use message::condition::{Check, Fact, Literal, Measure, Pattern};

use crate::hl7v2_to_fhir::maps::plan::{Piece, Place, Test};
use crate::hl7v2_to_fhir::source::Slice;

use super::Run;

/// What a place is counted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) segment: usize,
    pub(super) instance: usize,
    /// The field whose repetition is at hand.
    pub(super) field: u16,
    pub(super) repetition: Option<Slice<'a>>,
    /// The data type at hand.
    pub(super) slice: Option<Slice<'a>>,
    /// Which of its first parts have a value, as bits by their numbers, where that is known.
    pub(super) valued: Option<u64>,
}

/// The field that a condition looked at last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen<'a> {
    segment: usize,
    /// 0 before the first.
    field: u16,
    text: Option<&'a str>,
}

impl Around<'_> {
    pub(super) fn segment(segment: usize, instance: usize) -> Self {
        Self { segment, instance, field: 0, repetition: None, slice: None, valued: None }
    }
}

impl<'a> Run<'a> {
    /// Decides `test`. A value that a comparison hangs on counts as used.
    pub(super) fn holds(&mut self, test: &'a Test, around: &Around<'a>) -> bool {
        match test {
            Test::One { place, measure, check } => self.is_true(place, *measure, check, around),
            Test::Not(inner) => !self.holds(inner, around),
            Test::All(tests) => tests.iter().all(|test| self.holds(test, around)),
            Test::Any(tests) => tests.iter().any(|test| self.holds(test, around)),
        }
    }

    fn is_true(&mut self, place: &Place, measure: Measure, check: &'a Check, around: &Around<'a>) -> bool {
        match (measure, check) {
            (Measure::Value, Check::Valued | Check::Holds) => self.is_valued(place, around),
            (Measure::Value, Check::Null) => self.slice_at(place, around).is_some_and(|slice| slice.text == "\"\""),
            (Measure::Value, _) => {
                let Some(text) = self.text_at(place, around) else { return false };
                let holds = match check {
                    Check::Matches(pattern) => self.matches(pattern, text),
                    _ => check.is_true_of(Fact::Text(text)),
                };
                if holds {
                    self.source.take(text);
                }
                holds
            }
            (Measure::Count, Check::Compares(..) | Check::Equals(Literal::Number(_))) => {
                check.is_true_of_number(self.count(place, around) as f64)
            }
            (Measure::Count, _) => check.is_true_of(Fact::Text(&self.count(place, around).to_smolstr())),
            (Measure::Length, _) => {
                let length = self.text_at(place, around).map(|text| text.chars().count().to_smolstr());
                length.is_some_and(|length| check.is_true_of(Fact::Text(&length)))
            }
        }
    }

    fn is_valued(&self, place: &Place, around: &Around<'a>) -> bool {
        match place {
            Place::Segment(name) => self.segment_named(name, around).is_some(),
            Place::Part { part: part @ 1..64, sub: 0 } if around.valued.is_some() => {
                around.valued.is_some_and(|valued| valued >> part & 1 == 1)
            }
            _ => self.slice_at(place, around).is_some_and(|slice| self.source.is_valued(slice.text)),
        }
    }

    /// Which of the first parts of `slice` have a value.
    pub(super) fn valued(&self, slice: Slice<'a>) -> u64 {
        let valued = self.source.parts(slice).take_while(|(number, _)| *number < 64);
        valued.filter(|(_, part)| self.source.is_valued(part.text)).fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// The first value at `place`, escape sequences not undone; `None` where none stands.
    pub(super) fn text_at(&self, place: &Place, around: &Around<'a>) -> Option<&'a str> {
        if let Place::Field { segment: None, field, repetition: None, component: 0, .. } = place
            && *field != around.field
        {
            return self.own_text(around.segment, *field);
        }
        let leaf = self.source.leaf(self.slice_at(place, around)?).text;
        Some(leaf).filter(|text| self.source.is_valued(text))
    }

    /// The first value of `field` of the segment at hand, escape sequences not undone; of the field at hand,
    /// that of its repetition.
    pub(super) fn first_value(&self, field: u16, around: &Around<'a>) -> Option<&'a str> {
        match around.repetition.filter(|_| field == around.field) {
            Some(slice) => Some(self.source.leaf(slice).text).filter(|text| self.source.is_valued(text)),
            None => self.own_text(around.segment, field),
        }
    }

    /// The first value of field `field` of segment `number`: rows ask for the same one again and again.
    fn own_text(&self, number: usize, field: u16) -> Option<&'a str> {
        let before = self.seen.get();
        if (before.segment, before.field) == (number, field) {
            return before.text;
        }
        let text = self.source.first_leaf(*self.source.segments.get(number)?, usize::from(field));
        let text = Some(text).filter(|text| self.source.is_valued(text));
        self.seen.set(Seen { segment: number, field, text });
        text
    }

    /// True if `text` matches; the same text is asked for the same pattern by several rows.
    fn matches(&self, pattern: &'a Pattern, text: &'a str) -> bool {
        if let Some((before, asked, holds)) = self.matched.get()
            && std::ptr::eq(before, text)
            && asked == pattern.as_str()
        {
            return holds;
        }
        let holds = pattern.is_match(text);
        self.matched.set(Some((text, pattern.as_str(), holds)));
        holds
    }

    fn count(&self, place: &Place, around: &Around<'a>) -> usize {
        let Place::Field { segment, field, .. } = place else { return usize::from(self.is_valued(place, around)) };
        let Some(number) = self.segment_of(segment.as_deref(), around) else { return 0 };
        let Some(segment) = self.source.segments.get(number) else { return 0 };
        let text = self.source.field(*segment, usize::from(*field));
        if text.is_empty() { 0 } else { self.source.repetitions(text).count() }
    }

    fn slice_at(&self, place: &Place, around: &Around<'a>) -> Option<Slice<'a>> {
        match place {
            Place::Segment(_) => None,
            Place::Part { part, sub } => {
                let whole = around.slice?;
                let part = if *part == 0 { whole } else { self.source.part(whole, usize::from(*part)) };
                Some(if *sub == 0 { part } else { self.source.part(part, usize::from(*sub)) })
            }
            Place::Field { segment, field, repetition, component, subcomponent } => {
                let own = segment.is_none() && *field == around.field && repetition.is_none();
                let slice = match around.repetition.filter(|_| own) {
                    Some(slice) => slice,
                    None => {
                        let number = self.segment_of(segment.as_deref(), around)?;
                        let text = self.source.field(*self.source.segments.get(number)?, usize::from(*field));
                        let nth = usize::from(repetition.unwrap_or(1)) - 1;
                        self.source.repetitions(text).nth(nth)?
                    }
                };
                let slice = if *component == 0 { slice } else { self.source.part(slice, usize::from(*component)) };
                Some(if *subcomponent == 0 { slice } else { self.source.part(slice, usize::from(*subcomponent)) })
            }
        }
    }

    fn segment_of(&self, name: Option<&str>, around: &Around<'a>) -> Option<usize> {
        match name {
            None => Some(around.segment),
            Some(name) if self.source.segments.get(around.segment).is_some_and(|s| s.name == name) => {
                Some(around.segment)
            }
            Some(name) => self.segment_named(name, around),
        }
    }

    /// The first segment called `name` in this group and what is in it, else in a group around it.
    pub(super) fn segment_named(&self, name: &str, around: &Around<'a>) -> Option<usize> {
        let in_list = |list: &[(&str, usize)]| list.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        let mut instance = around.instance;
        let mut found = self.groups.instances.get(instance)?;
        if let Some(number) = in_list(&found.below) {
            return Some(in_list(&found.segments).unwrap_or(number));
        }
        loop {
            if let Some(number) = in_list(&found.segments) {
                return Some(number);
            }
            if instance == 0 {
                return None;
            }
            instance = found.parent;
            found = self.groups.instances.get(instance)?;
        }
    }

    /// Notes that the values of a template are used.
    pub(super) fn take_pieces(&mut self, pieces: &[Piece], around: &Around<'a>) {
        for piece in pieces {
            if let Piece::Place(place) = piece
                && let Some(text) = self.text_at(place, around)
            {
                self.source.take(text);
            }
        }
    }

    /// The text of a template: single blanks, none at the ends; `None` if no place has a value.
    pub(super) fn template(&self, pieces: &[Piece], around: &Around<'a>) -> Option<String> {
        let (mut out, mut found) = (String::new(), false);
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => out.push_str(literal),
                Piece::Place(place) => {
                    if let Some(text) = self.text_at(place, around) {
                        found = true;
                        out.push_str(&self.source.unescaped(text));
                    }
                }
            }
        }
        let words: Vec<_> = out.split(' ').filter(|word| !word.is_empty()).collect();
        found.then(|| words.join(" "))
    }

    /// The value of component `part` of the slice at hand, empty where none stands; it counts as used.
    pub(super) fn component(&mut self, slice: Slice<'a>, part: usize) -> Cow<'a, str> {
        let leaf = self.source.leaf(self.source.part(slice, part)).text;
        self.source.take(leaf);
        self.source.unescaped(leaf)
    }
}
