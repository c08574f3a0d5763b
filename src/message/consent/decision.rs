//! The decision: may this recipient have this message, for these purposes, now?
//!
//! Callers hand in a [`Request`] and the [`Evidence`], and act on the [`Decision`]. A richer model
//! (consents on file, deployment policies, decisions by entry) is more evidence and more layers.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Confidentiality, Flags, Purpose};

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

/// What a decision rests on, all looked up beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What the message's source and its channel say of its use.
    pub flags: &'a Flags,
}

impl<'a> From<&'a Flags> for Evidence<'a> {
    fn from(flags: &'a Flags) -> Self {
        Self { flags }
    }
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

/// A decision and how it came about, for a privacy officer. Names codes, never values of the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was decided.
    pub decision: Decision,
    /// What each layer said, in the order that they are asked.
    pub lines: Vec<Line>,
}

/// What one layer said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The layer.
    pub layer: Layer,
    /// False if it forbids the delivery.
    pub permits: bool,
    /// Why, and what would change it.
    pub text: String,
}

/// What is asked, in this order; all must permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Training and debugging data stays away from real care.
    TestData,
    /// The route's purposes lie within those that the channel and the message allow.
    Purpose,
    /// The destination is cleared for data this confidential.
    Confidentiality,
    /// No label forbids passing the data on without the patient's consent.
    Refrain,
}

/// Decides whether `request` may have what `evidence` describes. Pure; decided again at every attempt.
#[must_use]
pub fn decide<'a>(request: &Request<'_>, evidence: impl Into<Evidence<'a>>) -> Decision {
    explain(request, evidence).decision
}

/// As [`decide`], with what each layer said.
#[must_use]
pub fn explain<'a>(request: &Request<'_>, evidence: impl Into<Evidence<'a>>) -> Explanation {
    let Evidence { flags } = evidence.into();
    let lines =
        vec![test_data(request, flags), purpose(request, flags), confidentiality(request, flags), refrain(flags)];
    let refusals: Vec<&str> = lines.iter().filter(|line| !line.permits).map(|line| line.text.as_str()).collect();
    let decision = if refusals.is_empty() { Decision::Permit } else { Decision::Hold { reason: refusals.join("; ") } };
    Explanation { decision, lines }
}

fn permits(layer: Layer, text: impl Into<String>) -> Line {
    Line { layer, permits: true, text: text.into() }
}

fn forbids(layer: Layer, text: String) -> Line {
    Line { layer, permits: false, text }
}

fn test_data(request: &Request<'_>, flags: &Flags) -> Line {
    match (flags.test_data, request.production) {
        (false, _) => permits(Layer::TestData, "it is production data"),
        (true, false) => permits(Layer::TestData, "it is test data and the destination is not for production"),
        (true, true) => forbids(
            Layer::TestData,
            "it is test data (MSH-11 is not P, or it is labelled HTEST) and the destination is marked production: \
             send it to a destination for tests"
                .to_owned(),
        ),
    }
}

fn purpose(request: &Request<'_>, flags: &Flags) -> Line {
    let Some(allowed) = &flags.purposes else {
        return permits(Layer::Purpose, "neither its channel nor its source restricts its use");
    };
    let listed = codes(allowed);
    if request.purposes.is_empty() {
        return forbids(
            Layer::Purpose,
            format!("it may be used for {listed} only and the route names no purpose: set the route's `purpose`"),
        );
    }
    let is_allowed = |asked: &&Purpose| allowed.iter().any(|purpose| purpose.covers(asked));
    let refused: BTreeSet<Purpose> = request.purposes.iter().filter(|asked| !is_allowed(asked)).cloned().collect();
    if refused.is_empty() {
        return permits(Layer::Purpose, format!("{} lies within what is allowed: {listed}", codes(request.purposes)));
    }
    forbids(
        Layer::Purpose,
        format!(
            "purpose {} is not among those allowed ({listed}): allow it in the channel's `purposes`, or have the \
             sender lift its restriction",
            codes(&refused)
        ),
    )
}

fn codes(purposes: &BTreeSet<Purpose>) -> String {
    let listed: Vec<&str> = purposes.iter().map(Purpose::code).collect();
    if listed.is_empty() { "nothing".to_owned() } else { listed.join(", ") }
}

fn confidentiality(request: &Request<'_>, flags: &Flags) -> Line {
    let (level, clearance) = (flags.confidentiality.code(), request.clearance.code());
    if flags.confidentiality > request.clearance {
        return forbids(
            Layer::Confidentiality,
            format!(
                "its confidentiality is {level} and the destination is cleared for {clearance}: raise the \
                 destination's `clearance` if {} may have it",
                request.recipient
            ),
        );
    }
    permits(
        Layer::Confidentiality,
        format!("its confidentiality is {level}, the destination is cleared for {clearance}"),
    )
}

fn refrain(flags: &Flags) -> Line {
    if flags.refrain.is_empty() {
        return permits(Layer::Refrain, "no label forbids passing it on");
    }
    let labels: Vec<&str> = flags.refrain.iter().map(String::as_str).collect();
    forbids(
        Layer::Refrain,
        format!(
            "it is labelled {}: it may be passed on with the patient's consent only; have the sender lift the label \
             when it has that consent",
            labels.join(", ")
        ),
    )
}

