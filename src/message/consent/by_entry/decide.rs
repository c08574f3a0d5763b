//! The decision: ten layers, entry by entry, purpose by purpose, label by label.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::directive::{Directive, Scope, Status};
use super::entry::Entry;
use super::matching::Question;
use super::policy::{BreakGlass, Effect, Lift, Policy, Rule, When};
use super::request::{OVERRIDE_REASONS, Request};
use super::snapshot::{Snapshot, Source};
use super::span::Micros;
use super::terms::{LabelKind, Terms};
use super::valid_until::valid_until;
use super::verdict::{Basis, Decision, Release, Verdict};
use super::weigh::{Answer, Weighing};
use crate::consent::Confidentiality;
use crate::consent::external::Answer as Service;
use crate::json::Text;

/// Labels that forbid passing data on without the patient's consent (v3-ActCode, refrain policies).
/// The last is what the first was called before it was retired.
const REFRAIN: [&str; 6] = ["NORDSCLCD", "NORDSCLCDS", "NODSCLCD", "NODSCLCDS", "NOAUTH", "NORDSLCD"];

/// What one layer answered.
struct Ruling<'a> {
    effect: Effect,
    basis: Basis,
    layer: u8,
    label: Option<&'a str>,
    path: Option<Text>,
    add: &'a [String],
    complies: bool,
}

impl Ruling<'_> {
    fn of(effect: Effect, layer: u8, basis: Basis) -> Self {
        Self { effect, basis, layer, label: None, path: None, add: &[], complies: false }
    }
}

/// Decides what of `entries` may go to `request.recipient`, and why. Pure: the same arguments give
/// the same decision.
#[must_use]
pub fn decide(request: &Request, entries: &[Entry], consents: &Snapshot, policy: &Policy, terms: &Terms) -> Decision {
    let case = Case { request, consents, policy, terms };
    let purposes: Vec<Purpose<'_>> = request.purposes.iter().map(|code| case.purpose(code)).collect();
    let mut obligations = BTreeSet::new();
    let verdicts: Vec<Verdict> = entries.iter().map(|entry| case.entry(entry, &purposes, &mut obligations)).collect();
    let message = release(&verdicts, policy.whole);
    if matches!(message, Release::Suppress | Release::Park) {
        obligations.clear();
    }
    Decision { message, entries: verdicts, obligations, valid_until: valid_until(request, consents, policy) }
}

/// What becomes of a message with these verdicts; `whole` if one denied entry denies all.
#[must_use]
pub fn release(verdicts: &[Verdict], whole: bool) -> Release {
    let has = |effect| verdicts.iter().any(|verdict| verdict.effect == effect);
    match (has(Effect::Park), has(Effect::Deny), has(Effect::Permit)) {
        (true, _, _) => Release::Park,
        (_, false, true) => Release::Deliver,
        (_, true, true) if !whole => Release::DeliverRedacted,
        _ => Release::Suppress,
    }
}

/// A purpose of the request, with the consents that count for it.
struct Purpose<'a> {
    code: &'a str,
    /// What it lies within, itself first.
    line: &'a [Text],
    /// True if only a consent that names it permits it.
    explicit: bool,
    /// The Consents that count, series after series.
    counted: Vec<&'a Directive>,
    /// A Consent that would count and cannot be computed.
    uncomputable: Option<&'a Directive>,
    /// What the law forbids, demands and attaches, as far as it speaks of such a request; entries are asked about these.
    forbids: Vec<&'a Rule>,
    demands: Vec<&'a Rule>,
    attaches: Vec<&'a Rule>,
}

#[derive(Clone, Copy)]
struct Case<'a> {
    request: &'a Request,
    consents: &'a Snapshot,
    policy: &'a Policy,
    terms: &'a Terms,
}

/// What all Consents together say, or an external service for them.
#[derive(Clone, Copy)]
enum Said<'a> {
    /// A Consent on file.
    Filed { directive: &'a Directive, answer: Answer },
    /// An external decision service.
    Service { effect: Effect, service: &'a Service },
}

impl Said<'_> {
    fn effect(&self) -> Effect {
        match self {
            Self::Filed { answer, .. } => answer.effect,
            Self::Service { effect, .. } => *effect,
        }
    }
}

