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
    /// MSH-2 may have one to five characters: senders leave out what they never use.
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
        if encoding.is_empty() || encoding.len() > 5 {
            return Err(fault("MSH-2", "one to five encoding characters are expected, such as ^~\\&"));
        }
        let distinct = encoding
            .iter()
            .enumerate()
            .all(|(i, b)| is_delimiter(*b) && !encoding.iter().skip(i + 1).any(|other| other == b));
        if !distinct {
            return Err(fault("MSH-2", "the encoding characters must be printable, no letters, and all different"));
        }
        Ok(Self::of(field, encoding))
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
        let at = |i: usize| encoding.get(i).copied();
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
        let all = [Some(self.component), Some(self.repetition), self.escape, self.subcomponent, self.truncation];
        all.into_iter().map_while(|b| b.filter(|b| *b != 0)).map(char::from).collect()
    }
}

/// Printable ASCII, but no letter, digit or blank.
fn is_delimiter(b: u8) -> bool {
    b.is_ascii_punctuation()
}
