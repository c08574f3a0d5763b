//! A decision, told to a privacy officer: what decided, by which provision, and what would change it.
//! Names ids and codes, never values of the record.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::directive::{Directive, Mode, Node};
use super::policy::{Effect, Policy};
use super::request::Request;
use super::snapshot::Snapshot;
use super::terms::Terms;
use super::verdict::{Basis, Decision, Verdict};
use crate::json::Text;

/// Why an entry may go, may not go, or waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `permit`, `deny` or `park`.
    pub decision: &'static str,
    /// The entry.
    pub entry: String,
    /// The purpose that decided.
    pub purpose: String,
    /// The layer that answered, 1 to 10.
    pub layer: u8,
    /// By what: `consent:ID`, `mandatory-deny:RULE`, `default`, ….
    pub basis: String,
    /// The Consent with its version, where one decided or could not be computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// How that Consent was read: `tree` or `pcf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// The provisions, from the root to the one that decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// The sensitivity label that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the deciding provision asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<String>,
    /// The law that a mandatory rule cites.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cite: Option<String>,
    /// The policy.
    pub policy: String,
    /// The edition of the terminology.
    pub terms: String,
    /// Until when it holds if nothing new becomes known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// What would let the entry go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_permit: Vec<String>,
}

/// Explains each verdict of `decision`, which was taken from the same arguments.
#[must_use]
pub fn explain(
    decision: &Decision,
    request: &Request,
    consents: &Snapshot,
    policy: &Policy,
    terms: &Terms,
) -> Vec<Explanation> {
    let until = decision.valid_until.and_then(|at| Timestamp::from_microsecond(at).ok()).map(|at| at.to_string());
    let one = |verdict: &Verdict| {
        let directive = of_basis(&verdict.basis, consents);
        let line = directive.zip(verdict.path.as_deref()).map(|(directive, path)| line(directive, path));
        let line = line.unwrap_or_default();
        Explanation {
            decision: verdict.effect.code(),
            entry: verdict.reference.to_string(),
            purpose: verdict.purpose.to_string(),
            layer: verdict.layer,
            basis: verdict.basis.to_string(),
            consent: directive.map(named),
            mode: directive.map(|directive| if directive.mode == Mode::Pcf { "pcf" } else { "tree" }),
            path: match verdict.path.as_deref() {
                Some(path) if line.is_empty() => vec![path.to_owned()],
                _ => line.iter().map(|node| node.path.clone()).collect(),
            },
            label: verdict.label.as_deref().map(str::to_owned),
            matched: line.last().map(|node| stated(node)).unwrap_or_default(),
            cite: cite(&verdict.basis, policy),
            policy: policy.id.clone(),
            terms: terms.version.clone(),
            valid_until: until.clone(),
            would_permit: if verdict.effect == Effect::Permit {
                Vec::new()
            } else {
                would_permit(verdict, directive, line.last().copied(), request, policy)
            },
        }
    };
    decision.entries.iter().map(one).collect()
}

fn of_basis<'a>(basis: &Basis, consents: &'a Snapshot) -> Option<&'a Directive> {
    let (Basis::Consent(id) | Basis::Uncomputable(id)) = basis else { return None };
    consents.directives().iter().find(|directive| directive.id == *id)
}

fn named(directive: &Directive) -> String {
    match &directive.version {
        Some(version) => format!("Consent/{}/_history/{version}", directive.id),
        None => format!("Consent/{}", directive.id),
    }
}

/// The provisions from the root to the one at `path`.
fn line<'a>(directive: &'a Directive, path: &str) -> Vec<&'a Node> {
    let at = directive.nodes.iter().position(|node| node.path == path);
    let mut line: Vec<&Node> = at.map(|at| directive.line(at).collect()).unwrap_or_default();
    line.reverse();
    line
}

