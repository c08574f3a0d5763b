//! Batches: FHS and BHS files, and several messages in a run, cut into messages as they came.
//!
//! HL7 v2.5.1 §2.10.3: `[FHS] { [BHS] { MSH … } [BTS] } [FTS]`. BTS-1 counts the messages of a batch, FTS-1 the
//! batches of a file. Nothing is dropped in silence: what belongs to no message is a problem with its place.

mod lines;

use std::ops::Range;

use bytes::Bytes;

use self::lines::{Line, lines};
use super::Delimiters;
use super::charset::Form;
use super::header::text_of;
use super::split::bytes_between;
use crate::Fault;

/// A file or frame, cut into messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    /// The messages in order: slices of the original, from MSH to the end of the last segment.
    pub messages: Vec<Bytes>,
    /// FHS, if there is one.
    pub file: Option<Envelope>,
    /// Each BHS.
    pub batches: Vec<Envelope>,
    /// What is wrong with the whole: counts that do not agree, lines that belong to no message, a missing end. The
    /// messages stand all the same.
    pub problems: Vec<Fault>,
}

/// What FHS or BHS says.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// FHS-11 or BHS-11.
    pub control_id: String,
    /// FHS-9 or BHS-9: its name or id.
    pub name: String,
    /// Fields 3 and 4 with a `|` between.
    pub sender: String,
    /// The messages within, by their place in [`Batch::messages`].
    pub messages: Range<usize>,
}

/// Prints counts only: messages are patient data.
impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (messages, batches, problems) = (self.messages.len(), self.batches.len(), &self.problems);
        write!(f, "Batch({messages} messages, {batches} batches, {problems:?})")
    }
}

/// Prints the range only.
impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Envelope({:?})", self.messages)
    }
}

impl Batch {
    /// Cuts `bytes` into messages; a single message is a batch of one. Framing bytes, byte order marks and blank
    /// lines between messages are passed over.
    #[must_use]
    pub fn split(bytes: &Bytes) -> Self {
        let (form, mark) = Form::sniff(bytes);
        let narrow = Narrow::of(bytes, form, mark);
        let mut splitter = Splitter::default();
        for line in lines(&narrow.text) {
            splitter.line(line);
        }
        splitter.finish(&narrow, bytes)
    }
}

/// One byte for each code unit, so that UTF-16 is cut as other texts are.
struct Narrow {
    text: Bytes,
    form: Form,
    mark: usize,
}

impl Narrow {
    fn of(bytes: &Bytes, form: Form, mark: usize) -> Self {
        let units = bytes.get(mark..).unwrap_or_default();
        let text = match form {
            Form::Bytes => bytes.slice(mark..),
            Form::Utf16Le | Form::Utf32Le => units.chunks(form.unit()).map(|unit| low(form, unit.iter())).collect(),
            Form::Utf16Be | Form::Utf32Be => {
                units.chunks(form.unit()).map(|unit| low(form, unit.iter().rev())).collect()
            }
        };
        Self { text, form, mark }
    }

    /// The original bytes of a range of the text.
    fn original(&self, range: &Range<usize>, bytes: &Bytes) -> Bytes {
        let at = |unit: usize| (self.mark + unit * self.form.unit()).min(bytes.len());
        bytes.slice(at(range.start)..at(range.end))
    }
}

/// A code unit as a byte, from its bytes in rising order: itself if it is whole and ASCII, else one that is no ASCII.
fn low<'a>(form: Form, mut unit: impl ExactSizeIterator<Item = &'a u8>) -> u8 {
    let whole = unit.len() == form.unit();
    let first = unit.next().copied().unwrap_or_default();
    if whole && first.is_ascii() && unit.all(|b| *b == 0) { first } else { 0xFF }
}

/// Where the splitter stands.
#[derive(Default, PartialEq, Eq)]
enum Place {
    /// Before, between or after: only FHS, BHS, MSH, BTS and FTS belong here.
    #[default]
    Outside,
    /// Right after FHS or BHS: SFT and UAC may follow.
    Header,
    /// Within the last message.
    Message,
}

#[derive(Default)]
struct Splitter {
    place: Place,
    messages: Vec<Range<usize>>,
    file: Option<Envelope>,
    batches: Vec<Envelope>,
    /// A BHS or FHS whose BTS or FTS has not come.
    open_batch: bool,
    open_file: bool,
    trailers: usize,
    /// The first message since the last BHS or BTS.
    since: usize,
    /// The number of the last line.
    last_line: usize,
    /// Whether the line before belonged nowhere either: one problem for a run of them.
    stray: bool,
    problems: Vec<Fault>,
}

