//! What an external decision service answers (CDS Hooks, `patient-consent-consult`), and what it means.
//!
//! The service speaks for the patient's consent (layers 6 and 8) and never for the law: what the law
//! forbids stays forbidden unless a permit lifts it, and where it knows of no consent, the policy's
//! default answers. What it says that is not understood is no answer at all.

use std::sync::Arc;

use crate::json::{Text, Value};

use super::by_entry::{ACT_CODE, Coded, Effect, Entry, LabelKind, Terms};
use super::{CONFIDENTIALITY, Confidentiality};

/// Where resource types are codes.
const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";

/// What a decision service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It permits, but for what its obligations take out.
    Permit {
        /// Its evidence: a reference to a Consent, or the service's name.
        evidence: Arc<str>,
        /// What is taken out.
        redactions: Vec<Redaction>,
        /// What the recipient must do.
        obligations: Vec<String>,
    },
    /// It denies.
    Deny {
        /// Its evidence.
        evidence: Arc<str>,
    },
    /// It knows of no consent.
    NoConsent,
    /// It gives no sense: what it was asked about waits.
    Invalid,
}

/// What a `REDACT` obligation takes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// The codes.
    codes: Vec<Coded>,
    /// True if they are what stays.
    except: bool,
}

impl Answer {
    /// Reads the body of a response that came with a 2xx status.
    #[must_use]
    pub fn read(response: &Value) -> Self {
        let cards = response.get("cards").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        // Several cards are several answers: none of them can be the one.
        let [card] = cards else { return Self::Invalid };
        let Some(extension) = card.get("extension").filter(|extension| extension.is_object()) else {
            return Self::Invalid;
        };
        let decision = extension.get("decision").and_then(Value::as_str);
        let summary = card.get("summary").and_then(Value::as_str);
        let contradicts = decision.is_some()
            && summary.is_some_and(|s| s.starts_with("CONSENT_") || s == "NO_CONSENT")
            && summary != decision;
        if contradicts {
            return Self::Invalid;
        }
        let evidence = evidence(card, extension);
        match decision {
            Some("CONSENT_DENY") => Self::Deny { evidence },
            Some("NO_CONSENT") => Self::NoConsent,
            Some("CONSENT_PERMIT") => permit(extension, evidence),
            _ => Self::Invalid,
        }
    }

    /// What it means for `entry`; `None` where it leaves the answer to the policy's default.
    #[must_use]
    pub fn effect(&self, entry: &Entry, unlabelled: Confidentiality, terms: &Terms) -> Option<Effect> {
        match self {
            Self::Invalid => Some(Effect::Park),
            Self::NoConsent => None,
            Self::Deny { .. } => Some(Effect::Deny),
            Self::Permit { redactions, obligations, .. } => {
                // An obligation that is not known cannot be met.
                let known =
                    |code: &String| matches!(terms.kind(code), Some(LabelKind::Obligation | LabelKind::Refrain));
                let taken = !obligations.iter().all(known)
                    || redactions.iter().any(|redaction| redaction.takes(entry, unlabelled, terms));
                Some(if taken { Effect::Deny } else { Effect::Permit })
            }
        }
    }

    /// What the recipient must do.
    #[must_use]
    pub fn obligations(&self) -> &[String] {
        match self {
            Self::Permit { obligations, .. } => obligations,
            _ => &[],
        }
    }

    /// Its evidence.
    #[must_use]
    pub fn evidence(&self) -> Option<&Arc<str>> {
        match self {
            Self::Permit { evidence, .. } | Self::Deny { evidence } => Some(evidence),
            Self::NoConsent | Self::Invalid => None,
        }
    }
}

/// `basedOn`, as a text, a Reference or the first of a list; the service's label where it gives none.
fn evidence(card: &Value, extension: &Value) -> Arc<str> {
    let based = extension.get("basedOn");
    let first = based.and_then(Value::as_array).and_then(|list| list.first()).or(based);
    let reference = first.and_then(|based| based.as_str().or_else(|| based.get("reference")?.as_str()));
    let label = card.get("source").and_then(|source| source.get("label")?.as_str());
    reference.or(label).unwrap_or("decision-service").into()
}

