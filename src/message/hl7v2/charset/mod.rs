//! Character sets: what MSH-18 (table 0211) names, how bytes become text, and text bytes.

mod decode;
mod names;
mod unicode;

pub(super) use decode::untangle;
pub use decode::{CharsetOptions, Decoded, Undecodable, decode};
pub use names::UnknownCharset;
pub use unicode::Form;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};

/// A character set that we read. In the configuration and in MSH-18 by its name of table 0211, by its usual names
/// besides, or by a name that browsers know: `"UNICODE UTF-8"`, `"8859/1"`, `"windows-1252"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Charset {
    /// ASCII, ISO IR6.
    Ascii,
    /// 8859/1, true to the letter: 0x80 to 0x9F are control characters, not those of windows-1252.
    Latin1,
    /// 8859/9, likewise.
    Latin5,
    /// UNICODE UTF-8.
    #[default]
    Utf8,
    /// UNICODE, UNICODE UTF-16 or UNICODE UTF-32: the bytes tell which.
    Unicode,
    /// ISO IR14, ISO IR87, ISO IR159: with escape sequences (ISO 2022), or in eight bits without.
    Japanese,
    /// Any other that the Encoding Standard has: 8859/2 and so on, GB 18030-2000, KS X 1001, BIG-5.
    Other(&'static Encoding),
}

impl Charset {
    /// True if a byte of an ASCII delimiter can be part of another character.
    #[must_use]
    pub fn hides_delimiters(self) -> bool {
        match self {
            Self::Ascii | Self::Latin1 | Self::Latin5 | Self::Utf8 => false,
            Self::Unicode | Self::Japanese => true,
            Self::Other(encoding) => !encoding.is_single_byte(),
        }
    }

    /// `text` in this character set; what it cannot say becomes `?`. For our own words, and for what was read from
    /// this very character set. [`Charset::Unicode`] gives UTF-8: see [`Form::encode`].
    #[must_use]
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 | Self::Unicode => text.as_bytes().to_vec(),
            Self::Ascii => each(text, |c| c.is_ascii().then_some(c as u8)),
            Self::Latin1 => each(text, |c| u8::try_from(c).ok()),
            Self::Latin5 => each(text, decode::latin5_byte),
            Self::Japanese => with_marks(encoding_rs::ISO_2022_JP, text),
            Self::Other(encoding) => with_marks(encoding, text),
        }
    }
}

fn each(text: &str, byte: impl Fn(char) -> Option<u8>) -> Vec<u8> {
    text.chars().map(|c| byte(c).unwrap_or(b'?')).collect()
}

fn with_marks(encoding: &'static Encoding, text: &str) -> Vec<u8> {
    let (bytes, _, unsayable) = encoding.encode(text);
    if !unsayable {
        return bytes.into_owned();
    }
    // The encoder would write `&#8217;` for such a character, and `&` and `#` are delimiters.
    let sayable = |c: &char| !encoding.encode(c.encode_utf8(&mut [0; 4])).2;
    let marked: String = text.chars().map(|c| if sayable(&c) { c } else { '?' }).collect();
    encoding.encode(&marked).0.into_owned()
}

#[cfg(test)]
mod tests;
