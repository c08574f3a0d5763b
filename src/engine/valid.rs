//! Whether what a message became is valid FHIR R4, and what follows if it is not.

use message::fhir::validate::{Options, validate};
use message::{Body, Finding, FindingKind, Message};

use crate::config::Validate;
use crate::store::Outcome;

/// Most issues that are kept with a message.
const MOST: usize = 32;

/// Looks at what `message` became, and keeps what is wrong as its findings. With [`Validate::Hold`], what becomes of it
/// instead of being queued.
pub(super) fn check(policy: Validate, message: &mut Message) -> Option<Outcome> {
    let Body::Fhir(resource) = &message.body else { return None };
    if policy == Validate::Off {
        return None;
    }
    let issues = validate(resource, &Options { issues: MOST, ..Options::default() });
    let errors = issues.into_iter().filter(|issue| issue.is_error());
    let found: Vec<_> = errors
        .map(|issue| Finding {
            kind: FindingKind::Invalid,
            text: issue.rule.map_or_else(|| issue.text.to_string(), |rule| format!("{} ({rule})", issue.text)).into(),
            location: issue.location.into(),
        })
        .collect();
    let parked = found.first().filter(|_| policy == Validate::Hold).map(|first| Outcome::Failed {
        step: "validate".to_owned(),
        location: first.location.to_string(),
        reason: reason(&first.text, found.len() - 1),
    });
    message.findings.extend(found);
    parked
}

fn reason(first: &str, others: usize) -> String {
    match others {
        0 => format!("not valid FHIR R4: {first}"),
        1 => format!("not valid FHIR R4: {first}; and one more issue, among the message's findings"),
        others => format!("not valid FHIR R4: {first}; and {others} more issues, among the message's findings"),
    }
}