fn permit(extension: &Value, evidence: Arc<str>) -> Answer {
    let obligations = match extension.get("obligations") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(obligations)) => obligations,
        Some(_) => return Answer::Invalid,
    };
    let (mut redactions, mut others) = (Vec::new(), Vec::new());
    for obligation in obligations {
        let Some(id) = obligation.get("id").and_then(Coded::of) else { return Answer::Invalid };
        if &*id.system != ACT_CODE {
            return Answer::Deny { evidence };
        }
        if &*id.code != "REDACT" {
            others.push(id.code.into());
            continue;
        }
        match Redaction::read(obligation.get("parameters").unwrap_or(&Value::Null)) {
            Some(more) => redactions.extend(more),
            None => return Answer::Deny { evidence },
        }
    }
    Answer::Permit { evidence, redactions, obligations: others }
}

impl Redaction {
    /// `codes` and `exceptAnyOfCodes`; `None` where they say nothing that can be done.
    fn read(parameters: &Value) -> Option<Vec<Self>> {
        let members = parameters.as_object().filter(|members| !members.is_empty())?;
        let redaction = |(key, value): (&Text, &Value)| {
            let except = match key.as_str() {
                "codes" => false,
                "exceptAnyOfCodes" => true,
                _ => return None,
            };
            let codes = value.as_array()?.iter().map(Coded::of).collect::<Option<Vec<_>>>()?;
            Some(Self { codes, except })
        };
        members.iter().map(redaction).collect()
    }

    fn takes(&self, entry: &Entry, unlabelled: Confidentiality, terms: &Terms) -> bool {
        let level = entry.confidentiality.unwrap_or(unlabelled);
        self.except != self.codes.iter().any(|code| self.carries(entry, code, level, terms))
    }

    /// Whether the entry is of this code. What is taken out at R is also taken out at V; what stays at R
    /// also stays below.
    fn carries(&self, entry: &Entry, rule: &Coded, level: Confidentiality, terms: &Terms) -> bool {
        match &*rule.system {
            CONFIDENTIALITY => Confidentiality::from_code(&rule.code)
                .is_none_or(|listed| if self.except { level <= listed } else { level >= listed }),
            RESOURCE_TYPES => *entry.kind == *rule.code,
            ACT_CODE => {
                entry.labels.iter().any(|label| label == &rule.code || terms.sensitivity(label).contains(&rule.code))
            }
            _ => entry.has_code(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[track_caller]
    fn is_invalid(response: &Value) {
        assert_eq!(Answer::read(response), Answer::Invalid, "{response}");
    }

    fn card(extension: &Value) -> Value {
        json!({ "cards": [{ "summary": extension["decision"], "extension": extension }] })
    }

    #[test]
    fn what_gives_no_sense_is_no_answer() {
        is_invalid(&json!(null));
        is_invalid(&json!({ "cards": [] }));
        is_invalid(&json!({ "cards": [{ "summary": "CONSENT_PERMIT" }] }));
        is_invalid(&card(&json!({ "decision": "SURE" })));
        let permit = card(&json!({ "decision": "CONSENT_PERMIT" }));
        is_invalid(&json!({ "cards": [permit["cards"][0], permit["cards"][0]] }));
        is_invalid(&json!({ "cards": [{ "summary": "CONSENT_DENY", "extension": { "decision": "CONSENT_PERMIT" } }] }));
    }

    #[test]
    fn an_obligation_that_is_not_understood_denies() {
        let terms = Terms::shipped().unwrap();
        for id in [json!({ "system": ACT_CODE, "code": "DANCE" }), json!({ "system": "urn:x", "code": "REDACT" })] {
            let answer = Answer::read(&card(&json!({ "decision": "CONSENT_PERMIT", "obligations": [{ "id": id }] })));
            assert_eq!(answer.effect(&Entry::default(), Confidentiality::N, &terms), Some(Effect::Deny), "{answer:?}");
        }
        let empty = json!({ "id": { "system": ACT_CODE, "code": "REDACT" }, "parameters": {} });
        let answer = Answer::read(&card(&json!({ "decision": "CONSENT_PERMIT", "obligations": [empty] })));
        assert!(matches!(answer, Answer::Deny { .. }));
    }
}
