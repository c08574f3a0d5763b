//! The delimiters that a message declares in MSH-1 and MSH-2.

use crate::Fault;

/// MSH-1 and MSH-2 (HL7 v2.9 §2.5.4): each a single ASCII character, all different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    /// Between fields: MSH-1, most often `|`.
    pub field: u8,
    /// Between components, most often `^`.
    pub component: u8,
    /// Between repetitions, most often `~`.
    pub repetition: u8,
    /// Begins and ends an escape sequence, most often `\`; `None` where the sender declares none.
    pub escape: Option<u8>,
    /// Between subcomponents, most often `&`; `None` where the sender declares none.
    pub subcomponent: Option<u8>,
    /// Marks a truncated value since v2.7, most often `#`.
    pub truncation: Option<u8>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self {
            field: b'|',
            component: b'^',
            repetition: b'~',
            escape: Some(b'\\'),
            subcomponent: Some(b'&'),
            truncation: None,
        }
    }
}

impl Delimiters {
    /// Reads MSH-1 and MSH-2 from a header segment's text, `MSH|^~\&|…` (also `FHS`, `BHS`).
    ///
    /// MSH-2 may have one to five characters: senders leave out what they never use, or put a blank there. A doubled
    /// escape character counts once.
    ///
    /// # Errors
    ///
    /// A [`Fault`] at `MSH-1` or `MSH-2` if there is none, or if it cannot be told apart.
    pub fn read(header: &[u8]) -> Result<Self, Fault> {
        let fault = |location: &str, text: &str| Fault::new(102, location.to_owned(), text);
        let field = *header.get(3).ok_or_else(|| fault("MSH-1", "the header segment ends after its name"))?;
        if !is_delimiter(field) {
            return Err(fault("MSH-1", "the field separator is a letter, a digit or no printable character"));
        }
        let rest = header.get(4..).unwrap_or_default();
        let end = rest.iter().position(|&b| b == field || b == b'\r' || b == b'\n').unwrap_or(rest.len());
        let encoding = rest.get(..end).unwrap_or_default();
        let mut declared = [0; 6];
        let count = declared.iter_mut().zip(undoubled(encoding)).map(|(slot, b)| *slot = b).count();
        let declared = declared.get(..count).unwrap_or_default();
        if declared.is_empty() || declared.len() > 5 {
            return Err(fault("MSH-2", "one to five encoding characters are expected, such as ^~\\&"));
        }
        let distinct = declared.iter().enumerate().all(|(i, b)| {
            let blank = *b == b' ' && i > 0;
            blank || is_delimiter(*b) && !declared.iter().skip(i + 1).any(|other| other == b)
        });
        if !distinct {
            return Err(fault("MSH-2", "the encoding characters must be printable, no letters, and all different"));
        }
        Ok(Self::of(field, declared))
    }

    /// As [`Delimiters::read`], but with the usual characters where the declared ones cannot be used.
    #[must_use]
    pub fn read_leniently(header: &[u8]) -> Self {
        Self::read(header).unwrap_or_else(|_| match header.get(3) {
            Some(&field) if is_delimiter(field) && !b"^~\\&".contains(&field) => Self { field, ..Self::default() },
            _ => Self::default(),
        })
    }

    fn of(field: u8, encoding: &[u8]) -> Self {
        let at = |i: usize| encoding.get(i).copied().filter(|b| *b != b' ');
        // With fewer than two characters the repetition separator is what everybody uses, if still free.
        let usual = Some(b'~').filter(|b| *b != field && !encoding.contains(b));
        Self {
            field,
            component: at(0).unwrap_or(b'^'),
            repetition: at(1).or(usual).unwrap_or(0),
            escape: at(2),
            subcomponent: at(3),
            truncation: at(4),
        }
    }

    /// MSH-2 for these delimiters: `^~\&`, and `#` where one is declared.
    #[must_use]
    pub fn encoding_characters(&self) -> String {
        let repetition = Some(self.repetition).filter(|b| *b != 0);
        let all = [Some(self.component), repetition, self.escape, self.subcomponent, self.truncation];
        let text: String = all.into_iter().map(|b| b.map_or(' ', char::from)).collect();
        text.trim_end().to_owned()
    }
}

/// MSH-2 with the second of two escape characters left out: programs that escape it once too often write `^~\\&`.
fn undoubled(encoding: &[u8]) -> impl Iterator<Item = u8> {
    let doubled = encoding.get(2).is_some_and(|escape| encoding.get(3) == Some(escape));
    encoding.iter().copied().enumerate().filter(move |(i, _)| !(doubled && *i == 3)).map(|(_, b)| b)
}

/// Printable ASCII, but no letter, digit or blank.
fn is_delimiter(b: u8) -> bool {
    b.is_ascii_punctuation()
}
