//! The message as rows see it: every segment cut into fields once, and which values were taken.

use std::borrow::Cow;

use memchr::memchr;
use message::hl7v2::{self, Delimiters, escape};
use message::json::Text;
use smol_str::format_smolstr;

use super::hashed::Hashed;

/// A piece of the message: a repetition, a component or a subcomponent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice<'a> {
    pub(super) text: &'a str,
    pub(super) level: Level,
}

/// How a [`Slice`] is cut further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Into components.
    Repetition,
    /// Into subcomponents.
    Component,
    /// Not at all.
    Subcomponent,
}

/// One segment with its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) name: &'a str,
    /// Counted from 1 among those of its name.
    pub(super) occurrence: usize,
    first: usize,
    count: usize,
    /// The number of the first field: 1, and 2 after a header's own separator.
    number: usize,
}

/// The whole message.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) delimiters: Delimiters,
    pub(super) segments: Vec<Segment<'a>>,
    fields: Vec<&'a str>,
    text: &'a str,
    /// What each byte is.
    bytes: Bytes,
    /// One bit a byte of the text: a value that begins there was taken.
    taken: Vec<u64>,
}

impl<'a> Source<'a> {
    pub(super) fn new(message: &'a hl7v2::Message) -> Self {
        let text = message.text();
        let mut source = Self {
            delimiters: message.delimiters(),
            segments: Vec::with_capacity(message.segments().len()),
            fields: Vec::with_capacity(text.len() / 8),
            text,
            bytes: Bytes::new(message.delimiters()),
            taken: vec![0; text.len() / 64 + 1],
        };
        let mut seen = Hashed::default();
        for segment in message.segments() {
            let occurrence: &mut usize = seen.entry(segment.name()).or_default();
            *occurrence += 1;
            source.add(segment.name(), segment.text(), *occurrence);
        }
        source
    }

    fn add(&mut self, name: &'a str, text: &'a str, occurrence: usize) {
        let is_header = matches!(name, "MSH" | "FHS" | "BHS");
        let first = self.fields.len();
        self.fields.extend(pieces(text, self.delimiters.field).skip(1));
        let count = self.fields.len() - first;
        self.segments.push(Segment { name, occurrence, first, count, number: if is_header { 2 } else { 1 } });
    }

    /// The fields of `segment` that are not empty, each with its number; a header's delimiters not
    /// counted.
    pub(super) fn fields(&self, segment: Segment<'a>) -> impl Iterator<Item = (usize, &'a str)> + use<'a, '_> {
        let fields = self.fields.get(segment.first..segment.first + segment.count).unwrap_or_default();
        let literal = segment.number == 2;
        let numbered = fields.iter().enumerate().map(move |(i, text)| (i + segment.number, *text));
        numbered.filter(move |(number, text)| !(text.is_empty() || (literal && *number == 2)))
    }

