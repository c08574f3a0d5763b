//! One segment: its name and its fields.

use std::fmt;

use super::Delimiters;
use super::split::{nth_between, split};
use super::value::Field;

/// One segment: `PID|1||…`, without its terminator.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    text: &'a str,
    delimiters: Delimiters,
    number: usize,
}

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({} at {})", self.name(), self.number + 1)
    }
}

impl<'a> Segment<'a> {
    /// A segment of its own, for segments that do not stand in a message (tests, built ACKs).
    #[must_use]
    pub fn new(text: &'a str, delimiters: Delimiters) -> Self {
        Self::at(text, delimiters, 0)
    }

    pub(super) fn at(text: &'a str, delimiters: Delimiters, number: usize) -> Self {
        Self { text, delimiters, number }
    }

    /// What stands before the first field separator: `"PID"`, whatever it is.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match memchr::memchr(self.delimiters.field, self.text.as_bytes()) {
            Some(end) => self.text.get(..end).unwrap_or_default(),
            None => self.text.trim_end(),
        }
    }

    /// True if that is `name`.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        match self.text.as_bytes().get(name.len()) {
            // Nearly always: a name as long as the one that is asked for, before its separator.
            Some(next) if *next == self.delimiters.field && !name.is_empty() => self.text.starts_with(name),
            _ => self.name() == name,
        }
    }

    /// Its place in the message, counted from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// The whole segment as it stands.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What the message declares.
    #[must_use]
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// Field `number`, counted from 1 as HL7 does; MSH-1 is the separator itself and MSH-2 is not
    /// cut into components. Empty where nothing stands.
    #[must_use]
    pub fn field(&self, number: usize) -> Field<'a> {
        let is_header = self.is_header();
        if is_header && number == 1 {
            return Field::literal(self.text.get(3..4).unwrap_or_default(), self.delimiters);
        }
        let nth = if is_header { number.saturating_sub(1) } else { number };
        let text = if number == 0 { "" } else { nth_between(self.text, self.delimiters.field, nth) };
        if is_header && number == 2 { Field::literal(text, self.delimiters) } else { Field::new(text, self.delimiters) }
    }

    /// All its fields from 1 on, each with its number.
    pub fn fields(&self) -> impl Iterator<Item = (usize, Field<'a>)> + 'a {
        let (delimiters, is_header) = (self.delimiters, self.is_header());
        let first = is_header.then(|| (1, self.field(1)));
        let rest = split(self.text, delimiters.field).skip(1).enumerate().map(move |(i, text)| {
            let number = if is_header { i + 2 } else { i + 1 };
            let literal = is_header && number == 2;
            (number, if literal { Field::literal(text, delimiters) } else { Field::new(text, delimiters) })
        });
        first.into_iter().chain(rest)
    }

    fn is_header(&self) -> bool {
        matches!(self.text.as_bytes(), [b'M', b'S', b'H', next, ..] | [b'F' | b'B', b'H', b'S', next, ..]
            if *next == self.delimiters.field)
    }
}
