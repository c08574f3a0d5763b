//! The versions of HL7 v2 that we speak.

use std::fmt;
use std::str::FromStr;

/// A version of table 0104, from 2.1 to 2.9.1. Ordered by age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    minor: u8,
    patch: u8,
}

impl Version {
    /// Version 2.2, the last in which an ACK has no trigger event.
    pub const V2_2: Self = Self { minor: 2, patch: 0 };
    /// Version 2.3.1, the first with a message structure in MSH-9.3.
    pub const V2_3_1: Self = Self { minor: 3, patch: 1 };
    /// Version 2.5, the first whose ERR segment tells places and codes apart.
    pub const V2_5: Self = Self { minor: 5, patch: 0 };
    /// Version 2.5.1: what we answer in where the sender names no version that we know.
    pub const V2_5_1: Self = Self { minor: 5, patch: 1 };
    /// Version 2.7, the first without MSA-3 and with an MSH-10 of more than 20 characters.
    pub const V2_7: Self = Self { minor: 7, patch: 0 };
}

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let (minor, patch) = match text {
            "2.1" => (1, 0),
            "2.2" => (2, 0),
            "2.3" => (3, 0),
            "2.3.1" => (3, 1),
            "2.4" => (4, 0),
            "2.5" => (5, 0),
            "2.5.1" => (5, 1),
            "2.6" => (6, 0),
            "2.7" => (7, 0),
            "2.7.1" => (7, 1),
            "2.8" => (8, 0),
            "2.8.1" => (8, 1),
            "2.8.2" => (8, 2),
            "2.9" => (9, 0),
            "2.9.1" => (9, 1),
            _ => return Err(UnknownVersion),
        };
        Ok(Self { minor, patch })
    }
}

/// Not a version from 2.1 to 2.9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version of HL7 v2 from 2.1 to 2.9.1")]
pub struct UnknownVersion;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.minor)?;
        if self.patch > 0 { write!(f, ".{}", self.patch) } else { Ok(()) }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
