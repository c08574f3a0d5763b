//! The names of things that are stored: messages, deliveries and their bytes.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One accepted message: a UUIDv7, so that ids sort by receipt time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// An id for a message received at `now`, unique through `random`.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The sixteen bytes of the UUID, most significant first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// The SHA-256 of a message's original bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let mut out = [0; 32];
        out.copy_from_slice(digest.as_ref());
        Self(out)
    }

    /// As an RFC 6920 name: `ni:///sha-256;` and the digest in base64url without padding.
    #[must_use]
    pub fn to_ni_uri(self) -> String {
        use base64::Engine as _;
        format!("ni:///sha-256;{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Sha256 {
    /// Reads what [`Sha256::to_ni_uri`] writes.
    #[must_use]
    pub fn from_ni_uri(text: &str) -> Option<Self> {
        use base64::Engine as _;
        let digest = text.strip_prefix("ni:///sha-256;")?;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(digest).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// Reads sixty-four hexadecimal digits.
impl FromStr for Sha256 {
    type Err = NotSha256;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut out, digits) = ([0; 32], text.as_bytes());
        let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
            let [high, low] = pair else { return Err(NotSha256) };
            *byte = value(high).zip(value(low)).map(|(high, low)| high << 4 | low).ok_or(NotSha256)?;
        }
        if digits.len() == 64 { Ok(Self(out)) } else { Err(NotSha256) }
    }
}

/// A text is not sixty-four hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256: sixty-four hexadecimal digits")]
pub struct NotSha256;

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