/// What a provision asks for, in the words of the standard.
fn stated(node: &Node) -> Vec<String> {
    let coded = |name: &str, codes: &[super::Coded]| {
        let listed: Vec<&str> = codes.iter().map(|code| &*code.code).collect();
        (!listed.is_empty()).then(|| format!("{name} {}", listed.join(" or ")))
    };
    let actors = |name: &str, actors: &[Vec<Text>]| {
        let listed: Vec<&str> = actors.iter().filter_map(|names| names.first()).map(|name| &**name).collect();
        (!listed.is_empty()).then(|| format!("{name} {}", listed.join(" or ")))
    };
    let data = node.data.iter().flat_map(|data| &data.names).map(|name| &**name).collect::<Vec<_>>();
    [
        node.period.map(|_| "period".to_owned()),
        actors("recipient", &node.actors.recipient),
        actors("custodian", &node.actors.custodian),
        actors("author", &node.actors.author),
        coded("action", &node.actions),
        coded("purpose", &node.purposes),
        coded("securityLabel", &node.labels),
        coded("class", &node.classes),
        coded("documentType", &node.documents),
        coded("code", &node.codes),
        node.data_period.map(|_| "dataPeriod".to_owned()),
        (!data.is_empty()).then(|| format!("data {}", data.join(" or "))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn cite(basis: &Basis, policy: &Policy) -> Option<String> {
    let (rules, id) = match basis {
        Basis::MandatoryDeny(id) => (&policy.mandatory_deny, id),
        Basis::MandatoryPermit(id) => (&policy.mandatory_permit, id),
        _ => return None,
    };
    rules.iter().find(|rule| rule.id == **id).and_then(|rule| rule.cite.clone())
}

fn would_permit(
    verdict: &Verdict,
    directive: Option<&Directive>,
    node: Option<&Node>,
    request: &Request,
    policy: &Policy,
) -> Vec<String> {
    let mut ways = match &verdict.basis {
        Basis::PatientIdentity => vec!["the patient is identified for certain".to_owned()],
        Basis::ServiceUnavailable | Basis::CacheStale => vec!["the source of consents answers again".to_owned()],
        Basis::TestData => vec!["a destination for tests".to_owned()],
        Basis::DataPurposeConflict => vec!["a request for a purpose that the data is labelled for".to_owned()],
        Basis::Uncomputable(_) => vec!["a person codes the Consent, or it is made inactive".to_owned()],
        Basis::MandatoryDeny(id) => {
            let rule = policy.mandatory_deny.iter().find(|rule| rule.id == **id);
            let lift = rule.and_then(|rule| rule.unless);
            vec![match lift {
                None => "nothing: the law cannot be waived by consent".to_owned(),
                Some(super::Lift::Permit) => "a Consent that permits it".to_owned(),
                Some(super::Lift::PermitNamingLabel) => "a Consent that permits it and names the label".to_owned(),
                Some(super::Lift::PermitNamingPurpose) => "a Consent that permits it and names the purpose".to_owned(),
            }]
        }
        Basis::Consent(id) => vec![format!("Consent/{id} replaced by one of the same series that permits it")],
        Basis::Refrain(_) | Basis::Default | Basis::ConsentUnknown => {
            vec![format!("a Consent that permits {}", verdict.purpose)]
        }
        Basis::PurposeUnknown => vec!["a purpose on the route".to_owned()],
        Basis::External(_) => vec!["another answer of the decision service".to_owned()],
        Basis::Obligation(code) => vec![format!("a route that can do what {code} asks for")],
        Basis::Clearance => vec!["a destination with a higher `clearance`".to_owned()],
        Basis::MandatoryPermit(_) | Basis::BreakGlass => Vec::new(),
    };
    // Exceptions that the deciding provision itself makes.
    let exceptions = directive.zip(node).into_iter().flat_map(|(directive, node)| {
        node.children.iter().filter_map(|at| directive.node(*at)).filter(|child| child.effect == Some(Effect::Permit))
    });
    ways.extend(exceptions.map(|child| format!("{}: {}", child.path, stated(child).join(", "))));
    let opens = policy.break_glass.as_ref().is_some_and(|_| request.emergency.is_none());
    if opens && matches!(verdict.basis, Basis::Consent(_)) {
        ways.push("a declared emergency, by a named person with a reason".to_owned());
    }
    ways
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {} (layer {}: {})", self.decision, self.entry, self.purpose, self.layer, self.basis)?;
        if let Some(consent) = &self.consent {
            write!(f, "\n  by {consent}, read as {}", self.mode.unwrap_or("tree"))?;
        }
        if !self.path.is_empty() {
            write!(f, "\n  provision: {}", self.path.join(" > "))?;
        }
        if !self.matched.is_empty() {
            write!(f, "\n  which asks for: {}", self.matched.join("; "))?;
        }
        for (name, value) in [("label", &self.label), ("law", &self.cite), ("holds until", &self.valid_until)] {
            if let Some(value) = value {
                write!(f, "\n  {name}: {value}")?;
            }
        }
        self.would_permit.iter().try_for_each(|way| write!(f, "\n  would let it go: {way}"))
    }
}
