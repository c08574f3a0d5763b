//! When a decision must be taken again although nothing new is known.

use super::directive::Status;
use super::policy::Policy;
use super::request::Request;
use super::snapshot::{Snapshot, Source};
use super::span::Micros;

/// The first instant after `request.now` at which an input that was used could say something else:
/// a period begins or ends, a Consent's date comes, a cache grows too old, an emergency ends.
pub(super) fn valid_until(request: &Request, consents: &Snapshot, policy: &Policy) -> Option<Micros> {
    let theirs = consents.directives().iter().filter(|directive| {
        directive.status != Status::Inactive && directive.patient.iter().any(|name| request.patient.contains(name))
    });
    let edges = theirs.flat_map(|directive| {
        let periods = directive.nodes.iter().filter_map(|node| node.period);
        periods.flat_map(|period| [period.from, period.until]).chain(directive.dated.map(|dated| dated.from))
    });
    let stale = match consents.source() {
        Source::Cached { age } if age <= policy.max_stale => {
            // The first moment that is too old.
            Some(request.now.saturating_add(policy.max_stale - age).saturating_add(1))
        }
        _ => None,
    };
    let glass =
        request.emergency.as_ref().zip(policy.break_glass.as_ref()).into_iter().flat_map(|(emergency, glass)| {
            let begun = emergency.at.unwrap_or(request.now);
            let lasts = glass.lasts.map(|lasts| begun.saturating_add(lasts));
            [emergency.at, emergency.until, lasts].into_iter().flatten()
        });
    let all = edges.chain(stale).chain(glass);
    all.filter(|at| *at > request.now && *at != Micros::MAX).min()
}
