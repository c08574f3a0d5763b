//! A number: its digits, as they were written.

use std::fmt;
use std::str::FromStr;

use super::Text;

/// A JSON number (RFC 8259 §6) with all its digits: `0.010` stays `0.010`. Equal where written alike.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(Text);

/// Not a JSON number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no number")]
pub struct NoNumber;

impl Number {
    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its value where it is a whole number of that size, written as one.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// Its value where it is a whole number of that size, written as one, and not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// The nearest value that a computer works with.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

impl FromStr for Number {
    type Err = NoNumber;

    fn from_str(text: &str) -> Result<Self, NoNumber> {
        if is_number(text) { Ok(Self(Text::new(text))) } else { Err(NoNumber) }
    }
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn is_number(text: &str) -> bool {
    let mut rest = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let whole = digits(&mut rest);
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with(b"0")) {
        return false;
    }
    if let Some(after) = rest.strip_prefix(b".") {
        rest = after;
        if digits(&mut rest).is_empty() {
            return false;
        }
    }
    if let Some(after) = rest.strip_prefix(b"e").or(rest.strip_prefix(b"E")) {
        rest = after.strip_prefix(b"+").or(after.strip_prefix(b"-")).unwrap_or(after);
        if digits(&mut rest).is_empty() {
            return false;
        }
    }
    rest.is_empty()
}

/// Takes digits off the front.
fn digits<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    *rest = after;
    digits
}

macro_rules! whole {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Number {
            fn from(number: $kind) -> Self {
                Self(smol_str::ToSmolStr::to_smolstr(&number))
            }
        }
    )*};
}

whole!(i64, u64, i32, u32, usize);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
