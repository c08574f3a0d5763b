//! Cutting text at delimiters: ASCII bytes, so that UTF-8 is never cut within a character.

/// The pieces between two `at`s; zero cuts nothing. One empty piece where nothing stands.
pub(super) fn split(text: &str, at: u8) -> Pieces<'_> {
    Pieces { rest: Some(text), at }
}

/// See [`split`].
#[derive(Clone)]
pub(super) struct Pieces<'a> {
    rest: Option<&'a str>,
    at: u8,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let end = if self.at == 0 { None } else { memchr::memchr(self.at, text.as_bytes()) };
        let Some(end) = end else { return self.rest.take() };
        self.rest = text.get(end + 1..);
        text.get(..end)
    }
}

/// Piece `nth` (from 0) between two `at`s; empty past the end.
pub(super) fn nth_between(text: &str, at: u8, nth: usize) -> &str {
    let (start, end) = span_between(text.as_bytes(), at, nth);
    text.get(start..end).unwrap_or_default()
}

/// As [`nth_between`], in bytes.
pub(super) fn bytes_between(bytes: &[u8], at: u8, nth: usize) -> &[u8] {
    let (start, end) = span_between(bytes, at, nth);
    bytes.get(start..end).unwrap_or_default()
}

fn span_between(bytes: &[u8], at: u8, nth: usize) -> (usize, usize) {
    if at == 0 {
        return if nth == 0 { (0, bytes.len()) } else { (0, 0) };
    }
    let Some(start) = after_nth(bytes, at, nth) else { return (0, 0) };
    let rest = bytes.get(start..).unwrap_or_default();
    (start, memchr::memchr(at, rest).map_or(bytes.len(), |i| start + i))
}

/// Where the text after the `nth` separator begins; 0 for the text before all of them.
///
/// Most fields are empty or short, so that a search for each separator would start again every few bytes; this
/// counts them, eight bytes at a time.
fn after_nth(bytes: &[u8], at: u8, nth: usize) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const LOW: u64 = u64::from_ne_bytes([0x7F; 8]);
    if nth == 0 {
        return Some(0);
    }
    let mut left = nth;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (i, chunk) in chunks.iter().enumerate() {
        let differs = u64::from_le_bytes(*chunk) ^ (u64::from(at) * ONES);
        // The high bit of each byte that is `at`, and of no other.
        let mut found = !(((differs & LOW) + LOW) | differs | LOW);
        let count = ((found >> 7).wrapping_mul(ONES) >> 56) as usize;
        if count < left {
            left -= count;
            continue;
        }
        for _ in 1..left {
            found &= found - 1;
        }
        return Some(i * 8 + found.trailing_zeros() as usize / 8 + 1);
    }
    let before = bytes.len() - rest.len();
    let last = rest.iter().enumerate().filter(|(_, b)| **b == at).nth(left - 1);
    last.map(|(i, _)| before + i + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_splitting_finds(text in "[|a\\x7fé~}]{0,40}", nth in 0usize..12) {
            let expected = text.split('|').nth(nth).unwrap_or_default();
            prop_assert_eq!(super::nth_between(&text, b'|', nth), expected);
            prop_assert_eq!(super::bytes_between(text.as_bytes(), b'|', nth), expected.as_bytes());
            prop_assert!(super::split(&text, b'|').eq(text.split('|')));
        }
    }
}