    /// The length of the text, in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The text behind the first segment: what a message says, whenever and under whatever number it is sent.
    pub(super) fn body(&self) -> &'a str {
        self.text.split_once('\r').map_or("", |(_, body)| body)
    }

    /// The numbers of the first field and of the one after the last.
    pub(super) fn numbers(&self, segment: Segment<'a>) -> std::ops::Range<usize> {
        segment.number..segment.number + segment.count
    }

    /// The first value of field `number`.
    pub(super) fn first_leaf(&self, segment: Segment<'a>, number: usize) -> &'a str {
        let field = self.field(segment, number);
        let end = field.bytes().position(|b| self.bytes.divides(b)).unwrap_or(field.len());
        field.get(..end).unwrap_or_default()
    }

    /// Field `number`, empty where nothing stands.
    pub(super) fn field(&self, segment: Segment<'a>, number: usize) -> &'a str {
        let index = number.checked_sub(segment.number).filter(|i| *i < segment.count);
        index.and_then(|i| self.fields.get(segment.first + i)).copied().unwrap_or_default()
    }

    /// The repetitions of a field.
    pub(super) fn repetitions(&self, field: &'a str) -> impl Iterator<Item = Slice<'a>> + use<'a> {
        pieces(field, self.delimiters.repetition).map(|text| Slice { text, level: Level::Repetition })
    }

    /// Part `number` of `slice`, from 1; part 1 of what cannot be cut is the slice itself.
    pub(super) fn part(&self, slice: Slice<'a>, number: usize) -> Slice<'a> {
        let (at, level) = self.cut(slice.level);
        let text = match number {
            0 => slice.text,
            _ if at == 0 => slice.text.get(..if number == 1 { slice.text.len() } else { 0 }).unwrap_or_default(),
            _ => nth(slice.text, at, number - 1),
        };
        Slice { text, level }
    }

    /// All parts of `slice`, from 1.
    pub(super) fn parts(&self, slice: Slice<'a>) -> impl Iterator<Item = (usize, Slice<'a>)> + use<'a> {
        let (at, level) = self.cut(slice.level);
        pieces(slice.text, at).enumerate().map(move |(i, text)| (i + 1, Slice { text, level }))
    }

    fn cut(&self, level: Level) -> (u8, Level) {
        match level {
            Level::Repetition => (self.delimiters.component, Level::Component),
            Level::Component => (self.delimiters.subcomponent.unwrap_or(0), Level::Subcomponent),
            Level::Subcomponent => (0, Level::Subcomponent),
        }
    }

    /// The first value within `slice`.
    pub(super) fn leaf(&self, slice: Slice<'a>) -> Slice<'a> {
        let end = match slice.level {
            Level::Subcomponent => None,
            Level::Component => slice.text.bytes().position(|b| self.bytes.begins(b) == Some(Level::Subcomponent)),
            Level::Repetition => {
                slice.text.bytes().position(|b| self.bytes.begins(b).is_some_and(|next| next != Level::Repetition))
            }
        };
        let text = end.and_then(|end| slice.text.get(..end)).unwrap_or(slice.text);
        Slice { text, level: Level::Subcomponent }
    }

    /// `text` with its escape sequences undone.
    pub(super) fn unescaped(&self, text: &'a str) -> Cow<'a, str> {
        escape::unescape(text, self.delimiters)
    }

    /// True if `text` holds more than delimiters and is not `""`.
    pub(super) fn is_valued(&self, text: &str) -> bool {
        text != "\"\"" && text.bytes().any(|b| !self.bytes.divides(b))
    }

    /// What begins after `b`; `None` if it is part of a value.
    pub(super) fn delimiter(&self, b: u8) -> Option<Level> {
        self.bytes.begins(b)
    }

    /// Notes that all values within `text` were taken.
    pub(super) fn take(&mut self, text: &str) {
        let Some(start) = self.offset(text) else { return };
        self.set(start);
        for (i, b) in text.bytes().enumerate() {
            if self.bytes.divides(b) {
                self.set(start + i + 1);
            }
        }
    }

    /// Notes of `text` what was noted of `first`, the same text elsewhere.
    pub(super) fn take_as(&mut self, text: &str, first: &str) {
        let (Some(start), Some(before)) = (self.offset(text), self.offset(first)) else { return };
        for i in 0..text.len() {
            if self.is_set(before + i) {
                self.set(start + i);
            }
        }
    }

    /// Notes that the value that begins at `offset` was taken.
    pub(super) fn take_at(&mut self, offset: usize) {
        self.set(offset);
    }

    /// Where values within `text` begin that were taken, counted from its beginning.
    pub(super) fn taken_within(&self, text: &str) -> Vec<u16> {
        let Some(start) = self.offset(text) else { return Vec::new() };
        (0..=u16::try_from(text.len()).unwrap_or(u16::MAX)).filter(|at| self.is_set(start + usize::from(*at))).collect()
    }

    /// As [`Source::taken_within`]; they count as not taken from now on.
    pub(super) fn give_back(&mut self, text: &str) -> Vec<u16> {
        let taken = self.taken_within(text);
        let start = self.offset(text).unwrap_or(0);
        for at in &taken {
            let offset = start + usize::from(*at);
            if let Some(word) = self.taken.get_mut(offset / 64) {
                *word &= !(1 << (offset % 64));
            }
        }
        taken
    }

    fn set(&mut self, offset: usize) {
        if let Some(word) = self.taken.get_mut(offset / 64) {
            *word |= 1 << (offset % 64);
        }
    }

    /// True if the value that begins at `offset` was taken.
    pub(super) fn is_taken_at(&self, offset: usize) -> bool {
        self.is_set(offset)
    }

    fn is_set(&self, offset: usize) -> bool {
        self.taken.get(offset / 64).is_some_and(|word| word >> (offset % 64) & 1 == 1)
    }

    /// Where in the message `text`, a slice of it, begins.
    pub(super) fn offset(&self, text: &str) -> Option<usize> {
        (text.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize).filter(|o| *o <= self.text.len())
    }
}

/// What each byte of a message is, looked up at once.
#[derive(Debug)]
struct Bytes {
    begins: [Option<Level>; 256],
    divides: [bool; 256],
}

impl Bytes {
    fn new(delimiters: Delimiters) -> Self {
        let mut bytes = Self { begins: [None; 256], divides: [false; 256] };
        // Where one byte is said to be two delimiters, it is the first of them.
        let all = [
            (delimiters.subcomponent, Level::Subcomponent),
            (Some(delimiters.repetition), Level::Repetition),
            (Some(delimiters.component), Level::Component),
        ];
        for (delimiter, level) in all {
            let Some(b) = delimiter.map(usize::from) else { continue };
            if let (Some(begins), Some(divides)) = (bytes.begins.get_mut(b), bytes.divides.get_mut(b)) {
                // 0 stands for none.
                *begins = (b != 0).then_some(level);
                *divides = true;
            }
        }
        bytes
    }

    /// What begins after `b`, if it is a delimiter.
    fn begins(&self, b: u8) -> Option<Level> {
        self.begins.get(usize::from(b)).copied().flatten()
    }

    /// True for what stands between values.
    fn divides(&self, b: u8) -> bool {
        self.divides.get(usize::from(b)).copied().unwrap_or_default()
    }
}

/// `OBX[2]`, and `OBX` for the first.
pub(super) fn name_of(segment: &Segment<'_>) -> Text {
    match segment.occurrence {
        1 => Text::new(segment.name),
        n => format_smolstr!("{}[{n}]", segment.name),
    }
}

/// Where the first `at` stands: values are so short that a look at each byte is the quickest, but for the few that are not.
fn position(text: &[u8], at: u8) -> Option<usize> {
    const SHORT: usize = 24;
    match text.split_at_checked(SHORT) {
        None => text.iter().position(|b| *b == at),
        Some((start, rest)) => {
            start.iter().position(|b| *b == at).or_else(|| memchr(at, rest).map(|found| found + SHORT))
        }
    }
}

/// What stands between the `at`s of `text`; 0 cuts nothing.
fn pieces(text: &str, at: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = if at == 0 { None } else { position(text.as_bytes(), at) };
        rest = end.and_then(|end| text.get(end + 1..));
        text.get(..end.unwrap_or(text.len()))
    })
}

/// Piece `n`, from 0, between two `at`s.
fn nth(text: &str, at: u8, n: usize) -> &str {
    let mut rest = text;
    for _ in 0..n {
        match position(rest.as_bytes(), at) {
            Some(i) => rest = rest.get(i + 1..).unwrap_or_default(),
            None => return rest.get(rest.len()..).unwrap_or_default(),
        }
    }
    let end = position(rest.as_bytes(), at).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}
