//! The consent flags of a message: in which context it may be used.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Purpose, common};

/// The code system of [`Confidentiality`]: HL7's v3-Confidentiality.
pub const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// The refrain policies (v3-ActCode) that forbid passing data on without the patient's consent:
/// what carries one of them waits until a consent is on file.
pub const REFRAIN: &[&str] = &["NOAUTH", "NODSCLCD", "NODSCLCDS", "NORDSCLCD", "NORDSCLCDS", "ORCON"];

/// How confidential (`http://terminology.hl7.org/CodeSystem/v3-Confidentiality`): only ever raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Confidentiality {
    /// Unrestricted.
    U,
    /// Low.
    L,
    /// Moderate.
    M,
    /// Normal: clinical data unless something says otherwise.
    #[default]
    N,
    /// Restricted.
    R,
    /// Very restricted.
    V,
}

impl Confidentiality {
    /// The code, such as `N`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::U => "U",
            Self::L => "L",
            Self::M => "M",
            Self::N => "N",
            Self::R => "R",
            Self::V => "V",
        }
    }

    /// The level that `code` names; `None` if it names none.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::U, Self::L, Self::M, Self::N, Self::R, Self::V].into_iter().find(|level| level.code() == code)
    }
}

/// The consent flags of a message: in which context it may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// The purposes it may be used for; `None` where neither channel nor message restricts them.
    pub purposes: Option<BTreeSet<Purpose>>,
    /// How confidential it is: the highest level of anything in it.
    pub confidentiality: Confidentiality,
    /// MSH-11 is not `P`, or something is labelled `HTEST`: training or debugging data, which no
    /// production destination takes.
    pub test_data: bool,
    /// The labels of [`REFRAIN`] on anything in it.
    #[serde(default)]
    pub refrain: BTreeSet<String>,
}

impl Flags {
    /// Allows no more than `purposes`: what was allowed before and is allowed now, both.
    pub fn restrict(&mut self, purposes: &BTreeSet<Purpose>) {
        self.purposes = Some(match self.purposes.take() {
            // As most often: every entry of a message says the same.
            Some(before) if before == *purposes => before,
            Some(before) => common(&before, purposes),
            None => purposes.clone(),
        });
    }

    /// Raises the confidentiality to `to`, if that is higher.
    pub fn raise(&mut self, to: Confidentiality) {
        self.confidentiality = self.confidentiality.max(to);
    }

    /// Takes on the ActCode label `code`, if it is one that forbids passing the data on.
    pub fn refrain(&mut self, code: &str) {
        if REFRAIN.contains(&code) && !self.refrain.contains(code) {
            self.refrain.insert(code.to_owned());
        }
    }

    /// Is afterwards at least as strict as both: the labels only ever rise.
    pub fn add(&mut self, other: &Self) {
        if let Some(purposes) = &other.purposes {
            self.restrict(purposes);
        }
        self.raise(other.confidentiality);
        self.test_data |= other.test_data;
        self.refrain.extend(other.refrain.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purposes(codes: &[&str]) -> BTreeSet<Purpose> {
        codes.iter().map(|code| Purpose::try_from((*code).to_owned()).unwrap()).collect()
    }

    #[test]
    fn takes_the_stricter_of_each() {
        let mut flags = Flags { confidentiality: Confidentiality::R, ..Flags::default() };
        flags.restrict(&purposes(&["TREAT", "HPAYMT"]));
        let mut other = Flags { test_data: true, ..Flags::default() };
        other.restrict(&purposes(&["TREAT"]));
        other.refrain("NORDSCLCD");
        flags.add(&other);
        assert_eq!(flags.purposes, Some(purposes(&["TREAT"])));
        assert_eq!(flags.confidentiality, Confidentiality::R);
        assert!(flags.test_data);
        assert!(flags.refrain.contains("NORDSCLCD"));
    }

    #[test]
    fn keeps_only_labels_that_forbid_passing_on() {
        let mut flags = Flags::default();
        flags.refrain("HIV");
        flags.refrain("NOVIP");
        assert!(flags.refrain.is_empty());
    }

    #[test]
    fn reads_back_what_it_writes() {
        for level in ["U", "L", "M", "N", "R", "V"] {
            assert_eq!(Confidentiality::from_code(level).unwrap().code(), level);
        }
        assert_eq!(Confidentiality::from_code("PSY"), None);
    }

    /// Records written before a field was added still read.
    #[test]
    fn reads_flags_without_refrain_labels() {
        let flags: Flags =
            serde_json::from_str(r#"{"purposes":null,"confidentiality":"N","test_data":false}"#).unwrap();
        assert_eq!(flags, Flags::default());
    }
}
