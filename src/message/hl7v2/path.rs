//! A place in a message, written `PID-3[1].4.2`.

use std::fmt;
use std::str::FromStr;

use super::Message;

/// `SEG[n]-field[repetition].component.subcomponent`, all counted from 1; `PID.3.1` reads the same.
///
/// A part left out means the first segment and the first repetition, and the whole of what is
/// below: `PID-3` is the whole field with its repetitions, `PID-3[1]` its first repetition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The segment's name.
    pub segment: String,
    /// Which segment of that name; the first where `None`.
    pub occurrence: Option<usize>,
    /// The field; the whole segment where `None`.
    pub field: Option<usize>,
    /// The repetition; where `None`, all for a bare field and the first for a component.
    pub repetition: Option<usize>,
    /// The component.
    pub component: Option<usize>,
    /// The subcomponent.
    pub subcomponent: Option<usize>,
}

impl Path {
    /// The text at this place, escape sequences not undone; `None` where nothing stands.
    #[must_use]
    pub fn text_in<'a>(&self, message: &'a Message) -> Option<&'a str> {
        let nth = self.occurrence.unwrap_or(1).checked_sub(1)?;
        let segment = message.segments().filter(|s| s.name() == self.segment).nth(nth)?;
        let Some(field) = self.field else { return Some(segment.text()) };
        let field = segment.field(field);
        let text = match (self.repetition, self.component) {
            (None, None) => field.text(),
            (Some(n), None) => field.repetition(n).text(),
            (repetition, Some(component)) => {
                let component = field.repetition(repetition.unwrap_or(1)).component(component);
                self.subcomponent.map_or(component.text(), |n| component.subcomponent(n).text())
            }
        };
        Some(text).filter(|text| !text.is_empty())
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no HL7 path; write it like PID-3[1].4.2");
        let name_end = text.find(['-', '.', '[']).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(name_end);
        let named = name.len() == 3 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !named {
            return Err(wrong());
        }
        let occurrence = bracketed(&mut rest).map_err(|()| wrong())?;
        let mut path = Self {
            segment: name.to_owned(),
            occurrence,
            field: None,
            repetition: None,
            component: None,
            subcomponent: None,
        };
        path.field = numbered(&mut rest, &['-', '.']).map_err(|()| wrong())?;
        if path.field.is_some() {
            path.repetition = bracketed(&mut rest).map_err(|()| wrong())?;
            path.component = numbered(&mut rest, &['.', '-']).map_err(|()| wrong())?;
        }
        if path.component.is_some() {
            path.subcomponent = numbered(&mut rest, &['.', '-']).map_err(|()| wrong())?;
        }
        if rest.is_empty() { Ok(path) } else { Err(wrong()) }
    }
}

/// Takes `[n]` off the front.
fn bracketed(rest: &mut &str) -> Result<Option<usize>, ()> {
    let Some(inner) = rest.strip_prefix('[') else { return Ok(None) };
    let (number, after) = inner.split_once(']').ok_or(())?;
    *rest = after;
    number.parse().ok().filter(|n| *n > 0).map(Some).ok_or(())
}

/// Takes a mark and a number off the front.
fn numbered(rest: &mut &str, marks: &[char]) -> Result<Option<usize>, ()> {
    let Some(after) = rest.strip_prefix(marks) else { return Ok(None) };
    let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let (number, tail) = after.split_at(end);
    *rest = tail;
    number.parse().ok().filter(|n| *n > 0).map(Some).ok_or(())
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        if let Some(n) = self.occurrence {
            write!(f, "[{n}]")?;
        }
        if let Some(n) = self.field {
            write!(f, "-{n}")?;
        }
        if let Some(n) = self.repetition {
            write!(f, "[{n}]")?;
        }
        if let Some(n) = self.component {
            write!(f, ".{n}")?;
        }
        if let Some(n) = self.subcomponent {
            write!(f, ".{n}")?;
        }
        Ok(())
    }
}