/// One line a layer, the decision first.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.decision {
            Decision::Permit => "permitted",
            Decision::Hold { .. } => "held",
        })?;
        self.lines.iter().try_for_each(|line| {
            let verdict = if line.permits { "permits" } else { "forbids" };
            write!(f, "\n  {} {verdict}: {}", line.layer, line.text)
        })
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TestData => "test data",
            Self::Purpose => "purpose",
            Self::Confidentiality => "confidentiality",
            Self::Refrain => "refrain labels",
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn purposes(codes: &str) -> BTreeSet<Purpose> {
        codes.split_whitespace().map(|code| Purpose::try_from(code.to_owned()).unwrap()).collect()
    }

    fn allowing(codes: &str) -> Flags {
        Flags { purposes: Some(purposes(codes)), ..Flags::default() }
    }

    /// Asks for `asked` on behalf of a production destination cleared for R.
    #[track_caller]
    fn check(asked: &str, flags: &Flags, expected: Expect) {
        let purposes = purposes(asked);
        let request = Request { recipient: "gp", purposes: &purposes, production: true, clearance: Confidentiality::R };
        let text = match decide(&request, flags) {
            Decision::Permit => "permit".to_owned(),
            Decision::Hold { reason } => reason,
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn permits_what_nothing_restricts() {
        check("TREAT", &Flags::default(), expect!["permit"]);
        check("", &Flags::default(), expect!["permit"]);
    }

    #[test]
    fn permits_a_purpose_within_an_allowed_one() {
        check("TREATDS", &allowing("TREAT"), expect!["permit"]);
    }

    #[test]
    fn holds_a_purpose_that_is_not_allowed() {
        check(
            "TREAT HRESCH",
            &allowing("HPAYMT TREAT"),
            expect![
                "purpose HRESCH is not among those allowed (HPAYMT, TREAT): allow it in the channel's `purposes`, or have the sender lift its restriction"
            ],
        );
    }

    #[test]
    fn holds_a_purpose_broader_than_the_allowed_one() {
        check(
            "TREAT",
            &allowing("ETREAT"),
            expect![
                "purpose TREAT is not among those allowed (ETREAT): allow it in the channel's `purposes`, or have the sender lift its restriction"
            ],
        );
    }

    #[test]
    fn holds_everything_where_nothing_is_allowed() {
        check(
            "TREAT",
            &allowing(""),
            expect![
                "purpose TREAT is not among those allowed (nothing): allow it in the channel's `purposes`, or have the sender lift its restriction"
            ],
        );
    }

    #[test]
    fn holds_restricted_data_from_a_route_without_a_purpose() {
        check(
            "",
            &allowing("TREAT"),
            expect!["it may be used for TREAT only and the route names no purpose: set the route's `purpose`"],
        );
    }

    /// PI-11: test-tagged data never reaches a production destination.
    #[test]
    fn holds_test_data_from_production() {
        check(
            "TREAT",
            &Flags { test_data: true, ..Flags::default() },
            expect![
                "it is test data (MSH-11 is not P, or it is labelled HTEST) and the destination is marked production: send it to a destination for tests"
            ],
        );
    }

    #[test]
    fn permits_test_data_elsewhere() {
        let purposes = purposes("TREAT");
        let request =
            Request { recipient: "sandbox", purposes: &purposes, production: false, clearance: Confidentiality::N };
        assert_eq!(decide(&request, &Flags { test_data: true, ..Flags::default() }), Decision::Permit);
    }

    #[test]
    fn holds_what_is_above_the_clearance() {
        check("TREAT", &Flags { confidentiality: Confidentiality::R, ..Flags::default() }, expect!["permit"]);
        check(
            "TREAT",
            &Flags { confidentiality: Confidentiality::V, ..Flags::default() },
            expect![
                "its confidentiality is V and the destination is cleared for R: raise the destination's `clearance` if gp may have it"
            ],
        );
    }

    #[test]
    fn holds_what_may_not_be_passed_on_without_consent() {
        let mut flags = Flags::default();
        flags.refrain("NORDSCLCD");
        check(
            "TREAT",
            &flags,
            expect![
                "it is labelled NORDSCLCD: it may be passed on with the patient's consent only; have the sender lift the label when it has that consent"
            ],
        );
    }

    #[test]
    fn explains_every_layer_and_gives_every_reason() {
        let mut flags = allowing("TREAT");
        flags.test_data = true;
        let purposes = purposes("HMARKT");
        let request = Request { recipient: "gp", purposes: &purposes, production: true, clearance: Confidentiality::N };
        expect![[r#"
            held
              test data forbids: it is test data (MSH-11 is not P, or it is labelled HTEST) and the destination is marked production: send it to a destination for tests
              purpose forbids: purpose HMARKT is not among those allowed (TREAT): allow it in the channel's `purposes`, or have the sender lift its restriction
              confidentiality permits: its confidentiality is N, the destination is cleared for N
              refrain labels permits: no label forbids passing it on"#]]
        .assert_eq(&explain(&request, &flags).to_string());
    }
}
