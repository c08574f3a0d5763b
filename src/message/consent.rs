//! What a message may be used for, and whether a recipient may have it.
//!
//! This is the seam for the whole consent model: [`decide`] is a pure function over a snapshot,
//! called again immediately before every attempt. Today it knows the purposes that a channel and
//! the message's source allow.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A purpose of use: a code of ActReason (`http://terminology.hl7.org/CodeSystem/v3-ActReason`),
/// such as `TREAT`, `HPAYMT`, `HOPERAT`, `HRESCH`, `ETREAT`, `PUBHLTH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Purpose(String);

impl Purpose {
    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0
    }
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
}

/// The consent flags of a message: in which context it may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// The purposes it may be used for; `None` where neither channel nor message restricts them.
    pub purposes: Option<BTreeSet<Purpose>>,
    /// How confidential it is.
    pub confidentiality: Confidentiality,
    /// MSH-11 is not `P`: training or debugging data, which no production destination takes.
    pub test_data: bool,
}

impl Flags {
    /// Allows no more than `purposes`: what was allowed before and is allowed now, both.
    pub fn restrict(&mut self, purposes: &BTreeSet<Purpose>) {
        self.purposes = Some(match self.purposes.take() {
            Some(before) => before.intersection(purposes).cloned().collect(),
            None => purposes.clone(),
        });
    }

    /// Raises the confidentiality to `to`, if that is higher.
    pub fn raise(&mut self, to: Confidentiality) {
        self.confidentiality = self.confidentiality.max(to);
    }
}

/// What a route asks: may this recipient have it, for these purposes?
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The recipient: its key in `providers.toml`.
    pub recipient: &'a str,
    /// What the recipient will use it for; all of them must be allowed.
    pub purposes: &'a BTreeSet<Purpose>,
    /// True for a destination that real care depends on: test data never goes there.
    pub production: bool,
    /// The highest confidentiality that the destination may be sent.
    pub clearance: Confidentiality,
}

/// Whether a message may go, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// It may go as it is.
    Permit,
    /// It waits, with the reason a privacy officer reads.
    Hold {
        /// What forbids it and what would change that.
        reason: String,
    },
}

/// Decides whether `request` may have a message with `flags`. Pure; decided again at every attempt.
#[must_use]
pub fn decide(request: &Request<'_>, flags: &Flags) -> Decision {
    let hold = |reason: String| Decision::Hold { reason };
    if flags.test_data && request.production {
        return hold("it is test data (MSH-11 is not P) and the destination is marked production".into());
    }
    if flags.confidentiality > request.clearance {
        return hold(format!(
            "its confidentiality is {}, the destination is cleared for {}",
            flags.confidentiality.code(),
            request.clearance.code()
        ));
    }
    let Some(allowed) = &flags.purposes else { return Decision::Permit };
    let refused: Vec<_> = request.purposes.difference(allowed).map(Purpose::code).collect();
    if refused.is_empty() {
        return Decision::Permit;
    }
    let allowed: Vec<_> = allowed.iter().map(Purpose::code).collect();
    hold(format!("purpose {} is not among those allowed ({})", refused.join(", "), allowed.join(", ")))
}
