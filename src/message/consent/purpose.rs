//! Purposes of use: codes of ActReason and how they lie within each other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The code system of purposes of use: HL7's v3-ActReason.
pub const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// The code system of what was done to data and how far it is trusted (integrity, assertion): HL7's v3-ObservationValue.
pub const OBSERVATION_VALUE: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

/// A purpose of use: a code of ActReason (`http://terminology.hl7.org/CodeSystem/v3-ActReason`),
/// such as `TREAT`, `HPAYMT`, `HOPERAT`, `HRESCH`, `ETREAT`, `PUBHLTH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Purpose(String);

/// A purpose that a broader one never covers: it must be allowed by its own name.
const NAMED_ONLY: &[&str] = &["MLTRAINING"];

/// Each purpose that lies within another, with that other (v3-ActReason 4.0.0), sorted by code.
const WITHIN: &[(&str, &str)] = &[
    ("BIORCH", "HRESCH"),
    ("BTG", "ETREAT"),
    ("CAREMGT", "HOPERAT"),
    ("CLINTRCH", "HRESCH"),
    ("CLINTRCHNPC", "CLINTRCH"),
    ("CLINTRCHPC", "CLINTRCH"),
    ("CLINTRL", "TREAT"),
    ("CLMATTCH", "HPAYMT"),
    ("COC", "TREAT"),
    ("COVAUTH", "HPAYMT"),
    ("COVERAGE", "HPAYMT"),
    ("DISASTER", "PUBHLTH"),
    ("DONAT", "HOPERAT"),
    ("DSRCH", "HRESCH"),
    ("ELIGDTRM", "COVERAGE"),
    ("ELIGVER", "COVERAGE"),
    ("ENROLLM", "COVERAGE"),
    ("ERTREAT", "ETREAT"),
    ("ETREAT", "TREAT"),
    ("FAMRQT", "PATRQT"),
    ("FRAUD", "HOPERAT"),
    ("GOV", "HOPERAT"),
    ("HACCRED", "HOPERAT"),
    ("HCOMPL", "HOPERAT"),
    ("HDECD", "HOPERAT"),
    ("HDIRECT", "HOPERAT"),
    ("HDM", "HOPERAT"),
    ("HLEGAL", "HOPERAT"),
    ("HOUTCOMS", "HOPERAT"),
    ("HPRGRP", "HOPERAT"),
    ("HQUALIMP", "HOPERAT"),
    ("HSYSADMIN", "HOPERAT"),
    ("HTEST", "SYSDEV"),
    ("LABELING", "HSYSADMIN"),
    ("MEMADMIN", "HOPERAT"),
    ("METAMGT", "HSYSADMIN"),
    ("MILCDM", "HOPERAT"),
    ("MILDCRG", "COVERAGE"),
    ("MLTRAINING", "HOPERAT"),
    ("PATADMIN", "HOPERAT"),
    ("PATSFTY", "HOPERAT"),
    ("PERFMSR", "HOPERAT"),
    ("PMTDS", "HPAYMT"),
    ("POARCH", "HRESCH"),
    ("POPHLTH", "TREAT"),
    ("PRECLINTRCH", "CLINTRCH"),
    ("PWATRNY", "PATRQT"),
    ("RECORDMGT", "HOPERAT"),
    ("REMITADV", "HPAYMT"),
    ("SUPNWK", "PATRQT"),
    ("SYSDEV", "HOPERAT"),
    ("THREAT", "PUBHLTH"),
    ("TRAIN", "HOPERAT"),
    ("TRANSRCH", "HRESCH"),
    ("TREATDS", "TREAT"),
];

impl Purpose {
    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0
    }

    /// The codes of HL7's value set PurposeOfUse, some of them more than once. A site may use others.
    pub fn known() -> impl Iterator<Item = &'static str> {
        WITHIN.iter().flat_map(|(code, within)| [*code, *within]).chain(["HMARKT"])
    }

    /// True if what is allowed for this purpose is allowed for `other`: the same, or one within it
    /// (`TREAT` covers `ETREAT`). Model training (`MLTRAINING`) is covered by its own name alone.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let named_only = NAMED_ONLY.contains(&other.code());
        !named_only && std::iter::successors(parent(other.code()), |code| parent(code)).any(|code| code == self.0)
    }
}

/// The purpose that `code` lies within.
fn parent(code: &str) -> Option<&'static str> {
    let at = WITHIN.binary_search_by_key(&code, |(child, _)| child).ok()?;
    WITHIN.get(at).map(|(_, parent)| *parent)
}

/// What both sets allow: of two purposes where one covers the other, the narrower one.
#[must_use]
pub fn common(one: &BTreeSet<Purpose>, other: &BTreeSet<Purpose>) -> BTreeSet<Purpose> {
    let covered = |purposes: &BTreeSet<Purpose>, by: &BTreeSet<Purpose>| {
        purposes.iter().filter(|purpose| by.iter().any(|broader| broader.covers(purpose))).cloned().collect()
    };
    let mut both: BTreeSet<Purpose> = covered(one, other);
    both.append(&mut covered(other, one));
    both
}

impl TryFrom<String> for Purpose {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        let known = code.len() >= 2 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if known { Ok(Self(code)) } else { Err(format!("`{code}` is no ActReason code; write it like `TREAT`")) }
    }
}

impl From<Purpose> for String {
    fn from(purpose: Purpose) -> Self {
        purpose.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(codes: &str) -> BTreeSet<Purpose> {
        codes.split_whitespace().map(|code| Purpose::try_from(code.to_owned()).unwrap()).collect()
    }

    #[track_caller]
    fn check(one: &str, other: &str, both: &str) {
        assert_eq!(common(&set(one), &set(other)), set(both));
        assert_eq!(common(&set(other), &set(one)), set(both));
    }

    #[test]
    fn keeps_what_both_allow() {
        check("TREAT HPAYMT", "TREAT HOPERAT", "TREAT");
    }

    #[test]
    fn keeps_the_narrower_of_two_that_lie_within_each_other() {
        check("TREAT", "BTG HPAYMT", "BTG");
    }

    #[test]
    fn leaves_nothing_where_nothing_is_common() {
        check("HRESCH", "TREAT", "");
    }

    /// An operations permission would admit model training by inheritance.
    #[test]
    fn allows_model_training_by_its_own_name_alone() {
        check("HOPERAT", "MLTRAINING", "");
        check("HOPERAT MLTRAINING", "MLTRAINING", "MLTRAINING");
        check("HOPERAT", "HTEST", "HTEST");
    }

    #[test]
    fn finds_every_parent() {
        assert!(WITHIN.is_sorted());
        assert!(WITHIN.iter().all(|(child, within)| parent(child) == Some(within)));
    }

    #[test]
    fn refuses_what_is_no_code() {
        let error = Purpose::try_from("treatment".to_owned()).unwrap_err();
        assert_eq!(error, "`treatment` is no ActReason code; write it like `TREAT`");
    }
}