impl Splitter {
    fn line(&mut self, line: Line<'_>) {
        let stray = std::mem::take(&mut self.stray);
        self.last_line = line.number;
        match line.shape() {
            Some(b"MSH") => {
                self.messages.push(line.start..line.end);
                self.place = Place::Message;
            }
            Some(b"FHS") => {
                self.file = Some(Envelope::read(&line, self.messages.len()));
                self.open_file = true;
                self.place = Place::Header;
            }
            Some(b"BHS") => {
                self.end_of_batch(line.number);
                self.since = self.messages.len();
                self.batches.push(Envelope::read(&line, self.messages.len()));
                self.open_batch = true;
                self.place = Place::Header;
            }
            Some(b"BTS") => self.batch_trailer(&line),
            Some(b"FTS") => self.file_trailer(&line),
            Some(_) if self.place == Place::Header => {}
            _ if self.place == Place::Message => {
                if let Some(last) = self.messages.last_mut() {
                    last.end = line.end;
                }
            }
            _ => {
                self.stray = true;
                if !stray {
                    let text = "what stands here belongs to no message; a message begins with MSH";
                    self.problems.push(Fault::new(100, format!("line {}", line.number), text));
                }
            }
        }
    }

    /// The messages of the batch that ends here: those since its BHS, or all since the last BTS.
    fn batch_trailer(&mut self, line: &Line<'_>) {
        if let Some(batch) = self.batches.last_mut().filter(|_| self.open_batch) {
            batch.messages.end = self.messages.len();
        }
        let counted = self.messages.len() - std::mem::replace(&mut self.since, self.messages.len());
        self.trailers += 1;
        self.open_batch = false;
        self.place = Place::Outside;
        self.check_count(line, "BTS", counted, "messages");
    }

    fn file_trailer(&mut self, line: &Line<'_>) {
        self.end_of_batch(line.number);
        if let Some(file) = &mut self.file {
            file.messages.end = self.messages.len();
        }
        self.open_file = false;
        self.place = Place::Outside;
        // A file of messages without BHS and BTS is one batch.
        let batches = self.batches.len().max(self.trailers).max(1);
        self.check_count(line, "FTS", batches, "batches");
    }

    /// A BHS without BTS ends where the next one, FTS or the file's end comes.
    fn end_of_batch(&mut self, line: usize) {
        if let Some(batch) = self.batches.last_mut().filter(|_| self.open_batch) {
            batch.messages.end = self.messages.len();
            let text = format!("a batch begins with BHS and has no BTS before line {line}; it may be cut short");
            self.problems.push(Fault::new(100, format!("BHS[{}]", self.batches.len()), text));
        }
        self.open_batch = false;
    }

    fn check_count(&mut self, line: &Line<'_>, name: &str, counted: usize, what: &str) {
        let field = line.text.get(3).copied().unwrap_or(b'|');
        let declared = text_of(bytes_between(line.text, field, 1).trim_ascii());
        let problem = match declared.parse::<usize>() {
            _ if declared.is_empty() => return,
            Ok(n) if n == counted => return,
            Ok(n) => format!("{name}-1 says {n}, but {what} counted: {counted}"),
            Err(_) => format!("{name}-1 is no number of {what}"),
        };
        self.problems.push(Fault::new(102, format!("{name}-1"), format!("{problem} (line {})", line.number)));
    }

    fn finish(mut self, narrow: &Narrow, bytes: &Bytes) -> Batch {
        self.end_of_batch(self.last_line + 1);
        if let Some(file) = self.file.as_mut().filter(|_| self.open_file) {
            file.messages.end = self.messages.len();
            let text = "the file begins with FHS and has no FTS; it may be cut short";
            self.problems.push(Fault::new(100, "FHS".to_owned(), text));
        }
        if self.messages.is_empty() {
            self.problems.push(Fault::new(100, "MSH".to_owned(), "there is no message; a message begins with MSH"));
        }
        let messages = self.messages.iter().map(|range| narrow.original(range, bytes)).collect();
        Batch { messages, file: self.file, batches: self.batches, problems: self.problems }
    }
}

impl Envelope {
    fn read(line: &Line<'_>, messages: usize) -> Self {
        let field = Delimiters::read_leniently(line.text).field;
        let value = |number: usize| text_of(bytes_between(line.text, field, number - 1).trim_ascii());
        let sender = format!("{}|{}", value(3), value(4));
        Self { control_id: value(11).into(), name: value(9).into(), sender, messages: messages..messages }
    }
}

#[cfg(test)]
mod tests;