/// What one Consent says.
#[derive(Clone, Copy)]
struct Filed<'a> {
    directive: &'a Directive,
    answer: Answer,
}

impl<'a> Case<'a> {
    fn purpose(&self, code: &'a str) -> Purpose<'a> {
        let would_count = |directive: &&Directive| self.would_count(directive, code);
        let (counted, unclear): (Vec<_>, Vec<_>) =
            self.consents.directives().iter().filter(would_count).partition(|directive| directive.is_readable());
        let explicit = self.policy.explicit_purpose.iter().any(|explicit| explicit == code);
        let ask = |rules: &'a [Rule], withholds| -> Vec<&'a Rule> {
            rules.iter().filter(|rule| self.asks(&rule.when, code, withholds)).collect()
        };
        let mut demands = ask(&self.policy.mandatory_permit, false);
        demands.retain(|rule| !explicit || rule.when.purpose.iter().any(|listed| listed == code));
        Purpose {
            code,
            line: self.terms.purpose(code),
            explicit,
            forbids: ask(&self.policy.mandatory_deny, true),
            demands,
            attaches: ask(&self.policy.obligations, false),
            counted,
            uncomputable: unclear.into_iter().min_by_key(|directive| &directive.id),
        }
    }

    /// Whether a Consent counts, if it can be read.
    fn would_count(&self, directive: &Directive, purpose: &str) -> bool {
        let theirs = directive.patient.iter().any(|name| self.request.patient.contains(name));
        let about = match directive.scope {
            Scope::Privacy | Scope::Unreadable => true,
            Scope::Research => self.terms.is_purpose_within(purpose, "HRESCH"),
            Scope::Other => false,
        };
        let in_force = directive.nodes.first().and_then(|root| root.period).is_none_or(|p| p.holds(self.request.now));
        let issued = directive.dated.is_none_or(|dated| dated.from <= self.request.now);
        directive.status != Status::Inactive && theirs && about && in_force && issued
    }

    fn entry(&self, entry: &'a Entry, purposes: &[Purpose<'a>], obligations: &mut BTreeSet<Text>) -> Verdict {
        let sensitive = |label: &str| self.terms.kind(label).is_none_or(|kind| kind == LabelKind::Sensitivity);
        let mut labels: Vec<Option<&str>> =
            entry.labels.iter().map(AsRef::as_ref).filter(|label| sensitive(label)).map(Some).collect();
        labels.sort_unstable();
        if labels.is_empty() {
            labels.push(None);
        }
        let mut worst: Option<(Ruling<'a>, &Purpose<'a>)> = None;
        let mut add: Vec<&str> = Vec::new();
        let mut complies = false;
        for purpose in purposes {
            for label in &labels {
                let ruling = Ruling { label: *label, ..self.rule(entry, purpose, *label) };
                add.extend(ruling.add.iter().map(String::as_str));
                complies |= ruling.complies;
                let worse = |(held, _): &(Ruling<'_>, _)| (ruling.effect, ruling.layer) > (held.effect, held.layer);
                if worst.as_ref().is_none_or(worse) {
                    worst = Some((ruling, purpose));
                }
            }
        }
        let Some((ruling, purpose)) = worst else {
            let (effect, basis) = (Effect::Park, Basis::PurposeUnknown);
            let (reference, purpose) = (entry.reference.clone(), Text::default());
            return Verdict { reference, effect, basis, layer: 1, purpose, label: None, path: None };
        };
        if ruling.effect == Effect::Permit {
            obligations.extend(add.into_iter().map(Text::from));
            if complies {
                obligations.insert("CPLYCD".into());
            }
            for rule in purposes.iter().flat_map(|purpose| &purpose.attaches) {
                if self.applies(&rule.when, entry, None) {
                    obligations.extend(rule.add.iter().map(|code| Text::from(code.as_str())));
                }
            }
        }
        Verdict {
            reference: entry.reference.clone(),
            effect: ruling.effect,
            basis: ruling.basis,
            layer: ruling.layer,
            purpose: purpose.code.into(),
            label: ruling.label.map(Text::from),
            path: ruling.path,
        }
    }

    fn level(&self, entry: &Entry) -> Confidentiality {
        entry.confidentiality.unwrap_or(self.policy.unlabelled)
    }

    /// The layers, in order: the first that answers decides.
    fn rule(&self, entry: &'a Entry, purpose: &Purpose<'a>, label: Option<&'a str>) -> Ruling<'a> {
        let question = Question {
            request: self.request,
            terms: self.terms,
            entry,
            level: self.level(entry),
            purpose: purpose.code,
            purposes: purpose.line,
            label,
            labels: label.map(|label| self.terms.sensitivity(label)).unwrap_or_default(),
        };
        // 1: what cannot be known, and 3: what cannot be computed; an emergency may pass either.
        let unknown = self.unknown();
        if let Some(basis) = unknown.clone() {
            let passes = basis != Basis::PatientIdentity && self.opens(entry, purpose, &question, true);
            if !passes {
                return Ruling::of(Effect::Park, 1, basis);
            }
        }
        // 2
        if entry.test && self.request.production {
            return Ruling::of(Effect::Deny, 2, Basis::TestData);
        }
        // 3
        if !self.covers(entry, purpose) {
            return Ruling::of(Effect::Deny, 3, Basis::DataPurposeConflict);
        }
        let unclear = purpose.uncomputable.filter(|_| unknown.is_none());
        if let Some(directive) = unclear.filter(|_| !self.opens(entry, purpose, &question, true)) {
            return Ruling::of(Effect::Park, 3, Basis::Uncomputable(Arc::clone(&directive.id)));
        }
        let blind = unknown.is_some() || purpose.uncomputable.is_some();
        let said = if blind { None } else { self.said(entry, purpose, &question) };
        let opens = || self.opens(entry, purpose, &question, blind);
        // 4
        let forbids = |rule: &&Rule| {
            self.applies(&rule.when, entry, Some(label))
                && !(rule.emergency_exempt && opens())
                && !self.lifts(rule, said, purpose, &question)
        };
        if let Some(rule) = purpose.forbids.iter().find(|rule| forbids(rule)) {
            return Ruling::of(Effect::Deny, 4, Basis::MandatoryDeny(rule.id.as_str().into()));
        }
        // 5
        if let Some(rule) = purpose.demands.iter().find(|rule| self.applies(&rule.when, entry, None)) {
            let basis = Basis::MandatoryPermit(rule.id.as_str().into());
            return Ruling { add: &rule.add, ..Ruling::of(Effect::Permit, 5, basis) };
        }
        // 6
        let complies = || self.refuses_staff(purpose, &question);
        if let Some(said) = said.filter(|said| said.effect() == Effect::Permit) {
            return Ruling { complies: complies(), ..self.by_consent(said, 6) };
        }
        // 7
        if opens() {
            let add = self.policy.break_glass.as_ref().map(|glass| glass.obligations.as_slice()).unwrap_or_default();
            return Ruling { add, ..Ruling::of(Effect::Permit, 7, Basis::BreakGlass) };
        }
        // 8
        if let Some(said) = said {
            return self.by_consent(said, 8);
        }
        // 9
        if let Some(code) = self.refrain(entry) {
            return Ruling::of(Effect::Deny, 9, Basis::Refrain(code));
        }
        // 10
        match self.default(purpose) {
            Effect::Permit => Ruling { complies: complies(), ..Ruling::of(Effect::Permit, 10, Basis::Default) },
            Effect::Deny => Ruling::of(Effect::Deny, 10, Basis::Default),
            Effect::Park => Ruling::of(Effect::Park, 10, Basis::ConsentUnknown),
        }
    }

    fn by_consent(&self, said: Said<'_>, layer: u8) -> Ruling<'a> {
        match said {
            Said::Filed { directive, answer } => {
                let node = answer.node.and_then(|at| directive.node(at));
                let path = node.map_or("policyRule", |node| node.path.as_str());
                let basis = Basis::Consent(Arc::clone(&directive.id));
                Ruling { path: Some(path.into()), ..Ruling::of(answer.effect, layer, basis) }
            }
            Said::Service { effect, service } => {
                let evidence = service.evidence().map_or_else(|| Arc::from("decision-service"), Arc::clone);
                let add = self.consents.external().map(Service::obligations).unwrap_or_default();
                Ruling { add, ..Ruling::of(effect, layer, Basis::External(evidence)) }
            }
        }
    }

    /// Layer 1: whose data it is, and what they said.
    fn unknown(&self) -> Option<Basis> {
        if !self.request.identified {
            return Some(Basis::PatientIdentity);
        }
        if self.consents.external() == Some(&Service::Invalid) {
            return Some(Basis::ServiceUnavailable);
        }
        match self.consents.source() {
            Source::Fresh => None,
            Source::Cached { age } if (0..=self.policy.max_stale).contains(&age) => None,
            Source::Cached { .. } => Some(Basis::CacheStale),
            Source::Unavailable | Source::Invalid => Some(Basis::ServiceUnavailable),
        }
    }

    /// Whether the purposes that the data is labelled for cover the request.
    fn covers(&self, entry: &Entry, purpose: &Purpose<'_>) -> bool {
        let within = |tag: &str| purpose.line.iter().any(|wider| **wider == *tag);
        let covered = |tag: &str| *tag == *purpose.code || (!purpose.explicit && within(tag));
        entry.purposes().is_empty() || entry.purposes().iter().any(|tag| covered(tag))
    }

    /// What an external service and the Consents that count say: the latest of a series, a denial
    /// across series and from either.
    fn said(&self, entry: &Entry, purpose: &Purpose<'a>, question: &Question<'_>) -> Option<Said<'a>> {
        let filed = self.filed(purpose, question);
        let service = self.consents.external().and_then(|service| {
            let effect = service.effect(entry, self.policy.unlabelled, self.terms)?;
            let explicit = purpose.explicit && effect == Effect::Permit;
            (!explicit).then_some(Said::Service { effect, service })
        });
        match (filed, service) {
            (Some(filed), Some(service)) if filed.answer.effect < service.effect() => Some(service),
            (None, service) => service,
            (Some(Filed { directive, answer }), _) => Some(Said::Filed { directive, answer }),
        }
    }

    fn filed(&self, purpose: &Purpose<'a>, question: &Question<'_>) -> Option<Filed<'a>> {
        let mut said: Option<Filed<'a>> = None;
        for series in purpose.counted.chunk_by(|one, other| one.series == other.series) {
            let Some(one) = self.series(series, purpose, question) else { continue };
            let rank = |said: &Filed<'_>| (said.answer.effect, since(said.directive), said.directive.id.clone());
            if said.as_ref().is_none_or(|held| rank(&one) > rank(held)) {
                said = Some(one);
            }
        }
        said
    }

    /// What a series says: its latest Consent that applies, a denial where two are as late.
    fn series(&self, series: &[&'a Directive], purpose: &Purpose<'_>, question: &Question<'_>) -> Option<Filed<'a>> {
        let (mut permit, mut deny): (Option<Filed<'a>>, Option<Filed<'a>>) = (None, None);
        for directive in series {
            let Some(answer) = self.answer(directive, purpose, question) else { continue };
            let permits = answer.effect == Effect::Permit;
            let held = if permits { &mut permit } else { &mut deny };
            let rank = |directive: &Directive| {
                (if permits { since(directive) } else { latest(directive) }, directive.id.clone())
            };
            if held.as_ref().is_none_or(|held| rank(directive) > rank(held.directive)) {
                *held = Some(Filed { directive, answer });
            }
        }
        match (permit, deny) {
            // A denial that may be as new stands: it is undated, or dated within the same day.
            (Some(permit), Some(deny)) if latest(deny.directive) < since(permit.directive) => Some(permit),
            (permit, deny) => deny.or(permit),
        }
    }

    /// What one Consent says, after the caps of the policies that it cites.
    fn answer(&self, directive: &Directive, purpose: &Purpose<'_>, question: &Question<'_>) -> Option<Answer> {
        let weighing = Weighing { directive, question };
        let answer = weighing.answer()?;
        if answer.effect != Effect::Permit {
            return Some(answer);
        }
        let caps = self.policy.caps.iter().filter(|(uri, _)| directive.policies.iter().any(|cited| **cited == **uri));
        if caps.map(|(_, level)| *level).min().is_some_and(|cap| question.level > cap) {
            return Some(Answer { effect: Effect::Deny, ..answer });
        }
        let names = |node: &super::directive::Node| node.purposes.iter().any(|listed| *listed.code == *purpose.code);
        (!purpose.explicit || weighing.permits_by(&names)).then_some(answer)
    }

    /// Whether a rule speaks of such a request, whatever the entry; it `withholds` or it does not.
    fn asks(&self, when: &When, purpose: &str, withholds: bool) -> bool {
        let any =
            |listed: &[String], test: &dyn Fn(&str) -> bool| listed.is_empty() || listed.iter().any(|item| test(item));
        // What is withheld from a kind of recipient is withheld from what may be of that kind.
        let kinds = if withholds { &self.request.recipient_may_be } else { &self.request.recipient_kinds };
        let unknown = kinds.is_empty() && !self.request.recipient_is_patient;
        any(&when.purpose, &|rule| self.terms.is_purpose_within(purpose, rule))
            && any(&when.recipient_type, &|kind| kinds.iter().any(|own| **own == *kind) || (withholds && unknown))
            && when.recipient_is_patient.is_none_or(|is| is == self.request.recipient_is_patient)
            && any(&when.action, &|action| self.request.actions.iter().any(|own| **own == *action))
    }

    /// Whether a rule that [speaks of the request](Self::asks) speaks of `entry`. With `label`, one about sensitivities is
    /// asked only for the label that is weighed.
    fn applies(&self, when: &When, entry: &Entry, label: Option<Option<&str>>) -> bool {
        let any =
            |listed: &[String], test: &dyn Fn(&str) -> bool| listed.is_empty() || listed.iter().any(|item| test(item));
        any(&when.label, &|rule| self.is_labelled(rule, entry, label))
            && (when.code.is_empty() || when.code.iter().any(|code| entry.has_code(code)))
            && any(&when.resource_type, &|kind| *entry.kind == *kind)
    }

    fn is_labelled(&self, rule: &str, entry: &Entry, label: Option<Option<&str>>) -> bool {
        if let Some(level) = Confidentiality::from_code(rule) {
            return self.level(entry) >= level;
        }
        if entry.labels.is_empty() {
            return false;
        }
        let within = |label: &str| label == rule || self.terms.sensitivity(label).iter().any(|wider| **wider == *rule);
        match (self.terms.kind(rule), label) {
            (Some(LabelKind::Sensitivity) | None, Some(label)) => label.is_some_and(within),
            _ => entry.labels.iter().any(|label| within(label)),
        }
    }

    /// Whether what the Consents say lifts a prohibition.
    fn lifts(&self, rule: &Rule, said: Option<Said<'_>>, purpose: &Purpose<'_>, question: &Question<'_>) -> bool {
        // The law is lifted by a Consent on file, never by a service's word.
        let Some(Said::Filed { directive, answer }) = said else { return false };
        if answer.effect != Effect::Permit {
            return false;
        }
        let weighing = Weighing { directive, question };
        match rule.unless {
            None => false,
            Some(Lift::Permit) => true,
            Some(Lift::PermitNamingLabel) => {
                let names = |code: &str| rule.when.label.iter().any(|label| label == code);
                weighing.permits_by(&|node| node.labels.iter().any(|label| names(&label.code)))
            }
            Some(Lift::PermitNamingPurpose) => {
                let named = |code: &str| {
                    code == purpose.code
                        || (rule.when.purpose.iter().any(|p| p == code) && purpose.line.iter().any(|p| **p == *code))
                };
                weighing.permits_by(&|node| node.purposes.iter().any(|listed| named(&listed.code)))
            }
        }
    }

    /// Layer 7: whether a declared emergency opens the entry. `blind` while consents cannot be known.
    fn opens(&self, entry: &Entry, purpose: &Purpose<'a>, question: &Question<'_>, blind: bool) -> bool {
        let (Some(glass), Some(emergency)) = (&self.policy.break_glass, &self.request.emergency) else { return false };
        let for_it = glass.purposes.iter().any(|opened| self.terms.is_purpose_within(purpose.code, opened))
            && self.terms.is_purpose_within(purpose.code, "ETREAT");
        let now = self.request.now;
        let begun = emergency.at.unwrap_or(now);
        let over = emergency.until.is_some_and(|until| until <= now)
            || glass.lasts.is_some_and(|lasts| begun.saturating_add(lasts) <= now);
        let reasoned = match &emergency.reason {
            Some(reason) => OVERRIDE_REASONS.contains(&&**reason),
            None => !glass.requires_reason,
        };
        let sealed = glass.never.iter().any(|never| self.is_labelled(never, entry, None));
        for_it
            && reasoned
            && emergency.by_person
            && !emergency.obscure
            && begun <= now
            && !over
            && !sealed
            && (!blind || glass.when_unavailable)
            && !(glass.patient_can_block && self.blocks(purpose, question))
    }

    /// Whether a refusal that counts names emergencies.
    fn blocks(&self, purpose: &Purpose<'_>, question: &Question<'_>) -> bool {
        let names = |node: &super::directive::Node| {
            node.purposes.iter().any(|listed| self.terms.is_purpose_within(&listed.code, "ETREAT"))
        };
        let denies = |answer: Answer| answer.effect == Effect::Deny;
        purpose.counted.iter().any(|directive| {
            let weighing = Weighing { directive, question };
            weighing.answer().is_some_and(denies) && weighing.denies_by(&names)
        })
    }

    /// Whether a Consent refuses someone who works for the recipient, who gets it as a whole.
    fn refuses_staff(&self, purpose: &Purpose<'_>, question: &Question<'_>) -> bool {
        let none = self.request.named_person || self.request.staff.is_empty();
        !none && purpose.counted.iter().any(|directive| Weighing { directive, question }.refuses_staff())
    }

    /// Layer 9: a label that forbids passing the entry on.
    fn refrain(&self, entry: &Entry) -> Option<&'static str> {
        let labelled = |code: &&str| entry.labels.iter().any(|label| **label == **code);
        let by_author = || {
            // The author itself, or a part of it: not what shares a group or a house with it.
            let authors = entry.authors().map(|authors| authors.own.as_slice()).unwrap_or_default();
            authors.iter().any(|author| self.request.recipient.sure.contains(author))
        };
        let original = || (labelled(&"ORCON") && !by_author()).then_some("ORCON");
        REFRAIN.into_iter().find(labelled).or_else(original)
    }

    /// Layer 10: the default of the most specific purpose that has one.
    fn default(&self, purpose: &Purpose<'_>) -> Effect {
        let of = |code: &str| self.policy.default.get(code).copied();
        let nearest = || purpose.line.iter().find_map(|wider| of(wider));
        match of(purpose.code).or_else(nearest).or_else(|| of("*")) {
            // Only a consent that names such a purpose permits it.
            Some(Effect::Permit) if purpose.explicit => Effect::Deny,
            found => found.unwrap_or(Effect::Deny),
        }
    }
}

/// The first moment that a Consent can be of; the undated are the oldest.
fn since(directive: &Directive) -> Micros {
    directive.dated.map_or(Micros::MIN, |dated| dated.from)
}

/// The last moment that a Consent can be of; the undated may be of any.
fn latest(directive: &Directive) -> Micros {
    directive.dated.map_or(Micros::MAX, |dated| dated.until.saturating_sub(1))
}

impl BreakGlass {
    /// The obligations of what an emergency opens: `AUDIT` is always among them.
    pub(super) fn audited(mut self) -> Self {
        if !self.obligations.iter().any(|code| code == "AUDIT") {
            self.obligations.push("AUDIT".to_owned());
        }
        self
    }
}
