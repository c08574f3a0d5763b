//! Character sets: what MSH-18 and table 0211 name, and how bytes become text.

mod unicode;

pub use unicode::Form;

/// `text` in the declared character set; what it cannot say becomes `?`. For our own words only.
pub(super) fn encode_or_mark(text: &str, declared: &str) -> Vec<u8> {
    let utf8 = declared.to_ascii_uppercase().contains("UTF");
    if utf8 || text.is_ascii() {
        return text.as_bytes().to_vec();
    }
    text.chars().map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?')).collect()
}
