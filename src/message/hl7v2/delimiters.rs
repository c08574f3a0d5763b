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
        if !field.is_ascii_graphic() || field.is_ascii_alphanumeric() {
            return Err(fault("MSH-1", "the field separator is a letter, a digit or no printable character"));
        }
        let rest = header.get(4..).unwrap_or_default();
        let end = rest.iter().position(|&b| b == field || b == b'\r' || b == b'\n').unwrap_or(rest.len());
        let encoding = rest.get(..end).unwrap_or_default();
        if encoding.is_empty() || encoding.len() > 5 {
            return Err(fault("MSH-2", "one to five encoding characters are expected, such as ^~\\&"));
        }
        let distinct = encoding.iter().enumerate().all(|(i, b)| {
            b.is_ascii_graphic() && !b.is_ascii_alphanumeric() && !encoding.iter().skip(i + 1).any(|other| other == b)
        });
        if !distinct {
            return Err(fault("MSH-2", "the encoding characters must be printable, no letters, and all different"));
        }
        let at = |i: usize| encoding.get(i).copied();
        let default = Self::default();
        let unless_taken = |b: u8| Some(b).filter(|b| *b != field && !encoding.contains(b));
        Ok(Self {
            field,
            component: at(0).unwrap_or(default.component),
            // With fewer characters than four the rest is what everybody uses, where still free.
            repetition: at(1).or_else(|| unless_taken(b'~')).unwrap_or(0),
            escape: at(2),
            subcomponent: at(3),
            truncation: at(4),
        })
    }
}
